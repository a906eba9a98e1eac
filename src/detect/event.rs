//! What a detector says to the responder, and what it is told in return.

use crate::detect::counters::Unverified;
use crate::detect::smb::Condition;
use crate::evidence::{Alarm, Attachment, Reached};
use crate::time::Timestamp;
use crate::wire::Address;
use crate::wire::smb::Dialect;

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
    /// The device of a host that is acted on also uses this address.
    SameDevice {
        /// The address.
        host: Address,
        /// The address that is acted on.
        of: Address,
        /// Where the device sits.
        attachment: Attachment,
        /// When it was seen.
        at: Timestamp,
    },
    /// An address that is acted on belongs to another device now.
    OtherDevice {
        /// The address.
        host: Address,
        /// Where the other device sits.
        attachment: Attachment,
        /// When the other device was seen.
        at: Timestamp,
    },
    /// A host was heard agreeing on an SMB dialect, for the first time within the contact memory.
    Speaks {
        /// The host.
        host: Address,
        /// As the server; otherwise as the client.
        as_server: bool,
        /// The dialect.
        dialect: Dialect,
        /// The server requires signing.
        signing: bool,
        /// A cipher was agreed on.
        encryption: bool,
    },
    /// A server's answer gave away a condition that an engineer must mend, for the first time within the contact memory.
    GaveAway {
        /// The server.
        server: Address,
        /// What its answer shows.
        condition: Condition,
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
    /// What was said of this host rests on frames that it did not send, as far as its segment knows: it is forgotten.
    Doubted {
        /// The host.
        host: Address,
        /// Why.
        reason: Unverified,
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
