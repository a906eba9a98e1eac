//! Lists: which hosts, in which order, how many.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::api::explain::{self, standing::Standing};
use crate::api::host::HostsView;
use crate::published::Published;
use crate::published::host_report::HostReport;
use crate::published::host_table::HostEntry;
use crate::respond::{Block, Verdict};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::{Address, Link};

/// Hosts listed where the client names no limit.
const HOSTS: usize = 100;

/// What `hosts` is sorted by, most first except addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Those acted on first, then those nearest their threshold
    #[default]
    Near,
    /// Highest score first
    Score,
    /// Most distinct destinations first
    Destinations,
    /// Latest seen first
    Seen,
    /// By address
    Address,
}

impl Sort {
    /// Its name in a query.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Sort::Near => "near",
            Sort::Score => "score",
            Sort::Destinations => "destinations",
            Sort::Seen => "seen",
            Sort::Address => "address",
        }
    }
}

/// The query of `GET /v1/hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// In which order.
    pub sort: Sort,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only hosts that are contained, isolated, throttled or held.
    pub acted: bool,
    /// Only hosts that something speaks against.
    pub suspicious: bool,
    /// Only hosts that agreed on SMB1.
    pub smb1: bool,
    /// Only servers whose answers gave away that they are unpatched or implanted.
    pub vulnerable: bool,
    /// Only hosts in this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<IpNetwork>,
}

impl Filter {
    fn takes(&self, address: Address, entry: &HostEntry, standing: Standing<'_>) -> bool {
        let acted = standing.is_acted_on() || standing.verdict() == Some(Verdict::Throttle);
        let report = entry.report.as_ref();
        (!self.acted || acted)
            && (!self.suspicious || standing.verdict().is_some() || report.is_some_and(HostReport::suspicious))
            && (!self.smb1 || entry.smb.smb1())
            && (!self.vulnerable || entry.smb.vulnerable())
            && self.network.is_none_or(|network| {
                let mut others = report.into_iter().flat_map(|report| &report.addresses);
                network.contains(address.ip()) || others.any(|other| network.contains(other.ip()))
            })
    }

    /// Greatest first.
    fn rank(&self, entry: &HostEntry, standing: Standing<'_>, now: Timestamp, decay: Duration) -> u128 {
        let report = entry.report.as_ref();
        match self.sort {
            Sort::Near => {
                let acted: u128 = match standing.verdict() {
                    Some(Verdict::Isolate) => 5,
                    Some(Verdict::Contain) => 4,
                    Some(Verdict::Hold) => 3,
                    Some(Verdict::Throttle) => 2,
                    Some(Verdict::Watch) => 1,
                    Some(Verdict::Release) | None => 0,
                };
                acted << 32 | report.map_or(0, |report| u128::from(report.nearness_at(now, decay)))
            }
            Sort::Score => report.map_or(0, |report| {
                u128::from(report.score.decayed(now.since(report.at), decay).0.max(0).unsigned_abs())
            }),
            Sort::Destinations => report.map_or(0, |report| u128::from(report.destinations)),
            Sort::Seen => report.map_or(0, |report| u128::from(report.seen.nanos())),
            Sort::Address => 0,
        }
    }
}

/// The query of `GET /v1/decisions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Decisions {
    /// Only about this host.
    pub host: Option<Address>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// When every card that the host table has a line of was last heard of, and under which address.
fn cards(published: &Published) -> HashMap<Suspect, (Timestamp, Address)> {
    let mut cards: HashMap<Suspect, (Timestamp, Address)> = HashMap::new();
    published.host_table.each(|address, entry| {
        let (Some(card), Some(report)) = (entry.card(), &entry.report) else { return };
        let latest = cards.entry(card).or_insert((report.at, address));
        *latest = (*latest).max((report.at, address));
    });
    cards
}

/// A host that a filter takes, in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    rank: Reverse<u128>,
    /// What it is called.
    called: Address,
    link: Link,
    /// Where its entry is.
    address: Address,
    /// Who it is, where there is no entry.
    suspect: Option<Suspect>,
}

/// The hosts that a filter takes, best first; equals by address. A card is one host, however many addresses it had, and
/// is called by the one that it is acted on under.
pub(super) fn hosts(filter: &Filter, published: &Published) -> HostsView {
    let (now, decay, state) = (published.status().at, published.site().detect.decay, published.state());
    let cards = cards(published);
    let mut found: Vec<Found> = Vec::new();
    let mut listed: HashSet<Suspect> = HashSet::new();
    let take = |called, address, entry: &HostEntry, suspect, standing: Standing<'_>| {
        let rank = Reverse(filter.rank(entry, standing, now, decay));
        let found = Found { rank, called, link: entry.link, address, suspect };
        filter.takes(called, entry, standing).then_some(found)
    };
    published.host_table.each(|address, entry| {
        // Dialects are known by address.
        let latest = entry.card().filter(|_| !filter.smb1 && !filter.vulnerable).and_then(|card| cards.get(&card));
        if latest.is_some_and(|(_, latest)| *latest != address) {
            return;
        }
        let standing = Standing::of(&state, address, Some(entry), None);
        listed.extend(standing.block.map(Block::suspect));
        listed.extend(standing.held.map(|held| held.decision.suspect));
        let called = standing.block.filter(|_| latest.is_some()).map_or(address, Block::host);
        found.extend(take(called, address, entry, None, standing));
    });
    // Whom nobody has seen since the start.
    let held = state.held();
    let unseen = state.blocks().map(|block| &block.decision).chain(held.iter().map(|held| &held.decision));
    for decision in unseen.filter(|decision| !listed.contains(&decision.suspect)) {
        let entry = HostEntry { link: decision.suspect.link, ..HostEntry::default() };
        let standing = Standing::of(&state, decision.host, Some(&entry), Some(decision.suspect));
        found.extend(take(decision.host, decision.host, &entry, Some(decision.suspect), standing));
    }
    let total = found.len();
    let limit = filter.limit.unwrap_or(HOSTS);
    if limit < found.len() {
        found.select_nth_unstable(limit);
        found.truncate(limit);
    }
    found.sort_unstable();
    let view = |Found { called, link, address, suspect, .. }: Found| {
        let entry = if suspect.is_none() { published.host_table.on(address, link) } else { None };
        let entry = entry.unwrap_or(HostEntry { link, ..HostEntry::default() });
        let standing = Standing::of(&state, address, Some(&entry), suspect);
        explain::host(called, &entry, standing, published)
    };
    HostsView { total, hosts: found.into_iter().map(view).collect() }
}
