//! [`Sight`]: what one scrape sees, read once for all metrics; and the samples that it makes of it.

use std::sync::Arc;

use super::near::Near;
use crate::detect::counters::Counters as Detected;
use crate::inspect::Feature;
use crate::published::Published;
use crate::published::control_counters::{ControlCounters, LATENCY, Latency};
use crate::published::counters::{InterfaceCounters, ShardCounters};
use crate::published::status::{Occupancy, Status};
use crate::respond::{Action, Block};
use crate::sys::process::Usage;
use crate::time::Timestamp;

/// A sample's number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram: how many were at most each upper bound, in seconds; the sum, in seconds; how many there were.
    Buckets(Vec<(f64, u64)>, f64, u64),
}

/// Samples, each with the values of its labels, in the order of the family's labels.
pub(super) type Samples = Vec<(Vec<String>, Value)>;

/// What is published, as one scrape sees it.
pub(super) struct Sight<'a> {
    pub published: &'a Published,
    pub control: &'a ControlCounters,
    pub status: Arc<Status>,
    /// What the shards' detectors counted, together.
    pub detected: Detected,
    pub near: Near,
    pub usage: Usage,
}

impl<'a> Sight<'a> {
    /// Reads everything that takes a pass of its own.
    pub fn of(published: &'a Published) -> Self {
        Sight {
            published,
            control: &published.control_counters,
            status: published.status(),
            detected: published.counters.detected(),
            near: Near::of(published),
            usage: Usage::now(),
        }
    }

    /// A moment by the machine's clock, as Prometheus compares it with its own; 0 is never.
    pub fn seconds(&self, at: Timestamp) -> f64 {
        if at == Timestamp::ZERO {
            0.0
        } else {
            float(at.millis().saturating_add_signed(self.status.wall_ahead_ms)) / 1000.0
        }
    }

    /// A sum over shards.
    pub fn sum(&self, of: impl Fn(&ShardCounters) -> u64) -> f64 {
        float(self.published.counters.sum(of))
    }

    /// A number for each interface ever counted.
    pub fn interfaces(&self, of: impl Fn(&InterfaceCounters) -> f64) -> Samples {
        each(self.published.counters.interfaces().iter().map(|interface| (interface.name.as_str(), of(interface))))
    }

    /// A number for each table of fixed capacity.
    pub fn tables(&self, of: fn(&Occupancy) -> u64) -> Samples {
        let mut tables = self.published.counters.tables();
        tables.push(self.published.host_table.occupancy());
        each(tables.iter().map(|table| (table.name.as_str(), float(of(table)))))
    }

    /// Hosts that this is done to, by cause and by whether the kernel drops what they send.
    pub fn acted(&self, action: Action) -> Samples {
        let state = self.published.state();
        let number = |enforced: bool, ordered: bool| {
            let such = |block: &&Block| {
                block.action == action && state.enforces(block) == enforced && block.decision.is_ordered() == ordered
            };
            count(state.blocks().filter(such).count())
        };
        pairs([("true", true), ("false", false)].into_iter().flat_map(|(label, enforced)| {
            [(["alarm", label], number(enforced, false)), (["order", label], number(enforced, true))]
        }))
    }

    /// SMB connections in which a feature was made use of.
    pub fn feature(&self, feature: Feature) -> f64 {
        float(self.detected.features.get(feature as usize).copied().unwrap_or(0))
    }

    /// The time from the packet to the kernel.
    pub fn latency(&self) -> Samples {
        let Latency { buckets, sum, count } = self.control.latency();
        vec![(Vec::new(), Value::Buckets(LATENCY.into_iter().zip(buckets).collect(), sum.as_secs_f64(), count))]
    }
}

/// A sample without labels.
pub(super) fn one(number: f64) -> Samples {
    vec![(Vec::new(), Value::Number(number))]
}

/// A sample without labels, if the number can be read.
pub(super) fn maybe(number: Option<f64>) -> Samples {
    number.map(one).unwrap_or_default()
}

/// A sample for each value of one label.
pub(super) fn each<L: Into<String>>(samples: impl IntoIterator<Item = (L, f64)>) -> Samples {
    samples.into_iter().map(|(label, number)| (vec![label.into()], Value::Number(number))).collect()
}

/// A sample for each pair of values of two labels, or more.
pub(super) fn pairs<const N: usize>(samples: impl IntoIterator<Item = ([&'static str; N], f64)>) -> Samples {
    samples.into_iter().map(|(labels, number)| (labels.map(str::to_owned).to_vec(), Value::Number(number))).collect()
}

/// Prometheus knows only floats: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
pub(super) const fn float(n: u64) -> f64 {
    n as f64
}

/// Counts of a closed set, in its order.
pub(super) fn floats(counts: &[u64]) -> impl Iterator<Item = f64> {
    counts.iter().map(|count| float(*count))
}

pub(super) fn count(n: usize) -> f64 {
    float(u64::try_from(n).unwrap_or(u64::MAX))
}

pub(super) fn signed(n: i64) -> f64 {
    if n < 0 { -float(n.unsigned_abs()) } else { float(n.unsigned_abs()) }
}

pub(super) fn truth(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}
