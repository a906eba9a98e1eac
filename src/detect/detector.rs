//! One shard's core: frames and time in, events out.

use std::sync::Arc;
use std::time::Duration;

use crate::detect::alarm::{Context, REPEAT, cooperative, threshold_of};
use crate::detect::contact::{Beyond, ContactAttempt, has_role, role_allows};
use crate::detect::counters::{Counters, Unverified};
use crate::detect::event::{Directive, Event};
use crate::detect::outcome::Answer;
use crate::detect::settings::{Capacities, Settings};
use crate::detect::smb::{Inspector, Report};
use crate::detect::verify::identify;
use crate::evidence::{Detail, Grade, Reached, Score, Signal};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::attempts::{Due, Opening, Proof};
use crate::track::buckets::Buckets;
use crate::track::contacts::Seen;
use crate::track::hosts::Adopted;
use crate::track::ports::Ports;
use crate::track::recent_traffic::Sent;
use crate::track::{Addresses, Class, Contacts, Deadlines, HashKey, Host, Hosts, RecentTraffic, Shared};
use crate::wire::frame::{
    Arp, Datagram, Direction, Echo, Flags, Fragment, FragmentKind, IcmpError, Neighbour, Opaque, Packet, Segment,
    Transport, Tunnel, TunnelKind,
};
use crate::wire::{Address, Frame, Link, Mac};

/// Datagrams back within this time are part of the same talk.
const TALKING: Duration = Duration::from_secs(600);

/// A host that nobody answers for is not alarmed again for so long.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// The detector of one shard.
///
/// Feed it every frame of interest in order with [`Detector::frame`], call [`Detector::advance`] when time passes
/// without frames, and take its [`Detector::events`] after each.
pub struct Detector {
    pub(super) settings: Arc<Settings>,
    pub(super) generation: u32,
    pub(super) shared: Arc<Shared>,
    pub(super) hosts: Hosts,
    pub(super) contacts: Contacts,
    pub(super) deadlines: Deadlines,
    pub(super) counters: Counters,
    pub(super) buckets: Buckets,
    pub(super) inspector: Inspector,
    pub(super) reports: Vec<Report>,
    pub(super) events: Vec<Event>,
    pub(super) now: Timestamp,
    pub(super) order: u64,
    pub(super) started: Option<Timestamp>,
    pub(super) threshold: Score,
    pub(super) hash_key: HashKey,
    /// A first contact from behind a router that is still to be counted for its network.
    pub(super) beyond: Option<Beyond>,
    /// Links that were to be asked lately.
    pub(super) asks: Pace,
    contained: u32,
}

/// At most so many a second.
#[derive(Default)]
pub(super) struct Pace {
    second: u64,
    count: u32,
}

impl Pace {
    const MOST: u32 = 256;

    /// Whether there may be one more now.
    pub fn may(&mut self, now: Timestamp) -> bool {
        if self.second != now.secs() {
            (self.second, self.count) = (now.secs(), 0);
        }
        self.count += 1;
        self.count <= Self::MOST
    }
}

impl Detector {
    /// One of `shards` detectors; per-daemon capacities are split evenly among them.
    #[must_use]
    pub fn new(settings: Arc<Settings>, shared: Arc<Shared>, shards: usize, hash_key: HashKey) -> Self {
        let capacities = settings.capacities;
        let share = |whole: usize| whole.div_ceil(shards.max(1));
        Detector {
            generation: 1,
            shared,
            hosts: Hosts::new(share(capacities.hosts), hash_key),
            contacts: Contacts::new(share(capacities.contacts), settings.contact_memory, hash_key),
            deadlines: Deadlines::new(share(capacities.attempts), settings.answer_timeout),
            counters: Counters::default(),
            buckets: Buckets::new(hash_key),
            inspector: Inspector::new(share(capacities.streams), hash_key),
            reports: Vec::with_capacity(32),
            events: Vec::with_capacity(16),
            now: Timestamp::ZERO,
            order: 0,
            started: None,
            threshold: settings.threshold,
            hash_key,
            beyond: None,
            asks: Pace::default(),
            contained: 0,
            settings,
        }
    }

    /// The most memory that `shards` detectors come to hold together, with the address table that they share.
    #[must_use]
    pub fn bytes(capacities: &Capacities, shards: usize) -> usize {
        let share = |whole: usize| whole.div_ceil(shards.max(1));
        let each = Hosts::bytes(share(capacities.hosts))
            + Contacts::bytes(share(capacities.contacts))
            + Deadlines::bytes(share(capacities.attempts))
            + Inspector::bytes(share(capacities.streams));
        each * shards.max(1) + Addresses::bytes(capacities.addresses) + RecentTraffic::BYTES
    }

    /// Takes one frame. `order` counts frames over all shards; it only breaks ties between equal times.
    pub fn frame(&mut self, frame: &Frame<'_>, order: u64) {
        self.advance(frame.meta.at);
        self.order = order;
        self.started.get_or_insert(self.now);
        self.counters.frames += 1;
        if frame.link().outer != 0 {
            self.shared.saw_tag();
        }
        if let Some(Tunnel { kind, outer_source, outer_destination }) = frame.tunnel {
            self.tunnels(frame, kind, outer_source, outer_destination);
        }
        match &frame.packet {
            Packet::Tcp(segment) => self.tcp(frame, segment),
            Packet::Udp(datagram) => self.udp(frame, *datagram),
            Packet::Arp(arp) => self.arp(frame, *arp),
            Packet::Neighbour(neighbour) => self.neighbour(frame, *neighbour),
            Packet::Echo(echo) => self.echo(frame, *echo),
            Packet::IcmpError(error) => self.icmp_error(frame, *error),
            Packet::Fragment(fragment) => self.fragment(frame, *fragment),
            Packet::Tunnel(Opaque { kind, source, destination, .. }) => {
                self.tunnels(frame, *kind, *source, *destination);
            }
            Packet::OtherIp { .. } | Packet::NonIp => {}
        }
        self.count_beyond();
    }

    fn tcp(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination, source_port, destination_port, flags, .. } = *segment;
        self.note_traffic(frame, source, destination);
        // Every segment of a connection but its first has ACK (RFC 9293 §3.10.7.4); what has neither, or SYN with FIN, asks
        // who is there. Nobody opens and ends with one segment either.
        let contradicts = flags.is_rst() && flags.0 & Flags::SYN != 0;
        let probes = contradicts || (!flags.is_ack() && !flags.is_rst() && !flags.is_syn());
        if flags.is_syn() || probes {
            if frame.meta.direction == Direction::In && destination.is_unicast() && source.is_unicast() {
                let class = if self.settings.lateral.has_tcp(destination_port) { Class::Lateral } else { Class::Other };
                self.attempt(
                    frame,
                    ContactAttempt {
                        host: source,
                        peer: destination,
                        port: destination_port,
                        class,
                        transport: Transport::Tcp,
                        // A probe may be answered with its own number: it need not count one.
                        opening: Opening {
                            port: source_port,
                            sequence: segment.sequence.wrapping_sub(u32::from(probes)),
                        },
                        running: false,
                    },
                );
            }
        } else if flags.is_syn_ack() {
            let proof = Proof::Acknowledges { port: destination_port, number: segment.acknowledgement };
            if self.is_forged(frame, destination, source, source_port, proof) {
                return;
            }
            self.alive(source);
            if self.settings.lateral.has_tcp(source_port) || self.settings.decoys.contains(source) {
                self.offered(source, destination, source_port, segment.sequence.wrapping_add(1));
            }
            self.answer(destination, source, source_port, &[Class::Lateral, Class::Other], proof, Answer::Open);
        } else if flags.is_rst() {
            let proof = Proof::Acknowledges { port: destination_port, number: segment.acknowledgement };
            if self.is_forged(frame, destination, source, source_port, proof) {
                return;
            }
            self.alive(source);
            let classes = [Class::Lateral, Class::Other];
            // Without ACK it answers no SYN.
            let settled =
                flags.is_ack() && self.answer(destination, source, source_port, &classes, proof, Answer::Refused);
            if !settled && frame.meta.direction == Direction::In {
                self.refused(segment);
            }
        } else {
            if frame.meta.direction == Direction::In && flags.is_ack() {
                self.acknowledged(frame, segment);
            }
            let (to, from) =
                (self.settings.lateral.has_tcp(destination_port), self.settings.lateral.has_tcp(source_port));
            if frame.meta.direction == Direction::In
                && to
                && !from
                && segment.payload_length > 0
                && source.is_unicast()
                && destination.is_unicast()
            {
                self.attempt(
                    frame,
                    ContactAttempt {
                        host: source,
                        peer: destination,
                        port: destination_port,
                        class: Class::Lateral,
                        transport: Transport::Tcp,
                        opening: Opening { port: source_port, sequence: segment.sequence },
                        running: true,
                    },
                );
            }
        }
        self.inspect(frame, segment);
    }

    fn udp(&mut self, frame: &Frame<'_>, datagram: Datagram) {
        let Datagram { source, destination, source_port, destination_port } = datagram;
        let out = frame.meta.direction == Direction::Out;
        if !source.is_unicast() {
            return;
        }
        let (to, from) = (self.settings.lateral.has_udp(destination_port), self.settings.lateral.has_udp(source_port));
        if from && !to && destination.is_unicast() {
            let proof = Proof::Port(destination_port);
            if self.is_forged(frame, destination, source, source_port, proof) {
                return;
            }
            self.answer(destination, source, source_port, &[Class::LateralUdp], proof, Answer::Open);
        }
        if out {
            return;
        }
        self.alive(source);
        if !destination.is_unicast() {
            return;
        }
        // Who was asked lately answers; who asks is who sent first, also where both ports are the service's, as NetBIOS
        // has it.
        let traffic = &self.shared.recent_traffic;
        let answers = traffic.within(Sent::Datagram, destination, source, TALKING, self.now);
        if !self.misplaced(frame, source) {
            traffic.note(Sent::Datagram, source, destination, self.now);
        }
        self.note_traffic(frame, source, destination);
        // What is sent to everybody on the link, as names are looked for by broadcast, asks nobody in particular: by the
        // frame, and by an address that may be a network's last (of a /26 or wider), for any stack takes a frame to all.
        let to_all = destination.is_v4()
            && destination.bits() & 0x3f == 0x3f
            && frame.mac_destination.is_some_and(Mac::is_group);
        if !answers && !to_all && (to || !from) {
            let (host, port, transport) = (source, destination_port, Transport::Udp);
            let class = if to { Class::LateralUdp } else { Class::OtherUdp };
            let opening = Opening { port: source_port, sequence: 0 };
            self.attempt(
                frame,
                ContactAttempt { host, peer: destination, port, class, transport, opening, running: false },
            );
        }
    }

    /// Notes in whose name something is sent to whom.
    fn note_traffic(&self, frame: &Frame<'_>, source: Address, destination: Address) {
        if frame.meta.direction == Direction::In {
            self.shared.recent_traffic.note(Sent::Anything, source, destination, self.now);
        }
    }

    fn arp(&mut self, frame: &Frame<'_>, arp: Arp) {
        let own = frame.meta.direction == Direction::Out;
        if !arp.request {
            if !own && arp.sender.is_unicast() {
                self.alive(arp.sender);
                self.shared.probes.answered(arp.sender, arp.sender_mac);
                self.owns(frame.link(), arp.sender_mac, arp.sender);
                self.answer(arp.target, arp.sender, 0, &[Class::Arp], Proof::Port(0), Answer::Open);
            }
            return;
        }
        if !own && arp.sender.is_unicast() {
            self.shared.addresses.claimed(frame.link(), arp.sender, arp.sender_mac, self.now);
        }
        self.asked_for(frame, arp.sender, arp.target);
    }

    fn neighbour(&mut self, frame: &Frame<'_>, neighbour: Neighbour) {
        let own = frame.meta.direction == Direction::Out;
        if neighbour.solicitation {
            if let Some(card) = frame.mac_source.filter(|_| !own && neighbour.source.is_unicast()) {
                self.shared.addresses.claimed(frame.link(), neighbour.source, card, self.now);
            }
            self.asked_for(frame, neighbour.source, neighbour.target);
        } else if !own && neighbour.target.is_unicast() {
            self.alive(neighbour.target);
            if let Some(card) = frame.mac_source {
                self.shared.probes.answered(neighbour.target, card);
                self.owns(frame.link(), card, neighbour.target);
            }
        }
    }

    /// An ARP request or neighbour solicitation: `sender` asks the link for `target`.
    fn asked_for(&mut self, frame: &Frame<'_>, sender: Address, target: Address) {
        if !target.is_unicast() || target == sender {
            // An announcement: it proves that the sender is there.
            if frame.meta.direction == Direction::In && sender.is_unicast() {
                self.alive(sender);
            }
            return;
        }
        if frame.meta.direction == Direction::Out || self.settings.own.contains(sender) {
            if self.settings.protected.contains(target) && !self.shared.addresses.is_alive(target, self.now) {
                self.shared.addresses.asked(target, self.now);
            }
            return;
        }
        if !sender.is_unicast() {
            return;
        }
        self.alive(sender);
        if self.settings.protected.contains(target) {
            let (class, transport, opening) = (Class::Arp, Transport::Other, Opening::default());
            self.attempt(
                frame,
                ContactAttempt { host: sender, peer: target, port: 0, class, transport, opening, running: false },
            );
        }
    }

    fn echo(&mut self, frame: &Frame<'_>, echo: Echo) {
        if !echo.source.is_unicast() || !echo.destination.is_unicast() {
            return;
        }
        self.note_traffic(frame, echo.source, echo.destination);
        if !echo.request {
            if self.is_forged(frame, echo.destination, echo.source, 0, Proof::Port(0)) {
                return;
            }
            self.alive(echo.source);
            self.answer(echo.destination, echo.source, 0, &[Class::Echo], Proof::Port(0), Answer::Open);
        } else if frame.meta.direction == Direction::In && self.settings.protected.contains(echo.destination) {
            let (class, transport, opening) = (Class::Echo, Transport::Icmp, Opening::default());
            let (host, peer) = (echo.source, echo.destination);
            self.attempt(frame, ContactAttempt { host, peer, port: 0, class, transport, opening, running: false });
        }
    }

    fn icmp_error(&mut self, frame: &Frame<'_>, error: IcmpError) {
        if error.reporter.is_unicast() {
            self.alive(error.reporter);
        }
        if !error.is_failure() {
            return;
        }
        let (kind, code) = error.kind;
        let classes: &[Class] = match error.transport {
            Transport::Tcp => &[Class::Lateral, Class::Other],
            Transport::Udp => &[Class::LateralUdp, Class::OtherUdp],
            Transport::Icmp => &[Class::Echo],
            Transport::Other => return,
        };
        let (port, proof) = (error.destination_port, Proof::Port(error.source_port));
        let answer = Answer::Unreachable { kind, code };
        let settled = self.answer(error.source, error.destination, port, classes, proof, answer);
        // A port or protocol that is not there (RFC 792, RFC 4443 §3.1), by the destination itself: it is there.
        let itself = error.reporter == error.destination && matches!((kind, code), (3, 2 | 3) | (1, 4));
        if !settled && itself && frame.meta.direction == Direction::In {
            let detail = Detail::Unreachable { kind, code };
            self.found_out(error.source, error.source_port, error.destination, port, detail);
        }
    }

    fn fragment(&mut self, frame: &Frame<'_>, fragment: Fragment) {
        if frame.meta.direction == Direction::Out || frame.tunnel.is_some() {
            return;
        }
        let (what, source) = match fragment.kind {
            FragmentKind::Tiny => ("a first fragment that ends within its transport header", "RFC 1858"),
            FragmentKind::Overlapping => ("a fragment that would overwrite the transport header", "RFC 3128"),
            FragmentKind::Headless => ("a first fragment without its transport header", "RFC 7112"),
        };
        let detail = Detail::Fields { what, values: [0; 4], source };
        self.hides(frame, fragment.source, fragment.destination, detail);
    }

    /// `source` sends through a tunnel to `destination`. That it begins to is worth a look, once a pair: what was there at
    /// the start is a site's.
    fn tunnels(&mut self, frame: &Frame<'_>, kind: TunnelKind, source: Address, destination: Address) {
        let (now, threshold, generation) = (self.now, self.threshold, self.generation);
        let Detector { settings, shared, hosts, contacts, counters, events, started, .. } = self;
        let settings = &**settings;
        if frame.meta.direction == Direction::Out
            || !settings.protected.contains(source)
            || settings.own.contains(source)
            || !destination.is_unicast()
        {
            return;
        }
        let Ok((host, _)) = identify(settings, shared, hosts, frame, source, now) else { return };
        if contacts.meet(host.party(), destination, Class::Tunnel, now) == Seen::Before {
            return;
        }
        if now.since(started.unwrap_or(now)) < settings.start_up_grace {
            counters.learnt += 1;
            return;
        }
        let transport = Transport::Other;
        let opening = Opening::default();
        let what = ContactAttempt {
            host: source,
            peer: destination,
            port: 0,
            class: Class::Tunnel,
            transport,
            opening,
            running: false,
        };
        if has_role(settings, host, generation, now, |role| role_allows(role, what)) {
            counters.unverified(Unverified::Role);
            return;
        }
        counters.tunnels += 1;
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        let detail = Detail::Tunnel { kind, inside: 0 };
        ctx.tip(host, Signal::Tunnel, destination, 0, Grade::Watch, detail);
    }

    /// `frame` is a fragment by which `source` hides a transport header from `destination`'s gateway; `detail` says how.
    /// Each new peer weighs once.
    pub fn hides(&mut self, frame: &Frame<'_>, source: Address, destination: Address, detail: Detail) {
        let (now, threshold) = (self.now, self.threshold);
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        if !settings.protected.contains(source) || settings.own.contains(source) || !destination.is_unicast() {
            return;
        }
        let host = match identify(settings, shared, hosts, frame, source, now) {
            Ok((host, _)) => host,
            Err(rejection) => {
                if let Some(rejection) = rejection {
                    counters.unverified(rejection.reason);
                }
                return;
            }
        };
        if host.acted || contacts.meet(host.party(), destination, Class::Fragment, now) == Seen::Before {
            return;
        }
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        ctx.weigh(host, Signal::FragmentEvasion, destination, 0, settings.weights.fragment, detail);
    }

    /// Notes that `address` sent something.
    fn alive(&mut self, address: Address) {
        if self.settings.protected.contains(address) {
            self.shared.addresses.saw(address, self.now);
        }
    }

    /// A server answered `host`: whoever acknowledges that has seen it, and is who it says.
    fn offered(&mut self, server: Address, host: Address, port: u16, number: u32) {
        if let Some(host) = self.hosts.get_mut_where(host, |host| host.attempts.awaits(server, port)) {
            host.offered = Some((server, port, number));
        }
    }

    /// A client's segment: if it acknowledges what its server offered, the client is there.
    fn acknowledged(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination, destination_port, acknowledgement, .. } = *segment;
        let (link, now) = (frame.link(), self.now);
        let card = frame.mac_source.unwrap_or_default();
        let Some(slot) = self.hosts.sender(source, link, card) else { return };
        let Some(host) = self.hosts.sending(slot, source) else { return };
        // Servers that speak first may have sent a little by the time that this is the first segment seen.
        let acknowledges = host.offered.is_some_and(|(server, port, number)| {
            server == destination && port == destination_port && acknowledgement.wrapping_sub(number) < 0x1_0000
        });
        let is_card = host.is_card();
        // What another card sends in this name is another's.
        if !acknowledges || !(is_card || host.attachment.mac == card) {
            return;
        }
        host.offered = None;
        // As good as an answer to whoever asks the link for it just now.
        self.shared.probes.answered(source, card);
        let unconfirmed = host.unconfirmed.take();
        if unconfirmed.is_some() {
            host.alarmed = None;
        }
        if self.settings.decoys.contains(destination) {
            self.decoy_completed(frame, segment);
        }
        if !is_card && frame.mac_source.is_some() {
            self.places(link, card, source, slot);
        }
        if let Some(since) = unconfirmed {
            let Detector { settings, shared, hosts, counters, events, threshold, .. } = self;
            let threshold = *threshold;
            if let Some(host) = hosts.get_mut(source).filter(|host| !host.acted) {
                Context { settings, shared, counters, events, now, threshold }.confirm(host, since);
            }
        }
    }

    /// A handshake from `source`, the host in `slot`, was completed through `card`: it is the card's, or the card forwards.
    fn places(&mut self, link: Link, card: Mac, source: Address, slot: usize) {
        let (addresses, now) = (&self.shared.addresses, self.now);
        let (its, forwarder) =
            (addresses.resolution(link, source, now) == Some(card), addresses.is_forwarder(link, card, now));
        if its || (!forwarder && self.settings.is_attached(link.interface, source)) {
            self.owns(link, card, source);
        } else if !forwarder && self.settings.protected.contains(source) {
            addresses.forwards(link, card, now);
            self.events.push(Event::Forwards { link, card, does: true });
            if let Some(host) = self.hosts.slot_mut(slot) {
                host.vouched = true;
            }
        }
    }

    /// `card` has proved on `link` that `address` is its own.
    pub fn owns(&mut self, link: Link, card: Mac, address: Address) {
        let now = self.now;
        let before = self.shared.addresses.answered_from(link, address, now);
        self.shared.addresses.resolved(link, address, card, now);
        if let Some(host) = self.hosts.lose(link, card, address)
            && host.acted
        {
            self.events.push(Event::Lost { suspect: host.suspect, address, to: card, at: now });
        }
        let to = Suspect::card(link, card);
        let adopted = self.hosts.adopt(link, card, address, now, self.settings.decay);
        let threshold = self.threshold;
        let Detector { settings, shared, hosts, counters, events, .. } = self;
        let Some(host) = hosts.suspect_mut(to) else { return };
        if std::mem::take(&mut host.vouched) {
            shared.addresses.ends(link, card);
            events.push(Event::Forwards { link, card, does: false });
        }
        match adopted {
            Adopted::Nothing | Adopted::Named => {
                // One that it had lost to another card is its again.
                if host.acted && (adopted == Adopted::Named || before != Some(card)) {
                    events.push(Event::Named { suspect: to, address, at: now });
                }
            }
            Adopted::Moved(from) => {
                if host.acted || host.alarmed.is_some() || host.epoch > 0 {
                    events.push(Event::Identified { from, to, address, at: now });
                }
                Context { settings, shared, counters, events, now, threshold }.reconsider(host);
            }
        }
    }

    fn decoy_completed(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination: decoy, destination_port: port, .. } = *segment;
        let (now, threshold, generation) = (self.now, self.threshold, self.generation);
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        if !settings.protected.contains(source) {
            return;
        }
        let host = match identify(settings, shared, hosts, frame, source, now) {
            Ok((host, _)) if !host.acted => host,
            Err(Some(rejection)) => {
                counters.unverified(rejection.reason);
                return;
            }
            Ok(_) | Err(None) => return,
        };
        let transport = Transport::Tcp;
        let (class, opening) = (Class::Decoy, Opening::default());
        let what = ContactAttempt { host: source, peer: decoy, port, class, transport, opening, running: false };
        if has_role(settings, host, generation, now, |role| role_allows(role, what)) {
            counters.unverified(Unverified::Role);
            return;
        }
        if contacts.meet(host.party(), decoy, Class::Decoy, now) == Seen::Before {
            return;
        }
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        let detail = Detail::Fields { what: "bait address talked to", values: [0; 4], source: "config: decoys" };
        ctx.weigh(host, Signal::Decoy, decoy, port, settings.weights.decoy, detail);
    }

    /// Lets time pass: attempts whose answer is overdue have failed.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(due) = self.deadlines.take(self.now) {
            self.judge(due);
        }
    }

    /// The next deadline, for drivers that keep several detectors in step.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Due> {
        self.deadlines.next()
    }

    /// Judges the next deadline alone, if it is due by `now`.
    pub fn judge_next(&mut self, now: Timestamp) {
        if let Some(due) = self.deadlines.take(now) {
            self.now = self.now.max(due.at);
            self.judge(due);
        }
    }

    /// The events since the last call.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.drain(..)
    }

    /// Whether there are events to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Hears what was decided. `mine` says whether this shard keeps an address.
    pub fn direct(&mut self, directive: &Directive, mine: impl Fn(Address) -> bool) {
        match directive {
            Directive::Acted { suspect, addresses } => {
                let first = addresses.first().copied().unwrap_or_default();
                if self.hosts.suspect(*suspect).is_none() && !mine(first) {
                    return;
                }
                for address in addresses.iter().rev() {
                    self.hosts.find_or_insert(*suspect, *address, self.now);
                }
                for slot in self.meant(*suspect) {
                    let Some(host) = self.hosts.slot_mut(slot) else { continue };
                    host.acted = true;
                    host.attempts.clear();
                    host.lateral.clear();
                    host.ports = Ports::default();
                    host.dirty = true;
                }
            }
            Directive::Owns { link, card, address } => self.owns(*link, *card, *address),
            Directive::Released { suspect } => {
                for slot in self.meant(*suspect) {
                    if let Some(host) = self.hosts.slot_mut(slot) {
                        host.reset(self.now);
                    }
                }
            }
            Directive::Spoofed { suspect, reason } => {
                if let Some(host) = self.hosts.suspect_mut(*suspect).filter(|host| !host.acted) {
                    self.counters.unverified(*reason);
                    if *reason == Unverified::NobodyThere {
                        // A host that hides shows itself by the next handshake it completes: what was said of it stands.
                        host.unconfirmed = Some(self.now);
                        host.alarmed = Some(self.now - REPEAT + UNCONFIRMED);
                    } else {
                        // Where its device has answered, a forger is not listened to any more, and the host itself is.
                        host.reset(self.now);
                        host.destinations = 0;
                        // Its place is learnt anew.
                        host.attached_at = Timestamp::ZERO;
                    }
                    host.watched = Some(self.now);
                }
            }
            Directive::Contained { hosts } => {
                self.contained = *hosts;
                self.threshold = cooperative(&self.settings, *hosts);
            }
            Directive::Exposed { from, reached, at } => {
                for Reached { destination, port } in reached.iter().filter(|reached| mine(reached.destination)) {
                    if !self.settings.protected.contains(*destination) {
                        continue;
                    }
                    if self.hosts.get(*destination).is_none() {
                        // Where it is shows when it first sends something.
                        self.hosts.find_or_insert(
                            Suspect::address(Link::default(), *destination),
                            *destination,
                            self.now,
                        );
                    }
                    if let Some(host) = self.hosts.get_mut(*destination).filter(|host| !host.acted) {
                        host.exposed = Some((*from, *port, *at));
                        host.dirty = true;
                    }
                }
            }
        }
    }

    /// The slots that a directive is about: the suspect's; for an address whose place is not known, those of everybody who
    /// uses it.
    fn meant(&self, suspect: Suspect) -> Vec<usize> {
        match suspect {
            Suspect { link, who: Who::Address(address) } if link == Link::default() => {
                self.hosts.slots_of(address).into_iter().flatten().collect()
            }
            _ => self.hosts.slot_of(suspect).into_iter().collect(),
        }
    }

    /// Takes new settings; tables keep what they hold, capacities stay.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.deadlines.set_timeout(self.settings.answer_timeout);
        self.threshold = cooperative(&self.settings, self.contained);
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The host that uses an address, if one is known; of several the one seen last.
    #[must_use]
    pub fn host(&self, address: Address) -> Option<&Host> {
        self.hosts.get(address)
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The hosts, to take their `dirty` marks.
    pub fn hosts_mut(&mut self) -> &mut Hosts {
        &mut self.hosts
    }

    /// The contact memory.
    #[must_use]
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// The SMB and DCE/RPC inspection.
    #[must_use]
    pub fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// The queue of deadlines.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// The threshold that applies to `host` now.
    #[must_use]
    pub fn threshold_of(&self, host: &Host) -> Score {
        threshold_of(&self.settings, self.threshold, host)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The time of the latest frame or step.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_card_loses_an_address_to_the_card_that_answers_for_it_and_regains_it_the_same_way() {
        let shared = Arc::new(Shared::new(64, Duration::from_secs(86_400), HashKey::new(1)));
        let mut detector = Detector::new(Arc::new(Settings::default()), shared, 1, HashKey::new(1));
        let (link, address) = (Link::untagged(2), Address::v4([10, 0, 1, 5]));
        let [worm, next] = [5, 6].map(|last| Mac([2, 0, 0, 0, 0, last]));
        let suspect = Suspect::card(link, worm);
        detector.advance(Timestamp::from_secs(1_000_000));
        let at = detector.now();
        detector.direct(&Directive::Acted { suspect, addresses: vec![address] }, |_| true);
        detector.owns(link, worm, address);
        detector.events().for_each(drop);

        detector.owns(link, next, address);
        let lost = Event::Lost { suspect, address, to: next, at };
        assert_eq!(detector.events().collect::<Vec<_>>(), [lost], "though it is its only one");
        detector.owns(link, worm, address);
        assert_eq!(detector.events().collect::<Vec<_>>(), [Event::Named { suspect, address, at }]);
        detector.owns(link, worm, address);
        assert_eq!(detector.events().count(), 0, "said once");
    }
}
