//! How a shard puts up what its detector knows: on its own thread, a bounded amount of work at a time.
//!
//! A shard calls [`Publisher::turn`] between batches. Each call looks at a fixed number of hosts, round and round the
//! table, and publishes those the detector marked; with 4,096 a call and ten calls a second, a change shows within two
//! seconds on the largest table, and a call costs tens of microseconds.

use std::sync::Arc;

use super::board::{Board, Published};
use super::counters::{ShardCounters, Table};
use super::facts::Facts;
use crate::detect::Detector;
use crate::time::Timestamp;

/// Hosts that one call looks at.
pub const HOSTS_A_TURN: usize = 4096;

/// One shard's way to the board and the counters.
#[derive(Debug)]
pub struct Publisher {
    counters: Arc<ShardCounters>,
    next: usize,
}

impl Publisher {
    /// For the shard whose counters these are.
    #[must_use]
    pub fn new(counters: Arc<ShardCounters>) -> Self {
        Publisher { counters, next: 0 }
    }

    /// The shard's counters, for what the detector does not count.
    #[must_use]
    pub fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Puts up the counters, and the marked hosts among the next few. Never waits; a host that could not be put up keeps
    /// its mark. Returns how many were put up.
    pub fn turn(&mut self, detector: &mut Detector, board: &Board, now: Timestamp) -> usize {
        self.count(detector, now);
        let settings = Arc::clone(detector.settings());
        let held = detector.hosts().occupancy().0;
        if self.next >= held {
            self.next = 0;
        }
        let marked: Vec<_> = detector
            .hosts()
            .iter()
            .skip(self.next)
            .take(HOSTS_A_TURN)
            .filter(|host| host.dirty)
            .map(|host| (host.address, Facts::of(host, detector.threshold_of(host), &settings, now)))
            .collect();
        self.next += HOSTS_A_TURN;
        let mut published = 0;
        for (address, facts) in marked {
            match board.try_publish(address, facts) {
                Published::Busy => continue,
                Published::Yes => published += 1,
                // Counted by the board; the next change tries again.
                Published::Full => {}
            }
            if let Some(host) = detector.hosts_mut().get_mut(address) {
                host.dirty = false;
            }
        }
        published
    }

    fn count(&self, detector: &Detector, now: Timestamp) {
        let (to, from) = (&self.counters, detector.counters());
        to.packets.set(from.frames);
        to.first_contacts.set_all(&from.outcomes);
        to.evidence.set_all(&from.evidence);
        to.unverified.set_all(&from.unverified);
        let table = |table: Table, (used, capacity): (usize, usize), evicted: u64| {
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            to.used.set(table as usize, count(used));
            to.capacity.set(table as usize, count(capacity));
            to.evicted.set(table as usize, evicted);
        };
        table(Table::Hosts, detector.hosts().occupancy(), detector.hosts().evicted());
        table(Table::Contacts, detector.contacts().occupancy(), detector.contacts().evicted());
        table(Table::Attempts, detector.deadlines().occupancy(), detector.deadlines().forced());
        to.alive.set(now.nanos());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Settings;
    use crate::observe::Live;
    use crate::track::{Keys, Shared};
    use crate::wire::Address;
    use std::time::Duration;

    #[test]
    fn what_the_detector_marked_is_put_up_once() {
        let settings = Arc::new(Settings::default());
        let keys = Keys::new(7);
        let shared = Arc::new(Shared::new(1024, Duration::from_secs(86_400), keys));
        let mut detector = Detector::new(settings, shared, 1, keys);
        let now = Timestamp::from_secs(1_700_000_000);
        for n in 0..10u8 {
            let host = detector.hosts_mut().get_or_insert(Address::v4([10, 0, 0, n]), now).unwrap();
            host.dirty = n % 2 == 0;
            host.destinations = u32::from(n);
        }
        let live = Live::new(Arc::new(crate::config::model::Config::default()));
        let mut publisher = Publisher::new(live.counters.shard(0).unwrap());
        assert_eq!(publisher.turn(&mut detector, &live.board, now), 5);
        assert_eq!(publisher.turn(&mut detector, &live.board, now), 0);
        assert_eq!(live.board.get(Address::v4([10, 0, 0, 8])).unwrap().facts.unwrap().destinations, 8);
        assert_eq!(live.board.get(Address::v4([10, 0, 0, 7])), None);
        assert_eq!(live.counters.tables().first().map(|hosts| hosts.used), Some(10));
    }
}
