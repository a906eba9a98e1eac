//! Cards that send in the name of an address that another card answers for.

use std::collections::HashMap;
use std::time::Duration;

use crate::evidence::Attachment;
use crate::time::Timestamp;
use crate::wire::{Address, Link, Mac};

/// A card's destinations are counted together within this time.
const WITHIN: Duration = Duration::from_secs(600);

/// Most cards and addresses counted at once: a forger has any number of names.
const MOST: usize = 256;

/// Cards that send in the name of an address that another card answers for, and to whom: from some destinations on, the
/// engineer finds a record of it.
#[derive(Debug, Default)]
pub(super) struct Forgeries {
    seen: HashMap<(Address, Link, Mac), (Timestamp, Vec<Address>)>,
}

impl Forgeries {
    /// From so many distinct destinations on it is recorded: a device that takes an address over, or two that share one by
    /// mistake, soon settle who has it.
    const DESTINATIONS: usize = 5;

    /// Notes that `attachment` sent to `peer` in the name of `address`; whether that is enough for a record.
    pub fn note(&mut self, address: Address, peer: Address, attachment: Attachment, now: Timestamp) -> bool {
        let what = (address, attachment.link(), attachment.mac);
        if self.seen.len() >= MOST && !self.seen.contains_key(&what) {
            self.seen.retain(|_, (since, _)| now.since(*since) < WITHIN);
            if self.seen.len() >= MOST {
                return false;
            }
        }
        let (since, peers) = self.seen.entry(what).or_insert_with(|| (now, Vec::new()));
        if now.since(*since) >= WITHIN {
            (*since, *peers) = (now, Vec::new());
        }
        if peers.len() < Self::DESTINATIONS && !peers.contains(&peer) {
            peers.push(peer);
        }
        peers.len() >= Self::DESTINATIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgery_is_recorded_from_five_destinations_on_and_takes_bounded_room() {
        let mut forgeries = Forgeries::default();
        let now = Timestamp::from_secs(1_000_000);
        let card = |last| Attachment { interface: 2, mac: Mac([2, 0, 0, 0, 0, last]), ..Attachment::default() };
        let (victim, peer) = (Address::v4([10, 0, 1, 5]), |n| Address::v4([10, 0, 2, n]));
        for _ in 0..100 {
            assert!(!forgeries.note(victim, peer(1), card(66), now), "one destination, however often");
        }
        assert!((2..5).all(|n| !forgeries.note(victim, peer(n), card(66), now)));
        assert!(!forgeries.note(victim, peer(9), card(67), now), "another card");
        assert!(forgeries.note(victim, peer(5), card(66), now));
        assert!(!forgeries.note(victim, peer(6), card(66), now + WITHIN), "what is long ago is over");
        for n in 0..100_000_u32 {
            forgeries.note(Address::v4(n.to_be_bytes()), peer(1), card(66), now + WITHIN);
        }
        assert!(forgeries.seen.len() <= MOST);
    }
}
