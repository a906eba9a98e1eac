//! Segments that came before their turn, kept until the missing bytes come or are given up.
//!
//! One small pool serves all connections of a shard, so reordering costs a fixed amount of memory whatever the peers
//! do: [`ReorderBuffer::SEGMENTS`] segments of at most [`ReorderBuffer::BYTES`] captured bytes, the oldest replaced first. A longer
//! one is kept as if the capture had cut it. Who floods the pool makes others' reordering look like loss, which a
//! follower survives by the message's length or at the next message that a segment starts with.

use crate::time::Timestamp;
use crate::track::follower::{Piece, Side, ahead};

/// Whose segment it is: a connection's slot and a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The connection's slot.
    pub slot: u32,
    /// The sender.
    pub side: Side,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    owner: Owner,
    sequence: u32,
    length: u32,
    captured: u16,
    at: Timestamp,
}

/// The pool.
#[derive(Debug)]
pub struct ReorderBuffer {
    entries: [Option<Entry>; ReorderBuffer::SEGMENTS],
    bytes: Box<[[u8; ReorderBuffer::BYTES]]>,
}

/// A slot in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl ReorderBuffer {
    /// Segments kept at once, all connections together.
    pub const SEGMENTS: usize = 64;
    /// Captured bytes kept of each.
    pub const BYTES: usize = 2048;

    /// An empty pool.
    #[must_use]
    pub fn new() -> ReorderBuffer {
        ReorderBuffer {
            entries: [None; ReorderBuffer::SEGMENTS],
            bytes: vec![[0; ReorderBuffer::BYTES]; ReorderBuffer::SEGMENTS].into_boxed_slice(),
        }
    }

    /// Keeps a segment; the oldest gives way where the pool is full.
    pub fn keep(&mut self, owner: Owner, piece: Piece<'_>, at: Timestamp) {
        let free = self.entries.iter().position(Option::is_none);
        let oldest = || self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.map(|entry| entry.at));
        let Some(index) = free.or_else(|| oldest().map(|(index, _)| index)) else { return };
        let captured = piece.bytes.len().min(ReorderBuffer::BYTES);
        let entry = self.entries.get_mut(index).zip(self.bytes.get_mut(index));
        let Some((entry, bytes)) = entry else { return };
        if let Some((slot, from)) = bytes.get_mut(..captured).zip(piece.bytes.get(..captured)) {
            slot.copy_from_slice(from);
        }
        let captured = u16::try_from(captured).unwrap_or_default();
        *entry = Some(Entry { owner, sequence: piece.sequence, length: piece.length, captured, at });
    }

    /// The owner's segment that comes first in sequence, and since when it waits.
    #[must_use]
    pub fn first(&self, owner: Owner) -> Option<(Slot, u32, Timestamp)> {
        let mut best: Option<(Slot, &Entry)> = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.owner == owner) else { continue };
            if best.is_none_or(|(_, best)| ahead(best.sequence, entry.sequence) < 0) {
                best = Some((Slot(index), entry));
            }
        }
        best.map(|(slot, entry)| (slot, entry.sequence, entry.at))
    }

    /// How many segments the owner has here.
    #[must_use]
    pub fn count(&self, owner: Owner) -> usize {
        self.entries.iter().flatten().filter(|entry| entry.owner == owner).count()
    }

    /// The segment at a slot.
    #[must_use]
    pub fn piece(&self, slot: Slot) -> Option<Piece<'_>> {
        let entry = self.entries.get(slot.0)?.as_ref()?;
        let bytes = self.bytes.get(slot.0)?.get(..usize::from(entry.captured))?;
        Some(Piece { sequence: entry.sequence, length: entry.length, bytes })
    }

    /// Frees a slot.
    pub fn free(&mut self, slot: Slot) {
        if let Some(entry) = self.entries.get_mut(slot.0) {
            *entry = None;
        }
    }

    /// Frees all places of a connection.
    pub fn forget(&mut self, slot: u32) {
        for entry in &mut self.entries {
            if entry.is_some_and(|entry| entry.owner.slot == slot) {
                *entry = None;
            }
        }
    }
}

impl Default for ReorderBuffer {
    fn default() -> Self {
        ReorderBuffer::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { slot: 1, side: Side::Client };

    fn piece(sequence: u32, bytes: &[u8]) -> Piece<'_> {
        Piece { sequence, length: u32::try_from(bytes.len()).unwrap(), bytes }
    }

    #[test]
    fn the_first_in_sequence_comes_first_across_the_wrap() {
        let mut buffer = ReorderBuffer::new();
        buffer.keep(OWNER, piece(5, b"later"), Timestamp::from_secs(1));
        buffer.keep(OWNER, piece(u32::MAX - 1, b"sooner"), Timestamp::from_secs(2));
        buffer.keep(Owner { slot: 2, ..OWNER }, piece(0, b"other"), Timestamp::from_secs(3));
        let (slot, sequence, _) = buffer.first(OWNER).unwrap();
        assert_eq!((sequence, buffer.piece(slot).unwrap().bytes), (u32::MAX - 1, &b"sooner"[..]));
        buffer.free(slot);
        assert_eq!((buffer.first(OWNER).unwrap().1, buffer.count(OWNER)), (5, 1));
        buffer.forget(1);
        assert!(buffer.first(OWNER).is_none());
    }

    #[test]
    fn a_full_pool_gives_up_the_oldest_and_a_long_segment_its_end() {
        let mut buffer = ReorderBuffer::new();
        for n in 0..u32::try_from(ReorderBuffer::SEGMENTS).unwrap() + 3 {
            buffer.keep(OWNER, piece(n, &[0; 4000]), Timestamp::from_secs(u64::from(n)));
        }
        assert_eq!((buffer.count(OWNER), buffer.first(OWNER).unwrap().1), (ReorderBuffer::SEGMENTS, 3));
        let slot = buffer.first(OWNER).unwrap().0;
        assert_eq!(
            buffer.piece(slot).map(|piece| (piece.length, piece.bytes.len())),
            Some((4000, ReorderBuffer::BYTES))
        );
    }
}
