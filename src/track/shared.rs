//! What the shards of one daemon share: addresses, open probes, who lately sent to whom, and how far their own sight
//! can be trusted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::{Addresses, HashKey, KnownServers, OpenProbes, RecentTraffic};

/// What the shards of one daemon share.
pub struct Shared {
    /// Addresses, segments and hardware addresses.
    pub addresses: Addresses,
    /// The address probes under way.
    pub probes: OpenProbes,
    /// Who lately sent something to whom.
    pub recent_traffic: RecentTraffic,
    /// The servers for whom no first contact waits, as they were learnt.
    pub servers: KnownServers,
    /// Until when silence proves nothing, because the ring lost packets; nanoseconds.
    pub lossy_until: AtomicU64,
    /// A frame with a VLAN tag was seen.
    tagged: AtomicBool,
    /// Answers seen to attempts seen, of late.
    answers: AtomicU64,
    /// Attempts of late whose answer was not seen, though the client went on as if it had come.
    inferred: Inferred,
}

/// Answers that were not seen: how many, and 64-bit sketches of whose and of whom.
#[derive(Default)]
struct Inferred {
    count: AtomicU64,
    clients: Sketch,
    servers: Sketch,
}

/// About how many distinct hashes there were of late: since the last fading, and from there to the one before.
#[derive(Default)]
struct Sketch {
    late: AtomicU64,
    before: AtomicU64,
}

impl Sketch {
    fn note(&self, hash: u64) {
        self.late.fetch_or(1 << (hash >> 58), Relaxed);
    }

    fn fade(&self) {
        self.before.store(self.late.swap(0, Relaxed), Relaxed);
    }

    /// At least so many were distinct.
    fn distinct(&self) -> u32 {
        (self.late.load(Relaxed) | self.before.load(Relaxed)).count_ones()
    }
}

impl Shared {
    /// From so many distinct clients and servers on, answers that nobody saw are a path's doing and not a host's: it is
    /// easy to send a SYN and to continue as if it had been answered.
    const MANY: u32 = 8;

    /// With an address table of about `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, hash_key: HashKey) -> Self {
        Shared {
            addresses: Addresses::new(capacity, memory, hash_key),
            probes: OpenProbes::default(),
            recent_traffic: RecentTraffic::new(hash_key),
            servers: KnownServers::default(),
            lossy_until: AtomicU64::new(0),
            tagged: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            inferred: Inferred::default(),
        }
    }

    /// Packets were lost on the way here: for `pause` from `now` on, silence proves nothing.
    pub fn lost_packets(&self, now: Timestamp, pause: Duration) {
        self.lossy_until.fetch_max((now + pause).nanos(), Relaxed);
    }

    /// Whether packets were lost lately.
    #[must_use]
    pub fn is_lossy(&self, now: Timestamp) -> bool {
        self.lossy_until.load(Relaxed) > now.nanos()
    }

    /// Notes that frames with VLAN tags come in.
    pub fn saw_tag(&self) {
        if !self.tagged.load(Relaxed) {
            self.tagged.store(true, Relaxed);
        }
    }

    /// Whether frames with VLAN tags have come in since the start: then links differ by them.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.tagged.load(Relaxed)
    }

    /// Notes that an attempt's answer was seen.
    pub fn saw_answer(&self) {
        self.answers.fetch_add(1, Relaxed);
        self.fade();
    }

    /// Notes that a client went on as if answered by a server, though no answer was seen; by hashes of the two.
    pub fn inferred_answer(&self, client: u64, server: u64) {
        self.inferred.count.fetch_add(1, Relaxed);
        self.inferred.clients.note(client);
        self.inferred.servers.note(server);
        self.fade();
    }

    /// The past counts half, so that a path which becomes one-sided after a year is noticed within minutes.
    fn fade(&self) {
        let (answers, inferred) = (self.answers.load(Relaxed), self.inferred.count.load(Relaxed));
        if answers + inferred >= 1024 {
            self.answers.store(answers / 2, Relaxed);
            self.inferred.count.store(inferred / 2, Relaxed);
            self.inferred.clients.fade();
            self.inferred.servers.fade();
        }
    }

    /// Whether answers pass somewhere else: many clients continue as if answered by many servers, more often than answers
    /// are seen.
    #[must_use]
    pub fn is_one_sided(&self) -> bool {
        let Inferred { count, clients, servers } = &self.inferred;
        count.load(Relaxed) > self.answers.load(Relaxed)
            && clients.distinct() >= Self::MANY
            && servers.distinct() >= Self::MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hash number `n`: distinct ones in distinct places of a sketch.
    fn hash(n: u64) -> u64 {
        n << 58
    }

    #[test]
    fn one_sidedness_needs_many_clients_and_many_servers() {
        let new = || Shared::new(64, Duration::from_secs(60), HashKey::new(1));
        for (clients, servers, expected) in
            [(1, 64, false), (64, 1, false), (7, 64, false), (64, 7, false), (8, 8, true)]
        {
            let shared = new();
            (0..500).for_each(|n| shared.inferred_answer(hash(n % clients), hash(n % servers)));
            assert_eq!(shared.is_one_sided(), expected, "{clients} clients, {servers} servers");
        }
    }

    #[test]
    fn one_sidedness_needs_proof() {
        let shared = Shared::new(64, Duration::from_secs(60), HashKey::new(1));
        let answered = |n| (0..n).for_each(|_| shared.saw_answer());
        let inferred = |n| (0..n).for_each(|n| shared.inferred_answer(hash(n), hash(n)));
        assert!(!shared.is_one_sided());
        inferred(8);
        assert!(shared.is_one_sided());
        answered(8);
        assert!(!shared.is_one_sided());
        answered(1_000_000);
        inferred(2000);
        assert!(shared.is_one_sided(), "a path that changes is noticed, however long it was whole");
        answered(3000);
        inferred(1);
        assert!(!shared.is_one_sided());
    }
}
