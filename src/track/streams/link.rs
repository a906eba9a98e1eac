//! One connection's two ends: who opened it, and whether both were seen to agree.

use crate::track::follower::{Side, ahead};
use crate::wire::Address;
use crate::wire::frame::Segment;

/// How far a segment's numbers may lie from what was seen before it is taken for a forgery: as much as a few of the
/// largest messages whose bodies the kernel's filter kept from us.
const WINDOW: u32 = 1 << 25;
/// How close the two sides' numbers must agree to verify a connection whose start was not seen.
const AGREEMENT: u32 = 1 << 16;
/// So many implausible segments without a plausible one, and the connection is taken up afresh.
pub(super) const STRANGE: u8 = 8;

/// One end of a connection.
pub(super) type End = (Address, u16);

/// What is known of a direction besides its messages.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// The sequence number after the highest byte seen.
    next: u32,
    /// The latest acknowledgement it sent.
    acknowledged: u32,
    /// Something of it was seen.
    seen: bool,
    /// It sent a FIN, or somebody a RST.
    closed: bool,
}

/// How a connection came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// By its SYN-ACK: the client must acknowledge it to the number.
    Answered,
    /// By a payload.
    Running,
}

/// What a segment's numbers mean for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It belongs there.
    Known,
    /// It begins a new connection between the same ends; what was known of the old one is void.
    Afresh,
    /// It cannot belong there.
    Strange,
}

/// The two ends and what was seen of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The opener.
    pub client: End,
    /// Who was connected to.
    pub server: End,
    /// Both ends were seen to agree.
    pub verified: bool,
    start: Start,
    strange: u8,
    flows: [Flow; 2],
}

impl Link {
    /// One that is running and of which nothing was seen yet.
    pub const fn new(client: End, server: End) -> Link {
        let flow = Flow { next: 0, acknowledged: 0, seen: false, closed: false };
        Link { client, server, verified: false, start: Start::Running, strange: 0, flows: [flow; 2] }
    }

    /// Who an end is.
    pub fn side_of(&self, end: End) -> Side {
        if self.client == end { Side::Client } else { Side::Server }
    }

    /// Whether both sides are done.
    pub fn is_closed(&self) -> bool {
        self.flows.iter().all(|flow| flow.closed)
    }

    /// Notes a SYN-ACK: what it means for the connection, and where it says that the streams start.
    pub fn greet(&mut self, client: End, server: End, segment: &Segment<'_>) -> (Place, [Option<u32>; 2]) {
        let [from_client, from_server] = [segment.acknowledgement, segment.sequence.wrapping_add(1)];
        let [mine, theirs] = self.flows;
        let close = |a: u32, b: u32| ahead(a, b).unsigned_abs() < AGREEMENT;
        if self.client == client {
            if self.start == Start::Answered && close(mine.next, from_client) && close(theirs.next, from_server) {
                // Sent again.
                return (Place::Known, [None; 2]);
            }
            if self.start == Start::Running && mine.seen && !theirs.seen && mine.acknowledged == from_server {
                // The two directions reach us by two rings, and the client's was faster: it knows the number.
                self.verified = true;
                self.flows[1] = Flow { next: from_server, acknowledged: from_client, seen: true, ..theirs };
                return (Place::Known, [None, Some(from_server)]);
            }
        }
        *self = Link::new(client, server);
        self.start = Start::Answered;
        self.flows[0].next = from_client;
        self.flows[1] = Flow { next: from_server, acknowledged: from_client, seen: true, ..Flow::default() };
        (Place::Afresh, [Some(from_client), Some(from_server)])
    }

    /// Notes a segment's numbers, and what they mean for the connection.
    pub fn agrees(&mut self, side: Side, segment: &Segment<'_>) -> Place {
        let [mine, theirs] = match side {
            Side::Client => [self.flows[0], self.flows[1]],
            Side::Server => [self.flows[1], self.flows[0]],
        };
        let close = |a: u32, b: u32, by: u32| ahead(a, b).unsigned_abs() < by;
        let (sequence, acknowledgement) = (segment.sequence, segment.acknowledgement);
        let acknowledges = segment.flags.is_ack();
        let plausible = (!mine.seen && self.start == Start::Running || close(mine.next, sequence, WINDOW))
            && (!acknowledges || !theirs.seen || close(theirs.next, acknowledgement, WINDOW));
        if !plausible {
            self.strange += 1;
            if self.strange < STRANGE || segment.payload_length == 0 {
                return Place::Strange;
            }
            *self = Link::new(self.client, self.server);
        }
        self.strange = 0;
        if !self.verified && acknowledges && theirs.seen {
            self.verified = match self.start {
                // Only the client's word counts here: it alone had to see the number.
                Start::Answered => {
                    side == Side::Client
                        && ahead(theirs.next, acknowledgement) == 0
                        && close(mine.next, sequence, AGREEMENT)
                }
                Start::Running => {
                    close(theirs.acknowledged, sequence, AGREEMENT) && close(theirs.next, acknowledgement, AGREEMENT)
                }
            } && plausible;
        }
        let end = sequence.wrapping_add(segment.payload_length);
        if segment.flags.is_rst() {
            self.flows.iter_mut().for_each(|flow| flow.closed = true);
        }
        let [client, server] = &mut self.flows;
        let flow = if side == Side::Client { client } else { server };
        if !flow.seen || ahead(flow.next, end) > 0 {
            flow.next = end;
        }
        flow.seen = true;
        if acknowledges {
            flow.acknowledged = acknowledgement;
        }
        flow.closed |= segment.flags.is_fin();
        if plausible { Place::Known } else { Place::Afresh }
    }
}
