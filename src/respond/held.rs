//! Decisions that wait for an engineer because the breaker tripped: one a suspect, each with its number.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_id: BTreeMap<u64, Held>,
    /// Which of them is about whom.
    of_suspect: HashMap<Suspect, u64>,
    last_id: u64,
}

impl Waiting {
    /// Adds one under the next number, in place of the suspect's former one. At `most` the oldest gives way.
    pub fn add(&mut self, action: Action, decision: Arc<Decision>, most: usize) {
        self.last_id += 1;
        let id = self.last_id;
        self.take_of(decision.suspect);
        while self.by_id.len() >= most.max(1) {
            if let Some((_, oldest)) = self.by_id.pop_first() {
                self.of_suspect.remove(&oldest.decision.suspect);
            }
        }
        self.of_suspect.insert(decision.suspect, id);
        self.by_id.insert(id, Held { id, action, decision });
    }

    /// Takes over one from before the start, under its old number; not if its host is acted on by now.
    pub fn restore(&mut self, held: Held, acted: bool, most: usize) {
        self.last_id = self.last_id.max(held.id);
        if self.by_id.len() < most.max(1) && !acted {
            self.of_suspect.insert(held.decision.suspect, held.id);
            self.by_id.insert(held.id, held);
        }
    }

    /// Takes the one with this number out.
    pub fn take(&mut self, id: u64) -> Option<Held> {
        let held = self.by_id.remove(&id)?;
        self.of_suspect.remove(&held.decision.suspect);
        Some(held)
    }

    /// Takes the one about a suspect out.
    pub fn take_of(&mut self, suspect: Suspect) {
        if let Some(id) = self.of_suspect.remove(&suspect) {
            self.by_id.remove(&id);
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.by_id.values()
    }
}
