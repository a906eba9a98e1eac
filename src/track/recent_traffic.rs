//! Who lately sent something to whom, as far as anybody saw.
//!
//! Distinguishes a datagram that answers from one that begins, whichever shard saw the other, and finds a request to the
//! link that somebody caused, by sending in the name of the address asked for. Four-way sets of 32-bit fingerprints and times,
//! without locks; the pair that was quiet for longest is forgotten first. Bounded, and so now and then wrong: an answer
//! then looks like a beginning. Nobody is acted on for that alone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::HashKey;
use crate::wire::Address;

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Any packet in the source's name, wherever it came from.
    Anything,
    /// A datagram, from where its source lives.
    Datagram,
    /// An answer in the source's name that was not from there.
    Forgery,
}

impl Sent {
    /// Keeps these hashes apart from each other and from those of other tables.
    const fn tag(self) -> u64 {
        0x6865_6172_6400 | self as u64
    }
}

/// The tables.
pub struct RecentTraffic {
    anything: Box<[Set]>,
    datagrams: Box<[Set]>,
    hash_key: HashKey,
}

const WAYS: usize = 4;

/// Pairs that share a place: a fingerprint and a time each.
type Set = [AtomicU64; WAYS];

const FINGERPRINT: u64 = !0xffff_ffff;

impl RecentTraffic {
    /// How many sets there are for packets of any kind, which matter less, and for datagrams.
    const SETS: [usize; 2] = [1 << 11, 1 << 13];

    /// The memory it takes.
    pub const BYTES: usize = (Self::SETS[0] + Self::SETS[1]) * size_of::<Set>();

    /// Empty tables.
    #[must_use]
    pub fn new(hash_key: HashKey) -> Self {
        let [anything, datagrams] = Self::SETS.map(|sets| std::iter::repeat_with(Set::default).take(sets).collect());
        RecentTraffic { anything, datagrams, hash_key }
    }

    /// Time in units of 2²⁰ ns (1.05 ms), wrapping after 52 days; never 0.
    fn ticks(at: Timestamp) -> u64 {
        ((at.nanos() >> 20) & 0xffff_ffff).max(1)
    }

    fn set(&self, what: Sent, from: Address, to: Address) -> (&[AtomicU64], u64) {
        let hash = self.hash_key.pair(from, to, what.tag());
        let sets = match what {
            Sent::Anything | Sent::Forgery => &self.anything,
            Sent::Datagram => &self.datagrams,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of the table's size")]
        let at = (hash % sets.len().max(1) as u64) as usize;
        (sets.get(at).map_or(&[], |set| set.as_slice()), hash & FINGERPRINT)
    }

    /// `from` sends something to `to`. The pair of its set that was quiet for longest gives way.
    pub fn note(&self, what: Sent, from: Address, to: Address, now: Timestamp) {
        let (set, fingerprint) = self.set(what, from, to);
        let now = Self::ticks(now);
        let rank = |slot: &&AtomicU64| {
            let held = slot.load(Relaxed);
            if held & FINGERPRINT == fingerprint { 0 } else { !now.wrapping_sub(held) & 0xffff_ffff | 1 << 32 }
        };
        if let Some(slot) = set.iter().min_by_key(rank) {
            slot.store(fingerprint | now, Relaxed);
        }
    }

    /// How long ago `from` last sent something to `to`, if that is still known.
    #[must_use]
    pub fn ago(&self, what: Sent, from: Address, to: Address, now: Timestamp) -> Option<Duration> {
        let (set, fingerprint) = self.set(what, from, to);
        let held =
            set.iter().map(|slot| slot.load(Relaxed)).find(|&held| held & FINGERPRINT == fingerprint && held != 0)?;
        let ticks = Self::ticks(now).wrapping_sub(held) & 0xffff_ffff;
        // Another shard may be a little ahead.
        Some(if ticks > 0xffff_ff00 { Duration::ZERO } else { Duration::from_nanos(ticks << 20) })
    }

    /// Whether `from` sent something to `to` within `memory`.
    #[must_use]
    pub fn within(&self, what: Sent, from: Address, to: Address, memory: Duration, now: Timestamp) -> bool {
        self.ago(what, from, to, now).is_some_and(|ago| ago <= memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_known_by_its_direction_and_for_a_while() {
        let traffic = RecentTraffic::new(HashKey::new(1));
        let (a, b) = (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2]));
        let at = Timestamp::from_secs;
        traffic.note(Sent::Datagram, a, b, at(1000));
        let minute = Duration::from_secs(60);
        assert!(
            traffic.within(Sent::Datagram, a, b, minute, at(1000))
                && traffic.within(Sent::Datagram, a, b, minute, at(1059))
        );
        assert!(!traffic.within(Sent::Anything, a, b, minute, at(1000)));
        assert!(!traffic.within(Sent::Datagram, b, a, minute, at(1000)));
        assert!(!traffic.within(Sent::Datagram, a, b, minute, at(1062)));
        assert!(
            traffic.within(Sent::Datagram, a, b, minute, at(999))
                || traffic.ago(Sent::Datagram, a, b, at(999)).is_some()
        );
    }

    #[test]
    fn many_pairs_at_once_mostly_stay_known() {
        let traffic = RecentTraffic::new(HashKey::new(1));
        let pair = |n: u32| (Address::v4(n.to_be_bytes()), Address::v4([10, 0, 0, 1]));
        let now = Timestamp::from_secs(1);
        (0..2000).for_each(|n| traffic.note(Sent::Datagram, pair(n).0, pair(n).1, now));
        let known = (0..2000)
            .filter(|&n| traffic.within(Sent::Datagram, pair(n).0, pair(n).1, Duration::from_secs(1), now))
            .count();
        assert!(known > 1990, "{known}");
        assert!((2000..4000).all(|n| !traffic.within(
            Sent::Datagram,
            pair(n).0,
            pair(n).1,
            Duration::from_secs(1),
            now
        )));
    }
}
