//! Address probes under way: the gateway asks a link who has an address.
//!
//! Shared by all shards, without a lock: the control task opens and closes a probe, the shard that sees an answer marks
//! it. While no probe is open an answer costs one load. Each probe has a number of its own, so that an answer which
//! races with its end marks no later one.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};

use crate::track::atomic::{AtomicAddress, AtomicMac};
use crate::wire::{Address, Mac};

/// Probes open at once, at most.
const SLOTS: usize = 64;

/// A slot is in use.
const OPEN: u32 = 1;
/// The expected card has answered.
const EXPECTED: u32 = 2;
/// From here on the probe's number.
const NUMBER: u32 = 4;

#[derive(Default)]
struct Slot {
    state: AtomicU32,
    address: AtomicAddress,
    expected: AtomicMac,
    /// Another card that has answered.
    other: AtomicMac,
}

/// Who has answered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The card that was expected has.
    pub expected: bool,
    /// Another one has.
    pub other: Option<Mac>,
}

/// An open probe's slot; not to be kept after [`OpenProbes::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenProbe(usize);

/// The open probes.
pub struct OpenProbes {
    slots: Vec<Slot>,
    open: AtomicUsize,
}

impl Default for OpenProbes {
    fn default() -> Self {
        OpenProbes { slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(), open: AtomicUsize::new(0) }
    }
}

impl OpenProbes {
    /// Opens a probe for who has `address`, `expected` being the card that should; nothing while too many are open.
    /// For the control task alone.
    #[must_use]
    pub fn open(&self, address: Address, expected: Mac) -> Option<OpenProbe> {
        let (at, slot) = self.slots.iter().enumerate().find(|(_, slot)| slot.state.load(Acquire) & OPEN == 0)?;
        slot.address.set(address);
        slot.expected.set(Some(expected));
        slot.other.set(None);
        let number = (slot.state.load(Acquire) & !(OPEN | EXPECTED)).wrapping_add(NUMBER);
        slot.state.store(number | OPEN, Release);
        self.open.fetch_add(1, Relaxed);
        Some(OpenProbe(at))
    }

    /// `card` says that it has `address`.
    pub fn answered(&self, address: Address, card: Mac) {
        if self.open.load(Relaxed) == 0 {
            return;
        }
        for slot in &self.slots {
            let state = slot.state.load(Acquire);
            let about = state & OPEN != 0 && slot.address.get() == address;
            if about && slot.expected.is(card) {
                // If it fails, the probe was closed, or another shard was first.
                let _ = slot.state.compare_exchange(state, state | EXPECTED, AcqRel, Relaxed);
            } else if about {
                slot.other.set(Some(card));
            }
        }
    }

    /// Who has answered.
    #[must_use]
    pub fn answers(&self, probe: OpenProbe) -> Answers {
        self.slots.get(probe.0).map_or(Answers::default(), |slot| Answers {
            expected: slot.state.load(Acquire) & EXPECTED != 0,
            other: slot.other.get(),
        })
    }

    /// Nobody waits for the answer any more.
    pub fn close(&self, probe: OpenProbe) {
        if let Some(slot) = self.slots.get(probe.0)
            && slot.state.fetch_and(!(OPEN | EXPECTED), AcqRel) & OPEN != 0
        {
            self.open.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 66]);

    #[test]
    fn answers_are_reported_apart_and_others_are_not_heard() {
        let probes = OpenProbes::default();
        let address: Address = "fd00::9".parse().unwrap();
        probes.answered(address, CARD);
        let probe = probes.open(address, CARD).unwrap();
        assert_eq!(probes.answers(probe), Answers::default(), "what was said before is no answer");
        probes.answered("fd00::8".parse().unwrap(), CARD);
        assert_eq!(probes.answers(probe), Answers::default());
        probes.answered(address, STRANGER);
        assert_eq!(probes.answers(probe), Answers { expected: false, other: Some(STRANGER) });
        probes.answered(address, CARD);
        assert_eq!(probes.answers(probe), Answers { expected: true, other: Some(STRANGER) });
        probes.close(probe);
        let next = probes.open(address, CARD).unwrap();
        assert_eq!(probes.answers(next), Answers::default());
    }

    #[test]
    fn their_number_is_bounded() {
        let probes = OpenProbes::default();
        let addresses = (0..100_u32).map(|n| Address::v4(n.to_be_bytes()));
        let open: Vec<_> = addresses.filter_map(|address| probes.open(address, CARD)).collect();
        assert_eq!(open.len(), SLOTS);
        probes.close(open[5]);
        probes.close(open[5]);
        assert!(probes.open(Address::v4([10, 0, 0, 1]), CARD).is_some());
        assert!(probes.open(Address::v4([10, 0, 0, 2]), CARD).is_none());
    }
}
