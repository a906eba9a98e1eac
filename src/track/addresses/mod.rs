//! What all shards know of addresses: who is alive, who serves, who is a router.
//!
//! The one structure that shards share on the hot path, so it takes no lock: a set-associative table of atomics, each
//! slot one cache line, read as one of five kinds of entry by the key it is found under. Readers and writers may race;
//! every race loses at most one of two concurrent facts of the same kind, which the next packet states again. A full set
//! gives up the entry that proves least (asked for but never seen, then seen sending, then serving; oldest first), and
//! while living entries are being pushed out, "never seen" proves nothing: see [`Addresses::under_pressure`].

mod entry;
mod table;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::HashKey;
use crate::track::addresses::entry::{Card, Liveness, Owner, Service, Subnet};
use crate::track::addresses::table::Table;
use crate::wire::{Address, Link, Mac};

/// The shared table.
pub struct Addresses {
    table: Table,
    hash_key: HashKey,
    memory: u32,
}

fn seconds(at: Timestamp) -> u32 {
    // 0 means "never", so the epoch's first second counts as its second.
    u32::try_from(at.secs()).unwrap_or(u32::MAX).max(1)
}

const FAILING_FOR: u32 = 600;

/// A day, in seconds.
const DAY: u32 = 86_400;

/// From so many distinct IPv4 source addresses on that a card does not own, within [`PERIOD`] to twice that, it belongs to
/// a router (or to a forger).
pub const ROUTER_ADDRESSES: u32 = 4;

/// The same for IPv6, of which every host has several (RFC 8981).
pub const ROUTER_ADDRESSES_V6: u32 = 16;

/// How long the link layer's word holds, in seconds.
const RESOLUTION: u32 = 300;

const CLAIMED: u8 = 1;
const ANSWERED: u8 = 2;

/// A card that showed an address an hour ago may since have got another; a router shows many all the time.
const PERIOD: u32 = 600;

impl Addresses {
    /// For about `capacity` entries; an address counts as alive for `memory` after it was last seen sending.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, hash_key: HashKey) -> Self {
        let memory = u32::try_from(memory.as_secs()).unwrap_or(u32::MAX);
        Addresses { table: Table::new(capacity, memory), hash_key, memory }
    }

    /// The memory that a table for `capacity` entries takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        Table::bytes(capacity)
    }

    /// The hash by which an address is known here.
    #[must_use]
    pub const fn hash(&self, address: Address) -> u64 {
        self.hash_key.address(address)
    }

    fn liveness(&self, address: Address) -> Option<Liveness<'_>> {
        self.table.find(Liveness::key(&self.hash_key, address))
    }

    fn service(&self, server: Address, port: u16) -> Option<Service<'_>> {
        self.table.find(Service::key(&self.hash_key, server, port))
    }

    fn subnet(&self, address: Address) -> Option<Subnet<'_>> {
        self.table.find(Subnet::key(&self.hash_key, address))
    }

    fn card(&self, link: Link, card: Mac, v4: bool) -> Option<Card<'_>> {
        self.table.find(Card::key(&self.hash_key, link, card, v4))
    }

    /// `address` sent something.
    pub fn saw(&self, address: Address, now: Timestamp) {
        let now = seconds(now);
        let Some(entry) = self.table.find_or_insert(Liveness::key(&self.hash_key, address), now) else { return };
        if entry.seen.swap(now, Relaxed) == 0 {
            entry.first.store(now, Relaxed);
            if let Some(subnet) = self.table.find_or_insert(Subnet::key(&self.hash_key, address), now) {
                let _ = subnet.first.compare_exchange(0, now, Relaxed, Relaxed);
                subnet.addresses.fetch_or(self.sketch(address), Relaxed);
            }
        }
        if let Some(subnet) = self.subnet(address) {
            subnet.seen.store(now, Relaxed);
        }
        entry.asked.store(0, Relaxed);
    }

    /// `server` answered a connection attempt of `client` on `port`.
    pub fn served(&self, server: Address, port: u16, client: Address, now: Timestamp) {
        let bit = self.sketch(client);
        let now = seconds(now);
        if let Some(entry) = self.table.find_or_insert(Service::key(&self.hash_key, server, port), now) {
            entry.clients.fetch_or(bit, Relaxed);
            entry.served.store(now, Relaxed);
            entry.failing.store(0, Relaxed);
        }
    }

    /// Whether `server` has not answered this client on `port` today, as far as a sketch shows, and notes that it has. The
    /// sketch's hashes are others on each day: who is taken for another today is not tomorrow.
    #[must_use]
    pub fn is_news(&self, server: Address, port: u16, client: u64, now: Timestamp) -> bool {
        let today = seconds(now) / DAY;
        let Some(entry) = self.table.find_or_insert(Service::key(&self.hash_key, server, port), seconds(now)) else {
            return false;
        };
        if entry.day.swap(today, Relaxed) != today {
            entry.today.store(0, Relaxed);
        }
        // Three bits each, as in a Bloom filter: of the few clients that it takes, none is taken for another.
        let hash = client.wrapping_mul(u64::from(today) << 1 | 1);
        let bits = [58, 52, 46].iter().fold(0_u64, |bits, at| bits | 1 << (hash >> at & 63));
        entry.today.fetch_or(bits, Relaxed) & bits != bits
    }

    /// What `server` answers next is news again.
    pub fn forget_news(&self, server: Address, port: u16) {
        if let Some(entry) = self.service(server, port) {
            entry.day.store(0, Relaxed);
        }
    }

    /// Whether `client` is among those that `server` lately answered on `port`, as far as a sketch of them shows.
    #[must_use]
    pub fn has_served(&self, server: Address, port: u16, client: Address, now: Timestamp) -> bool {
        self.service(server, port).is_some_and(|entry| {
            let served = entry.served.load(Relaxed);
            served != 0
                && seconds(now).saturating_sub(served) <= self.memory
                && entry.clients.load(Relaxed) & self.sketch(client) != 0
        })
    }

    fn sketch(&self, address: Address) -> u64 {
        1 << (self.hash_key.address(address) >> 58)
    }

    /// Whether others than `client` use this service: at least two have been answered within the memory.
    #[must_use]
    pub fn is_known_server(&self, server: Address, port: u16, client: Address, now: Timestamp) -> bool {
        self.service(server, port).is_some_and(|entry| {
            let served = entry.served.load(Relaxed);
            served != 0
                && seconds(now).saturating_sub(served) <= self.memory
                && (entry.clients.load(Relaxed) & !self.sketch(client)).count_ones() >= 2
        })
    }

    /// Notes that `source` failed on a service; gives how many distinct sources do now, if it served lately.
    pub fn failed(&self, server: Address, port: u16, source: Address, now: Timestamp) -> u32 {
        let Some(entry) = self.service(server, port) else { return 0 };
        let now = seconds(now);
        let served = entry.served.load(Relaxed);
        if served == 0 || now.saturating_sub(served) > self.memory {
            return 0;
        }
        // Kept fresh by each: an outage lasts while sources keep failing.
        self.count_source((entry.failing, entry.failing_at), source, FAILING_FOR, now)
    }

    /// Notes that `source` found nobody at `address`; gives how many distinct sources did within the memory.
    pub fn missed(&self, address: Address, source: Address, now: Timestamp) -> u32 {
        let now = seconds(now);
        self.table
            .find_or_insert_unknown(Liveness::key(&self.hash_key, address), now)
            .map_or(0, |entry| self.count_source((entry.missed_by, entry.missed_at), source, self.memory, now))
    }

    /// How many distinct sources found nobody at `address` within the memory.
    #[must_use]
    pub fn missing(&self, address: Address, now: Timestamp) -> u32 {
        self.liveness(address).map_or(0, |entry| {
            let fresh = seconds(now).saturating_sub(entry.missed_at.load(Relaxed)) <= self.memory;
            if fresh { entry.missed_by.load(Relaxed).count_ones() } else { 0 }
        })
    }

    /// Enters `source` into a sketch that lasts for `within` after its last entry; gives how many are in it.
    fn count_source(&self, (sketch, at): (&AtomicU64, &AtomicU32), source: Address, within: u32, now: u32) -> u32 {
        if now.saturating_sub(at.load(Relaxed)) > within {
            sketch.store(0, Relaxed);
        }
        at.store(now, Relaxed);
        let bit = self.sketch(source);
        (sketch.fetch_or(bit, Relaxed) | bit).count_ones()
    }

    /// The gateway itself asked the link for `address`; its answer would come back through it.
    pub fn asked(&self, address: Address, now: Timestamp) {
        if let Some(entry) = self.table.find_or_insert_unknown(Liveness::key(&self.hash_key, address), seconds(now)) {
            let _ = entry.asked.compare_exchange(0, now.nanos(), Relaxed, Relaxed);
        }
    }

    /// Whether the gateway has asked for `address` at least `patience` ago and heard nothing since.
    #[must_use]
    pub fn unanswered(&self, address: Address, patience: Duration, now: Timestamp) -> bool {
        self.liveness(address).is_some_and(|entry| {
            let asked = entry.asked.load(Relaxed);
            asked != 0 && now.since(Timestamp::from_nanos(asked)) >= patience
        })
    }

    /// Whether `address` was seen sending within the memory.
    #[must_use]
    pub fn is_alive(&self, address: Address, now: Timestamp) -> bool {
        self.liveness(address).is_some_and(|entry| {
            let seen = entry.seen.load(Relaxed);
            seen != 0 && seconds(now).saturating_sub(seen) <= self.memory
        })
    }

    /// Whether the /24 or /64 around `address` has been heard for at least `learning`.
    #[must_use]
    pub fn is_subnet_known(&self, address: Address, learning: Duration, now: Timestamp) -> bool {
        self.subnet(address).is_some_and(|entry| {
            let first = entry.first.load(Relaxed);
            first != 0 && u64::from(seconds(now).saturating_sub(first)) >= learning.as_secs()
        })
    }

    /// About how many distinct addresses of the /24 or /64 around `address` were seen sending: linear counting (Whang
    /// et al. 1990) over a 64-bit sketch, within a tenth or two up to 100, saturating near 270.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 64 ln 64 = 267")]
    pub fn subnet_hosts(&self, address: Address) -> u32 {
        let set = self.subnet(address).map_or(0, |entry| entry.addresses.load(Relaxed).count_ones());
        let free = f64::from(64 - set.min(63));
        (64.0 * (64.0 / free).ln()).round() as u32
    }

    /// Whether living entries, of whatever kind, have lately been pushed out: then "never seen" proves nothing.
    #[must_use]
    pub fn under_pressure(&self, now: Timestamp) -> bool {
        self.table.pressed_until() > seconds(now)
    }

    /// `card` sent a packet whose source it is not known to own. To be reported for each address at least once a [`PERIOD`].
    pub fn carried(&self, link: Link, card: Mac, address: Address, now: Timestamp) {
        let now = seconds(now);
        let key = Card::key(&self.hash_key, link, card, address.is_v4());
        let Some(entry) = self.table.find_or_insert(key, now) else { return };
        entry.seen.store(now, Relaxed);
        let period = now / PERIOD;
        let last = entry.period.swap(period, Relaxed);
        if last != period {
            let before = entry.late.swap(0, Relaxed);
            entry.before.store(if last + 1 == period { before } else { 0 }, Relaxed);
        }
        let bit = self.sketch(address);
        if entry.late.load(Relaxed) & bit == 0 {
            entry.late.fetch_or(bit, Relaxed);
        }
    }

    /// How many distinct addresses of one family `card` has sent from of late without being known to own them (a sketch's
    /// estimate, up to 64).
    #[must_use]
    pub fn carries(&self, link: Link, card: Mac, v4: bool, now: Timestamp) -> u32 {
        self.card(link, card, v4).map_or(0, |entry| {
            let age = (seconds(now) / PERIOD).saturating_sub(entry.period.load(Relaxed));
            let (late, before) = (entry.late.load(Relaxed), entry.before.load(Relaxed));
            match age {
                0 => late | before,
                1 => late,
                _ => 0,
            }
            .count_ones()
        })
    }

    /// Whether `card` sends from more addresses of one family than a host has that it does not own: a router, or a forger.
    #[must_use]
    pub fn carries_many(&self, link: Link, card: Mac, v4: bool, now: Timestamp) -> bool {
        self.carries(link, card, v4, now) >= if v4 { ROUTER_ADDRESSES } else { ROUTER_ADDRESSES_V6 }
    }

    /// `card` forwards for others: the kernel's routes or neighbour table say so, or somebody behind it completed a
    /// handshake through it.
    pub fn forwards(&self, link: Link, card: Mac, now: Timestamp) {
        let now = seconds(now);
        if let Some(entry) = self.table.find_or_insert(Card::key(&self.hash_key, link, card, true), now) {
            entry.seen.store(now, Relaxed);
            entry.forwards.store(now, Relaxed);
        }
    }

    /// What was taken for somebody behind `card` was the card itself.
    pub fn ends(&self, link: Link, card: Mac) {
        if let Some(entry) = self.card(link, card, true) {
            entry.forwards.store(0, Relaxed);
        }
    }

    /// Whether `card` is known to forward for others.
    #[must_use]
    pub fn is_forwarder(&self, link: Link, card: Mac, now: Timestamp) -> bool {
        self.card(link, card, true).is_some_and(|entry| {
            let at = entry.forwards.load(Relaxed);
            at != 0 && seconds(now).saturating_sub(at) <= self.memory
        })
    }

    /// Whether `card` is a router as far as can be seen: known to forward, or sending from many addresses that it does not
    /// own. The latter a forger can bring about: never a reason to let something pass.
    #[must_use]
    pub fn is_router(&self, link: Link, card: Mac, now: Timestamp) -> bool {
        self.is_forwarder(link, card, now)
            || self.carries_many(link, card, true, now)
            || self.carries_many(link, card, false, now)
    }

    /// The link itself says that `address` is at `card`: somebody asked, and the card answered; or the card completed a
    /// handshake from it.
    pub fn resolved(&self, link: Link, address: Address, card: Mac, now: Timestamp) {
        self.note_owner(link, address, card, ANSWERED, seconds(now));
    }

    /// Somebody at `card` claims `address` unasked. Weighs less than what was answered within [`RESOLUTION`].
    pub fn claimed(&self, link: Link, address: Address, card: Mac, now: Timestamp) {
        if self.answered_from(link, address, now).is_none() {
            self.note_owner(link, address, card, CLAIMED, seconds(now));
        }
    }

    fn note_owner(&self, link: Link, address: Address, card: Mac, how: u8, now: u32) {
        if let Some(entry) = self.table.find_or_insert(Owner::key(&self.hash_key, link, address), now) {
            let [a, b, c, d, e, f] = card.0;
            entry.card.store(u64::from_be_bytes([0, how, a, b, c, d, e, f]), Relaxed);
            entry.seen.store(now, Relaxed);
        }
    }

    fn owner(&self, link: Link, address: Address, now: Timestamp) -> Option<(Mac, u8)> {
        let entry = self.table.find(Owner::key(&self.hash_key, link, address))?;
        let [_, how, a, b, c, d, e, f] = entry.card.load(Relaxed).to_be_bytes();
        let fresh = seconds(now).saturating_sub(entry.seen.load(Relaxed)) <= RESOLUTION;
        (how != 0 && fresh).then_some((Mac([a, b, c, d, e, f]), how))
    }

    /// Where the link says `address` is, if it said so within [`RESOLUTION`]: as answered, or else as claimed.
    #[must_use]
    pub fn resolution(&self, link: Link, address: Address, now: Timestamp) -> Option<Mac> {
        self.owner(link, address, now).map(|(card, _)| card)
    }

    /// The card that answered for `address` within [`RESOLUTION`].
    #[must_use]
    pub fn answered_from(&self, link: Link, address: Address, now: Timestamp) -> Option<Mac> {
        self.owner(link, address, now).filter(|(_, how)| *how == ANSWERED).map(|(card, _)| card)
    }

    /// Entries in use and entries there are.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        self.table.occupancy()
    }

    /// Living entries forgotten for want of room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }
}

#[cfg(test)]
mod tests;
