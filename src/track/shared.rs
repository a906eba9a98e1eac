//! What the shards of one daemon share: addresses, open questions, and how far their own sight can be trusted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::{Addresses, Keys, Questions};

/// What the shards of one daemon share.
pub struct Shared {
    /// Addresses, segments and hardware addresses.
    pub addresses: Addresses,
    /// What the gateway asks the segments.
    pub questions: Questions,
    /// Until when silence proves nothing, because the ring lost packets; nanoseconds.
    pub lossy_until: AtomicU64,
    /// Answers seen to attempts seen, of late.
    answers: AtomicU64,
    /// Attempts of late whose answer was not seen, though the client went on as if it had come.
    inferred: AtomicU64,
}

impl Shared {
    /// With an address table of about `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, keys: Keys) -> Self {
        Shared {
            addresses: Addresses::new(capacity, memory, keys),
            questions: Questions::default(),
            lossy_until: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            inferred: AtomicU64::new(0),
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

    /// Notes that an attempt's answer was seen.
    pub fn saw_answer(&self) {
        self.answers.fetch_add(1, Relaxed);
        self.fade();
    }

    /// Notes that a client went on as if answered, though no answer was seen.
    pub fn inferred_answer(&self) {
        self.inferred.fetch_add(1, Relaxed);
        self.fade();
    }

    /// The past counts half, so that a path which becomes one-sided after a year is noticed within minutes.
    fn fade(&self) {
        let (answers, inferred) = (self.answers.load(Relaxed), self.inferred.load(Relaxed));
        if answers + inferred >= 1024 {
            self.answers.store(answers / 2, Relaxed);
            self.inferred.store(inferred / 2, Relaxed);
        }
    }

    /// Whether answers pass somewhere else: clients go on as if answered, more often than answers are seen.
    #[must_use]
    pub fn is_one_sided(&self) -> bool {
        let (inferred, answers) = (self.inferred.load(Relaxed), self.answers.load(Relaxed));
        inferred >= 3 && inferred > answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sidedness_needs_proof() {
        let shared = Shared::new(64, Duration::from_secs(60), Keys::new(1));
        let many = |n, what: fn(&Shared)| (0..n).for_each(|_| what(&shared));
        assert!(!shared.is_one_sided());
        many(3, Shared::inferred_answer);
        assert!(shared.is_one_sided());
        many(3, Shared::saw_answer);
        assert!(!shared.is_one_sided());
        many(1_000_000, Shared::saw_answer);
        many(2000, Shared::inferred_answer);
        assert!(shared.is_one_sided(), "a path that changes is noticed, however long it was whole");
    }
}
