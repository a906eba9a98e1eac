//! Places as elements of the kernel's sets: which sets hold a place, and under which keys.
//!
//! A place is one element of a verdict map (its *main row*), that jumps to the chain for its action, and further rows:
//! the destination of an isolated address, the ports that are shut for it, and copies in table `netdev firedoor` for
//! frames that an `inet` table never sees. A place that holds everywhere has one main row for each hooked interface, and
//! one in `anywhere4` or `anywhere6`, which shows that they belong together and which tagged frames are looked up in.
//!
//! Keys are the kernel's: each field padded to four octets; the interface in host order, the rest in network order.

mod found;
mod keys;
mod text;

use std::collections::HashMap;
use std::time::Duration;

use super::intents::Intent;
use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::sys::nftables::Family;
use crate::wire::Link;
use keys::{Scope, Source, kind, prefix, source_key, tag};

pub(super) use found::{Found, Held};
pub(super) use keys::{card_key, port_key, read_untagged, source_on};
pub(super) use text::{is_writable, write};

/// The same key's octets in one set.
pub(super) type Key = (&'static str, Vec<u8>);

/// A verdict map of places.
#[derive(Clone, Copy, Debug)]
struct Map {
    name: &'static str,
    family: Family,
    scope: Scope,
    source: Source,
    contain: &'static str,
    isolate: &'static str,
    /// The set of ports that are shut for places of this map.
    shut: &'static str,
}

const fn map(scope: Scope, source: Source, names: [&'static str; 4]) -> Map {
    let [name, contain, isolate, shut] = names;
    Map { name, family: Family::Inet, scope, source, contain, isolate, shut }
}

const MAPS: [Map; 11] = [
    map(Scope::Untagged, Source::Card, ["cards", "contain_card", "isolate_card", "shut_cards"]),
    map(Scope::Untagged, Source::V4, ["acted4", "contain4", "isolate4", "shut4"]),
    map(Scope::Untagged, Source::V6, ["acted6", "contain6", "isolate6", "shut6"]),
    map(Scope::Untagged, Source::Network, ["acted_net6", "contain_net6", "isolate6", "shut_net6"]),
    map(Scope::Tagged, Source::Card, ["tagged_cards", "tagged_contain_card", "isolate_card", "tagged_shut_cards"]),
    map(Scope::Tagged, Source::V4, ["tagged_acted4", "tagged_contain4", "isolate4", "tagged_shut4"]),
    map(Scope::Tagged, Source::V6, ["tagged_acted6", "tagged_contain6", "isolate6", "tagged_shut6"]),
    map(Scope::Tagged, Source::Network, ["tagged_net6", "tagged_contain_net6", "isolate6", "tagged_shut_net6"]),
    map(Scope::Anywhere, Source::V4, ["anywhere4", "anywhere_contain4", "isolate4", "anywhere_shut4"]),
    map(Scope::Anywhere, Source::V6, ["anywhere6", "anywhere_contain6", "isolate6", "anywhere_shut6"]),
    Map {
        name: DOUBLE_CARDS,
        family: Family::Netdev,
        scope: Scope::Double,
        source: Source::Card,
        contain: "contain_frame",
        isolate: "isolate_frame",
        shut: "",
    },
];

/// Cards that are acted on, of table `netdev firedoor`: by interface, and by interface and tag.
pub(super) const FRAME_CARDS: &str = "frame_cards";
/// The same by interface and outermost tag.
pub(super) const FRAME_TAGGED_CARDS: &str = "frame_tagged_cards";
/// Cards on links with two tags.
pub(super) const DOUBLE_CARDS: &str = "double_cards";
/// Cards that are isolated, on whatever interface.
const ISOLATED_CARDS: &str = "isolated_cards";
/// Sets of what is isolated whose keys are numbers to nft.
const ISOLATED_AS_NUMBERS: [&str; 2] = [ISOLATED_CARDS, "isolated_raw4"];
const ISOLATED: [&str; 7] = [
    ISOLATED_CARDS,
    "isolated_raw4",
    "isolated6",
    "tagged_isolated4",
    "tagged_isolated6",
    "anywhere_isolated4",
    "anywhere_isolated6",
];

/// The set's own name with static lifetime, and the table that holds it; `None` for a set that holds no places.
pub(super) fn sets() -> impl Iterator<Item = (&'static str, Family)> {
    let maps = MAPS.iter().map(|map| (map.name, map.family));
    let shut = MAPS.iter().filter(|map| !map.shut.is_empty()).map(|map| (map.shut, Family::Inet));
    let frames = [FRAME_CARDS, FRAME_TAGGED_CARDS].into_iter().map(|name| (name, Family::Netdev));
    maps.chain(shut).chain(ISOLATED.into_iter().map(|name| (name, Family::Inet))).chain(frames)
}

pub(super) fn family(set: &str) -> Family {
    match set {
        "frame_forwarders" | "frame_servers4" | "frame_servers6" => Family::Netdev,
        set => sets().find(|(name, _)| *name == set).map_or(Family::Inet, |(_, family)| family),
    }
}

/// Whether a set is a verdict map of places.
pub(super) fn is_map(set: &str) -> bool {
    MAPS.iter().any(|map| map.name == set)
}

/// What an element holds beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The chain that a main row jumps to.
    pub(super) jump: Option<&'static str>,
    /// When it goes by itself; `None` is never.
    pub(super) left: Option<Duration>,
}

impl Row {
    fn isolates(&self) -> bool {
        self.jump.is_some_and(|jump| jump.starts_with("isolate"))
    }

    /// Whether it isolates where the other does not.
    pub(super) fn outweighs(&self, other: &Row) -> bool {
        self.isolates() && !other.isolates()
    }

    /// Two places that want the same element: the stronger verdict, else the longer time.
    fn joined(self, other: Row) -> Row {
        match (self.isolates(), other.isolates()) {
            (true, false) => self,
            (false, true) => other,
            _ => Row { jump: self.jump, left: self.left.zip(other.left).map(|(a, b)| a.max(b)) },
        }
    }
}

/// What the door is hooked at, as far as rows depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    /// The interfaces' indices.
    pub(super) interfaces: Vec<u32>,
    /// Those whose frames table `netdev firedoor` sees.
    pub(super) frames: Vec<u32>,
}

impl Hooks {
    /// Whether a rule exists that can match the place, once its interface is there.
    pub(super) fn reach(&self, place: Place) -> bool {
        match (place.link, place.source) {
            // An anywhere place is an address.
            (Link { interface: 0, .. }, source) => matches!(source, Who::Address(_)),
            (Link { inner: 0, .. }, _) => true,
            (link, Who::Card(_)) => self.frames.contains(&link.interface),
            _ => false,
        }
    }

    /// The elements that make a place hold, left out those of interfaces that are not hooked.
    pub(super) fn rows(&self, place: Place, intent: &Intent, left: Option<Duration>) -> Vec<(Key, Row)> {
        let mut rows = Vec::with_capacity(2);
        let Place { link, source } = place;
        if link.interface == 0 {
            self.place_rows(&mut rows, Scope::Anywhere, link, source, intent, left);
            for &interface in &self.interfaces {
                self.place_rows(&mut rows, Scope::Untagged, Link::untagged(interface), source, intent, left);
            }
        } else if self.interfaces.contains(&link.interface) {
            let scope = match link {
                Link { outer: 0, .. } => Scope::Untagged,
                Link { inner: 0, .. } => Scope::Tagged,
                Link { .. } => Scope::Double,
            };
            self.place_rows(&mut rows, scope, link, source, intent, left);
        } else {
            return rows;
        }
        rows
    }

    fn place_rows(
        &self,
        rows: &mut Vec<(Key, Row)>,
        scope: Scope,
        link: Link,
        source: Who,
        intent: &Intent,
        left: Option<Duration>,
    ) {
        let Some(map) = MAPS.iter().find(|map| map.scope == scope && map.source == kind(source)) else { return };
        if map.family == Family::Netdev && !self.frames.contains(&link.interface) {
            return;
        }
        let isolated = intent.action == Action::Isolate;
        let key = [prefix(scope, link), source_key(source)].concat();
        let plain = Row { jump: None, left };
        rows.push((
            (map.name, key.clone()),
            Row { jump: Some(if isolated { map.isolate } else { map.contain }), left },
        ));
        if !map.shut.is_empty() {
            for port in &intent.ports {
                rows.push(((map.shut, [key.clone(), port_key(*port)].concat()), plain));
            }
        }
        let frames = self.frames.contains(&link.interface);
        if isolated
            && scope == Scope::Untagged
            && let Who::Card(card) = source
        {
            rows.push(((ISOLATED_CARDS, card.0.to_vec()), plain));
        }
        match (source, scope) {
            (Who::Card(_), Scope::Untagged) if frames => rows.push(((FRAME_CARDS, key), plain)),
            (Who::Card(_), Scope::Tagged) if frames => rows.push(((FRAME_TAGGED_CARDS, key), plain)),
            (Who::Address(address), Scope::Untagged) if isolated => {
                let set = if address.is_v4() { "isolated_raw4" } else { "isolated6" };
                rows.push(((set, source_key(source)), plain));
            }
            (Who::Address(address), Scope::Anywhere) if isolated => {
                let sets = if address.is_v4() {
                    ["isolated_raw4", "anywhere_isolated4"]
                } else {
                    ["isolated6", "anywhere_isolated6"]
                };
                rows.extend(sets.map(|set| ((set, source_key(source)), plain)));
            }
            (Who::Address(address), Scope::Tagged) if isolated => {
                let set = if address.is_v4() { "tagged_isolated4" } else { "tagged_isolated6" };
                rows.push(((set, [tag(link.outer).to_vec(), source_key(source)].concat()), plain));
            }
            _ => {}
        }
    }
}

/// A verdict map's chain as this program knows it.
pub(super) fn chain(name: &str) -> Option<&'static str> {
    MAPS.iter().flat_map(|map| [map.contain, map.isolate]).find(|known| *known == name)
}

pub(super) fn action(jump: &str) -> Action {
    if jump.starts_with("isolate") { Action::Isolate } else { Action::Contain }
}

/// The interface that a row is about; `None` for rows without one.
pub(super) fn interface(set: &str, key: &[u8]) -> Option<u32> {
    let map = MAPS.iter().find(|map| map.name == set || (map.shut == set && !map.shut.is_empty()));
    let untied = map.map_or(!matches!(set, FRAME_CARDS | FRAME_TAGGED_CARDS), |map| map.scope == Scope::Anywhere);
    if untied { None } else { key.first_chunk::<4>().map(|octets| u32::from_ne_bytes(*octets)) }
}

/// Adds rows to those that other places want.
pub(super) fn join(all: &mut HashMap<Key, Row>, rows: Vec<(Key, Row)>) {
    for (key, row) in rows {
        all.entry(key).and_modify(|known| *known = known.joined(row)).or_insert(row);
    }
}
