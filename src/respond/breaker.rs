//! The circuit breaker: automatic decisions stop before a mistake becomes an outage.
//!
//! It trips when a decision would make too many hosts contained at once, too many in one zone, or too many in a minute.
//! While it is tripped, decisions are held for an engineer; the kernel's fuse works on.

use std::collections::VecDeque;
use std::time::Duration;

use crate::respond::settings::Breaker as Limits;
use crate::time::Timestamp;

/// What the breaker must know to judge one more decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Hosts contained or isolated now.
    pub at_once: u32,
    /// Of those, in the host's zone.
    pub in_zone: u32,
    /// Hosts seen in that zone.
    pub zone_hosts: u32,
}

/// The breaker's state.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    minute: VecDeque<Timestamp>,
    tripped: Option<(Timestamp, String)>,
    trips: u64,
}

impl Breaker {
    /// Whether one more decision may be carried out; trips if not.
    pub fn admits(&mut self, limits: &Limits, load: Load, now: Timestamp) -> bool {
        self.tick(limits, now);
        if self.tripped.is_some() {
            return false;
        }
        let within_minute = u32::try_from(self.minute.len()).unwrap_or(u32::MAX);
        let zone_limit = (load.zone_hosts.saturating_mul(limits.most_percent_of_zone) / 100).max(Limits::FREE_IN_ZONE);
        let why = if load.at_once >= limits.most_at_once {
            format!("{} hosts are contained or isolated at once, the most allowed", load.at_once)
        } else if load.in_zone >= zone_limit {
            format!(
                "{} of about {} hosts in the zone are contained or isolated, the most allowed is {} %",
                load.in_zone, load.zone_hosts, limits.most_percent_of_zone
            )
        } else if within_minute >= limits.most_a_minute {
            format!("{within_minute} decisions within a minute, the most allowed")
        } else {
            return true;
        };
        self.tripped = Some((now, why));
        self.trips += 1;
        false
    }

    /// Notes that a decision was carried out.
    pub fn count(&mut self, now: Timestamp) {
        self.minute.push_back(now);
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        while self.minute.front().is_some_and(|&at| now.since(at) >= Duration::from_secs(60)) {
            self.minute.pop_front();
        }
    }

    /// Lets time pass; says whether it has just re-armed by itself.
    pub fn tick(&mut self, limits: &Limits, now: Timestamp) -> bool {
        self.forget(now);
        if let (Some((at, _)), Some(after)) = (&self.tripped, limits.rearm_after)
            && now.since(*at) >= after
        {
            self.tripped = None;
            return true;
        }
        false
    }

    /// Re-arms it by command; says whether it was tripped.
    pub fn rearm(&mut self) -> bool {
        self.minute.clear();
        self.tripped.take().is_some()
    }

    /// Since when it is tripped, and why.
    #[must_use]
    pub fn tripped(&self) -> Option<(Timestamp, &str)> {
        self.tripped.as_ref().map(|(at, why)| (*at, why.as_str()))
    }

    /// How often it has tripped.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.trips
    }

    /// Decisions within the last minute.
    #[must_use]
    pub fn last_minute(&self) -> u32 {
        u32::try_from(self.minute.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            most_at_once: 10,
            most_percent_of_zone: 50,
            most_a_minute: 3,
            exploit_passes: true,
            rearm_after: Some(Duration::from_secs(600)),
        }
    }

    const CALM: Load = Load { at_once: 0, in_zone: 0, zone_hosts: 100 };

    #[test]
    fn each_limit_trips_it_and_says_which() {
        for (load, word) in [
            (Load { at_once: 10, ..CALM }, "at once"),
            (Load { at_once: 9, in_zone: 9, zone_hosts: 18 }, "of about 18 hosts"),
        ] {
            let mut breaker = Breaker::default();
            assert!(!breaker.admits(&limits(), load, Timestamp::from_secs(1)));
            assert!(breaker.tripped().unwrap().1.contains(word));
            assert!(!breaker.admits(&limits(), CALM, Timestamp::from_secs(2)), "it stays tripped");
        }
        let mut breaker = Breaker::default();
        for n in 0..3 {
            assert!(breaker.admits(&limits(), CALM, Timestamp::from_secs(n)));
            breaker.count(Timestamp::from_secs(n));
        }
        assert!(!breaker.admits(&limits(), CALM, Timestamp::from_secs(3)));
        assert!(breaker.tripped().unwrap().1.contains("a minute"));
    }

    #[test]
    fn a_tiny_zone_does_not_trip_it_at_once() {
        let mut breaker = Breaker::default();
        let load = Load { at_once: 3, in_zone: 3, zone_hosts: 3 };
        assert!(breaker.admits(&limits(), load, Timestamp::from_secs(1)));
        assert!(!breaker.admits(&limits(), Load { in_zone: 4, ..load }, Timestamp::from_secs(1)));
    }

    #[test]
    fn it_re_arms_by_itself_or_by_command() {
        let mut breaker = Breaker::default();
        let full = Load { at_once: 10, ..CALM };
        assert!(!breaker.admits(&limits(), full, Timestamp::from_secs(1)));
        assert!(!breaker.tick(&limits(), Timestamp::from_secs(600)));
        assert!(breaker.tick(&limits(), Timestamp::from_secs(601)));
        assert!(breaker.admits(&limits(), CALM, Timestamp::from_secs(602)));
        let manual = Limits { rearm_after: None, ..limits() };
        assert!(!breaker.admits(&manual, full, Timestamp::from_secs(700)));
        assert!(!breaker.admits(&manual, CALM, Timestamp::from_secs(1_000_000)));
        assert!(breaker.rearm() && !breaker.rearm());
        assert!(breaker.admits(&manual, CALM, Timestamp::from_secs(1_000_001)));
        assert_eq!(breaker.trips(), 2);
    }
}
