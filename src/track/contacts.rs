//! Which (source, destination) pairs have met: the contact memory.
//!
//! A four-way set-associative table of 64-bit fingerprints, one cache line a set. With a million pairs held, a new pair
//! is mistaken for a known one about once in 10¹³ look-ups. A full set forgets what has expired first, then the oldest
//! contact nobody answered, then the oldest: a flood of forged pairs pushes out forged pairs.

use std::time::Duration;

use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::HashKey;
use crate::wire::Address;

/// What kind of contact it is; each is remembered by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// On a lateral service.
    Lateral,
    /// On any other port.
    Other,
    /// ARP request or neighbour solicitation.
    Arp,
    /// ICMP echo request.
    Echo,
    /// A completed handshake with a decoy.
    Decoy,
    /// One made the other run something.
    Execution,
    /// A datagram to a lateral service.
    LateralUdp,
    /// A datagram to any other port.
    OtherUdp,
    /// A packet that opened nothing, and showed who is there.
    Probe,
    /// A fragment that hides its transport header.
    Fragment,
    /// The far end of a tunnel.
    Tunnel,
}

impl Class {
    /// Those that open something, or ask for it.
    pub const CONTACTS: [Class; 4] = [Class::Lateral, Class::Other, Class::LateralUdp, Class::OtherUdp];
}

/// Who makes contact: a host, in one of its epochs. A released host begins a new epoch with an empty memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The host, by [`HashKey::suspect`].
    pub identity: u64,
    /// Which epoch it is in.
    pub epoch: u8,
}

/// What the memory knew of a pair before this look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: this is the first contact.
    First,
    /// They have met within the contact memory.
    Before,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    fingerprint: u64,
    at: u32,
    answered: bool,
}

const WAYS: usize = 4;

/// The contact memory of one shard.
pub struct Contacts {
    sets: Vec<[Slot; WAYS]>,
    memory: u32,
    hash_key: HashKey,
    used: usize,
    evicted: u64,
}

impl Contacts {
    /// For about `capacity` pairs (rounded up to a power of two), each remembered for `memory`.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, hash_key: HashKey) -> Self {
        let sets = Self::sets(capacity);
        let memory = u32::try_from(memory.as_secs()).unwrap_or(u32::MAX);
        Contacts { sets: vec![[Slot::default(); WAYS]; sets], memory, hash_key, used: 0, evicted: 0 }
    }

    /// The memory that a table for `capacity` pairs takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        Self::sets(capacity) * size_of::<[Slot; WAYS]>()
    }

    const fn sets(capacity: usize) -> usize {
        let sets = capacity / WAYS;
        (if sets == 0 { 1 } else { sets }).next_power_of_two()
    }

    /// As whom a suspect is remembered, see [`Party`].
    #[must_use]
    pub const fn identity(&self, suspect: Suspect) -> u64 {
        self.hash_key.suspect(suspect)
    }

    fn locate(&self, from: Party, to: Address, class: Class) -> (usize, u64) {
        let hash = self.hash_key.meeting(from.identity, to, class as u64 | u64::from(from.epoch) << 8) | 1;
        let set = (hash >> 32) as usize & (self.sets.len() - 1);
        (set, hash)
    }

    /// Notes that `from` tries `to` now, and says whether that is new.
    pub fn meet(&mut self, from: Party, to: Address, class: Class, now: Timestamp) -> Seen {
        let (set, fingerprint) = self.locate(from, to, class);
        let now = Self::seconds(now);
        let memory = self.memory;
        let Some(slots) = self.sets.get_mut(set) else { return Seen::First };
        if let Some(slot) = slots.iter_mut().find(|slot| slot.fingerprint == fingerprint) {
            let seen = if now.saturating_sub(slot.at) > memory { Seen::First } else { Seen::Before };
            if seen == Seen::First {
                slot.answered = false;
            }
            slot.at = now;
            return seen;
        }
        // The victim: empty, else expired, else the oldest unanswered, else the oldest.
        let rank = |slot: &Slot| match slot.fingerprint {
            0 => (0, 0),
            _ if now.saturating_sub(slot.at) > memory => (1, slot.at),
            _ if !slot.answered => (2, slot.at),
            _ => (3, slot.at),
        };
        if let Some(victim) = slots.iter_mut().min_by_key(|slot| rank(slot)) {
            match rank(victim).0 {
                0 => self.used += 1,
                1 => {}
                _ => self.evicted += 1,
            }
            *victim = Slot { fingerprint, at: now, answered: false };
        }
        Seen::First
    }

    fn find(&self, from: Party, to: Address, class: Class) -> Option<&Slot> {
        let (set, fingerprint) = self.locate(from, to, class);
        self.sets.get(set)?.iter().find(|slot| slot.fingerprint == fingerprint)
    }

    fn find_mut(&mut self, from: Party, to: Address, class: Class) -> Option<&mut Slot> {
        let (set, fingerprint) = self.locate(from, to, class);
        self.sets.get_mut(set)?.iter_mut().find(|slot| slot.fingerprint == fingerprint)
    }

    /// Whether the pair has met, without noting anything.
    #[must_use]
    pub fn knows(&self, from: Party, to: Address, class: Class, now: Timestamp) -> bool {
        let now = Self::seconds(now);
        self.find(from, to, class).is_some_and(|slot| now.saturating_sub(slot.at) <= self.memory)
    }

    /// Whether the pair's attempt was answered within the memory.
    #[must_use]
    pub fn was_answered(&self, from: Party, to: Address, class: Class, now: Timestamp) -> bool {
        let now = Self::seconds(now);
        let slot = self.find(from, to, class);
        slot.is_some_and(|slot| slot.answered && now.saturating_sub(slot.at) <= self.memory)
    }

    /// Notes that the pair's attempt was answered; such pairs are the last to be forgotten.
    pub fn answered(&mut self, from: Party, to: Address, class: Class) {
        if let Some(slot) = self.find_mut(from, to, class) {
            slot.answered = true;
        }
    }

    /// Notes a request, and says whether it repeats one within `patience`, because no answer came; once a pair. Times are
    /// kept in whole seconds: a copy of the same request in the same second is not taken for a second one.
    pub fn asks_again(&mut self, from: Party, to: Address, class: Class, patience: u32, now: Timestamp) -> bool {
        let last = self.find(from, to, class).filter(|slot| !slot.answered).map(|slot| slot.at);
        let again = last.is_some_and(|last| (1..=patience).contains(&Self::seconds(now).saturating_sub(last)));
        if self.meet(from, to, class, now) == Seen::Before && again {
            self.answered(from, to, class);
        }
        again
    }

    /// Forgets a pair, so that its next attempt is a first contact again.
    pub fn forget(&mut self, from: Party, to: Address, class: Class) {
        if let Some(slot) = self.find_mut(from, to, class) {
            *slot = Slot::default();
            self.used = self.used.saturating_sub(1);
        }
    }

    fn seconds(at: Timestamp) -> u32 {
        u32::try_from(at.secs()).unwrap_or(u32::MAX)
    }

    /// Slots in use, expired ones included, and slots there are.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.used, self.sets.len() * WAYS)
    }

    /// Pairs forgotten before their time for want of room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Party = Party { identity: 1, epoch: 0 };
    const HOST_ADDRESS: Address = Address::v4([10, 0, 0, 1]);

    fn party(n: u32) -> Party {
        Party { identity: u64::from(n) << 20, epoch: 0 }
    }

    fn peer(n: u32) -> Address {
        Address::v4((0x0a01_0000 + n).to_be_bytes())
    }

    #[test]
    fn a_pair_is_new_once_for_each_class_until_it_expires() {
        let mut contacts = Contacts::new(64, Duration::from_secs(100), HashKey::new(1));
        let at = Timestamp::from_secs;
        assert_eq!(contacts.meet(HOST, peer(1), Class::Lateral, at(10)), Seen::First);
        assert_eq!(contacts.meet(HOST, peer(1), Class::Lateral, at(20)), Seen::Before);
        assert_eq!(contacts.meet(HOST, peer(1), Class::Other, at(20)), Seen::First);
        assert_eq!(contacts.meet(party(1), HOST_ADDRESS, Class::Lateral, at(20)), Seen::First);
        assert_eq!(contacts.meet(HOST, peer(1), Class::Lateral, at(121)), Seen::First);
        assert_eq!(contacts.meet(HOST, peer(1), Class::Lateral, at(122)), Seen::Before);
    }

    #[test]
    fn in_a_new_epoch_all_are_new() {
        let mut contacts = Contacts::new(64, Duration::from_secs(100), HashKey::new(1));
        let now = Timestamp::from_secs(10);
        contacts.meet(HOST, peer(1), Class::Lateral, now);
        contacts.answered(HOST, peer(1), Class::Lateral);
        let next = Party { epoch: 1, ..HOST };
        assert!(contacts.was_answered(HOST, peer(1), Class::Lateral, now));
        assert!(!contacts.was_answered(next, peer(1), Class::Lateral, now));
        assert_eq!(contacts.meet(next, peer(1), Class::Lateral, now), Seen::First);
    }

    #[test]
    fn a_request_repeated_soon_was_not_answered() {
        let mut contacts = Contacts::new(64, Duration::from_secs(86_400), HashKey::new(1));
        let mut asks = |to, millis: u64| {
            contacts.asks_again(
                HOST,
                peer(to),
                Class::Arp,
                5,
                Timestamp::from_nanos(1_000_000_000_000 + millis * 1_000_000),
            )
        };
        assert!(!asks(1, 0), "the first");
        assert!(!asks(1, 400), "a copy");
        assert!(asks(1, 1400));
        assert!(!asks(1, 2400), "once is enough");
        assert!(!asks(2, 0));
        assert!(!asks(2, 60_000), "a cache that ran out");
    }

    #[test]
    fn a_flood_of_unanswered_pairs_leaves_answered_ones() {
        let mut contacts = Contacts::new(1024, Duration::from_secs(86_400), HashKey::new(1));
        for n in 0..50 {
            contacts.meet(HOST, peer(n), Class::Lateral, Timestamp::from_secs(1));
            contacts.answered(HOST, peer(n), Class::Lateral);
        }
        for n in 0..100_000 {
            contacts.meet(party(n), HOST_ADDRESS, Class::Lateral, Timestamp::from_secs(2 + u64::from(n) / 1000));
        }
        let known = (0..50)
            .filter(|&n| contacts.meet(HOST, peer(n), Class::Lateral, Timestamp::from_secs(200)) == Seen::Before)
            .count();
        assert_eq!(known, 50);
        assert!(contacts.evicted() > 90_000);
        assert_eq!(contacts.occupancy(), (1024, 1024));
    }
}
