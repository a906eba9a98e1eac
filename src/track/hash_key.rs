//! Keyed hashing: table positions that an attacker who chooses the addresses cannot choose.

use crate::suspect::{Suspect, Who};
use crate::wire::{Address, Link, Mac};

/// A hash key. Live it is random for each start; in a replay it is fixed, so that runs can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey {
    a: u64,
    b: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folded multiplication: the step that wyhash and foldhash rest on.
const fn fold(x: u64, y: u64) -> u64 {
    let product = (x as u128).wrapping_mul(y as u128);
    #[expect(clippy::cast_possible_truncation, reason = "folding the two halves is the point")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

impl HashKey {
    /// From a seed; every seed gives a usable key.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let a = fold(seed ^ GOLDEN, 0xa076_1d64_78bd_642f) | 1;
        HashKey { a, b: fold(a ^ seed.rotate_left(32), 0xe703_7ed1_a0b4_28db) | 1 }
    }

    /// Hash of an address.
    #[must_use]
    pub const fn address(&self, address: Address) -> u64 {
        let bits = address.bits();
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (bits as u64, (bits >> 64) as u64);
        fold(fold(low ^ self.a, high ^ self.b) ^ GOLDEN, self.a)
    }

    /// Hash of an ordered pair of addresses and a tag.
    #[must_use]
    pub const fn pair(&self, from: Address, to: Address, tag: u64) -> u64 {
        fold(self.address(from).rotate_left(17) ^ self.address(to), self.b ^ tag.wrapping_mul(GOLDEN))
    }

    /// Hash of a suspect; never 0, which stands for nobody.
    #[must_use]
    pub const fn suspect(&self, suspect: Suspect) -> u64 {
        let who = match suspect.who {
            Who::Card(card) => self.mac(card),
            Who::Address(address) => self.address(address),
            Who::Network(network) => self.address(network).rotate_left(9),
        };
        self.on(suspect.link, who) | 1
    }

    /// A hash as it is on one link.
    #[must_use]
    pub const fn on(&self, link: Link, hash: u64) -> u64 {
        let link = (link.interface as u64) << 32 | (link.outer as u64) << 16 | link.inner as u64;
        fold(hash ^ GOLDEN, fold(link ^ self.b, self.a) | 1)
    }

    /// Hash of somebody known by `identity`, somebody it meets, and a tag.
    #[must_use]
    pub const fn meeting(&self, identity: u64, to: Address, tag: u64) -> u64 {
        fold(identity.rotate_left(17) ^ self.address(to), self.b ^ tag.wrapping_mul(GOLDEN))
    }

    /// Hash of a hardware address; never that of an IP address by construction of its input.
    #[must_use]
    pub const fn mac(&self, mac: Mac) -> u64 {
        let [a, b, c, d, e, f] = mac.0;
        let bits = u64::from_be_bytes([0xff, 0x02, a, b, c, d, e, f]);
        fold(fold(bits ^ self.b, self.a) ^ GOLDEN, self.b)
    }
}

/// What a hash index (four bytes and one of control a bucket, at most seven eighths full) for so many entries takes.
#[must_use]
pub const fn index_bytes(capacity: usize) -> usize {
    (capacity + capacity / 7 + 16).next_power_of_two() * (size_of::<u32>() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_spread_and_order_matters() {
        let hash_key = HashKey::new(7);
        let mut buckets = [0u32; 64];
        for last in 0..=255u8 {
            for third in 0..16u8 {
                let hash = hash_key.address(Address::v4([10, 0, third, last]));
                buckets[usize::try_from(hash % 64).unwrap()] += 1;
            }
        }
        assert!(buckets.iter().all(|&n| (32..=96).contains(&n)), "{buckets:?}");
        let (a, b) = (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2]));
        assert_ne!(hash_key.pair(a, b, 0), hash_key.pair(b, a, 0));
        assert_ne!(hash_key.pair(a, b, 0), hash_key.pair(a, b, 1));
        assert_ne!(hash_key.address(a), HashKey::new(8).address(a));
    }
}
