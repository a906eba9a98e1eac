//! The hosts of one shard, in a table of fixed capacity.
//!
//! A host is found by its [`Suspect`], or by an address that it uses. What is remembered of an address whose card was not
//! proved yet moves to the card when it is: see [`Hosts::adopt`].
//!
//! At capacity the least suspicious idle host of a sample gives way: never one that is acted on or near its threshold
//! while the sample holds another. A flood of forged sources so replaces forged sources.

use std::time::Duration;

use hashbrown::HashTable;

use crate::evidence::{Alarm, Evidence};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::hash_key::index_bytes;
use crate::track::{HashKey, Host};
use crate::wire::{Address, Link, Mac};

/// How many hosts are looked at to find the one that gives way.
const SAMPLE: usize = 16;

/// An address that a host uses.
#[derive(Clone, Copy)]
struct Name {
    address: Address,
    slot: u32,
}

/// The host table of one shard.
pub struct Hosts {
    /// Slots by suspect.
    index: HashTable<u32>,
    /// Slots by address: several where several links, or several cards, have the same address.
    names: HashTable<Name>,
    slots: Vec<Host>,
    /// Slots that a host has left.
    free: Vec<u32>,
    capacity: usize,
    hash_key: HashKey,
    hand: usize,
    evicted: u64,
}

/// What became of an address whose card was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Nothing was known of either, or nothing is new.
    Nothing,
    /// The card has one more address.
    Named,
    /// What the address had gathered is the card's now; the suspect it was before.
    Moved(Suspect),
}

impl Hosts {
    /// For at most `capacity` hosts.
    #[must_use]
    pub fn new(capacity: usize, hash_key: HashKey) -> Self {
        let capacity = capacity.max(SAMPLE);
        Hosts {
            index: HashTable::with_capacity(capacity),
            names: HashTable::with_capacity(capacity + capacity / 4),
            // Reserved, not touched: memory is used as hosts appear, and never moves or grows past this.
            slots: Vec::with_capacity(capacity),
            free: Vec::new(),
            capacity,
            hash_key,
            hand: 0,
            evicted: 0,
        }
    }

    /// The most memory that a table for `capacity` hosts comes to hold, every host with all the evidence it may have, and
    /// a quarter as many further addresses as there are hosts.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        let host = size_of::<Host>() + Alarm::EVIDENCE * size_of::<Evidence>();
        capacity * host
            + index_bytes(capacity)
            + (capacity + capacity / 4).next_power_of_two() * 2 * (size_of::<Name>() + 1)
    }

    /// As whom the contact memory knows a suspect.
    #[must_use]
    pub const fn identity(&self, suspect: Suspect) -> u64 {
        self.hash_key.suspect(suspect)
    }

    /// The slot of a suspect, if it is known.
    #[must_use]
    pub fn slot_of(&self, suspect: Suspect) -> Option<usize> {
        self.position(suspect)
    }

    fn position(&self, suspect: Suspect) -> Option<usize> {
        let slots = &self.slots;
        self.index
            .find(self.hash_key.suspect(suspect), |&at| {
                slots.get(at as usize).is_some_and(|host| host.suspect == suspect)
            })
            .map(|&at| at as usize)
    }

    /// The slot of the host that sends from `address` on this link, by this card.
    #[inline]
    #[must_use]
    pub fn sender(&self, address: Address, link: Link, card: Mac) -> Option<usize> {
        let slots = &self.slots;
        self.names
            .find(self.hash_key.address(address), |name| {
                name.address == address
                    && slots.get(name.slot as usize).is_some_and(|host| {
                        host.suspect.link == link
                            && match host.suspect.who {
                                Who::Card(own) => own == card,
                                Who::Address(_) | Who::Network(_) => true,
                            }
                    })
            })
            .map(|name| name.slot as usize)
    }

    /// A host that uses `address`, on whichever link: the one seen last, if there are several.
    fn any_of(&self, address: Address) -> Option<usize> {
        let slots = &self.slots;
        self.names
            .iter_hash(self.hash_key.address(address))
            .filter(|name| name.address == address)
            .filter_map(|name| Some((slots.get(name.slot as usize)?.seen, name.slot as usize)))
            .max()
            .map(|(_, slot)| slot)
    }

    /// The host that uses `address`, if one is known; of several the one seen last.
    #[must_use]
    pub fn get(&self, address: Address) -> Option<&Host> {
        self.slots.get(self.any_of(address)?)
    }

    /// The host that uses `address`, if one is known; of several the one seen last.
    pub fn get_mut(&mut self, address: Address) -> Option<&mut Host> {
        let at = self.any_of(address)?;
        self.slots.get_mut(at)
    }

    /// Of the hosts that use `address`, the one that `is` holds for; else the one seen last.
    pub fn get_mut_where(&mut self, address: Address, is: impl Fn(&Host) -> bool) -> Option<&mut Host> {
        let slots = &self.slots;
        let chosen = self
            .names
            .iter_hash(self.hash_key.address(address))
            .filter(|name| name.address == address)
            .filter_map(|name| Some((slots.get(name.slot as usize)?, name.slot as usize)))
            .max_by_key(|(host, _)| (is(host), host.seen))
            .map(|(_, slot)| slot);
        self.slots.get_mut(chosen?)
    }

    /// The slots of the hosts that use `address`, at most four.
    #[must_use]
    pub fn slots_of(&self, address: Address) -> [Option<usize>; 4] {
        let mut found = [None; 4];
        let names = self.names.iter_hash(self.hash_key.address(address)).filter(|name| name.address == address);
        for (place, name) in found.iter_mut().zip(names) {
            *place = Some(name.slot as usize);
        }
        found
    }

    /// The host in a slot.
    pub fn slot_mut(&mut self, at: usize) -> Option<&mut Host> {
        self.slots.get_mut(at).filter(|host| !host.is_vacant())
    }

    /// A suspect, if it is known.
    #[must_use]
    pub fn suspect(&self, suspect: Suspect) -> Option<&Host> {
        self.slots.get(self.position(suspect)?)
    }

    /// A suspect, if it is known.
    pub fn suspect_mut(&mut self, suspect: Suspect) -> Option<&mut Host> {
        let at = self.position(suspect)?;
        self.slots.get_mut(at)
    }

    /// The host in a slot, which sends from `address` now.
    #[inline]
    pub fn sending(&mut self, at: usize, address: Address) -> Option<&mut Host> {
        self.name(at, address);
        self.slots.get_mut(at)
    }

    /// The suspect, using `address`, made known if it was not. What is known of the address without a place becomes its.
    pub fn get_or_insert(&mut self, suspect: Suspect, address: Address, now: Timestamp) -> Option<&mut Host> {
        let at = self.find_or_insert(suspect, address, now)?;
        self.slots.get_mut(at)
    }

    /// `suspect` is known, and `address` turns out to be one of its: what is known of the address without a place becomes
    /// its.
    pub fn place(&mut self, suspect: Suspect, address: Address, now: Timestamp, decay: Duration) {
        let (Some(to), Some(from)) =
            (self.position(suspect), self.position(Suspect::address(Link::default(), address)))
        else {
            return;
        };
        if from == to {
            return;
        }
        self.unlist(from);
        if let Some(mut placeless) = self.vacate(from, now)
            && let Some(host) = self.slots.get_mut(to)
        {
            host.absorb(&mut placeless, now, decay);
        }
    }

    /// The slot of [`Hosts::get_or_insert`].
    pub fn find_or_insert(&mut self, suspect: Suspect, address: Address, now: Timestamp) -> Option<usize> {
        if let Some(at) = self.position(suspect) {
            self.name(at, address);
            return Some(at);
        }
        let placeless = Suspect::address(Link::default(), address);
        if suspect != placeless
            && let Some(at) = self.position(placeless)
        {
            self.rename(at, suspect);
            if let Some(host) = self.slots.get_mut(at) {
                // The contact memory knows nobody by that name.
                host.identity = self.hash_key.suspect(suspect);
            }
            return Some(at);
        }
        let identity = self.hash_key.suspect(suspect);
        let fresh = Host::new(suspect, address, identity, now);
        let at = if let Some(at) = self.free.pop() {
            self.fill(at as usize, fresh);
            at as usize
        } else if self.slots.len() < self.capacity {
            self.slots.push(fresh);
            self.slots.len() - 1
        } else {
            let at = self.give_way()?;
            self.unlist(at);
            self.evicted += 1;
            self.fill(at, fresh);
            at
        };
        self.list(at);
        Some(at)
    }

    /// Puts a host into a slot. The evidence buffer stays with the slot: a flood must not allocate for each forged source.
    fn fill(&mut self, at: usize, host: Host) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let mut evidence = std::mem::take(&mut slot.evidence);
        evidence.clear();
        *slot = host;
        slot.evidence = evidence;
    }

    /// Enters a slot's host into the indexes.
    fn list(&mut self, at: usize) {
        let Some(host) = self.slots.get(at) else { return };
        let (suspect, address) = (host.suspect, host.address);
        let (hash_key, slots) = (self.hash_key, &self.slots);
        #[expect(clippy::cast_possible_truncation, reason = "capacities are checked to fit u32")]
        self.index.insert_unique(hash_key.suspect(suspect), at as u32, |&slot| {
            slots.get(slot as usize).map_or(0, |host| hash_key.suspect(host.suspect))
        });
        self.enter_name(at, address);
    }

    /// Takes a slot's host out of the indexes.
    fn unlist(&mut self, at: usize) {
        let Some(host) = self.slots.get_mut(at) else { return };
        let (suspect, address) = (host.suspect, host.address);
        let others = std::mem::take(&mut host.others);
        self.leave_index(at, suspect);
        for address in std::iter::once(address).chain(others) {
            self.leave_name(at, address);
        }
    }

    fn leave_index(&mut self, at: usize, suspect: Suspect) {
        if let Ok(entry) = self.index.find_entry(self.hash_key.suspect(suspect), |&slot| slot as usize == at) {
            entry.remove();
        }
    }

    fn enter_name(&mut self, at: usize, address: Address) {
        let hash_key = self.hash_key;
        #[expect(clippy::cast_possible_truncation, reason = "capacities are checked to fit u32")]
        let name = Name { address, slot: at as u32 };
        self.names.insert_unique(hash_key.address(address), name, |name| hash_key.address(name.address));
    }

    fn leave_name(&mut self, at: usize, address: Address) {
        let is = |name: &Name| name.slot as usize == at && name.address == address;
        if let Ok(entry) = self.names.find_entry(self.hash_key.address(address), is) {
            entry.remove();
        }
    }

    /// The host of a slot uses `address`: it becomes the address it last used.
    fn name(&mut self, at: usize, address: Address) -> bool {
        let Some(host) = self.slots.get_mut(at) else { return false };
        if host.address == address {
            return false;
        }
        if !host.is_card() {
            return false;
        }
        let known = host.others.iter().position(|other| *other == address);
        let before = std::mem::replace(&mut host.address, address);
        if std::mem::take(&mut host.nameless) {
            // It was only kept until this one: another card has it.
            self.leave_name(at, before);
            self.enter_name(at, address);
            return true;
        }
        let mut gone = None;
        if let Some(known) = known {
            // The one used before takes its place.
            if let Some(place) = host.others.get_mut(known) {
                *place = before;
            }
        } else {
            if host.others.len() + 1 >= Host::ADDRESSES {
                gone = Some(host.others.remove(0));
            }
            host.others.push(before);
        }
        if let Some(gone) = gone {
            self.leave_name(at, gone);
        }
        if known.is_none() {
            self.enter_name(at, address);
        }
        known.is_none()
    }

    /// Makes the host of a slot another suspect.
    fn rename(&mut self, at: usize, suspect: Suspect) {
        let Some(host) = self.slots.get(at) else { return };
        let before = host.suspect;
        self.leave_index(at, before);
        if let Some(host) = self.slots.get_mut(at) {
            host.suspect = suspect;
            host.dirty = true;
        }
        let (hash_key, slots) = (self.hash_key, &self.slots);
        #[expect(clippy::cast_possible_truncation, reason = "capacities are checked to fit u32")]
        self.index.insert_unique(hash_key.suspect(suspect), at as u32, |&slot| {
            slots.get(slot as usize).map_or(0, |host| hash_key.suspect(host.suspect))
        });
    }

    /// `card` has proved on `link` that `address` is its own: what is known of the address becomes the card's.
    pub fn adopt(&mut self, link: Link, card: Mac, address: Address, now: Timestamp, decay: Duration) -> Adopted {
        let own = Suspect::card(link, card);
        let of_address = Suspect::address(link, address);
        self.place(own, address, now, decay);
        match (self.position(of_address), self.position(own)) {
            (None, None) => Adopted::Nothing,
            (None, Some(at)) => {
                if self.name(at, address) {
                    Adopted::Named
                } else {
                    Adopted::Nothing
                }
            }
            (Some(at), None) if self.sent_by(at, card) => {
                self.rename(at, own);
                Adopted::Moved(of_address)
            }
            // Another card sent in this name: what that gathered is nobody's.
            (Some(forged), None) => {
                self.unlist(forged);
                self.vacate(forged, now);
                Adopted::Nothing
            }
            (Some(from), Some(to)) => {
                let its = self.sent_by(from, card);
                self.unlist(from);
                let Some(mut other) = self.vacate(from, now) else { return Adopted::Nothing };
                if let Some(host) = self.slots.get_mut(to).filter(|_| its) {
                    host.absorb(&mut other, now, decay);
                }
                let new = self.name(to, address);
                match (its, new) {
                    (true, _) => Adopted::Moved(of_address),
                    (false, true) => Adopted::Named,
                    (false, false) => Adopted::Nothing,
                }
            }
        }
    }

    fn sent_by(&self, at: usize, card: Mac) -> bool {
        self.slots.get(at).is_some_and(|host| host.attachment.mac == card)
    }

    /// Takes the host out of a slot that is in no index any more.
    fn vacate(&mut self, at: usize, now: Timestamp) -> Option<Host> {
        let nobody = Host::new(Suspect::default(), Address::default(), 0, now);
        let host = std::mem::replace(self.slots.get_mut(at)?, nobody);
        #[expect(clippy::cast_possible_truncation, reason = "capacities are checked to fit u32")]
        self.free.push(at as u32);
        Some(host)
    }

    /// `card` has proved on `link` that `address` is its own: the other cards on this link that had it have it no more.
    /// Reports each of them that had it until now.
    pub fn lose(&mut self, link: Link, card: Mac, address: Address, now: Timestamp, mut lost: impl FnMut(&mut Host)) {
        let slots = &self.slots;
        let another =
            |host: &Host| host.suspect.link == link && matches!(host.suspect.who, Who::Card(own) if own != card);
        // Nothing is allocated where there is none, which is nearly always.
        let others: Vec<usize> = self
            .names
            .iter_hash(self.hash_key.address(address))
            .filter(|name| name.address == address)
            .map(|name| name.slot as usize)
            .filter(|&slot| slots.get(slot).is_some_and(another))
            .collect();
        for at in others {
            let Some(host) = self.slots.get_mut(at) else { continue };
            // What it sends from this address is looked into again.
            host.verified_at = Timestamp::ZERO;
            let last = host.address == address && host.others.is_empty();
            if last && host.nameless {
                continue;
            }
            host.lost_at = now;
            if last {
                // Its last address stays its name, until it shows another; a block leaves the address all the same.
                host.nameless = true;
            } else if let Some(next) = host.others.pop_if(|_| host.address == address) {
                host.address = next;
            } else {
                host.others.retain(|other| *other != address);
            }
            lost(host);
            if !last {
                self.leave_name(at, address);
            }
        }
    }

    fn give_way(&mut self) -> Option<usize> {
        let held = self.slots.len();
        // Golden-section steps: suspects that came one after another lie side by side, and must not fill a sample.
        let stride = (held as u64 * 0x9e37 / 0x1_0000) | 1;
        let mut best = None;
        for _ in 0..SAMPLE {
            #[expect(clippy::cast_possible_truncation, reason = "a remainder of a length")]
            let at = ((self.hand as u64 + stride) % held as u64) as usize;
            self.hand = at;
            let worth = self.slots.get(at)?.worth();
            if best.is_none_or(|(least, _)| worth < least) {
                best = Some((worth, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// All hosts, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.slots.iter().filter(|host| !host.is_vacant())
    }

    /// The host in a slot; for walks over the table that are spread over time.
    #[must_use]
    pub fn slot(&self, at: usize) -> Option<&Host> {
        self.slots.get(at).filter(|host| !host.is_vacant())
    }

    /// Notes that the news of the host in a slot were shown.
    pub fn clean(&mut self, at: usize) {
        if let Some(host) = self.slots.get_mut(at) {
            host.dirty = false;
        }
    }

    /// Hosts held, and room for.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.slots.len() - self.free.len(), self.capacity)
    }

    /// Slots in use or used before: one more than the last that [`Hosts::slot`] may find somebody in.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Hosts forgotten for want of room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests;
