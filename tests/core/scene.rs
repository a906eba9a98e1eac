//! A small network to play scenes in: hosts by number, packets by what they mean, time by hand.

use std::sync::Arc;
use std::time::Duration;

use firedoor::detect::{self, Signal, evidence::Score};
use firedoor::replay::Lockstep;
use firedoor::respond::{self, Decision, Effect, Responder, Verdict};
use firedoor::suspect::Suspect;
use firedoor::time::Timestamp;
use firedoor::wire::frame::{
    Arp, Datagram, Echo, EchoKind, Encapsulation, Flags, Frame, IcmpError, Meta, Neighbour, Packet, Segment, Transport,
};
use firedoor::wire::{Address, Mac};

/// Longer than the answer timeout: after it, silence has been judged.
pub const VERDICT: Duration = Duration::from_millis(400);

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Both families, so that every scene can be played in each.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Number `host` of segment `segment`: 10.0.S.H/24 or fd00:0:0:S::H/64. IPv4 numbers from 256 on are of other
    /// segments that nobody knows.
    pub const fn address(self, segment: u8, host: u16) -> Address {
        let [high, low] = host.to_be_bytes();
        match self {
            Family::V4 => Address::v4([10, high, segment, low]),
            Family::V6 => Address::v6([0xfd, 0, 0, 0, 0, 0, 0, segment, 0, 0, 0, 0, 0, 0, high, low]),
        }
    }

    /// A workstation.
    pub const fn client(self, host: u16) -> Address {
        self.address(CLIENTS, host)
    }

    /// Somebody alive in the server segment.
    pub const fn server(self, host: u16) -> Address {
        self.address(SERVERS, host)
    }

    /// Nobody, in a segment where others are.
    pub const fn dark(self, host: u16) -> Address {
        self.address(VACANT, host)
    }

    /// The router's address in the clients' segment.
    pub const fn router(self) -> Address {
        self.client(254)
    }
}

pub const CLIENTS: u8 = 1;
pub const SERVERS: u8 = 2;
pub const VACANT: u8 = 3;

/// The suspect of most scenes.
pub const HOST: Address = Family::V4.client(7);

/// What comes back from a first contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    Refused,
    Unreachable,
    Silent,
}

pub struct Scene {
    pub core: Lockstep,
    pub now: Timestamp,
    decisions: Vec<Decision>,
    /// The hardware address to send from, instead of the host's own.
    pub mac: Option<Mac>,
    /// The interface to arrive on, instead of the segment's own.
    pub interface: Option<u32>,
    /// The hardware address that frames are sent to, where it matters.
    pub to_card: Option<Mac>,
}

/// Settings as shipped, changed by `change`.
pub fn settings(change: impl FnOnce(&mut detect::Settings)) -> detect::Settings {
    let mut settings = detect::Settings::default();
    change(&mut settings);
    settings
}

impl Scene {
    /// Nobody was ever seen.
    pub fn fresh() -> Self {
        Scene::with(detect::Settings::default())
    }

    pub fn with(settings: detect::Settings) -> Self {
        Scene::driven(settings, respond::Settings::default(), 1)
    }

    pub fn driven(detect: detect::Settings, respond: respond::Settings, shards: usize) -> Self {
        Scene {
            core: Lockstep::new(detect, respond, shards),
            now: Timestamp::from_secs(1_700_000_000),
            decisions: Vec::new(),
            mac: None,
            interface: None,
            to_card: None,
        }
    }

    /// Every segment has been watched for long enough, and servers 1 to 200 are alive.
    pub fn settled() -> Self {
        Scene::fresh().settle()
    }

    pub fn settle(mut self) -> Self {
        for family in FAMILIES {
            for segment in [CLIENTS, VACANT] {
                self.lives(family.address(segment, 250));
            }
            for host in 1..=200 {
                self.lives(family.server(host));
            }
        }
        self.wait(secs(600));
        self
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.advance(self.now);
        self.decisions.extend(self.core.decisions().into_iter().map(Arc::unwrap_or_clone));
    }

    /// The hardware address of a host: its own, one a host.
    pub fn mac_of(host: Address) -> Mac {
        let [.., segment, _, _, _, _, a, b, c, d] = host.bits().to_be_bytes();
        if host.is_v4() { Mac([2, 4, a, b, c, d]) } else { Mac([2, 6, segment, b, c, d]) }
    }

    pub fn send(&mut self, from: Address, packet: Packet<'_>) {
        let [.., segment, _] = from.bits().to_be_bytes();
        let frame = Frame {
            meta: Meta {
                at: self.now,
                interface: self.interface.unwrap_or(u32::from(if from.is_v4() { segment } else { 0 })),
                ..Meta::default()
            },
            mac_source: Some(self.mac.unwrap_or_else(|| Scene::mac_of(from))),
            mac_destination: self.to_card,
            encapsulation: Encapsulation::None,
            tunnel: None,
            unread: None,
            packet,
        };
        self.core.frame(frame);
        self.decisions.extend(self.core.decisions().into_iter().map(Arc::unwrap_or_clone));
    }

    pub fn tcp(&mut self, from: (Address, u16), to: (Address, u16), flags: u8, payload: u32) {
        let segment = Segment {
            source: from.0,
            destination: to.0,
            source_port: from.1,
            destination_port: to.1,
            flags: Flags(flags),
            // Enough of a sequence number that an answer can acknowledge it.
            sequence: isn(from.0, to.0) + u32::from(flags & Flags::SYN == 0),
            acknowledgement: if flags & Flags::ACK == 0 { 0 } else { isn(to.0, from.0) + 1 },
            payload_length: payload,
            payload: &[],
        };
        self.send(from.0, Packet::Tcp(segment));
    }

    /// A segment with numbers of the test's own.
    pub fn raw(&mut self, from: (Address, u16), to: (Address, u16), flags: u8, sequence: u32, acknowledgement: u32) {
        let segment = Segment {
            source: from.0,
            destination: to.0,
            source_port: from.1,
            destination_port: to.1,
            flags: Flags(flags),
            sequence,
            acknowledgement,
            payload_length: 0,
            payload: &[],
        };
        self.send(from.0, Packet::Tcp(segment));
    }

    pub fn syn(&mut self, from: Address, to: Address, port: u16) {
        self.tcp((from, 40_000), (to, port), Flags::SYN, 0);
    }

    pub fn syn_ack(&mut self, server: Address, client: Address, port: u16) {
        self.tcp((server, port), (client, 40_000), Flags::SYN | Flags::ACK, 0);
    }

    pub fn rst(&mut self, server: Address, client: Address, port: u16) {
        self.tcp((server, port), (client, 40_000), Flags::RST | Flags::ACK, 0);
    }

    /// The client's end of a connection.
    pub fn fin(&mut self, from: Address, to: Address, port: u16) {
        self.tcp((from, 40_000), (to, port), Flags::FIN | Flags::ACK, 0);
    }

    pub fn data(&mut self, from: Address, to: Address, port: u16) {
        self.tcp((from, 40_000), (to, port), Flags::ACK | Flags::PSH, 100);
    }

    /// A whole connection, as a client and a server have it.
    pub fn connect(&mut self, from: Address, to: Address, port: u16) {
        self.syn(from, to, port);
        self.syn_ack(to, from, port);
        self.data(from, to, port);
    }

    pub fn unreachable(&mut self, reporter: Address, from: Address, to: Address, port: u16, transport: Transport) {
        let error = IcmpError {
            reporter,
            source: from,
            destination: to,
            transport,
            source_port: if port == 0 { 0 } else { 40_000 },
            destination_port: port,
            sequence: None,
            kind: if from.is_v4() { (3, 1) } else { (1, 3) },
        };
        self.send(reporter, Packet::IcmpError(error));
    }

    /// `peer` says that it has no such port, to a datagram or segment of `host`'s.
    pub fn refuses(&mut self, peer: Address, host: Address, port: u16, transport: Transport) {
        let error = IcmpError {
            reporter: peer,
            source: host,
            destination: peer,
            transport,
            source_port: 40_000,
            destination_port: port,
            sequence: None,
            kind: if host.is_v4() { (3, 3) } else { (1, 4) },
        };
        self.send(peer, Packet::IcmpError(error));
    }

    pub fn udp(&mut self, from: (Address, u16), to: (Address, u16)) {
        let packet = Datagram { source: from.0, destination: to.0, source_port: from.1, destination_port: to.1 };
        self.send(from.0, Packet::Udp(packet));
    }

    /// `host` shows that it is there: it speaks to the multicast DNS group.
    pub fn lives(&mut self, host: Address) {
        let group = if host.is_v4() { "224.0.0.251" } else { "ff02::fb" };
        self.udp((host, 5353), (group.parse().unwrap(), 5353));
    }

    pub fn ping(&mut self, from: Address, to: Address) {
        self.send(from, Packet::Echo(Echo { kind: EchoKind::Echo, source: from, destination: to, request: true }));
    }

    pub fn pong(&mut self, from: Address, to: Address) {
        self.send(from, Packet::Echo(Echo { kind: EchoKind::Echo, source: from, destination: to, request: false }));
    }

    /// ARP request or neighbour solicitation, as the family has it.
    pub fn who_has(&mut self, from: Address, target: Address) {
        let packet = if from.is_v4() {
            Packet::Arp(Arp {
                request: true,
                sender_mac: self.mac.unwrap_or_else(|| Scene::mac_of(from)),
                sender: from,
                target,
            })
        } else {
            // To the target's solicited-node address (RFC 4291 §2.7.1).
            let low = target.bits() & 0xff_ffff;
            let destination = Address::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low);
            Packet::Neighbour(Neighbour { solicitation: true, source: from, destination, target })
        };
        self.send(from, packet);
    }

    /// Asks three times, a second apart, as operating systems do for who does not answer.
    pub fn who_has_in_vain(&mut self, from: Address, target: Address) {
        for _ in 0..3 {
            self.who_has(from, target);
            self.wait(secs(1));
        }
    }

    /// ARP reply.
    pub fn is_at(&mut self, from: Address, to: Address) {
        let mac = self.mac.unwrap_or_else(|| Scene::mac_of(from));
        self.send(from, Packet::Arp(Arp { request: false, sender_mac: mac, sender: from, target: to }));
    }

    /// A first contact with the outcome given; silence is waited for.
    pub fn contact(&mut self, from: Address, to: Address, port: u16, outcome: Outcome) {
        self.syn(from, to, port);
        match outcome {
            Outcome::Answered => self.syn_ack(to, from, port),
            Outcome::Refused => self.rst(to, from, port),
            Outcome::Unreachable => {
                let router = if from.is_v4() { Family::V4.router() } else { Family::V6.router() };
                self.unreachable(router, from, to, port, Transport::Tcp);
            }
            Outcome::Silent => self.wait(VERDICT),
        }
    }

    /// The decisions about `host` so far.
    pub fn verdicts(&self, host: Address) -> Vec<Verdict> {
        self.about(host).map(|decision| decision.decision).collect()
    }

    pub fn about(&self, host: Address) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter().filter(move |decision| decision.host == host)
    }

    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Whether `host` is contained or isolated now.
    pub fn is_acted_on(&self, host: Address) -> bool {
        self.core.responder().block(host).is_some()
    }

    /// How many times `attempt` must run until `host` is contained or isolated; it is given how often it ran before.
    pub fn until_acted_on(&mut self, host: Address, mut attempt: impl FnMut(&mut Scene, u16)) -> u16 {
        for number in 0..2000 {
            attempt(self, number);
            // It may have been released again since.
            if self.verdicts(host).iter().any(|verdict| matches!(verdict, Verdict::Contain | Verdict::Isolate)) {
                return number + 1;
            }
        }
        panic!("{host} is not acted on after 2,000 attempts; its score is {}", self.score(host).nats());
    }

    /// An engineer's order, and what follows.
    pub fn order<T>(&mut self, order: impl FnOnce(&mut Responder, &mut Vec<Effect>) -> T) -> T {
        let outcome = self.core.order(order);
        self.decisions.extend(self.core.decisions().into_iter().map(Arc::unwrap_or_clone));
        outcome
    }

    /// What decay has left of the host's score.
    pub fn score(&self, host: Address) -> Score {
        let decay = detect::Settings::default().decay;
        self.core.detector(host).and_then(|d| d.host(host)).map_or(Score(0), |host| host.score_now(self.now, decay))
    }

    /// Who `host` is, as far as the core knows.
    pub fn suspect(&self, host: Address) -> Suspect {
        self.core.detector(host).and_then(|d| d.host(host)).expect("it was seen").suspect
    }

    /// The signal that the latest decision about `host` rests on.
    pub fn last_signal(&self, host: Address) -> Option<Signal> {
        self.about(host).next_back()?.evidence.last().map(|evidence| evidence.signal)
    }
}

fn isn(from: Address, to: Address) -> u32 {
    let bits = from.bits().rotate_left(7) ^ to.bits();
    u32::from_be_bytes(bits.to_be_bytes()[12..].try_into().unwrap()) & 0x7fff_ffff
}
