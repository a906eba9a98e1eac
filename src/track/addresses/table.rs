//! A set-associative table of atomics that all shards share: four entries a set, no lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const WAYS: usize = 4;

/// After a living entry was pushed out, so many seconds of "never seen" prove nothing.
const PRESSURE: u32 = 600;

/// What an entry is worth that nothing holds, and one that has expired; living ones are worth more.
pub(super) const EMPTY: u8 = 0;
pub(super) const EXPIRED: u8 = 1;

/// What such a table holds. All of it is atomic; an empty entry's key is 0.
pub(super) trait Entry: Default {
    /// Its fingerprint.
    fn key(&self) -> &AtomicU64;

    /// What it proves if it is not empty, and as of when: [`EXPIRED`] after `memory` seconds, else more. The entry that is
    /// worth least gives way, the oldest first.
    fn worth(&self, now: u32, memory: u32) -> (u8, u32);

    /// Forgets all but the key.
    fn clear(&self);
}

/// The table.
pub(super) struct Table<E> {
    sets: Vec<[E; WAYS]>,
    memory: u32,
    used: AtomicU64,
    evicted: AtomicU64,
    pressure_until: AtomicU32,
}

impl<E: Entry> Table<E> {
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
        Self::sets(capacity) * size_of::<[E; WAYS]>()
    }

    const fn sets(capacity: usize) -> usize {
        let sets = capacity / WAYS;
        (if sets == 0 { 1 } else { sets }).next_power_of_two()
    }

    fn set(&self, key: u64) -> &[E] {
        self.sets.get((key >> 32) as usize & (self.sets.len() - 1)).map_or(&[], |set| set.as_slice())
    }

    /// The entry of this key.
    pub fn find(&self, key: u64) -> Option<&E> {
        self.set(key).iter().find(|entry| entry.key().load(Relaxed) == key)
    }

    /// The entry of this key, made if there is none; nothing where no room can be made for it.
    pub fn find_or_insert(&self, key: u64, now: u32) -> Option<&E> {
        self.insert(key, now, u8::MAX)
    }

    /// The same, unless room could only be made by forgetting a living entry.
    pub fn find_or_insert_if_room(&self, key: u64, now: u32) -> Option<&E> {
        self.insert(key, now, EXPIRED)
    }

    fn insert(&self, key: u64, now: u32, most: u8) -> Option<&E> {
        let set = self.set(key);
        if let Some(entry) = set.iter().find(|entry| entry.key().load(Relaxed) == key) {
            return Some(entry);
        }
        let worth = |entry: &E| {
            if entry.key().load(Relaxed) == 0 { (EMPTY, 0) } else { entry.worth(now, self.memory) }
        };
        let victim = set.iter().min_by_key(|entry| worth(entry)).filter(|entry| worth(entry).0 <= most)?;
        match worth(victim).0 {
            EMPTY => {
                self.used.fetch_add(1, Relaxed);
            }
            EXPIRED => {}
            _ => {
                self.evicted.fetch_add(1, Relaxed);
                self.pressure_until.store(now.saturating_add(PRESSURE), Relaxed);
            }
        }
        victim.clear();
        victim.key().store(key, Relaxed);
        Some(victim)
    }

    /// Until when, in seconds, living entries count as lately pushed out.
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
