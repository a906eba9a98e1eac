//! The core's mirror of the kernel's greylist: which first contacts wait, and what that shows.
//!
//! The kernel drops the first SYN of a first contact with whoever is no known server, and lets the one pass that comes after
//! `wait`, see docs/greylist.md. Until then nobody was asked: the attempt is neither silent nor failed, and whether the
//! destination is dark is not judged by it. What is judged is how many wait at once, and whether they ask again at all.

use crate::detect::attempt::ContactAttempt;
use crate::detect::contact::pending;
use crate::detect::counters::Outcome;
use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::detect::scorer::{REPEAT, Scorer};
use crate::evidence::{Detail, Score, Signal};
use crate::suspect::Place;
use crate::time::Timestamp;
use crate::track::waits::{Again, AtOnce, Wait};
use crate::track::{Attempt, Class, Host, Proof, Waits};
use crate::wire::frame::Transport;
use crate::wire::{Address, Link};

use std::time::Duration;

/// From so many that wait at once, it is evidence: a scan looks like that, and honest bursts go to servers.
const MANY: u32 = 3;

/// Second askings of a source do not pass for so long after the fuse limited it.
pub(super) const LIMITED: Duration = Duration::from_secs(10);

/// Nor for so long after several of its first contacts waited at once: TCP's second asking, after one second, is dropped
/// then, and the third, after three, passes.
const HELD_BACK: Duration = Duration::from_millis(2500);

/// And for so long if it is watched: a client gives up before that.
const WATCHED: Duration = Duration::from_secs(30);

impl Scorer {
    /// Whether the kernel drops the first SYN of what waits.
    pub(super) fn drops_first(&self) -> bool {
        self.settings.greylist.as_ref().is_some_and(|greylist| greylist.drops)
    }

    /// Whether this first contact waits, or would where nothing is dropped.
    pub(super) fn must_wait(&self, what: ContactAttempt) -> bool {
        let Some(greylist) = &self.settings.greylist else { return false };
        let service = (what.peer, what.transport, what.port);
        what.is_lateral() && greylist.covers(what.host, service) && !self.shared.servers.has(service)
    }

    /// A first contact begins to wait.
    pub(super) fn waits(&mut self, host: &mut Host, waits: &mut Waits, source: Address, what: ContactAttempt) {
        let ContactAttempt { peer, port, class, .. } = what;
        let now = self.now;
        self.counters.outcome(Outcome::Waits);
        // A stack that repeats datagrams by itself is rare: what is not asked again says nothing.
        if !waits.begin(host.identity, source, pending(what, now)) || class != Class::Lateral {
            return;
        }
        // A server that is not learnt yet, or somebody whom many miss, is no guess of this host's.
        if self.is_usual(source, peer, port) {
            return;
        }
        let count = host.waiting.begin(self.shared.addresses.hash(peer), now);
        // What waits may yet be answered: it does not make its own wait longer.
        let waiting = host.evidence.iter().filter(|evidence| evidence.signal == Signal::GreylistWaiting);
        let waiting: i32 = waiting.map(|evidence| evidence.weight.0).sum();
        let watched = host.score_now(now, self.settings.decay).0.saturating_sub(waiting) >= self.half(host).0;
        if count >= MANY || watched {
            self.hold_back(host, source, if watched { WATCHED } else { HELD_BACK });
        }
        if count >= MANY {
            let weight = self.settings.weights.waiting;
            self.weigh(host, Signal::GreylistWaiting, peer, port, weight, Detail::Waiting { count });
        }
    }

    /// Has the kernel drop the second askings of `host` for a while.
    fn hold_back(&mut self, host: &mut Host, source: Address, time: Duration) {
        let now = self.now;
        let (link, card) = (host.suspect.link, host.attachment.mac);
        let routed = !host.is_card() && self.shared.addresses.is_forwarder(link, card, now);
        // The kernel does not look at tags here.
        let link = Link::untagged(host.attachment.interface);
        let place = if routed { Place::address(link, source) } else { Place::card(link, card) };
        self.events.push(Event::HoldBack { place, time });
        host.held_until = host.held_until.max(now + time);
    }

    /// What waits may be asked again by `what`.
    pub(super) fn asked_again(&self, host: &Host, waits: &mut Waits, what: ContactAttempt) -> Again {
        let Some(greylist) = self.settings.greylist.as_ref().filter(|greylist| greylist.drops) else {
            return Again::Unknown;
        };
        let held = self.now < host.held_until;
        waits.again(host.identity, (what.peer, what.port), what.opening, (greylist.wait, held), self.now)
    }

    /// Something came back to what was taken to wait: the kernel let it pass after all.
    pub(super) fn answered_at_once(
        &self,
        host: &Host,
        waits: &mut Waits,
        peer: Address,
        port: u16,
        proof: Proof,
    ) -> Option<Attempt> {
        if port == 0 || !self.drops_first() {
            return None;
        }
        waits.settle(host.identity, peer, port, proof)
    }

    /// What became of a first contact is known: that it waited is no evidence any more. `answered` says that somebody is
    /// there.
    pub(super) fn no_longer_waits(&mut self, host: &mut Host, peer: Address, answered: bool) {
        if !self.drops_first() {
            return;
        }
        if answered {
            host.waiting.end(self.shared.addresses.hash(peer));
        }
        if host.evidence.is_empty() {
            return;
        }
        let waited = |signal| signal == Signal::GreylistWaiting || (answered && signal == Signal::GreylistOnce);
        host.retract(peer, self.now - Duration::from_secs(60), |evidence| waited(evidence.signal));
    }

    /// `server` answered `host`: reported once a day for each client, so that servers are learnt. Who is under suspicion
    /// teaches nothing.
    pub(super) fn learn(&mut self, host: &Host, server: Address, port: u16, class: Class) {
        let settings = &*self.settings;
        let transport = match class {
            Class::Lateral | Class::Other if settings.lateral.has_tcp(port) => Transport::Tcp,
            Class::LateralUdp => Transport::Udp,
            _ => return,
        };
        if !settings.learns_servers
            || !self.is_watched(server)
            || host.acted
            || host.alarmed.is_some_and(|at| self.now.since(at) < REPEAT)
            || host.score_now(self.now, settings.decay) >= settings.watch
            || !self.shared.addresses.is_news(server, port, host.identity, self.now)
        {
            return;
        }
        let client = host.suspect.who;
        self.events.push(Event::Served { server, transport, port, client, at: self.now });
    }

    /// Several clients were refused by `server` in a row: if it is a known one, it serves no longer.
    pub(super) fn refuses(&mut self, server: Address, port: u16, transport: Transport) {
        if self.settings.learns_servers && self.shared.servers.has((server, transport, port)) {
            self.shared.addresses.forget_news(server, port);
            self.events.push(Event::Refuses { server, transport, port });
        }
    }
}

impl Detector {
    /// The patience with what waited has ended: was it asked once only, that is evidence.
    pub(super) fn asked_once(&mut self, due: Timestamp, wait: Wait) {
        let Detector { scorer, hosts, .. } = self;
        let Wait { identity, source, attempt, asked_again } = wait;
        if attempt.class != Class::Lateral {
            return;
        }
        let now = scorer.now;
        scorer.now = due.min(now);
        for slot in hosts.slots_of(source).into_iter().flatten() {
            let Some(host) = hosts.slot_mut(slot).filter(|host| host.identity == identity) else { continue };
            if !host.acted && host.alarmed.is_none_or(|at| scorer.now.since(at) >= REPEAT) {
                let dark = scorer.is_dark(attempt.peer);
                let seconds = u32::try_from(Waits::PATIENCE.as_secs()).unwrap_or(u32::MAX);
                if !asked_again {
                    scorer.no_longer_waits(host, attempt.peer, false);
                    scorer.failed(host, attempt, Detail::Once { seconds }, dark);
                } else if dark {
                    // Held back all the while: whether somebody is there will not be known, and nobody was seen there.
                    scorer.no_longer_waits(host, attempt.peer, false);
                    scorer.failed(host, attempt, Detail::HeldBack { seconds }, true);
                } else if scorer.now < host.held_until && !scorer.is_usual(source, attempt.peer, attempt.port) {
                    // It may be there. But whoever is held back and opens one contact after another must not stay so for good.
                    scorer.no_longer_waits(host, attempt.peer, false);
                    let weight = Score(scorer.settings.weights.failure.0 / 3);
                    let detail = Detail::HeldBack { seconds };
                    scorer.weigh(host, Signal::GreylistWaiting, attempt.peer, attempt.port, weight, detail);
                }
            }
        }
        scorer.now = now;
    }
}

const _: () = assert!(AtOnce::MOST >= MANY as usize);
