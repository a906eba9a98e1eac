//! Mirrors of the kernel's fuse: how many first contacts each card may still make before the kernel drops one.
//!
//! What the kernel drops is fan-out and not failure, so the core has to know. The kernel keeps a bucket for each card on its
//! interface, see `firewall::ruleset`.

use hashbrown::HashMap;

use crate::time::Timestamp;
use crate::track::HashKey;
use crate::wire::{Link, Mac};

/// The kernel's first-contact limiter: what it drops is fan-out and not failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// First contacts let through before the rate applies.
    pub burst: u32,
    /// First contacts let through a second after that.
    pub per_second: u32,
}

/// A bucket: tokens left, in thousandths, and as of when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    tokens: u32,
    at: Timestamp,
}

impl Bucket {
    /// Takes a token; says whether there was none.
    pub fn is_empty(&mut self, fuse: Fuse, now: Timestamp) -> bool {
        let full = u64::from(fuse.burst) * 1000;
        let gained = now.since(self.at).as_nanos() * u128::from(fuse.per_second) / 1_000_000;
        let before = if self.at == Timestamp::ZERO { full } else { u64::from(self.tokens) };
        let tokens = before.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(full);
        self.at = now;
        let empty = tokens < 1000;
        self.tokens = u32::try_from(if empty { tokens } else { tokens - 1000 }).unwrap_or(u32::MAX);
        empty
    }
}

/// The buckets of all cards.
#[derive(Debug)]
pub struct Buckets {
    of: HashMap<u64, Bucket, foldhash::fast::FixedState>,
    hash_key: HashKey,
}

impl Buckets {
    /// Cards with a bucket at once, at most; a bucket that is full again gives way.
    pub const MOST: usize = 8192;

    /// No card has made a first contact yet.
    #[must_use]
    pub fn new(hash_key: HashKey) -> Self {
        Buckets { of: HashMap::with_hasher(foldhash::fast::FixedState::default()), hash_key }
    }

    /// Takes a token of a card's; says whether there was none.
    pub fn is_empty(&mut self, link: Link, card: Mac, fuse: Fuse, now: Timestamp) -> bool {
        // The kernel does not look at tags here.
        let key = self.hash_key.on(Link::untagged(link.interface), self.hash_key.mac(card));
        if self.of.len() >= Self::MOST && !self.of.contains_key(&key) {
            let refills = std::time::Duration::from_secs(u64::from(fuse.burst / fuse.per_second.max(1)) + 1);
            self.of.retain(|_, bucket| now.since(bucket.at) < refills);
            if self.of.len() >= Self::MOST {
                return false;
            }
        }
        self.of.entry(key).or_default().is_empty(fuse, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_card_has_its_burst_and_then_its_pace() {
        let fuse = Fuse { burst: 10, per_second: 1 };
        let mut buckets = Buckets::new(HashKey::new(1));
        let (link, start) = (Link::untagged(2), Timestamp::from_secs(1_000));
        let mut limited = |card: u8, at: Timestamp| buckets.is_empty(link, Mac([2, 0, 0, 0, 0, card]), fuse, at);
        assert_eq!((0..30).filter(|_| !limited(1, start)).count(), 10);
        assert!(!limited(2, start), "another card has its own");
        assert!(limited(1, start + Duration::from_millis(900)));
        assert!(!limited(1, start + Duration::from_millis(1100)));
    }
}
