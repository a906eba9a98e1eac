//! What the lab found, and whether Firedoor kept its promises there.

use serde::Serialize;

use crate::lab::epidemic;
use crate::lab::plan::{INFECTED, Segment};
use crate::lab::trial::{Outcome, Trial};
use crate::lab::worm::Kind;
use crate::respond::Mode;
use crate::wire::Address;

/// The most first contacts that may reach the victims.
pub const MOST_CONTACTS: u32 = 10;
/// In an epidemic, the most of the vulnerable hosts that may become infected, in hundredths.
pub const MOST_INFECTED_PERCENT: usize = 10;

/// One promise, and how it went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// What was promised.
    pub promise: String,
    /// What happened.
    pub found: String,
    /// Whether it was kept.
    pub kept: bool,
}

impl Promise {
    fn new(promise: impl Into<String>, found: impl Into<String>, kept: bool) -> Self {
        Promise { promise: promise.into(), found: found.into(), kept }
    }
}

/// A trial with Firedoor and, beside it, one without.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was tried.
    pub trial: Trial,
    /// The infected host.
    pub host: Address,
    /// With Firedoor.
    pub protected: Outcome,
    /// Without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Outcome>,
    /// What was promised, and how it went.
    pub promises: Vec<Promise>,
    /// Whether every promise was kept.
    pub kept: bool,
}

impl Report {
    /// Judges a trial.
    #[must_use]
    pub fn new(trial: Trial, protected: Outcome, baseline: Option<Outcome>) -> Self {
        let host = Address::from(trial.plan().address(Segment::Office, INFECTED));
        let promises = judge(&trial, host, &protected);
        let kept = promises.iter().all(|promise| promise.kept);
        Report { trial, host, protected, baseline, promises, kept }
    }
}

fn judge(trial: &Trial, host: Address, outcome: &Outcome) -> Vec<Promise> {
    let mut promises = vec![decided(trial, host, outcome)];
    promises.push(match trial.mode {
        Mode::Enforce => Promise::new(
            format!("at most {MOST_CONTACTS} first contacts reach the victims"),
            format!("{} did", outcome.reached),
            outcome.reached <= MOST_CONTACTS,
        ),
        // Its last knocks may still be on their way.
        Mode::Monitor => Promise::new(
            "nothing is dropped in monitor mode",
            format!("of {} addresses tried, {} were reached", outcome.worm_stats.destinations, outcome.reached),
            outcome.reached + 2 >= outcome.worm_stats.destinations,
        ),
    });
    let disturbed: Vec<String> = outcome
        .sessions
        .iter()
        .filter(|stats| !stats.is_undisturbed())
        .map(|stats| match &stats.broken {
            Some(why) => format!("{} of {} broke: {why}", stats.service.name, stats.of),
            None => format!("{} of {} stalled for {:.0} ms", stats.service.name, stats.of, stats.longest_ms),
        })
        .collect();
    let longest = outcome.sessions.iter().map(|stats| stats.longest_ms).fold(0.0, f64::max);
    promises.push(Promise::new(
        "clinical sessions continue undisturbed, the infected host's own too",
        if disturbed.is_empty() {
            format!("{} sessions, longest stall {longest:.0} ms", outcome.sessions.len())
        } else {
            disturbed.join("; ")
        },
        disturbed.is_empty(),
    ));
    let others = outcome.decisions.iter().filter(|act| act.host != host).count();
    promises.push(Promise::new("nobody else is decided against", format!("{others} decisions"), others == 0));
    promises
}

fn decided(trial: &Trial, host: Address, outcome: &Outcome) -> Promise {
    let promise = match (trial.mode, trial.worm) {
        (Mode::Monitor, _) => "the infected host is decided against",
        (_, Kind::Slow) => "the infected host is contained by its 10th dark destination",
        _ => "the infected host is contained",
    };
    match (outcome.containment(host), outcome.decided_after) {
        (Some(act), Some(after)) => {
            let in_time = trial.worm != Kind::Slow || act.destinations <= 10;
            Promise::new(promise, format!("{}, {after:.2} s after the worm began", act.decision), in_time)
        }
        _ => Promise::new(promise, "it was not", false),
    }
}

/// An epidemic with Firedoor and, beside it, one without.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// How long it ran, in seconds.
    pub seconds: f64,
    /// Decides who is live, and whom each host tries.
    pub seed: u64,
    /// With Firedoor.
    pub protected: epidemic::EpidemicStats,
    /// Without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<epidemic::EpidemicStats>,
    /// What was promised, and how it went.
    pub promises: Vec<Promise>,
    /// Whether every promise was kept.
    pub kept: bool,
}

impl Spread {
    /// Judges an epidemic.
    #[must_use]
    pub fn new(
        (seconds, seed): (f64, u64),
        protected: epidemic::EpidemicStats,
        baseline: Option<epidemic::EpidemicStats>,
    ) -> Self {
        let infected = protected.infections.len();
        let promises = vec![Promise::new(
            format!("the epidemic does not take hold: at most {MOST_INFECTED_PERCENT} % of the hosts are infected"),
            format!("{infected} of {} were", protected.vulnerable),
            infected * 100 <= protected.vulnerable * MOST_INFECTED_PERCENT,
        )];
        let kept = promises.iter().all(|promise| promise.kept);
        Spread { seconds, seed, protected, baseline, promises, kept }
    }
}
