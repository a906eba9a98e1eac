//! Decisions: what is done about a host, and everything an engineer needs to judge it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::detect::Directive;
use crate::evidence::{Attachment, Evidence, Grade, Score};
use crate::suspect::{Place, Suspect};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Mac};

/// What is decided about a host: DESIGN.md's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is dropped; an engineer should look.
    Watch,
    /// The kernel's fuse is limiting the host's first contacts.
    Throttle,
    /// Traffic to lateral services is dropped.
    Contain,
    /// All traffic is dropped, care networks aside.
    Isolate,
    /// Nothing is dropped any more.
    Release,
    /// Would contain or isolate, but the breaker has tripped: waits for an engineer.
    Hold,
}

impl Verdict {
    /// Every verdict, in declaration order.
    pub const ALL: [Verdict; 6] =
        [Verdict::Watch, Verdict::Throttle, Verdict::Contain, Verdict::Isolate, Verdict::Release, Verdict::Hold];

    /// Its name in JSON, metrics, logs and the manual.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Verdict::Watch => "watch",
            Verdict::Throttle => "throttle",
            Verdict::Contain => "contain",
            Verdict::Isolate => "isolate",
            Verdict::Release => "release",
            Verdict::Hold => "hold",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Monitor: decide, tell, drop nothing. Enforce: drop too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is ever dropped; what would have been is counted.
    #[default]
    Monitor,
    /// Decisions are put into the kernel.
    Enforce,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Monitor => "monitor",
            Mode::Enforce => "enforce",
        })
    }
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Firedoor itself.
    Firedoor,
    /// An engineer, by the name the kernel vouches for (the socket peer's user).
    Operator(String),
}

/// One decision, as recorded, shown and sent out. Serializes to one line of `replay --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// About whom.
    pub host: Address,
    /// What.
    pub decision: Verdict,
    /// The host's score in nats.
    pub score: Score,
    /// The threshold that applied.
    pub threshold: Score,
    /// Distinct destinations of first contact.
    pub destinations: u32,
    /// What the alarm rested on; none for manual decisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// When it ends by itself; `None` is until released (or, for a watch, does not apply). For an engineer's release:
    /// until when the host is only watched, whatever it does; none without such a pardon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Rung of the ladder, from 1; 0 where the ladder has no part.
    pub step: u8,
    /// Whether the kernel was told: false in monitor mode, for watches, and for exempt hosts.
    pub enforced: bool,
    /// One sentence: why, or why not.
    pub reason: String,
    /// Who decided.
    pub by: By,
    /// Where the host sits.
    #[serde(skip)]
    pub attachment: Attachment,
    /// The suspect.
    #[serde(skip)]
    pub suspect: Suspect,
    /// The suspect's link by name, such as `eth1.20`; empty where it is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// The suspect's card, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Mac>,
    /// All addresses that the decision is about, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// The ports that are shut besides the lateral services.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "services")]
    pub ports: Vec<(Transport, u16)>,
    /// Whose pardon ends with it besides the suspect's, by the history's keys: an engineer's order overrules his release.
    #[serde(skip)]
    pub unpardons: Vec<String>,
    /// The evidence, oldest first.
    pub evidence: Vec<Evidence>,
}

/// `8080/tcp`, and so on.
fn services<S: serde::Serializer>(ports: &[(Transport, u16)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(|service| service_name(*service)))
}

/// A service as it is written: `8080/tcp`.
#[must_use]
pub fn service_name((transport, port): (Transport, u16)) -> String {
    match transport {
        Transport::Udp => format!("{port}/udp"),
        _ => format!("{port}/tcp"),
    }
}

/// Reads a service as [`service_name`] writes it.
#[must_use]
pub fn service_of(name: &str) -> Option<(Transport, u16)> {
    let (port, transport) = name.split_once('/')?;
    let transport = match transport {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        _ => return None,
    };
    Some((transport, port.parse().ok()?))
}

/// What the kernel is to drop of a suspect.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Whom it is about, for the log.
    pub host: Address,
    /// Where the kernel matches it.
    pub places: Vec<Place>,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// When the kernel shall let go of it by itself; `None` is never.
    pub until: Option<Timestamp>,
    /// What is shut besides the lateral services.
    pub ports: Vec<(Transport, u16)>,
}

/// What the responder wants done. The daemon carries these out in order; a replay only prints the records.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put a block into the kernel, or change the one there.
    Enforce(Block),
    /// Take places out of the kernel.
    Lift {
        /// Whom they are about, for the log.
        host: Address,
        /// The places.
        places: Vec<Place>,
    },
    /// Keep and report this decision.
    Record(Box<Decision>),
    /// Direct every shard.
    Direct(Directive),
}
