//! First contacts that the kernel's greylist holds: those that have asked once, and whose second asking is awaited.
//!
//! One table a shard, of fixed capacity, in the order of their times: what asks once and never again is found at the end of
//! [`Waits::PATIENCE`]. Full, it takes no more; what finds no place is weighed by nothing but the windows.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use crate::time::Timestamp;
use crate::track::{Attempt, HashKey, Opening, Proof};
use crate::wire::Address;

/// One that waits.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Who asked, as the contact memory knows it.
    pub identity: u64,
    /// From which address.
    pub source: Address,
    /// What was asked.
    pub attempt: Attempt,
    /// It has asked again, too early or while its source is held back.
    pub asked_again: bool,
}

/// What a second asking comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Nothing waits there.
    Unknown,
    /// The kernel drops this one too.
    Waits,
    /// The kernel lets it pass: from now on its answer is awaited.
    Passes(Attempt),
}

/// All that wait in one shard.
pub struct Waits {
    of: HashMap<u64, Wait, foldhash::fast::FixedState>,
    queue: VecDeque<(Timestamp, u64)>,
    capacity: usize,
    hash_key: HashKey,
}

impl Waits {
    /// Who has not asked again within this time will not: TCP repeats after one, three and seven seconds (RFC 6298 §5.7).
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// For at most `capacity` at once.
    #[must_use]
    pub fn new(capacity: usize, hash_key: HashKey) -> Self {
        let capacity = capacity.max(16);
        let of = HashMap::with_capacity_and_hasher(capacity, foldhash::fast::FixedState::default());
        Waits { of, queue: VecDeque::with_capacity(capacity), capacity, hash_key }
    }

    /// The memory that a table for `capacity` takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        (capacity * 8 / 7).next_power_of_two() * (size_of::<(u64, Wait)>() + 1)
            + capacity * size_of::<(Timestamp, u64)>()
    }

    fn key(&self, identity: u64, peer: Address, port: u16) -> u64 {
        self.hash_key.meeting(identity, peer, u64::from(port) | 1 << 32)
    }

    /// An attempt begins to wait. `false` where there is no room.
    pub fn begin(&mut self, identity: u64, source: Address, attempt: Attempt) -> bool {
        if self.queue.len() >= self.capacity {
            return false;
        }
        let key = self.key(identity, attempt.peer, attempt.port);
        self.of.insert(key, Wait { identity, source, attempt, asked_again: false });
        // One that is asked anew has a place at the front, too, which is passed over: without another it would stay for good.
        self.queue.push_back((attempt.at + Self::PATIENCE, key));
        true
    }

    /// The same is asked once more. It passes after `wait`, unless its source is `held` back.
    pub fn again(
        &mut self,
        identity: u64,
        (peer, port): (Address, u16),
        opening: Opening,
        (wait, held): (Duration, bool),
        now: Timestamp,
    ) -> Again {
        let key = self.key(identity, peer, port);
        let Some(waiting) = self.of.get_mut(&key) else { return Again::Unknown };
        waiting.asked_again = true;
        let [first, last] = &mut waiting.attempt.openings;
        if opening != *first {
            *last = opening;
        }
        if held || now.since(waiting.attempt.at) < wait {
            return Again::Waits;
        }
        self.of.remove(&key).map_or(Again::Unknown, |waited| Again::Passes(Attempt { at: now, ..waited.attempt }))
    }

    /// An answer came to what should have waited: it did not, whatever the mirror says.
    pub fn settle(&mut self, identity: u64, peer: Address, port: u16, proof: Proof) -> Option<Attempt> {
        let key = self.key(identity, peer, port);
        let waiting = self.of.get(&key)?;
        if !waiting.attempt.openings.iter().any(|opening| proof.holds(*opening)) {
            return None;
        }
        self.of.remove(&key).map(|waited| waited.attempt)
    }

    /// Takes the next whose patience has ended, and when it did.
    pub fn take(&mut self, now: Timestamp) -> Option<(Timestamp, Wait)> {
        while self.queue.front().is_some_and(|(due, _)| *due <= now) {
            let (due, key) = self.queue.pop_front()?;
            // What was asked anew since has a place further back in the queue.
            let over = |wait: &Wait| wait.attempt.at + Self::PATIENCE <= due;
            if self.of.get(&key).is_some_and(over)
                && let Some(wait) = self.of.remove(&key)
            {
                return Some((due, wait));
            }
        }
        None
    }

    /// The next whose patience ends, and when.
    #[must_use]
    pub fn next(&self) -> Option<(Timestamp, Address)> {
        let (due, key) = self.queue.front()?;
        Some((*due, self.of.get(key).map_or(Address::default(), |wait| wait.source)))
    }

    /// Waiting, and room for.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.of.len(), self.capacity)
    }
}

/// How many destinations of one host wait at once: the latest few, each by a fingerprint.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce {
    held: [(u32, Timestamp); AtOnce::MOST],
    next: u8,
}

impl AtOnce {
    /// So many are kept.
    pub const MOST: usize = 8;
    /// For so long each counts, unless it is answered.
    pub const FOR: Duration = Duration::from_secs(3);

    #[expect(clippy::cast_possible_truncation, reason = "a fingerprint")]
    const fn print(peer: u64) -> u32 {
        (peer >> 16) as u32 | 1
    }

    /// One more waits, by the hash of its address; gives how many do now.
    pub fn begin(&mut self, peer: u64, now: Timestamp) -> u32 {
        if let Some(slot) = self.held.get_mut(usize::from(self.next) % Self::MOST) {
            *slot = (Self::print(peer), now);
        }
        self.next = (self.next + 1) % 8;
        let waits = self.held.iter().filter(|(print, at)| *print != 0 && now.since(*at) < Self::FOR).count();
        u32::try_from(waits).unwrap_or(u32::MAX)
    }

    /// One was answered.
    pub fn end(&mut self, peer: u64) {
        let print = Self::print(peer);
        self.held.iter_mut().filter(|(held, _)| *held == print).for_each(|slot| *slot = (0, Timestamp::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Class;
    use crate::wire::frame::Transport;

    const SOURCE: Address = Address::v4([10, 0, 0, 1]);
    const WAIT: Duration = Duration::from_millis(700);

    fn peer(n: u8) -> Address {
        Address::v4([10, 0, 1, n])
    }

    fn attempt(n: u8, at: Timestamp) -> Attempt {
        Attempt {
            peer: peer(n),
            transport: Transport::Tcp,
            port: 445,
            class: Class::Lateral,
            at,
            openings: [Opening { port: 40_000, sequence: 7 }; 2],
        }
    }

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000) + Duration::from_millis(ms)
    }

    #[test]
    fn the_second_asking_passes_after_the_wait_unless_its_source_is_held_back() {
        let mut waits = Waits::new(64, HashKey::new(1));
        assert!(waits.begin(1, SOURCE, attempt(5, ms(0))));
        let opening = Opening { port: 40_001, sequence: 9 };
        let mut again = |at, held| waits.again(1, (peer(5), 445), opening, (WAIT, held), ms(at));
        assert_eq!(again(699, false), Again::Waits);
        assert_eq!(again(1000, true), Again::Waits);
        let passes = again(3000, false);
        let Again::Passes(passed) = passes else { panic!("{passes:?}") };
        assert_eq!((passed.at, passed.openings[1]), (ms(3000), opening), "its answer is awaited from here");
        assert_eq!(again(3001, false), Again::Unknown);
        assert!(waits.take(ms(60_000)).is_none(), "it asked again");
    }

    #[test]
    fn who_never_asks_again_is_found_after_five_seconds_and_the_table_is_bounded() {
        let mut waits = Waits::new(16, HashKey::new(1));
        let began = (0..20).filter(|n| waits.begin(1, SOURCE, attempt(*n, ms(u64::from(*n))))).count();
        assert_eq!((began, waits.occupancy()), (16, (16, 16)));
        assert!(waits.take(ms(4_999)).is_none());
        let (due, wait) = waits.take(ms(5_000)).unwrap();
        assert_eq!((due, wait.attempt.peer, wait.asked_again), (ms(5_000), peer(0), false));
        assert!(waits.begin(1, SOURCE, attempt(30, ms(5_000))), "there is room again");
        assert_eq!(std::iter::from_fn(|| waits.take(ms(60_000))).count(), 16);
        assert_eq!(waits.occupancy().0, 0);
    }

    #[test]
    fn what_is_asked_anew_leaves_the_table_after_its_own_patience() {
        let mut waits = Waits::new(16, HashKey::new(1));
        assert!(waits.begin(1, SOURCE, attempt(5, ms(0))) && waits.begin(1, SOURCE, attempt(5, ms(1_000))));
        assert!(waits.take(ms(5_500)).is_none());
        assert_eq!(waits.take(ms(6_000)).map(|(due, _)| due), Some(ms(6_000)));
        assert_eq!(waits.occupancy().0, 0);
    }

    #[test]
    fn an_answer_to_what_should_have_waited_settles_it() {
        let mut waits = Waits::new(16, HashKey::new(1));
        waits.begin(1, SOURCE, attempt(5, ms(0)));
        let proof = |number| Proof::Acknowledges { port: 40_000, number };
        assert_eq!(waits.settle(1, peer(5), 445, proof(8)), Some(attempt(5, ms(0))));
        assert_eq!(waits.settle(1, peer(5), 445, proof(8)), None);
        waits.begin(1, SOURCE, attempt(5, ms(0)));
        assert_eq!(waits.settle(1, peer(5), 445, Proof::Acknowledges { port: 1, number: 8 }), None, "forged");
        assert_eq!(waits.settle(2, peer(5), 445, proof(8)), None, "another's");
    }

    #[test]
    fn those_that_wait_at_once_are_the_unanswered_of_three_seconds() {
        let mut waiting = AtOnce::default();
        let hash = |n: u64| n << 20;
        assert_eq!(waiting.begin(hash(1), ms(0)), 1);
        assert_eq!(waiting.begin(hash(2), ms(900)), 2);
        waiting.end(hash(1));
        assert_eq!(waiting.begin(hash(3), ms(1000)), 2);
        assert_eq!(waiting.begin(hash(4), ms(3950)), 2, "the second is over");
        for n in 0..50 {
            waiting.begin(hash(10 + n), ms(4000));
        }
        assert_eq!(waiting.begin(hash(99), ms(4000)), 8);
    }
}
