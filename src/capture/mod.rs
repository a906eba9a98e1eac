//! Where frames come from: a capture file, a packet ring, or pnet.
//!
//! All three are a [`Source`]: it hands frames, borrowed, to a closure, together with what it knows of them and how
//! their link layer is laid out. Decoding is `wire`'s business.

mod error;
pub mod file;
mod statistics;

use std::time::Duration;

pub use error::CaptureError;
pub use file::FileSource;
pub use statistics::{InterfaceStatistics, Statistics};

use crate::wire::frame::{LinkKind, Meta};

/// What one call of [`Source::read`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many frames, at least one.
    Frames(usize),
    /// None within the wait.
    Idle,
    /// None, and there will be no more: the end of a file.
    End,
}

/// A supplier of frames.
pub trait Source: Send {
    /// Hands the next frames to `each`, in the order they were captured, and returns after one batch.
    ///
    /// A live source returns [`Read::Idle`] after `wait` without a frame; a file never waits, but for its own input
    /// (a pipe). A batch is bounded, so that the caller can look at its clock and its orders in between.
    ///
    /// # Errors
    /// The source can no longer be read; frames handed over before stay good.
    fn read(&mut self, wait: Duration, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Read, CaptureError>;

    /// Counters since the source was opened, one entry an interface.
    fn statistics(&mut self) -> Statistics;
}
