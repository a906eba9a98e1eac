//! What is recorded of a storm.
//!
//! A decision to watch or to hold changes nothing in the network, and a forger makes as many of them as he has names. The
//! history keeps a bounded number of them for a while, so that they do not push out of it what was done; all are counted
//! and shown.

use std::time::Duration;

use crate::respond::{Decision, Verdict};
use crate::time::Timestamp;

/// The time that they are counted over.
const SPAN: Duration = Duration::from_secs(600);

/// Most that are recorded in it: two for each that may be held, and those that are only watched on a bad day.
const MOST: u32 = 4096;

/// Counts what changes nothing.
#[derive(Debug, Default)]
pub(super) struct RecordLimiter {
    since: Timestamp,
    kept: u32,
    left_out: u64,
}

impl RecordLimiter {
    /// Whether this decision is to be recorded.
    pub fn allows(&mut self, decision: &Decision, now: Timestamp) -> bool {
        if !matches!(decision.decision, Verdict::Watch | Verdict::Hold) {
            return true;
        }
        if now.since(self.since) >= SPAN {
            if self.left_out > 0 {
                tracing::warn!(
                    left_out = self.left_out,
                    "that many decisions to watch or to hold were counted and not recorded"
                );
            }
            *self = RecordLimiter { since: now, ..RecordLimiter::default() };
        }
        if self.kept < MOST {
            self.kept += 1;
            return true;
        }
        if self.left_out == 0 {
            tracing::warn!(
                "{MOST} hosts were watched or held within {} s: further ones are counted and shown, and not recorded",
                SPAN.as_secs()
            );
        }
        self.left_out += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspect::Suspect;
    use crate::wire::{Address, Link};

    fn decision(verdict: Verdict) -> Decision {
        let host = Address::v4([10, 0, 0, 1]);
        Decision::without_alarm(Timestamp::ZERO, Suspect::address(Link::default(), host), host, verdict, String::new())
    }

    #[test]
    fn what_changes_something_is_always_recorded_and_the_rest_up_to_a_bound() {
        let mut limiter = RecordLimiter::default();
        let at = |seconds: u64| Timestamp::from_secs(1_800_000_000 + seconds);
        let kept = (0..10_000).filter(|_| limiter.allows(&decision(Verdict::Watch), at(0))).count();
        assert_eq!(kept, 4096);
        for verdict in [Verdict::Contain, Verdict::Isolate, Verdict::Release] {
            assert!(limiter.allows(&decision(verdict), at(1)), "{verdict}");
        }
        assert!(!limiter.allows(&decision(Verdict::Hold), at(599)));
        assert!(limiter.allows(&decision(Verdict::Hold), at(600)));
    }
}
