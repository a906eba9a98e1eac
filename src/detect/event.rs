//! What a detector says to the responder, and what it is told in return.

use crate::evidence::{Alarm, Reached};
use crate::time::Timestamp;
use crate::wire::Address;

/// What a detector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host deserves a decision.
    Alarm(Box<Alarm>),
    /// A host that is acted on goes on trying new destinations.
    Active {
        /// The host.
        host: Address,
        /// When it tried.
        at: Timestamp,
    },
}

/// What a detector is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// This host is acted on: notice that it goes on, judge it no more.
    Acted {
        /// The host.
        host: Address,
    },
    /// This host is no longer acted on; its score starts from zero.
    Released {
        /// The host.
        host: Address,
    },
    /// So many hosts are contained or isolated now (cooperative containment).
    Contained {
        /// How many.
        hosts: u32,
    },
    /// An alarmed host lately reached these (infection chains).
    Exposed {
        /// The alarmed host.
        from: Address,
        /// Whom it reached, on which port.
        reached: Vec<Reached>,
        /// Since when.
        at: Timestamp,
    },
}
