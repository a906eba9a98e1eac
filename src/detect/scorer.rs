//! How evidence is weighed: the score against its threshold, and what is reported when it is reached.
//!
//! The score is a CUSUM of log-likelihood ratios (Jung et al. 2004, reversed after Schechter et al. 2004). There is one
//! [`Scorer`] a shard, and nothing adds evidence to a host but through it.

use std::sync::Arc;
use std::time::Duration;

use crate::detect::counters::{Counters, Unverified};
use crate::detect::event::Event;
use crate::detect::settings::{Settings, Window};
use crate::detect::threshold::{cooperative, threshold_of};
use crate::detect::verify::{Rejection, identify, is_one_of_many};
use crate::evidence::{Alarm, Detail, Evidence, Grade, Score, Signal};
use crate::time::Timestamp;
use crate::track::{Host, Hosts, Shared};
use crate::wire::frame::Transport;
use crate::wire::{Address, Frame};

/// A host is not alarmed, or watched, for the same grade again within this time.
pub(super) const REPEAT: Duration = Duration::from_secs(600);

/// Evidence that others can cause counts in full once the host has opened so many first contacts of its own on lateral
/// services within this time.
const OWN: (u32, Duration) = (3, Duration::from_secs(300));

/// The gateway's own ARP request must have stood so long before silence makes an address dark.
const PATIENCE: Duration = Duration::from_millis(20);

/// Everything but the host that weighing takes; one a shard.
pub(super) struct Scorer {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What all shards know.
    pub shared: Arc<Shared>,
    /// What was counted.
    pub counters: Counters,
    /// What is to be reported.
    pub events: Vec<Event>,
    /// The time of the packet, or of the deadline, that is looked at.
    pub now: Timestamp,
    /// The threshold after cooperation.
    pub threshold: Score,
    /// How often the settings were replaced.
    pub generation: u32,
    /// How many hosts are contained.
    contained: u32,
}

impl Scorer {
    /// By these settings; nobody is contained.
    pub fn new(settings: Arc<Settings>, shared: Arc<Shared>) -> Self {
        Scorer {
            shared,
            counters: Counters::default(),
            events: Vec::with_capacity(16),
            now: Timestamp::ZERO,
            threshold: settings.threshold,
            generation: 1,
            contained: 0,
            settings,
        }
    }

    /// So many hosts are contained now.
    pub fn set_contained(&mut self, hosts: u32) {
        self.contained = hosts;
        self.threshold = cooperative(&self.settings, hosts);
    }

    /// Weighs by these settings from now on.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.generation = self.generation.wrapping_add(1).max(1);
        self.set_contained(self.contained);
    }

    /// The host that `frame` is from, its source being `source`, see [`identify`].
    #[inline]
    pub fn identify<'h>(
        &self,
        hosts: &'h mut Hosts,
        frame: &Frame<'_>,
        source: Address,
    ) -> Result<(&'h mut Host, bool), Option<Rejection>> {
        identify(&self.settings, &self.shared, hosts, frame, source, self.now)
    }

    /// Whether `address` is of a host that may become a suspect.
    pub fn is_watched(&self, address: Address) -> bool {
        self.settings.protected.contains(address) && !self.settings.own.contains(address)
    }

    /// Whether nobody is at this address, as far as can be known.
    pub fn is_dark(&self, address: Address) -> bool {
        let (settings, addresses, now) = (&*self.settings, &self.shared.addresses, self.now);
        self.is_watched(address)
            && !addresses.is_alive(address, now)
            && (addresses.unanswered(address, PATIENCE, now)
                || (!addresses.under_pressure(now) && addresses.is_subnet_known(address, settings.dark_learning, now)))
    }

    /// Whether others than `host` do the same: use this service, or look for somebody who is gone. At log-on everybody
    /// opens half a dozen such doors at once, and none of them is a host's own.
    pub fn is_usual(&self, host: Address, peer: Address, port: u16) -> bool {
        let (addresses, now) = (&self.shared.addresses, self.now);
        addresses.is_known_server(peer, port, host, now) || addresses.missing(peer, now) >= self.settings.outage_sources
    }

    /// The threshold that applies to `host`.
    pub fn threshold_of(&self, host: &Host) -> Score {
        threshold_of(&self.settings, self.threshold, host)
    }

    /// Half way to the threshold that applies to `host`: from there on it is watched.
    pub fn half(&self, host: &Host) -> Score {
        Score(self.threshold_of(host).0 / 2).min(self.settings.watch)
    }

    /// Adds evidence to `host` and alarms if that tips it.
    pub fn weigh(&mut self, host: &mut Host, signal: Signal, peer: Address, port: u16, weight: Score, detail: Detail) {
        self.counters.evidence(signal);
        let evidence = Evidence { signal, at: self.now, peer, port, weight, detail };
        let score = host.add(evidence, self.settings.decay);
        if weight.0 <= 0 {
            return;
        }
        if signal.grade() == Grade::Exploit {
            self.raise(host, Grade::Exploit, signal);
        } else if score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, signal);
        } else if score >= self.settings.watch {
            self.raise(host, Grade::Watch, signal);
        }
    }

    /// Adds evidence that others can cause: a packet in the name of a dark address makes a host ask the link for it, one
    /// in the host's name makes a peer refuse it. It lifts the score half way at most, for a watch, unless `host` opens
    /// several first contacts of its own meanwhile where `own` counts: one or two are anybody's work.
    pub fn hearsay(&mut self, host: &mut Host, evidence: Evidence, own: bool) -> bool {
        let (settings, now) = (&*self.settings, self.now);
        let half = self.half(host);
        let opened = own && host.lateral.reached(OWN.0, OWN.1, now);
        let room = (half.0 - host.score_now(now, settings.decay).0).max(0);
        let weight = if opened { evidence.weight } else { evidence.weight.min(Score(room)) };
        if weight.0 <= 0 {
            return false;
        }
        self.counters.evidence(evidence.signal);
        let score = host.add(Evidence { weight, ..evidence }, settings.decay);
        if opened && score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, evidence.signal);
        } else if score >= half {
            self.raise(host, Grade::Watch, evidence.signal);
            return true;
        }
        false
    }

    /// A window is full.
    pub fn tip(&mut self, host: &mut Host, signal: Signal, peer: Address, port: u16, grade: Grade, detail: Detail) {
        if self.is_due(host, grade) {
            self.note(host, signal, peer, port, detail);
            self.raise(host, grade, signal);
        }
    }

    /// Keeps evidence that explains an alarm and adds nothing to the score.
    fn note(&mut self, host: &mut Host, signal: Signal, peer: Address, port: u16, detail: Detail) {
        self.counters.evidence(signal);
        host.add(Evidence { signal, at: self.now, peer, port, weight: Score(0), detail }, self.settings.decay);
    }

    pub fn is_due(&self, host: &Host, grade: Grade) -> bool {
        let recent = |at: Option<Timestamp>| at.is_some_and(|at| self.now.since(at) < REPEAT);
        match grade {
            Grade::Watch => !host.acted && !recent(host.watched) && !recent(host.alarmed),
            Grade::Scan => !host.acted && !recent(host.alarmed),
            Grade::Exploit => !recent(host.exploited),
        }
    }

    /// Whether an exploit of this host was reported lately: further ones add nothing to what is done about it.
    pub fn is_reported(&self, host: &Host, grade: Grade) -> bool {
        grade == Grade::Exploit && !self.is_due(host, grade)
    }

    /// What a host gathered has grown by what one of its addresses had: it may deserve a decision now.
    pub fn reconsider(&mut self, host: &mut Host) {
        let score = host.score_now(self.now, self.settings.decay);
        let Some(last) = host.evidence.last().copied() else {
            self.refill(host);
            return;
        };
        if score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, last.signal);
        } else if score >= self.settings.watch {
            self.raise(host, Grade::Watch, last.signal);
        }
        self.refill(host);
    }

    /// The alarm about `host` that waits for confirmation since `since` holds: it is there.
    pub fn confirm(&mut self, host: &mut Host, since: Timestamp) {
        if self.now.since(since) <= self.settings.decay / 10
            && let Some(last) = host.evidence.last().copied()
        {
            self.raise(host, Grade::Scan, last.signal);
        } else {
            self.reconsider(host);
        }
    }

    /// The same for the windows.
    fn refill(&mut self, host: &mut Host) {
        let full = |window: &&Window| host.lateral.reached(window.limit, window.length, self.now);
        let Some(window) = self.settings.lateral_windows.iter().find(full).copied() else { return };
        let count = host.lateral.within(window.length, self.now);
        let peer = host.evidence.last().map_or(host.address, |evidence| evidence.peer);
        self.tip(host, Signal::FanoutLateral, peer, 0, Grade::Scan, window.filled(count, window.limit));
    }

    /// A host that is acted on spreads over a port that was not shut for it: reports that, so that it is.
    pub fn spreads_further(&mut self, host: &mut Host, peer: Address, service: (Transport, u16), points: u16) {
        let signal = Signal::FanoutAny;
        self.counters.alarm(signal);
        self.note(host, signal, peer, service.1, Detail::Further { points });
        let alarm = self.alarm_of(host, Grade::Scan, signal, vec![service]);
        self.events.push(Event::Alarm(Box::new(alarm)));
    }

    /// Reports that `host` deserves a decision, unless that was reported lately.
    fn raise(&mut self, host: &mut Host, grade: Grade, signal: Signal) {
        if !self.is_due(host, grade) {
            return;
        }
        if grade < Grade::Exploit && is_one_of_many(&self.settings, &self.shared, host, self.now) {
            self.counters.unverified(Unverified::ManyAddresses);
            return;
        }
        if grade == Grade::Watch {
            host.watched = Some(self.now);
            self.counters.watches += 1;
        } else {
            host.alarmed = Some(self.now);
            if grade == Grade::Exploit {
                host.exploited = Some(self.now);
            }
            self.counters.alarm(signal);
        }
        host.dirty = true;
        let ports = self.ports_of(host, signal);
        let alarm = self.alarm_of(host, grade, signal, ports);
        self.events.push(Event::Alarm(Box::new(alarm)));
    }

    /// What `host` spread over, besides the lateral services: where that is what the alarm rests on.
    fn ports_of(&self, host: &Host, signal: Signal) -> Vec<(Transport, u16)> {
        let settings = &*self.settings;
        let speaks = |port: u16| {
            host.evidence.iter().filter(|evidence| evidence.port == port && evidence.weight.0 > 0).count() >= 2
        };
        let mut ports = host.ports.leading();
        ports.retain(|&(transport, port)| {
            let lateral = match transport {
                Transport::Udp => settings.lateral.has_udp(port),
                _ => settings.lateral.has_tcp(port),
            };
            !lateral && (signal == Signal::FanoutAny || speaks(port))
        });
        ports
    }

    fn alarm_of(&self, host: &Host, grade: Grade, signal: Signal, ports: Vec<(Transport, u16)>) -> Alarm {
        let reached = if grade == Grade::Watch { Vec::new() } else { host.reached.iter().flatten().copied().collect() };
        Alarm {
            at: self.now,
            suspect: host.suspect,
            host: host.address,
            addresses: host.addresses().collect(),
            ports,
            attachment: host.attachment,
            grade,
            signal,
            score: host.score_now(self.now, self.settings.decay),
            threshold: self.threshold_of(host),
            destinations: host.destinations,
            evidence: host.evidence.clone(),
            reached,
            zone_hosts: self.shared.addresses.subnet_hosts(host.address),
        }
    }
}
