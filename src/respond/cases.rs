//! Who is contained or isolated: one case a host, by host and by when it ends.

use std::collections::{BTreeSet, HashMap};

use crate::evidence::{Attachment, Evidence, Grade, Score};
use crate::respond::{By, Decision, Verdict};
use crate::time::Timestamp;
use crate::wire::Address;

/// Most hosts acted on, by any hand.
pub const MOST_CASES: usize = 65_536;

/// A host that is contained or isolated.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The host.
    pub host: Address,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` is until released.
    pub until: Option<Timestamp>,
    /// Rung of the ladder, from 1; 0 for an engineer's order.
    pub step: u8,
    /// When it last tried something new.
    pub active: Timestamp,
    /// What it rests on; none for an engineer's order.
    pub grade: Option<Grade>,
    /// Who decided.
    pub by: By,
    /// Why.
    pub reason: String,
    /// Where the host sits.
    pub attachment: Attachment,
    /// Its score then.
    pub score: Score,
    /// Its threshold then.
    pub threshold: Score,
    /// Its destinations then.
    pub destinations: u32,
    /// The evidence.
    pub evidence: Vec<Evidence>,
}

/// The decision that a case rests on, as it is recorded.
#[must_use]
pub fn decision_of(case: &Case, enforced: bool) -> Decision {
    Decision {
        at: case.since,
        host: case.host,
        decision: case.verdict,
        score: case.score,
        threshold: case.threshold,
        destinations: case.destinations,
        grade: case.grade,
        until: case.until,
        step: case.step,
        enforced,
        reason: case.reason.clone(),
        by: case.by.clone(),
        attachment: case.attachment,
        evidence: case.evidence.clone(),
    }
}

/// All cases.
#[derive(Debug, Default)]
pub(super) struct Cases {
    by_host: HashMap<Address, Case>,
    due: BTreeSet<(Timestamp, Address)>,
    automatic: u32,
}

impl Cases {
    /// Puts a case in place of the host's former one, and keeps the indexes true.
    pub fn put(&mut self, case: Case) {
        self.take(case.host);
        if let Some(until) = case.until {
            self.due.insert((until, case.host));
        }
        self.automatic += u32::from(case.by == By::Firedoor);
        self.by_host.insert(case.host, case);
    }

    /// Takes a host's case out.
    pub fn take(&mut self, host: Address) -> Option<Case> {
        let case = self.by_host.remove(&host)?;
        if let Some(until) = case.until {
            self.due.remove(&(until, host));
        }
        self.automatic -= u32::from(case.by == By::Firedoor);
        Some(case)
    }

    /// The case of `host`.
    pub fn get(&self, host: Address) -> Option<&Case> {
        self.by_host.get(&host)
    }

    /// Whether `host` has one.
    pub fn contains(&self, host: Address) -> bool {
        self.by_host.contains_key(&host)
    }

    /// Notes that `host`, if it has a case, still tried at `at`.
    pub fn touch(&mut self, host: Address, at: Timestamp) {
        if let Some(case) = self.by_host.get_mut(&host) {
            case.active = case.active.max(at);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_host.len()
    }

    /// How many nobody ordered.
    pub fn automatic(&self) -> u32 {
        self.automatic
    }

    /// The case that ends next, and when.
    pub fn next_due(&self) -> Option<(Timestamp, Address)> {
        self.due.first().copied()
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Case> + Clone {
        self.by_host.values()
    }
}
