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
    pub fn keeps(&mut self, decision: &Decision, now: Timestamp) -> bool {
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
    use crate::evidence::{Attachment, Score};
    use crate::respond::By;
    use crate::wire::Address;

    fn decision(verdict: Verdict) -> Decision {
        Decision {
            at: Timestamp::ZERO,
            host: Address::v4([10, 0, 0, 1]),
            decision: verdict,
            score: Score(0),
            threshold: Score(0),
            destinations: 0,
            grade: None,
            until: None,
            step: 0,
            enforced: false,
            reason: String::new(),
            by: By::Firedoor,
            suspect: crate::suspect::Suspect::address(crate::wire::Link::default(), Address::default()),
            link: String::new(),
            card: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            unpardons: Vec::new(),
            attachment: Attachment::default(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn what_changes_something_is_always_recorded_and_the_rest_up_to_a_bound() {
        let mut restraint = RecordLimiter::default();
        let at = |seconds: u64| Timestamp::from_secs(1_800_000_000 + seconds);
        let kept = (0..10_000).filter(|_| restraint.keeps(&decision(Verdict::Watch), at(0))).count();
        assert_eq!(kept, 4096);
        for verdict in [Verdict::Contain, Verdict::Isolate, Verdict::Release] {
            assert!(restraint.keeps(&decision(verdict), at(1)), "{verdict}");
        }
        assert!(!restraint.keeps(&decision(Verdict::Hold), at(599)));
        assert!(restraint.keeps(&decision(Verdict::Hold), at(600)));
    }
}
