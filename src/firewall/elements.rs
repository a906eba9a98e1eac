//! Elements of the kernel's sets, and the skeleton as the kernel shows it.

use std::collections::HashMap;
use std::time::Duration;

use super::places::{self, Found, Key, Row};
use super::ruleset::{DISPATCH, Way, kept};
use crate::suspect::Place;
use crate::sys::netlink::Error;
use crate::sys::nftables::{Change, Element, Family, Table};

/// A race with the kernel's own expiry shows as a refusal; the next look sees what is there.
const ATTEMPTS: u32 = 4;
/// A key takes up to 250 octets to change, and a transaction has to fit the default send buffer of 208 KiB. The more the
/// better: at the end of each the kernel looks through the whole map again.
const KEYS_A_TRANSACTION: usize = 800;
/// Single changes that fit as well.
pub(super) const CHANGES_A_TRANSACTION: usize = 1000;
/// More keys than this are looked up by reading the sets whole.
const LOOKED_UP: usize = 64;

/// Tables `inet firedoor` and `netdev firedoor`.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) inet: Table,
    pub(super) netdev: Table,
}

impl Tables {
    pub(super) fn of(&mut self, set: &str) -> &mut Table {
        match places::family(set) {
            Family::Inet => &mut self.inet,
            Family::Netdev => &mut self.netdev,
        }
    }

    /// The elements of all sets that hold places.
    pub(super) fn read(&mut self) -> Result<Found, Error> {
        self.read_sets(places::sets().map(|(set, _)| set))
    }

    fn read_sets(&mut self, sets: impl Iterator<Item = &'static str>) -> Result<Found, Error> {
        let mut found = Found::default();
        for set in sets {
            let rows =
                self.of(set).elements(set, usize::MAX, |element| Some((element.key.to_vec(), row(set, &element)?)))?;
            found.rows.extend(rows.0.into_iter().map(|(key, row)| ((set, key), row)));
        }
        Ok(found)
    }

    /// Those of `keys` that are there.
    fn look_up(&mut self, keys: &[Key]) -> Result<Found, Error> {
        if keys.len() > LOOKED_UP {
            let mut sets: Vec<&'static str> = keys.iter().map(|(set, _)| *set).collect();
            sets.sort_unstable();
            sets.dedup();
            return self.read_sets(sets.into_iter());
        }
        let mut found = Found::default();
        for (set, key) in keys {
            if let Some(row) = self.of(set).element(set, key, |element| row(set, &element))? {
                found.rows.insert((*set, key.clone()), row);
            }
        }
        Ok(found)
    }

    /// Makes each of `keys` what `wanted` says: there, with that verdict and time, or gone. An element that is there is
    /// taken out in the same transaction, so that its new verdict and timeout hold on every kernel, and no packet sees
    /// it gone. `first` goes ahead of all that. Gives what was there.
    pub(super) fn apply(
        &mut self,
        mut keys: Vec<Key>,
        wanted: &HashMap<Key, Row>,
        first: &[Change],
    ) -> Result<Found, Error> {
        // Neighbours share a message.
        keys.sort_unstable();
        keys.dedup();
        for attempt in 1.. {
            let there = self.look_up(&keys)?;
            match self.write(&keys, wanted, &there, first) {
                Err(error) if raced(&error) && attempt < ATTEMPTS => {}
                result => return result.map(|()| there),
            }
        }
        Ok(Found::default())
    }

    fn write(
        &mut self,
        keys: &[Key],
        wanted: &HashMap<Key, Row>,
        there: &Found,
        first: &[Change],
    ) -> Result<(), Error> {
        let mut changes = first.to_vec();
        for keys in keys.chunks(KEYS_A_TRANSACTION) {
            for (set, key) in keys.iter().filter(|key| there.rows.contains_key(*key)) {
                changes.push(Change::Remove { family: places::family(set), set, key: key.clone() });
            }
            for (set, key) in keys {
                if let Some(row) = wanted.get(&(*set, key.clone())) {
                    changes.push(Change::Put {
                        family: places::family(set),
                        set,
                        key: key.clone(),
                        jump: row.jump,
                        timeout: row.left,
                    });
                }
            }
            self.inet.change(&changes)?;
            changes.clear();
        }
        self.inet.change(&changes)
    }
}

fn row(set: &str, element: &Element<'_>) -> Option<Row> {
    let jump = match element.jump {
        Some(name) => Some(places::chain(name)?),
        None if places::is_map(set) => return None,
        None => None,
    };
    Some(Row { jump, left: element.expires_in })
}

/// The sources in a set whose elements count packets.
pub(super) fn throttled(table: &mut Table, set: &str, most: usize) -> Result<Vec<(Place, u64)>, Error> {
    // Those without a counter are not the fuse's: see `hold_back`.
    let read = |element: Element<'_>| Some((places::read_untagged(element.key)?, element.packets?));
    Ok(table.elements(set, most, read)?.0)
}

/// Keys of a set without timeouts.
pub(super) fn keys(table: &mut Table, set: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut keys = table.elements(set, usize::MAX, |element| Some(element.key.to_vec()))?.0;
    keys.sort_unstable();
    Ok(keys)
}

/// What is left of a time, never quite nothing: the kernel takes 0 for ever.
pub(super) fn left(until: std::time::Instant, now: std::time::Instant) -> Duration {
    until.saturating_duration_since(now).max(Duration::from_millis(1))
}

fn raced(error: &Error) -> bool {
    matches!(error.refused(), Some(libc::ENOENT | libc::EEXIST | libc::EBUSY))
}

/// The skeleton as the kernel shows it: what must not change behind our back. Compares equal while it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    chains: Vec<(String, Vec<String>)>,
    rules: Vec<(String, Vec<u8>)>,
    sets: Vec<(String, u32)>,
    elements: Vec<(String, Vec<Vec<u8>>)>,
    counters: Vec<String>,
}

/// Whether the sets of what is watched hold what they shall.
pub(super) fn dispatches(table: &mut Table, wanted: &[Way]) -> Result<bool, Error> {
    let mut found = Vec::new();
    for set in DISPATCH {
        let read = |element: Element<'_>| Some((set, element.key.to_vec()));
        found.append(&mut table.elements(set, usize::MAX, read)?.0);
    }
    found.sort_unstable();
    Ok(found == wanted)
}

impl Shape {
    /// Whether there is no table, or nothing in it.
    pub(super) fn is_bare(&self) -> bool {
        self.chains.is_empty()
    }
}

/// Reads the skeleton: chains, rules, sets, and the elements of those sets whose elements are part of it.
pub(super) fn shape(table: &mut Table) -> Result<Shape, Error> {
    let mut chains: Vec<_> = table.chains()?.into_iter().map(|chain| (chain.name, chain.devices)).collect();
    chains.sort_unstable();
    let mut sets: Vec<_> = table.sets()?.into_iter().filter(|s| !s.anonymous).map(|s| (s.name, s.size)).collect();
    sets.sort_unstable();
    let mut elements = Vec::new();
    // What is watched changes with whether somebody is acted on: see `Plan::dispatch`.
    let fixed = |name: &str| kept(name).is_none() && !DISPATCH.contains(&name);
    for (name, _) in sets.iter().filter(|(name, _)| fixed(name)) {
        let (mut keys, _) = table.elements(name, usize::MAX, |element| {
            let mut key = element.key.to_vec();
            key.extend(element.last.unwrap_or_default());
            key.push(u8::from(element.interval_end));
            Some(key)
        })?;
        keys.sort_unstable();
        elements.push((name.clone(), keys));
    }
    let mut counters: Vec<_> = table.counters()?.into_iter().map(|counter| counter.name).collect();
    counters.sort_unstable();
    Ok(Shape { chains, rules: table.rules()?, sets, elements, counters })
}
