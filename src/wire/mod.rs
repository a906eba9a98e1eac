//! Bytes to facts: what a frame says, without state, without I/O, without a panic.

mod address;
pub mod build;
mod counts;
pub mod dcerpc;
pub mod decode;
mod encapsulation;
mod field;
pub mod frame;
mod link;
mod networks;
mod services;
pub mod smb;

pub use address::{Address, BadMac, Mac};
pub use counts::FrameCounts;
pub use decode::decode;
pub use frame::Frame;
pub use link::Link;
pub use networks::Networks;
pub use services::Services;
