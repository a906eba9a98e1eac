//! What is done about a host, put together from the responder's state and the host table.

use crate::published::host_table::{HostEntry, Watch};
use crate::respond::{Block, Decision, Held, State, Verdict};
use crate::suspect::Suspect;
use crate::wire::Address;

/// What is done about a host, as the responder and the host table have it.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Standing<'a> {
    /// It is blocked.
    pub(in crate::api) block: Option<&'a Block>,
    /// A decision about it waits.
    pub(in crate::api) held: Option<&'a Held>,
    pub(super) watch: Option<Watch>,
    pub(super) enforced: bool,
}

impl<'a> Standing<'a> {
    /// Of whoever an entry is about, at `address`; `suspect` is who that is, where the entry does not say so.
    pub(in crate::api) fn of(
        state: &'a State,
        address: Address,
        entry: Option<&HostEntry>,
        suspect: Option<Suspect>,
    ) -> Self {
        let link = entry.map(|entry| entry.link).unwrap_or_default();
        let suspect = entry.and_then(HostEntry::suspect).or(suspect);
        let block = state.block_on(address, link, suspect);
        let held = if block.is_some() { None } else { state.held_on(address, link, suspect) };
        let watch = entry.and_then(|entry| entry.watch);
        let enforced = match block {
            Some(block) => state.enforces(block),
            None => held.is_none() && watch.is_some_and(|watch| watch.enforced),
        };
        Standing { block, held, watch, enforced }
    }

    /// The decision in force, or that waits.
    pub(super) fn decision(self) -> Option<&'a Decision> {
        self.block.map(|block| &*block.decision).or(self.held.map(|held| &*held.decision))
    }

    /// In a word.
    pub(in crate::api) fn verdict(self) -> Option<Verdict> {
        let watch = self.watch.map(|watch| if watch.throttled { Verdict::Throttle } else { Verdict::Watch });
        self.block.map(|block| block.action.verdict()).or(self.held.map(|_| Verdict::Hold)).or(watch)
    }

    /// Whether it is blocked, or waits to be.
    pub(in crate::api) fn is_acted_on(self) -> bool {
        self.block.is_some() || self.held.is_some()
    }
}
