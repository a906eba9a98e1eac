//! Where frames come from: a capture file, a packet ring, or pnet.
//!
//! All three are a [`Source`]: it hands frames, borrowed, to a closure, together with what it knows of them and how
//! their link layer is laid out. Decoding is `wire`'s business.
//!
//! Two programs run in the kernel, in classic BPF: [`filter`] keeps bulk data there, [`fanout`] brings everything about
//! one suspect to one shard. Both have a twin that judges a decoded frame: [`CapturePolicy::takes`], to be asked of every
//! frame, live or from a file, so that a replay sees what a live daemon sees; and [`fanout::shard_of`], by which a
//! replay splits a capture among shards as the kernel would. The filter may pass more than its twin takes (headers
//! nested too deeply for it to follow), and less in two cases alone, of which it passes a sample: [`busy`] UDP flows,
//! whose beginning was seen, and tunnels that nobody looks into.

mod bpf;
pub mod busy;
mod capture_policy;
mod error;
pub mod fanout;
pub mod file;
pub mod filter;
pub mod pnet;
pub mod renamed;
mod ring;
mod statistics;

use std::time::Duration;

pub use self::pnet::Pnet;
pub use capture_policy::CapturePolicy;
pub use error::CaptureError;
pub use file::FileSource;
pub use ring::Ring;
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

    /// Of how many of [`busy::BUCKETS`] buckets of flows only a sample is handed over now. A file hands over everything.
    fn sampled(&self) -> u32 {
        0
    }

    /// Changes the policy: a live source gives it to the kernel. A file hands over everything, whatever is said here.
    ///
    /// # Errors
    /// The kernel refuses; what was of interest before still is.
    fn set_policy(&mut self, _interest: &CapturePolicy) -> Result<(), CaptureError> {
        Ok(())
    }
}
