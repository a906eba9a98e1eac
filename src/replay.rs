//! A capture through the same core: detectors and responder driven in lockstep, without threads and without a kernel.
//!
//! [`Lockstep`] is what `firedoor replay`, the scenario tests and the simulations drive the core with. Frames go in one
//! by one; deadlines and expiries are served in the order of their times over all shards, so the number of shards
//! cannot change a decision.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::capture::{CapturePolicy, fanout};
use crate::detect::{self, Counters, Detector, Event};
use crate::respond::servers::{Learning, Servers, Service};
use crate::respond::{self, Decision, Effect, Mode, Responder, Verdict};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::{HashKey, Shared};
use crate::wire::frame::Direction;
use crate::wire::frame::Transport;
use crate::wire::{Address, Frame};

/// The core without its daemon.
pub struct Lockstep {
    detectors: Vec<Detector>,
    responder: Responder,
    shared: Arc<Shared>,
    settings: Arc<detect::Settings>,
    /// What a live daemon's kernel would let through; the rest is counted and let go.
    policy: CapturePolicy,
    next_expiry: Option<Timestamp>,
    events: Vec<Event>,
    effects: Vec<Effect>,
    decisions: Vec<Arc<Decision>>,
    respond: respond::Settings,
    frames: u64,
    /// The earliest and the latest time any frame bore.
    span: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
    /// Frames in a row from long before `now`.
    astray: u32,
    /// Who answered whom, where that is asked for: see [`detect::Settings::learns_servers`].
    servers: Servers,
    /// Whom it knows from before it started afresh, and what was done about whom.
    seen: Seen,
}

/// A frame so long before the last one is not merely out of order.
const FAR_BACK: Duration = Duration::from_secs(10);

/// So many such frames in a row are no stragglers.
const ASTRAY_FRAMES: u32 = 8;

/// Who was seen, and what was done about whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Suspects that opened contacts.
    pub hosts: HashSet<Suspect>,
    /// Hosts contained at some time.
    pub contained: HashSet<Address>,
    /// Hosts isolated at some time.
    pub isolated: HashSet<Address>,
    /// Hosts watched at some time.
    pub watched: HashSet<Address>,
}

impl Seen {
    /// Takes in what another core saw: who is in both is one.
    pub fn join(&mut self, other: Seen) {
        self.hosts.extend(other.hosts);
        self.contained.extend(other.contained);
        self.isolated.extend(other.isolated);
        self.watched.extend(other.watched);
    }
}

/// What a replay came to; the last line of `replay --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Packets that could not be decoded.
    pub undecoded: u64,
    /// Packets whose payload is of a kind that is not decoded, or cut or malformed, by kind.
    pub unread: BTreeMap<String, u64>,
    /// Hosts of the protected networks that opened contacts.
    pub hosts: usize,
    /// Hosts contained at some time.
    pub contained: usize,
    /// Hosts isolated at some time.
    pub isolated: usize,
    /// Hosts watched at some time.
    pub watched: usize,
    /// Time that the capture spans, in seconds.
    pub seconds: f64,
}

impl Lockstep {
    /// With `shards` detectors and a fixed hash key, so that runs can be compared.
    #[must_use]
    pub fn new(detect: detect::Settings, respond: respond::Settings, shards: usize) -> Self {
        let hash_key = HashKey::new(0);
        let shards = shards.max(1);
        let shared = Arc::new(Shared::new(detect.capacities.addresses, detect.contact_memory, hash_key));
        let policy = CapturePolicy::new(&detect.lateral, detect.inspect_smb);
        let settings = Arc::new(detect);
        let detectors =
            (0..shards).map(|_| Detector::new(settings.clone(), shared.clone(), shards, hash_key)).collect();
        Lockstep {
            detectors,
            responder: Responder::new(respond.clone()),
            respond,
            shared,
            settings,
            policy,
            next_expiry: None,
            events: Vec::new(),
            effects: Vec::new(),
            decisions: Vec::new(),
            frames: 0,
            span: None,
            now: Timestamp::ZERO,
            astray: 0,
            servers: Servers::new(Vec::new(), Learning::default(), Mode::Monitor),
            seen: Seen::default(),
        }
    }

    fn shard(&self, host: Address) -> usize {
        fanout::shard_of_address(host, self.detectors.len())
    }

    /// Takes one frame. A time a little before the last frame's counts as the last frame's; when the times of several
    /// frames in a row lie far before it, the capture was put together from parts, and the core starts afresh.
    pub fn frame(&mut self, mut frame: Frame<'_>) {
        let at = frame.meta.at;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.astray = if self.now.since(frame.meta.at) > FAR_BACK { self.astray + 1 } else { 0 };
        if self.astray >= ASTRAY_FRAMES {
            self.start_afresh();
        }
        // A capture knows no "own": what the capturing machine sent is evidence like everybody's.
        frame.meta.direction = Direction::In;
        frame.meta.at = frame.meta.at.max(self.now);
        self.advance(frame.meta.at);
        self.frames += 1;
        if !self.policy.takes(&frame) {
            return;
        }
        let shards = self.detectors.len();
        let shard = if shards == 1 { 0 } else { fanout::shard_of(&frame, &self.settings.lateral, shards) };
        let Some(detector) = self.detectors.get_mut(shard) else { return };
        detector.frame(&frame, self.frames);
        if detector.has_events() {
            self.serve(shard);
        }
    }

    fn start_afresh(&mut self) {
        let seen = self.seen();
        let fresh = Lockstep::new((*self.settings).clone(), self.respond.clone(), self.detectors.len());
        let old = std::mem::replace(self, fresh);
        self.span = old.span;
        self.frames = old.frames;
        self.decisions = old.decisions;
        self.servers = old.servers;
        self.seen = seen;
    }

    /// Lets time pass: overdue answers and expired decisions, in the order of their times.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.next_expiry.is_none_or(|at| at > now)
            && self.detectors.iter().all(|detector| detector.next_deadline().is_none_or(|due| due.at > now))
        {
            return;
        }
        loop {
            let due = self
                .detectors
                .iter()
                .enumerate()
                .filter_map(|(shard, detector)| detector.next_deadline().map(|due| (due.at, due.order, shard)))
                .min()
                .filter(|&(at, ..)| at <= now);
            let expiry = self.next_expiry.filter(|&at| at <= now);
            match (due, expiry) {
                (Some((at, _, shard)), expiry) if expiry.is_none_or(|expiry| at <= expiry) => {
                    if let Some(detector) = self.detectors.get_mut(shard) {
                        detector.judge_next(at);
                        if detector.has_events() {
                            self.serve(shard);
                        }
                    }
                }
                (_, Some(expiry)) => {
                    self.responder.tick(expiry, &mut self.effects);
                    self.carry_out();
                }
                (_, None) => break,
            }
        }
    }

    fn serve(&mut self, shard: usize) {
        let Some(detector) = self.detectors.get_mut(shard) else { return };
        self.events.extend(detector.events());
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Alarm(ref alarm) => self.responder.tick(alarm.at, &mut self.effects),
                Event::Served { server, transport, port, client, at } => {
                    let service = Service { address: server, tcp: transport != Transport::Udp, port };
                    self.servers.served(service, client, at);
                }
                _ => {}
            }
            self.responder.event(&event, &mut self.effects);
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let shards = self.detectors.len();
        for action in std::mem::take(&mut self.effects) {
            match action {
                Effect::Record(decision) => {
                    match decision.decision {
                        Verdict::Contain => self.seen.contained.insert(decision.host),
                        Verdict::Isolate => self.seen.isolated.insert(decision.host),
                        Verdict::Watch => self.seen.watched.insert(decision.host),
                        Verdict::Throttle | Verdict::Release | Verdict::Hold => false,
                    };
                    self.decisions.push(decision);
                }
                Effect::Direct(directive) => {
                    for (shard, detector) in self.detectors.iter_mut().enumerate() {
                        detector.direct(&directive, |host| fanout::shard_of_address(host, shards) == shard);
                    }
                }
                Effect::Enforce { .. } | Effect::Lift { .. } => {}
            }
        }
        self.next_expiry = self.responder.next_expiry();
    }

    /// The decisions since the last call, in order.
    pub fn decisions(&mut self) -> Vec<Arc<Decision>> {
        std::mem::take(&mut self.decisions)
    }

    /// Whether there are decisions to take.
    #[must_use]
    pub fn has_decisions(&self) -> bool {
        !self.decisions.is_empty()
    }

    /// The responder.
    #[must_use]
    pub fn responder(&self) -> &Responder {
        &self.responder
    }

    /// An engineer's order to the responder, and everything that follows from it.
    pub fn order<T>(&mut self, order: impl FnOnce(&mut Responder, &mut Vec<Effect>) -> T) -> T {
        let outcome = order(&mut self.responder, &mut self.effects);
        self.carry_out();
        outcome
    }

    /// Who answered whom; empty where that is not asked for.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// What the shards share.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The detector that `host` belongs to.
    #[must_use]
    pub fn detector(&self, host: Address) -> Option<&Detector> {
        self.detectors.get(self.shard(host))
    }

    /// The counts of all shards.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.detectors.iter().for_each(|detector| sum.add(detector.counters()));
        sum
    }

    /// The time of the latest frame.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who was seen so far, and what was done about whom.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let mut seen = self.seen.clone();
        for hosts in self.detectors.iter().map(Detector::hosts) {
            let suspects = (0..hosts.slots()).filter_map(|slot| hosts.slot(slot)).map(|host| host.suspect);
            seen.hosts.extend(suspects.filter(|suspect| !matches!(suspect.who, Who::Network(_))));
        }
        seen
    }

    /// What it came to so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let seen = self.seen();
        let span = self.span.map_or(Duration::ZERO, |(first, last)| last.since(first));
        Summary {
            packets: self.frames,
            undecoded: 0,
            unread: BTreeMap::new(),
            hosts: seen.hosts.len(),
            contained: seen.contained.len(),
            isolated: seen.isolated.len(),
            watched: seen.watched.len(),
            // To the microsecond, which is what most captures know.
            seconds: (span.as_secs_f64() * 1e6).round() / 1e6,
        }
    }
}
