//! Outcomes of first contacts: answered, refused, unreachable, silent; and what each weighs.

use std::time::Duration;

use crate::detect::alarm::{Context, REPEAT};
use crate::detect::contact::{ContactAttempt, has_role, remember, role_allows};
use crate::detect::counters::{Outcome, Unverified};
use crate::detect::detector::Detector;
use crate::detect::settings::Settings;
use crate::evidence::{Detail, Evidence, Score, Signal};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::attempts::{Due, Opening};
use crate::track::contacts::Seen;
use crate::track::recent_traffic::Sent;
use crate::track::{Attempt, Class, Host, Proof, Shared};
use crate::wire::frame::{Direction, Segment, Transport};
use crate::wire::{Address, Frame, Link, Mac};

/// The gateway's own ARP request must have stood so long before silence makes an address dark.
const PATIENCE: Duration = Duration::from_millis(20);

/// An answer that comes within this time takes its failure back.
const LATE: Duration = Duration::from_secs(10);

/// What the gateway forwards leaves it within this time.
const FORWARDED: Duration = Duration::from_secs(1);

/// What came back.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Open,
    Refused,
    Unreachable { kind: u8, code: u8 },
}

impl Detector {
    /// Something came back to `host` from `peer` (for an ICMP error: about `peer`). Says whether it answers something: an
    /// attempt, or at least a pair that has met.
    pub(super) fn answer(
        &mut self,
        host: Address,
        peer: Address,
        port: u16,
        classes: &[Class],
        proof: Proof,
        answer: Answer,
    ) -> bool {
        let now = self.now;
        let cooperative = self.threshold;
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        let settings = &**settings;
        let waits = |host: &Host| host.attempts.waits_for(peer, port, proof);
        let Some(host) = hosts.get_mut_where(host, waits) else { return false };
        let mut ctx = Context { settings, shared, counters, events, now, threshold: cooperative };
        let attempt = if let Some(attempt) = host.attempts.settle(peer, port, classes, proof) {
            attempt
        } else {
            // An answer after the verdict: what was said of this peer's silence is taken back.
            if host.evidence.is_empty() || !answered_late(host, peer, port, now, |_| true) {
                let met = classes.iter().any(|class| contacts.knows(host.party(), peer, *class, now));
                if met && matches!(answer, Answer::Open) && port != 0 {
                    // A server of the same few for longer than a contact is remembered is one still.
                    shared.addresses.served(peer, port, host.address, now);
                }
                return met;
            }
            ctx.counters.retracted += 1;
            let first = classes.first().copied().unwrap_or(Class::Other);
            let class = match first {
                Class::Lateral if port != 0 && !settings.lateral.has_tcp(port) => Class::Other,
                first => first,
            };
            let (transport, openings) = (Transport::Tcp, [Opening::default(); 2]);
            Attempt { peer, transport, port, class, at: now, openings }
        };
        match answer {
            Answer::Open => {
                shared.saw_answer();
                ctx.counters.outcome(Outcome::Answered);
                contacts.answered(host.party(), peer, attempt.class);
                if matches!(attempt.class, Class::Lateral | Class::Other | Class::LateralUdp) {
                    let known = shared.addresses.is_known_server(peer, attempt.port, host.address, now);
                    shared.addresses.served(peer, attempt.port, host.address, now);
                    let weights = settings.weights;
                    let weight = if known { weights.known_server } else { weights.answered };
                    let weight = scaled(weight, attempt.class);
                    if known && (host.score.0 > 0 || weight.0 > 0) {
                        ctx.weigh(host, Signal::KnownServer, peer, attempt.port, weight, Detail::Answered);
                    } else if weight.0 > 0 {
                        ctx.weigh(host, Signal::Answered, peer, attempt.port, weight, Detail::Answered);
                    } else if attempt.class == Class::Other && !host.evidence.is_empty() {
                        offset_failures(settings, host, now);
                    }
                    let what = ContactAttempt {
                        host: host.address,
                        peer,
                        port: attempt.port,
                        class: attempt.class,
                        transport: Transport::Tcp,
                        opening: Opening::default(),
                        running: false,
                    };
                    remember(host, what);
                }
            }
            Answer::Refused => {
                shared.saw_answer();
                ctx.counters.outcome(Outcome::Refused);
                ctx.failed(host, attempt, Detail::Refused, false);
            }
            Answer::Unreachable { kind, code } => {
                ctx.counters.outcome(Outcome::Unreachable);
                let dark = is_dark(settings, shared, peer, now);
                ctx.failed(host, attempt, Detail::Unreachable { kind, code }, dark);
            }
        }
        true
    }

    /// Whether what comes in as an answer from `peer` to `host` is not from there: by its path, by the card that sent it,
    /// or by what the link layer says of `peer` on the host's own link. Counted, and worth nothing; nor is its copy that
    /// the gateway forwards. Only who knows what the host sent can so spoil an answer: the host itself.
    pub(super) fn is_forged(
        &mut self,
        frame: &Frame<'_>,
        host: Address,
        peer: Address,
        port: u16,
        proof: Proof,
    ) -> bool {
        let traffic = &self.shared.recent_traffic;
        if self.misplaced(frame, peer) || self.answers_itself(frame, host, peer) {
            let speaks_for = |known: &Host| {
                known.attempts.waits_for(peer, port, proof) || known.evidence.iter().any(|said| said.peer == peer)
            };
            if self.hosts.get(host).is_some_and(speaks_for) {
                traffic.note(Sent::Forgery, peer, host, self.now);
            }
            self.counters.unverified(Unverified::Answer);
            return true;
        }
        traffic.within(Sent::Forgery, peer, host, FORWARDED, self.now)
    }

    /// Whether a frame came in where its source does not live.
    pub(super) fn misplaced(&self, frame: &Frame<'_>, source: Address) -> bool {
        let meta = &frame.meta;
        if meta.direction == Direction::Out || meta.vlan.is_some() {
            return false;
        }
        let settings = &self.settings;
        let elsewhere =
            settings.attached.iter().any(|(interface, of)| *interface != meta.interface && of.contains(source))
                && !settings.attached.iter().any(|(interface, of)| *interface == meta.interface && of.contains(source));
        elsewhere
            || (settings.check_reverse_path && settings.reverse_paths.permits(source, meta.interface) == Some(false))
    }

    fn answers_itself(&self, frame: &Frame<'_>, host: Address, peer: Address) -> bool {
        let Some(card) = frame.mac_source.filter(|card| *card != Mac::default()) else { return false };
        if frame.meta.direction == Direction::Out {
            return false;
        }
        let Some(host) = self.hosts.get(host).filter(|host| host.attached_at != Timestamp::ZERO) else { return false };
        let (addresses, now) = (&self.shared.addresses, self.now);
        let home = &host.attachment;
        if (home.interface, home.vlan) != (frame.meta.interface, frame.meta.vlan.unwrap_or(0)) {
            return false;
        }
        if addresses.is_router(frame.link(), card, now) {
            return false;
        }
        // On the host's own link its own card speaks for nobody else. What comes back there from another card passed no
        // gateway on its way, and needs the link layer's word: peers across a bridge answer by another port, and where
        // routes lead, `misplaced` has decided. A capture file shows one link for all.
        let settings = &self.settings;
        let across =
            !settings.attached.is_empty() && settings.reverse_paths.permits(peer, frame.meta.interface).is_none();
        let attached = settings.attached.iter().any(|(on, of)| *on == frame.meta.interface && of.contains(peer));
        card == home.mac || (across && !attached && addresses.answered_from(frame.link(), peer, now) != Some(card))
    }

    /// A RST, or an ICMP error of `peer` itself, that answers nothing `host` is known to have sent: `host` sent something
    /// that opens nothing, and knows now that `peer` is there. Others can send in its name, so it is hearsay.
    pub(super) fn found_out(&mut self, host: Address, own_port: u16, peer: Address, port: u16, detail: Detail) {
        let (now, threshold, generation) = (self.now, self.threshold, self.generation);
        let Detector { settings, shared, hosts, contacts, counters, events, started, .. } = self;
        let settings = &**settings;
        let inside = |address| settings.protected.contains(address) && !settings.own.contains(address);
        if host == peer
            || !inside(host)
            || !inside(peer)
            // What ends soon after the start may have begun before it, if the host is its server.
            || (now.since(started.unwrap_or(now)) < settings.start_up_grace
                && (own_port < 1024 || settings.lateral.has_tcp(own_port)))
            // Who serves is refused by its own clients' late ends.
            || shared.addresses.has_served(host, own_port, peer, now)
        {
            return;
        }
        if hosts.get(host).is_none() {
            // Where it is shows when it first sends something.
            hosts.find_or_insert(Suspect::address(Link::default(), host), host, now);
        }
        let Some(host) = hosts.get_mut(host) else { return };
        if host.acted || host.alarmed.is_some_and(|at| now.since(at) < REPEAT) {
            return;
        }
        let met = Class::CONTACTS.iter().any(|class| contacts.knows(host.party(), peer, *class, now));
        if met || contacts.meet(host.party(), peer, Class::Probe, now) == Seen::Before {
            return;
        }
        let lateral = settings.lateral.has_tcp(port);
        let (class, transport) = (if lateral { Class::Lateral } else { Class::Other }, Transport::Tcp);
        let what = ContactAttempt {
            host: host.address,
            peer,
            port,
            class,
            transport,
            opening: Opening::default(),
            running: false,
        };
        if has_role(settings, host, generation, now, |role| role_allows(role, what)) {
            counters.unverified(Unverified::Role);
            return;
        }
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        let weight = scaled(settings.weights.failure, class);
        if ctx.hearsay(host, Evidence { signal: Signal::Probe, at: now, peer, port, weight, detail }, false) {
            host.swept = Some(now);
        }
    }

    /// A RST that settled nothing.
    pub(super) fn refused(&mut self, segment: &Segment<'_>) {
        // What answers a packet without ACK starts at 0, what answers one with ACK has none itself (RFC 9293 §3.10.7.1);
        // the end of a living connection has both (§3.10.5).
        if !segment.flags.is_ack() || segment.sequence == 0 {
            let Segment { source, destination, source_port, destination_port, .. } = *segment;
            self.found_out(destination, destination_port, source, source_port, Detail::Refused);
        }
    }

    /// A deadline has come: the host's attempts that old have failed.
    pub(super) fn judge(&mut self, due: Due) {
        let cooperative = self.threshold;
        let Detector { settings, shared, hosts, counters, events, now, .. } = self;
        let mut ctx = Context { settings, shared, counters, events, now: due.at.min(*now), threshold: cooperative };
        for slot in hosts.slots_of(due.host).into_iter().flatten() {
            let Some(host) = hosts.slot_mut(slot) else { continue };
            while let Some(attempt) = host.attempts.overdue(due.began) {
                ctx.silent(host, attempt, false);
            }
        }
    }
}

/// Takes back what was lately said of a peer's silence on `port` (0 is any), if it was `which` signal.
pub(super) fn answered_late(
    host: &mut Host,
    peer: Address,
    port: u16,
    now: Timestamp,
    which: impl Fn(Signal) -> bool,
) -> bool {
    host.retract(peer, now - LATE, |evidence| {
        (port == 0 || evidence.port == port)
            && which(evidence.signal)
            && matches!(evidence.detail, Detail::Silent { .. } | Detail::Overrun { .. })
    })
}

/// On a port that is no lateral service an answer takes back as much of what such ports added lately as a known server's
/// would: a print server meets dead printers among many that answer, a scan meets hardly anybody. What lateral services
/// added stays: there, whoever answers may be the next victim.
fn offset_failures(settings: &Settings, host: &mut Host, now: Timestamp) {
    let mut credit = -scaled(settings.weights.known_server, Class::Other).0;
    // Older evidence has decayed by now, and taking it back would take from what is newer.
    let since = now - settings.decay;
    let lateral = |port| settings.lateral.has_tcp(port) || settings.lateral.has_udp(port);
    for evidence in host.evidence.iter_mut().rev() {
        let other = match evidence.signal {
            Signal::FailureOther => true,
            Signal::Dark => !lateral(evidence.port),
            _ => false,
        };
        let taken = credit.min(evidence.weight.0);
        if other && evidence.at >= since && taken > 0 {
            evidence.weight.0 -= taken;
            credit -= taken;
            host.score = Score((host.score.0 - taken).max(0));
            host.dirty = true;
        }
    }
}

/// A third of the weight outside the lateral services; ARP has a weight of its own.
fn scaled(weight: Score, class: Class) -> Score {
    match class {
        Class::Other | Class::OtherUdp | Class::Echo => Score(weight.0 / 3),
        _ => weight,
    }
}

/// Whether nobody is at this address, as far as can be known.
pub(super) fn is_dark(settings: &Settings, shared: &Shared, address: Address, now: Timestamp) -> bool {
    let addresses = &shared.addresses;
    settings.protected.contains(address)
        && !settings.own.contains(address)
        && !addresses.is_alive(address, now)
        && (addresses.unanswered(address, PATIENCE, now)
            || (!addresses.under_pressure(now) && addresses.is_subnet_known(address, settings.dark_learning, now)))
}

impl Context<'_> {
    /// No answer came.
    pub fn silent(&mut self, host: &mut Host, attempt: Attempt, overrun: bool) {
        if attempt.class == Class::LateralUdp {
            // The answer may have come to another shard: where both ports are the service's, each side looks like who asks.
            let waited = self.now.since(attempt.at) + Duration::from_millis(2);
            if self.shared.recent_traffic.within(Sent::Datagram, attempt.peer, host.address, waited, self.now) {
                self.counters.outcome(Outcome::Answered);
                return;
            }
        }
        self.counters.outcome(if overrun { Outcome::Overrun } else { Outcome::Silent });
        if self.shared.is_lossy(self.now) {
            self.counters.unverified(Unverified::Loss);
            return;
        }
        if self.shared.is_one_sided() {
            self.counters.unverified(Unverified::OneSided);
            return;
        }
        let after = self.now.since(attempt.at).as_millis();
        let detail = if overrun {
            Detail::Overrun { pending: u32::try_from(host.attempts.len() + 1).unwrap_or(u32::MAX) }
        } else {
            Detail::Silent { after_ms: u32::try_from(after).unwrap_or(u32::MAX) }
        };
        let dark = is_dark(self.settings, self.shared, attempt.peer, self.now);
        self.failed(host, attempt, detail, dark);
    }

    /// A first contact failed.
    fn failed(&mut self, host: &mut Host, attempt: Attempt, detail: Detail, dark: bool) {
        let Attempt { peer, port, class, .. } = attempt;
        if class != Class::Arp {
            let addresses = &self.shared.addresses;
            // Whoever tries a service that others use and finds it gone has met an outage, not made a guess.
            let outage = addresses.failed(peer, port, host.address, self.now) >= self.settings.outage_sources
                || addresses.is_known_server(peer, port, host.address, self.now);
            if outage {
                self.counters.unverified(Unverified::Outage);
                return;
            }
        }
        let dark = dark && !self.is_missed_by_many(host, attempt);
        // The same address on another port is no further guess.
        if dark && class != Class::Arp && host.evidence.iter().any(|e| e.signal == Signal::Dark && e.peer == peer) {
            return;
        }
        if class == Class::Other && port != 0 && self.settings.protected.contains(peer) {
            host.ports.add((attempt.transport, port), 2);
        }
        let weights = self.settings.weights;
        let (signal, weight) = match class {
            Class::Arp if dark => (Signal::ArpSweep, weights.arp),
            // Who is asked for may have answered past this gateway.
            Class::Arp
            | Class::Decoy
            | Class::Spoken
            | Class::Again
            | Class::Execution
            | Class::OtherUdp
            | Class::Probe
            | Class::Fragment
            | Class::Tunnel => return,
            Class::Echo => (Signal::EchoSweep, if dark { weights.dark } else { weights.failure }),
            Class::Lateral | Class::Other | Class::LateralUdp if dark => (Signal::Dark, weights.dark),
            // A datagram to somebody who is there stays unanswered for many honest reasons.
            Class::LateralUdp if !matches!(detail, Detail::Unreachable { .. }) => {
                (Signal::FailureFirstContact, Score(weights.failure.0 / 3))
            }
            Class::Lateral | Class::LateralUdp => (Signal::FailureFirstContact, weights.failure),
            Class::Other => (Signal::FailureOther, weights.failure),
        };
        let weight = scaled(weight, class);
        if signal == Signal::ArpSweep {
            self.hearsay(host, Evidence { signal, at: self.now, peer, port, weight, detail }, true);
        } else {
            self.weigh(host, signal, peer, port, weight, detail);
        }
    }

    /// Whether several hosts that are above suspicion look for this dark address: then somebody was there, whom printer
    /// queues and log-on scripts still name.
    fn is_missed_by_many(&self, host: &Host, attempt: Attempt) -> bool {
        let addresses = &self.shared.addresses;
        let suspect = host.score_now(self.now, self.settings.decay) >= self.settings.watch;
        let sources = if suspect || attempt.class == Class::Arp {
            addresses.missing(attempt.peer, self.now)
        } else {
            addresses.missed(attempt.peer, host.address, self.now)
        };
        sources >= self.settings.outage_sources
    }
}
