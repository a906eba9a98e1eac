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

mod link;
mod messages;

use hashbrown::HashTable;

use crate::time::Timestamp;
use crate::track::Keys;
use crate::track::early::Early;
use crate::track::follower::{Follower, HEAD, Piece, Side};
use crate::track::keys::index_bytes;
use crate::track::streams::link::{End, Link, Place};
use crate::wire::Address;
use crate::wire::frame::Segment;

pub use messages::Messages;

/// The three queues of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Closed,
    Unverified,
    Verified,
}

const NONE: u32 = u32::MAX;

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
    pub early: u64,
    /// Times that missing bytes were given up.
    pub lost: u64,
}

/// The table; `T` is the caller's state of a connection.
#[derive(Debug)]
pub struct Streams<T> {
    capacity: usize,
    keys: Keys,
    table: HashTable<u32>,
    slots: Vec<Slot<T>>,
    heads: Vec<[[u8; HEAD]; 2]>,
    ends: [(u32, u32); 3],
    early: Early,
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
    pub fn new(capacity: usize, keys: Keys) -> Self {
        let capacity = capacity.clamp(1, 1 << 24);
        Streams {
            capacity,
            keys,
            // Reserved at once, so that no packet waits for a table to grow; untouched pages cost no memory.
            table: HashTable::with_capacity(capacity),
            slots: Vec::with_capacity(capacity),
            heads: Vec::with_capacity(capacity),
            ends: [(NONE, NONE); 3],
            early: Early::new(),
            counts: Counts::default(),
        }
    }

    /// The memory that a table for `capacity` connections takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        capacity * (size_of::<Slot<T>>() + size_of::<[[u8; HEAD]; 2]>())
            + index_bytes(capacity)
            + Early::SEGMENTS * Early::BYTES
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
    /// connection, a payload whose sides nobody can tell, a forgery.
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
        let hash = hash_of(&self.keys, source, target);
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
                self.early.forget(index);
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
                early: &mut self.early,
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
        let Streams { table, slots, keys, .. } = self;
        let rehash = |index: &u32| {
            slots.get(*index as usize).map_or(0, |slot| hash_of(keys, slot.link.client, slot.link.server))
        };
        table.insert_unique(hash, index, rehash);
        index
    }

    /// Frees the slot whose loss hurts least and returns it.
    fn evict(&mut self) -> u32 {
        let index = self.ends.iter().map(|(first, _)| *first).find(|first| *first != NONE).unwrap_or_default();
        if let Some(slot) = self.slots.get(index as usize) {
            if slot.queue != Queue::Closed {
                self.counts.evicted += 1;
            }
            let hash = hash_of(&self.keys, slot.link.client, slot.link.server);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == index) {
                entry.remove();
            }
        }
        self.unlink(index);
        self.early.forget(index);
        index
    }

    fn requeue(&mut self, index: u32, queue: Queue) {
        // Already the latest of its queue: nothing to move.
        if self.slots.get(index as usize).is_some_and(|slot| slot.queue == queue && slot.after == NONE) {
            return;
        }
        self.unlink(index);
        self.link(index, queue);
    }

    fn unlink(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index as usize) else { return };
        let (queue, before, after) = (slot.queue as usize, slot.before, slot.after);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.after = after,
            None => {
                if let Some(ends) = self.ends.get_mut(queue) {
                    ends.0 = after;
                }
            }
        }
        match self.slots.get_mut(after as usize) {
            Some(slot) => slot.before = before,
            None => {
                if let Some(ends) = self.ends.get_mut(queue) {
                    ends.1 = before;
                }
            }
        }
    }

    fn link(&mut self, index: u32, queue: Queue) {
        let Some(ends) = self.ends.get_mut(queue as usize) else { return };
        let last = std::mem::replace(&mut ends.1, index);
        if last == NONE {
            ends.0 = index;
        }
        if let Some(slot) = self.slots.get_mut(last as usize) {
            slot.after = index;
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.queue, slot.before, slot.after) = (queue, last, NONE);
        }
    }
}

/// The same for both directions.
fn hash_of(keys: &Keys, source: End, target: End) -> u64 {
    let (low, high) = if source <= target { (source, target) } else { (target, source) };
    keys.pair(low.0, high.0, u64::from(low.1) << 16 | u64::from(high.1))
}

/// What was captured of a segment's payload, never more than its length on the wire.
fn captured<'a>(segment: &Segment<'a>) -> &'a [u8] {
    let length = segment.payload.len().min(segment.payload_length as usize);
    segment.payload.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::follower::Reader;
    use crate::track::follower::Step;
    use crate::track::streams::link::STRANGE;
    use crate::track::streams::messages::PATIENCE;
    use crate::wire::frame::Flags;

    /// Messages are a length octet and so many bytes; what is read is all of it.
    #[derive(Debug, Default)]
    struct Toy {
        read: [Vec<Vec<u8>>; 2],
        body: [bool; 2],
    }

    impl Reader for Toy {
        fn read(&mut self, side: Side, bytes: &[u8]) -> Step {
            let body = &mut self.body[side.index()];
            *body = !*body;
            if *body {
                let length = bytes[0];
                return Step::Want { skip: 1, need: u16::from(length), left: u32::from(length) };
            }
            self.read[side.index()].push(bytes.to_vec());
            Step::Want { skip: u32::try_from(bytes.len()).unwrap(), need: 1, left: 0 }
        }

        fn begin(&mut self, side: Side) -> u16 {
            self.body[side.index()] = false;
            1
        }

        fn resembles(&self, _: Side, start: &[u8]) -> bool {
            start.first() == Some(&3)
        }
    }

    const CLIENT: u16 = 50_000;
    const SERVER: u16 = 445;

    struct Talk {
        streams: Streams<Toy>,
        at: Timestamp,
        port: u16,
    }

    impl Talk {
        fn new(capacity: usize) -> Talk {
            Talk { streams: Streams::new(capacity, Keys::new(1)), at: Timestamp::from_secs(9), port: CLIENT }
        }

        fn say(&mut self, side: Side, flags: u8, numbers: [u32; 2], payload: &[u8]) -> Option<bool> {
            let (client, server) = ((Address::v4([10, 0, 0, 1]), self.port), (Address::v4([10, 0, 0, 2]), SERVER));
            let (from, to) = if side == Side::Client { (client, server) } else { (server, client) };
            let segment = Segment {
                source: from.0,
                destination: to.0,
                source_port: from.1,
                destination_port: to.1,
                flags: Flags(flags),
                sequence: numbers[0],
                acknowledgement: numbers[1],
                payload_length: u32::try_from(payload.len()).unwrap(),
                payload,
            };
            let Tracked { state, mut messages, verified, .. } = self.streams.track(&segment, Some(side), self.at)?;
            messages.read(state);
            Some(verified)
        }

        fn heard(&self, side: Side) -> Vec<u8> {
            self.streams.slots[0].state.read[side.index()].iter().map(|message| message[0]).collect()
        }
    }

    const ACK: u8 = Flags::ACK;
    const SYN_ACK: u8 = Flags::SYN | Flags::ACK;

    #[test]
    fn a_handshake_verifies_by_the_very_number() {
        let mut talk = Talk::new(4);
        assert_eq!(talk.say(Side::Client, Flags::SYN, [99, 0], &[]), None);
        assert!(talk.streams.is_empty());
        assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(false));
        assert_eq!(talk.say(Side::Client, ACK, [100, 501], &[3, 1, 1, 1]), Some(false));
        assert_eq!(talk.say(Side::Client, ACK, [104, 500], &[]), Some(true));
        assert_eq!(talk.heard(Side::Client), [1]);
    }

    #[test]
    fn a_running_connection_is_verified_when_both_agree() {
        let mut talk = Talk::new(4);
        assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]), Some(false));
        assert_eq!(talk.say(Side::Client, ACK, [104, 500], &[3, 2, 1, 1]), Some(false));
        assert_eq!(talk.say(Side::Server, ACK, [500, 108], &[3, 7, 7, 7]), Some(true));
        assert_eq!((talk.heard(Side::Client), talk.heard(Side::Server)), (vec![1, 2], vec![7]));
    }

    #[test]
    fn a_forged_segment_neither_speaks_nor_verifies() {
        let mut talk = Talk::new(4);
        talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
        assert_eq!(talk.say(Side::Server, ACK, [500, 0x4000_0000], &[]), None);
        assert_eq!(talk.say(Side::Client, ACK, [0x4000_0000, 500], &[3, 9, 9, 9]), None);
        assert_eq!(talk.say(Side::Server, ACK, [500, 104], &[3, 7, 7, 7]), Some(true));
        assert_eq!(talk.heard(Side::Client), [1]);
        assert_eq!(talk.streams.counts().implausible, 2);
    }

    #[test]
    fn many_implausible_segments_are_another_connection() {
        let mut talk = Talk::new(4);
        talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
        talk.say(Side::Server, ACK, [500, 104], &[3, 7, 7, 7]);
        for n in 0..u32::from(STRANGE) - 1 {
            assert_eq!(talk.say(Side::Client, ACK, [0x4000_0000 + 4 * n, 900], &[3, 9, 9, 9]), None);
        }
        assert_eq!(talk.say(Side::Client, ACK, [0x4000_0100, 900], &[3, 4, 4, 4]), Some(false));
        assert_eq!(talk.heard(Side::Client), [4]);
    }

    #[test]
    fn the_same_ports_answered_anew_are_a_new_connection() {
        let mut talk = Talk::new(4);
        talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
        talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
        assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(true));
        assert_eq!(talk.say(Side::Server, SYN_ACK, [0x7000_0000, 0x1000_0000], &[]), Some(false));
        assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
        assert_eq!(talk.streams.len(), 1);
    }

    #[test]
    fn a_late_syn_ack_verifies_without_forgetting() {
        let mut talk = Talk::new(4);
        assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]), Some(false));
        assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(true));
        talk.say(Side::Server, ACK, [500, 104], &[2, 6, 6]);
        assert_eq!((talk.heard(Side::Client), talk.heard(Side::Server)), (vec![1], vec![6]));
    }

    #[test]
    fn early_segments_wait_for_the_missing_bytes() {
        let mut talk = Talk::new(4);
        talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
        talk.say(Side::Client, ACK, [105, 500], &[3, 3, 3]);
        talk.say(Side::Client, ACK, [102, 500], &[1, 1, 2]);
        assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
        talk.say(Side::Client, ACK, [100, 500], &[3, 1]);
        talk.say(Side::Client, ACK, [108, 500], &[1, 4]);
        assert_eq!(talk.heard(Side::Client), [1, 3]);
        assert_eq!((talk.streams.counts().early, talk.streams.counts().lost), (2, 0));
    }

    #[test]
    fn what_the_peer_acknowledged_will_not_come_any_more() {
        let mut talk = Talk::new(4);
        talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
        talk.say(Side::Client, ACK, [104, 500], &[3, 8, 8, 8]);
        assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
        talk.say(Side::Server, ACK, [500, 108], &[]);
        assert_eq!(talk.heard(Side::Client), [8]);
        assert_eq!(talk.streams.counts().lost, 1);
    }

    #[test]
    fn what_does_not_come_in_time_is_given_up() {
        let mut talk = Talk::new(4);
        talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
        talk.say(Side::Client, ACK, [104, 500], &[3, 8, 8, 8]);
        talk.at = talk.at + PATIENCE + PATIENCE;
        talk.say(Side::Client, ACK, [108, 500], &[3, 9, 9, 9]);
        assert_eq!(talk.heard(Side::Client), [8, 9]);
    }

    #[test]
    fn a_full_table_gives_up_closed_then_unverified_then_idle_connections() {
        let mut talk = Talk::new(3);
        let open = |talk: &mut Talk, port: u16, verify: bool| {
            talk.port = port;
            talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
            if verify {
                assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[]), Some(true));
            }
        };
        open(&mut talk, 1, true);
        open(&mut talk, 2, false);
        open(&mut talk, 3, true);
        talk.port = 3;
        talk.say(Side::Client, ACK | Flags::RST, [100, 500], &[]);
        let ports = |talk: &Talk| {
            let mut ports: Vec<u16> = talk.streams.slots.iter().map(|slot| slot.link.client.1).collect();
            ports.sort_unstable();
            ports
        };
        open(&mut talk, 4, true);
        assert_eq!(ports(&talk), [1, 2, 4]);
        open(&mut talk, 5, false);
        assert_eq!(ports(&talk), [1, 4, 5]);
        for port in 6..200 {
            open(&mut talk, port, false);
        }
        assert_eq!(ports(&talk), [1, 4, 199]);
        talk.port = 1;
        talk.say(Side::Client, ACK, [100, 500], &[]);
        open(&mut talk, 200, true);
        open(&mut talk, 201, true);
        assert_eq!(ports(&talk), [1, 200, 201]);
        assert_eq!((talk.streams.len(), talk.streams.capacity()), (3, 3));
        // Numbers 2, 5 to 199, and 4; the closed one is no loss.
        assert_eq!(talk.streams.counts().evicted, 197);
    }
}
