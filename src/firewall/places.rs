//! Places as elements of the kernel's sets: which sets hold a place, and under which keys.
//!
//! A place is one element of a verdict map (its *main row*), that jumps to the chain for its action, and further rows:
//! the destination of an isolated address, the ports that are shut for it, and copies in table `netdev firedoor` for
//! frames that an `inet` table never sees. A place that holds everywhere has one main row for each hooked interface, and
//! one in `anywhere4` or `anywhere6`, which shows that they belong together and which tagged frames are looked up in.
//!
//! Keys are the kernel's: each field padded to four octets; the interface in host order, the rest in network order.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use super::intents::Intent;
use super::ruleset::TABLE;
use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::sys::nftables::Family;
use crate::wire::frame::Transport;
use crate::wire::{Address, Link, Mac};

/// The same key's octets in one set.
pub(super) type Key = (&'static str, Vec<u8>);

/// What an element's key holds behind the interface and the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Card,
    V4,
    V6,
    /// An IPv6 address without its low 64 bits.
    Network,
}

/// What stands ahead of the source in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The interface.
    Untagged,
    /// The interface and the outermost VLAN id.
    Tagged,
    /// The interface and two VLAN ids.
    Double,
    /// Nothing.
    Anywhere,
}

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

fn kind(source: Who) -> Source {
    match source {
        Who::Card(_) => Source::Card,
        Who::Address(address) if address.is_v4() => Source::V4,
        Who::Address(_) => Source::V6,
        Who::Network(_) => Source::Network,
    }
}

fn prefix(scope: Scope, link: Link) -> Vec<u8> {
    let interface = link.interface.to_ne_bytes();
    match scope {
        Scope::Anywhere => Vec::new(),
        Scope::Untagged => interface.to_vec(),
        Scope::Tagged => [interface, tag(link.outer)].concat(),
        Scope::Double => [interface, tag(link.outer), tag(link.inner)].concat(),
    }
}

fn tag(vlan: u16) -> [u8; 4] {
    let [high, low] = vlan.to_be_bytes();
    [high, low, 0, 0]
}

fn source_key(source: Who) -> Vec<u8> {
    match source {
        Who::Card(mac) => card_octets(mac).to_vec(),
        Who::Address(address) => address_octets(address),
        Who::Network(address) => {
            let mut octets = address_octets(address);
            octets.iter_mut().skip(8).for_each(|octet| *octet = 0);
            octets
        }
    }
}

fn card_octets(Mac([a, b, c, d, e, f]): Mac) -> [u8; 8] {
    [a, b, c, d, e, f, 0, 0]
}

fn address_octets(address: Address) -> Vec<u8> {
    match address.ip() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

pub(super) fn port_key((transport, port): (Transport, u16)) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![if transport == Transport::Udp { 17 } else { 6 }, 0, 0, 0, high, low, 0, 0]
}

/// The key of a card that forwards for others, or of a card in a limit's set.
pub(super) fn card_key(interface: u32, card: Mac) -> Vec<u8> {
    prefix(Scope::Untagged, Link::untagged(interface)).into_iter().chain(card_octets(card)).collect()
}

/// The interface and source that a key of an untagged set holds.
pub(super) fn read_untagged(key: &[u8]) -> Option<Place> {
    let (interface, rest) = key.split_first_chunk::<4>()?;
    let link = Link::untagged(u32::from_ne_bytes(*interface));
    Some(Place { link, source: read_source(rest)? })
}

fn read_source(octets: &[u8]) -> Option<Who> {
    match *octets {
        [a, b, c, d] => Some(Who::Address(Address::v4([a, b, c, d]))),
        [a, b, c, d, e, f, _, _] => Some(Who::Card(Mac([a, b, c, d, e, f]))),
        _ => <[u8; 16]>::try_from(octets).ok().map(|octets| Who::Address(Address::v6(octets))),
    }
}

/// A key as nft writes it; `None` if no set of that name holds places or cards.
fn written(set: &str, key: &[u8]) -> Option<String> {
    let map = MAPS.iter().find(|map| map.name == set || (map.shut == set && !map.shut.is_empty()));
    let scope = match set {
        "forwarders" | "frame_forwarders" | FRAME_CARDS => Scope::Untagged,
        FRAME_TAGGED_CARDS => Scope::Tagged,
        _ => map.map_or(Scope::Anywhere, |map| map.scope),
    };
    let mut rest = key;
    let mut parts: Vec<String> = Vec::with_capacity(6);
    if scope != Scope::Anywhere {
        let (interface, behind) = rest.split_first_chunk::<4>()?;
        parts.push(u32::from_ne_bytes(*interface).to_string());
        rest = behind;
    }
    let tags = match (scope, set) {
        (Scope::Double, _) => 2,
        (Scope::Tagged, _) | (_, "tagged_isolated4" | "tagged_isolated6") => 1,
        _ => 0,
    };
    for _ in 0..tags {
        let (outer, behind) = rest.split_first_chunk::<4>()?;
        parts.push(read_tag(*outer).to_string());
        rest = behind;
    }
    let (source, ports) = match map {
        Some(map) if map.shut == set => rest.split_at_checked(rest.len().checked_sub(8)?)?,
        _ => (rest, &[][..]),
    };
    if ISOLATED_AS_NUMBERS.contains(&set) {
        parts.push(source.iter().fold("0x".to_owned(), |digits, octet| format!("{digits}{octet:02x}")));
    } else {
        parts.push(match read_source(source)? {
            Who::Card(card) => card.to_string(),
            Who::Address(address) | Who::Network(address) => address.to_string(),
        });
    }
    if let Some((transport, port)) = read_port(ports) {
        parts.push(if transport == Transport::Udp { "udp" } else { "tcp" }.to_owned());
        parts.push(port.to_string());
    }
    Some(parts.join(" . "))
}

/// Whether nft can be given a set's elements as text. Five fields by expression are more than it (1.0.6) keeps of a set's
/// type, so it knows those for numbers without a length.
pub(super) fn is_writable(set: &str) -> bool {
    !set.starts_with("tagged_shut")
}

/// The rows as nft's commands that add them, in `out`.
pub(super) fn write(out: &mut String, rows: &HashMap<Key, Row>) -> fmt::Result {
    let mut rows: Vec<(&Key, &Row)> = rows.iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    for rows in rows.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
        let Some(((set, _), _)) = rows.first() else { continue };
        let table = if family(set) == Family::Netdev { "netdev" } else { "inet" };
        writeln!(out, "add element {table} {TABLE} {set} {{")?;
        for ((_, key), row) in rows {
            let Some(key) = written(set, key) else { continue };
            write!(out, "\t{key}")?;
            if let Some(left) = row.left {
                write!(
                    out,
                    " timeout {}s{}ms",
                    left.as_secs(),
                    left.subsec_millis().max(u32::from(left.as_secs() == 0))
                )?;
            }
            if let Some(chain) = row.jump {
                write!(out, " : jump {chain}")?;
            }
            writeln!(out, ",")?;
        }
        writeln!(out, "}}")?;
    }
    Ok(())
}

fn read_tag(octets: [u8; 4]) -> u16 {
    let [high, low, _, _] = octets;
    u16::from_be_bytes([high, low])
}

/// The place that a main row's key names.
fn read_place(map: &Map, key: &[u8]) -> Option<Place> {
    let mut link = Link::default();
    let mut rest = key;
    if map.scope != Scope::Anywhere {
        let (interface, behind) = rest.split_first_chunk::<4>()?;
        (link.interface, rest) = (u32::from_ne_bytes(*interface), behind);
    }
    if matches!(map.scope, Scope::Tagged | Scope::Double) {
        let (outer, behind) = rest.split_first_chunk::<4>()?;
        (link.outer, rest) = (read_tag(*outer), behind);
    }
    if map.scope == Scope::Double {
        let (inner, behind) = rest.split_first_chunk::<4>()?;
        (link.inner, rest) = (read_tag(*inner), behind);
    }
    let source = match (map.source, read_source(rest)?) {
        (Source::Network, Who::Address(network)) => Who::Network(network),
        (_, source) => source,
    };
    (kind(source) == map.source).then_some(Place { link, source })
}

fn read_port(key: &[u8]) -> Option<(Transport, u16)> {
    match *key {
        [17, _, _, _, high, low, _, _] => Some((Transport::Udp, u16::from_be_bytes([high, low]))),
        [6, _, _, _, high, low, _, _] => Some((Transport::Tcp, u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// A verdict map's chain as this program knows it.
pub(super) fn chain(name: &str) -> Option<&'static str> {
    MAPS.iter().flat_map(|map| [map.contain, map.isolate]).find(|known| *known == name)
}

pub(super) fn action(jump: &str) -> Action {
    if jump.starts_with("isolate") { Action::Isolate } else { Action::Contain }
}

/// The elements of all sets that hold places.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) rows: HashMap<Key, Row>,
}

/// A place as found in the kernel.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) action: Action,
    pub(super) left: Option<Duration>,
    pub(super) ports: Vec<(Transport, u16)>,
}

/// Two expiries that were set by one transaction differ by no more than the time between the two looks.
const TOGETHER: Duration = Duration::from_secs(2);

impl Found {
    /// The places that hold. One that holds everywhere shows once, not for each interface, except where a place of that
    /// interface alone is `known` besides.
    pub(super) fn places(&self, known: impl Fn(&Place) -> bool) -> HashMap<Place, Held> {
        let mut places: HashMap<Place, Held> = HashMap::new();
        for ((set, key), row) in &self.rows {
            let Some(map) = MAPS.iter().find(|map| map.name == *set) else { continue };
            // A table of an earlier version has addresses alone, which held everywhere.
            let bare = matches!((map.source, key.len()), (Source::V4, 4) | (Source::V6, 16));
            let older = map.scope == Scope::Untagged && bare;
            let place = if older {
                read_source(key).map(|source| Place { link: Link::default(), source })
            } else {
                read_place(map, key)
            };
            let (Some(place), Some(jump)) = (place, row.jump) else { continue };
            places.insert(place, Held { action: action(jump), left: row.left, ports: Vec::new() });
        }
        for (set, key) in self.rows.keys() {
            let Some(map) = MAPS.iter().find(|map| map.shut == *set) else { continue };
            let Some((owner, port)) = key.len().checked_sub(8).and_then(|at| key.split_at_checked(at)) else {
                continue;
            };
            if let (Some(place), Some(port)) = (read_place(map, owner), read_port(port))
                && let Some(held) = places.get_mut(&place)
            {
                held.ports.push(port);
            }
        }
        let everywhere: HashMap<Who, (Action, Option<Duration>)> = places
            .iter()
            .filter(|(place, _)| place.link.interface == 0)
            .map(|(place, held)| (place.source, (held.action, held.left)))
            .collect();
        places.retain(|place, own| {
            let copied = everywhere.get(&place.source).is_some_and(|(action, left)| {
                own.action == *action
                    && match (own.left, *left) {
                        (Some(own), Some(left)) => own.abs_diff(left) < TOGETHER,
                        (None, None) => true,
                        _ => false,
                    }
            });
            let may_be = place.link.interface != 0 && place.link.outer == 0 && !known(place);
            !(may_be && copied)
        });
        for held in places.values_mut() {
            held.ports.sort_unstable();
        }
        places
    }
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
