//! What `tune` proposes: thresholds, roles, lines to paste.

use serde::Serialize;

use super::measure::{Alarmed, Service};
use crate::evidence::{Grade, Score};
use crate::published::host_report::Class;
use crate::replay::Summary;
use crate::respond::servers;
use crate::wire::Address;

/// What is proposed for a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It fits.
    Keep,
    /// The captures do not span the window.
    TooShort,
    /// It could be lower, but too little was seen to say so.
    TooLittle,
    /// Lower, within the floor.
    Lower,
    /// Higher, because many hosts come near.
    Raise,
    /// Higher, and still below what many hosts need: no threshold may go further.
    Ceiling,
}

impl Change {
    /// Why, in a few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Change::Keep => "fits",
            Change::TooShort => "kept: the captures are shorter than the window",
            Change::TooLittle => "kept: too little seen to lower it",
            Change::Lower => "ordinary hosts stay far below",
            Change::Raise => "many hosts come near",
            Change::Ceiling => "many hosts need more, and no threshold goes further",
        }
    }
}

/// A fan-out window: what is configured, what was seen, what is proposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it counts.
    pub class: Class,
    /// Its length in seconds.
    pub seconds: u64,
    /// The configured threshold.
    pub current: u32,
    /// The most that an ordinary host reached.
    pub observed: u32,
    /// What all but one in a thousand of the ordinary hosts stayed at or below.
    pub most_hosts: u32,
    /// Which host reached the most.
    pub host: Option<Address>,
    /// The proposed threshold.
    pub proposed: u32,
    /// How the two relate, and why.
    pub change: Change,
}

/// The score: only reported, for what lifts a score is a host's own failures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreLine {
    /// The configured threshold, in nats.
    pub current: Score,
    /// The highest that an ordinary host reached.
    pub observed: Score,
    /// What all but one in a thousand of the ordinary hosts stayed at or below.
    pub most_hosts: Score,
    /// Which host reached the highest.
    pub host: Option<Address>,
}

/// A host that would need thresholds of its own: a role is proposed for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlier {
    /// The host.
    pub host: Address,
    /// What it did more than others, in a sentence.
    pub why: String,
    /// What it looks like, by its ports: the proposed role's name begins with this.
    pub kind: &'static str,
    /// The services of its first contacts, the most used first.
    pub services: Vec<Service>,
    /// There were more services than are listed.
    pub more_services: bool,
    /// Its score rests on SMB1 with new peers, too: the role must cover that.
    pub smb1: bool,
    /// Its score rests on remote execution, too.
    pub remote_execution: bool,
    /// What would have been decided about it: an engineer must know what it is before it gets a role.
    pub alarmed: Option<Alarmed>,
}

impl Outlier {
    /// Whether an exploit was seen of it: it is infected, whatever its work.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        self.alarmed.as_ref().is_some_and(|alarmed| alarmed.grade == Grade::Exploit)
    }
}

/// What `tune` proposes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// What the captures came to.
    pub summary: Summary,
    /// The time that was captured, in seconds: the spans without their long silences.
    pub covered: u64,
    /// Hosts that opened first contacts; so many of them are ordinary.
    pub measured: usize,
    /// Hosts that the thresholds are derived from.
    pub ordinary: usize,
    /// First contacts of hosts that there was no room to measure.
    pub unmeasured: u64,
    /// The windows, lateral ones first.
    pub windows: Vec<Line>,
    /// The score.
    pub score: ScoreLine,
    /// Who should rather have a role.
    pub stand_out: Vec<Outlier>,
    /// Whom the core would have acted on: left out of all of this.
    pub alarmed: Vec<Outlier>,
    /// Servers that answered as many clients as it takes to be known, and so many: nobody needs to wait for them.
    pub servers: Vec<(servers::Service, usize)>,
    /// Lines to paste.
    pub fragment: String,
}

/// A few hosts of so many: they get roles. More are the way the site works.
pub(super) fn few(of: usize) -> usize {
    (of / 100).max(3)
}

impl Proposal {
    /// Whether so many hosts would have been acted on that these captures are no ordinary traffic.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.alarmed.len() > few(self.measured)
    }
}
