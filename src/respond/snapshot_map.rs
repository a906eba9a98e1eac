//! [`SnapshotMap`]: a map whose copies share what did not change.
//!
//! The responder changes its maps and publishes a copy after each batch of effects. A copy costs one reference; the first
//! change after it copies the one bucket that it touches, of [`BUCKETS`], and the list of buckets.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Buckets of a map: at 65,536 entries, the list of buckets and one bucket hold 256 entries each.
const BUCKETS: usize = 256;

/// A map that is cheap to copy.
#[derive(Clone, Debug)]
pub struct SnapshotMap<K, V> {
    buckets: Arc<Vec<Arc<HashMap<K, V>>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for SnapshotMap<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        SnapshotMap { buckets: Arc::new(vec![empty; BUCKETS]), hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SnapshotMap<K, V> {
    fn place(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % BUCKETS
    }

    fn bucket(&self, key: &K) -> Option<&HashMap<K, V>> {
        self.buckets.get(self.place(key)).map(Arc::as_ref)
    }

    /// The bucket of a key, for a change.
    fn bucket_mut(&mut self, key: &K) -> Option<&mut HashMap<K, V>> {
        let place = self.place(key);
        Arc::make_mut(&mut self.buckets).get_mut(place).map(Arc::make_mut)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.bucket(key)?.get(key)
    }

    /// The value of a key, for a change; copies nothing where there is none.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.contains_key(key) {
            return None;
        }
        self.bucket_mut(key)?.get_mut(key)
    }

    /// Whether there is a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in place of the former one; gives that.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.bucket_mut(&key)?.insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a value out; copies nothing where there is none.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        if !self.contains_key(key) {
            return None;
        }
        let before = self.bucket_mut(key)?.remove(key);
        self.len -= usize::from(before.is_some());
        before
    }

    /// Keeps the values that are wanted.
    pub fn retain(&mut self, wanted: impl Fn(&K, &V) -> bool) {
        for bucket in Arc::make_mut(&mut self.buckets) {
            if bucket.iter().any(|(key, value)| !wanted(key, value)) {
                Arc::make_mut(bucket).retain(|key, value| wanted(key, value));
            }
        }
        self.len = self.buckets.iter().map(|bucket| bucket.len()).sum();
    }

    /// How many values there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.buckets.iter().flat_map(|bucket| bucket.iter())
    }

    /// All values, in no order that means anything.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_a_copy_stays_what_it_was(changes: Vec<(u8, Option<u32>)>) {
            let (mut map, mut model) = (SnapshotMap::default(), HashMap::new());
            let mut copies = Vec::new();
            for (key, value) in changes {
                copies.push((map.clone(), model.clone()));
                if let Some(value) = value {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                if let Some(value) = map.get_mut(&(key / 2)) {
                    *value = 7;
                    model.insert(key / 2, 7);
                }
            }
            copies.push((map.clone(), model.clone()));
            map.retain(|key, _| key % 3 == 0);
            model.retain(|key, _| key % 3 == 0);
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert_eq!(map.len(), model.len());
                let all: HashMap<u8, u32> = map.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(all, model);
            }
        }
    }
}
