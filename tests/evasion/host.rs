//! A host in user space: it has as many addresses and cards as it likes, answers for them or not, and keeps TCP
//! connections over frames of its own making. The machine it lives in has no address, so that no kernel speaks for it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use firedoor::sys::inject::Injector;
use firedoor::sys::namespace::{Error, Namespace};
use firedoor::wire::Mac;
use firedoor::wire::build::{self, End};
use pnet::datalink::{self, Channel};

use crate::dress::Dress;
use crate::packet::{self, Ends, Segment, ethertype, flag, protocol};
use crate::tally;

/// What it sends once a connection stands.
const PAYLOAD: &[u8] = b"\x00\x00\x00\x3cwhat a worm would send, were it one, and some more of it....";

/// A connection attempt under way.
#[derive(Clone, Copy)]
struct Attempt {
    dress: Dress,
    cards: (Mac, Mac),
    sequence: u32,
}

#[derive(Default)]
struct State {
    /// The addresses it answers for, and with which card.
    answers: HashMap<IpAddr, Mac>,
    attempts: HashMap<(IpAddr, u16, IpAddr, u16), Attempt>,
    /// Who completed a handshake with it.
    connected: HashSet<IpAddr>,
    handshakes: usize,
    /// Who answered it in any way.
    alive: HashSet<IpAddr>,
    /// Ports on which it serves: it answers SYNs and sends a file.
    serves: HashSet<u16>,
}

/// The host.
pub struct Host {
    wire: Arc<Injector>,
    card: Mac,
    next_hop: Mac,
    tags: &'static [(u16, u16)],
    state: Arc<Mutex<State>>,
    port: AtomicU16,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<Result<(), Error>>>,
}

impl Host {
    /// Comes to life on an interface of a machine; what it sends goes to the card `next_hop`.
    pub fn start(machine: &Namespace, interface: &str, next_hop: Mac) -> Self {
        Host::tagged(machine, interface, next_hop, &[])
    }

    /// The same with VLAN tags on everything that it sends, the outermost first. It hears whatever comes: the kernel takes the
    /// outer tag off.
    pub fn tagged(machine: &Namespace, interface: &str, next_hop: Mac, tags: &'static [(u16, u16)]) -> Self {
        let index = machine.link(|links| links.index(interface)).unwrap();
        let card = machine.link(|links| links.mac(interface)).unwrap();
        let wire = Arc::new(machine.run(|| Injector::open(index).unwrap()).unwrap());
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (name, out, of, ended) = (interface.to_owned(), Arc::clone(&wire), Arc::clone(&state), Arc::clone(&stop));
        let listener = machine.spawn(move || {
            let interface = datalink::interfaces().into_iter().find(|each| each.name == name).unwrap();
            let config =
                datalink::Config { read_timeout: Some(Duration::from_millis(20)), ..datalink::Config::default() };
            let Channel::Ethernet(_, mut frames) = datalink::channel(&interface, config).unwrap() else {
                panic!("{name} is no Ethernet interface")
            };
            ready.send(()).unwrap();
            while !ended.load(Ordering::Relaxed) {
                match frames.next() {
                    Ok(frame) => {
                        for answer in react(&mut lock(&of), frame) {
                            transmit(&out, &[answer], tags);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::TimedOut => {}
                    // The interface went away.
                    Err(_) => return,
                }
            }
        });
        is_ready.recv().unwrap();
        let port = AtomicU16::new(20_000);
        Host { wire, card, next_hop, tags, state, port, stop, listener: Some(listener.unwrap()) }
    }

    /// Its own card.
    pub const fn card(&self) -> Mac {
        self.card
    }

    /// Answers for this address with its own card.
    pub fn owns(&self, address: IpAddr) {
        self.owns_by(address, self.card);
    }

    /// Answers for this address with this card.
    pub fn owns_by(&self, address: IpAddr, card: Mac) {
        lock(&self.state).answers.insert(address, card);
    }

    /// Answers for this address no more.
    pub fn disowns(&self, address: IpAddr) {
        lock(&self.state).answers.remove(&address);
    }

    /// Serves a file on this port.
    pub fn serves(&self, port: u16) {
        lock(&self.state).serves.insert(port);
    }

    /// Asks for somebody by ARP or neighbour discovery in its own name, which claims that name.
    pub fn asks(&self, from: IpAddr, whom: IpAddr) {
        let mut frame = [0; build::LONGEST];
        let length = build::ask(&mut frame, End { mac: self.card_of(from), ip: from }, whom).unwrap();
        self.send(&[frame[..length].to_vec()]);
    }

    /// Opens a connection from one of its addresses; once it stands, a payload follows.
    pub fn knock(&self, ends: Ends, port: u16, dress: Dress) {
        self.knock_with(self.card_of(ends.0), ends, port, dress, &Segment::default());
    }

    /// The same from any card, with more in its SYN: options, data, flags, a source port.
    /// Gives its source port and sequence number.
    pub fn knock_with(&self, card: Mac, ends: Ends, port: u16, dress: Dress, more: &Segment<'_>) -> (u16, u32) {
        let number = self.port.fetch_add(1, Ordering::Relaxed);
        let own_port = if more.ports.0 == 0 { 20_000 + number % 40_000 } else { more.ports.0 };
        let sequence = 1_000_003_u32.wrapping_mul(u32::from(number));
        let attempt = Attempt { dress, cards: (card, self.next_hop), sequence };
        lock(&self.state).attempts.insert((ends.0, own_port, ends.1, port), attempt);
        let segment = Segment { ports: (own_port, port), flags: flag::SYN | more.flags, sequence, ..*more };
        self.send(&dress.frames(attempt.cards, ends, protocol::TCP, &segment.bytes(ends), number));
        (own_port, sequence)
    }

    /// Sends a packet of any kind.
    pub fn packet(&self, ends: Ends, kind: u8, payload: &[u8], dress: Dress) {
        let number = self.port.fetch_add(1, Ordering::Relaxed);
        let cards = (self.card_of(ends.0), self.next_hop);
        self.send(&dress.frames(cards, ends, kind, payload, number));
    }

    /// Sends frames as they are.
    pub fn send(&self, frames: &[Vec<u8>]) {
        transmit(&self.wire, frames, self.tags);
    }

    /// Who completed a handshake with it.
    pub fn connected(&self) -> HashSet<IpAddr> {
        lock(&self.state).connected.clone()
    }

    /// How many handshakes it completed.
    pub fn handshakes(&self) -> usize {
        lock(&self.state).handshakes
    }

    /// Who answered it in any way.
    pub fn alive(&self) -> HashSet<IpAddr> {
        lock(&self.state).alive.clone()
    }

    fn card_of(&self, address: IpAddr) -> Mac {
        lock(&self.state).answers.get(&address).copied().unwrap_or(self.card)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // What it failed of, a test has noticed.
            let _ = listener.join();
        }
    }
}

fn transmit(wire: &Injector, frames: &[Vec<u8>], tags: &[(u16, u16)]) {
    for frame in frames {
        // A queue that is full for a moment loses a frame, as it would a worm's.
        let _ = wire.send(&[&packet::tagged(frame, tags)]);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What it answers to a frame, whatever tags are left on it.
fn react(state: &mut State, frame: &[u8]) -> Vec<Vec<u8>> {
    let frame = &tally::untagged(frame)[..];
    let Some(sender) = frame.get(6..12).map(|bytes| Mac(bytes.try_into().unwrap())) else { return Vec::new() };
    if state.answers.values().any(|card| *card == sender) {
        // The kernel shows what leaves as well.
        return Vec::new();
    }
    let kind = frame.get(12..14).map(|two| u16::from_be_bytes([two[0], two[1]]));
    if kind == Some(ethertype::ARP) {
        let Some((from, to)) = tally::question(frame) else { return Vec::new() };
        return state.answers.get(&to).map(|card| packet::reply((to, *card), (from, sender))).into_iter().collect();
    }
    let Some(read) = tally::read(frame) else { return Vec::new() };
    if let tally::Kind::Asked(target) = read.kind {
        let answer =
            state.answers.get(&target).map(|card| packet::advertisement((target, *card), (read.source, sender)));
        return answer.into_iter().collect();
    }
    let mine = state.answers.contains_key(&read.destination)
        || state.attempts.keys().any(|(own, ..)| *own == read.destination);
    if !mine {
        return Vec::new();
    }
    state.alive.insert(read.source);
    let ends = (read.destination, read.source);
    let ports = (read.ports.1, read.ports.0);
    match read.kind {
        tally::Kind::Tcp { flags, sequence, acknowledged }
            if flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK =>
        {
            let Some(attempt) = state.attempts.get(&(ends.0, ports.0, ends.1, ports.1)) else { return Vec::new() };
            // One more than the SYN's own number, and its data if it was taken.
            if !(1..2_000).contains(&acknowledged.wrapping_sub(attempt.sequence)) {
                return Vec::new();
            }
            state.connected.insert(read.source);
            state.handshakes += 1;
            let own =
                Segment { ports, sequence: acknowledged, acknowledged: sequence.wrapping_add(1), ..Segment::default() };
            let segments =
                [Segment { flags: flag::ACK, ..own }, Segment { flags: flag::ACK | flag::PSH, data: PAYLOAD, ..own }];
            let send = |(number, segment): (u16, &Segment<'_>)| {
                let number = ports.0.wrapping_mul(3).wrapping_add(number);
                attempt.dress.frames(attempt.cards, ends, protocol::TCP, &segment.bytes(ends), number)
            };
            (1..).zip(&segments).flat_map(send).collect()
        }
        // It serves: a SYN is answered, and whatever the client acknowledges then begets a piece of the file.
        tally::Kind::Tcp { flags, sequence, acknowledged } if state.serves.contains(&ports.0) => {
            let Some(card) = state.answers.get(&ends.0) else { return Vec::new() };
            let answer = if flags & flag::SYN != 0 {
                Segment {
                    ports,
                    flags: flag::SYN | flag::ACK,
                    sequence: 77,
                    acknowledged: sequence.wrapping_add(1),
                    ..Segment::default()
                }
            } else if flags & flag::ACK != 0 && acknowledged == 78 {
                let acknowledged = sequence.wrapping_add(u32::try_from(read.data).unwrap());
                Segment {
                    ports,
                    flags: flag::PSH | flag::ACK,
                    sequence: 78,
                    acknowledged,
                    data: PAYLOAD,
                    ..Segment::default()
                }
            } else {
                return Vec::new();
            };
            Dress::Plain.frames((*card, sender), ends, protocol::TCP, &answer.bytes(ends), 7)
        }
        _ => Vec::new(),
    }
}
