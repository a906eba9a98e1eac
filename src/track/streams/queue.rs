//! The queues by which connections give way.

/// The three queues of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Closed,
    Unverified,
    Verified,
}

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
