//! Devices that are acted on, by hardware address: a decision follows the device when its address changes.
//!
//! Shared by all shards, without a lock: each slot is a few atomics that only the shard of its host writes. A reader
//! that races with a writer may see one decision a packet late, or a pair that never was; whoever acts on it checks
//! that there is such a case.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::track::atomic::{AtomicAddress, AtomicMac};
use crate::wire::{Address, Mac};

/// Devices remembered at most; further ones are acted on by address alone.
const SLOTS: usize = 512;

#[derive(Default)]
struct Slot {
    mac: AtomicMac,
    address: AtomicAddress,
}

/// The devices that are acted on.
pub struct Devices {
    slots: Vec<Slot>,
    used: AtomicUsize,
}

impl Default for Devices {
    fn default() -> Self {
        Devices { slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(), used: AtomicUsize::new(0) }
    }
}

impl Devices {
    /// `address`, at `mac`, is acted on.
    pub fn add(&self, mac: Mac, address: Address) {
        self.remove(address);
        if let Some(slot) = self.slots.iter().find(|slot| slot.mac.is_none()) {
            slot.address.set(address);
            slot.mac.set(Some(mac));
            self.used.fetch_add(1, Relaxed);
        }
    }

    /// `address` is no longer acted on.
    pub fn remove(&self, address: Address) {
        for slot in &self.slots {
            if !slot.mac.is_none() && slot.address.get() == address {
                slot.mac.set(None);
                self.used.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Whose device `mac` is, if it is acted on; one look while nobody is.
    #[must_use]
    pub fn device(&self, mac: Mac) -> Option<Address> {
        if self.used.load(Relaxed) == 0 {
            return None;
        }
        self.slots.iter().find(|slot| slot.mac.is(mac)).map(|slot| slot.address.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_while_it_is_acted_on() {
        let devices = Devices::default();
        let (mac, host): (_, Address) = (Mac([2, 0, 0, 0, 0, 9]), "fd00::9".parse().unwrap());
        assert_eq!(devices.device(mac), None);
        devices.add(mac, host);
        devices.add(mac, host);
        assert_eq!(devices.device(mac), Some(host));
        assert_eq!(devices.device(Mac([2, 0, 0, 0, 0, 8])), None);
        devices.remove(host);
        assert_eq!(devices.device(mac), None);
    }

    #[test]
    fn their_number_is_bounded() {
        let devices = Devices::default();
        for n in 0..2000u32 {
            let [_, _, a, b] = n.to_be_bytes();
            devices.add(Mac([2, 0, 0, 0, a, b]), Address::v4(n.to_be_bytes()));
        }
        assert!(devices.device(Mac([2, 0, 0, 0, 0, 5])).is_some());
        assert_eq!(devices.device(Mac([2, 0, 0, 0, 7, 0xcf])), None);
    }
}
