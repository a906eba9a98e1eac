//! What the control task counts as it goes: decisions, alarms, orders, latencies.

use std::time::Duration;

use super::counters::{Cell, Cells};
use crate::detect::Signal;
use crate::detect::evidence::Alarm;
use crate::respond::address_probe::Finding;
use crate::respond::{By, Decision, Verdict};

labels! {
    /// What a decision rests on.
    Cause {
        /// The host's doing.
        Alarm = "alarm",
        /// An engineer's order.
        Order = "order",
    }
}

labels! {
    /// What an engineer can order.
    OrderKind {
        /// Contain a host.
        Contain = "contain",
        /// Isolate a host.
        Isolate = "isolate",
        /// Release whoever is acted on.
        Release = "release",
        /// Carry out held decisions.
        Confirm = "confirm",
        /// Discard held decisions.
        Discard = "discard",
        /// Read the configuration again.
        Reload = "reload",
        /// Arm the breaker again.
        Rearm = "rearm",
        /// Put a network on the never-contain list.
        Exempt = "exempt",
        /// Take a network off the never-contain list.
        Unexempt = "unexempt",
    }
}

/// Upper bounds of the packet-to-kernel histogram, in seconds.
pub const LATENCY: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Verdicts, each enforced or not, each with its cause.
const DECISIONS: usize = Verdict::ALL.len() * 2 * Cause::ALL.len();

/// What the control task counts.
#[derive(Debug, Default)]
pub struct ControlCounters {
    decisions: Cells<DECISIONS>,
    alarms: Cells<{ Signal::ALL.len() }>,
    done: Cells<{ OrderKind::ALL.len() }>,
    refused: Cells<{ OrderKind::ALL.len() }>,
    probes: Cells<{ Finding::LABELS.len() }>,
    /// How many took at most each bound, and no less than the one before.
    latency: Cells<{ LATENCY.len() }>,
    latency_nanos: Cell,
    latencies: Cell,
}

/// Times from the packet to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// How many took at most each bound of [`LATENCY`].
    pub buckets: [u64; LATENCY.len()],
    /// All together.
    pub sum: Duration,
    /// How many there were.
    pub count: u64,
}

impl ControlCounters {
    /// A decision was made.
    pub fn decided(&self, decision: &Decision) {
        let ordered = decision.grade.is_none() && decision.by != By::Firedoor;
        let cause = if ordered { Cause::Order } else { Cause::Alarm };
        self.decisions.add(position(decision.decision, decision.enforced, cause), 1);
    }

    /// Decisions so far.
    #[must_use]
    pub fn decisions(&self, verdict: Verdict, enforced: bool, cause: Cause) -> u64 {
        self.decisions.get(position(verdict, enforced, cause))
    }

    /// A shard alarmed.
    pub fn alarmed(&self, alarm: &Alarm) {
        self.alarms.add(alarm.signal as usize, 1);
    }

    /// Alarms so far that this signal tipped.
    #[must_use]
    pub fn alarms(&self, signal: Signal) -> u64 {
        self.alarms.get(signal as usize)
    }

    /// The kernel acknowledged a block so long after the packet that tipped it.
    pub fn enforced(&self, after: Duration) {
        if let Some(at) = LATENCY.iter().position(|bound| after.as_secs_f64() <= *bound) {
            self.latency.add(at, 1);
        }
        self.latency_nanos.add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.latencies.add(1);
    }

    /// Times from the packet to the kernel so far.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let mut below = 0;
        let buckets = std::array::from_fn(|at| {
            below += self.latency.get(at);
            below
        });
        Latency { buckets, sum: Duration::from_nanos(self.latency_nanos.get()), count: self.latencies.get() }
    }

    /// An engineer's order was carried out, or refused.
    pub fn ordered(&self, order: OrderKind, done: bool) {
        let cells = if done { &self.done } else { &self.refused };
        cells.add(order as usize, 1);
    }

    /// Orders of a kind so far: carried out, and refused.
    #[must_use]
    pub fn orders(&self, order: OrderKind) -> (u64, u64) {
        (self.done.get(order as usize), self.refused.get(order as usize))
    }

    /// A link was asked who has an address.
    pub fn probed(&self, finding: Finding) {
        if let Some(at) = Finding::LABELS.iter().position(|label| *label == finding.label()) {
            self.probes.add(at, 1);
        }
    }

    /// Links asked so far, by the label of what was found.
    #[must_use]
    pub fn probes(&self, finding: &str) -> u64 {
        Finding::LABELS.iter().position(|label| *label == finding).map_or(0, |at| self.probes.get(at))
    }
}

/// Where decisions are counted.
fn position(verdict: Verdict, enforced: bool, cause: Cause) -> usize {
    let verdict = Verdict::ALL.iter().position(|known| *known == verdict).unwrap_or(DECISIONS);
    (verdict * 2 + usize::from(enforced)) * Cause::ALL.len() + cause as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_is_long_enough_and_in_all_beyond() {
        let counters = ControlCounters::default();
        for micros in [80, 100, 1800, 9_000_000] {
            counters.enforced(Duration::from_micros(micros));
        }
        let Latency { buckets, sum, count } = counters.latency();
        assert_eq!((buckets[0], buckets[3], buckets[4], buckets[13]), (2, 2, 3, 3));
        assert_eq!((sum, count), (Duration::from_micros(9_001_980), 4));
    }

    #[test]
    fn an_order_is_counted_by_kind_and_result() {
        let counters = ControlCounters::default();
        counters.ordered(OrderKind::Contain, true);
        counters.ordered(OrderKind::Contain, false);
        counters.ordered(OrderKind::Unexempt, true);
        assert_eq!(counters.orders(OrderKind::Contain), (1, 1));
        assert_eq!(counters.orders(OrderKind::Unexempt), (1, 0));
        assert_eq!(counters.orders(OrderKind::Isolate), (0, 0));
    }
}
