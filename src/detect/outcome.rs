//! Outcomes of first contacts: answered, refused, unreachable, silent; and what each weighs.

use std::time::Duration;

use crate::detect::alarm::Context;
use crate::detect::contact::{Try, remember};
use crate::detect::counters::{Outcome, Unverified};
use crate::detect::detector::Detector;
use crate::detect::settings::Settings;
use crate::evidence::{Detail, Score, Signal};
use crate::time::Timestamp;
use crate::track::attempts::Due;
use crate::track::{Attempt, Class, Host, Shared};
use crate::wire::Address;
use crate::wire::frame::Transport;

/// The gateway's own question to the link must have stood so long before silence makes an address dark.
const PATIENCE: Duration = Duration::from_millis(20);

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
    /// Something came back to `host` from `peer` (for an ICMP error: about `peer`).
    pub(super) fn answer(&mut self, host: Address, peer: Address, port: u16, classes: &[Class], answer: Answer) {
        let now = self.now;
        let cooperative = self.threshold;
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        let settings = &**settings;
        let Some(host) = hosts.get_mut(host) else { return };
        let mut ctx = Context { settings, shared, counters, events, now, threshold: cooperative };
        let attempt = if let Some(attempt) = host.attempts.settle(peer, port, classes) {
            attempt
        } else {
            // An answer after the verdict: what was said of this peer's silence is taken back.
            if host.evidence.is_empty() {
                return;
            }
            if !answered_late(host, peer, port, now, |_| true) {
                return;
            }
            ctx.counters.taken_back += 1;
            let class = if port == 0 {
                classes.first().copied().unwrap_or(Class::Other)
            } else if settings.lateral.has_tcp(port) || settings.lateral.has_udp(port) {
                Class::Lateral
            } else {
                Class::Other
            };
            Attempt { peer, port, class, at: now }
        };
        match answer {
            Answer::Open => {
                shared.saw_answer();
                ctx.counters.outcome(Outcome::Answered);
                contacts.answered(host.party(), peer, attempt.class);
                if matches!(attempt.class, Class::Lateral | Class::Other) {
                    let known = shared.addresses.is_known_server(peer, attempt.port, host.address, now);
                    shared.addresses.served(peer, attempt.port, host.address, now);
                    let weights = settings.weights;
                    let weight = if known { weights.known_server } else { weights.answered };
                    let weight = scaled(weight, attempt.class);
                    if known && (host.score.0 > 0 || weight.0 > 0) {
                        ctx.weigh(host, Signal::KnownServer, peer, attempt.port, weight, Detail::Answered);
                    } else if weight.0 > 0 {
                        ctx.weigh(host, Signal::FailureOther, peer, attempt.port, weight, Detail::Answered);
                    } else if attempt.class == Class::Other && !host.evidence.is_empty() {
                        outweigh(settings, host, now);
                    }
                    let what = Try {
                        host: host.address,
                        peer,
                        port: attempt.port,
                        class: attempt.class,
                        transport: Transport::Tcp,
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
    }

    /// A deadline has come: the host's attempts that old have failed.
    pub(super) fn judge(&mut self, due: Due) {
        let cooperative = self.threshold;
        let Detector { settings, shared, hosts, counters, events, now, .. } = self;
        let Some(host) = hosts.get_mut(due.host) else { return };
        let mut ctx = Context { settings, shared, counters, events, now: due.at.min(*now), threshold: cooperative };
        while let Some(attempt) = host.attempts.overdue(due.began) {
            ctx.silent(host, attempt, false);
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
    host.take_back(peer, now - LATE, |evidence| {
        (port == 0 || evidence.port == port)
            && which(evidence.signal)
            && matches!(evidence.detail, Detail::Silent { .. } | Detail::Overrun { .. })
    })
}

/// On a port that is no lateral service an answer takes back as much of what such ports added lately as a known server's
/// would: a print server meets dead printers among many that answer, a scan meets hardly anybody. What lateral services
/// added stays: there, whoever answers may be the next victim.
fn outweigh(settings: &Settings, host: &mut Host, now: Timestamp) {
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
        Class::Lateral | Class::Arp | Class::Decoy | Class::Spoken | Class::Again | Class::Execution => weight,
        Class::Other | Class::Echo => Score(weight.0 / 3),
    }
}

/// Whether nobody is at this address, as far as can be known.
pub(super) fn is_dark(settings: &Settings, shared: &Shared, address: Address, now: Timestamp) -> bool {
    let addresses = &shared.addresses;
    settings.protected.contains(address)
        && !settings.own.contains(address)
        && !addresses.is_alive(address, now)
        && (addresses.unanswered(address, PATIENCE, now)
            || (!addresses.under_pressure(now) && addresses.is_segment_known(address, settings.dark_learning, now)))
}

impl Context<'_> {
    /// No answer came.
    pub fn silent(&mut self, host: &mut Host, attempt: Attempt, overrun: bool) {
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
        let weights = self.settings.weights;
        let (signal, weight) = match class {
            Class::Arp if dark => (Signal::ArpSweep, weights.arp),
            // Who is asked for may have answered past this gateway.
            Class::Arp | Class::Decoy | Class::Spoken | Class::Again | Class::Execution => return,
            Class::Echo => (Signal::EchoSweep, if dark { weights.dark } else { weights.failure }),
            Class::Lateral | Class::Other if dark => (Signal::Dark, weights.dark),
            Class::Lateral => (Signal::FailureFirstContact, weights.failure),
            Class::Other => (Signal::FailureOther, weights.failure),
        };
        self.weigh(host, signal, peer, port, scaled(weight, class), detail);
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
