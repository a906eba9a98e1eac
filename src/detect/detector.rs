//! One shard's core: frames and time in, events out.

use std::sync::Arc;

use crate::detect::counters::Counters;
use crate::detect::event::Event;
use crate::detect::scorer::Scorer;
use crate::detect::settings::{Capacities, Settings};
use crate::detect::smb_facts::SmbFacts;
use crate::detect::still_scanning::Repeats;
use crate::evidence::{Attachment, Score};
use crate::inspect::{Inspector, Report};
use crate::time::Timestamp;
use crate::track::attempts::Due;
use crate::track::buckets::Buckets;
use crate::track::{Addresses, Contacts, Deadlines, HashKey, Host, Hosts, RecentTraffic, Shared, Waits};
use crate::wire::frame::{Opaque, Packet, Tunnel};
use crate::wire::{Address, Frame};

/// The detector of one shard.
///
/// Feed it every frame of interest in order with [`Detector::frame`], call [`Detector::advance`] when time passes
/// without frames, and take its [`Detector::events`] after each.
pub struct Detector {
    pub(super) scorer: Scorer,
    pub(super) hosts: Hosts,
    pub(super) contacts: Contacts,
    pub(super) deadlines: Deadlines,
    pub(super) waits: Waits,
    pub(super) buckets: Buckets,
    pub(super) inspector: Inspector,
    pub(super) reports: Vec<Report>,
    pub(super) smb_facts: SmbFacts,
    pub(super) repeats: Repeats,
    pub(super) order: u64,
    pub(super) started: Option<Timestamp>,
    pub(super) hash_key: HashKey,
    /// A first contact from behind a router that is still to be counted for its network.
    pub(super) beyond: Option<Beyond>,
    /// Address probes that were asked for lately.
    pub(super) probes: Pace,
    /// What was reported lately of who waits.
    pub(super) reports_of_waits: Pace,
}

/// A first contact on a lateral service from behind a router, over IPv6: a host there has as many addresses as it likes in
/// its network.
#[derive(Clone, Copy)]
pub(super) struct Beyond {
    pub address: Address,
    pub peer: Address,
    pub port: u16,
    pub attachment: Attachment,
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
            hosts: Hosts::new(share(capacities.hosts), hash_key),
            contacts: Contacts::new(share(capacities.contacts), settings.contact_memory, hash_key),
            deadlines: Deadlines::new(share(capacities.attempts), settings.answer_timeout),
            waits: Waits::new(share(capacities.attempts) / 4, hash_key),
            buckets: Buckets::new(hash_key),
            inspector: Inspector::new(share(capacities.streams), hash_key),
            reports: Vec::with_capacity(32),
            smb_facts: SmbFacts::new(settings.contact_memory, hash_key),
            repeats: Repeats::new(hash_key),
            order: 0,
            started: None,
            hash_key,
            beyond: None,
            probes: Pace::default(),
            reports_of_waits: Pace::default(),
            scorer: Scorer::new(settings, shared),
        }
    }

    /// The most memory that `shards` detectors come to hold together, with the address table that they share.
    #[must_use]
    pub fn bytes(capacities: &Capacities, shards: usize) -> usize {
        let share = |whole: usize| whole.div_ceil(shards.max(1));
        let each = Hosts::bytes(share(capacities.hosts))
            + Contacts::bytes(share(capacities.contacts))
            + Deadlines::bytes(share(capacities.attempts))
            + Waits::bytes(share(capacities.attempts) / 4)
            + Inspector::bytes(share(capacities.streams))
            + SmbFacts::BYTES
            + Repeats::BYTES;
        each * shards.max(1) + Addresses::bytes(capacities.addresses) + RecentTraffic::BYTES
    }

    /// Takes one frame. `order` counts frames over all shards; it only breaks ties between equal times.
    pub fn frame(&mut self, frame: &Frame<'_>, order: u64) {
        self.advance(frame.meta.at);
        self.order = order;
        self.started.get_or_insert(self.scorer.now);
        self.scorer.counters.frames += 1;
        if frame.link().outer != 0 {
            self.scorer.shared.saw_tag();
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

    /// Lets time pass: attempts whose answer is overdue have failed.
    pub fn advance(&mut self, now: Timestamp) {
        self.scorer.now = self.scorer.now.max(now);
        while let Some(due) = self.deadlines.take(self.scorer.now) {
            self.judge(due);
        }
        while let Some((due, wait)) = self.waits.take(self.scorer.now) {
            self.asked_once(due, wait);
        }
    }

    /// The next deadline, for drivers that keep several detectors in step.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Due> {
        let answers = self.deadlines.next();
        let Some((at, host)) = self.waits.next() else { return answers };
        let waits = Due { at, began: at, order: u64::MAX, host };
        Some(answers.filter(|due| due.at <= at).unwrap_or(waits))
    }

    /// Judges the next deadline alone, if it is due by `now`.
    pub fn judge_next(&mut self, now: Timestamp) {
        let first = self.waits.next().is_none_or(|(at, _)| self.deadlines.next().is_some_and(|due| due.at <= at));
        if !first {
            if let Some((due, wait)) = self.waits.take(now) {
                self.scorer.now = self.scorer.now.max(due);
                self.asked_once(due, wait);
            }
        } else if let Some(due) = self.deadlines.take(now) {
            self.scorer.now = self.scorer.now.max(due.at);
            self.judge(due);
        }
    }

    /// The events since the last call.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.scorer.events.drain(..)
    }

    /// Whether there are events to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.scorer.events.is_empty()
    }

    /// Takes new settings; tables keep what they hold, capacities stay.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.deadlines.set_timeout(settings.answer_timeout);
        self.scorer.reconfigure(settings);
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.scorer.counters
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
        self.scorer.threshold_of(host)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.scorer.settings
    }

    /// The time of the latest frame or step.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.scorer.now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::detect::event::Directive;
    use crate::suspect::Suspect;
    use crate::wire::{Link, Mac};

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
        assert_eq!(detector.events().count(), 0, "both answer: it stays with whoever is not acted on");
        assert_eq!(detector.scorer.shared.addresses.answered_from(link, address, at), Some(next));
        detector.advance(at + Duration::from_secs(60));
        let at = detector.now();
        detector.owns(link, worm, address);
        assert_eq!(detector.events().collect::<Vec<_>>(), [Event::Named { suspect, address, at }]);
        detector.owns(link, worm, address);
        assert_eq!(detector.events().count(), 0, "said once");
        detector.owns(link, next, address);
        assert_eq!(detector.events().collect::<Vec<_>>(), [Event::Lost { suspect, address, to: next, at }]);
    }
}
