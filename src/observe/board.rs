//! The shared host table: what the shards and the responder last said of each host, for whoever looks.
//!
//! A shard writes when something notable changed about a host (its score, a window, its place, at most about once a
//! second for a host), the control task writes what was decided, and API and metrics read. Writers on the packet path
//! use [`Board::try_publish`], which never waits: if somebody reads that part of the table just then, it says so, and
//! the shard tries again with its next batch.
//!
//! Bounded: quiet hosts (no score, no evidence) are taken in up to seven eighths of the capacity, the last eighth is
//! kept for suspects; [`Board::trim`], called by the control task, makes room again by dropping the least suspicious
//! host that has been idle longest. A host that is acted on is never dropped, and may be entered even when the table is
//! full: how many those are is bounded by the responder.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::facts::{Facts, SmbFacts};
use super::host::{NearMiss, WindowFill};
use super::snapshot::{HostCounts, Occupancy};
use crate::evidence::{Alarm, Evidence};
use crate::respond::Verdict;
use crate::suspect::{Place, Who};
use crate::time::Timestamp;
use crate::track::hosts::{ANY_WINDOWS, LATERAL_WINDOWS};
use crate::wire::Address;
use crate::wire::smb::Dialect;

/// How near a host's decision must have been to be a near miss, in thousandths.
const NEAR_MISS: u32 = 500;
/// A watch is over once the host is no nearer than this, in thousandths, and [`WATCH`] has passed.
const FAR: u32 = 250;
/// How long a watch lasts at least.
const WATCH: Duration = Duration::from_secs(60);

/// What the responder has decided about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Watch, throttle, contain, isolate or hold.
    pub verdict: Verdict,
    /// Whether the kernel was told.
    pub enforced: bool,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Rung of the ladder.
    pub step: u8,
}

impl Standing {
    /// Whether a decision is in force, or waits to be: contain, isolate or hold.
    #[must_use]
    pub const fn acted(self) -> bool {
        matches!(self.verdict, Verdict::Contain | Verdict::Isolate | Verdict::Hold)
    }
}

/// One host's line on the board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What its shard said last.
    pub facts: Option<Facts>,
    /// What is decided about it, if anything.
    pub standing: Option<Standing>,
    /// Its SMB, as client and as server.
    pub smb: SmbFacts,
}

impl Line {
    fn acted(&self) -> bool {
        self.standing.is_some_and(Standing::acted)
    }

    fn seen(&self) -> Timestamp {
        self.facts.as_ref().map_or(Timestamp::ZERO, |facts| facts.seen)
    }

    /// Takes newer facts. The nearest that a host came without being acted on stays in mind until it is.
    fn update(&mut self, mut facts: Facts) {
        let before = self.facts.as_ref().and_then(|facts| facts.near_miss);
        let near = (facts.nearness() >= NEAR_MISS).then(|| NearMiss {
            at: facts.at,
            share: facts.nearness(),
            score: facts.score,
            threshold: facts.threshold,
        });
        let nearest = before.into_iter().chain(near).max_by_key(|near| near.share);
        facts.near_miss = if self.acted() { None } else { nearest };
        self.facts = Some(facts);
    }
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on the board.
    Yes,
    /// Somebody held that part of the table: try again later.
    Busy,
    /// The table has no room for this host; counted.
    Full,
}

/// The shared host table.
#[derive(Debug)]
pub struct Board {
    lines: DashMap<Address, Line, foldhash::fast::RandomState>,
    capacity: usize,
    used: AtomicUsize,
    evicted: AtomicU64,
    refused: AtomicU64,
    near_misses: AtomicU64,
}

impl Board {
    /// A board for at most `capacity` hosts (at least 8) besides those with a decision in force.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Board {
            lines: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            capacity: capacity.max(8),
            used: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            near_misses: AtomicU64::new(0),
        }
    }

    /// The most memory that a board for `capacity` hosts comes to hold, every host with all that can be known of it.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        // The table grows by doubling and is at most seven eighths full; while it grows, old and new stand side by side.
        let place = (size_of::<(Address, Line)>() + 1) * 3;
        let windows = (LATERAL_WINDOWS + ANY_WINDOWS) * size_of::<WindowFill>();
        capacity * (place + windows + Alarm::EVIDENCE * size_of::<Evidence>())
    }

    /// Puts up what a shard knows of a host; never waits.
    pub fn try_publish(&self, host: Address, facts: Facts) -> Published {
        let Some(entry) = self.lines.try_entry(host) else { return Published::Busy };
        match entry {
            Entry::Occupied(mut line) => line.get_mut().update(facts),
            Entry::Vacant(place) => {
                let room = if facts.suspicious() { self.capacity } else { self.capacity - self.capacity / 8 };
                if self.used.load(Ordering::Relaxed) >= room {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return Published::Full;
                }
                place.insert(Line::default()).update(facts);
                self.used.fetch_add(1, Ordering::Relaxed);
            }
        }
        Published::Yes
    }

    /// Puts up what a host was seen to speak; a host that is only seen as a server appears here first. For the control
    /// task: may wait for a reader.
    pub fn speaks(&self, host: Address, as_server: bool, dialect: Dialect, signing: bool, encryption: bool) {
        match self.lines.entry(host) {
            Entry::Occupied(mut line) => line.get_mut().smb.spoke(as_server, dialect, signing, encryption),
            Entry::Vacant(place) => {
                if self.used.load(Ordering::Relaxed) >= self.capacity - self.capacity / 8 {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                place.insert(Line::default()).smb.spoke(as_server, dialect, signing, encryption);
                self.used.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Puts up what is decided about a host, or that nothing is any more. For the control task: may wait for a reader.
    pub fn stand(&self, host: Address, standing: Option<Standing>) {
        match self.lines.entry(host) {
            Entry::Occupied(mut line) => {
                line.get_mut().standing = standing;
                if let (true, Some(facts)) = (line.get().acted(), &mut line.get_mut().facts) {
                    facts.near_miss = None;
                }
                if standing.is_none() && line.get().facts.is_none() && !line.get().smb.any() {
                    line.remove();
                    self.used.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Entry::Vacant(place) => {
                if standing.is_some() {
                    place.insert(Line { standing, ..Line::default() });
                    self.used.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// One host's line.
    #[must_use]
    pub fn get(&self, host: Address) -> Option<Line> {
        self.lines.get(&host).map(|line| line.value().clone())
    }

    /// The address that a host is known by here, if `address` is one of its others. Looks at everybody: for the API.
    #[must_use]
    pub fn known_as(&self, address: Address) -> Option<Address> {
        let uses = |line: &Line| line.facts.as_ref().is_some_and(|facts| facts.addresses.contains(&address));
        self.lines.iter().find(|line| uses(line.value())).map(|line| *line.key())
    }

    /// The address that whoever sends from a place was last seen with. Looks at everybody.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<Address> {
        let card = match place.source {
            Who::Card(card) => card,
            Who::Address(address) => return Some(address),
            Who::Network(_) => return None,
        };
        let interface = place.link.interface;
        let there = |facts: &Facts| facts.attachment.mac == card && facts.attachment.interface == interface;
        self.lines
            .iter()
            .filter_map(|line| Some((line.value().facts.as_ref().filter(|facts| there(facts))?.seen, *line.key())))
            .max()
            .map(|(_, address)| address)
    }

    /// What is decided about one host.
    #[must_use]
    pub fn standing(&self, host: Address) -> Option<Standing> {
        self.lines.get(&host).and_then(|line| line.standing)
    }

    /// Looks at every line, one part of the table locked for reading at a time.
    pub fn each(&self, mut look: impl FnMut(Address, &Line)) {
        for line in &self.lines {
            look(*line.key(), line.value());
        }
    }

    /// Hosts on the board.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hosts it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Hosts dropped to make room, and publications refused for want of it.
    #[must_use]
    pub fn evicted(&self) -> (u64, u64) {
        (self.evicted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// How full it is, as a table among the tables; refused publications count as evictions.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (evicted, refused) = self.evicted();
        Occupancy {
            name: "board".to_owned(),
            used: count(self.len()),
            capacity: count(self.capacity),
            evicted: evicted.saturating_add(refused),
        }
    }

    /// Hosts that were watched and fell back without a decision.
    #[must_use]
    pub fn near_misses(&self) -> u64 {
        self.near_misses.load(Ordering::Relaxed)
    }

    /// Looks once at everybody: ends the watches that are outlived, and counts who is in which state. For the control
    /// task, about once a second. `tracked` is left to the shards' own tables.
    pub fn survey(&self, now: Timestamp, decay: Duration) -> HostCounts {
        let mut counts = HostCounts::default();
        let mut outlived = Vec::new();
        self.each(|host, line| match line.standing.map(|standing| (standing.verdict, standing.since)) {
            Some((Verdict::Contain, _)) => counts.contained += 1,
            Some((Verdict::Isolate, _)) => counts.isolated += 1,
            Some((Verdict::Hold, _)) => counts.held += 1,
            Some((Verdict::Watch | Verdict::Throttle, since)) => {
                let near = line.facts.as_ref().map_or(0, |facts| facts.nearness_at(now, decay));
                if near < FAR && now.since(since) >= WATCH {
                    outlived.push(host);
                } else {
                    counts.watched += 1;
                }
            }
            Some((Verdict::Release, _)) | None => {}
        });
        self.near_misses.fetch_add(u64::try_from(outlived.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for host in outlived {
            self.stand(host, None);
        }
        counts
    }

    /// Makes room once three quarters are used: drops the least suspicious hosts, the longest idle first, down to five
    /// eighths, but nobody who is acted on. Returns how many. For the control task, about once a second.
    pub fn trim(&self, now: Timestamp, decay: Duration) -> usize {
        let used = self.len();
        if used <= self.capacity / 4 * 3 {
            return 0;
        }
        let surplus = used - self.capacity / 8 * 5;
        let mut candidates: Vec<(u32, Timestamp, Address)> = Vec::with_capacity(used);
        self.each(|host, line| {
            if !line.acted() {
                let near = line.facts.as_ref().map_or(0, |facts| facts.nearness_at(now, decay));
                candidates.push((near, line.seen(), host));
            }
        });
        if surplus < candidates.len() {
            candidates.select_nth_unstable(surplus);
            candidates.truncate(surplus);
        }
        let mut dropped = 0;
        for (_, seen, host) in candidates {
            // It may have been published or decided about again since it was looked at.
            let idle = |_: &Address, line: &Line| !line.acted() && line.seen() == seen;
            if self.lines.remove_if(&host, idle).is_some() {
                dropped += 1;
            }
        }
        self.used.fetch_sub(dropped, Ordering::Relaxed);
        self.evicted.fetch_add(u64::try_from(dropped).unwrap_or(u64::MAX), Ordering::Relaxed);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Score;

    const NOW: Timestamp = Timestamp::from_secs(70);
    const DECAY: Duration = Duration::from_secs(600);

    fn host(n: u32) -> Address {
        Address::v4((0x0a00_0000 | n).to_be_bytes())
    }

    fn facts(seen: u64, score: i32) -> Facts {
        let at = Timestamp::from_secs(seen);
        Facts { at, seen: at, score: Score(score), threshold: Score(9900), ..Facts::default() }
    }

    fn standing() -> Standing {
        Standing { verdict: Verdict::Contain, enforced: true, since: Timestamp::ZERO, until: None, step: 1 }
    }

    #[test]
    fn quiet_hosts_leave_the_last_eighth_to_suspects() {
        let board = Board::new(80);
        for n in 0..100 {
            board.try_publish(host(n), facts(1, 0));
        }
        assert_eq!(board.len(), 70);
        assert_eq!(board.evicted(), (0, 30));
        assert_eq!(board.try_publish(host(200), facts(1, 1)), Published::Yes);
        for n in 300..400 {
            board.try_publish(host(n), facts(1, 1));
        }
        assert_eq!(board.len(), 80);
        assert_eq!(board.try_publish(host(0), facts(2, 0)), Published::Yes, "who is on the board stays up to date");
    }

    #[test]
    fn trimming_drops_the_least_suspicious_and_longest_idle_first() {
        let board = Board::new(80);
        for n in 0..60 {
            board.try_publish(host(n), facts(u64::from(n), 0));
        }
        board.stand(host(0), Some(standing()));
        for n in 60..70 {
            board.try_publish(host(n), facts(0, 5000));
        }
        assert_eq!(board.trim(NOW, DECAY), 20);
        assert_eq!(board.len(), 50);
        assert!(board.get(host(0)).is_some(), "a host with a decision in force stays");
        for n in 1..=20 {
            assert!(board.get(host(n)).is_none(), "{n}");
        }
        for n in 21..70 {
            assert!(board.get(host(n)).is_some(), "{n}");
        }
        assert_eq!(board.trim(NOW, DECAY), 0, "there is room now");
    }

    #[test]
    fn a_decision_is_entered_even_when_the_board_is_full() {
        let board = Board::new(8);
        for n in 0..8 {
            board.try_publish(host(n), facts(1, 1));
        }
        board.stand(host(99), Some(standing()));
        assert_eq!(board.get(host(99)).unwrap().standing, Some(standing()));
        board.stand(host(99), None);
        assert_eq!(board.get(host(99)), None);
        assert_eq!(board.len(), 8);
    }

    #[test]
    fn what_a_host_speaks_stays_when_its_facts_change() {
        let board = Board::new(8);
        board.speaks(host(1), true, Dialect::NtLm012, false, false);
        board.try_publish(host(1), facts(1, 0));
        board.speaks(host(1), false, Dialect::Smb311, true, false);
        let smb = board.get(host(1)).unwrap().smb;
        assert!(smb.smb1() && smb.signing && smb.client != 0 && smb.server != 0);
        for n in 2..100 {
            board.speaks(host(n), true, Dialect::Smb311, false, false);
        }
        assert_eq!(board.len(), 7, "servers that were only seen answering leave room for suspects");
        assert!(board.trim(NOW, DECAY) > 0);
    }

    #[test]
    fn a_writer_never_waits_for_a_reader() {
        let board = Board::new(8);
        board.try_publish(host(1), facts(1, 0));
        let reading = board.lines.get(&host(1));
        assert_eq!(board.try_publish(host(1), facts(2, 0)), Published::Busy);
        drop(reading);
        assert_eq!(board.try_publish(host(1), facts(2, 0)), Published::Yes);
    }

    #[test]
    fn the_nearest_miss_is_kept_until_the_host_is_acted_on() {
        let board = Board::new(8);
        let miss = |board: &Board| board.get(host(1)).unwrap().facts.unwrap().near_miss.map(|near| near.score);
        board.try_publish(host(1), facts(1, 4000));
        assert_eq!(miss(&board), None);
        board.try_publish(host(1), facts(2, 8000));
        board.try_publish(host(1), facts(3, 100));
        assert_eq!(miss(&board), Some(Score(8000)));
        board.stand(host(1), Some(standing()));
        assert_eq!(miss(&board), None);
    }

    #[test]
    fn a_watch_ends_as_a_near_miss_once_the_host_has_fallen_back() {
        let board = Board::new(8);
        let watch = Standing { verdict: Verdict::Watch, enforced: false, ..standing() };
        board.try_publish(host(1), facts(0, 5000));
        board.stand(host(1), Some(watch));
        board.stand(host(2), Some(standing()));
        let counts = board.survey(Timestamp::from_secs(600), DECAY);
        assert_eq!((counts.watched, counts.contained), (1, 1), "four nats are left");
        let counts = board.survey(Timestamp::from_secs(1800), DECAY);
        assert_eq!((counts.watched, counts.contained), (0, 1), "two nats are left of nearly ten");
        assert_eq!(board.near_misses(), 1);
        assert_eq!(board.get(host(1)).unwrap().standing, None);
    }
}
