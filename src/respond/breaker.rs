//! The circuit breaker: automatic decisions stop before a mistake becomes an outage.
//!
//! It counts suspects, not addresses. A zone (a /24, or a /64) trips by itself when too many of its suspects are
//! contained at once or decided about within a minute; decisions in that zone are then held for an engineer, those in
//! others are carried out. The breaker trips as a whole at the whole's limits, of which no zone alone gets all: so one
//! host with many addresses disarms neither the site nor, soon, its zone. The kernel's fuse works on throughout.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::respond::Block;
use crate::respond::settings::Breaker as Limits;
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::Address;

/// Most zones that are tripped by themselves; with more the breaker trips as a whole.
const MOST_ZONES: usize = 1024;

/// A zone gets so many hundredths of what the whole may contain at once.
const ZONE_AT_ONCE_PERCENT: u32 = 75;

/// A zone gets so many hundredths of the whole's decisions a minute.
const ZONE_A_MINUTE_PERCENT: u32 = 50;

/// The zone of a host: its /24, or its /64.
#[must_use]
pub fn zone(host: Address) -> IpNetwork {
    let (ip, prefix) = match host.ip() {
        IpAddr::V4(_) => (host.ip(), 24),
        IpAddr::V6(_) => (host.ip(), 64),
    };
    IpNetwork::new(ip, prefix).map_or_else(|_| IpNetwork::from(ip), |network| network_of(&network))
}

/// A network without its host bits.
fn network_of(network: &IpNetwork) -> IpNetwork {
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(*network)
}

/// How many suspects others than `own` there are among those acted on, and how many of them in its zone. To the first, no
/// zone adds more than `most` of its own.
fn others(acted: impl Iterator<Item = (Address, Suspect)>, own: Suspect, here: IpNetwork, most: u32) -> (u32, u32) {
    let mut zones: HashMap<IpNetwork, HashSet<Suspect>> = HashMap::new();
    for (host, suspect) in acted.filter(|(_, suspect)| *suspect != own) {
        zones.entry(zone(host)).or_default().insert(suspect);
    }
    let all = zones.values().map(|suspects| number(suspects.len()).min(most)).fold(0, u32::saturating_add);
    (all, zones.get(&here).map_or(0, |suspects| number(suspects.len())))
}

/// What the breaker must know to judge one more decision. The suspect it is about is counted in none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Whom the decision is about.
    pub host: Address,
    /// The suspect.
    pub suspect: Suspect,
    /// Suspects contained or isolated now.
    pub at_once: u32,
    /// Of those, in the host's zone.
    pub in_zone: u32,
    /// Hosts seen in that zone.
    pub zone_hosts: u32,
}

impl Load {
    /// The load under these blocks, for a decision about `suspect`, called by `host`.
    #[must_use]
    pub fn new<'a>(
        blocks: impl Iterator<Item = &'a Block>,
        suspect: Suspect,
        host: Address,
        zone_hosts: u32,
        limits: &Limits,
    ) -> Self {
        let most = part(limits.most_at_once, ZONE_AT_ONCE_PERCENT);
        let acted = blocks.map(|block| (block.host(), block.suspect()));
        let (at_once, in_zone) = others(acted, suspect, zone(host), most);
        Load { host, suspect, at_once, in_zone, zone_hosts }
    }
}

/// One trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// When.
    pub at: Timestamp,
    /// Which limit was reached, with the figures.
    pub why: String,
}

/// The breaker's state.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    minute: VecDeque<(Timestamp, Address, Suspect)>,
    whole: Option<Trip>,
    zones: BTreeMap<IpNetwork, Trip>,
    trips: u64,
}

impl Breaker {
    /// Whether one more decision may be carried out; trips if not.
    pub fn admits(&mut self, limits: &Limits, load: Load, now: Timestamp) -> bool {
        self.tick(limits, now);
        let zone = zone(load.host);
        if self.holding(zone).is_some() {
            return false;
        }
        let lately = self.minute.iter().map(|(_, host, suspect)| (*host, *suspect));
        let (within_minute, within_zone) =
            others(lately, load.suspect, zone, part(limits.most_a_minute, ZONE_A_MINUTE_PERCENT));
        if let Some(why) = zone_limit(limits, load, within_zone) {
            if self.zones.len() < MOST_ZONES {
                self.zones.insert(zone, Trip { at: now, why });
            } else {
                self.whole = Some(Trip { at: now, why: format!("{MOST_ZONES} zones have tripped; the last: {why}") });
            }
        } else if let Some(why) = whole_limit(limits, load, within_minute) {
            self.whole = Some(Trip { at: now, why });
        } else {
            return true;
        }
        self.trips += 1;
        false
    }

    /// Notes that a decision about this host was carried out.
    pub fn count(&mut self, host: Address, suspect: Suspect, now: Timestamp) {
        self.minute.push_back((now, host, suspect));
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        while self.minute.front().is_some_and(|(at, ..)| now.since(*at) >= Duration::from_secs(60)) {
            self.minute.pop_front();
        }
    }

    /// Lets time pass; says whether anything has just re-armed by itself.
    pub fn tick(&mut self, limits: &Limits, now: Timestamp) -> bool {
        self.forget(now);
        let Some(after) = limits.rearm_after else { return false };
        let over = |trip: &Trip| now.since(trip.at) >= after;
        let zones = self.zones.len();
        self.zones.retain(|_, trip| !over(trip));
        self.whole.take_if(|trip| over(trip)).is_some() || self.zones.len() != zones
    }

    /// Re-arms the whole and every zone by command; says whether anything was tripped.
    pub fn rearm(&mut self) -> bool {
        self.minute.clear();
        let zones = std::mem::take(&mut self.zones);
        self.whole.take().is_some() || !zones.is_empty()
    }

    /// Re-arms one zone by command; says whether it was tripped.
    pub fn rearm_zone(&mut self, zone: IpNetwork) -> bool {
        self.minute.retain(|(_, host, _)| self::zone(*host) != zone);
        self.zones.remove(&zone).is_some()
    }

    /// What holds decisions in `zone`, if anything does.
    #[must_use]
    pub fn holding(&self, zone: IpNetwork) -> Option<&Trip> {
        self.whole.as_ref().or_else(|| self.zones.get(&zone))
    }

    /// The trip of the whole.
    #[must_use]
    pub fn whole(&self) -> Option<&Trip> {
        self.whole.as_ref()
    }

    /// The zones that are tripped by themselves.
    pub fn zones(&self) -> impl Iterator<Item = (&IpNetwork, &Trip)> {
        self.zones.iter()
    }

    /// Since when anything is tripped, and why: the whole first.
    #[must_use]
    pub fn tripped(&self) -> Option<&Trip> {
        self.whole.as_ref().or_else(|| self.zones.values().min_by_key(|trip| trip.at))
    }

    /// How often it has tripped, zones included.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.trips
    }

    /// Decisions within the last minute.
    #[must_use]
    pub fn last_minute(&self) -> u32 {
        number(self.minute.len())
    }
}

/// Which limit of the whole is reached.
fn whole_limit(limits: &Limits, load: Load, within_minute: u32) -> Option<String> {
    if load.at_once >= limits.most_at_once {
        Some(format!("{} suspects are contained or isolated at once, the most allowed", load.at_once))
    } else if within_minute >= limits.most_a_minute {
        Some(format!("{within_minute} decisions within a minute, the most allowed"))
    } else {
        None
    }
}

/// Which limit of the zone is reached.
fn zone_limit(limits: &Limits, load: Load, within_minute: u32) -> Option<String> {
    let Load { host, in_zone, zone_hosts, .. } = load;
    let zone = zone(host);
    let share = (zone_hosts.saturating_mul(limits.most_percent_of_zone) / 100).max(Limits::FREE_IN_ZONE);
    let most = part(limits.most_at_once, ZONE_AT_ONCE_PERCENT);
    let most_a_minute = part(limits.most_a_minute, ZONE_A_MINUTE_PERCENT);
    if in_zone >= share {
        Some(format!(
            "{in_zone} of about {zone_hosts} hosts in the zone {zone} are contained or isolated, the most allowed is {} %",
            limits.most_percent_of_zone
        ))
    } else if in_zone >= most {
        Some(format!("{in_zone} suspects in the zone {zone} are contained or isolated at once, the most for a zone"))
    } else if within_minute >= most_a_minute {
        Some(format!("{within_minute} decisions within a minute in the zone {zone}, the most for a zone"))
    } else {
        None
    }
}

/// So many hundredths of a limit, rounded up.
fn part(limit: u32, percent: u32) -> u32 {
    u32::try_from((u64::from(limit) * u64::from(percent)).div_ceil(100)).unwrap_or(limit)
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Link, Mac};

    fn limits() -> Limits {
        Limits {
            most_at_once: 12,
            most_percent_of_zone: 50,
            most_a_minute: 6,
            exploit_passes: true,
            rearm_after: Some(Duration::from_secs(600)),
        }
    }

    fn host(zone: u8, n: u8) -> Address {
        Address::v4([10, 0, zone, n])
    }

    fn calm(zone: u8, n: u8) -> Load {
        let host = host(zone, n);
        Load { host, suspect: Suspect::address(Link::untagged(3), host), at_once: 0, in_zone: 0, zone_hosts: 100 }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn each_limit_trips_it_and_says_which() {
        let calm = calm(1, 1);
        for (load, whole, word) in [
            (Load { at_once: 12, ..calm }, true, "at once, the most allowed"),
            (
                Load { at_once: 9, in_zone: 9, zone_hosts: 18, ..calm },
                false,
                "of about 18 hosts in the zone 10.0.1.0/24",
            ),
            (Load { at_once: 9, in_zone: 9, zone_hosts: 900, ..calm }, false, "at once, the most for a zone"),
        ] {
            let mut breaker = Breaker::default();
            assert!(!breaker.admits(&limits(), load, at(1)));
            assert!(breaker.tripped().unwrap().why.contains(word), "{:?}", breaker.tripped());
            assert_eq!(breaker.whole().is_some(), whole);
            assert!(!breaker.admits(&limits(), calm, at(2)), "it stays tripped");
            assert_eq!(breaker.admits(&limits(), self::calm(2, 1), at(2)), !whole, "another zone");
            assert_eq!(breaker.trips(), 1);
        }
    }

    #[test]
    fn a_zone_gets_half_of_the_minute_and_leaves_the_rest_to_others() {
        let mut breaker = Breaker::default();
        let mut decide = |zone, n, secs| {
            let load = calm(zone, n);
            let admitted = breaker.admits(&limits(), load, at(secs));
            if admitted {
                breaker.count(load.host, load.suspect, at(secs));
            }
            admitted
        };
        assert_eq!([1, 2, 3, 4, 5].map(|n| decide(1, n, 0)), [true, true, true, false, false]);
        assert!(decide(2, 1, 1), "a zone that has tripped holds nothing in another");
        assert_eq!([2, 3, 4].map(|n| decide(3, n, 1)), [true, true, false], "six within a minute are the whole's most");
        assert!(breaker.whole().unwrap().why.contains("6 decisions within a minute"));
        assert_eq!(breaker.zones().count(), 1);
    }

    #[test]
    fn one_suspect_counts_once_whatever_it_calls_itself() {
        let mut breaker = Breaker::default();
        let suspect = Suspect::card(Link::untagged(3), Mac([2, 0, 0, 0, 0, 9]));
        for n in 0..60 {
            let load = Load { suspect, ..calm(1, n) };
            assert!(breaker.admits(&limits(), load, at(u64::from(n) / 10)));
            breaker.count(load.host, suspect, at(u64::from(n) / 10));
        }
        assert!(breaker.admits(&limits(), calm(1, 200), at(10)));
    }

    #[test]
    fn a_tiny_zone_does_not_trip_it_at_once() {
        let mut breaker = Breaker::default();
        let load = Load { at_once: 3, in_zone: 3, zone_hosts: 3, ..calm(1, 1) };
        assert!(breaker.admits(&limits(), load, at(1)));
        assert!(!breaker.admits(&limits(), Load { in_zone: 4, ..load }, at(1)));
    }

    #[test]
    fn it_re_arms_by_itself_or_by_command() {
        let mut breaker = Breaker::default();
        let full = Load { at_once: 12, ..calm(1, 1) };
        assert!(!breaker.admits(&limits(), full, at(1)));
        assert!(!breaker.tick(&limits(), at(600)));
        assert!(breaker.tick(&limits(), at(601)));
        assert!(breaker.admits(&limits(), calm(1, 1), at(602)));
        let manual = Limits { rearm_after: None, ..limits() };
        assert!(!breaker.admits(&manual, full, at(700)));
        assert!(!breaker.admits(&manual, calm(1, 1), at(1_000_000)));
        assert!(breaker.rearm() && !breaker.rearm());
        assert!(breaker.admits(&manual, calm(1, 1), at(1_000_001)));
        assert_eq!(breaker.trips(), 2);

        let crowded = |zone| Load { in_zone: 9, zone_hosts: 4, ..calm(zone, 1) };
        assert!(
            !breaker.admits(&manual, crowded(1), at(1_000_002)) && !breaker.admits(&manual, crowded(2), at(1_000_002))
        );
        assert!(breaker.rearm_zone(zone(host(1, 77))) && !breaker.rearm_zone(zone(host(1, 77))));
        assert!(
            breaker.admits(&manual, calm(1, 1), at(1_000_003)) && !breaker.admits(&manual, calm(2, 1), at(1_000_003))
        );
        assert!(breaker.rearm());
    }
}
