//! A map of fixed capacity that gives up what was not used lately (second chance, "CLOCK").
//!
//! For state that is touched rarely: pairs of hosts between which something was noted, endpoints that were named.
//! Allocates only while it grows towards its capacity; a lookup is one hash and a probe.

use hashbrown::HashTable;

use crate::track::HashKey;
use crate::track::hash_key::index_bytes;
use crate::wire::Address;

/// What such a map is keyed by.
pub trait Key: Copy + Eq {
    /// Its keyed hash.
    fn hash(&self, hash_key: &HashKey) -> u64;
}

impl Key for (Address, Address) {
    fn hash(&self, hash_key: &HashKey) -> u64 {
        hash_key.pair(self.0, self.1, 0)
    }
}

impl Key for (Address, u16) {
    fn hash(&self, hash_key: &HashKey) -> u64 {
        hash_key.pair(self.0, self.0, u64::from(self.1))
    }
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    used: bool,
}

/// The map.
#[derive(Debug)]
pub struct ClockCache<K, V> {
    capacity: usize,
    hash_key: HashKey,
    table: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    hand: usize,
    evicted: u64,
}

impl<K: Key, V: Default> ClockCache<K, V> {
    /// At most `capacity` entries (at least one).
    #[must_use]
    pub fn new(capacity: usize, hash_key: HashKey) -> Self {
        ClockCache {
            capacity: capacity.clamp(1, 1 << 24),
            hash_key,
            table: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            evicted: 0,
        }
    }

    /// The most memory that a map for `capacity` entries comes to hold: it grows by doubling.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        capacity * 2 * size_of::<Entry<K, V>>() + index_bytes(capacity)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries gave way.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn find(&self, hash: u64, key: &K) -> Option<usize> {
        let same = |index: &u32| self.entries.get(*index as usize).is_some_and(|entry| entry.key == *key);
        self.table.find(hash, same).map(|index| *index as usize)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let index = self.find(key.hash(&self.hash_key), key)?;
        self.entries.get(index).map(|entry| &entry.value)
    }

    /// The value of a key, entered with its default where it is missing; another one gives way where there is no room.
    /// Always `Some`.
    pub fn entry(&mut self, key: K) -> Option<&mut V> {
        let hash = key.hash(&self.hash_key);
        let index = match self.find(hash, &key) {
            Some(index) => index,
            None => self.enter(hash, key),
        };
        let entry = self.entries.get_mut(index)?;
        entry.used = true;
        Some(&mut entry.value)
    }

    fn enter(&mut self, hash: u64, key: K) -> usize {
        let fresh = Entry { key, value: V::default(), used: true };
        let index = if self.entries.len() < self.capacity {
            self.entries.push(fresh);
            self.entries.len() - 1
        } else {
            let index = self.give_way();
            if let Some(entry) = self.entries.get_mut(index) {
                *entry = fresh;
            }
            index
        };
        let ClockCache { table, entries, hash_key, .. } = self;
        let rehash = |index: &u32| entries.get(*index as usize).map_or(0, |entry| entry.key.hash(hash_key));
        table.insert_unique(hash, u32::try_from(index).unwrap_or_default(), rehash);
        index
    }

    /// Takes the next entry that was not used since the hand last passed it out of the table.
    fn give_way(&mut self) -> usize {
        self.evicted += 1;
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            let Some(entry) = self.entries.get_mut(index) else { continue };
            if std::mem::take(&mut entry.used) {
                continue;
            }
            let hash = entry.key.hash(&self.hash_key);
            if let Ok(place) = self.table.find_entry(hash, |other| *other as usize == index) {
                place.remove();
            }
            return index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let host = Address::v4([10, 0, 0, 1]);
        let mut map: ClockCache<(Address, u16), u16> = ClockCache::new(8, HashKey::new(3));
        for n in 0..1000 {
            *map.entry((host, n)).unwrap() = n;
            *map.entry((host, 7)).unwrap() = 7;
            assert!(map.len() <= 8);
        }
        assert_eq!((map.get(&(host, 7)), map.get(&(host, 999)), map.get(&(host, 1))), (Some(&7), Some(&999), None));
        assert_eq!(map.evicted(), 992);
    }
}
