//! Lists: which hosts, in which order, how many.

use std::collections::HashMap;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::api::explain;
use crate::api::host::HostsView;
use crate::published::Published;
use crate::published::host_report::HostReport;
use crate::published::host_table::{HostEntry, Standing};
use crate::respond::Verdict;
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
    fn takes(&self, address: Address, line: &HostEntry) -> bool {
        let throttled = |standing: Standing| standing.verdict == Verdict::Throttle;
        let acted = line.standing.is_some_and(|standing| standing.acted() || throttled(standing));
        let report = line.report.as_ref();
        (!self.acted || acted)
            && (!self.suspicious || line.standing.is_some() || report.is_some_and(HostReport::suspicious))
            && (!self.smb1 || line.smb.smb1())
            && (!self.vulnerable || line.smb.vulnerable())
            && self.network.is_none_or(|network| {
                let mut others = report.into_iter().flat_map(|report| &report.addresses);
                network.contains(address.ip()) || others.any(|other| network.contains(other.ip()))
            })
    }

    /// Greatest first.
    fn rank(&self, line: &HostEntry, now: Timestamp, decay: Duration) -> u128 {
        let report = line.report.as_ref();
        match self.sort {
            Sort::Near => {
                let acted: u128 = match line.standing.map(|standing| standing.verdict) {
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

/// What the host table says of a card under its addresses.
#[derive(Clone, Copy, Debug)]
struct Card {
    /// The address under which it is acted on.
    acted: Option<Address>,
    /// The address it was last heard of under, and when.
    latest: (Timestamp, Address),
}

impl Card {
    /// The address it is listed by.
    fn called(self) -> Address {
        self.acted.unwrap_or(self.latest.1)
    }
}

/// Every card that the host table has a line of.
fn cards(published: &Published) -> HashMap<Suspect, Card> {
    let mut cards: HashMap<Suspect, Card> = HashMap::new();
    published.host_table.each(|address, line| {
        let (Some(card), Some(report)) = (line.card(), &line.report) else { return };
        let known = cards.entry(card).or_insert(Card { acted: None, latest: (report.at, address) });
        known.latest = known.latest.max((report.at, address));
        if line.standing.is_some_and(Standing::acted) {
            known.acted = Some(address);
        }
    });
    cards
}

/// The hosts that a filter takes, best first; equals by address. A card is one host, however many addresses it had.
pub(super) fn hosts(filter: &Filter, published: &Published) -> HostsView {
    let (now, decay) = (published.status().at, published.config().detect.decay);
    let cards = cards(published);
    let mut found: Vec<(std::cmp::Reverse<u128>, Address, Link)> = Vec::new();
    let mut moved: Vec<(Address, Link)> = Vec::new();
    published.host_table.each(|address, line| {
        // Dialects are known by address.
        let card = line.card().filter(|_| !filter.smb1 && !filter.vulnerable).and_then(|card| cards.get(&card));
        if card.is_some_and(|card| card.called() != address) {
            return;
        }
        if card.is_some_and(|card| card.latest.1 != address) {
            moved.push((address, line.link));
        } else if filter.takes(address, line) {
            found.push((std::cmp::Reverse(filter.rank(line, now, decay)), address, line.link));
        }
    });
    // What is known of a card is what was last heard of it, under whichever address.
    let whole = |address: Address, link: Link| {
        let mut line = published.host_table.on(address, link)?;
        if let Some(card) = line.card().and_then(|card| cards.get(&card)).filter(|card| card.latest.1 != address) {
            line.report = published.host_table.on(card.latest.1, link).and_then(|latest| latest.report).or(line.report);
        }
        Some(line)
    };
    for (address, link) in moved {
        if let Some(line) = whole(address, link).filter(|line| filter.takes(address, line)) {
            found.push((std::cmp::Reverse(filter.rank(&line, now, decay)), address, link));
        }
    }
    let total = found.len();
    let limit = filter.limit.unwrap_or(HOSTS);
    if limit < found.len() {
        found.select_nth_unstable(limit);
        found.truncate(limit);
    }
    found.sort_unstable();
    let view = |(_, address, link): (_, Address, Link)| {
        whole(address, link).map(|line| explain::host(address, &line, published))
    };
    HostsView { total, hosts: found.into_iter().filter_map(view).collect() }
}
