//! Who is contained or isolated: one block a suspect, by suspect, by address and by when it ends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::respond::{Action, By, Decision};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::Address;

/// Most hosts acted on, by any hand.
pub const MOST_BLOCKS: usize = 65_536;

/// Most addresses of one suspect that the kernel is given.
pub const MOST_ADDRESSES: usize = 64;

/// Most ports that are shut for one suspect besides the lateral services.
pub const MOST_PORTS: usize = 32;

/// A suspect that is contained or isolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The decision that it rests on, with the addresses and ports that are shut now.
    pub decision: Arc<Decision>,
    /// Contain or isolate: what the decision says.
    pub action: Action,
    /// When the suspect last tried something new.
    pub last_active: Timestamp,
}

impl Block {
    /// The block that a decision begins; `None` for those that begin none.
    #[must_use]
    pub fn new(decision: Arc<Decision>) -> Option<Self> {
        Some(Block { action: decision.action()?, last_active: decision.at, decision })
    }

    /// The same on a changed decision; as it is if that one drops nothing.
    #[must_use]
    pub fn on(&self, decision: Decision) -> Self {
        let action = decision.action().unwrap_or(self.action);
        Block { decision: Arc::new(decision), action, last_active: self.last_active }
    }

    /// Whom it is about.
    #[must_use]
    pub fn suspect(&self) -> Suspect {
        self.decision.suspect
    }

    /// The address that the suspect is called by.
    #[must_use]
    pub fn host(&self) -> Address {
        self.decision.host
    }
}

/// All blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_suspect: HashMap<Suspect, Block>,
    by_address: HashMap<Address, Vec<Suspect>>,
    due: BTreeSet<(Timestamp, Suspect)>,
    automatic: u32,
}

impl Blocks {
    /// Puts a block in place of the suspect's former one, and keeps the indexes true.
    pub fn put(&mut self, block: Block) {
        self.take(block.suspect());
        if let Some(until) = block.decision.until {
            self.due.insert((until, block.suspect()));
        }
        self.automatic += u32::from(block.decision.by == By::Firedoor);
        for address in names(&block) {
            let suspects = self.by_address.entry(address).or_default();
            if !suspects.contains(&block.suspect()) {
                suspects.push(block.suspect());
            }
        }
        self.by_suspect.insert(block.suspect(), block);
    }

    /// Takes a suspect's block out.
    pub fn take(&mut self, suspect: Suspect) -> Option<Block> {
        let block = self.by_suspect.remove(&suspect)?;
        if let Some(until) = block.decision.until {
            self.due.remove(&(until, suspect));
        }
        self.automatic -= u32::from(block.decision.by == By::Firedoor);
        for address in names(&block) {
            if let Some(suspects) = self.by_address.get_mut(&address) {
                suspects.retain(|other| *other != suspect);
                if suspects.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
        Some(block)
    }

    /// The block of a suspect.
    pub fn get(&self, suspect: Suspect) -> Option<&Block> {
        self.by_suspect.get(&suspect)
    }

    /// The suspects with a block that use `address`.
    pub fn of(&self, address: Address) -> &[Suspect] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether a suspect has a block.
    pub fn contains(&self, suspect: Suspect) -> bool {
        self.by_suspect.contains_key(&suspect)
    }

    /// Notes that a suspect, if it has a block, still tried at `at`.
    pub fn touch(&mut self, suspect: Suspect, at: Timestamp) {
        if let Some(block) = self.by_suspect.get_mut(&suspect) {
            block.last_active = block.last_active.max(at);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_suspect.len()
    }

    /// How many nobody ordered.
    pub fn automatic(&self) -> u32 {
        self.automatic
    }

    /// The block that ends next, and when.
    pub fn next_due(&self) -> Option<(Timestamp, Suspect)> {
        self.due.first().copied()
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Block> + Clone {
        self.by_suspect.values()
    }
}

/// Every address that a block is found by.
fn names(block: &Block) -> impl Iterator<Item = Address> {
    std::iter::once(block.host()).chain(block.decision.addresses().iter().copied())
}
