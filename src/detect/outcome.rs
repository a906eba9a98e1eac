//! Outcomes of first contacts: answered, refused, unreachable, silent; and what each weighs.

use std::time::Duration;

use crate::detect::attempt::ContactAttempt;
use crate::detect::contact::remember;
use crate::detect::counters::{Outcome, Unverified};
use crate::detect::detector::Detector;
use crate::detect::scorer::{REPEAT, Scorer};
use crate::detect::settings::Settings;
use crate::evidence::{Detail, Evidence, Score, Signal};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::attempts::{Due, Opening};
use crate::track::contacts::Seen;
use crate::track::recent_traffic::Sent;
use crate::track::{Attempt, Class, Host, Proof};
use crate::wire::frame::{Segment, Transport};
use crate::wire::{Address, Link, Mac};

/// An answer that comes within this time takes its failure back.
const LATE: Duration = Duration::from_secs(10);

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
        let Detector { scorer, hosts, contacts, waits, .. } = self;
        let now = scorer.now;
        let pends = |host: &Host| host.attempts.waits_for(peer, port, proof);
        let Some(host) = hosts.get_mut_where(host, pends) else { return false };
        let attempt = if let Some(attempt) = host.attempts.settle(peer, port, classes, proof) {
            attempt
        } else if let Some(attempt) = scorer.answered_at_once(host, waits, peer, port, proof) {
            attempt
        } else {
            // An answer after the verdict: what was recorded of this peer's silence is retracted.
            if host.evidence.is_empty() || !answered_late(host, peer, port, now, |_| true) {
                let met = classes.iter().any(|class| contacts.knows(host.party(), peer, *class, now));
                if met && matches!(answer, Answer::Open) && port != 0 {
                    // A server of the same few for longer than a contact is remembered is one still.
                    scorer.shared.addresses.served(peer, port, host.address, now);
                    let class = classes.first().copied().unwrap_or(Class::Other);
                    scorer.learn(host, peer, port, class);
                    scorer.no_longer_waits(host, peer, true);
                }
                return met;
            }
            scorer.counters.retracted += 1;
            let first = classes.first().copied().unwrap_or(Class::Other);
            let class = match first {
                Class::Lateral if port != 0 && !scorer.settings.lateral.has_tcp(port) => Class::Other,
                first => first,
            };
            let (transport, openings) = (Transport::Tcp, [Opening::default(); 2]);
            Attempt { peer, transport, port, class, at: now, openings }
        };
        scorer.no_longer_waits(host, peer, matches!(answer, Answer::Open));
        match answer {
            Answer::Open => {
                contacts.answered(host.party(), peer, attempt.class);
                scorer.answered(host, attempt);
            }
            Answer::Refused => {
                scorer.shared.saw_answer();
                scorer.counters.outcome(Outcome::Refused);
                scorer.failed(host, attempt, Detail::Refused, false);
            }
            Answer::Unreachable { kind, code } => {
                scorer.counters.outcome(Outcome::Unreachable);
                let dark = scorer.is_dark(peer);
                scorer.failed(host, attempt, Detail::Unreachable { kind, code }, dark);
            }
        }
        true
    }

    /// The client continues as if answered, though no answer was seen.
    pub(super) fn inferred(&mut self, what: ContactAttempt) {
        // A dark address cannot have answered: payload is easily sent after a SYN that nobody answered.
        if self.scorer.is_dark(what.peer) {
            return;
        }
        let Detector { scorer, hosts, contacts, hash_key, .. } = self;
        let awaits = |host: &Host| host.attempts.awaits(what.peer, what.port);
        let Some(host) = hosts.get_mut_where(what.host, awaits) else { return };
        // A dark address stays one: payload is easily sent to it, however late.
        if host.attempts.settle(what.peer, what.port, &[what.class], Proof::Port(what.opening.port)).is_none()
            && !answered_late(host, what.peer, what.port, scorer.now, |signal| signal != Signal::Dark)
        {
            return;
        }
        // Many addresses of one card are one client, unless it is a router.
        let (card, addresses) = (host.attachment.mac, &scorer.shared.addresses);
        let client = if card == Mac::default() || addresses.is_router(host.suspect.link, card, scorer.now) {
            hash_key.address(what.host)
        } else {
            hash_key.mac(card)
        };
        scorer.shared.inferred_answer(client, hash_key.address(what.peer));
        scorer.counters.outcome(Outcome::Answered);
        contacts.answered(host.party(), what.peer, what.class);
        remember(host, what.class, what.peer, what.port);
    }

    /// A RST, or an ICMP error of `peer` itself, that answers nothing `host` is known to have sent: `host` sent something
    /// that opens nothing, and knows now that `peer` is there. Others can send in its name, so it is hearsay.
    pub(super) fn found_out(&mut self, host: Address, own_port: u16, peer: Address, port: u16, detail: Detail) {
        let Detector { scorer, hosts, contacts, started, .. } = self;
        let (settings, now) = (&*scorer.settings, scorer.now);
        if host == peer
            || !scorer.is_watched(host)
            || !scorer.is_watched(peer)
            // What ends soon after the start may have begun before it, if the host is its server.
            || (now.since(started.unwrap_or(now)) < settings.start_up_grace
                && (own_port < 1024 || settings.lateral.has_tcp(own_port)))
            // Who serves is refused by its own clients' late ends.
            || scorer.shared.addresses.has_served(host, own_port, peer, now)
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
        let class = if settings.lateral.has_tcp(port) { Class::Lateral } else { Class::Other };
        if scorer.is_allowed(host, ContactAttempt::new(host.address, peer, (Transport::Tcp, port), class)) {
            scorer.counters.unverified(Unverified::Role);
            return;
        }
        let weight = scaled(scorer.settings.weights.failure, class);
        if scorer.hearsay(host, Evidence { signal: Signal::Probe, at: now, peer, port, weight, detail }, false) {
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
        let Detector { scorer, hosts, .. } = self;
        // It failed at its deadline, however late that is looked at.
        let now = scorer.now;
        scorer.now = due.at.min(now);
        for slot in hosts.slots_of(due.host).into_iter().flatten() {
            let Some(host) = hosts.slot_mut(slot) else { continue };
            while let Some(attempt) = host.attempts.overdue(due.began) {
                scorer.silent(host, attempt, false);
            }
        }
        scorer.now = now;
    }
}

/// Retracts what was lately recorded of a peer's silence on `port` (0 is any), if it was `which` signal.
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

impl Scorer {
    /// The answer that was waited for came.
    fn answered(&mut self, host: &mut Host, attempt: Attempt) {
        let Attempt { peer, port, class, .. } = attempt;
        let (now, weights) = (self.now, self.settings.weights);
        self.shared.saw_answer();
        self.counters.outcome(Outcome::Answered);
        if !matches!(class, Class::Lateral | Class::Other | Class::LateralUdp) {
            return;
        }
        let known = self.shared.addresses.is_known_server(peer, port, host.address, now);
        self.shared.addresses.served(peer, port, host.address, now);
        self.learn(host, peer, port, class);
        let weight = scaled(if known { weights.known_server } else { weights.answered }, class);
        if known && (host.score.0 > 0 || weight.0 > 0) {
            self.weigh(host, Signal::KnownServer, peer, port, weight, Detail::Answered);
        } else if weight.0 > 0 {
            self.weigh(host, Signal::Answered, peer, port, weight, Detail::Answered);
        } else if class == Class::Other && !host.evidence.is_empty() {
            offset_failures(&self.settings, host, now);
        }
        remember(host, class, peer, port);
    }

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
        self.no_longer_waits(host, attempt.peer, false);
        let dark = self.is_dark(attempt.peer);
        self.failed(host, attempt, detail, dark);
    }

    /// A first contact failed.
    pub(super) fn failed(&mut self, host: &mut Host, attempt: Attempt, detail: Detail, dark: bool) {
        let Attempt { peer, port, class, .. } = attempt;
        if class != Class::Arp {
            let addresses = &self.shared.addresses;
            // Whoever tries a service that others use and finds it gone has met an outage, not made a guess.
            let many = addresses.failed(peer, port, host.address, self.now) >= self.settings.outage_sources;
            let outage = many || addresses.is_known_server(peer, port, host.address, self.now);
            if many && matches!(detail, Detail::Refused) {
                self.refuses(peer, port, attempt.transport);
            }
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
            | Class::Execution
            | Class::OtherUdp
            | Class::Probe
            | Class::Fragment
            | Class::Tunnel => return,
            _ if matches!(detail, Detail::Once { .. }) => {
                (Signal::GreylistOnce, if dark { weights.dark } else { weights.once })
            }
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
