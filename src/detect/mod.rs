//! Evidence to alarms: who spreads like a worm.
//!
//! No I/O, no clock, no threads: a [`Detector`](detector) is one shard's core; it takes frames and the time, and gives
//! alarms. The same frames in the same order give the same alarms, live and in replay.

pub mod evidence;
pub mod settings;

pub use evidence::{Alarm, Detail, Evidence, Grade, Reached, Score, Signal};
pub use settings::Settings;
