//! The set-associative table of atomics that all shards share: each slot one cache line, no lock.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const WAYS: usize = 4;

/// After a living entry was pushed out, so many seconds of "never seen" prove nothing.
const PRESSURE: u32 = 600;

/// An entry that has lived for so many seconds is worth more than one that is new.
const SETTLED: u32 = 60;

/// What an empty slot is worth, and one whose entry has expired; living entries are worth more.
const EMPTY: u8 = 0;
const EXPIRED: u8 = 1;

/// A slot's words. How much an entry is worth, and so what gives way in a full set, the table reads from the three times;
/// the other words, and what the times are times of, only the entry's kind knows.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Slot {
    /// Fingerprint; 0 is empty.
    key: AtomicU64,
    pub a: AtomicU64,
    pub b: AtomicU64,
    pub c: AtomicU64,
    pub number: AtomicU32,
    pub at: AtomicU32,
    /// Since when the entry lives, seconds; 0 counts as long ago.
    pub since: AtomicU32,
    /// When it was last seen to live, seconds; 0 is never.
    pub last: AtomicU32,
    /// When it last proved that others rely on it, seconds; 0 is never.
    pub proven: AtomicU32,
}

/// What one kind of entry makes of a slot's words.
pub(super) trait Entry<'t>: Copy {
    fn of(slot: &'t Slot) -> Self;
}

/// The key of an entry of kind `E`: only as that is its slot read.
#[derive(Clone, Copy)]
pub(super) struct Key<E> {
    hash: u64,
    kind: PhantomData<fn() -> E>,
}

impl<E> Key<E> {
    /// Of a hash other than 0.
    pub fn new(hash: u64) -> Self {
        Key { hash, kind: PhantomData }
    }
}

/// The table.
pub(super) struct Table {
    sets: Vec<[Slot; WAYS]>,
    memory: u32,
    used: AtomicU64,
    evicted: AtomicU64,
    pressure_until: AtomicU32,
}

impl Table {
    /// For about `capacity` entries, each of which may go once it is `memory` seconds old.
    pub fn new(capacity: usize, memory: u32) -> Self {
        Table {
            sets: std::iter::repeat_with(Default::default).take(Self::sets(capacity)).collect(),
            memory,
            used: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            pressure_until: AtomicU32::new(0),
        }
    }

    /// The memory that a table for `capacity` entries takes.
    pub const fn bytes(capacity: usize) -> usize {
        Self::sets(capacity) * size_of::<[Slot; WAYS]>()
    }

    const fn sets(capacity: usize) -> usize {
        let sets = capacity / WAYS;
        (if sets == 0 { 1 } else { sets }).next_power_of_two()
    }

    fn set(&self, key: u64) -> &[Slot] {
        self.sets.get((key >> 32) as usize & (self.sets.len() - 1)).map_or(&[], |set| set.as_slice())
    }

    /// The entry of this key.
    pub fn find<'t, E: Entry<'t>>(&'t self, key: Key<E>) -> Option<E> {
        self.set(key.hash).iter().find(|slot| slot.key.load(Relaxed) == key.hash).map(E::of)
    }

    /// The entry of this key, made if there is none; nothing where no room can be made for it.
    pub fn find_or_insert<'t, E: Entry<'t>>(&'t self, key: Key<E>, now: u32) -> Option<E> {
        self.insert(key.hash, now, u8::MAX).map(E::of)
    }

    /// The same, unless room could only be made by forgetting a living entry: what is unknown is not worth that.
    pub fn find_or_insert_unknown<'t, E: Entry<'t>>(&'t self, key: Key<E>, now: u32) -> Option<E> {
        self.insert(key.hash, now, EXPIRED).map(E::of)
    }

    fn insert(&self, key: u64, now: u32, most: u8) -> Option<&Slot> {
        let set = self.set(key);
        if let Some(slot) = set.iter().find(|slot| slot.key.load(Relaxed) == key) {
            return Some(slot);
        }
        let rank = |slot: &Slot| {
            let (last, proven) = (slot.last.load(Relaxed), slot.proven.load(Relaxed));
            match slot.key.load(Relaxed) {
                0 => (EMPTY, 0),
                _ if now.saturating_sub(last.max(proven)) > self.memory => (EXPIRED, last),
                _ if proven != 0 => (4, proven),
                _ if now.saturating_sub(slot.since.load(Relaxed)) > SETTLED => (3, last),
                _ => (2, last),
            }
        };
        let victim = set.iter().min_by_key(|slot| rank(slot)).filter(|slot| rank(slot).0 <= most)?;
        match rank(victim).0 {
            EMPTY => {
                self.used.fetch_add(1, Relaxed);
            }
            EXPIRED => {}
            _ => {
                self.evicted.fetch_add(1, Relaxed);
                self.pressure_until.store(now.saturating_add(PRESSURE), Relaxed);
            }
        }
        let Slot { key: fingerprint, a, b, c, number, at, since, last, proven } = victim;
        for word in [a, b, c] {
            word.store(0, Relaxed);
        }
        for time in [number, at, since, last, proven] {
            time.store(0, Relaxed);
        }
        fingerprint.store(key, Relaxed);
        Some(victim)
    }

    /// Until when, in seconds, entries that were alive count as lately pushed out.
    pub fn pressed_until(&self) -> u32 {
        self.pressure_until.load(Relaxed)
    }

    /// Entries in use and entries there are.
    pub fn occupancy(&self) -> (usize, usize) {
        (usize::try_from(self.used.load(Relaxed)).unwrap_or(usize::MAX), self.sets.len() * WAYS)
    }

    /// Living entries forgotten for want of room.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }
}
