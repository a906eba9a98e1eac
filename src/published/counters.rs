//! Plain counters that capture threads bump and a scrape sums.
//!
//! Each shard has its own [`ShardCounters`], so that no two threads write one cache line; cells are relaxed atomics,
//! set or added to once a batch rather than once a packet. What several shards count of one interface goes to that
//! interface's [`InterfaceCounters`]. Labels are closed enums, and interfaces: the number of series is bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::status::{Occupancy, ShardView};
use crate::detect::counters::Counters as Detected;
use crate::time::Timestamp;
use crate::wire::frame::{Encapsulation, FragmentKind, TunnelKind, Undecoded};

/// Most interfaces that are counted apart; further ones share the last one's counters.
pub const MOST_INTERFACES: usize = 64;

/// Most ethertypes that are counted apart; further ones are counted together.
pub const MOST_ETHERTYPES: usize = 16;

/// One number that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds.
    pub fn add(&self, n: u64) {
        if n != 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Puts up a total that is kept elsewhere.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One cell for each value of a closed set, by the value's position in it.
#[derive(Debug)]
pub struct Cells<const N: usize>([Cell; N]);

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        Cells(std::array::from_fn(|_| Cell::default()))
    }
}

impl<const N: usize> Cells<N> {
    /// Adds to the cell at `position`; a position outside the set is nobody's.
    pub fn add(&self, position: usize, n: u64) {
        if let Some(cell) = self.0.get(position) {
            cell.add(n);
        }
    }

    /// Puts up the total of the cell at `position`.
    pub fn set(&self, position: usize, n: u64) {
        if let Some(cell) = self.0.get(position) {
            cell.set(n);
        }
    }

    /// Puts up all totals, in the set's order.
    pub fn set_all(&self, totals: &[u64; N]) {
        for (cell, total) in self.0.iter().zip(totals) {
            cell.set(*total);
        }
    }

    /// Reads the cell at `position`; 0 outside the set.
    #[must_use]
    pub fn get(&self, position: usize) -> u64 {
        self.0.get(position).map_or(0, Cell::get)
    }
}

labels! {
    /// A shard's tables of fixed capacity.
    Table {
        /// Hosts with state.
        Hosts = "hosts",
        /// (source, destination) pairs remembered.
        Contacts = "contacts",
        /// Addresses whose liveness is known.
        Addresses = "addresses",
        /// Attempts waiting for an answer.
        Attempts = "attempts",
        /// SMB and DCE/RPC connections followed.
        Streams = "streams",
    }
}

/// One capture thread's counters.
#[derive(Debug, Default)]
pub struct ShardCounters {
    /// Packets taken.
    pub packets: Cell,
    /// Frames that could not be decoded, by [`Undecoded`].
    pub undecoded: Cells<{ Undecoded::ALL.len() }>,
    /// Fragments that no honest sender makes, by [`FragmentKind`].
    pub fragments: Cells<{ FragmentKind::ALL.len() }>,
    /// Tunnelled packets that were looked into, by [`TunnelKind`].
    pub tunnels_opened: Cells<{ TunnelKind::ALL.len() }>,
    /// Tunnelled packets that were not looked into, by [`TunnelKind`].
    pub tunnels_closed: Cells<{ TunnelKind::ALL.len() }>,
    /// Frames with more than one VLAN tag between Ethernet and IP, by [`Encapsulation`] in the order of its list.
    pub encapsulated: Cells<{ Encapsulation::ALL.len() }>,
    /// Buckets of flows that are only sampled now, of [`BUCKETS`](crate::capture::busy::BUCKETS).
    pub sampled: Cell,
    /// What the shard's detector counts, as last put up.
    pub detected: ArcSwap<Detected>,
    /// Alarms and reports that the control queue had no room for.
    pub queue_drops: Cell,
    /// Entries in use, by [`Table`].
    pub used: Cells<{ Table::ALL.len() }>,
    /// Entries there is room for, by [`Table`].
    pub capacity: Cells<{ Table::ALL.len() }>,
    /// Entries evicted, by [`Table`].
    pub evicted: Cells<{ Table::ALL.len() }>,
    /// Nanoseconds since the epoch at which the thread last showed that it runs.
    pub alive: Cell,
}

/// What all shards count of one interface.
#[derive(Debug, Default)]
pub struct InterfaceCounters {
    /// Its name.
    pub name: String,
    /// Packets that came in.
    pub packets_in: Cell,
    /// Packets that went out.
    pub packets_out: Cell,
    /// Packets the kernel dropped because a ring was full.
    pub kernel_drops: Cell,
    /// Nanoseconds since the epoch of the last packet.
    pub last_packet: Cell,
}

/// All counters of the daemon.
#[derive(Debug, Default)]
pub struct Counters {
    shards: Vec<Arc<ShardCounters>>,
    interfaces: Mutex<Vec<Arc<InterfaceCounters>>>,
    ethertypes: Mutex<Vec<(u16, Arc<Cell>)>>,
    other_ethertypes: Arc<Cell>,
}

impl Counters {
    /// For so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Counters { shards: (0..shards).map(|_| Arc::default()).collect(), ..Counters::default() }
    }

    /// One shard's counters, for its thread to keep.
    #[must_use]
    pub fn shard(&self, shard: usize) -> Option<Arc<ShardCounters>> {
        self.shards.get(shard).cloned()
    }

    /// An interface's counters, made at the first call; they outlive the interface, so that its totals never fall.
    #[must_use]
    pub fn interface(&self, name: &str) -> Arc<InterfaceCounters> {
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = interfaces.iter().find(|known| known.name == name) {
            return Arc::clone(known);
        }
        if let (true, Some(last)) = (interfaces.len() >= MOST_INTERFACES, interfaces.last()) {
            return Arc::clone(last);
        }
        let new = Arc::new(InterfaceCounters { name: name.to_owned(), ..InterfaceCounters::default() });
        interfaces.push(Arc::clone(&new));
        new
    }

    /// Every interface ever counted.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Arc<InterfaceCounters>> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The count of frames of an ethertype that was not read, made at the first call; beyond [`MOST_ETHERTYPES`], that
    /// of all others.
    #[must_use]
    pub fn ethertype(&self, ethertype: u16) -> Arc<Cell> {
        let mut ethertypes = self.ethertypes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = ethertypes.iter().find(|(known, _)| *known == ethertype) {
            return Arc::clone(known);
        }
        if ethertypes.len() >= MOST_ETHERTYPES {
            return Arc::clone(&self.other_ethertypes);
        }
        let new = Arc::default();
        ethertypes.push((ethertype, Arc::clone(&new)));
        new
    }

    /// The count of frames whose ethertype is not counted apart.
    #[must_use]
    pub fn other_ethertypes(&self) -> &Arc<Cell> {
        &self.other_ethertypes
    }

    /// Frames that were not read, by the ethertype where reading ended, in the order of their first frames.
    #[must_use]
    pub fn unread(&self) -> Vec<(u16, u64)> {
        let ethertypes = self.ethertypes.lock().unwrap_or_else(PoisonError::into_inner);
        ethertypes.iter().map(|(ethertype, count)| (*ethertype, count.get())).collect()
    }

    /// A sum over shards.
    pub fn sum(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(shard)).sum()
    }

    /// What the shards' detectors count, together.
    #[must_use]
    pub fn detected(&self) -> Detected {
        let mut all = Detected::default();
        for shard in &self.shards {
            all.add(&shard.detected.load());
        }
        all
    }

    /// The shards, for the status.
    #[must_use]
    pub fn shard_views(&self) -> Vec<ShardView> {
        let hosts = Table::Hosts as usize;
        (0..)
            .zip(&self.shards)
            .map(|(number, shard)| ShardView {
                shard: number,
                packets: shard.packets.get(),
                hosts: shard.used.get(hosts),
                queue_drops: shard.queue_drops.get(),
                alive: Timestamp::from_nanos(shard.alive.get()),
            })
            .collect()
    }

    /// The shards' tables summed, for the status.
    #[must_use]
    pub fn tables(&self) -> Vec<Occupancy> {
        let table = |table: &Table| {
            let at = *table as usize;
            Occupancy {
                name: table.label().to_owned(),
                used: self.sum(|shard| shard.used.get(at)),
                capacity: self.sum(|shard| shard.capacity.get(at)),
                evicted: self.sum(|shard| shard.evicted.get(at)),
            }
        };
        Table::ALL.iter().map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_its_position() {
        for (position, signal) in crate::detect::Signal::ALL.iter().enumerate() {
            assert_eq!(*signal as usize, position);
        }
        for (position, reason) in Undecoded::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
        for (position, outcome) in crate::detect::counters::Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, position);
        }
    }

    #[test]
    fn sums_run_over_all_shards() {
        let counters = Counters::new(3);
        for shard in 0..3 {
            let shard = counters.shard(shard).unwrap();
            shard.used.set(Table::Hosts as usize, 5);
            shard.capacity.set(Table::Hosts as usize, 10);
            shard.detected.store(Arc::new(Detected { signed: 2, ..Detected::default() }));
        }
        assert_eq!(counters.detected().signed, 6);
        let hosts = counters.tables().remove(0);
        assert_eq!((hosts.name.as_str(), hosts.used, hosts.capacity), ("hosts", 15, 30));
        assert!(counters.shard(3).is_none());
    }

    #[test]
    fn an_interface_keeps_its_counters_and_their_number_is_bounded() {
        let counters = Counters::new(1);
        counters.interface("eth0").packets_in.add(7);
        assert_eq!(counters.interface("eth0").packets_in.get(), 7);
        for n in 0..1000 {
            let _ = counters.interface(&format!("veth{n}"));
        }
        assert_eq!(counters.interfaces().len(), MOST_INTERFACES);
    }

    #[test]
    fn the_first_ethertypes_are_counted_apart_and_their_number_is_bounded() {
        let counters = Counters::new(1);
        for ethertype in 0x9000..0x9100 {
            counters.ethertype(ethertype).add(2);
        }
        counters.ethertype(0x9000).add(1);
        let unread = counters.unread();
        assert_eq!((unread.len(), unread[0]), (MOST_ETHERTYPES, (0x9000, 3)));
        assert_eq!(counters.other_ethertypes().get(), 2 * (256 - 16));
    }

    #[test]
    fn a_position_outside_the_set_is_nobodys() {
        let cells = Cells::<2>::default();
        cells.add(2, 1);
        cells.set(9, 1);
        assert_eq!((cells.get(0), cells.get(1), cells.get(2)), (0, 0, 0));
    }
}
