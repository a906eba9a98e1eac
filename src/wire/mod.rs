//! Bytes to facts: what a frame says, without state, without I/O, without a panic.

mod address;
pub mod decode;
pub mod frame;

pub use address::{Address, BadMac, Mac};
pub use decode::decode;
pub use frame::Frame;
