//! The hosts of one shard: everything remembered of a suspect, in a table of fixed capacity.
//!
//! A host is found by its [`Suspect`], or by an address that it uses. What is remembered of an address whose card was not
//! proved yet moves to the card when it is: see [`Hosts::adopt`].
//!
//! At capacity the least suspicious idle host of a sample gives way: never one that is acted on or near its threshold
//! while the sample holds another. A flood of forged sources so replaces forged sources.

use std::time::Duration;

use hashbrown::HashTable;

use crate::evidence::{Alarm, Attachment, Evidence, Reached, Score};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::buckets::Bucket;
use crate::track::contacts::Party;
use crate::track::hash_key::index_bytes;
use crate::track::ports::Ports;
use crate::track::waits::AtOnce;
use crate::track::windows::{Bins, Recent};
use crate::track::{Attempts, HashKey};
use crate::wire::{Address, Link, Mac};

/// How many any-port windows there may be.
pub const ANY_WINDOWS: usize = 4;
/// How many windows of lateral services over UDP there may be.
pub const UDP_WINDOWS: usize = 4;
/// How many windows of lateral services there may be.
pub const LATERAL_WINDOWS: usize = 8;

/// What is remembered of one host.
///
/// Laid out so that a packet of a host that is known touches the first two cache lines and no more, unless it opens a
/// first contact: a gateway sees many hosts, and their state lies in memory, not in a cache.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Host {
    /// The address it last used.
    pub address: Address,
    /// When its last packet of interest was seen.
    pub seen: Timestamp,
    /// When the shared table last recorded that it is alive.
    pub reported: Timestamp,
    /// When a frame with that attachment was last seen.
    pub attached_at: Timestamp,
    /// When that attachment was last looked into.
    pub verified_at: Timestamp,
    /// Where its frames come from.
    pub attachment: Attachment,
    /// The first role it has: index into the settings' roles plus one; 0 is none.
    pub role: u16,
    /// A decision is in force.
    pub acted: bool,
    /// Something changed that the shared host table should show.
    pub dirty: bool,
    /// When the last alarm above watch was raised.
    pub alarmed: Option<Timestamp>,
    /// When the responder last heard that an acted host still scans.
    pub active_reported: Timestamp,
    /// The generation of the settings that `role` was looked up in.
    pub generation: u32,
    /// The score as of `score_at`, before decay since.
    pub score: Score,
    /// When the score was last changed.
    pub score_at: Timestamp,
    /// Distinct destinations of first contact so far.
    pub destinations: u32,
    /// How often it was released: in each epoch, contacts that nobody answered are new.
    pub epoch: u8,
    /// It opened first contacts on the port it was exposed on, while it was.
    pub chained: bool,
    /// It negotiated SMB1 as a client or a server.
    pub smb1: bool,
    /// Where the next of `reached` goes.
    pub reached_next: u8,
    /// A watch was given and not yet outlived.
    pub watched: Option<Timestamp>,
    /// When the last exploit was reported.
    pub exploited: Option<Timestamp>,
    /// Since when its attempts are failed at once, for having too many pending.
    pub overrun: Option<Timestamp>,
    /// The fuse's mirror, behind a forwarder.
    pub bucket: Bucket,
    /// Who it is.
    pub suspect: Suspect,
    /// As whom the contact memory knows it: stays when an address becomes its card's.
    pub identity: u64,
    /// A server's answer to it, which its next segment may acknowledge: from whom, on which port, which number. A segment
    /// that does proves that the host is there.
    pub offered: Option<(Address, u16, u32)>,
    /// The ports that its first contacts were on, besides the lateral services.
    pub ports: Ports,
    /// A sketch of the source addresses inside its tunnels.
    pub tunnelled: u64,
    /// Its addresses besides `address`; empty for almost everybody.
    pub others: Vec<Address>,
    /// Who exposed it on which port, and when (infection chains).
    pub exposed: Option<(Address, u16, Timestamp)>,
    /// Attempts that wait for an answer.
    pub attempts: Attempts,
    /// First contacts that the greylist has dropped once, and that nobody has answered since.
    pub waiting: AtOnce,
    /// When the fuse last dropped a first contact of its, or its second askings were held back.
    pub held_back: Timestamp,
    /// First contacts on lateral services.
    pub lateral: Recent,
    /// First contacts on any port, one per configured window.
    pub any: [Bins; ANY_WINDOWS],
    /// Those of them inside the protected networks.
    pub any_inside: [Bins; ANY_WINDOWS],
    /// First contacts on lateral services by UDP, one per configured window.
    pub datagrams: [Bins; UDP_WINDOWS],
    /// Addresses that it asked the link for, and that were not known to be alive.
    pub asked: Bins,
    /// Since when an alarm waits for a proof that it is there: its link was asked for it, and nobody answered.
    pub unconfirmed: Option<Timestamp>,
    /// A handshake in its name was taken for proof that its card forwards.
    pub vouched: bool,
    /// Another card answers for the last address that it was seen with.
    pub nameless: bool,
    /// When another card last answered for an address of its.
    pub lost_at: Timestamp,
    /// When it was last watched for finding out who is alive.
    pub swept: Option<Timestamp>,
    /// The latest evidence, oldest first; empty until there is some.
    pub evidence: Vec<Evidence>,
    /// The latest answered first contacts on lateral services.
    pub reached: [Option<Reached>; Host::REACHED],
}

impl Host {
    /// How many reached destinations are remembered for infection chains.
    pub const REACHED: usize = 16;

    /// How many addresses are remembered of a card; with more, the oldest is forgotten.
    pub const ADDRESSES: usize = 64;

    fn new(suspect: Suspect, address: Address, identity: u64, now: Timestamp) -> Self {
        Host {
            address,
            suspect,
            identity,
            offered: None,
            ports: Ports::default(),
            tunnelled: 0,
            others: Vec::new(),
            seen: now,
            reported: Timestamp::ZERO,
            score: Score(0),
            score_at: now,
            destinations: 0,
            attachment: Attachment::default(),
            attached_at: Timestamp::ZERO,
            verified_at: Timestamp::ZERO,
            role: 0,
            generation: 0,
            acted: false,
            epoch: 0,
            watched: None,
            alarmed: None,
            exploited: None,
            active_reported: Timestamp::ZERO,
            overrun: None,
            exposed: None,
            chained: false,
            bucket: Bucket::default(),
            dirty: false,
            smb1: false,
            attempts: Attempts::default(),
            waiting: AtOnce::default(),
            held_back: Timestamp::ZERO,
            lateral: Recent::default(),
            any: [Bins::default(); ANY_WINDOWS],
            any_inside: [Bins::default(); ANY_WINDOWS],
            datagrams: [Bins::default(); UDP_WINDOWS],
            asked: Bins::default(),
            unconfirmed: None,
            vouched: false,
            nameless: false,
            lost_at: Timestamp::ZERO,
            swept: None,
            reached: [None; Host::REACHED],
            reached_next: 0,
            evidence: Vec::new(),
        }
    }

    /// The score now: what decay has left of it. Decay sets in when a tenth of its time has passed without evidence, so
    /// that three dark addresses half a minute apart are three.
    #[must_use]
    pub fn score_now(&self, now: Timestamp, decay: Duration) -> Score {
        self.score.decayed(now.since(self.score_at).saturating_sub(decay / 10), decay)
    }

    /// As whom it is remembered in the contact memory.
    #[must_use]
    pub fn party(&self) -> Party {
        Party { identity: self.identity, epoch: self.epoch }
    }

    /// Its addresses, the one it last used first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        std::iter::once(self.address).chain(self.others.iter().copied())
    }

    /// Nobody: a slot that a host has left.
    const fn is_vacant(&self) -> bool {
        self.identity == 0
    }

    /// Whether it is a card, with all that it calls itself.
    #[must_use]
    pub const fn is_card(&self) -> bool {
        matches!(self.suspect.who, Who::Card(_))
    }

    /// Adds evidence: S ← max(0, S + w), after decay. Only evidence that speaks against the host is kept by name.
    pub fn add(&mut self, evidence: Evidence, decay: Duration) -> Score {
        let now = evidence.at.max(self.score_at);
        self.score = Score((self.score_now(now, decay).0.saturating_add(evidence.weight.0)).max(0));
        self.score_at = now;
        self.dirty = true;
        if evidence.weight.0 >= 0 {
            self.keep(evidence);
        }
        self.score
    }

    /// Takes back the latest evidence of a failure on `peer`, because an answer came after all.
    pub fn retract(&mut self, peer: Address, since: Timestamp, which: impl Fn(&Evidence) -> bool) -> bool {
        let Some(at) =
            self.evidence.iter().rposition(|evidence| evidence.peer == peer && evidence.at >= since && which(evidence))
        else {
            return false;
        };
        let evidence = self.evidence.remove(at);
        self.score = Score((self.score.0 - evidence.weight.0).max(0));
        self.dirty = true;
        true
    }

    /// Remembers an answered lateral contact.
    pub fn remember(&mut self, reached: Reached) {
        if let Some(slot) = self.reached.get_mut(usize::from(self.reached_next)) {
            *slot = Some(reached);
        }
        self.reached_next = (self.reached_next + 1) % 16;
    }

    /// A clean slate after a release, and a new epoch: whoever never answered it is new again.
    pub fn reset(&mut self, now: Timestamp) {
        // At the last epoch it stays: what it met then is known from there on.
        self.epoch = self.epoch.saturating_add(1);
        self.score = Score(0);
        self.score_at = now;
        self.acted = false;
        self.watched = None;
        self.alarmed = None;
        self.exploited = None;
        self.unconfirmed = None;
        self.overrun = None;
        self.exposed = None;
        self.chained = false;
        self.offered = None;
        self.attempts.clear();
        self.waiting = AtOnce::default();
        self.lateral.clear();
        self.any = [Bins::default(); ANY_WINDOWS];
        self.ports = Ports::default();
        self.any_inside = [Bins::default(); ANY_WINDOWS];
        self.datagrams = [Bins::default(); UDP_WINDOWS];
        self.asked = Bins::default();
        self.swept = None;
        self.evidence.clear();
        self.dirty = true;
    }

    /// Takes over what another host gathered, which has turned out to be this one.
    fn absorb(&mut self, other: &mut Host, now: Timestamp, decay: Duration) {
        self.score = Score(self.score_now(now, decay).0.saturating_add(other.score_now(now, decay).0));
        self.score_at = now;
        self.destinations = self.destinations.saturating_add(other.destinations);
        self.seen = self.seen.max(other.seen);
        self.lateral.merge(&other.lateral);
        for (mine, theirs) in self.any.iter_mut().zip(&other.any) {
            mine.merge(theirs);
        }
        self.ports.merge(&other.ports);
        while let Some(attempt) = other.attempts.pop() {
            // What finds no room would have been judged early; it is left out.
            self.attempts.push(attempt);
        }
        for evidence in other.evidence.drain(..) {
            self.keep(evidence);
        }
        self.evidence.sort_by_key(|evidence| evidence.at);
        for reached in other.reached.iter().flatten() {
            self.remember(*reached);
        }
        self.acted |= other.acted;
        self.alarmed = self.alarmed.max(other.alarmed);
        self.watched = self.watched.max(other.watched);
        self.exploited = self.exploited.max(other.exploited);
        self.swept = self.swept.max(other.swept);
        self.exposed = self.exposed.or(other.exposed);
        self.chained |= other.chained;
        self.smb1 |= other.smb1;
        self.unconfirmed = self.unconfirmed.max(other.unconfirmed);
        self.vouched |= other.vouched;
        self.lost_at = self.lost_at.max(other.lost_at);
        self.overrun = self.overrun.max(other.overrun);
        self.dirty = true;
    }

    fn keep(&mut self, evidence: Evidence) {
        if self.evidence.capacity() == 0 {
            // Once for each host that has evidence at all; the host keeps it until it is evicted.
            self.evidence.reserve_exact(Alarm::EVIDENCE);
        }
        if self.evidence.len() >= Alarm::EVIDENCE {
            self.evidence.remove(0);
        }
        self.evidence.push(evidence);
    }

    /// How much is lost by forgetting it: acted on, then score, then how lately it was seen.
    fn worth(&self) -> (bool, i32, Timestamp) {
        (self.acted || self.alarmed.is_some(), self.score.0, self.seen)
    }
}

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
mod tests {
    use super::*;
    use crate::evidence::{Detail, Signal};

    fn address(n: u32) -> Address {
        Address::v4((0x0a00_0000 + n).to_be_bytes())
    }

    fn evidence(at: Timestamp, weight: i32) -> Evidence {
        Evidence {
            signal: Signal::FailureFirstContact,
            at,
            peer: address(9),
            port: 445,
            weight: Score(weight),
            detail: Detail::Refused,
        }
    }

    const LINK: Link = Link::untagged(3);

    fn known(hosts: &mut Hosts, n: u32, now: Timestamp) -> &mut Host {
        let host = hosts.get_or_insert(Suspect::address(LINK, address(n)), address(n), now).unwrap();
        host.attachment.mac = CARD;
        host
    }

    const DECAY: Duration = Duration::from_secs(600);

    #[test]
    fn the_score_decays_by_a_nat_in_ten_minutes_and_never_below_zero() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let host = known(&mut hosts, 1, start);
        assert_eq!(host.add(evidence(start, 3300), DECAY), Score(3300));
        assert_eq!(host.score_now(start + DECAY / 10, DECAY), Score(3300));
        let later = start + DECAY / 10 + DECAY;
        assert_eq!(host.score_now(later, DECAY), Score(2300));
        assert_eq!(host.add(evidence(later, 1100), DECAY), Score(3400));
        assert_eq!(host.add(evidence(later, -5000), DECAY), Score(0));
        assert_eq!(host.add(evidence(later, 1100), DECAY), Score(1100), "an honest past buys no credit");
        assert_eq!(host.score_now(start + Duration::from_secs(u64::MAX / 2_000_000_000), DECAY), Score(0));
    }

    #[test]
    fn a_late_answer_takes_the_failure_back() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let host = known(&mut hosts, 1, start);
        host.add(evidence(start, 3300), DECAY);
        assert!(!host.retract(address(8), start, |_| true));
        assert!(host.retract(address(9), start, |_| true));
        assert_eq!(host.score, Score(0));
        assert!(!host.retract(address(9), start, |_| true));
    }

    #[test]
    fn a_flood_evicts_no_suspect() {
        let mut hosts = Hosts::new(1024, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        for n in 0..20 {
            let host = known(&mut hosts, n, start);
            host.add(evidence(start, 2200), DECAY);
        }
        known(&mut hosts, 20, start).acted = true;
        for n in 1000..1_001_000u32 {
            known(&mut hosts, n, start + Duration::from_micros(u64::from(n)));
        }
        assert!((0..=20).all(|n| hosts.get(address(n)).is_some()));
        assert_eq!(hosts.occupancy(), (1024, 1024));
        assert_eq!(hosts.evicted(), 1_000_021 - 1024);
    }

    const CARD: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn what_an_address_gathered_moves_to_its_card() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        for n in 1..=3 {
            let host = known(&mut hosts, n, start);
            host.add(evidence(start, 1100), DECAY);
            host.lateral.push(start + Duration::from_millis(u64::from(n)));
            hosts.adopt(LINK, CARD, address(n), start, DECAY);
        }
        let card = hosts.suspect(Suspect::card(LINK, CARD)).unwrap();
        assert_eq!((card.score, card.evidence.len()), (Score(3300), 3));
        assert_eq!(card.lateral.within(Duration::from_secs(10), start + Duration::from_secs(1)), 3);
        let mut names: Vec<_> = card.addresses().collect();
        names.sort_unstable();
        assert_eq!(names, [1, 2, 3].map(address));
        assert!((1..=3).all(|n| hosts.suspect(Suspect::address(LINK, address(n))).is_none()));
        assert!((1..=3).all(|n| hosts.get(address(n)).is_some_and(Host::is_card)));
        assert_eq!(hosts.occupancy().0, 1);
    }

    #[test]
    fn what_is_known_of_an_address_without_a_place_becomes_its_cards() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let card = Suspect::card(LINK, CARD);
        hosts.get_or_insert(card, address(1), start).unwrap().add(evidence(start, 1100), DECAY);
        let nowhere = Suspect::address(Link::default(), address(2));
        hosts.get_or_insert(nowhere, address(2), start).unwrap().add(evidence(start, 2200), DECAY);
        hosts.place(card, address(2), start, DECAY);
        hosts.get_or_insert(card, address(2), start).unwrap();
        assert_eq!(hosts.suspect(card).unwrap().score, Score(3300));
        assert!(hosts.suspect(nowhere).is_none());
        assert_eq!(hosts.occupancy().0, 1);
    }

    #[test]
    fn what_another_card_sent_in_its_name_does_not() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let forged = known(&mut hosts, 1, start);
        forged.attachment.mac = Mac([2, 0, 0, 0, 0, 66]);
        forged.add(evidence(start, 9000), DECAY);
        assert_eq!(hosts.adopt(LINK, CARD, address(1), start, DECAY), Adopted::Nothing);
        assert!(hosts.get(address(1)).is_none());
        let host = hosts.get_or_insert(Suspect::card(LINK, CARD), address(1), start).unwrap();
        assert_eq!(host.score, Score(0));
    }

    #[test]
    fn the_same_address_on_two_links_is_two_hosts() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let links = [LINK, Link { outer: 20, ..LINK }];
        for link in links {
            let host = hosts.get_or_insert(Suspect::address(link, address(1)), address(1), start).unwrap();
            host.add(evidence(start, 1100), DECAY);
        }
        assert!(
            links
                .iter()
                .all(|link| hosts.slot(hosts.sender(address(1), *link, CARD).unwrap()).unwrap().score == Score(1100))
        );
        assert_eq!(hosts.occupancy().0, 2);
    }

    #[test]
    fn an_address_that_another_card_proves_is_lost_and_a_card_keeps_its_last_name() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        for n in 1..=2 {
            known(&mut hosts, n, start);
            hosts.adopt(LINK, CARD, address(n), start, DECAY);
        }
        let other = Mac([2, 0, 0, 0, 0, 9]);
        let mut lost = |card, number| {
            let mut suspects = Vec::new();
            hosts.lose(LINK, card, address(number), Timestamp::from_secs(2_000), |host| suspects.push(host.suspect));
            suspects
        };
        assert_eq!(lost(CARD, 1), [], "its own");
        assert_eq!(lost(other, 1), [Suspect::card(LINK, CARD)]);
        assert_eq!(lost(other, 2), [Suspect::card(LINK, CARD)], "a block leaves the last one too");
        assert_eq!(lost(other, 2), [], "once");
        assert!(hosts.get(address(1)).is_none());
        assert_eq!(hosts.get(address(2)).unwrap().suspect, Suspect::card(LINK, CARD), "it is called by it on");
        hosts.adopt(LINK, CARD, address(3), Timestamp::from_secs(2_001), Duration::from_secs(600));
        assert!(hosts.get(address(2)).is_none(), "until it has another");
        assert_eq!(hosts.suspect(Suspect::card(LINK, CARD)).unwrap().addresses().collect::<Vec<_>>(), [address(3)]);
    }

    #[test]
    fn a_card_with_more_names_than_are_kept_forgets_the_oldest() {
        let mut hosts = Hosts::new(64, HashKey::new(1));
        let start = Timestamp::from_secs(1_000);
        let card = Suspect::card(LINK, CARD);
        for n in 0..200 {
            hosts.get_or_insert(card, address(n), start).unwrap();
        }
        assert_eq!(hosts.suspect(card).unwrap().addresses().count(), Host::ADDRESSES);
        assert!(hosts.get(address(0)).is_none() && hosts.get(address(199)).is_some());
        assert_eq!(hosts.names.len(), Host::ADDRESSES);
    }
}
