//! A worm that multiplies: who is reached long enough becomes a worm too.
//!
//! WannaCry takes about six seconds from first contact to exploit (measured on every exploited pair of a real
//! capture). Here a single byte stands in its place: a host whose connection lives six seconds and then brings that
//! byte counts as infected, and joins in from its own address. Each ward is one machine, so hosts of one ward reach
//! each other without crossing the gateway, as they would on one switch.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::lab::activity::Activity;
use crate::lab::gateway::{Daemon, Setup};
use crate::lab::listener;
use crate::lab::network::Network;
use crate::lab::plan::{INFECTED, Plan, Segment};
use crate::lab::random::Random;
use crate::lab::scene::Scene;
use crate::lab::trial::LEARNING;
use crate::lab::worm::PORT;
use crate::lab::{Error, Result};
use crate::published::status::Status;

/// From first contact to exploit.
const EXPLOIT_AFTER: Duration = Duration::from_secs(6);
/// How long an attempt waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Attempts a second of each infected host: WannaCry's pace.
pub const RATE: f64 = 8.0;

/// A host that became infected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Infection {
    /// Seconds since the worm was let loose.
    pub after: f64,
    /// Who.
    pub host: IpAddr,
}

/// Who is infected, since when.
#[derive(Debug)]
struct Roll {
    began: Instant,
    infected: Mutex<(HashSet<IpAddr>, Vec<Infection>)>,
}

impl Roll {
    fn locked(&self) -> MutexGuard<'_, (HashSet<IpAddr>, Vec<Infection>)> {
        // Plain values: whole whatever happened to whoever held them.
        self.infected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a host; false if it was there.
    fn enter(&self, host: IpAddr) -> bool {
        let mut roll = self.locked();
        let new = roll.0.insert(host);
        if new {
            roll.1.push(Infection { after: self.began.elapsed().as_secs_f64(), host });
        }
        new
    }

    fn holds(&self, host: IpAddr) -> bool {
        self.locked().0.contains(&host)
    }
}

/// An epidemic in a network; dropping it ends it.
#[derive(Debug)]
pub struct Epidemic {
    roll: Arc<Roll>,
    _activities: Vec<Activity>,
}

impl Epidemic {
    /// Makes every live host of the wards vulnerable and lets the worm loose on the first infected host. Nothing else
    /// may listen on its port there.
    pub fn start(network: &Network, seed: u64) -> Result<Self> {
        let plan = network.plan.clone();
        let roll = Arc::new(Roll { began: Instant::now(), infected: Mutex::default() });
        let mut activities = Vec::new();
        for ward in &network.wards {
            let listener = listener::bind(ward, plan.family(), PORT)?;
            let (roll, plan) = (Arc::clone(&roll), plan.clone());
            activities.push(Activity::start(ward, move || async move {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    be_vulnerable(&listener, &roll, &plan, seed).await;
                }
            })?);
        }
        let first = network.infected.first().ok_or_else(|| Error::Io {
            what: "start an epidemic".to_owned(),
            source: io::Error::other("the network has no infected host"),
        })?;
        let zero = plan.address(Segment::Office, INFECTED);
        roll.enter(zero);
        let of_zero = Arc::clone(&roll);
        activities.push(Activity::start(first, move || async move { spread(zero, &plan, of_zero, seed).await })?);
        Ok(Epidemic { roll, _activities: activities })
    }

    /// Who became infected so far, in order; the first is where it began.
    #[must_use]
    pub fn infections(&self) -> Vec<Infection> {
        self.roll.locked().1.clone()
    }
}

async fn be_vulnerable(listener: &TcpListener, roll: &Arc<Roll>, plan: &Plan, seed: u64) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(here) = stream.local_addr().map(|address| address.ip()) else { continue };
        if roll.holds(here) {
            // A worm asks first whether somebody was here before, and goes away.
            continue;
        }
        let (roll, plan) = (Arc::clone(roll), plan.clone());
        tokio::spawn(async move {
            if exploited(stream).await && roll.enter(here) {
                spread(here, &plan, roll, seed).await;
            }
        });
    }
}

/// Whether the byte arrived that stands for the exploit.
async fn exploited(mut stream: TcpStream) -> bool {
    matches!(stream.read(&mut [0]).await, Ok(1))
}

/// Tries every address of every ward, in an order of the host's own, again and again.
async fn spread(from: IpAddr, plan: &Plan, roll: Arc<Roll>, seed: u64) {
    let salt = match from {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => u64::from(v6.segments()[3]) << 16 | u64::from(v6.segments()[7]),
    };
    let mut targets: Vec<IpAddr> = (0..plan.wards())
        .flat_map(|ward| (1..=254).map(move |host| (ward, host)))
        .map(|(ward, host)| plan.address(Segment::Ward(ward), host))
        .collect();
    Random::new(seed ^ salt).shuffle(&mut targets);
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    for target in targets.into_iter().cycle() {
        pace.tick().await;
        if target != from && !roll.holds(target) {
            tokio::spawn(attack(from, target));
        }
    }
}

/// Connects, waits as long as the real one takes, and delivers the byte.
async fn attack(from: IpAddr, target: IpAddr) -> io::Result<()> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    let connected = tokio::time::timeout(PATIENCE, socket.connect(SocketAddr::new(target, PORT))).await;
    let Ok(Ok(mut stream)) = connected else { return Ok(()) };
    tokio::select! {
        _ = stream.read_u8() => Ok(()),
        () = tokio::time::sleep(EXPLOIT_AFTER) => {
            stream.write_all(b"!").await?;
            // What is on its way is retransmitted for a while; a hang-up at once would cut that short.
            tokio::time::sleep(EXPLOIT_AFTER).await;
            Ok(())
        }
    }
}

/// How an epidemic went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpidemicStats {
    /// Hosts that could become infected, the first one included.
    pub vulnerable: usize,
    /// Who became infected, in order.
    pub infections: Vec<Infection>,
    /// Hosts the daemon contained or isolated.
    pub contained: usize,
}

/// Lets an epidemic run for `length` on a network of this plan; with the daemon if it has a `directory` for it.
/// `progress` gets how many are infected and how many contained. Call it on a thread that lives as long as the run.
pub fn run(
    plan: &Plan,
    (seed, length): (u64, Duration),
    program: &Path,
    daemon: Option<(&Path, &Setup)>,
    progress: &dyn Fn(usize, usize),
) -> Result<EpidemicStats> {
    let ports = listener::WARD_PORTS.map(|port| if port == PORT { 8443 } else { port });
    let scene = Scene::build(program, plan.clone(), 1, &ports)?;
    let daemon = match daemon {
        Some((directory, setup)) => Some(Daemon::start(program, &scene.network, directory, setup)?),
        None => None,
    };
    let began = Instant::now();
    while began.elapsed() < LEARNING {
        listener::speak(&scene.network, 1)?;
    }
    let epidemic = Epidemic::start(&scene.network, seed)?;
    let loose = Instant::now();
    let mut contained = 0;
    while loose.elapsed() < length {
        std::thread::sleep(Duration::from_millis(250));
        if let Some(daemon) = &daemon {
            let status: Status = daemon.ask("/v1/status")?;
            contained = usize::try_from(status.hosts.contained + status.hosts.isolated).unwrap_or(usize::MAX);
        }
        progress(epidemic.infections().len(), contained);
    }
    let vulnerable = 1 + plan.live().len() * usize::from(plan.wards());
    let infections = epidemic.infections();
    drop(epidemic);
    if let Some(daemon) = daemon {
        daemon.stop()?;
    }
    Ok(EpidemicStats { vulnerable, infections, contained })
}
