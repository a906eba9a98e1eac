//! Thresholds derived from what was measured, within stated bounds.
//!
//! For each window: half as much again as the most that an ordinary host reached ([`MARGIN`]), never below half and never
//! above twice (any port: four times) the threshold that is shipped for so long a window. Ordinary is whom the core would
//! have left alone and who does not stand out: a few hosts that would need more than is configured are proposed for a
//! role, many are the way the site works, and raise the threshold. Captures of less than [`LEARNING`] lower nothing, and
//! a window longer than the captures is left as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fragment;
use super::measure::{Alarmed, MOST_SERVICES, Measured, Peak};
use super::proposal::{Change, Line, Outlier, Proposal, ScoreLine, few};
use crate::config::Config;
use crate::config::model::GivenServer;
use crate::detect::settings::{Settings, Window};
use crate::evidence::{Score, Signal};
use crate::published::host_report::Class;
use crate::respond::servers::Service;
use crate::suspect::Who;
use crate::track::windows::Recent;
use crate::wire::Address;

/// A threshold stands so far above what ordinary hosts reached, in percent.
pub const MARGIN: u32 = 150;
/// No threshold is lowered by captures that span less than a working day.
pub const LEARNING: Duration = Duration::from_hours(8);
/// Nor by so few hosts.
pub const FEW_HOSTS: usize = 20;
/// From this share of the score's threshold on a host stands out, in percent.
pub const NEAR: u32 = 80;
/// Most of an any-port window, as the configuration allows.
const MOST_ANY: u32 = 60_000;

/// Half as much again.
fn with_margin(count: u32) -> u32 {
    count.saturating_mul(MARGIN).div_ceil(100)
}

/// The bounds of a threshold: half and twice (any port: four times) what is shipped for the shortest window that is at
/// least as long.
fn bounds(class: Class, length: Duration) -> (u32, u32) {
    let shipped = Settings::default();
    let (windows, times, most) = match class {
        Class::Lateral => (&shipped.lateral_windows, 2, u32::try_from(Recent::MOST).unwrap_or(u32::MAX)),
        Class::Any => (&shipped.any_windows, 4, MOST_ANY),
        Class::Udp => (&shipped.udp_windows, 2, MOST_ANY),
    };
    let fitting = windows.iter().find(|window| window.length >= length).or(windows.last());
    let limit = fitting.map_or(2, |window| window.limit);
    (limit.div_ceil(2).max(2), limit.saturating_mul(times).min(most))
}

/// The value that all but one in a thousand stay at or below (nearest rank); the highest of fewer than a thousand.
fn most_hosts<T: Copy + Ord + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    let rank = (values.len() * 999).div_ceil(1000);
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl Proposal {
    /// From what was measured under `config`.
    #[must_use]
    pub fn new(measured: Measured, config: &Config) -> Self {
        let Measured { hosts, alarmed, exempt, summary, covered, unmeasured, servers } = measured;
        let mut ordinary: Vec<(Address, &Peak)> = hosts
            .iter()
            .filter(|(host, _)| !alarmed.contains_key(host) && !exempt.contains(host))
            .map(|(host, peak)| (*host, peak))
            .collect();
        ordinary.sort_unstable_by_key(|(host, _)| *host);
        let classed =
            |class, windows: &[Window]| windows.iter().map(move |window| (class, *window)).collect::<Vec<_>>();
        let mut windows = classed(Class::Lateral, &config.detect.lateral_windows);
        windows.extend(classed(Class::Any, &config.detect.any_windows));

        // Who, why, and whether it is for the score.
        let mut stand_out: Vec<(Address, String, bool)> = Vec::new();
        for (at, (class, window)) in windows.iter().enumerate() {
            let (_, ceiling) = bounds(*class, window.length);
            let needs = |limit: u32| move |(_, peak): &&(Address, &Peak)| with_margin(peak.count(at)) > limit;
            let mut beyond: Vec<_> = ordinary.iter().filter(needs(window.limit)).collect();
            if beyond.len() > few(ordinary.len()) {
                // The threshold will be raised: only whom no threshold fits stands out.
                beyond.retain(|host| needs(ceiling.max(window.limit))(host));
                if beyond.len() > few(ordinary.len()) {
                    continue;
                }
            }
            for (host, peak) in beyond {
                if stand_out.iter().all(|(known, ..)| known != host) {
                    let lateral = if *class == Class::Lateral { " on lateral services" } else { "" };
                    let (count, secs) = (peak.count(at), window.length.as_secs());
                    let why = format!("{count} first contacts{lateral} within {secs} s, threshold {}", window.limit);
                    stand_out.push((*host, why, false));
                }
            }
        }
        let threshold = config.detect.threshold;
        for (host, peak) in &ordinary {
            let near = i64::from(peak.score.0) * 100 >= i64::from(threshold.0) * i64::from(NEAR);
            if near && stand_out.iter().all(|(known, ..)| known != host) {
                stand_out.push((*host, format!("a score of {}, threshold {threshold}", peak.score), true));
            }
        }
        ordinary.retain(|(host, _)| stand_out.iter().all(|(known, ..)| known != host));

        let lines = lines(&windows, &ordinary, covered);
        let highest = ordinary.iter().max_by_key(|(_, peak)| peak.score).filter(|(_, peak)| peak.score.0 > 0);
        let score = ScoreLine {
            current: threshold,
            observed: highest.map_or(Score(0), |(_, peak)| peak.score),
            most_hosts: most_hosts(ordinary.iter().map(|(_, peak)| peak.score).collect()),
            host: highest.map(|(host, _)| *host),
        };
        let outlier = |host: Address, why: String, scored: bool, alarmed: Option<Alarmed>| {
            let peak = hosts.get(&host);
            let (services, more_services, kind) = peak.map_or((Vec::new(), false, "role"), looks);
            let smb1 = scored && peak.is_some_and(|peak| peak.smb1);
            let remote_execution = scored && peak.is_some_and(|peak| peak.remote_execution);
            Outlier { host, why, kind, services, more_services, smb1, remote_execution, alarmed }
        };
        let by_score = |one: &Alarmed| !matches!(one.signal, Some(Signal::FanoutLateral | Signal::FanoutAny));
        let mut proposal = Proposal {
            summary,
            covered: covered.as_secs(),
            measured: hosts.len(),
            ordinary: ordinary.len(),
            unmeasured,
            windows: lines,
            score,
            stand_out: stand_out.into_iter().map(|(host, why, scored)| outlier(host, why, scored, None)).collect(),
            alarmed: alarmed
                .into_values()
                .map(|one| outlier(one.host, one.reason.clone(), by_score(&one), Some(one)))
                .collect(),
            servers: useful(servers, config),
            fragment: String::new(),
        };
        proposal.fragment = fragment::write(&proposal, config);
        proposal
    }
}

/// Servers that enough clients use, and that the configuration does not name.
fn useful(servers: BTreeMap<Service, BTreeSet<Who>>, config: &Config) -> Vec<(Service, usize)> {
    let given = |service: &Service| {
        let named = |server: &GivenServer| {
            (server.transport, server.port) == (service.transport(), service.port)
                && server.network.contains(service.address.ip())
        };
        config.gateway.care.contains(service.address) || config.greylist.servers.iter().any(named)
    };
    let enough = usize::try_from(config.greylist.learning.sources).unwrap_or(usize::MAX);
    let servers = servers.into_iter().map(|(service, clients)| (service, clients.len()));
    servers.filter(|(service, clients)| *clients >= enough && service.tcp && !given(service)).collect()
}

fn lines(windows: &[(Class, Window)], ordinary: &[(Address, &Peak)], covered: Duration) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(windows.len());
    for (at, (class, window)) in windows.iter().enumerate() {
        let (floor, ceiling) = bounds(*class, window.length);
        // The first of equals, so that the same captures name the same host.
        let most = ordinary.iter().rev().max_by_key(|(_, peak)| peak.count(at)).filter(|(_, peak)| peak.count(at) > 0);
        let observed = most.map_or(0, |(_, peak)| peak.count(at));
        let (needed, current) = (with_margin(observed), window.limit);
        let enough = covered >= LEARNING && ordinary.len() >= FEW_HOSTS;
        let (proposed, change) = if needed > current {
            // What an engineer set higher than that is not taken back by a host that needs even more.
            let most = ceiling.max(current);
            (needed.min(most), if needed > most { Change::Ceiling } else { Change::Raise })
        } else if covered < window.length {
            (current, Change::TooShort)
        } else if needed.max(floor) >= current {
            (current, Change::Keep)
        } else if enough {
            (needed.max(floor), Change::Lower)
        } else {
            (current, Change::TooLittle)
        };
        lines.push(Line {
            class: *class,
            seconds: window.length.as_secs(),
            current,
            observed,
            most_hosts: most_hosts(ordinary.iter().map(|(_, peak)| peak.count(at)).collect()),
            host: most.map(|(host, _)| *host),
            proposed,
            change,
        });
    }
    // A longer window with a lower threshold would make the shorter one pointless.
    for at in 1..lines.len() {
        let (before, rest) = lines.split_at_mut(at);
        if let (Some(shorter), Some(longer)) = (before.last(), rest.first_mut())
            && shorter.class == longer.class
            && longer.proposed <= shorter.proposed
            && longer.current > shorter.current
        {
            let (_, ceiling) = bounds(longer.class, Duration::from_secs(longer.seconds));
            longer.proposed = (shorter.proposed + 1).min(ceiling.max(longer.current));
            longer.change = if longer.proposed > longer.current { Change::Raise } else { longer.change };
        }
    }
    lines
}

/// A host's services, the most used first, and what it looks like by them.
fn looks(peak: &Peak) -> (Vec<super::measure::Service>, bool, &'static str) {
    let mut services = peak.services.clone();
    services.sort_unstable_by_key(|(service, times)| (std::cmp::Reverse(*times), *service));
    let total: u64 = services.iter().map(|(_, times)| times).sum();
    let share = |ports: &[u16]| {
        let times: u64 = services.iter().filter(|(s, _)| ports.contains(&s.port)).map(|(_, times)| times).sum();
        times * 2 > total
    };
    let kind = if peak.more_services || services.len() >= MOST_SERVICES {
        "scanner"
    } else if share(&[9100, 515, 631]) {
        "printing"
    } else if share(&[161, 162, 10_050, 5666, 5693]) {
        "monitoring"
    } else if share(&[902, 6106, 10_000, 10_566, 1556, 13_782]) {
        "backup"
    } else if share(&[2701, 10_123, 8530, 8531, 5985, 5986]) {
        "management"
    } else {
        "role"
    };
    (services.into_iter().map(|(service, _)| service).collect(), peak.more_services, kind)
}
