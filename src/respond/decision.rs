//! Decisions: what is done about a host, and everything an engineer needs to judge it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::detect::Directive;
use crate::evidence::{Attachment, Evidence, Grade, Score};
use crate::time::Timestamp;
use crate::wire::Address;

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
    /// The evidence, oldest first.
    pub evidence: Vec<Evidence>,
}

/// What the responder wants done. The daemon carries these out in order; a replay only prints the records.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put a host's verdict (contain or isolate) into the kernel, or change the one there.
    Enforce {
        /// The host.
        host: Address,
        /// Contain or isolate.
        verdict: Verdict,
        /// When the kernel shall drop the element by itself; `None` is never.
        until: Option<Timestamp>,
    },
    /// Take a host's verdict out of the kernel.
    Lift {
        /// The host.
        host: Address,
    },
    /// Keep and tell this decision.
    Record(Box<Decision>),
    /// Tell every shard.
    Direct(Directive),
}
