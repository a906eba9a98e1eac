//! Decisions that wait for an engineer because the breaker tripped: one a suspect, each with its number.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::respond::snapshot_map::SnapshotMap;
use crate::respond::{Action, Decision};
use crate::suspect::Suspect;

/// A decision that waits for an engineer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number, from 1: names it in `held confirm` and `held drop`.
    pub id: u64,
    /// What would be done.
    #[serde(rename = "would")]
    pub action: Action,
    /// The decision to hold; its reason says why.
    #[serde(flatten)]
    pub decision: Arc<Decision>,
}

/// All that wait, by number and by suspect: a copy is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldTable {
    by_id: SnapshotMap<u64, Held>,
    /// Which of them is about whom.
    of_suspect: SnapshotMap<Suspect, u64>,
}

impl HeldTable {
    /// The one about a suspect.
    pub fn of(&self, suspect: Suspect) -> Option<&Held> {
        self.by_id.get(self.of_suspect.get(&suspect)?)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<&Held> {
        let mut all: Vec<&Held> = self.by_id.values().collect();
        all.sort_unstable_by_key(|held| held.id);
        all
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Held> + Clone {
        self.by_id.values()
    }
}

/// All that wait, and which waits longest.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    table: HeldTable,
    order: BTreeSet<u64>,
    last_id: u64,
    changes: u64,
}

impl Waiting {
    /// Adds one under the next number, in place of the suspect's former one. At `most` the oldest gives way.
    pub fn add(&mut self, action: Action, decision: Arc<Decision>, most: usize) {
        self.last_id += 1;
        self.take_of(decision.suspect);
        while self.table.len() >= most.max(1)
            && let Some(oldest) = self.order.first().copied()
        {
            self.take(oldest);
        }
        self.put(Held { id: self.last_id, action, decision });
    }

    fn put(&mut self, held: Held) {
        self.changes += 1;
        self.order.insert(held.id);
        self.table.of_suspect.insert(held.decision.suspect, held.id);
        self.table.by_id.insert(held.id, held);
    }

    /// Takes over one from before the start, under its old number; not if its host is acted on by now.
    pub fn restore(&mut self, held: Held, acted: bool, most: usize) {
        self.last_id = self.last_id.max(held.id);
        if self.table.len() < most.max(1) && !acted {
            self.put(held);
        }
    }

    /// Takes the one with this number out.
    pub fn take(&mut self, id: u64) -> Option<Held> {
        let held = self.table.by_id.remove(&id)?;
        self.changes += 1;
        self.order.remove(&id);
        if self.table.of_suspect.get(&held.decision.suspect) == Some(&id) {
            self.table.of_suspect.remove(&held.decision.suspect);
        }
        Some(held)
    }

    /// Takes the one about a suspect out.
    pub fn take_of(&mut self, suspect: Suspect) {
        if let Some(id) = self.table.of_suspect.get(&suspect).copied() {
            self.take(id);
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.order.iter().filter_map(|id| self.table.by_id.get(id))
    }

    /// How often it changed so far.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// A copy for readers.
    pub fn table(&self) -> HeldTable {
        self.table.clone()
    }
}
