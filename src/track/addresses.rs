//! What all shards know of addresses: who is alive, who serves, who is a router.
//!
//! The one structure that shards share on the hot path, so it takes no lock: a set-associative table of atomics, each
//! entry one cache line. Readers and writers may race; every race loses at most one of two concurrent facts of the same
//! kind, which the next packet states again. A full set gives up the entry that proves least (asked for but never seen,
//! then seen sending, then serving; oldest first), and while entries that were alive are being pushed out, "never seen"
//! proves nothing: see [`Addresses::under_pressure`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::{Devices, Keys};
use crate::wire::{Address, Mac};

const WAYS: usize = 4;

/// Everything known of one address, of one service of it, of one segment, or of one hardware address.
#[derive(Default)]
#[repr(align(64))]
struct Entry {
    /// Fingerprint; 0 is empty.
    key: AtomicU64,
    /// A 64-bit sketch: of a service's distinct clients, a segment's distinct addresses, a hardware address' distinct
    /// source addresses of late.
    others: AtomicU64,
    /// A 64-bit sketch: of the sources that fail on a service, of those that missed an address nobody is at, of a
    /// hardware address' distinct source addresses of the period before.
    failing: AtomicU64,
    /// When the gateway first asked for it (ARP, neighbour solicitation) without an answer so far; 0 is not asked.
    asked: AtomicU64,
    /// Its hardware address as the link layer itself says (ARP, kernel neighbour table), 0 is unknown.
    mac: AtomicU64,
    /// First seen sending, seconds; 0 is never.
    first: AtomicU32,
    /// Last seen sending, seconds; 0 is never.
    seen: AtomicU32,
    /// Last answered a connection attempt, seconds; 0 is never.
    served: AtomicU32,
    /// When `failing` was last written, seconds; for a hardware address the number of the period.
    failing_at: AtomicU32,
    /// When the hardware address was last confirmed, seconds.
    mac_at: AtomicU32,
}

/// The shared table.
pub struct Addresses {
    sets: Vec<[Entry; WAYS]>,
    keys: Keys,
    memory: u32,
    used: AtomicU64,
    evicted: AtomicU64,
    pressure_until: AtomicU32,
}

fn seconds(at: Timestamp) -> u32 {
    // 0 means "never", so the epoch's first second counts as its second.
    u32::try_from(at.secs()).unwrap_or(u32::MAX).max(1)
}

const PRESSURE: u32 = 600;
const FAILING_FOR: u32 = 600;

/// From so many distinct IPv4 source addresses on within [`PERIOD`] to twice that, a hardware address belongs to a
/// router (or to a forger).
pub const ROUTER_ADDRESSES: u32 = 4;

/// The same for IPv6, of which every host has several (RFC 8981).
pub const ROUTER_ADDRESSES_V6: u32 = 16;

/// A card that showed an address an hour ago may since have got another; a router shows many all the time.
const PERIOD: u32 = 600;

impl Addresses {
    /// For about `capacity` entries; an address counts as alive for `memory` after it was last seen sending.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, keys: Keys) -> Self {
        Addresses {
            sets: std::iter::repeat_with(Default::default).take(Self::sets(capacity)).collect(),
            keys,
            memory: u32::try_from(memory.as_secs()).unwrap_or(u32::MAX),
            used: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            pressure_until: AtomicU32::new(0),
        }
    }

    /// The memory that a table for `capacity` entries takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        Self::sets(capacity) * size_of::<[Entry; WAYS]>()
    }

    const fn sets(capacity: usize) -> usize {
        let sets = capacity / WAYS;
        (if sets == 0 { 1 } else { sets }).next_power_of_two()
    }

    fn set(&self, key: u64) -> &[Entry] {
        self.sets.get((key >> 32) as usize & (self.sets.len() - 1)).map_or(&[], |set| set.as_slice())
    }

    fn find(&self, key: u64) -> Option<&Entry> {
        self.set(key).iter().find(|entry| entry.key.load(Relaxed) == key)
    }

    fn find_or_insert(&self, key: u64, now: u32) -> Option<&Entry> {
        self.insert(key, now, u8::MAX)
    }

    /// The same, unless room could only be made by forgetting who is alive: what is unknown is not worth that.
    fn find_or_insert_unknown(&self, key: u64, now: u32) -> Option<&Entry> {
        self.insert(key, now, 1)
    }

    fn insert(&self, key: u64, now: u32, most: u8) -> Option<&Entry> {
        let set = self.set(key);
        if let Some(entry) = set.iter().find(|entry| entry.key.load(Relaxed) == key) {
            return Some(entry);
        }
        let rank = |entry: &Entry| {
            let (seen, served) = (entry.seen.load(Relaxed), entry.served.load(Relaxed));
            match entry.key.load(Relaxed) {
                0 => (0, 0),
                _ if now.saturating_sub(seen.max(served)) > self.memory => (1, seen),
                _ if served != 0 => (4, served),
                _ if now.saturating_sub(entry.first.load(Relaxed)) > 60 => (3, seen),
                _ => (2, seen),
            }
        };
        let victim = set.iter().min_by_key(|entry| rank(entry)).filter(|entry| rank(entry).0 <= most)?;
        match rank(victim).0 {
            0 => {
                self.used.fetch_add(1, Relaxed);
            }
            1 => {}
            _ => {
                self.evicted.fetch_add(1, Relaxed);
                self.pressure_until.store(now.saturating_add(PRESSURE), Relaxed);
            }
        }
        for word in [&victim.others, &victim.failing, &victim.asked, &victim.mac] {
            word.store(0, Relaxed);
        }
        for word in [&victim.first, &victim.seen, &victim.served, &victim.failing_at, &victim.mac_at] {
            word.store(0, Relaxed);
        }
        victim.key.store(key, Relaxed);
        Some(victim)
    }

    fn key(&self, address: Address) -> u64 {
        self.keys.address(address) | 1
    }

    /// The key of the /24 or /64 around an address: even where an address' is odd, so the two never meet.
    fn segment_key(&self, address: Address) -> u64 {
        let mask = if address.is_v4() { !0xff } else { !u128::from(u64::MAX) };
        let hash = self.keys.address(Address::from_bits(address.bits() & mask)) & !1;
        if hash == 0 { 2 } else { hash }
    }

    /// `address` sent something.
    pub fn saw(&self, address: Address, now: Timestamp) {
        let now = seconds(now);
        let Some(entry) = self.find_or_insert(self.key(address), now) else { return };
        if entry.seen.swap(now, Relaxed) == 0 {
            entry.first.store(now, Relaxed);
            if let Some(segment) = self.find_or_insert(self.segment_key(address), now) {
                let _ = segment.first.compare_exchange(0, now, Relaxed, Relaxed);
                segment.others.fetch_or(self.sketch(address), Relaxed);
            }
        }
        if let Some(segment) = self.find(self.segment_key(address)) {
            segment.seen.store(now, Relaxed);
        }
        entry.asked.store(0, Relaxed);
    }

    fn service_key(&self, server: Address, port: u16) -> u64 {
        self.keys.pair(server, server, u64::from(port)) | 1
    }

    /// `server` answered a connection attempt of `client` on `port`.
    pub fn served(&self, server: Address, port: u16, client: Address, now: Timestamp) {
        let bit = self.sketch(client);
        let now = seconds(now);
        if let Some(entry) = self.find_or_insert(self.service_key(server, port), now) {
            entry.others.fetch_or(bit, Relaxed);
            entry.served.store(now, Relaxed);
            entry.failing.store(0, Relaxed);
        }
    }

    fn sketch(&self, address: Address) -> u64 {
        1 << (self.keys.address(address) >> 58)
    }

    /// Whether others than `client` use this service: at least two have been answered within the memory.
    #[must_use]
    pub fn is_known_server(&self, server: Address, port: u16, client: Address, now: Timestamp) -> bool {
        self.find(self.service_key(server, port)).is_some_and(|entry| {
            let served = entry.served.load(Relaxed);
            served != 0
                && seconds(now).saturating_sub(served) <= self.memory
                && (entry.others.load(Relaxed) & !self.sketch(client)).count_ones() >= 2
        })
    }

    /// Notes that `source` failed on a service; gives how many distinct sources do now, if it served lately.
    pub fn failed(&self, server: Address, port: u16, source: Address, now: Timestamp) -> u32 {
        let Some(entry) = self.find(self.service_key(server, port)) else { return 0 };
        let now = seconds(now);
        let served = entry.served.load(Relaxed);
        if served == 0 || now.saturating_sub(served) > self.memory {
            return 0;
        }
        // Kept fresh by each: an outage lasts while sources go on failing.
        self.fails(entry, source, FAILING_FOR, now)
    }

    /// Notes that `source` found nobody at `address`; gives how many distinct sources did within the memory.
    pub fn missed(&self, address: Address, source: Address, now: Timestamp) -> u32 {
        let now = seconds(now);
        self.find_or_insert_unknown(self.key(address), now)
            .map_or(0, |entry| self.fails(entry, source, self.memory, now))
    }

    /// How many distinct sources found nobody at `address` within the memory.
    #[must_use]
    pub fn missing(&self, address: Address, now: Timestamp) -> u32 {
        self.find(self.key(address)).map_or(0, |entry| {
            let fresh = seconds(now).saturating_sub(entry.failing_at.load(Relaxed)) <= self.memory;
            if fresh { entry.failing.load(Relaxed).count_ones() } else { 0 }
        })
    }

    fn fails(&self, entry: &Entry, source: Address, within: u32, now: u32) -> u32 {
        if now.saturating_sub(entry.failing_at.load(Relaxed)) > within {
            entry.failing.store(0, Relaxed);
        }
        entry.failing_at.store(now, Relaxed);
        let bit = self.sketch(source);
        (entry.failing.fetch_or(bit, Relaxed) | bit).count_ones()
    }

    /// The gateway itself asked the link for `address`; its answer would come back through it.
    pub fn asked(&self, address: Address, now: Timestamp) {
        if let Some(entry) = self.find_or_insert_unknown(self.key(address), seconds(now)) {
            let _ = entry.asked.compare_exchange(0, now.nanos(), Relaxed, Relaxed);
        }
    }

    /// Whether the gateway has asked for `address` at least `patience` ago and heard nothing since.
    #[must_use]
    pub fn unanswered(&self, address: Address, patience: Duration, now: Timestamp) -> bool {
        self.find(self.key(address)).is_some_and(|entry| {
            let asked = entry.asked.load(Relaxed);
            asked != 0 && now.since(Timestamp::from_nanos(asked)) >= patience
        })
    }

    /// Whether `address` was seen sending within the memory.
    #[must_use]
    pub fn is_alive(&self, address: Address, now: Timestamp) -> bool {
        self.find(self.key(address)).is_some_and(|entry| {
            let seen = entry.seen.load(Relaxed).max(entry.served.load(Relaxed));
            seen != 0 && seconds(now).saturating_sub(seen) <= self.memory
        })
    }

    /// Whether the /24 or /64 around `address` has been heard for at least `learning`.
    #[must_use]
    pub fn is_segment_known(&self, address: Address, learning: Duration, now: Timestamp) -> bool {
        self.find(self.segment_key(address)).is_some_and(|entry| {
            let first = entry.first.load(Relaxed);
            first != 0 && u64::from(seconds(now).saturating_sub(first)) >= learning.as_secs()
        })
    }

    /// About how many distinct addresses of the /24 or /64 around `address` were seen sending: linear counting (Whang
    /// et al. 1990) over a 64-bit sketch, within a tenth or two up to 100, saturating near 270.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 64 ln 64 = 267")]
    pub fn segment_hosts(&self, address: Address) -> u32 {
        let set = self.find(self.segment_key(address)).map_or(0, |entry| entry.others.load(Relaxed).count_ones());
        let free = f64::from(64 - set.min(63));
        (64.0 * (64.0 / free).ln()).round() as u32
    }

    /// Whether addresses that were alive have lately been pushed out: then "never seen" proves nothing.
    #[must_use]
    pub fn under_pressure(&self, now: Timestamp) -> bool {
        self.pressure_until.load(Relaxed) > seconds(now)
    }

    fn mac_key(&self, mac: Mac, v4: bool) -> u64 {
        self.keys.mac(mac).rotate_left(if v4 { 0 } else { 32 }) | 1
    }

    /// `mac` sent a packet of source `address`. To be told of each address at least once a [`PERIOD`].
    pub fn sent_by(&self, mac: Mac, address: Address, now: Timestamp) {
        let now = seconds(now);
        let Some(entry) = self.find_or_insert(self.mac_key(mac, address.is_v4()), now) else { return };
        entry.seen.store(now, Relaxed);
        let period = now / PERIOD;
        let last = entry.failing_at.swap(period, Relaxed);
        if last != period {
            let before = entry.others.swap(0, Relaxed);
            entry.failing.store(if last + 1 == period { before } else { 0 }, Relaxed);
        }
        let bit = self.sketch(address);
        if entry.others.load(Relaxed) & bit == 0 {
            entry.others.fetch_or(bit, Relaxed);
        }
    }

    /// How many distinct source addresses of one family `mac` has shown of late (a sketch's estimate, up to 64).
    #[must_use]
    pub fn addresses_of(&self, mac: Mac, v4: bool, now: Timestamp) -> u32 {
        self.find(self.mac_key(mac, v4)).map_or(0, |entry| {
            let age = (seconds(now) / PERIOD).saturating_sub(entry.failing_at.load(Relaxed));
            let (late, before) = (entry.others.load(Relaxed), entry.failing.load(Relaxed));
            match age {
                0 => late | before,
                1 => late,
                _ => 0,
            }
            .count_ones()
        })
    }

    /// Whether `mac` shows more source addresses of one family than one host has.
    #[must_use]
    pub fn shows_many(&self, mac: Mac, v4: bool, now: Timestamp) -> bool {
        self.addresses_of(mac, v4, now) >= if v4 { ROUTER_ADDRESSES } else { ROUTER_ADDRESSES_V6 }
    }

    /// Whether `mac` shows more source addresses than one host has, of either family.
    #[must_use]
    pub fn is_router(&self, mac: Mac, now: Timestamp) -> bool {
        self.shows_many(mac, true, now) || self.shows_many(mac, false, now)
    }

    /// The link layer itself says that `address` is at `mac` (an ARP reply, the kernel's neighbour table).
    pub fn resolved(&self, address: Address, mac: Mac, now: Timestamp) {
        let now = seconds(now);
        if let Some(entry) = self.find_or_insert(self.key(address), now) {
            let [a, b, c, d, e, f] = mac.0;
            entry.mac.store(u64::from_be_bytes([0, 1, a, b, c, d, e, f]), Relaxed);
            entry.mac_at.store(now, Relaxed);
        }
    }

    /// Where the link layer says `address` is, if it said so within `within`.
    #[must_use]
    pub fn resolution(&self, address: Address, within: Duration, now: Timestamp) -> Option<Mac> {
        let entry = self.find(self.key(address))?;
        let [_, known, a, b, c, d, e, f] = entry.mac.load(Relaxed).to_be_bytes();
        let fresh = u64::from(seconds(now).saturating_sub(entry.mac_at.load(Relaxed))) <= within.as_secs();
        (known == 1 && fresh).then_some(Mac([a, b, c, d, e, f]))
    }

    /// Entries in use and entries there are.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (usize::try_from(self.used.load(Relaxed)).unwrap_or(usize::MAX), self.sets.len() * WAYS)
    }

    /// Living entries forgotten for want of room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }
}

/// What the shards of one daemon share.
pub struct Shared {
    /// Addresses, segments and hardware addresses.
    pub addresses: Addresses,
    /// Devices that are acted on.
    pub devices: Devices,
    /// Until when silence proves nothing, because the ring lost packets; nanoseconds.
    pub lossy_until: AtomicU64,
    /// Answers seen to attempts seen, of late.
    answers: AtomicU64,
    /// Attempts of late whose answer was not seen, though the client went on as if it had come.
    inferred: AtomicU64,
}

impl Shared {
    /// With an address table of about `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize, memory: Duration, keys: Keys) -> Self {
        Shared {
            addresses: Addresses::new(capacity, memory, keys),
            devices: Devices::default(),
            lossy_until: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            inferred: AtomicU64::new(0),
        }
    }

    /// Packets were lost on the way here: for `pause` from `now` on, silence proves nothing.
    pub fn lost_packets(&self, now: Timestamp, pause: Duration) {
        self.lossy_until.fetch_max((now + pause).nanos(), Relaxed);
    }

    /// Whether packets were lost lately.
    #[must_use]
    pub fn is_lossy(&self, now: Timestamp) -> bool {
        self.lossy_until.load(Relaxed) > now.nanos()
    }

    /// Notes that an attempt's answer was seen.
    pub fn saw_answer(&self) {
        self.answers.fetch_add(1, Relaxed);
        self.fade();
    }

    /// Notes that a client went on as if answered, though no answer was seen.
    pub fn inferred_answer(&self) {
        self.inferred.fetch_add(1, Relaxed);
        self.fade();
    }

    /// The past counts half, so that a path which becomes one-sided after a year is noticed within minutes.
    fn fade(&self) {
        let (answers, inferred) = (self.answers.load(Relaxed), self.inferred.load(Relaxed));
        if answers + inferred >= 1024 {
            self.answers.store(answers / 2, Relaxed);
            self.inferred.store(inferred / 2, Relaxed);
        }
    }

    /// Whether answers pass somewhere else: clients go on as if answered, more often than answers are seen.
    #[must_use]
    pub fn is_one_sided(&self) -> bool {
        let (inferred, answers) = (self.inferred.load(Relaxed), self.answers.load(Relaxed));
        inferred >= 3 && inferred > answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::v4([10, 0, 0, 1]);
    const B: Address = Address::v4([10, 0, 0, 2]);

    fn table(capacity: usize) -> Addresses {
        Addresses::new(capacity, Duration::from_secs(86_400), Keys::new(3))
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + secs)
    }

    #[test]
    fn an_address_is_alive_once_seen_and_for_the_memory() {
        let table = table(64);
        assert!(!table.is_alive(A, at(0)));
        table.saw(A, at(0));
        assert!(table.is_alive(A, at(86_400)));
        assert!(!table.is_alive(A, at(86_402)));
        assert!(!table.is_segment_known(B, Duration::from_secs(600), at(599)));
        assert!(table.is_segment_known(B, Duration::from_secs(600), at(600)));
        assert!(!table.is_segment_known(Address::v4([10, 0, 1, 1]), Duration::from_secs(600), at(600)));
    }

    #[test]
    fn an_unanswered_question_of_the_gateway_is_settled_by_any_word() {
        let table = table(64);
        let patience = Duration::from_millis(20);
        table.asked(B, at(0));
        table.asked(B, at(5));
        assert!(!table.unanswered(B, patience, at(0)));
        assert!(table.unanswered(B, patience, at(0) + patience));
        table.saw(B, at(6));
        assert!(!table.unanswered(B, patience, at(9)));
    }

    #[test]
    fn a_server_is_known_when_two_others_use_it() {
        let table = table(64);
        let clients: Vec<_> = (1..40).map(|n| Address::v4([10, 0, 5, n])).collect();
        table.served(B, 445, clients[0], at(0));
        assert!(!table.is_known_server(B, 445, A, at(0)));
        for &client in &clients {
            table.served(B, 445, client, at(1));
        }
        assert!(table.is_known_server(B, 445, A, at(1)));
        assert!(!table.is_known_server(B, 22, A, at(1)), "on that port");
    }

    #[test]
    fn several_failing_on_what_served_lately_is_seen() {
        let table = table(64);
        assert_eq!(table.failed(B, 445, A, at(0)), 0);
        table.served(B, 445, A, at(0));
        let mut most = 0;
        for n in 1..40 {
            most = table.failed(B, 445, Address::v4([10, 0, 5, n]), at(1));
        }
        assert!(most > 10);
        assert_eq!(table.failed(B, 445, A, at(700)), 1, "an old outage is over");
        assert_eq!(table.failed(B, 22, A, at(700)), 0, "it never served that");
    }

    #[test]
    fn a_flood_of_new_addresses_spares_servers_and_admits_that_it_forgets() {
        let table = table(256);
        for n in 0..20 {
            table.served(Address::v4([10, 0, 9, n]), 445, A, at(0));
            table.served(Address::v4([10, 0, 9, n]), 445, B, at(0));
        }
        assert!(!table.under_pressure(at(1)));
        for n in 0..100_000u32 {
            table.saw(Address::v4((0x0a40_0000 + n).to_be_bytes()), at(1));
        }
        let client = Address::v4([10, 9, 9, 9]);
        assert!((0..20).all(|n| table.is_known_server(Address::v4([10, 0, 9, n]), 445, client, at(2))));
        assert!(table.under_pressure(at(2)));
        assert!(table.evicted() > 1000);
        assert_eq!(table.occupancy(), (256, 256));
    }

    #[test]
    fn a_zones_hosts_are_estimated() {
        let table = table(4096);
        assert_eq!(table.segment_hosts(A), 0);
        for n in 1..=80 {
            table.saw(Address::v4([10, 0, 0, n]), at(0));
        }
        let estimate = table.segment_hosts(A);
        assert!((60..=100).contains(&estimate), "{estimate}");
    }

    #[test]
    fn a_router_shows_many_addresses_all_the_time() {
        let table = table(256);
        let (router, host) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        for n in 0..30u8 {
            table.sent_by(router, Address::v4([10, 3, n, 1]), at(0));
            table.sent_by(host, A, at(0));
            table.sent_by(host, Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n % 8]), at(0));
        }
        assert!(table.is_router(router, at(0)));
        assert_eq!(table.addresses_of(host, true, at(0)), 1);
        assert!(!table.is_router(host, at(0)), "several IPv6 addresses are nothing odd");
        // A lease a day, for a year.
        for day in 0..365u64 {
            table.sent_by(host, Address::v4([10, 0, 7, u8::try_from(day % 250).unwrap()]), at(86_400 * day));
            assert!(!table.is_router(host, at(86_400 * day)));
        }
        assert!(!table.is_router(router, at(7200)), "nor is a router what stopped to be one");
    }

    #[test]
    fn how_many_missed_an_address_is_remembered_for_the_memory() {
        let table = table(256);
        assert_eq!(table.missing(B, at(0)), 0);
        for n in 0..10 {
            table.missed(B, Address::v4([10, 0, 5, n]), at(u64::from(n) * 3600));
        }
        assert!(table.missing(B, at(36_000)) >= 5);
        assert!(!table.is_alive(B, at(36_000)), "that does not make it alive");
        assert_eq!(table.missing(B, at(36_000 + 86_401)), 0);
    }

    #[test]
    fn one_sidedness_needs_proof() {
        let shared = Shared::new(64, Duration::from_secs(60), Keys::new(1));
        let many = |n, what: fn(&Shared)| (0..n).for_each(|_| what(&shared));
        assert!(!shared.is_one_sided());
        many(3, Shared::inferred_answer);
        assert!(shared.is_one_sided());
        many(3, Shared::saw_answer);
        assert!(!shared.is_one_sided());
        many(1_000_000, Shared::saw_answer);
        many(2000, Shared::inferred_answer);
        assert!(shared.is_one_sided(), "a path that changes is noticed, however long it was whole");
    }
}
