//! Evidence to alarms: who spreads like a worm.
//!
//! No I/O, no clock, no threads: a [`Detector`] is one shard's core; it takes frames and the time, and gives [`Event`]s.
//! The same frames in the same order give the same alarms, live and in replay.

mod alarm;
mod contact;
pub mod counters;
mod detector;
mod event;
mod inspect;
mod outcome;
pub mod remote_execution;
pub mod reverse_path;
pub mod settings;
pub mod smb;
pub mod verify;

pub use crate::evidence;
pub use crate::evidence::{Alarm, Detail, Evidence, Grade, Reached, Score, Signal};
pub use counters::Counters;
pub use detector::Detector;
pub use event::{Directive, Event};
pub use reverse_path::ReversePaths;
pub use settings::Settings;
