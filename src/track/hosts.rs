//! The hosts of one shard: everything remembered of a source, in a table of fixed capacity.
//!
//! At capacity the least suspicious idle host of a sample gives way: never one that is acted on or near its threshold
//! while the sample holds another. A flood of forged sources so replaces forged sources.

use std::time::Duration;

use hashbrown::HashTable;

use crate::evidence::{Alarm, Attachment, Evidence, Reached, Score};
use crate::time::Timestamp;
use crate::track::contacts::Party;
use crate::track::keys::index_bytes;
use crate::track::windows::{Bins, Recent};
use crate::track::{Attempts, Keys};
use crate::wire::{Address, Mac};

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
    /// Its address.
    pub address: Address,
    /// When its last packet of interest was seen.
    pub seen: Timestamp,
    /// When the shared table was last told that it is alive.
    pub told: Timestamp,
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
    /// When it was last told that its device is acted on under another address, or is another one now.
    pub moved_told: Timestamp,
    /// When the responder was last told that an acted host still tries.
    pub active_told: Timestamp,
    /// The generation of the settings that `role` was looked up in.
    pub generation: u32,
    /// The score as of `score_at`, before decay since.
    pub score: Score,
    /// When the score was last changed.
    pub score_at: Timestamp,
    /// Distinct destinations of first contact so far.
    pub destinations: u32,
    /// How often it was released: in each round, contacts that nobody answered are new.
    pub round: u8,
    /// It opened first contacts on the port it was exposed on, while it was.
    pub chained: bool,
    /// It negotiated SMB1 as a client or a server.
    pub smb1: bool,
    /// Where the next of `reached` goes.
    pub reached_next: u8,
    /// A watch was given and not yet outlived.
    pub watched: Option<Timestamp>,
    /// When the last exploit was told.
    pub exploited: Option<Timestamp>,
    /// Since when its attempts are failed at once, for having too many pending.
    pub overrun: Option<Timestamp>,
    /// The fuse's mirror: tokens left, in thousandths, as of `fuse_at`.
    pub fuse: u32,
    /// See `fuse`.
    pub fuse_at: Timestamp,
    /// While it is acted on: the device that is, where an attached segment shows it.
    pub device: Option<Mac>,
    /// Who exposed it on which port, and when (infection chains).
    pub exposed: Option<(Address, u16, Timestamp)>,
    /// A decoy's answer to it, which its next segment may acknowledge: from whom, on which port, which number.
    pub bait: Option<(Address, u16, u32)>,
    /// Attempts that wait for an answer.
    pub attempts: Attempts,
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
    /// When it last opened a first contact on a lateral service itself.
    pub opened: Option<Timestamp>,
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

    fn new(address: Address, now: Timestamp) -> Self {
        Host {
            address,
            seen: now,
            told: Timestamp::ZERO,
            score: Score(0),
            score_at: now,
            destinations: 0,
            attachment: Attachment::default(),
            attached_at: Timestamp::ZERO,
            verified_at: Timestamp::ZERO,
            role: 0,
            generation: 0,
            acted: false,
            round: 0,
            watched: None,
            alarmed: None,
            device: None,
            moved_told: Timestamp::ZERO,
            exploited: None,
            active_told: Timestamp::ZERO,
            overrun: None,
            exposed: None,
            chained: false,
            bait: None,
            fuse: 0,
            fuse_at: Timestamp::ZERO,
            dirty: false,
            smb1: false,
            attempts: Attempts::default(),
            lateral: Recent::default(),
            any: [Bins::default(); ANY_WINDOWS],
            any_inside: [Bins::default(); ANY_WINDOWS],
            datagrams: [Bins::default(); UDP_WINDOWS],
            asked: Bins::default(),
            opened: None,
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
        Party { address: self.address, round: self.round }
    }

    /// Adds evidence: S ← max(0, S + w), after decay. Only evidence that speaks against the host is kept by name.
    pub fn add(&mut self, evidence: Evidence, decay: Duration) -> Score {
        let now = evidence.at.max(self.score_at);
        self.score = Score((self.score_now(now, decay).0.saturating_add(evidence.weight.0)).max(0));
        self.score_at = now;
        self.dirty = true;
        if evidence.weight.0 >= 0 {
            if self.evidence.capacity() == 0 {
                // Once for each host that has evidence at all; the host keeps it until it is evicted.
                self.evidence.reserve_exact(Alarm::EVIDENCE);
            }
            if self.evidence.len() >= Alarm::EVIDENCE {
                self.evidence.remove(0);
            }
            self.evidence.push(evidence);
        }
        self.score
    }

    /// Takes back the latest evidence of a failure on `peer`, because an answer came after all.
    pub fn take_back(&mut self, peer: Address, since: Timestamp, which: impl Fn(&Evidence) -> bool) -> bool {
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

    /// A clean slate after a release, and a new round: whoever never answered it is new again.
    pub fn acquit(&mut self, now: Timestamp) {
        // At the last round it stays: what it met then is known from there on.
        self.round = self.round.saturating_add(1);
        self.score = Score(0);
        self.score_at = now;
        self.acted = false;
        self.device = None;
        self.watched = None;
        self.alarmed = None;
        self.exploited = None;
        self.overrun = None;
        self.exposed = None;
        self.chained = false;
        self.bait = None;
        self.attempts.clear();
        self.lateral.clear();
        self.any = [Bins::default(); ANY_WINDOWS];
        self.any_inside = [Bins::default(); ANY_WINDOWS];
        self.datagrams = [Bins::default(); UDP_WINDOWS];
        self.asked = Bins::default();
        self.opened = None;
        self.swept = None;
        self.evidence.clear();
        self.dirty = true;
    }

    /// How much is lost by forgetting it: acted on, then score, then how lately it was seen.
    fn worth(&self) -> (bool, i32, Timestamp) {
        (self.acted || self.alarmed.is_some(), self.score.0, self.seen)
    }
}

/// How many hosts are looked at to find the one that gives way.
const SAMPLE: usize = 16;

/// The host table of one shard.
pub struct Hosts {
    index: HashTable<u32>,
    slots: Vec<Host>,
    capacity: usize,
    keys: Keys,
    hand: usize,
    evicted: u64,
}

impl Hosts {
    /// For at most `capacity` hosts.
    #[must_use]
    pub fn new(capacity: usize, keys: Keys) -> Self {
        let capacity = capacity.max(SAMPLE);
        Hosts {
            index: HashTable::with_capacity(capacity),
            // Reserved, not touched: memory is used as hosts appear, and never moves or grows past this.
            slots: Vec::with_capacity(capacity),
            capacity,
            keys,
            hand: 0,
            evicted: 0,
        }
    }

    /// The most memory that a table for `capacity` hosts comes to hold, every host with all the evidence it may have.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        let host = size_of::<Host>() + Alarm::EVIDENCE * size_of::<Evidence>();
        capacity * host + index_bytes(capacity)
    }

    fn position(&self, address: Address) -> Option<usize> {
        let slots = &self.slots;
        self.index
            .find(self.keys.address(address), |&at| slots.get(at as usize).is_some_and(|host| host.address == address))
            .map(|&at| at as usize)
    }

    /// The host, if it is known.
    #[must_use]
    pub fn get(&self, address: Address) -> Option<&Host> {
        self.slots.get(self.position(address)?)
    }

    /// The host, if it is known.
    pub fn get_mut(&mut self, address: Address) -> Option<&mut Host> {
        let at = self.position(address)?;
        self.slots.get_mut(at)
    }

    /// The host, made known if it was not.
    pub fn get_or_insert(&mut self, address: Address, now: Timestamp) -> Option<&mut Host> {
        if let Some(at) = self.position(address) {
            return self.slots.get_mut(at);
        }
        let at = if self.slots.len() < self.capacity {
            self.slots.push(Host::new(address, now));
            self.slots.len() - 1
        } else {
            let at = self.give_way()?;
            let old = self.slots.get(at)?.address;
            let hash = self.keys.address(old);
            if let Ok(entry) = self.index.find_entry(hash, |&slot| slot as usize == at) {
                entry.remove();
            }
            self.evicted += 1;
            let slot = self.slots.get_mut(at)?;
            // The evidence buffer stays with the slot: a flood must not allocate for each forged source.
            let mut evidence = std::mem::take(&mut slot.evidence);
            evidence.clear();
            *slot = Host::new(address, now);
            slot.evidence = evidence;
            at
        };
        let (keys, slots) = (self.keys, &self.slots);
        #[expect(clippy::cast_possible_truncation, reason = "capacities are checked to fit u32")]
        self.index.insert_unique(keys.address(address), at as u32, |&slot| {
            slots.get(slot as usize).map_or(0, |host| keys.address(host.address))
        });
        self.slots.get_mut(at)
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
        self.slots.iter()
    }

    /// The host in a slot; for walks over the table that are spread over time.
    #[must_use]
    pub fn slot(&self, at: usize) -> Option<&Host> {
        self.slots.get(at)
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
        (self.slots.len(), self.capacity)
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

    const DECAY: Duration = Duration::from_secs(600);

    #[test]
    fn the_score_decays_by_a_nat_in_ten_minutes_and_never_below_zero() {
        let mut hosts = Hosts::new(64, Keys::new(1));
        let start = Timestamp::from_secs(1_000);
        let host = hosts.get_or_insert(address(1), start).unwrap();
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
        let mut hosts = Hosts::new(64, Keys::new(1));
        let start = Timestamp::from_secs(1_000);
        let host = hosts.get_or_insert(address(1), start).unwrap();
        host.add(evidence(start, 3300), DECAY);
        assert!(!host.take_back(address(8), start, |_| true));
        assert!(host.take_back(address(9), start, |_| true));
        assert_eq!(host.score, Score(0));
        assert!(!host.take_back(address(9), start, |_| true));
    }

    #[test]
    fn a_flood_evicts_no_suspect() {
        let mut hosts = Hosts::new(1024, Keys::new(1));
        let start = Timestamp::from_secs(1_000);
        for n in 0..20 {
            let host = hosts.get_or_insert(address(n), start).unwrap();
            host.add(evidence(start, 2200), DECAY);
        }
        hosts.get_or_insert(address(20), start).unwrap().acted = true;
        for n in 1000..1_001_000u32 {
            hosts.get_or_insert(address(n), start + Duration::from_micros(u64::from(n))).unwrap();
        }
        assert!((0..=20).all(|n| hosts.get(address(n)).is_some()));
        assert_eq!(hosts.occupancy(), (1024, 1024));
        assert_eq!(hosts.evicted(), 1_000_021 - 1024);
    }
}
