//! What the greylist costs, and who is known to serve: what `firedoor greylist` and `firedoor servers` show.

use serde::{Deserialize, Serialize};

use crate::respond::Mode;
use crate::respond::servers::{LearntServer, Service, Standing};
use crate::time::Timestamp;
use crate::wire::Address;

/// A service for which first contacts waited, or would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// The service; its text is what `greylist.servers` takes.
    pub service: Service,
    /// First contacts that waited for it, or would have.
    pub times: u64,
    /// Who they were of, the latest first; at most [`WaitView::SOURCES`].
    pub sources: Vec<Address>,
    /// When the last one was.
    pub last: Timestamp,
    /// The line that exempts it, for `[greylist]`.
    pub exempt: String,
}

impl WaitView {
    /// So many sources are shown.
    pub const SOURCES: usize = 8;
}

/// A learnt server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// What was learnt.
    #[serde(flatten)]
    pub server: LearntServer,
    /// How it stands.
    pub standing: Standing,
    /// Whether the kernel has it.
    pub in_kernel: bool,
}

/// Whether the site is ready for a greylist that drops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Since when servers are learnt; `None` where nobody has answered yet.
    pub learning_since: Option<Timestamp>,
    /// Known servers.
    pub known: u64,
    /// Services that answered somebody, and are not known.
    pub others: u64,
    /// When the last server became known, as far as this run of the daemon saw it.
    pub last_learnt: Option<Timestamp>,
    /// Learning has gone on for as long as it takes to know a server by its days, and some are known.
    pub ready: bool,
}

/// All servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersView {
    /// As of when.
    pub at: Timestamp,
    /// Whether the site is ready.
    pub readiness: Readiness,
    /// Clients that it takes.
    pub sources: u32,
    /// Days that it takes, where they were not learnt in monitor mode.
    pub days: u32,
    /// Them, by address.
    pub servers: Vec<ServerView>,
}

/// Who waits for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsView {
    /// As of when.
    pub at: Timestamp,
    /// Since when it is counted.
    pub since: Timestamp,
    /// Monitor or enforce.
    pub mode: Mode,
    /// Whether first contacts wait; otherwise they would have.
    pub drops: bool,
    /// How long, in milliseconds.
    pub wait_ms: u64,
    /// Whether the site is ready.
    pub readiness: Readiness,
    /// By service, those that waited most often first.
    pub waits: Vec<WaitView>,
}
