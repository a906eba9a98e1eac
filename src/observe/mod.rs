//! What the daemon shows, and how it is asked to act: snapshot, host board, admin API, metrics, log.
//!
//! Everything that is shown comes from a few structs: [`snapshot::Status`] for the daemon, [`host`]'s views for hosts.
//! `status`, the API, `--json` and the metrics all read these, so they cannot disagree. Everything that acts goes
//! through one bounded queue of [`order::Request`]s to the control task.

pub mod api;
pub mod board;
pub mod counters;
pub mod explain;
pub mod exporter;
pub mod facts;
pub mod host;
pub mod live;
pub mod log;
pub mod metrics;
pub mod order;
pub mod process;
mod serve;
pub mod snapshot;
pub mod tallies;

pub use board::Board;
pub use live::Live;
pub use metrics::Metrics;
pub use order::{Order, Orders, Refusal, Request};
pub use snapshot::Status;
