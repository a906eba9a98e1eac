//! The prober: numbered SYNs along fixed ways, throughout a scenario, and which of them arrived.
//!
//! A way is one source, one destination and one port. Each SYN carries its number as its sequence number; a listener
//! of its own on the destination's wire notes which numbers come. Whoever asks afterwards learns exactly which packets
//! should have passed and did not, and the reverse. The ways do not change between packets, so that to Firedoor each
//! is one attempt, repeated.
//!
//! A machine that is flooded loses packets by itself: a queue before the gateway was full, or one behind it. So two
//! more listeners stand on the gateway's own wires, one where the way enters it (the kernel taps frames there ahead of
//! any firewall) and one where it leaves. What entered and did not leave was [stopped](Log::stopped) by the gateway;
//! the rest of what is missing never came to it, or was lost behind it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use firedoor::lab::counter_filter;
use firedoor::lab::plan::{Segment, WARD};
use firedoor::sys::namespace::{Error, Namespace};
use firedoor::sys::packet::Socket;
use firedoor::wire::Mac;
use firedoor::wire::build::{self, End};
use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};

use crate::site::Site;

/// Packets in flight get so long at the end.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// One way, and what became of its packets.
#[derive(Debug, Default)]
pub struct Log {
    sent: Vec<Instant>,
    arrived: HashMap<u32, Instant>,
    entered: HashSet<u32>,
    left: HashSet<u32>,
    overheard: u64,
}

impl Log {
    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.sent.len()
    }

    /// When those were sent that did not arrive.
    pub fn lost(&self) -> Vec<Instant> {
        let gone = |number: usize| !self.arrived.contains_key(&u32::try_from(number).unwrap());
        self.sent.iter().enumerate().filter(|(number, _)| gone(*number)).map(|(_, at)| *at).collect()
    }

    /// When those were sent that arrived, in order.
    pub fn passed(&self) -> Vec<Instant> {
        let came = |number: usize| self.arrived.contains_key(&u32::try_from(number).unwrap());
        self.sent.iter().enumerate().filter(|(number, _)| came(*number)).map(|(_, at)| *at).collect()
    }

    /// When those were sent that came into the gateway and did not leave it.
    pub fn stopped(&self) -> Vec<Instant> {
        let stopped = |number: usize| {
            let number = u32::try_from(number).unwrap();
            self.entered.contains(&number) && !self.left.contains(&number)
        };
        self.sent.iter().enumerate().filter(|(number, _)| stopped(*number)).map(|(_, at)| *at).collect()
    }

    /// How many came into the gateway.
    pub fn entered(&self) -> usize {
        self.entered.len()
    }

    /// Frames that a listener's own socket had no room for: while there are none, what was not heard was not there.
    pub fn overheard(&self) -> u64 {
        self.overheard
    }

    /// How many arrived that were sent from `since` on.
    pub fn passed_since(&self, since: Instant) -> usize {
        self.passed().iter().filter(|at| **at >= since).count()
    }

    /// How many were lost of those sent from `since` on.
    pub fn lost_since(&self, since: Instant) -> usize {
        self.lost().iter().filter(|at| **at >= since).count()
    }
}

type Shared = Arc<Mutex<Log>>;
type Work = JoinHandle<Result<(), Error>>;

/// One way under way.
pub struct Probe {
    name: &'static str,
    log: Shared,
    stop: Arc<AtomicBool>,
    sender: Option<Work>,
    listeners: Vec<Work>,
    deaf: Arc<AtomicBool>,
}

/// Where a way begins.
struct Origin<'a> {
    machine: &'a Namespace,
    segment: Segment,
    address: IpAddr,
}

/// Where a way ends.
struct Target<'a> {
    machine: &'a Namespace,
    segment: Segment,
    address: IpAddr,
    port: u16,
}

/// Where a listener stands.
#[derive(Clone, Copy)]
enum Post {
    Door,
    Exit,
    End,
}

fn open(name: &str, socket: Option<Socket>) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
    let interface = datalink::interfaces().into_iter().find(|each| each.name == name).unwrap();
    let config = datalink::Config {
        promiscuous: false,
        read_timeout: Some(Duration::from_millis(20)),
        // The channel owns the descriptor.
        socket_fd: socket.map(|socket| socket.into_descriptor().into_raw_fd()),
        ..datalink::Config::default()
    };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(sender, receiver) => (sender, receiver),
        _ => panic!("{name} is no Ethernet interface"),
    }
}

/// Listens for a way's packets where `post` says, until `deaf`.
fn listen(
    machine: &Namespace,
    (post, interface): (Post, String),
    (from, to): (IpAddr, (IpAddr, u16)),
    into: Shared,
    deaf: Arc<AtomicBool>,
) -> Work {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let listener = machine.spawn(move || {
        let socket = Socket::open().unwrap();
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (from, to.0) {
            socket.attach_filter(&counter_filter::way(source, (destination, to.1))).unwrap();
        }
        socket.set_receive_buffer(4 << 20).unwrap();
        let counts = socket.try_clone().unwrap();
        let (_, mut frames) = open(&interface, Some(socket));
        ready.send(()).unwrap();
        while !deaf.load(Ordering::Relaxed) {
            match frames.next() {
                Ok(frame) => {
                    let Some((source, destination, port, number)) = read(frame) else { continue };
                    if (source, (destination, port)) != (from, to) {
                        continue;
                    }
                    let mut log = into.lock().unwrap();
                    match post {
                        Post::Door => drop(log.entered.insert(number)),
                        Post::Exit => drop(log.left.insert(number)),
                        Post::End => drop(log.arrived.entry(number).or_insert_with(Instant::now)),
                    }
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                // The interface went away, which is what the scenario is about.
                Err(_) => return,
            }
        }
        into.lock().unwrap().overheard += u64::from(counts.take_counts().unwrap().drops);
    });
    is_ready.recv().unwrap();
    listener.unwrap()
}

/// A SYN's ends, port and number.
fn read(frame: &[u8]) -> Option<(IpAddr, IpAddr, u16, u32)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let NetSlice::Ipv4(ip) = packet.net? else { return None };
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    (tcp.syn() && !tcp.ack()).then(|| {
        let header = ip.header();
        (header.source_addr().into(), header.destination_addr().into(), tcp.destination_port(), tcp.sequence_number())
    })
}

impl Probe {
    /// Starts sending from `from` to `to`, a packet every `pace`.
    fn start(site: &Site, name: &'static str, from: &Origin<'_>, to: &Target<'_>, pace: Duration) -> Self {
        static PORT: AtomicU32 = AtomicU32::new(0);
        let own_port = 30_000 + u16::try_from(PORT.fetch_add(1, Ordering::Relaxed) % 10_000).unwrap();
        let gateway = &site.scene.network.gateway;
        let next_hop: Mac = gateway.link(|links| links.mac(&from.segment.interface())).unwrap();
        let source = End { mac: from.machine.link(|links| links.mac("eth0")).unwrap(), ip: from.address };
        let (log, stop, deaf) = (Shared::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let end = End { mac: next_hop, ip: to.address };
        let port = to.port;

        let listeners = [
            (gateway, Post::Door, from.segment.interface()),
            (gateway, Post::Exit, to.segment.interface()),
            (to.machine, Post::End, "eth0".to_owned()),
        ]
        .into_iter()
        .map(|(machine, post, interface)| {
            let way = (source.ip, (end.ip, port));
            listen(machine, (post, interface), way, Arc::clone(&log), Arc::clone(&deaf))
        })
        .collect();

        let (into, ended) = (Arc::clone(&log), Arc::clone(&stop));
        let sender = from.machine.spawn(move || {
            let (mut sender, _) = open("eth0", None);
            let mut frame = [0; build::LONGEST];
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                let length = build::syn(&mut frame, source, end, (own_port, port), number).unwrap();
                into.lock().unwrap().sent.push(Instant::now());
                match sender.send_to(&frame[..length], None) {
                    Some(Ok(())) => number += 1,
                    _ => {
                        // What was not sent cannot arrive.
                        into.lock().unwrap().sent.pop();
                    }
                }
                std::thread::sleep(pace);
            }
        });
        Probe { name, log, stop, sender: Some(sender.unwrap()), listeners, deaf }
    }

    /// An infected host towards a victim's file sharing: what containment must drop.
    pub fn forbidden(site: &Site, number: u8) -> Self {
        let network = &site.scene.network;
        let machine = &network.infected[usize::from(number)];
        let from = Origin { machine, segment: Segment::Office, address: site.infected(number) };
        let probe =
            Probe::start(site, "the contained host to 445", &from, &Probe::victim(site), Duration::from_millis(2));
        crate::site::until("the way is open at first", || !probe.log.lock().unwrap().arrived.is_empty());
        probe
    }

    /// The same from an address of the host's own choosing.
    pub fn from_address(site: &Site, number: u8, address: IpAddr) -> Self {
        let network = &site.scene.network;
        let machine = &network.infected[usize::from(number)];
        let from = Origin { machine, segment: Segment::Office, address };
        Probe::start(site, "the new address to 445", &from, &Probe::victim(site), PACE)
    }

    /// The uninvolved client towards the same file sharing: never to be dropped.
    pub fn uninvolved(site: &Site) -> Self {
        let network = &site.scene.network;
        let from = Origin { machine: &network.clinic, segment: Segment::Clinic, address: site.clinic() };
        Probe::start(site, "the uninvolved client to 445", &from, &Probe::victim(site), PACE)
    }

    /// A contained host's clinical work: never to be dropped.
    pub fn clinical(site: &Site, number: u8) -> Self {
        let network = &site.scene.network;
        let machine = &network.infected[usize::from(number)];
        let from = Origin { machine, segment: Segment::Office, address: site.infected(number) };
        let to = Target { machine: &network.server, segment: Segment::Server, address: site.server(), port: 80 };
        Probe::start(site, "the contained host to 80", &from, &to, PACE)
    }

    /// A victim's file sharing.
    fn victim(site: &Site) -> Target<'_> {
        Target { machine: &site.scene.network.wards[0], segment: WARD, address: site.victim(0), port: 445 }
    }

    /// Ends it, and reports what became of every packet.
    pub fn end(mut self) -> Log {
        self.halt();
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Ends it; every packet must have arrived.
    pub fn all_passed(self) -> usize {
        let name = self.name;
        let log = self.end();
        assert!(log.sent() > 0, "{name}: nothing was sent");
        let lost = log.lost();
        let times: Vec<Duration> = lost.iter().map(|at| at.duration_since(log.sent[0])).collect();
        assert!(lost.is_empty(), "{name}: {} of {} packets were lost, at {times:?}", lost.len(), log.sent());
        log.sent()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().unwrap().unwrap();
            std::thread::sleep(IN_FLIGHT);
        }
        self.deaf.store(true, Ordering::Relaxed);
        for listener in self.listeners.drain(..) {
            listener.join().unwrap().unwrap();
        }
    }
}

/// The pace of ways that are to stay open.
const PACE: Duration = Duration::from_millis(10);

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.deaf.store(true, Ordering::Relaxed);
    }
}

/// Ways that must stay open whatever happens: an uninvolved client's file sharing, a contained host's clinical work.
pub struct Bystanders {
    uninvolved: Probe,
    clinical: Probe,
}

impl Bystanders {
    /// Starts them.
    pub fn start(site: &Site) -> Self {
        Bystanders { uninvolved: Probe::uninvolved(site), clinical: Probe::clinical(site, 0) }
    }

    /// Ends them; not one packet may be missing. Gives how many there were.
    pub fn undisturbed(self) -> usize {
        self.uninvolved.all_passed() + self.clinical.all_passed()
    }
}
