//! [`Mirror`]: who is acted on, pardoned, held and exempted, as the file's tables of state must have it.
//!
//! Kept in memory beside the file, so that whatever is lost on the way to it, those tables can be written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Fault, Store};
use crate::respond::servers::{LearntServer, ServerChanges, Service};
use crate::respond::{Decision, Exempted, Held, Verdict};

/// Pardons beyond which those that have run out are looked for. How many are in force is bounded by the responder.
const PARDONS: usize = 1024;

/// The state that tables must agree with, whatever was lost.
#[derive(Debug)]
pub(super) struct Mirror {
    acted: BTreeMap<String, Arc<Decision>>,
    pardoned: BTreeMap<String, Arc<Decision>>,
    held: Vec<Held>,
    exempted: Vec<Exempted>,
    servers: BTreeMap<Service, LearntServer>,
    /// Set until the file has been read once.
    unread: Option<Unread>,
}

/// What a file that could not be opened at start may hold, and what has happened since that its tables do not know.
#[derive(Debug, Default)]
struct Unread {
    released: BTreeSet<String>,
    unpardoned: BTreeSet<String>,
    held: bool,
    exempted: bool,
    forgotten: BTreeSet<Service>,
}

impl Default for Mirror {
    fn default() -> Self {
        Mirror {
            acted: BTreeMap::new(),
            pardoned: BTreeMap::new(),
            held: Vec::new(),
            exempted: Vec::new(),
            servers: BTreeMap::new(),
            unread: Some(Unread::default()),
        }
    }
}

impl Mirror {
    /// Takes over what the file's tables of state hold, as soon as there is a file; what happened since goes first.
    pub fn read_once(&mut self, store: Option<&Store>) {
        let Some(store) = store else { return };
        let Some(unread) = self.unread.take() else { return };
        for decision in store.acted().unwrap_or_default() {
            let key = decision.key();
            if !unread.released.contains(&key) {
                self.acted.entry(key).or_insert(Arc::new(decision));
            }
        }
        for release in store.pardons().unwrap_or_default() {
            let key = release.key();
            if !unread.unpardoned.contains(&key) {
                self.pardoned.entry(key).or_insert(Arc::new(release));
            }
        }
        for server in store.servers().unwrap_or_default() {
            if !unread.forgotten.contains(&server.service) {
                self.servers.entry(server.service).or_insert(server);
            }
        }
        if !unread.held {
            self.held = store.held().unwrap_or_default();
        }
        if !unread.exempted {
            self.exempted = store.exempted().unwrap_or_default();
        }
    }

    /// Goes where a decision puts its host.
    pub fn follow(&mut self, decision: &Arc<Decision>) {
        let key = decision.key();
        if decision.action().is_some() {
            if let Some(unread) = &mut self.unread {
                unread.released.remove(&key);
                unread.unpardoned.insert(key.clone());
                unread.unpardoned.extend(decision.overrules.iter().cloned());
            }
            self.pardoned.remove(&key);
            decision.overrules.iter().for_each(|other| drop(self.pardoned.remove(other)));
            self.acted.insert(key, decision.clone());
        } else if decision.decision == Verdict::Release {
            self.release(key.clone());
            if decision.pardoned_until.is_some() {
                if self.pardoned.len() >= PARDONS {
                    self.pardoned.retain(|_, release| Some(decision.at) < release.pardoned_until);
                }
                self.pardoned.insert(key, decision.clone());
            }
        }
    }

    /// Takes a host off those acted on.
    pub fn release(&mut self, suspect: String) {
        self.acted.remove(&suspect);
        if let Some(unread) = &mut self.unread {
            unread.released.insert(suspect);
        }
    }

    /// What waits for an engineer now.
    pub fn set_held(&mut self, held: Vec<Held>) {
        self.held = held;
        if let Some(unread) = &mut self.unread {
            unread.held = true;
        }
    }

    /// What is on the never-contain list by command now.
    pub fn set_exempted(&mut self, exempted: Vec<Exempted>) {
        self.exempted = exempted;
        if let Some(unread) = &mut self.unread {
            unread.exempted = true;
        }
    }

    /// What was learnt of servers.
    pub fn learn(&mut self, changes: &ServerChanges) {
        for server in &changes.kept {
            self.servers.insert(server.service, server.clone());
        }
        for service in &changes.forgotten {
            self.servers.remove(service);
            if let Some(unread) = &mut self.unread {
                unread.forgotten.insert(*service);
            }
        }
    }

    /// Writes all servers anew.
    pub fn write_servers(&self, store: &Store) -> Result<(), Fault> {
        store.keep_servers(&ServerChanges { kept: self.servers.values().cloned().collect(), forgotten: Vec::new() })
    }

    /// What waits for an engineer.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// What is on the never-contain list by command.
    pub fn exempted(&self) -> &[Exempted] {
        &self.exempted
    }

    /// Writes what holds of one host, after a record about it.
    pub fn write_of(&self, suspect: &str, store: &Store) -> Result<(), Fault> {
        // The mirror may be ahead of this record by others of the same batch, never behind it.
        match self.acted.get(suspect) {
            Some(decision) => store.put_acted(decision)?,
            None => store.forget(suspect)?,
        }
        self.write_pardon_of(suspect, store)
    }

    /// Writes whether one host is pardoned.
    pub fn write_pardon_of(&self, suspect: &str, store: &Store) -> Result<(), Fault> {
        match self.pardoned.get(suspect) {
            Some(release) => store.put_pardon(release),
            None => store.unpardon(suspect),
        }
    }

    /// Writes anew what holds of all hosts.
    pub fn write_hosts(&self, store: &Store) -> Result<(), Fault> {
        store.clear_acted()?;
        for decision in self.acted.values() {
            store.put_acted(decision)?;
        }
        store.clear_pardons()?;
        for release in self.pardoned.values() {
            store.put_pardon(release)?;
        }
        Ok(())
    }
}
