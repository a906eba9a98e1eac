//! What the control task counts as it goes: decisions, alarms, orders, latencies.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use crate::detect::Signal;
use crate::detect::evidence::Alarm;
use crate::respond::inquiry::Finding;
use crate::respond::{By, Decision, Verdict};

/// Upper bounds of the packet-to-kernel histogram, in seconds.
const LATENCY: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

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

/// What the control task counts.
#[derive(Debug)]
pub struct ControlCounters {
    decisions: IntCounterVec,
    alarms: IntCounterVec,
    latency: Histogram,
    orders: IntCounterVec,
    inquiries: IntCounterVec,
}

impl Default for ControlCounters {
    fn default() -> Self {
        ControlCounters::new()
    }
}

impl ControlCounters {
    /// All at zero.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "names and labels are constants: a test builds them"
    )]
    pub fn new() -> Self {
        let vec = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("constant names and labels are valid")
        };
        let control_counters = ControlCounters {
            decisions: vec(
                "firedoor_decisions_total",
                "Decisions, by what was decided, whether the kernel was told (false: monitor mode, or exempt), and whether \
                 the host's doing or an engineer's order is the cause.",
                &["decision", "enforced", "cause"],
            ),
            alarms: vec("firedoor_alarms_total", "Alarms, by the signal that tipped them.", &["signal"]),
            latency: Histogram::with_opts(
                HistogramOpts::new(
                    "firedoor_packet_to_kernel_seconds",
                    "Time from the packet that tipped a decision to the kernel's acknowledgement of the block.",
                )
                .buckets(LATENCY.to_vec()),
            )
            .expect("constant buckets are valid"),
            orders: vec("firedoor_orders_total", "Orders over the admin API.", &["order", "result"]),
            inquiries: vec(
                "firedoor_inquiries_total",
                "Segments asked who has an address before it was acted on, by what was found.",
                &["finding"],
            ),
        };
        for finding in Finding::LABELS {
            control_counters.inquiries.with_label_values(&[finding]);
        }
        for verdict in Verdict::ALL {
            for enforced in ["false", "true"] {
                for cause in ["alarm", "order"] {
                    control_counters.decisions.with_label_values(&[verdict.label(), enforced, cause]);
                }
            }
        }
        for order in OrderKind::ALL {
            for result in ["done", "refused"] {
                control_counters.orders.with_label_values(&[order.label(), result]);
            }
        }
        for signal in Signal::ALL {
            control_counters.alarms.with_label_values(&[signal.label()]);
        }
        control_counters
    }

    /// A decision was made.
    pub fn decided(&self, decision: &Decision) {
        let enforced = if decision.enforced { "true" } else { "false" };
        let ordered = decision.grade.is_none() && decision.by != By::Firedoor;
        let cause = if ordered { "order" } else { "alarm" };
        self.decisions.with_label_values(&[decision.decision.label(), enforced, cause]).inc();
    }

    /// A shard alarmed.
    pub fn alarmed(&self, alarm: &Alarm) {
        self.alarms.with_label_values(&[alarm.signal.label()]).inc();
    }

    /// The kernel acknowledged a block so long after the packet that tipped it.
    pub fn enforced(&self, after: Duration) {
        self.latency.observe(after.as_secs_f64());
    }

    /// An engineer's order was carried out, or refused.
    pub fn ordered(&self, order: OrderKind, done: bool) {
        self.orders.with_label_values(&[order.label(), if done { "done" } else { "refused" }]).inc();
    }

    /// A segment was asked who has an address.
    pub fn inquired(&self, finding: Finding) {
        self.inquiries.with_label_values(&[finding.label()]).inc();
    }

    /// Makes them part of a registry.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.decisions.clone()))?;
        registry.register(Box::new(self.alarms.clone()))?;
        registry.register(Box::new(self.latency.clone()))?;
        registry.register(Box::new(self.orders.clone()))?;
        registry.register(Box::new(self.inquiries.clone()))
    }
}
