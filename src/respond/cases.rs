//! Who is contained or isolated: one case a suspect, by suspect, by address and by when it ends.

use std::collections::{BTreeSet, HashMap};

use crate::evidence::{Attachment, Evidence, Grade, Score};
use crate::respond::decision::Block;
use crate::respond::{By, Decision, Verdict};
use crate::suspect::{Place, Suspect, Who};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Mac};

/// Most hosts acted on, by any hand.
pub const MOST_CASES: usize = 65_536;

/// A suspect that is contained or isolated.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Who it is.
    pub suspect: Suspect,
    /// Its link by name; empty where it is not known.
    pub link: String,
    /// The address that it is called by.
    pub host: Address,
    /// All its addresses, that one first.
    pub addresses: Vec<Address>,
    /// What is shut besides the lateral services.
    pub ports: Vec<(Transport, u16)>,
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

/// Most addresses of one suspect that the kernel is given.
pub const MOST_ADDRESSES: usize = 64;

/// Stands in a record for the addresses of a card that has lost them all to other cards.
pub const NO_ADDRESS: Address = Address::v4([0; 4]);

/// Most ports that are shut for one suspect besides the lateral services.
pub const MOST_PORTS: usize = 32;

impl Case {
    /// Where the kernel matches it: its card, and each of its addresses.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let Suspect { link, who } = self.suspect;
        let of = |address: &Address| Place::address(link, *address);
        match who {
            Who::Card(card) => std::iter::once(Place::card(link, card)).chain(self.addresses.iter().map(of)).collect(),
            Who::Address(address) => vec![Place::address(link, address)],
            Who::Network(_) => vec![Place { link, source: who }],
        }
    }

    /// What the kernel is to drop.
    #[must_use]
    pub fn block(&self) -> Block {
        Block {
            host: self.host,
            places: self.places(),
            verdict: self.verdict,
            until: self.until,
            ports: self.ports.clone(),
        }
    }
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
        suspect: case.suspect,
        link: case.link.clone(),
        card: card_of(case.suspect),
        addresses: match case.addresses.as_slice() {
            [only] if *only == case.host => Vec::new(),
            // It has lost them all: the block is its card's alone, and must be so after a restart too.
            [] if card_of(case.suspect).is_some() => vec![NO_ADDRESS],
            several => several.to_vec(),
        },
        ports: case.ports.clone(),
        unpardons: Vec::new(),
        evidence: case.evidence.clone(),
    }
}

/// The card, if the suspect is one.
#[must_use]
pub fn card_of(suspect: Suspect) -> Option<Mac> {
    match suspect.who {
        Who::Card(card) => Some(card),
        Who::Address(_) | Who::Network(_) => None,
    }
}

/// All cases.
#[derive(Debug, Default)]
pub(super) struct Cases {
    by_suspect: HashMap<Suspect, Case>,
    by_address: HashMap<Address, Vec<Suspect>>,
    due: BTreeSet<(Timestamp, Suspect)>,
    automatic: u32,
}

impl Cases {
    /// Puts a case in place of the suspect's former one, and keeps the indexes true.
    pub fn put(&mut self, case: Case) {
        self.take(case.suspect);
        if let Some(until) = case.until {
            self.due.insert((until, case.suspect));
        }
        self.automatic += u32::from(case.by == By::Firedoor);
        for address in std::iter::once(case.host).chain(case.addresses.iter().copied()) {
            let suspects = self.by_address.entry(address).or_default();
            if !suspects.contains(&case.suspect) {
                suspects.push(case.suspect);
            }
        }
        self.by_suspect.insert(case.suspect, case);
    }

    /// Takes a suspect's case out.
    pub fn take(&mut self, suspect: Suspect) -> Option<Case> {
        let case = self.by_suspect.remove(&suspect)?;
        if let Some(until) = case.until {
            self.due.remove(&(until, suspect));
        }
        self.automatic -= u32::from(case.by == By::Firedoor);
        for address in std::iter::once(case.host).chain(case.addresses.iter().copied()) {
            if let Some(suspects) = self.by_address.get_mut(&address) {
                suspects.retain(|other| *other != suspect);
                if suspects.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
        Some(case)
    }

    /// The case of a suspect.
    pub fn get(&self, suspect: Suspect) -> Option<&Case> {
        self.by_suspect.get(&suspect)
    }

    /// The suspects with a case that use `address`.
    pub fn of(&self, address: Address) -> &[Suspect] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether a suspect has a case.
    pub fn contains(&self, suspect: Suspect) -> bool {
        self.by_suspect.contains_key(&suspect)
    }

    /// Notes that a suspect, if it has a case, still tried at `at`.
    pub fn touch(&mut self, suspect: Suspect, at: Timestamp) {
        if let Some(case) = self.by_suspect.get_mut(&suspect) {
            case.active = case.active.max(at);
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

    /// The case that ends next, and when.
    pub fn next_due(&self) -> Option<(Timestamp, Suspect)> {
        self.due.first().copied()
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Case> + Clone {
        self.by_suspect.values()
    }
}
