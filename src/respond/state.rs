//! [`State`]: who is blocked, held, pardoned and exempt, and how far up the ladder: the responder's, as it was last published.
//!
//! Immutable, and cheap to make: what did not change since the last one is shared with it.

use std::sync::Arc;

use crate::respond::blocks::BlockTable;
use crate::respond::held::HeldTable;
use crate::respond::ladder_history::LadderHistory;
use crate::respond::{Action, Block, Exempted, Held, Mode, Settings};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::wire::{Address, Link};

/// Who is blocked, held, pardoned and exempt.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) mode: Mode,
    pub(super) blocks: BlockTable,
    pub(super) held: HeldTable,
    pub(super) history: LadderHistory,
    pub(super) exempted: Arc<Vec<Exempted>>,
}

impl State {
    /// Monitor or enforce.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The block of a suspect.
    #[must_use]
    pub fn block(&self, suspect: Suspect) -> Option<&Block> {
        self.blocks.get(suspect)
    }

    /// All blocks, in no order that means anything.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> + Clone {
        self.blocks.iter()
    }

    /// How many blocks nobody ordered.
    #[must_use]
    pub const fn automatic(&self) -> u32 {
        self.blocks.automatic()
    }

    /// How many suspects this is done to, and for how many of them an engineer's order is the cause.
    #[must_use]
    pub fn count(&self, action: Action) -> (u64, u64) {
        let of = self.blocks().filter(|block| block.action == action);
        of.fold((0, 0), |(all, ordered), block| (all + 1, ordered + u64::from(block.decision.is_ordered())))
    }

    /// All blocks of suspects that use `address`: several where several links have it.
    pub fn blocks_of(&self, address: Address) -> impl Iterator<Item = &Block> {
        self.blocks.of(address).iter().filter_map(|suspect| self.blocks.get(*suspect))
    }

    /// The block of whoever uses an address on a link; `suspect` is who that is, where it is known.
    #[must_use]
    pub fn block_on(&self, address: Address, link: Link, suspect: Option<Suspect>) -> Option<&Block> {
        let known = suspect.and_then(|suspect| self.block(suspect));
        known.or_else(|| self.blocks_of(address).find(|block| is_of(block.suspect(), link, suspect)))
    }

    /// The decision that waits about whoever uses an address on a link, in the same way.
    #[must_use]
    pub fn held_on(&self, address: Address, link: Link, suspect: Option<Suspect>) -> Option<&Held> {
        let known = suspect.and_then(|suspect| self.held.of(suspect));
        known.or_else(|| {
            let about = |held: &&Held| held.decision.host == address && is_of(held.decision.suspect, link, suspect);
            self.held.iter().find(about)
        })
    }

    /// Until when an engineer's release protects whoever uses an address on a link, in the same way; the time may be past.
    #[must_use]
    pub fn pardon_on(&self, address: Address, link: Link, suspect: Option<Suspect>) -> Option<Timestamp> {
        let known = suspect.and_then(|suspect| self.history.pardon(suspect));
        known.or_else(|| {
            let here = self.history.pardoned_as(address).iter().filter(|other| is_of(**other, link, suspect));
            here.filter_map(|suspect| self.history.pardon(*suspect)).max()
        })
    }

    /// Who is blocked, held or pardoned under an address.
    #[must_use]
    pub fn suspects_of(&self, address: Address) -> Vec<Suspect> {
        let held = self.held.iter().filter(|held| held.decision.host == address).map(|held| held.decision.suspect);
        let mut all: Vec<Suspect> = self.blocks.of(address).iter().copied().chain(held).collect();
        all.extend(self.history.pardoned_as(address));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether whoever uses an address on a link is blocked or waits to be.
    #[must_use]
    pub fn is_acted_on(&self, address: Address, link: Link, suspect: Option<Suspect>) -> bool {
        if self.blocks.len() == 0 && self.held.len() == 0 {
            return false;
        }
        self.block_on(address, link, suspect).is_some() || self.held_on(address, link, suspect).is_some()
    }

    /// Whether the kernel drops what a block is about.
    #[must_use]
    pub fn enforces(&self, block: &Block) -> bool {
        self.mode == Mode::Enforce && !block.unmatched
    }

    /// The decisions that wait for an engineer, oldest first.
    #[must_use]
    pub fn held(&self) -> Vec<&Held> {
        self.held.all()
    }

    /// How many decisions wait.
    #[must_use]
    pub const fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The rung that a decision about a suspect would stand on.
    #[must_use]
    pub fn next_step(&self, suspect: Suspect, now: Timestamp, settings: &Settings) -> u8 {
        self.history.next_step(suspect, now, settings)
    }

    /// What engineers put on the never-contain list by command.
    #[must_use]
    pub fn exempted(&self) -> &[Exempted] {
        &self.exempted
    }
}

/// Whether what is known of `known` under an address is about whoever uses the address on `link`, who is `suspect`: what is
/// known of no link in particular is about everybody, and on the same link only another card is another host.
fn is_of(known: Suspect, link: Link, suspect: Option<Suspect>) -> bool {
    let anywhere = known.link.interface == 0 || link.interface == 0;
    let other_card = match (known.who, suspect.map(|suspect| suspect.who)) {
        (Who::Card(card), Some(Who::Card(other))) => card != other,
        _ => false,
    };
    anywhere || known.link == link && !other_card
}
