//! Segments that came before their turn, kept until the missing bytes come or are given up.
//!
//! One small pool serves all connections of a shard, so reordering costs a fixed amount of memory whatever the peers
//! do: [`Early::SEGMENTS`] segments of at most [`Early::BYTES`] captured bytes, the oldest replaced first. A longer
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
pub struct Early {
    entries: [Option<Entry>; Early::SEGMENTS],
    bytes: Box<[[u8; Early::BYTES]]>,
}

/// A place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Early {
    /// Segments kept at once, all connections together.
    pub const SEGMENTS: usize = 64;
    /// Captured bytes kept of each.
    pub const BYTES: usize = 2048;

    /// An empty pool.
    #[must_use]
    pub fn new() -> Early {
        Early { entries: [None; Early::SEGMENTS], bytes: vec![[0; Early::BYTES]; Early::SEGMENTS].into_boxed_slice() }
    }

    /// Keeps a segment; the oldest gives way where the pool is full.
    pub fn keep(&mut self, owner: Owner, piece: Piece<'_>, at: Timestamp) {
        let free = self.entries.iter().position(Option::is_none);
        let oldest = || self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.map(|entry| entry.at));
        let Some(index) = free.or_else(|| oldest().map(|(index, _)| index)) else { return };
        let captured = piece.bytes.len().min(Early::BYTES);
        let entry = self.entries.get_mut(index).zip(self.bytes.get_mut(index));
        let Some((entry, bytes)) = entry else { return };
        if let Some((place, from)) = bytes.get_mut(..captured).zip(piece.bytes.get(..captured)) {
            place.copy_from_slice(from);
        }
        let captured = u16::try_from(captured).unwrap_or_default();
        *entry = Some(Entry { owner, sequence: piece.sequence, length: piece.length, captured, at });
    }

    /// The owner's segment that comes first in sequence, and since when it waits.
    #[must_use]
    pub fn first(&self, owner: Owner) -> Option<(Place, u32, Timestamp)> {
        let mut best: Option<(Place, &Entry)> = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.owner == owner) else { continue };
            if best.is_none_or(|(_, best)| ahead(best.sequence, entry.sequence) < 0) {
                best = Some((Place(index), entry));
            }
        }
        best.map(|(place, entry)| (place, entry.sequence, entry.at))
    }

    /// How many segments the owner has here.
    #[must_use]
    pub fn count(&self, owner: Owner) -> usize {
        self.entries.iter().flatten().filter(|entry| entry.owner == owner).count()
    }

    /// The segment at a place.
    #[must_use]
    pub fn piece(&self, place: Place) -> Option<Piece<'_>> {
        let entry = self.entries.get(place.0)?.as_ref()?;
        let bytes = self.bytes.get(place.0)?.get(..usize::from(entry.captured))?;
        Some(Piece { sequence: entry.sequence, length: entry.length, bytes })
    }

    /// Frees a place.
    pub fn free(&mut self, place: Place) {
        if let Some(entry) = self.entries.get_mut(place.0) {
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

impl Default for Early {
    fn default() -> Self {
        Early::new()
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
        let mut early = Early::new();
        early.keep(OWNER, piece(5, b"later"), Timestamp::from_secs(1));
        early.keep(OWNER, piece(u32::MAX - 1, b"sooner"), Timestamp::from_secs(2));
        early.keep(Owner { slot: 2, ..OWNER }, piece(0, b"other"), Timestamp::from_secs(3));
        let (place, sequence, _) = early.first(OWNER).unwrap();
        assert_eq!((sequence, early.piece(place).unwrap().bytes), (u32::MAX - 1, &b"sooner"[..]));
        early.free(place);
        assert_eq!((early.first(OWNER).unwrap().1, early.count(OWNER)), (5, 1));
        early.forget(1);
        assert!(early.first(OWNER).is_none());
    }

    #[test]
    fn a_full_pool_gives_up_the_oldest_and_a_long_segment_its_end() {
        let mut early = Early::new();
        for n in 0..u32::try_from(Early::SEGMENTS).unwrap() + 3 {
            early.keep(OWNER, piece(n, &[0; 4000]), Timestamp::from_secs(u64::from(n)));
        }
        assert_eq!((early.count(OWNER), early.first(OWNER).unwrap().1), (Early::SEGMENTS, 3));
        let place = early.first(OWNER).unwrap().0;
        assert_eq!(early.piece(place).map(|piece| (piece.length, piece.bytes.len())), Some((4000, Early::BYTES)));
    }
}
