//! The score at which a host alarms.
//!
//! It falls while hosts are contained (cooperative containment, Weaver et al. 2004) and for a host that an alarmed one
//! reached (infection chains), never below its floor. What is normal work as long as it stays what it is measures itself
//! against the full threshold: SMB1 with a handful of peers, and an administrator on one host.

use crate::detect::settings::Settings;
use crate::evidence::{Score, Signal};
use crate::time::Timestamp;
use crate::track::Host;

/// The threshold that applies to `host`, given the one after cooperation.
///
/// SMB1 and remote execution do not profit from a lowered one. Each part of the score is measured against a threshold of
/// its own: with `o` of other evidence and `r` of routine, the host alarms at o / lowered + r / full ≥ 1.
pub(super) fn threshold_of(settings: &Settings, cooperative: Score, host: &Host) -> Score {
    let threshold = if host.chained { Score(cooperative.0 / 2) } else { cooperative };
    let (lowered, full) = (threshold.max(settings.threshold_floor).0, settings.threshold.0);
    if lowered >= full {
        return Score(lowered);
    }
    let share = i64::from(routine(settings, host).0.min(full));
    let raised = i64::from(lowered) + share * i64::from(full - lowered) / i64::from(full.max(1));
    Score(i32::try_from(raised).unwrap_or(i32::MAX))
}

/// What of a host's score is routine as long as it stays at a few peers: SMB1, and remote execution.
fn routine(settings: &Settings, host: &Host) -> Score {
    let routine = host.evidence.iter().filter(|known| matches!(known.signal, Signal::Smb1 | Signal::RemoteExecution));
    let (sum, at) = routine.fold((Score(0), Timestamp::ZERO), |(sum, at), evidence| {
        let left = sum.decayed(evidence.at.since(at).saturating_sub(settings.decay / 10), settings.decay);
        (Score(left.0.saturating_add(evidence.weight.0)), evidence.at)
    });
    let left = sum.decayed(host.score_at.since(at).saturating_sub(settings.decay / 10), settings.decay);
    left.min(host.score)
}

/// The threshold while `contained` hosts are.
pub(super) fn cooperative(settings: &Settings, contained: u32) -> Score {
    let percent = contained.saturating_mul(settings.cooperation_percent).min(100);
    let threshold = i64::from(settings.threshold.0) * i64::from(100 - percent) / 100;
    Score(i32::try_from(threshold).unwrap_or(i32::MAX)).max(settings.threshold_floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contained_host_lowers_the_threshold_by_a_fifth_down_to_the_floor() {
        let settings = Settings::default();
        let nats: Vec<_> = [0, 1, 2, 3, 4, 1000].map(|n| cooperative(&settings, n).0).to_vec();
        assert_eq!(nats, [9900, 7920, 5940, 5000, 5000, 5000]);
    }
}
