//! What is known of an address, of a service, of a subnet, of a card, and of who owns an address: one struct each, and
//! the only place that knows what a slot's words mean for it.
//!
//! Times are in seconds, 0 is never. Sketches are 64 bits, one for each of 64 hashes of what is counted. All kinds share
//! one table, so that memory goes to whichever a network has most of, and so that any living entry that is pushed out
//! says that "never seen" proves nothing.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::track::HashKey;
use crate::track::addresses::table::{Entry, Key, Slot};
use crate::wire::{Address, Link, Mac};

/// What is known of one address.
#[derive(Clone, Copy)]
pub(super) struct Liveness<'t> {
    /// A sketch of the sources that looked for it and found nobody.
    pub missed_by: &'t AtomicU64,
    /// When the last of them did.
    pub missed_at: &'t AtomicU32,
    /// When the gateway first asked for it (ARP, neighbour solicitation) without an answer so far, in nanoseconds.
    pub asked: &'t AtomicU64,
    /// When it was first seen sending.
    pub first: &'t AtomicU32,
    /// When it was last seen sending.
    pub seen: &'t AtomicU32,
}

impl Liveness<'_> {
    pub fn key(hash_key: &HashKey, address: Address) -> Key<Self> {
        Key::new(hash_key.address(address) | 1)
    }
}

impl<'t> Entry<'t> for Liveness<'t> {
    fn of(slot: &'t Slot) -> Self {
        let Slot { a, b, at, since, last, .. } = slot;
        Liveness { missed_by: a, missed_at: at, asked: b, first: since, seen: last }
    }
}

/// What is known of one service of one server.
#[derive(Clone, Copy)]
pub(super) struct Service<'t> {
    /// A sketch of its clients.
    pub clients: &'t AtomicU64,
    /// A sketch of those that failed on it of late.
    pub failing: &'t AtomicU64,
    /// When the last of them did.
    pub failing_at: &'t AtomicU32,
    /// When it last answered a connection attempt.
    pub served: &'t AtomicU32,
    /// A sketch of those that it answered on the day `day`.
    pub today: &'t AtomicU64,
    /// The number of that day.
    pub day: &'t AtomicU32,
}

impl Service<'_> {
    pub fn key(hash_key: &HashKey, server: Address, port: u16) -> Key<Self> {
        Key::new(hash_key.pair(server, server, u64::from(port)) | 1)
    }
}

impl<'t> Entry<'t> for Service<'t> {
    fn of(slot: &'t Slot) -> Self {
        let Slot { a, b, c, number, at, proven, .. } = slot;
        Service { clients: a, failing: b, failing_at: at, served: proven, today: c, day: number }
    }
}

/// What is known of the /24 or /64 around addresses.
#[derive(Clone, Copy)]
pub(super) struct Subnet<'t> {
    /// A sketch of its addresses.
    pub addresses: &'t AtomicU64,
    /// Since when it is heard.
    pub first: &'t AtomicU32,
    /// When it was last heard.
    pub seen: &'t AtomicU32,
}

impl Subnet<'_> {
    /// Even where an address' is odd, so the two never meet.
    pub fn key(hash_key: &HashKey, address: Address) -> Key<Self> {
        let mask = if address.is_v4() { !0xff } else { !u128::from(u64::MAX) };
        let hash = hash_key.address(Address::from_bits(address.bits() & mask)) & !1;
        Key::new(if hash == 0 { 2 } else { hash })
    }
}

impl<'t> Entry<'t> for Subnet<'t> {
    fn of(slot: &'t Slot) -> Self {
        let Slot { a, since, last, .. } = slot;
        Subnet { addresses: a, first: since, seen: last }
    }
}

/// What is known of a card on its link, by family: the addresses that it sends from and is not known to own.
#[derive(Clone, Copy)]
pub(super) struct Card<'t> {
    /// A sketch of those of the period `period`.
    pub late: &'t AtomicU64,
    /// A sketch of those of the period before.
    pub before: &'t AtomicU64,
    /// The number of the period.
    pub period: &'t AtomicU32,
    /// When it last sent from one, or proved that it forwards.
    pub seen: &'t AtomicU32,
    /// When it last proved that it forwards for others.
    pub forwards: &'t AtomicU32,
}

impl Card<'_> {
    pub fn key(hash_key: &HashKey, link: Link, card: Mac, v4: bool) -> Key<Self> {
        Key::new(hash_key.on(link, hash_key.mac(card)).rotate_left(if v4 { 0 } else { 32 }) | 1)
    }
}

impl<'t> Entry<'t> for Card<'t> {
    fn of(slot: &'t Slot) -> Self {
        let Slot { a, b, at, last, proven, .. } = slot;
        Card { late: a, before: b, period: at, seen: last, forwards: proven }
    }
}

/// Which card an address is at, on its link.
#[derive(Clone, Copy)]
pub(super) struct Owner<'t> {
    /// The card, and how that is known: see `note_owner`. 0 is unknown.
    pub card: &'t AtomicU64,
    /// When that was last confirmed.
    pub seen: &'t AtomicU32,
}

impl Owner<'_> {
    /// Apart from what is known of the address itself: each link has its own owner.
    pub fn key(hash_key: &HashKey, link: Link, address: Address) -> Key<Self> {
        Key::new(hash_key.on(link, hash_key.address(address)) | 1)
    }
}

impl<'t> Entry<'t> for Owner<'t> {
    fn of(slot: &'t Slot) -> Self {
        let Slot { a, last, .. } = slot;
        Owner { card: a, seen: last }
    }
}
