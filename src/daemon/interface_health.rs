//! [`InterfaceHealth`]: whether the sensor sees an interface's frames, by what its sources and the kernel report over time.

use std::collections::HashMap;
use std::time::Duration;

use crate::capture::Statistics;
use crate::published::status::{BlindView, Blindness};
use crate::time::Timestamp;

/// No packet for so long, on an interface that had some, is reported.
const SILENT: Duration = Duration::from_secs(60);

/// Losses are reported for so long after the last one.
const DROPS: Duration = Duration::from_secs(30);

/// So many frames on the interface without one that the filter lets through are reported.
const UNMATCHED: u64 = 5000;

#[derive(Clone, Debug, Default)]
struct Interface {
    up: bool,
    strange: Option<u16>,
    received: HashMap<usize, u64>,
    dropped: HashMap<usize, u64>,
    total: u64,
    lost: u64,
    moved: Timestamp,
    lost_at: Timestamp,
    /// The kernel's count of frames on the interface when a captured one was last seen.
    carried: u64,
    carried_at: Timestamp,
    carried_last: u64,
    blind: Option<BlindView>,
}

/// What is known of every interface.
#[derive(Clone, Debug, Default)]
pub struct InterfaceHealth {
    interfaces: HashMap<String, Interface>,
}

impl InterfaceHealth {
    /// Takes what a source reports.
    pub fn statistics(&mut self, shard: usize, statistics: &Statistics) {
        for interface in &statistics.interfaces {
            let known = self.interfaces.entry(interface.name.clone()).or_default();
            (known.up, known.strange) = (interface.up, interface.strange);
            known.received.insert(shard, interface.received);
            known.dropped.insert(shard, interface.dropped);
        }
    }

    /// Judges an interface. `carried` is the kernel's own count of frames on it, `None` if it does not exist;
    /// `one_sided` is what the core found out about answers.
    pub fn judge(&mut self, name: &str, carried: Option<u64>, one_sided: bool, now: Timestamp) -> Option<BlindView> {
        let known = self.interfaces.entry(name.to_owned()).or_default();
        let total: u64 = known.received.values().sum();
        let lost: u64 = known.dropped.values().sum();
        let count = carried.unwrap_or(0);
        if known.moved == Timestamp::ZERO || total != known.total {
            (known.total, known.moved, known.carried) = (total, now, count);
        }
        if lost != known.lost {
            (known.lost, known.lost_at) = (lost, now);
        }
        if count != known.carried_last {
            (known.carried_last, known.carried_at) = (count, now);
        }
        let unmatched = count.saturating_sub(known.carried);
        let found = if let (Some(_), Some(hardware)) = (carried, known.strange) {
            Some((Blindness::Unreadable, format!("its hardware type {hardware} is not decoded")))
        } else if carried.is_none() || (!known.up && !known.received.is_empty()) {
            Some((Blindness::Missing, "it does not exist, or is down".to_owned()))
        } else if known.lost_at != Timestamp::ZERO && now.since(known.lost_at) < DROPS {
            Some((Blindness::Drops, format!("{lost} packets lost so far, the last at {}", known.lost_at)))
        } else if now.since(known.moved) >= SILENT && unmatched >= UNMATCHED {
            Some((
                Blindness::NothingMatches,
                format!("{unmatched} frames on it since {}, none of interest", known.moved),
            ))
        } else if total > 0 && now.since(known.moved) >= SILENT && now.since(known.carried_at) >= SILENT {
            Some((Blindness::Silent, format!("no frame since {}", known.moved)))
        } else if one_sided {
            Some((Blindness::OneWay, "clients continue as if answered more often than answers are seen".to_owned()))
        } else {
            None
        };
        known.blind = found.map(|(reason, detail)| match &known.blind {
            Some(before) if before.reason == reason => BlindView { reason, since: before.since, detail },
            _ => BlindView { reason, since: now, detail },
        });
        known.blind.clone()
    }

    /// Packets lost on an interface, all shards together.
    #[must_use]
    pub fn lost(&self, name: &str) -> u64 {
        self.interfaces.get(name).map_or(0, |known| known.dropped.values().sum())
    }
}

/// The kernel's own count of frames that came in on an interface; `None` if it does not exist.
///
/// From /proc, which shows the reader's own network namespace; /sys shows the one it was mounted in.
#[must_use]
pub fn carried(name: &str) -> Option<u64> {
    counted(&std::fs::read_to_string("/proc/net/dev").ok()?, name)
}

/// Packets received, from the text of /proc/net/dev (proc_net(5)): behind the name come bytes, then packets.
fn counted(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::InterfaceStatistics;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    fn says(received: u64, dropped: u64, up: bool) -> Statistics {
        let interface =
            InterfaceStatistics { name: "eth0".into(), index: 2, up, received, dropped, ..Default::default() };
        Statistics { interfaces: vec![interface] }
    }

    fn reason(health: &mut InterfaceHealth, carried: Option<u64>, one_sided: bool, secs: u64) -> Option<Blindness> {
        health.judge("eth0", carried, one_sided, at(secs)).map(|view| view.reason)
    }

    #[test]
    fn the_kernels_count_is_read_for_the_named_interface_alone() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes    packets errs drop\n    lo:     100       2    0    0\n\
                    eth0:12345      678    0    0\neth01: 1 2 0 0\n";
        assert_eq!(counted(text, "eth0"), Some(678));
        assert_eq!(counted(text, "lo"), Some(2));
        assert_eq!(counted(text, "eth"), None);
    }

    #[test]
    fn a_seeing_sensor_is_not_blind() {
        let mut health = InterfaceHealth::default();
        for secs in 0..300 {
            health.statistics(0, &says(secs, 0, true));
            assert_eq!(reason(&mut health, Some(secs * 1000), false, secs), None);
        }
    }

    #[test]
    fn each_blindness_is_distinguished() {
        let mut health = InterfaceHealth::default();
        assert_eq!(reason(&mut health, None, false, 0), Some(Blindness::Missing));
        health.statistics(0, &says(100, 0, true));
        assert_eq!(reason(&mut health, Some(100), false, 1), None);
        assert_eq!(reason(&mut health, Some(100), true, 2), Some(Blindness::OneWay));
        assert_eq!(reason(&mut health, Some(100), false, 90), Some(Blindness::Silent));
        assert_eq!(reason(&mut health, Some(10_000), false, 100), Some(Blindness::NothingMatches));
        health.statistics(0, &says(200, 5, true));
        assert_eq!(reason(&mut health, Some(10_100), false, 101), Some(Blindness::Drops));
        assert_eq!(reason(&mut health, Some(10_100), false, 132), None);
        health.statistics(0, &says(200, 5, false));
        assert_eq!(reason(&mut health, Some(10_100), false, 133), Some(Blindness::Missing));
        let mut strange = says(200, 5, false);
        strange.interfaces[0].strange = Some(778);
        health.statistics(0, &strange);
        assert_eq!(reason(&mut health, Some(10_100), false, 134), Some(Blindness::Unreadable));
    }
}
