//! What is remembered of hosts beyond their blocks: their last rung of the ladder, and whom an engineer's release protects.
//! Both bounded by the settings' `remembered_hosts`; a copy is cheap.

use crate::respond::Settings;
use crate::respond::snapshot_map::SnapshotMap;
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::{Address, Link};

#[derive(Clone, Copy, Debug)]
struct Step {
    step: u8,
    at: Timestamp,
}

/// An engineer's release protects a suspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pardon {
    /// Until when.
    pub until: Timestamp,
    /// The address that the suspect was called by.
    pub host: Address,
    /// Under which keys the history has it, see [`crate::suspect::key`]: several once an address is known as its card's.
    pub keys: Vec<String>,
}

/// What is remembered of all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct LadderHistory {
    steps: SnapshotMap<Suspect, Step>,
    pardons: SnapshotMap<Suspect, Pardon>,
    /// Who is pardoned under an address.
    pardoned_as: SnapshotMap<Address, Vec<Suspect>>,
}

impl LadderHistory {
    /// The rung that a decision about a suspect would stand on.
    pub fn next_step(&self, suspect: Suspect, now: Timestamp, settings: &Settings) -> u8 {
        match self.steps.get(&suspect) {
            Some(last) if now.since(last.at) <= settings.repeat_within => last.step.saturating_add(1),
            _ => 1,
        }
    }

    /// Notes the rung that a decision stands on. At capacity those too old to count give way, else the oldest.
    pub fn note_step(&mut self, suspect: Suspect, step: u8, now: Timestamp, settings: &Settings) {
        if self.steps.len() >= settings.remembered_hosts && !self.steps.contains_key(&suspect) {
            let within = settings.repeat_within;
            self.steps.retain(|_, step| now.since(step.at) <= within);
            if self.steps.len() >= settings.remembered_hosts
                && let Some(oldest) = self.steps.iter().min_by_key(|(_, step)| step.at).map(|(&suspect, _)| suspect)
            {
                self.steps.remove(&oldest);
            }
        }
        self.steps.insert(suspect, Step { step, at: now });
    }

    /// Until when an engineer's release protects a suspect; the time may be past.
    pub fn pardon(&self, suspect: Suspect) -> Option<Timestamp> {
        self.pardons.get(&suspect).map(|pardon| pardon.until)
    }

    /// Begins the pardon of a suspect that is called `host` and that the history has under `key`; says until when it lasts,
    /// if there is one.
    pub fn forgive(
        &mut self,
        suspect: Suspect,
        host: Address,
        key: String,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Timestamp> {
        let until = now + settings.pardon;
        (until > now && self.pardon_until(suspect, Pardon { until, host, keys: vec![key] }, settings)).then_some(until)
    }

    /// Pardons a suspect, if there is room; says whether there was.
    pub fn pardon_until(&mut self, suspect: Suspect, mut pardon: Pardon, settings: &Settings) -> bool {
        let room = self.pardons.len() < settings.remembered_hosts || self.pardons.contains_key(&suspect);
        if room {
            if let Some(before) = self.unpardon(suspect) {
                pardon
                    .keys
                    .extend(before.keys.into_iter().filter(|key| !pardon.keys.contains(key)).collect::<Vec<_>>());
            }
            self.put(suspect, pardon);
        }
        room
    }

    /// What is remembered of an address by itself is its card's.
    pub fn identified(&mut self, from: Suspect, to: Suspect) {
        if let Some(step) = self.steps.remove(&from)
            && self.steps.get(&to).is_none_or(|known| step.step > known.step)
        {
            self.steps.insert(to, step);
        }
        if let Some(mut pardon) = self.unpardon(from) {
            if let Some(known) = self.unpardon(to) {
                pardon.until = pardon.until.max(known.until);
                pardon.keys.extend(known.keys);
            }
            self.put(to, pardon);
        }
    }

    fn put(&mut self, suspect: Suspect, pardon: Pardon) {
        match self.pardoned_as.get_mut(&pardon.host) {
            Some(suspects) => suspects.push(suspect),
            None => drop(self.pardoned_as.insert(pardon.host, vec![suspect])),
        }
        self.pardons.insert(suspect, pardon);
    }

    /// The suspects that are pardoned under an address.
    pub fn pardoned_as(&self, address: Address) -> &[Suspect] {
        self.pardoned_as.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Ends a suspect's pardon; gives it.
    pub fn unpardon(&mut self, suspect: Suspect) -> Option<Pardon> {
        let pardon = self.pardons.remove(&suspect)?;
        if let Some(suspects) = self.pardoned_as.get_mut(&pardon.host) {
            suspects.retain(|other| *other != suspect);
            if suspects.is_empty() {
                self.pardoned_as.remove(&pardon.host);
            }
        }
        Some(pardon)
    }

    /// An engineer orders a suspect with these addresses to be acted on: that ends its pardon, and that of whoever was
    /// released under one of the addresses on its link. A host may have been a card then and be no more than an address now,
    /// after a restart, or the other way round. Gives the history's keys of what ended.
    pub fn overrule(&mut self, suspect: Suspect, addresses: &[Address]) -> Vec<String> {
        let unknown = Link::default();
        let same = |other: &Suspect| other.link == suspect.link || other.link == unknown || suspect.link == unknown;
        let of = |address: &Address| self.pardoned_as(*address);
        let mut over: Vec<Suspect> = addresses.iter().flat_map(of).copied().filter(same).collect();
        over.push(suspect);
        over.into_iter().filter_map(|suspect| self.unpardon(suspect)).flat_map(|pardon| pardon.keys).collect()
    }

    /// Forgets the pardons that are over, once there are more than a few.
    pub fn forget_pardons(&mut self, now: Timestamp) {
        if self.pardons.len() > 64 {
            let over = self.pardons.iter().filter(|(_, pardon)| pardon.until <= now);
            let over: Vec<Suspect> = over.map(|(suspect, _)| *suspect).collect();
            for suspect in over {
                self.unpardon(suspect);
            }
        }
    }
}
