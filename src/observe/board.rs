//! The shared host table: what the shards and the responder last said of each host, for whoever looks.
//!
//! A shard writes when something notable changed about a host (its score, a window, its place, at most about once a
//! second for a host), the control task writes what was decided, and API and metrics read. Writers on the packet path
//! use [`Board::try_publish`], which never waits: if somebody reads that part of the table just then, it says so, and
//! the shard tries again with its next batch.
//!
//! Bounded: quiet hosts (no score, no evidence) are taken in up to seven eighths of the capacity, the last eighth is
//! kept for suspects; [`Board::trim`], called by the control task, makes room again by dropping the least suspicious
//! host that has been idle longest. A host with a decision in force is never dropped, and may be entered even when the
//! table is full: how many those are is bounded by the responder.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::host::{NearMiss, WindowFill};
use super::snapshot::Occupancy;
use crate::detect::evidence::{Attachment, Evidence, Score};
use crate::respond::Verdict;
use crate::time::Timestamp;
use crate::wire::Address;

/// SMB dialects, oldest first: metric labels, and the bits of [`SmbFacts`].
pub const DIALECTS: [&str; 6] = ["smb1", "2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"];

/// What was seen of a host's SMB. A dialect is a bit: bit N is [`DIALECTS`]`[N]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmbFacts {
    /// Dialects agreed on as a client.
    pub client: u8,
    /// Dialects agreed on as a server.
    pub server: u8,
    /// A negotiation required signing.
    pub signing: bool,
    /// Encrypted sessions were seen.
    pub encrypted: bool,
}

impl SmbFacts {
    /// Whether it speaks SMB at all.
    #[must_use]
    pub const fn any(self) -> bool {
        self.client | self.server != 0 || self.encrypted
    }

    /// Whether it agreed on SMB1, on either side.
    #[must_use]
    pub const fn smb1(self) -> bool {
        (self.client | self.server) & 1 != 0
    }
}

/// What a shard knows of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// When it last sent something.
    pub seen: Timestamp,
    /// Where it sits.
    pub attachment: Attachment,
    /// Its score.
    pub score: Score,
    /// The threshold that applies to it.
    pub threshold: Score,
    /// Distinct destinations of first contact within the contact memory.
    pub destinations: u32,
    /// The fan-out windows that hold anything.
    pub windows: Vec<WindowFill>,
    /// The alarmed host that lately reached it.
    pub exposed_by: Option<Address>,
    /// Its SMB.
    pub smb: SmbFacts,
    /// The closest it came to a decision without one.
    pub near_miss: Option<NearMiss>,
    /// The evidence that counts now, oldest first; none for quiet hosts.
    pub evidence: Vec<Evidence>,
}

impl Facts {
    /// Whether anything speaks against it.
    #[must_use]
    pub fn suspicious(&self) -> bool {
        self.score > Score(0) || self.exposed_by.is_some() || !self.evidence.is_empty()
    }

    /// How near its decision it is, in thousandths: by score, or by its fullest window.
    #[must_use]
    pub fn nearness(&self) -> u32 {
        let of = |part: u64, whole: u64| part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
        let score = of(self.score.0.max(0).unsigned_abs().into(), self.threshold.0.max(0).unsigned_abs().into());
        let windows = self.windows.iter().map(|window| of(window.count.into(), window.limit.into())).max();
        u32::try_from(score.max(windows.unwrap_or(0))).unwrap_or(u32::MAX)
    }
}

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

/// One host's line on the board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What its shard said last.
    pub facts: Option<Facts>,
    /// What is decided about it, if anything.
    pub standing: Option<Standing>,
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
        }
    }

    /// Puts up what a shard knows of a host; never waits.
    pub fn try_publish(&self, host: Address, facts: Facts) -> Published {
        let Some(entry) = self.lines.try_entry(host) else { return Published::Busy };
        match entry {
            Entry::Occupied(mut line) => line.get_mut().facts = Some(facts),
            Entry::Vacant(place) => {
                let room = if facts.suspicious() { self.capacity } else { self.capacity - self.capacity / 8 };
                if self.used.load(Ordering::Relaxed) >= room {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return Published::Full;
                }
                place.insert(Line { facts: Some(facts), standing: None });
                self.used.fetch_add(1, Ordering::Relaxed);
            }
        }
        Published::Yes
    }

    /// Puts up what is decided about a host, or that nothing is any more. For the control task: may wait for a reader.
    pub fn stand(&self, host: Address, standing: Option<Standing>) {
        match self.lines.entry(host) {
            Entry::Occupied(mut line) => {
                line.get_mut().standing = standing;
                if standing.is_none() && line.get().facts.is_none() {
                    line.remove();
                    self.used.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Entry::Vacant(place) => {
                if standing.is_some() {
                    place.insert(Line { facts: None, standing });
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

    /// Makes room once three quarters are used: drops the least suspicious hosts, the longest idle first, down to five
    /// eighths, but nobody with a decision in force. Returns how many. For the control task, about once a second.
    pub fn trim(&self) -> usize {
        let used = self.len();
        if used <= self.capacity / 4 * 3 {
            return 0;
        }
        let surplus = used - self.capacity / 8 * 5;
        let mut candidates: Vec<(u32, Timestamp, Address)> = Vec::with_capacity(used);
        self.each(|host, line| {
            if let (None, Some(facts)) = (line.standing, &line.facts) {
                candidates.push((facts.nearness(), facts.seen, host));
            }
        });
        if surplus < candidates.len() {
            candidates.select_nth_unstable(surplus);
            candidates.truncate(surplus);
        }
        let mut dropped = 0;
        for (_, seen, host) in candidates {
            // It may have been published or decided about again since it was looked at.
            let idle = |_: &Address, line: &Line| {
                line.standing.is_none() && line.facts.as_ref().is_some_and(|facts| facts.seen == seen)
            };
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

    fn host(n: u32) -> Address {
        Address::v4((0x0a00_0000 | n).to_be_bytes())
    }

    fn facts(seen: u64, score: i32) -> Facts {
        Facts { seen: Timestamp::from_secs(seen), score: Score(score), threshold: Score(9900), ..Facts::default() }
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
        assert_eq!(board.trim(), 20);
        assert_eq!(board.len(), 50);
        assert!(board.get(host(0)).is_some(), "a host with a decision in force stays");
        for n in 1..=20 {
            assert!(board.get(host(n)).is_none(), "{n}");
        }
        for n in 21..70 {
            assert!(board.get(host(n)).is_some(), "{n}");
        }
        assert_eq!(board.trim(), 0, "there is room now");
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
    fn a_writer_never_waits_for_a_reader() {
        let board = Board::new(8);
        board.try_publish(host(1), facts(1, 0));
        let reading = board.lines.get(&host(1));
        assert_eq!(board.try_publish(host(1), facts(2, 0)), Published::Busy);
        drop(reading);
        assert_eq!(board.try_publish(host(1), facts(2, 0)), Published::Yes);
    }

    #[test]
    fn nearness_is_the_fullest_of_score_and_windows() {
        let mut facts = facts(1, 4950);
        assert_eq!(facts.nearness(), 500);
        facts.windows.push(WindowFill { class: super::super::host::Class::Lateral, seconds: 10, count: 9, limit: 10 });
        assert_eq!(facts.nearness(), 900);
        facts.threshold = Score(0);
        assert_eq!(facts.nearness(), 900);
    }
}
