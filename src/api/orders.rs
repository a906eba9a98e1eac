//! What an engineer can have the daemon do, on its way from the API to the control task.
//!
//! The API checks form and permission, turns each request that changes something into a [`Request`], and waits a
//! bounded time for the answer; the control task alone decides and acts. The queue between them is bounded: when it is
//! full the engineer gets an error at once, rather than having to wait.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::published::control_counters::OrderKind;
use crate::respond::{Action, Decision, Exemption, Refused};
use crate::wire::Address;

/// Requests that may wait for the control task at once.
pub const QUEUE: usize = 64;

/// The largest network that `contain` and `isolate` accept, in addresses.
pub const MOST_ADDRESSES: usize = 256;

/// Whom an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One host.
    Host(Address),
    /// Every host in a network: on release, those acted on; on contain or isolate, each of its addresses.
    Network(IpNetwork),
    /// Everybody who is acted on (release only).
    All,
}

/// Which held decisions an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// One, by its id.
    One(u64),
    /// Each of them.
    All,
}

/// What shall be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Contain or isolate.
    Act {
        /// [`Target::All`] does not occur here.
        target: Target,
        /// Which.
        action: Action,
        /// For how long; `None` is until released.
        duration: Option<Duration>,
        /// Why: goes into the record.
        reason: String,
    },
    /// Release.
    Release {
        /// Whom.
        target: Target,
        /// Why: goes into the record.
        reason: String,
    },
    /// Carry out held decisions.
    Confirm {
        /// Which.
        which: Which,
    },
    /// Discard held decisions.
    Discard {
        /// Which.
        which: Which,
    },
    /// Read the configuration again.
    Reload,
    /// Arm the breaker again.
    Rearm {
        /// An address of the only zone to arm; `None` is the whole and every zone.
        zone: Option<Address>,
    },
    /// Put a network on the never-contain list until the daemon stops or it is removed: releases whom it covers.
    Exempt {
        /// The network.
        network: IpNetwork,
        /// Why: goes into the record.
        reason: String,
    },
    /// Take a network that was added by command off the never-contain list.
    Unexempt {
        /// The network.
        network: IpNetwork,
        /// Why: goes into the record.
        reason: String,
    },
}

impl Order {
    /// What kind of order it is.
    #[must_use]
    pub const fn kind(&self) -> OrderKind {
        match self {
            Order::Act { action: Action::Isolate, .. } => OrderKind::Isolate,
            Order::Act { action: Action::Contain, .. } => OrderKind::Contain,
            Order::Release { .. } => OrderKind::Release,
            Order::Confirm { .. } => OrderKind::Confirm,
            Order::Discard { .. } => OrderKind::Discard,
            Order::Reload => OrderKind::Reload,
            Order::Rearm { .. } => OrderKind::Rearm,
            Order::Exempt { .. } => OrderKind::Exempt,
            Order::Unexempt { .. } => OrderKind::Unexempt,
        }
    }
}

/// An order with who gave it and where the answer goes.
#[derive(Debug)]
pub struct Request {
    /// What shall be done.
    pub order: Order,
    /// The user name of the socket's peer, as the kernel vouches for it; `uid N` where the user has no name.
    pub by: String,
    /// Where the answer goes; nobody may be waiting any more.
    pub reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// The sending end, held by the API.
pub type Orders = mpsc::Sender<Request>;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// In a sentence.
    pub message: String,
    /// The decisions this made, in order.
    pub decisions: Vec<Arc<Decision>>,
}

/// Why an order was not carried out, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The responder's word.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody in this network, or nobody at all, is acted on.
    #[error("nothing to release: nobody in {0} is contained or isolated")]
    NobodyActedOn(String),
    /// Nothing waits.
    #[error("no held decision waits")]
    NothingHeld,
    /// This network was not added by command.
    #[error("{0} was not put on the never-contain list by command")]
    NotAdded(IpNetwork),
    /// The new configuration was refused; the old one runs on.
    #[error("the configuration was refused, the running one stays: {0}")]
    Reload(String),
    /// The kernel or the disk refused.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// What the engineer can do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Refusal::Refused(Refused::Exempt(_, Exemption::NotProtected)) => {
                "add its network to the protected networks in the configuration and reload, if Firedoor shall act on it"
            }
            Refusal::Refused(Refused::Exempt(_, Exemption::ByCommand(_))) => {
                "`firedoor never-contain remove NETWORK` takes the entry off, if the host really must be cut off"
            }
            Refusal::Refused(Refused::Exempt(..)) => {
                "nothing may ever drop it; if it really must be cut off, do so at the switch"
            }
            Refusal::Refused(Refused::NotActedOn(_)) | Refusal::NobodyActedOn(_) => {
                "`firedoor hosts --acted` lists who is contained or isolated"
            }
            Refusal::Refused(Refused::NotHeld(_)) | Refusal::NothingHeld => "`firedoor held` lists what waits",
            Refusal::Refused(Refused::Full) => "release hosts that need no action any more",
            Refusal::NotAdded(_) => "entries from the configuration file are removed there, then `firedoor reload`",
            Refusal::Reload(_) => "`firedoor check` shows the line and what to do",
            Refusal::Failed(_) => "see the daemon's log",
        }
    }
}
