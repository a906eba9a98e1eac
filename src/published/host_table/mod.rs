//! The shared host table: what the shards last reported of each host, for whoever looks.
//!
//! A shard writes when something notable changed about a host (its score, a window, its place, at most about once a
//! second for a host), the control task notes who is watched, and API and metrics read. Who is blocked or held is not here:
//! that is the responder's [`State`]. Writers on the packet path
//! use [`HostTable::try_publish`], which never waits: if somebody reads that part of the table just then, it says so, and
//! the shard tries again with its next batch.
//!
//! Bounded: quiet hosts (no score, no evidence) are taken in up to seven eighths of the capacity, the last eighth is
//! kept for suspects; [`HostTable::trim`], called by the control task, makes room again by dropping the least suspicious
//! host that has been idle longest. An address that is in use on several links has a line for each: it is several hosts. A host that
//! is acted on is never dropped, and one that is watched may be entered even when the table is full.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::host_report::{HostReport, HostSmb, NearMiss, WindowFill};
use super::status::Occupancy;
use crate::evidence::{Alarm, Evidence};
use crate::inspect::Condition;
use crate::respond::State;
use crate::suspect::{Place, Suspect, Who};
use crate::time::Timestamp;
use crate::track::host::{ANY_WINDOWS, LATERAL_WINDOWS, UDP_WINDOWS};
use crate::wire::smb::Dialect;
use crate::wire::{Address, Link};

/// Most links that one address is shown on.
const MOST_LINKS: usize = 64;
/// How lately an address must have been seen on each of several links to be in use there.
const IN_USE: Duration = Duration::from_mins(10);
/// How near a host's decision must have been to be a near miss, in thousandths.
const NEAR_MISS: u32 = 500;
/// A watch is over once the host is no nearer than this, in thousandths, and [`WATCH`] has passed.
const FAR: u32 = 250;
/// How long a watch lasts at least.
const WATCH: Duration = Duration::from_secs(60);

/// A host is watched, or runs into the fuse: nothing is done about it but to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The fuse limits it.
    pub throttled: bool,
    /// Since when.
    pub since: Timestamp,
    /// Whether the fuse drops.
    pub enforced: bool,
}

/// One host's entry in the host table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostEntry {
    /// Its link; interface 0 where that is not known.
    pub link: Link,
    /// What its shard said last.
    pub report: Option<HostReport>,
    /// Whether it is watched.
    pub watch: Option<Watch>,
    /// Its SMB, as client and as server.
    pub smb: HostSmb,
}

impl HostEntry {
    fn is_empty(&self) -> bool {
        self.watch.is_none() && self.report.is_none() && !self.smb.any()
    }

    /// The card that it is judged as, on its link.
    #[must_use]
    pub fn card(&self) -> Option<Suspect> {
        self.report.as_ref().map(|report| report.suspect).filter(|suspect| matches!(suspect.who, Who::Card(_)))
    }

    /// Who it is, where that is known.
    #[must_use]
    pub fn suspect(&self) -> Option<Suspect> {
        self.report.as_ref().map(|report| report.suspect)
    }

    fn seen(&self) -> Timestamp {
        self.report.as_ref().map_or(Timestamp::ZERO, |report| report.seen)
    }

    /// Takes a newer report. The nearest that a host came without being acted on stays in mind until it is.
    fn update(&mut self, mut report: HostReport) {
        let before = self.report.as_ref().and_then(|report| report.near_miss);
        let near = (report.nearness() >= NEAR_MISS).then(|| NearMiss {
            at: report.at,
            share: report.nearness(),
            score: report.score,
            threshold: report.threshold,
        });
        let nearest = before.into_iter().chain(near).max_by_key(|near| near.share);
        report.near_miss = if report.acted { None } else { nearest };
        self.report = Some(report);
    }
}

/// Where the line of a link is among an address's: where the link is not known, the first; what is known of an address without a link belongs to the first link that shows.
fn seat_of(lines: &[HostEntry], link: Link) -> Option<&HostEntry> {
    if link.interface == 0 {
        return lines.first();
    }
    lines.iter().find(|line| line.link == link).or_else(|| lines.iter().find(|line| line.link.interface == 0))
}

fn seat(lines: &mut [HostEntry], link: Link) -> Option<&mut HostEntry> {
    let at = {
        let line = seat_of(lines, link)?;
        lines.iter().position(|other| std::ptr::eq(other, line))?
    };
    let line = lines.get_mut(at)?;
    if link.interface != 0 {
        line.link = link;
    }
    Some(line)
}

/// One more line of an address. Nearly every address has one only, and room for four takes as much as four.
fn add(lines: &mut Vec<HostEntry>, line: HostEntry) {
    lines.reserve_exact(1);
    lines.push(line);
}

/// Adds a line to those found, one a link: the latest report, and the address that it was made of.
fn join(found: &mut Vec<(Address, HostEntry)>, host: Address, line: &HostEntry) {
    let Some((called, known)) = found.iter_mut().find(|(_, known)| known.link == line.link) else {
        found.push((host, line.clone()));
        return;
    };
    let (said, new) = (known.report.as_ref().map(|report| report.at), line.report.as_ref().map(|report| report.at));
    if said < new {
        *called = host;
        known.report.clone_from(&line.report);
        known.watch = line.watch.or(known.watch);
    }
    known.smb.join(line.smb);
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// It is in the host table.
    Yes,
    /// Somebody held that part of the table: try again later.
    Busy,
    /// The table has no room for this host; counted.
    Full,
}

/// The shared host table.
#[derive(Debug)]
pub struct HostTable {
    lines: DashMap<Address, Vec<HostEntry>, foldhash::fast::RandomState>,
    capacity: usize,
    used: AtomicUsize,
    evicted: AtomicU64,
    refused: AtomicU64,
    near_misses: AtomicU64,
}

impl HostTable {
    /// A host table for at most `capacity` hosts (at least 8) besides those with a decision in force.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        HostTable {
            lines: DashMap::with_hasher(foldhash::fast::RandomState::default()),
            capacity: capacity.max(8),
            used: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            near_misses: AtomicU64::new(0),
        }
    }

    /// The most memory that a host table for `capacity` hosts comes to hold, every host with all that can be known of it.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        // The table grows by doubling and is at most seven eighths full; while it grows, old and new stand side by side.
        let place = (size_of::<(Address, Vec<HostEntry>)>() + 1) * 3 + size_of::<HostEntry>();
        let windows = (LATERAL_WINDOWS + ANY_WINDOWS + UDP_WINDOWS) * size_of::<WindowFill>();
        capacity * (place + windows + Alarm::EVIDENCE * size_of::<Evidence>())
    }

    /// Puts up what a shard knows of a host; never waits.
    pub fn try_publish(&self, host: Address, report: HostReport) -> Publication {
        let link = report.suspect.link;
        let room = if report.suspicious() { self.capacity } else { self.capacity - self.capacity / 8 };
        let Some(entry) = self.lines.try_entry(host) else { return Publication::Busy };
        if self.with_line(entry, link, room, |line| line.update(report)) { Publication::Yes } else { Publication::Full }
    }

    /// Changes the line of a link, a new one if there is room: `false`, and counted, if there is none.
    fn with_line(
        &self,
        entry: Entry<'_, Address, Vec<HostEntry>>,
        link: Link,
        room: usize,
        change: impl FnOnce(&mut HostEntry),
    ) -> bool {
        let is_full = self.used.load(Ordering::Relaxed) >= room;
        let mut new = HostEntry { link, ..HostEntry::default() };
        match entry {
            Entry::Occupied(mut lines) => {
                if let Some(line) = seat(lines.get_mut(), link) {
                    change(line);
                    return true;
                }
                if !is_full && lines.get().len() < MOST_LINKS {
                    change(&mut new);
                    add(lines.get_mut(), new);
                    self.used.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
            }
            Entry::Vacant(place) if !is_full => {
                change(&mut new);
                place.insert(vec![new]);
                self.used.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Entry::Vacant(_) => {}
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Puts up what a host was seen to speak, on whichever link; a host that is only seen as a server appears here first.
    /// For the control task: may wait for a reader.
    pub fn speaks(&self, host: Address, as_server: bool, dialect: Dialect, signing: bool, encryption: bool) {
        let room = self.capacity - self.capacity / 8;
        let speak = |line: &mut HostEntry| line.smb.spoke(as_server, dialect, signing, encryption);
        self.with_line(self.lines.entry(host), Link::default(), room, speak);
    }

    /// Puts up that an answer of a server gave away its condition, on whichever link. For the control task: may wait for a
    /// reader. Takes the room that is kept for suspects, too.
    pub fn gave_away(&self, server: Address, condition: Condition, at: Timestamp) {
        let change = |entry: &mut HostEntry| entry.smb.gave_away(condition, at);
        self.with_line(self.lines.entry(server), Link::default(), self.capacity, change);
    }

    /// Notes that a host on a link is watched, or is not any more. For the control task: may wait for a reader.
    pub fn watch(&self, host: Address, link: Link, watch: Option<Watch>) {
        let mut lines = self.lines.entry(host).or_default();
        if let Some(line) = seat(&mut lines, link) {
            line.watch = watch;
            let before = lines.len();
            lines.retain(|line| !line.is_empty());
            self.used.fetch_sub(before - lines.len(), Ordering::Relaxed);
        } else if watch.is_some() {
            add(&mut lines, HostEntry { link, watch, ..HostEntry::default() });
            self.used.fetch_add(1, Ordering::Relaxed);
        }
        if lines.is_empty() {
            drop(lines);
            self.lines.remove_if(&host, |_, lines| lines.is_empty());
        }
    }

    /// More is done about a host on a link than to watch it: that ends the watch, and the nearest miss was none.
    pub fn acted_on(&self, host: Address, link: Link) {
        if let Some(mut lines) = self.lines.get_mut(&host)
            && let Some(report) = seat(&mut lines, link).and_then(|line| line.report.as_mut())
        {
            report.near_miss = None;
        }
        self.watch(host, link, None);
    }

    /// The line of an address: of several, the one last seen.
    #[must_use]
    pub fn get(&self, host: Address) -> Option<HostEntry> {
        let lines = self.lines.get(&host)?;
        lines.iter().max_by_key(|line| line.seen()).cloned()
    }

    /// All lines of an address, one a link.
    #[must_use]
    pub fn lines_of(&self, host: Address) -> Vec<HostEntry> {
        self.lines.get(&host).map(|lines| lines.value().clone()).unwrap_or_default()
    }

    /// The line of an address on a link.
    #[must_use]
    pub fn on(&self, host: Address, link: Link) -> Option<HostEntry> {
        self.lines.get(&host)?.iter().find(|line| line.link == link).cloned()
    }

    /// Everybody who uses an address, one a link, with the address that each last used. What is known is the latest that was said of it. Looks at everybody: for the API and for orders.
    #[must_use]
    pub fn users(&self, address: Address) -> Vec<(Address, HostEntry)> {
        let mut found: Vec<(Address, HostEntry)> = Vec::new();
        let mut cards: Vec<Suspect> = Vec::new();
        let uses = |host: Address, line: &HostEntry| {
            host == address || line.report.as_ref().is_some_and(|report| report.addresses.contains(&address))
        };
        self.each(|host, line| {
            if uses(host, line) {
                cards.extend(line.card());
                join(&mut found, host, line);
            }
        });
        // A card may have been seen since under an address that it did not have then.
        self.each(|host, line| {
            if !uses(host, line) && line.card().is_some_and(|card| cards.contains(&card)) {
                join(&mut found, host, line);
            }
        });
        found.sort_by_key(|(_, line)| std::cmp::Reverse(line.seen()));
        found
    }

    /// The address that whoever sends from a place was last seen with. Looks at everybody.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<(Address, Option<HostEntry>)> {
        let interface = place.link.interface;
        let there =
            |line: &&HostEntry| line.report.as_ref().is_some_and(|report| report.attachment.interface == interface);
        let card = match place.source {
            Who::Card(card) => card,
            Who::Address(address) => {
                let line = self.lines.get(&address).and_then(|lines| lines.iter().find(there).cloned());
                return Some((address, line));
            }
            Who::Network(_) => return None,
        };
        let mut last: Option<(Address, HostEntry)> = None;
        self.each(|host, line| {
            let is_its = line.report.as_ref().is_some_and(|report| report.attachment.mac == card) && there(&line);
            if is_its && last.as_ref().is_none_or(|(_, last)| last.seen() <= line.seen()) {
                last = Some((host, line.clone()));
            }
        });
        last.map(|(host, line)| (host, Some(line)))
    }

    /// Looks at every line, one part of the table locked for reading at a time.
    pub fn each(&self, mut look: impl FnMut(Address, &HostEntry)) {
        for lines in &self.lines {
            lines.value().iter().for_each(|line| look(*lines.key(), line));
        }
    }

    /// Addresses that are in use on several links now, with those links: at most `most` of them, and how many there are.
    #[must_use]
    pub fn overlaps(&self, now: Timestamp, most: usize) -> (Vec<(Address, Vec<Link>)>, usize) {
        let mut found = Vec::new();
        for lines in &self.lines {
            let used = |line: &&HostEntry| {
                line.link.interface != 0 && line.report.is_some() && now.since(line.seen()) <= IN_USE
            };
            let mut links: Vec<Link> = lines.value().iter().filter(used).map(|line| line.link).collect();
            if links.len() > 1 {
                links.sort_unstable();
                found.push((*lines.key(), links));
            }
        }
        let total = found.len();
        found.sort_unstable();
        found.truncate(most);
        (found, total)
    }

    /// Hosts in the host table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hosts it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Hosts dropped to make room, and publications refused for want of it.
    #[must_use]
    pub fn evicted(&self) -> (u64, u64) {
        (self.evicted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// How full it is, as a table among the tables; refused publications count as evictions.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (evicted, refused) = self.evicted();
        Occupancy {
            name: "host_table".to_owned(),
            used: count(self.len()),
            capacity: count(self.capacity),
            evicted: evicted.saturating_add(refused),
        }
    }

    /// Hosts that were watched and fell back without a decision.
    #[must_use]
    pub fn near_misses(&self) -> u64 {
        self.near_misses.load(Ordering::Relaxed)
    }

    /// Looks once at everybody: ends the watches that are outlived, and counts those that are not. For the control task,
    /// about once a second.
    pub fn survey(&self, now: Timestamp, decay: Duration) -> u64 {
        let mut watched = 0;
        let mut outlived: Vec<(Address, Link)> = Vec::new();
        self.each(|host, line| {
            let Some(watch) = line.watch else { return };
            let near = line.report.as_ref().map_or(0, |report| report.nearness_at(now, decay));
            if near < FAR && now.since(watch.since) >= WATCH {
                outlived.push((host, line.link));
            } else {
                watched += 1;
            }
        });
        self.near_misses.fetch_add(u64::try_from(outlived.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for (host, link) in outlived {
            self.watch(host, link, None);
        }
        watched
    }

    /// Makes room once three quarters are used: drops the least suspicious hosts, the longest idle first, down to five
    /// eighths, but nobody who is acted on by `state`. Returns how many. For the control task, about once a second.
    pub fn trim(&self, now: Timestamp, decay: Duration, state: &State) -> usize {
        let used = self.len();
        if used <= self.capacity / 4 * 3 {
            return 0;
        }
        let surplus = used - self.capacity / 8 * 5;
        let mut candidates: Vec<(u32, Timestamp, Address, Link)> = Vec::with_capacity(used);
        self.each(|host, line| {
            if !state.is_acted_on(host, line.link, line.suspect()) {
                let near = line.report.as_ref().map_or(0, |report| report.nearness_at(now, decay));
                candidates.push((near, line.seen(), host, line.link));
            }
        });
        if surplus < candidates.len() {
            candidates.select_nth_unstable(surplus);
            candidates.truncate(surplus);
        }
        let mut dropped = 0;
        for (_, seen, host, link) in candidates {
            // It may have been published or decided about again since it was looked at.
            let idle = |line: &HostEntry| line.link == link && line.seen() == seen;
            if let Some(mut lines) = self.lines.get_mut(&host) {
                let before = lines.len();
                lines.retain(|line| !idle(line));
                dropped += before - lines.len();
                let none_left = lines.is_empty();
                drop(lines);
                if none_left {
                    self.lines.remove_if(&host, |_, lines| lines.is_empty());
                }
            }
        }
        self.used.fetch_sub(dropped, Ordering::Relaxed);
        self.evicted.fetch_add(u64::try_from(dropped).unwrap_or(u64::MAX), Ordering::Relaxed);
        dropped
    }
}
