//! State of hosts, contacts and attempts in tables of fixed capacity.
//!
//! Nothing here judges: `track` remembers, `detect` weighs. Every table has a capacity, an eviction rule that spares the
//! suspicious, and a count of what it had to forget. No I/O and no clock.

pub mod addresses;
mod atomic;
pub mod attempts;
pub mod buckets;
pub mod clock_cache;
pub mod contacts;
pub mod follower;
pub mod hash_key;
pub mod host;
pub mod hosts;
pub mod known_servers;
pub mod open_probes;
pub mod ports;
pub mod recent_traffic;
pub mod reorder_buffer;
pub mod shared;
pub mod streams;
pub mod waits;
pub mod windows;

pub use addresses::Addresses;
pub use attempts::{Attempt, Attempts, Deadlines, Opening, Proof};
pub use clock_cache::ClockCache;
pub use contacts::{Class, Contacts, Party};
pub use hash_key::HashKey;
pub use host::Host;
pub use hosts::Hosts;
pub use known_servers::KnownServers;
pub use open_probes::OpenProbes;
pub use recent_traffic::RecentTraffic;
pub use shared::Shared;
pub use streams::Streams;
pub use waits::Waits;
