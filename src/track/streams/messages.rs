//! Reading what a segment brings: in its turn, or early, or never.

use std::time::Duration;

use crate::time::Timestamp;
use crate::track::follower::{Fed, Follower, HEAD, Piece, Reader, Side, ahead};
use crate::track::reorder_buffer::{Owner, ReorderBuffer};
use crate::track::streams::Counts;

/// More early segments than this of one direction, and the missing bytes are given up.
const MOST_OUT_OF_ORDER: usize = 8;
/// Missing bytes are given up after this.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// The followers of a connection and the segment they are to be fed.
#[derive(Debug)]
pub struct Messages<'a> {
    pub(super) side: Side,
    pub(super) slot: u32,
    pub(super) piece: Piece<'a>,
    pub(super) acknowledgement: Option<u32>,
    /// The handshake's word where the streams start, if this segment is its SYN-ACK.
    pub(super) starts: [Option<u32>; 2],
    pub(super) at: Timestamp,
    /// Early segments of each side may be waiting in the pool.
    pub(super) waiting: &'a mut [bool; 2],
    pub(super) followers: &'a mut [Follower; 2],
    pub(super) heads: &'a mut [[u8; HEAD]; 2],
    pub(super) reorder_buffer: &'a mut ReorderBuffer,
    pub(super) counts: &'a mut Counts,
}

impl Messages<'_> {
    /// Reads all that this segment makes readable: of itself, and of early segments it is followed by.
    pub fn read(&mut self, reader: &mut impl Reader) {
        for (side, start) in [Side::Client, Side::Server].into_iter().zip(self.starts) {
            if let Some((start, follower)) = start.zip(self.followers.get_mut(side.index())) {
                follower.start(side, start, reader);
            }
        }
        // What this segment acknowledges was received, so what we miss of it will not come any more.
        let peer = self.side.other();
        if let Some(acknowledgement) = self.acknowledgement
            && self.waits(peer)
            && let Some((_, sequence, _)) = self.reorder_buffer.first(self.owner(peer))
            && ahead(sequence, acknowledgement) >= 0
        {
            self.give_up(peer, sequence, reader);
            self.drain(peer, reader);
        }
        if self.piece.length == 0 {
            return;
        }
        let side = self.side;
        match self.feed(side, self.piece, reader) {
            Fed::Taken => {}
            Fed::OutOfOrder => {
                self.counts.out_of_order += 1;
                self.reorder_buffer.keep(self.owner(side), self.piece, self.at);
                self.set_waiting(side, true);
            }
        }
        if !self.waits(side) {
            return;
        }
        self.drain(side, reader);
        while let Some((_, sequence, since)) = self.reorder_buffer.first(self.owner(side))
            && (self.reorder_buffer.count(self.owner(side)) > MOST_OUT_OF_ORDER || self.at.since(since) > PATIENCE)
        {
            self.give_up(side, sequence, reader);
            self.drain(side, reader);
        }
    }

    fn owner(&self, side: Side) -> Owner {
        Owner { slot: self.slot, side }
    }

    fn waits(&self, side: Side) -> bool {
        self.waiting.get(side.index()).is_some_and(|waiting| *waiting)
    }

    fn set_waiting(&mut self, side: Side, waiting: bool) {
        if let Some(place) = self.waiting.get_mut(side.index()) {
            *place = waiting;
        }
    }

    fn feed(&mut self, side: Side, piece: Piece<'_>, reader: &mut impl Reader) -> Fed {
        let follower = self.followers.get_mut(side.index()).zip(self.heads.get_mut(side.index()));
        follower.map_or(Fed::Taken, |(follower, head)| follower.feed(side, head, piece, reader))
    }

    /// Feeds early segments as long as the first of them has its turn.
    fn drain(&mut self, side: Side, reader: &mut impl Reader) {
        let owner = self.owner(side);
        while let Some((place, _, _)) = self.reorder_buffer.first(owner) {
            let follower = self.followers.get_mut(side.index()).zip(self.heads.get_mut(side.index()));
            let Some(((follower, head), piece)) = follower.zip(self.reorder_buffer.piece(place)) else { break };
            if follower.feed(side, head, piece, reader) == Fed::OutOfOrder {
                return;
            }
            self.reorder_buffer.free(place);
        }
        self.set_waiting(side, false);
    }

    fn give_up(&mut self, side: Side, present: u32, reader: &mut impl Reader) {
        self.counts.lost += 1;
        if let Some(follower) = self.followers.get_mut(side.index()) {
            follower.lose(side, present, reader);
        }
    }
}
