//! What the rules counted, and how full the kernel's sets are.

use super::elements::Tables;
use super::ruleset::{COUNTERS, KEPT_SETS};
use crate::sys::netlink::Error;
use crate::sys::nftables::{Counter, Set, Table};

/// Most elements counted one by one, on kernels that do not report a set's number.
const COUNTED_BY_HAND: usize = 65_536;

/// A named counter's reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub bytes: u64,
}

/// How full a kernel set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The set's name.
    pub set: &'static str,
    /// Elements in it, or at least so many where [`Occupancy::exact`] is false.
    pub elements: u32,
    /// Whether that is all; counting stops early on kernels (before 6.16) that do not report the number.
    pub exact: bool,
    /// Most it may hold; 0 is no bound.
    pub size: u32,
}

/// Every named counter, and how full the sets are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Readings by name, in the order of [`COUNTERS`].
    pub counts: Vec<(&'static str, Count)>,
    /// One for each of [`KEPT_SETS`] that is there.
    pub sets: Vec<Occupancy>,
}

impl Counters {
    /// The reading of one counter; zero if there is none of that name.
    #[must_use]
    pub fn count(&self, name: &str) -> Count {
        self.counts.iter().find(|(n, _)| *n == name).map(|(_, count)| *count).unwrap_or_default()
    }

    /// Both tables' counters of one name are one.
    pub(super) fn read(tables: &mut Tables) -> Result<Self, Error> {
        let mut named = tables.inet.counters()?;
        named.extend(tables.netdev.counters()?);
        let counts = COUNTERS
            .iter()
            .filter_map(|name| {
                let of = |count: Option<Count>, counter: &Counter| {
                    let Count { packets, bytes } = count.unwrap_or_default();
                    Some(Count { packets: packets + counter.packets, bytes: bytes + counter.bytes })
                };
                Some((*name, named.iter().filter(|counter| counter.name == *name).fold(None, of)?))
            })
            .collect();
        let mut sets = Vec::new();
        for table in [&mut tables.inet, &mut tables.netdev] {
            let there = table.sets()?;
            for (name, _) in KEPT_SETS {
                if let Some(set) = there.iter().find(|set| set.name == name) {
                    sets.push(occupancy(table, name, set)?);
                }
            }
        }
        Ok(Counters { counts, sets })
    }
}

fn occupancy(table: &mut Table, name: &'static str, set: &Set) -> Result<Occupancy, Error> {
    let (elements, exact) = if let Some(count) = set.count {
        (count, true)
    } else {
        let (found, whole) = table.elements(name, COUNTED_BY_HAND, |_| Some(()))?;
        (u32::try_from(found.len()).unwrap_or(u32::MAX), whole)
    };
    Ok(Occupancy { set: name, elements, exact, size: set.size })
}
