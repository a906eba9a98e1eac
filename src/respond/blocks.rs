//! Who is contained or isolated: one block a suspect, by suspect, by address and by when it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::respond::snapshot_map::SnapshotMap;
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
    /// The kernel can match none of the suspect's packets.
    pub unmatched: bool,
}

impl Block {
    /// The block that a decision begins; `None` for those that begin none.
    #[must_use]
    pub fn new(decision: Arc<Decision>) -> Option<Self> {
        Some(Block { action: decision.action()?, last_active: decision.at, unmatched: false, decision })
    }

    /// The same on a changed decision; as it is if that one drops nothing.
    #[must_use]
    pub fn on(&self, decision: Decision) -> Self {
        let action = decision.action().unwrap_or(self.action);
        Block { decision: Arc::new(decision), action, ..self.clone() }
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

/// All blocks, by suspect and by address: a copy is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockTable {
    by_suspect: SnapshotMap<Suspect, Block>,
    by_address: SnapshotMap<Address, Vec<Suspect>>,
    automatic: u32,
}

impl BlockTable {
    /// The block of a suspect.
    pub fn get(&self, suspect: Suspect) -> Option<&Block> {
        self.by_suspect.get(&suspect)
    }

    /// The suspects with a block that use `address`.
    pub fn of(&self, address: Address) -> &[Suspect] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.by_suspect.len()
    }

    /// How many nobody ordered.
    pub const fn automatic(&self) -> u32 {
        self.automatic
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Block> + Clone {
        self.by_suspect.values()
    }
}

/// All blocks, and which ends next.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    table: BlockTable,
    due: BTreeSet<(Timestamp, Suspect)>,
}

impl std::ops::Deref for Blocks {
    type Target = BlockTable;

    fn deref(&self) -> &BlockTable {
        &self.table
    }
}

impl Blocks {
    /// Puts a block in place of the suspect's former one, and keeps the indexes true.
    pub fn put(&mut self, block: Block) {
        let suspect = block.suspect();
        self.take(suspect);
        if let Some(until) = block.decision.until {
            self.due.insert((until, suspect));
        }
        let table = &mut self.table;
        table.automatic += u32::from(block.decision.by == By::Firedoor);
        for address in names(&block) {
            match table.by_address.get_mut(&address) {
                Some(suspects) if suspects.contains(&suspect) => {}
                Some(suspects) => suspects.push(suspect),
                None => drop(table.by_address.insert(address, vec![suspect])),
            }
        }
        table.by_suspect.insert(suspect, block);
    }

    /// Takes a suspect's block out.
    pub fn take(&mut self, suspect: Suspect) -> Option<Block> {
        let table = &mut self.table;
        let block = table.by_suspect.remove(&suspect)?;
        if let Some(until) = block.decision.until {
            self.due.remove(&(until, suspect));
        }
        table.automatic -= u32::from(block.decision.by == By::Firedoor);
        for address in names(&block) {
            if let Some(suspects) = table.by_address.get_mut(&address) {
                suspects.retain(|other| *other != suspect);
                if suspects.is_empty() {
                    table.by_address.remove(&address);
                }
            }
        }
        Some(block)
    }

    /// Whether a suspect has a block.
    pub fn contains(&self, suspect: Suspect) -> bool {
        self.get(suspect).is_some()
    }

    /// Notes that a suspect, if it has a block, still tried at `at`.
    pub fn touch(&mut self, suspect: Suspect, at: Timestamp) {
        if let Some(block) = self.table.by_suspect.get_mut(&suspect) {
            block.last_active = block.last_active.max(at);
        }
    }

    /// Notes whether the kernel can match any of a suspect's places.
    pub fn set_unmatched(&mut self, suspect: Suspect, unmatched: bool) {
        if let Some(block) = self.table.by_suspect.get_mut(&suspect) {
            block.unmatched = unmatched;
        }
    }

    /// The block that ends next, and when.
    pub fn next_due(&self) -> Option<(Timestamp, Suspect)> {
        self.due.first().copied()
    }

    /// A copy for readers.
    pub fn table(&self) -> BlockTable {
        self.table.clone()
    }
}

/// Every address that a block is found by.
fn names(block: &Block) -> impl Iterator<Item = Address> {
    std::iter::once(block.host()).chain(block.decision.addresses().iter().copied())
}
