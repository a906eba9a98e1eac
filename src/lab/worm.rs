//! Worms of our own making: they knock on doors and carry nothing.
//!
//! The slow kinds use real connections, so that hosts that answer see a handshake; the fast ones send bare SYNs
//! through a packet socket. Everything follows from the seed.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel};
use serde::Serialize;
use tokio::net::TcpSocket;

use crate::lab::activity::Activity;
use crate::lab::counter::now;
use crate::lab::network::Network;
use crate::lab::packet::{self, End};
use crate::lab::plan::{INFECTED, Plan, Segment, Shape, WARD};
use crate::lab::random::Random;
use crate::lab::{Error, Result};
use crate::sys::namespace;
use crate::time::Timestamp;

/// The door it knocks on, unless told otherwise.
pub const PORT: u16 = 445;

/// How long a connecting worm waits for an answer: WannaCry's select() timeout.
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
    /// Attempts a second, unless told otherwise.
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

    /// Its targets, without end.
    fn targets(self, plan: &Plan, seed: u64) -> Box<dyn Iterator<Item = u8> + Send> {
        let mut random = Random::new(seed ^ 0x5eed);
        match self {
            Kind::Wannacry => Box::new((1..=254).cycle()),
            Kind::Fast | Kind::Flood => {
                Box::new(std::iter::repeat_with(move || u8::try_from(1 + random.below(254)).unwrap_or(1)))
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
}

impl Order {
    /// This kind of worm at its own pace on [`PORT`].
    #[must_use]
    pub const fn new(kind: Kind, seed: u64) -> Self {
        Order { kind, rate: kind.rate(), seed, port: PORT }
    }
}

/// What a worm did, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deeds {
    /// When it began.
    pub began: Timestamp,
    /// Attempts it made.
    pub attempts: u64,
    /// Distinct addresses it tried.
    pub destinations: usize,
    /// Attempts that were answered (unknown, and 0, to a worm that sends bare SYNs).
    pub answered: u64,
}

#[derive(Debug, Default)]
struct Tally {
    attempts: AtomicU64,
    answered: AtomicU64,
    tried: Mutex<HashSet<IpAddr>>,
    stop: AtomicBool,
}

impl Tally {
    fn attempt(&self, target: IpAddr) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(target);
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
            let wire = Wire { source, next_hop, asks: bridged };
            How::Sending(machine.spawn(move || send(&wire, targets, order, &of_worm))?)
        } else {
            How::Connecting(Activity::start(machine, move || knock(from, targets, order, of_worm))?)
        };
        Ok(Worm { began, tally, how: Some(how) })
    }

    /// What it did so far.
    #[must_use]
    pub fn deeds(&self) -> Deeds {
        Deeds {
            began: self.began,
            attempts: self.tally.attempts.load(Ordering::Relaxed),
            destinations: self.tally.tried.lock().unwrap_or_else(PoisonError::into_inner).len(),
            answered: self.tally.answered.load(Ordering::Relaxed),
        }
    }

    /// Ends it, and says what it did.
    pub fn end(mut self) -> Result<Deeds> {
        self.halt()?;
        Ok(self.deeds())
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
            if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, connect(from, SocketAddr::new(target, order.port))).await
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
    source: End,
    next_hop: crate::wire::Mac,
    /// On one wire with its victims a host asks for an address before it sends there.
    asks: bool,
}

/// Sends a SYN to one target after the other, in bursts of at most a millisecond's worth.
fn send(wire: &Wire, mut targets: impl Iterator<Item = IpAddr>, order: Order, tally: &Tally) -> io::Result<()> {
    let missing = || io::Error::other("the infected host has no eth0");
    let interface = datalink::interfaces().into_iter().find(|each| each.name == "eth0").ok_or_else(missing)?;
    let config = datalink::Config { promiscuous: false, ..datalink::Config::default() };
    let Channel::Ethernet(mut sender, _receiver) = datalink::channel(&interface, config)? else {
        return Err(missing());
    };
    let mut frame = [0; packet::LONGEST];
    let mut asked = HashSet::new();
    let began = Instant::now();
    let mut sent = 0_u32;
    while !tally.stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_secs_f64() * order.rate;
        if f64::from(sent) > due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let Some(target) = targets.next() else { return Ok(()) };
        sent += 1;
        tally.attempt(target);
        if wire.asks && asked.insert(target) {
            let length = packet::ask(&mut frame, wire.source, target);
            transmit(&mut *sender, &frame, length)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a source port is any number from 49152 on")]
        let port = 0xc000 | (sent as u16 & 0x3fff);
        let length = packet::syn(
            &mut frame,
            wire.source,
            End { mac: wire.next_hop, ip: target },
            (port, order.port),
            sent.wrapping_mul(0x9e37_79b9),
        );
        transmit(&mut *sender, &frame, length)?;
    }
    Ok(())
}

fn transmit(sender: &mut dyn datalink::DataLinkSender, frame: &[u8], length: Option<usize>) -> io::Result<()> {
    let Some(bytes) = length.and_then(|length| frame.get(..length)) else { return Ok(()) };
    match sender.send_to(bytes, None) {
        // The kernel's queue being full is what a flood does to itself.
        Some(Err(error)) if error.raw_os_error() != Some(libc::ENOBUFS) => Err(error),
        _ => Ok(()),
    }
}
