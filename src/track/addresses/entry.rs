//! What is known of an address, of a service, of a subnet, of a card, and of who owns an address: one struct each.
//!
//! Times are in seconds, 0 is never. Sketches are 64 bits, one for each of 64 hashes of what is counted.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::track::addresses::table::{EXPIRED, Entry};

/// An address that was heard for so many seconds is worth more than one that was just heard first.
const SETTLED: u32 = 60;

/// `last`, worth `living` if it lies within `memory`.
fn aged(last: u32, living: u8, now: u32, memory: u32) -> (u8, u32) {
    (if now.saturating_sub(last) > memory { EXPIRED } else { living }, last)
}

/// What is known of one address.
#[derive(Default)]
pub(super) struct Liveness {
    key: AtomicU64,
    /// A sketch of the sources that looked for it and found nobody.
    pub missed_by: AtomicU64,
    /// When the last of them did.
    pub missed_at: AtomicU32,
    /// When it was first seen sending.
    pub first: AtomicU32,
    /// When it was last seen sending.
    pub seen: AtomicU32,
    /// When the gateway first asked for it (ARP, neighbour solicitation) without an answer so far, in nanoseconds.
    pub asked: AtomicU64,
}

impl Entry for Liveness {
    fn key(&self) -> &AtomicU64 {
        &self.key
    }

    fn worth(&self, now: u32, memory: u32) -> (u8, u32) {
        let settled = now.saturating_sub(self.first.load(Relaxed)) > SETTLED;
        aged(self.seen.load(Relaxed), if settled { 3 } else { 2 }, now, memory)
    }

    fn clear(&self) {
        let Liveness { key: _, missed_by, missed_at, first, seen, asked } = self;
        for word in [missed_by, asked] {
            word.store(0, Relaxed);
        }
        for word in [missed_at, first, seen] {
            word.store(0, Relaxed);
        }
    }
}

/// What is known of one service of one server.
#[derive(Default)]
pub(super) struct Service {
    key: AtomicU64,
    /// A sketch of its clients.
    pub clients: AtomicU64,
    /// A sketch of those that failed on it of late.
    pub failing: AtomicU64,
    /// When the last of them did.
    pub failing_at: AtomicU32,
    /// When it last answered.
    pub served: AtomicU32,
}

impl Entry for Service {
    fn key(&self) -> &AtomicU64 {
        &self.key
    }

    fn worth(&self, now: u32, memory: u32) -> (u8, u32) {
        aged(self.served.load(Relaxed), 2, now, memory)
    }

    fn clear(&self) {
        let Service { key: _, clients, failing, failing_at, served } = self;
        for word in [clients, failing] {
            word.store(0, Relaxed);
        }
        for word in [failing_at, served] {
            word.store(0, Relaxed);
        }
    }
}

/// What is known of the /24 or /64 around addresses.
#[derive(Default)]
pub(super) struct Subnet {
    key: AtomicU64,
    /// A sketch of its addresses.
    pub addresses: AtomicU64,
    /// Since when it is heard.
    pub first: AtomicU32,
    /// When it was last heard.
    pub seen: AtomicU32,
}

impl Entry for Subnet {
    fn key(&self) -> &AtomicU64 {
        &self.key
    }

    fn worth(&self, now: u32, memory: u32) -> (u8, u32) {
        aged(self.seen.load(Relaxed), 2, now, memory)
    }

    fn clear(&self) {
        let Subnet { key: _, addresses, first, seen } = self;
        addresses.store(0, Relaxed);
        for word in [first, seen] {
            word.store(0, Relaxed);
        }
    }
}

/// What is known of a card on its link, by family: the addresses that it sends from and is not known to own.
#[derive(Default)]
pub(super) struct Card {
    key: AtomicU64,
    /// A sketch of those of the period `period`.
    pub late: AtomicU64,
    /// A sketch of those of the period before.
    pub before: AtomicU64,
    /// The number of the period.
    pub period: AtomicU32,
    /// When it last sent from one.
    pub seen: AtomicU32,
    /// When it last proved that it forwards for others.
    pub forwards: AtomicU32,
}

impl Entry for Card {
    fn key(&self) -> &AtomicU64 {
        &self.key
    }

    fn worth(&self, now: u32, memory: u32) -> (u8, u32) {
        let (seen, forwards) = (self.seen.load(Relaxed), self.forwards.load(Relaxed));
        aged(seen.max(forwards), if forwards == 0 { 2 } else { 3 }, now, memory)
    }

    fn clear(&self) {
        let Card { key: _, late, before, period, seen, forwards } = self;
        for word in [late, before] {
            word.store(0, Relaxed);
        }
        for word in [period, seen, forwards] {
            word.store(0, Relaxed);
        }
    }
}

/// Which card an address is at, on its link.
#[derive(Default)]
pub(super) struct Owner {
    key: AtomicU64,
    /// The card, and how that is known: see `note_owner`. 0 is unknown.
    pub card: AtomicU64,
    /// When that was last confirmed.
    pub at: AtomicU32,
}

impl Entry for Owner {
    fn key(&self) -> &AtomicU64 {
        &self.key
    }

    fn worth(&self, now: u32, memory: u32) -> (u8, u32) {
        aged(self.at.load(Relaxed), 2, now, memory)
    }

    fn clear(&self) {
        self.card.store(0, Relaxed);
        self.at.store(0, Relaxed);
    }
}
