//! Throwaway networks in namespaces, with worms of our own making that carry no exploit.
//!
//! [`plan`] says who has which address, [`network`] builds the machines, [`listener`] and [`session`] bring them to
//! life, [`worm`] attacks, [`counter`] counts on the victims' side what arrives.

use std::io;

use thiserror::Error;

use crate::sys::namespace;

pub mod activity;
pub mod counter;
pub mod counter_filter;
pub mod epidemic;
pub mod gateway;
pub mod listener;
pub mod network;
pub mod plan;
pub mod plot;
pub mod random;
pub mod report;
pub mod scene;
pub mod session;
pub mod trial;
pub mod worm;

/// Why the lab could not continue.
#[derive(Debug, Error)]
pub enum Error {
    /// A machine could not be made or entered.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// Something inside one could not be done.
    #[error("cannot {what}: {source}")]
    Io {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The daemon under test failed.
    #[error("the daemon on the lab's gateway: {source}; its log ends with:\n{log}")]
    Daemon {
        /// How.
        source: io::Error,
        /// The end of its log.
        log: String,
    },
}

/// The lab's results.
pub type Result<T> = std::result::Result<T, Error>;
