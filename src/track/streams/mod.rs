//! The connections of one shard whose messages are followed, in a table of fixed capacity.
//!
//! A connection is entered when its server answers (SYN-ACK) or when a payload shows it running; a bare SYN costs
//! nothing. Each has two [followers](crate::track::follower) and a state of the caller's. Full, the table gives up
//! closed connections first, then the longest idle of those never verified, then the longest idle: a flood of forged
//! segments replaces forged connections.
//!
//! **Verified** means that both ends were seen to agree: the client acknowledged the very sequence number of the
//! server's SYN-ACK, or, where the start was not seen, each side's numbers are the ones the other expects. Who forges
//! an address cannot know them. Segments far outside both windows are passed over, so that a blind forgery cannot
//! speak in a running connection; too many of them, and the connection is taken up afresh, unverified.

mod eviction;
mod link;
mod messages;
mod queue;

use hashbrown::HashTable;

use crate::time::Timestamp;
use crate::track::HashKey;
use crate::track::follower::{Follower, HEAD, Piece, Side};
use crate::track::hash_key::index_bytes;
use crate::track::reorder_buffer::ReorderBuffer;
use crate::track::streams::link::{End, Link, Place};
use crate::track::streams::queue::{NONE, Queue};
use crate::wire::Address;
use crate::wire::frame::Segment;

pub use messages::Messages;

#[derive(Debug)]
struct Slot<T> {
    link: Link,
    followers: [Follower; 2],
    waiting: [bool; 2],
    queue: Queue,
    before: u32,
    after: u32,
    state: T,
}

impl<T: Default> Slot<T> {
    /// What was read of it belongs to a former connection.
    fn forget(&mut self) {
        self.followers = [Follower::default(); 2];
        self.waiting = [false; 2];
        self.state = T::default();
    }

    fn wanted_queue(&self) -> Queue {
        match (self.link.is_closed(), self.link.verified) {
            (true, _) => Queue::Closed,
            (false, false) => Queue::Unverified,
            (false, true) => Queue::Verified,
        }
    }
}

/// Counters for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections entered.
    pub entered: u64,
    /// Connections given up for lack of room, closed ones aside.
    pub evicted: u64,
    /// Segments passed over as implausible.
    pub implausible: u64,
    /// Segments kept because they came early.
    pub out_of_order: u64,
    /// Times that missing bytes were given up.
    pub lost: u64,
}

/// The table; `T` is the caller's state of a connection.
#[derive(Debug)]
pub struct Streams<T> {
    capacity: usize,
    hash_key: HashKey,
    table: HashTable<u32>,
    slots: Vec<Slot<T>>,
    heads: Vec<[[u8; HEAD]; 2]>,
    ends: [(u32, u32); 3],
    reorder_buffer: ReorderBuffer,
    counts: Counts,
}

/// A segment's connection: what the caller needs to read it.
#[derive(Debug)]
pub struct Tracked<'a, T> {
    /// The opener.
    pub client: Address,
    /// Who was connected to.
    pub server: Address,
    /// The server's port.
    pub port: u16,
    /// Who sent this segment.
    pub side: Side,
    /// Whether both ends were seen to agree.
    pub verified: bool,
    /// Whether this very segment made it so.
    pub newly_verified: bool,
    /// The caller's state.
    pub state: &'a mut T,
    /// What there is to read.
    pub messages: Messages<'a>,
}

impl<T: Default> Streams<T> {
    /// A table for at most `capacity` connections (at least one).
    #[must_use]
    pub fn new(capacity: usize, hash_key: HashKey) -> Self {
        let capacity = capacity.clamp(1, 1 << 24);
        Streams {
            capacity,
            hash_key,
            // Reserved at once, so that no packet waits for a table to grow; untouched pages cost no memory.
            table: HashTable::with_capacity(capacity),
            slots: Vec::with_capacity(capacity),
            heads: Vec::with_capacity(capacity),
            ends: [(NONE, NONE); 3],
            reorder_buffer: ReorderBuffer::new(),
            counts: Counts::default(),
        }
    }

    /// The memory that a table for `capacity` connections takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        capacity * (size_of::<Slot<T>>() + size_of::<[[u8; HEAD]; 2]>())
            + index_bytes(capacity)
            + ReorderBuffer::SEGMENTS * ReorderBuffer::BYTES
    }

    /// How many connections are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Finds or enters the segment's connection. `sender` is who sent it, as far as its ports and payload show; a
    /// SYN-ACK shows it itself. `None` where the segment is nothing to follow: a SYN, an empty segment of an unknown
    /// connection, a payload whose sides cannot be known, a forgery.
    pub fn track<'a>(
        &'a mut self,
        segment: &Segment<'a>,
        sender: Option<Side>,
        at: Timestamp,
    ) -> Option<Tracked<'a, T>> {
        let (source, target) = ((segment.source, segment.source_port), (segment.destination, segment.destination_port));
        if segment.flags.is_syn() {
            return None;
        }
        let answers = segment.flags.is_syn_ack();
        let hash = hash_of(&self.hash_key, source, target);
        let found = self.find(hash, source, target);
        let index = match found {
            Some(index) => index,
            None if answers => self.enter(hash, target, source),
            None if segment.payload_length == 0 || segment.flags.is_rst() => return None,
            None => match sender? {
                Side::Client => self.enter(hash, source, target),
                Side::Server => self.enter(hash, target, source),
            },
        };
        let slot = self.slots.get_mut(index as usize)?;
        let was_verified = slot.link.verified;
        let (place, starts) = if answers {
            slot.link.greet(target, source, segment)
        } else {
            (slot.link.agrees(slot.link.side_of(source), segment), [None; 2])
        };
        match place {
            Place::Known => {}
            Place::Afresh => {
                slot.forget();
                self.reorder_buffer.forget(index);
            }
            Place::Strange => {
                self.counts.implausible += 1;
                return None;
            }
        }
        let Link { client, server, verified, .. } = slot.link;
        let side = slot.link.side_of(source);
        let queue = slot.wanted_queue();
        self.requeue(index, queue);
        let slot = self.slots.get_mut(index as usize)?;
        Some(Tracked {
            client: client.0,
            server: server.0,
            port: server.1,
            side,
            verified,
            newly_verified: verified && !was_verified,
            state: &mut slot.state,
            messages: Messages {
                side,
                slot: index,
                piece: Piece {
                    sequence: segment.sequence,
                    length: if answers { 0 } else { segment.payload_length },
                    bytes: if answers { &[] } else { captured(segment) },
                },
                acknowledgement: segment.flags.is_ack().then_some(segment.acknowledgement),
                starts,
                at,
                waiting: &mut slot.waiting,
                followers: &mut slot.followers,
                heads: self.heads.get_mut(index as usize)?,
                reorder_buffer: &mut self.reorder_buffer,
                counts: &mut self.counts,
            },
        })
    }

    fn find(&self, hash: u64, source: End, target: End) -> Option<u32> {
        let same = |index: &u32| {
            self.slots.get(*index as usize).is_some_and(|slot| {
                let Link { client, server, .. } = slot.link;
                (client == source && server == target) || (client == target && server == source)
            })
        };
        self.table.find(hash, same).copied()
    }

    fn enter(&mut self, hash: u64, client: End, server: End) -> u32 {
        self.counts.entered += 1;
        let fresh = Slot {
            link: Link::new(client, server),
            followers: [Follower::default(); 2],
            waiting: [false; 2],
            queue: Queue::Unverified,
            before: NONE,
            after: NONE,
            state: T::default(),
        };
        let index = if self.slots.len() < self.capacity {
            let index = u32::try_from(self.slots.len()).unwrap_or(NONE);
            self.slots.push(fresh);
            self.heads.push([[0; HEAD]; 2]);
            index
        } else {
            let index = self.evict();
            if let Some(slot) = self.slots.get_mut(index as usize) {
                *slot = fresh;
            }
            index
        };
        self.link(index, Queue::Unverified);
        let Streams { table, slots, hash_key, .. } = self;
        let rehash = |index: &u32| {
            slots.get(*index as usize).map_or(0, |slot| hash_of(hash_key, slot.link.client, slot.link.server))
        };
        table.insert_unique(hash, index, rehash);
        index
    }
}

/// The same for both directions.
fn hash_of(hash_key: &HashKey, source: End, target: End) -> u64 {
    let (low, high) = if source <= target { (source, target) } else { (target, source) };
    hash_key.pair(low.0, high.0, u64::from(low.1) << 16 | u64::from(high.1))
}

/// What was captured of a segment's payload, never more than its length on the wire.
fn captured<'a>(segment: &Segment<'a>) -> &'a [u8] {
    let length = segment.payload.len().min(segment.payload_length as usize);
    segment.payload.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
