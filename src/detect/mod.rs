//! Evidence to alarms: who spreads like a worm.
//!
//! No I/O, no clock, no threads: a [`Detector`] is one shard's core; it takes frames and the time, and gives [`Event`]s.
//! The same frames in the same order give the same alarms, live and in replay.

mod attempt;
mod authenticity;
mod concealment;
mod contact;
pub mod counters;
mod detector;
mod directives;
mod event;
mod fanout;
mod findings;
mod greylist;
mod handshake;
mod link_request;
mod outcome;
mod ownership;
mod packets;
pub mod reverse_path;
mod role;
mod scorer;
pub mod settings;
mod smb_facts;
mod still_scanning;
mod threshold;
pub mod verify;

pub use crate::evidence;
pub use crate::evidence::{Alarm, Detail, Evidence, Grade, Reached, Score, Signal};
pub use counters::Counters;
pub use detector::Detector;
pub use event::{Directive, Event};
pub use reverse_path::ReversePaths;
pub use settings::Settings;
