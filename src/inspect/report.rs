//! What the inspection reports: findings about clients, and what hosts speak.

use crate::evidence::{Detail, Signal};
use crate::wire::Address;
use crate::wire::smb::dialect::{Dialect, Signing};

/// Something a client did. Whoever only answers is never the host of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The client: the attacker, if it is an attack.
    pub host: Address,
    /// The server it was done to.
    pub peer: Address,
    /// The server's port.
    pub port: u16,
    /// What it is a sign of.
    pub signal: Signal,
    /// The fields that were seen, and where they are specified.
    pub detail: Detail,
    /// The connection was seen to be real: handshake completed, or both directions agree. Without it a finding may be
    /// forged; it comes again, verified, as soon as the connection is.
    pub verified: bool,
    /// The first of its signal between these two hosts within the signal's memory.
    pub new_peer: bool,
}

/// A dialect that two hosts agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The client.
    pub client: Address,
    /// The server.
    pub server: Address,
    /// The dialect.
    pub dialect: Dialect,
    /// Whether the server signs.
    pub signing: Signing,
    /// Whether a cipher was agreed on.
    pub encryption: bool,
    /// Whether a compression was agreed on.
    pub compression: bool,
}

/// What a connection made use of, said once a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Encrypted messages: nothing more can be seen of them.
    Encryption,
    /// Compressed messages.
    Compression,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Feature; 2] = [Feature::Encryption, Feature::Compression];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Feature::Encryption => "encryption",
            Feature::Compression => "compression",
        }
    }
}

/// What a server's answer gave away about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It answered the MS17-010 probe as an unpatched host does.
    Unpatched,
    /// It answered the ping as an implanted DoublePulsar does.
    Implanted,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Condition; 2] = [Condition::Unpatched, Condition::Implanted];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Condition::Unpatched => "unpatched",
            Condition::Implanted => "implanted",
        }
    }

    /// What an engineer reads in the log.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Condition::Unpatched => {
                "answers the MS17-010 probe as an unpatched host does: patch it, or switch SMB1 off"
            }
            Condition::Implanted => {
                "answers a DoublePulsar ping as an implanted host does: isolate it and set it up anew"
            }
        }
    }
}

/// One thing the inspection reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A client did something.
    Finding(Finding),
    /// Two hosts agreed on a dialect.
    Negotiated(Negotiated),
    /// A connection made use of something.
    Used {
        /// The client.
        client: Address,
        /// The server.
        server: Address,
        /// What.
        feature: Feature,
    },
    /// An endpoint mapper named a port of its host, or a DCE/RPC association was opened on one: what passes there is to
    /// be inspected, too.
    Named {
        /// The host.
        server: Address,
        /// The port.
        port: u16,
    },
    /// A server's answer gave its condition away. Never evidence against it: it only answered.
    Condition {
        /// The server.
        server: Address,
        /// Which.
        condition: Condition,
    },
}
