//! What somebody else changed in the kernel and was put right: counted for the status, the metrics and the log.

use std::collections::VecDeque;
use std::time::Duration;

use crate::firewall;
use crate::published::status::{Deletions, Drift, Repairs};
use crate::time::Timestamp;

/// Deletions of the table are counted as one series within this time.
const LATELY: Duration = Duration::from_secs(10);

/// From so many on within [`LATELY`], somebody does it again and again.
const AGAIN_AND_AGAIN: u64 = 3;

/// Most deletions remembered of the last [`LATELY`].
const MOST_DELETED: usize = 10_000;

/// Repairs by kind, and deletions of the whole table.
#[derive(Debug, Default)]
pub(super) struct RepairLog {
    repairs: Vec<Repairs>,
    deletions: Option<Deletions>,
    /// When those of the last seconds were.
    recent: VecDeque<Timestamp>,
}

impl RepairLog {
    /// Counts a repair.
    pub fn repaired(&mut self, kind: Drift, now: Timestamp) {
        match self.repairs.iter_mut().find(|repairs| repairs.kind == kind) {
            Some(repairs) => {
                repairs.count += 1;
                repairs.last = now;
            }
            None => self.repairs.push(Repairs { kind, count: 1, last: now }),
        }
    }

    /// Counts a deletion of the whole table; whoever does so again and again keeps the door open.
    pub fn deleted(&mut self, drift: &firewall::Drift, now: Timestamp) {
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| now.since(*at) > LATELY) || self.recent.len() > MOST_DELETED {
            self.recent.pop_front();
        }
        let lately = u64::try_from(self.recent.len()).unwrap_or(u64::MAX);
        let count = self.deletions.as_ref().map_or(0, |before| before.count) + 1;
        let by = drift.by.as_ref().map(|by| match drift.process {
            Some(process) => format!("{by} (process {process})"),
            None => by.clone(),
        });
        if lately >= AGAIN_AND_AGAIN {
            tracing::error!(
                "the kernel's table is deleted again and again, {lately} times in the last {} s, last by {}: the door \
                 is open each time until it is put back; stop what does it",
                LATELY.as_secs(),
                by.as_deref().unwrap_or("somebody")
            );
        }
        self.deletions = Some(Deletions { count, last: now, lately, by });
    }

    /// Repairs so far, by kind.
    pub fn repairs(&self) -> &[Repairs] {
        &self.repairs
    }

    /// Deletions of the whole table so far.
    pub fn deletions(&self) -> Option<&Deletions> {
        self.deletions.as_ref()
    }
}
