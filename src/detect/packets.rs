//! What each kind of packet shows: who is there, what is attempted, what is answered.

use std::time::Duration;

use crate::detect::attempt::ContactAttempt;
use crate::detect::detector::Detector;
use crate::detect::outcome::Answer;
use crate::evidence::Detail;
use crate::track::Class;
use crate::track::attempts::{Opening, Proof};
use crate::track::recent_traffic::Sent;
use crate::wire::frame::{
    Arp, Datagram, Direction, Echo, Flags, Fragment, FragmentKind, IcmpError, Neighbour, Segment, Transport,
};
use crate::wire::{Address, Frame, Mac};

/// Datagrams back within this time are part of the same talk.
const TALKING: Duration = Duration::from_secs(600);

impl Detector {
    pub(super) fn tcp(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination, source_port, destination_port, flags, .. } = *segment;
        self.note_traffic(frame, source, destination);
        // Every segment of a connection but its first has ACK (RFC 9293 §3.10.7.4); what has neither, or SYN with FIN, asks
        // who is there. Nobody opens and ends with one segment either.
        let contradicts = flags.is_rst() && flags.0 & Flags::SYN != 0;
        let probes = contradicts || (!flags.is_ack() && !flags.is_rst() && !flags.is_syn());
        if flags.is_syn() || probes {
            if frame.meta.direction == Direction::In && destination.is_unicast() && source.is_unicast() {
                let class =
                    if self.scorer.settings.lateral.has_tcp(destination_port) { Class::Lateral } else { Class::Other };
                let what = ContactAttempt::new(source, destination, (Transport::Tcp, destination_port), class);
                // A probe may be answered with its own number: it need not count one.
                let sequence = segment.sequence.wrapping_sub(u32::from(probes));
                self.attempt(frame, what.opened(Opening { port: source_port, sequence }));
            }
        } else if flags.is_syn_ack() {
            let proof = Proof::Acknowledges { port: destination_port, number: segment.acknowledgement };
            if self.is_forged(frame, destination, source, source_port, proof) {
                return;
            }
            self.alive(source);
            if self.scorer.settings.lateral.has_tcp(source_port) || self.scorer.settings.decoys.contains(source) {
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
            let (to, from) = (
                self.scorer.settings.lateral.has_tcp(destination_port),
                self.scorer.settings.lateral.has_tcp(source_port),
            );
            if frame.meta.direction == Direction::In
                && to
                && !from
                && segment.payload_length > 0
                && source.is_unicast()
                && destination.is_unicast()
            {
                let service = (Transport::Tcp, destination_port);
                let what = ContactAttempt::new(source, destination, service, Class::Lateral);
                let opening = Opening { port: source_port, sequence: segment.sequence };
                self.attempt(frame, ContactAttempt { opening, running: true, ..what });
            }
        }
        self.inspect(frame, segment);
    }

    pub(super) fn udp(&mut self, frame: &Frame<'_>, datagram: Datagram) {
        let Datagram { source, destination, source_port, destination_port } = datagram;
        let out = frame.meta.direction == Direction::Out;
        if !source.is_unicast() {
            return;
        }
        let (to, from) =
            (self.scorer.settings.lateral.has_udp(destination_port), self.scorer.settings.lateral.has_udp(source_port));
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
        let traffic = &self.scorer.shared.recent_traffic;
        let answers = traffic.within(Sent::Datagram, destination, source, TALKING, self.scorer.now);
        if !self.misplaced(frame, source) {
            traffic.note(Sent::Datagram, source, destination, self.scorer.now);
        }
        self.note_traffic(frame, source, destination);
        // What is sent to everybody on the link, as names are looked for by broadcast, asks nobody in particular: by the
        // frame, and by an address that may be a network's last (of a /26 or wider), for any stack takes a frame to all.
        let to_all = destination.is_v4()
            && destination.bits() & 0x3f == 0x3f
            && frame.mac_destination.is_some_and(Mac::is_group);
        if !answers && !to_all && (to || !from) {
            let class = if to { Class::LateralUdp } else { Class::OtherUdp };
            let what = ContactAttempt::new(source, destination, (Transport::Udp, destination_port), class);
            self.attempt(frame, what.opened(Opening { port: source_port, sequence: 0 }));
        }
    }

    /// Notes in whose name something is sent to whom.
    fn note_traffic(&self, frame: &Frame<'_>, source: Address, destination: Address) {
        if frame.meta.direction == Direction::In {
            self.scorer.shared.recent_traffic.note(Sent::Anything, source, destination, self.scorer.now);
        }
    }

    pub(super) fn arp(&mut self, frame: &Frame<'_>, arp: Arp) {
        let own = frame.meta.direction == Direction::Out;
        if !arp.request {
            if !own && arp.sender.is_unicast() {
                self.alive(arp.sender);
                self.scorer.shared.probes.answered(arp.sender, arp.sender_mac);
                self.owns(frame.link(), arp.sender_mac, arp.sender);
                self.answer(arp.target, arp.sender, 0, &[Class::Arp], Proof::Port(0), Answer::Open);
            }
            return;
        }
        if !own && arp.sender.is_unicast() {
            self.scorer.shared.addresses.claimed(frame.link(), arp.sender, arp.sender_mac, self.scorer.now);
        }
        self.link_request(frame, arp.sender, arp.target);
    }

    pub(super) fn neighbour(&mut self, frame: &Frame<'_>, neighbour: Neighbour) {
        let own = frame.meta.direction == Direction::Out;
        if neighbour.solicitation {
            if let Some(card) = frame.mac_source.filter(|_| !own && neighbour.source.is_unicast()) {
                self.scorer.shared.addresses.claimed(frame.link(), neighbour.source, card, self.scorer.now);
            }
            self.link_request(frame, neighbour.source, neighbour.target);
        } else if !own && neighbour.target.is_unicast() {
            self.alive(neighbour.target);
            if let Some(card) = frame.mac_source {
                self.scorer.shared.probes.answered(neighbour.target, card);
                self.owns(frame.link(), card, neighbour.target);
            }
        }
    }

    /// An ARP request or neighbour solicitation: `sender` asks the link for `target`.
    fn link_request(&mut self, frame: &Frame<'_>, sender: Address, target: Address) {
        if !target.is_unicast() || target == sender {
            // An announcement: it proves that the sender is there.
            if frame.meta.direction == Direction::In && sender.is_unicast() {
                self.alive(sender);
            }
            return;
        }
        if frame.meta.direction == Direction::Out || self.scorer.settings.own.contains(sender) {
            if self.scorer.settings.protected.contains(target)
                && !self.scorer.shared.addresses.is_alive(target, self.scorer.now)
            {
                self.scorer.shared.addresses.asked(target, self.scorer.now);
            }
            return;
        }
        if !sender.is_unicast() {
            return;
        }
        self.alive(sender);
        if self.scorer.settings.protected.contains(target) {
            self.attempt(frame, ContactAttempt::new(sender, target, (Transport::Other, 0), Class::Arp));
        }
    }

    pub(super) fn echo(&mut self, frame: &Frame<'_>, echo: Echo) {
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
        } else if frame.meta.direction == Direction::In && self.scorer.settings.protected.contains(echo.destination) {
            self.attempt(frame, ContactAttempt::new(echo.source, echo.destination, (Transport::Icmp, 0), Class::Echo));
        }
    }

    pub(super) fn icmp_error(&mut self, frame: &Frame<'_>, error: IcmpError) {
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

    pub(super) fn fragment(&mut self, frame: &Frame<'_>, fragment: Fragment) {
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

    /// Notes that `address` sent something.
    fn alive(&mut self, address: Address) {
        if self.scorer.settings.protected.contains(address) {
            self.scorer.shared.addresses.saw(address, self.scorer.now);
        }
    }
}
