//! The set-associative table of atomics that all shards share: each entry one cache line, no lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const WAYS: usize = 4;

/// After a living entry was pushed out, so many seconds of "never seen" prove nothing.
const PRESSURE: u32 = 600;

/// Everything known of one address, of one service of it, of one segment, or of one hardware address.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Entry {
    /// Fingerprint; 0 is empty.
    pub key: AtomicU64,
    /// A 64-bit sketch: of a service's distinct clients, a segment's distinct addresses, a hardware address' distinct
    /// source addresses of late.
    pub others: AtomicU64,
    /// A 64-bit sketch: of the sources that fail on a service, of those that missed an address nobody is at, of a
    /// hardware address' distinct source addresses of the period before.
    pub failing: AtomicU64,
    /// When the gateway first asked for it (ARP, neighbour solicitation) without an answer so far; 0 is not asked.
    pub asked: AtomicU64,
    /// Its hardware address as the link layer itself says (ARP, kernel neighbour table), 0 is unknown; of a service a sketch of
    /// the clients that it answered today.
    pub mac: AtomicU64,
    /// First seen sending, seconds; 0 is never.
    pub first: AtomicU32,
    /// Last seen sending, seconds; 0 is never.
    pub seen: AtomicU32,
    /// Last answered a connection attempt, seconds; 0 is never.
    pub served: AtomicU32,
    /// When `failing` was last written, seconds; for a hardware address the number of the period.
    pub failing_at: AtomicU32,
    /// When the hardware address was last confirmed, seconds; of a service the number of the day.
    pub mac_at: AtomicU32,
}

/// The table.
pub(super) struct Table {
    sets: Vec<[Entry; WAYS]>,
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
        Self::sets(capacity) * size_of::<[Entry; WAYS]>()
    }

    const fn sets(capacity: usize) -> usize {
        let sets = capacity / WAYS;
        (if sets == 0 { 1 } else { sets }).next_power_of_two()
    }

    fn set(&self, key: u64) -> &[Entry] {
        self.sets.get((key >> 32) as usize & (self.sets.len() - 1)).map_or(&[], |set| set.as_slice())
    }

    /// The entry of this key.
    pub fn find(&self, key: u64) -> Option<&Entry> {
        self.set(key).iter().find(|entry| entry.key.load(Relaxed) == key)
    }

    /// The entry of this key, made if there is none; nothing where no room can be made for it.
    pub fn find_or_insert(&self, key: u64, now: u32) -> Option<&Entry> {
        self.insert(key, now, u8::MAX)
    }

    /// The same, unless room could only be made by forgetting who is alive: what is unknown is not worth that.
    pub fn find_or_insert_unknown(&self, key: u64, now: u32) -> Option<&Entry> {
        self.insert(key, now, 1)
    }

    fn insert(&self, key: u64, now: u32, most: u8) -> Option<&Entry> {
        let set = self.set(key);
        if let Some(entry) = set.iter().find(|entry| entry.key.load(Relaxed) == key) {
            return Some(entry);
        }
        let rank = |entry: &Entry| {
            let (seen, served) = (entry.seen.load(Relaxed), entry.served.load(Relaxed));
            match entry.key.load(Relaxed) {
                0 => (0, 0),
                _ if now.saturating_sub(seen.max(served)) > self.memory => (1, seen),
                _ if served != 0 => (4, served),
                _ if now.saturating_sub(entry.first.load(Relaxed)) > 60 => (3, seen),
                _ => (2, seen),
            }
        };
        let victim = set.iter().min_by_key(|entry| rank(entry)).filter(|entry| rank(entry).0 <= most)?;
        match rank(victim).0 {
            0 => {
                self.used.fetch_add(1, Relaxed);
            }
            1 => {}
            _ => {
                self.evicted.fetch_add(1, Relaxed);
                self.pressure_until.store(now.saturating_add(PRESSURE), Relaxed);
            }
        }
        for word in [&victim.others, &victim.failing, &victim.asked, &victim.mac] {
            word.store(0, Relaxed);
        }
        for word in [&victim.first, &victim.seen, &victim.served, &victim.failing_at, &victim.mac_at] {
            word.store(0, Relaxed);
        }
        victim.key.store(key, Relaxed);
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
