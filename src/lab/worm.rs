//! Worms of our own making: they knock on doors and carry nothing.
//!
//! The slow kinds use real connections, so that hosts that answer see a handshake; the fast ones send bare SYNs
//! through a packet socket. Everything follows from the seed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::TcpSocket;

use crate::lab::activity::Activity;
use crate::lab::counter::now;
use crate::lab::network::Network;
use crate::lab::plan::{GATEWAY, INFECTED, Plan, Segment, Shape, WARD};
use crate::lab::random::Random;
use crate::lab::{Error, Result};
use crate::sys::inject::{self, Injector};
use crate::sys::namespace;
use crate::time::Timestamp;
use crate::wire::build::{self, End};

/// The port it tries, unless another is given.
pub const PORT: u16 = 445;

/// How long a connecting worm waits for an answer, unless another time is given: WannaCry's select() timeout.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a worm spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The ward's addresses in ascending order, 8 a second, by real connections.
    Wannacry,
    /// Random addresses, 1,000 a second.
    Fast,
    /// A dark address every 30 s.
    Slow,
    /// Only live hosts, from a list of neighbours, 2 a second: every contact is answered.
    Topological,
    /// Random addresses, 100,000 a second.
    Flood,
}

impl Kind {
    /// Attempts a second, unless another pace is given.
    #[must_use]
    pub const fn rate(self) -> f64 {
        match self {
            Kind::Wannacry => 8.0,
            Kind::Fast => 1_000.0,
            Kind::Slow => 1.0 / 30.0,
            Kind::Topological => 2.0,
            Kind::Flood => 100_000.0,
        }
    }

    /// Whether it sends bare SYNs instead of connecting.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Kind::Fast | Kind::Flood)
    }

    /// Its targets, without end. The gateway's own address is left out: a knock there is evidence, but never reaches
    /// the victims.
    fn targets(self, plan: &Plan, seed: u64) -> Box<dyn Iterator<Item = u8> + Send> {
        let mut random = Random::new(seed ^ 0x5eed);
        match self {
            Kind::Wannacry => Box::new((GATEWAY + 1..=254).cycle()),
            Kind::Fast | Kind::Flood => {
                Box::new(std::iter::repeat_with(move || u8::try_from(2 + random.below(253)).unwrap_or(2)))
            }
            Kind::Slow => {
                let mut dark: Vec<u8> = (2..=254).filter(|host| !plan.live().contains(host)).collect();
                random.shuffle(&mut dark);
                Box::new(dark.into_iter().cycle())
            }
            Kind::Topological => {
                let mut live = plan.live().to_vec();
                random.shuffle(&mut live);
                Box::new(live.into_iter().cycle())
            }
        }
    }
}

/// What a worm is to do.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// How it spreads.
    pub kind: Kind,
    /// Attempts a second.
    pub rate: f64,
    /// Its seed.
    pub seed: u64,
    /// The port it knocks on.
    pub port: u16,
    /// A connecting worm gives up after so long.
    pub patience: Duration,
}

impl Order {
    /// This kind of worm at its own pace on [`PORT`].
    #[must_use]
    pub const fn new(kind: Kind, seed: u64) -> Self {
        Order { kind, rate: kind.rate(), seed, port: PORT, patience: PATIENCE }
    }
}

/// What a worm did, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WormStats {
    /// When it began.
    pub began: Timestamp,
    /// Attempts it made.
    pub attempts: u64,
    /// Distinct addresses it tried.
    pub destinations: u32,
    /// Attempts that were answered (unknown, and 0, to a worm that sends bare SYNs).
    pub answered: u64,
}

#[derive(Debug, Default)]
struct Tally {
    attempts: AtomicU64,
    answered: AtomicU64,
    /// A bit for each host number tried: cheap enough for a flood.
    tried: [AtomicU64; 4],
    stop: AtomicBool,
}

impl Tally {
    /// Notes an attempt; true if it is the first on this address.
    fn attempt(&self, target: IpAddr) -> bool {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let host = match target {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        let bit = 1 << (host & 63);
        self.tried.get(usize::from(host >> 6)).is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    fn destinations(&self) -> u32 {
        self.tried.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }
}

/// A worm at work; dropping it ends it.
#[derive(Debug)]
pub struct Worm {
    began: Timestamp,
    tally: Arc<Tally>,
    how: Option<How>,
}

#[derive(Debug)]
enum How {
    Connecting(Activity),
    Sending(JoinHandle<std::result::Result<io::Result<()>, namespace::Error>>),
}

impl Worm {
    /// Lets a worm loose on infected host number `host` of the network.
    pub fn release(network: &Network, host: u8, order: Order) -> Result<Self> {
        let absent = || Error::Io {
            what: format!("let a worm loose on infected host {host}"),
            source: io::Error::other("there are not so many"),
        };
        let machine = network.infected.get(usize::from(host)).ok_or_else(absent)?;
        let victims = network.wards.first().ok_or_else(absent)?;
        let from = network.plan.address(Segment::Office, INFECTED.saturating_add(host));
        let tally = Arc::new(Tally::default());
        let plan = network.plan.clone();
        let targets = order.kind.targets(&plan, order.seed).map(move |host| plan.address(WARD, host));
        let of_worm = Arc::clone(&tally);
        let began = now();
        let how = if order.kind.is_raw() {
            let source = End { mac: machine.link(|links| links.mac("eth0"))?, ip: from };
            let bridged = network.plan.shape() == Shape::Bridged;
            let next_hop = if bridged {
                victims.link(|links| links.mac("eth0"))?
            } else {
                network.gateway.link(|links| links.mac(&Segment::Office.interface()))?
            };
            let interface = machine.link(|links| links.index("eth0"))?;
            let wire = Wire { interface, source, next_hop, asks: bridged };
            How::Sending(machine.spawn(move || send(&wire, targets, order, &of_worm))?)
        } else {
            How::Connecting(Activity::start(machine, move || knock(from, targets, order, of_worm))?)
        };
        Ok(Worm { began, tally, how: Some(how) })
    }

    /// What it did so far.
    #[must_use]
    pub fn worm_stats(&self) -> WormStats {
        WormStats {
            began: self.began,
            attempts: self.tally.attempts.load(Ordering::Relaxed),
            destinations: self.tally.destinations(),
            answered: self.tally.answered.load(Ordering::Relaxed),
        }
    }

    /// Ends it, and says what it did.
    pub fn end(mut self) -> Result<WormStats> {
        self.halt()?;
        Ok(self.worm_stats())
    }

    fn halt(&mut self) -> Result<()> {
        self.tally.stop.store(true, Ordering::Relaxed);
        match self.how.take() {
            Some(How::Sending(thread)) => match thread.join() {
                Ok(outcome) => {
                    outcome?.map_err(|source| Error::Io { what: "send the worm's packets".to_owned(), source })
                }
                Err(_) => {
                    Err(Error::Io { what: "end the worm".to_owned(), source: io::Error::other("its thread panicked") })
                }
            },
            Some(How::Connecting(activity)) => {
                drop(activity);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Worm {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `end`.
        let _ = self.halt();
    }
}

/// Connects to one target after the other, at the order's pace, without waiting for answers.
async fn knock(from: IpAddr, targets: impl Iterator<Item = IpAddr>, order: Order, tally: Arc<Tally>) {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / order.rate));
    for target in targets {
        pace.tick().await;
        tally.attempt(target);
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            if let Ok(Ok(())) =
                tokio::time::timeout(order.patience, connect(from, SocketAddr::new(target, order.port))).await
            {
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<()> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await.map(drop)
}

/// What a sender of bare SYNs needs to know of its wire.
struct Wire {
    interface: u32,
    source: End,
    next_hop: crate::wire::Mac,
    /// On one wire with its victims a host asks for an address before it sends there.
    asks: bool,
}

impl Wire {
    /// A bare SYN to `target`; built once, sent often. Empty if the families differ, which no plan lets happen.
    fn syn(&self, target: IpAddr, ports: (u16, u16)) -> Box<[u8]> {
        let mut frame = [0; build::LONGEST];
        let to = End { mac: self.next_hop, ip: target };
        let sequence = u32::from(ports.0) << 16 | u32::from(ports.1);
        let length = build::syn(&mut frame, self.source, to, ports, sequence).unwrap_or(0);
        frame.get(..length).unwrap_or_default().into()
    }

    /// The question who has `target`.
    fn ask(&self, target: IpAddr) -> Box<[u8]> {
        let mut frame = [0; build::LONGEST];
        let length = build::ask(&mut frame, self.source, target).unwrap_or(0);
        frame.get(..length).unwrap_or_default().into()
    }
}

/// Sends a SYN to one target after the other, at the order's pace.
fn send(wire: &Wire, mut targets: impl Iterator<Item = IpAddr>, order: Order, tally: &Tally) -> io::Result<()> {
    let injector = Injector::open(wire.interface)?;
    let mut frames: HashMap<(IpAddr, u16), Box<[u8]>> = HashMap::new();
    let mut batch = Vec::with_capacity(inject::BATCH);
    let began = Instant::now();
    let mut sent = 0_u32;
    while !tally.stop.load(Ordering::Relaxed) {
        // What is due goes out in one go: looking at the clock costs as much as a packet.
        let due = began.elapsed().as_secs_f64() * order.rate;
        batch.clear();
        while f64::from(sent) <= due && batch.len() < inject::BATCH {
            let Some(target) = targets.next() else { return Ok(()) };
            #[expect(clippy::cast_possible_truncation, reason = "a few source ports will do")]
            let port = 0xc000 | (sent as u16 & 7);
            frames.entry((target, port)).or_insert_with(|| wire.syn(target, (port, order.port)));
            if tally.attempt(target) && wire.asks {
                injector.send(&[&wire.ask(target)])?;
            }
            batch.push((target, port));
            sent += 1;
        }
        if batch.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let ready: Vec<&[u8]> = batch.iter().filter_map(|key| frames.get(key)).map(|frame| &**frame).collect();
        let mut rest = ready.as_slice();
        while !rest.is_empty() {
            let gone = injector.send(rest)?;
            rest = rest.get(gone..).unwrap_or_default();
        }
    }
    Ok(())
}
