//! Addresses in tables that shards share without a lock.
//!
//! Each is a few relaxed atomics. A reader that races with a writer may see half of an address; whoever uses these says
//! why that does no harm.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::wire::{Address, Mac};

/// A hardware address, or none.
#[derive(Debug, Default)]
pub(super) struct AtomicMac(AtomicU64);

/// Never 0, which is no address.
const fn number(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 1, a, b, c, d, e, f])
}

impl AtomicMac {
    pub fn set(&self, mac: Option<Mac>) {
        self.0.store(mac.map_or(0, number), Relaxed);
    }

    pub fn get(&self) -> Option<Mac> {
        let [_, known, a, b, c, d, e, f] = self.0.load(Relaxed).to_be_bytes();
        (known == 1).then_some(Mac([a, b, c, d, e, f]))
    }

    pub fn is(&self, mac: Mac) -> bool {
        self.0.load(Relaxed) == number(mac)
    }
}

/// An address.
#[derive(Debug, Default)]
pub(super) struct AtomicAddress {
    high: AtomicU64,
    low: AtomicU64,
}

#[expect(clippy::cast_possible_truncation, reason = "split into halves")]
fn halves(address: Address) -> (u64, u64) {
    ((address.bits() >> 64) as u64, address.bits() as u64)
}

impl AtomicAddress {
    pub fn set(&self, address: Address) {
        let (high, low) = halves(address);
        self.high.store(high, Relaxed);
        self.low.store(low, Relaxed);
    }

    pub fn get(&self) -> Address {
        Address::from_bits(u128::from(self.high.load(Relaxed)) << 64 | u128::from(self.low.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let (mac, address) = (AtomicMac::default(), AtomicAddress::default());
        assert!(mac.get().is_none());
        let (card, host) = (Mac([2, 0, 0xff, 0, 0, 9]), "fd00:1:2:3:4:5:6:7".parse().unwrap());
        mac.set(Some(card));
        address.set(host);
        assert!(mac.is(card) && !mac.is(Mac([2, 0, 0xff, 0, 0, 8])));
        assert_eq!((mac.get(), address.get()), (Some(card), host));
        mac.set(Some(Mac([0; 6])));
        assert_eq!(mac.get(), Some(Mac([0; 6])), "all zeros are an address");
        mac.set(None);
        assert!(mac.get().is_none());
    }
}
