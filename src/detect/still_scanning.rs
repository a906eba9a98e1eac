//! Who contacts whom again: contacts that are known, and whether a host that is acted on still spreads.

use std::time::Duration;

use crate::time::Timestamp;
use crate::track::clock_cache::Key;
use crate::track::contacts::{Party, Seen};
use crate::track::{Class, ClockCache, Contacts, HashKey, Host};
use crate::wire::Address;

/// So many addresses that never answered, within a period of so long, are no retries of a few dead shares.
const SEVERAL: u32 = 4;
const SCANNING_PERIOD: Duration = Duration::from_secs(300);

/// Notes a contact, and says whether it is new. After a release whoever answered before is still known, and whoever never
/// did is new again: a worm that tries again knocks on its old doors.
pub(super) fn meet(host: &Host, contacts: &mut Contacts, peer: Address, class: Class, now: Timestamp) -> Seen {
    let party = host.party();
    let seen = contacts.meet(party, peer, class, now);
    if seen == Seen::First && host.epoch > 0 {
        let before = Party { epoch: host.epoch - 1, ..party };
        if contacts.was_answered(before, peer, class, now) {
            contacts.answered(party, peer, class);
            return Seen::Before;
        }
    }
    seen
}

/// A host that is acted on, and an address that it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Repeat {
    identity: u64,
    peer: Address,
}

impl Key for Repeat {
    fn hash(&self, hash_key: &HashKey) -> u64 {
        hash_key.meeting(self.identity, self.peer, 0x7265_7065_6174)
    }
}

/// Which addresses the hosts that are acted on tried again, and in which period (counted from 1).
pub(super) struct Repeats {
    periods: ClockCache<Repeat, u64>,
}

impl Repeats {
    /// Pairs remembered at once: 80 addresses each for as many hosts as the breaker lets be contained by default.
    const MOST: usize = 16_384;

    /// The most memory that it comes to hold.
    pub const BYTES: usize = ClockCache::<Repeat, u64>::bytes(Self::MOST);

    /// Nobody has tried anything again yet.
    pub fn new(hash_key: HashKey) -> Self {
        Repeats { periods: ClockCache::new(Self::MOST, hash_key) }
    }

    /// Whether a host that is acted on still spreads: it tries an address it never tried before, or goes round among
    /// several that never answered it. Its own servers it may miss without being renewed for that.
    pub fn still_scanning(
        &mut self,
        host: &mut Host,
        contacts: &mut Contacts,
        peer: Address,
        class: Class,
        now: Timestamp,
    ) -> bool {
        if meet(host, contacts, peer, class, now) == Seen::First {
            return true;
        }
        if contacts.was_answered(host.party(), peer, class, now) {
            return false;
        }
        // Each period of some minutes counts its addresses anew.
        let period = now.secs() / SCANNING_PERIOD.as_secs() + 1;
        if let Some(last) = self.periods.entry(Repeat { identity: host.identity, peer })
            && std::mem::replace(last, period) != period
        {
            host.lateral.push(now);
        }
        host.lateral.reached(SEVERAL, SCANNING_PERIOD, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspect::Suspect;
    use crate::track::Hosts;
    use crate::wire::Link;

    #[test]
    fn a_few_dead_shares_are_no_scan_and_several_in_turn_are() {
        let hash_key = HashKey::new(1);
        let (mut hosts, mut contacts) =
            (Hosts::new(64, hash_key), Contacts::new(1024, SCANNING_PERIOD * 100, hash_key));
        let mut repeats = Repeats::new(hash_key);
        let start = Timestamp::from_secs(3_000_000);
        let address = |n: u8| Address::v4([10, 0, 0, n]);
        let host = hosts.get_or_insert(Suspect::address(Link::default(), address(1)), address(1), start).unwrap();
        let mut tries = |n: u8, secs: u64| {
            repeats.still_scanning(host, &mut contacts, address(n), Class::Lateral, start + Duration::from_secs(secs))
        };
        assert!((10..13).all(|n| tries(n, 0)), "never tried before");
        for period in 1..5 {
            assert!((10..13).all(|n| !tries(n, 300 * period) && !tries(n, 300 * period + 9)), "three, over and over");
        }
        assert!(tries(13, 1600));
        assert!((10..14).any(|n| tries(n, 1801)), "four within a period");
    }
}
