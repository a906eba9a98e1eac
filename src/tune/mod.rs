//! Thresholds from the site's own traffic: what `firedoor tune` measures in captures and proposes.
//!
//! [`Measure`] drives the same core as a replay ([`Lockstep`](crate::replay::Lockstep)) and reads from it how full each
//! host's windows came and how high its score; it counts nothing itself. [`Proposal`] derives thresholds from that: pure,
//! without I/O, so that the same captures and the same configuration always give the same proposal.
//!
//! A host that the core would have acted on teaches nothing: a capture that holds a worm must not make room for it. It is
//! named instead. A host that stands out, as scanners, print servers, backup and monitoring do, does not raise everybody's
//! thresholds either: it is proposed for a role, whose owner and reason only an engineer can fill in.

mod fragment;
mod measure;
mod proposal;
mod propose;
#[cfg(test)]
mod tests;

pub use measure::{Alarmed, Measure, Measured, Peak, Service};
pub use proposal::{Change, Line, Outlier, Proposal, ScoreLine};
