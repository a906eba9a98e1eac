//! How each kind of value is written in the file: reading it with its range check, and writing it back.
//!
//! A [`Kind`] ties a notation to the field it fills, so that the two cannot disagree.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::model::{Backend, GivenServer};
use super::quantity::{ShowDuration, ShowSize};
use super::value::{LONGEST_LIST, MOST_RUNGS, Node, Reading, UNTIL_RELEASED, Value, interface, network, server, times};
use crate::detect::Score;
use crate::detect::settings::Window;
use crate::respond::Mode;
use crate::respond::settings::Rung;
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Networks, Services};

/// Where in a `T` a value goes.
pub type Field<T, V> = fn(&mut T) -> &mut V;

/// A notation, its range, and the field it fills.
pub enum Kind<T: 'static> {
    /// `true` or `false`.
    Switch(Field<T, bool>),
    /// `"monitor"` or `"enforce"`.
    Mode(Field<T, Mode>),
    /// `"ring"` or `"pnet"`.
    Backend(Field<T, Backend>),
    /// A whole number of something.
    Count(Field<T, u32>, RangeInclusive<u32>, &'static str),
    /// A whole number that fits eight bits.
    Small(Field<T, u8>, RangeInclusive<u8>, &'static str),
    /// A number of table entries or threads.
    Entries(Field<T, usize>, RangeInclusive<usize>, &'static str),
    /// A size in memory, with its unit.
    Size(Field<T, usize>, RangeInclusive<usize>),
    /// Evidence in nats.
    Nats(Field<T, Score>, RangeInclusive<f64>),
    /// A duration, with its unit.
    Time(Field<T, Duration>, RangeInclusive<Duration>),
    /// A duration, or these words for "never by itself".
    TimeOr(Field<T, Option<Duration>>, RangeInclusive<Duration>, &'static str),
    /// Durations, each longer than the one before; the last may be `"until released"`.
    Ladder(Field<T, Vec<Rung>>, RangeInclusive<Duration>),
    /// Up to so many fan-out windows, each longer than the one before.
    Windows(Field<T, Vec<Window>>, usize, RangeInclusive<Duration>, RangeInclusive<u32>),
    /// Addresses and networks.
    Networks(Field<T, Networks>),
    /// Ports; a number is TCP.
    Services(Field<T, Services>),
    /// Ports, or `"any"`.
    ServicesOrAny(Field<T, Option<Services>>),
    /// Ports, or `"lateral"`: the lateral ones over TCP.
    ServicesOrLateral(Field<T, Option<Services>>),
    /// Addresses or networks, each with a port.
    Servers(Field<T, Vec<GivenServer>>),
    /// Names of network interfaces.
    Interfaces(Field<T, Vec<String>>),
    /// The name of a user, a group or a role.
    Name(Field<T, String>),
    /// Free text on one line.
    Text(Field<T, String>),
    /// An absolute path.
    Path(Field<T, PathBuf>),
    /// An absolute path, or `"off"`.
    PathOrOff(Field<T, Option<PathBuf>>),
    /// An address with a port, or `"off"`.
    ListenOrOff(Field<T, Option<SocketAddr>>),
    /// A TOML date (to its end, UTC) or date-time with offset; left out, never.
    Date(Field<T, Option<Timestamp>>),
}

impl<T> Kind<T> {
    /// Reads `node` into its field. On a problem, says so and leaves the field as it is.
    pub fn read(&self, target: &mut T, node: &Node<'_>, key: &str, out: &mut Reading) {
        let mut value = Value { node, key, out };
        match self {
            Kind::Switch(field) => value.put(field(target), Value::switch),
            Kind::Mode(field) => value.put(field(target), |v| v.choice(&MODES)),
            Kind::Backend(field) => value.put(field(target), |v| v.choice(&BACKENDS)),
            Kind::Count(field, range, unit) => value.put(field(target), |v| v.whole(range, unit)),
            Kind::Small(field, range, unit) => value.put(field(target), |v| v.whole(range, unit)),
            Kind::Entries(field, range, unit) => value.put(field(target), |v| v.whole(range, unit)),
            Kind::Size(field, range) => value.put(field(target), |v| v.size(range)),
            Kind::Nats(field, range) => value.put(field(target), |v| v.nats(range)),
            Kind::Time(field, range) => value.put(field(target), |v| v.time(range)),
            Kind::TimeOr(field, range, never) => value.put(field(target), |v| v.unless(never, |v| v.time(range))),
            Kind::Ladder(field, range) => value.put(field(target), |v| v.ladder(range)),
            Kind::Windows(field, most, lengths, limits) => {
                value.put(field(target), |v| v.windows(*most, lengths, limits));
            }
            Kind::Networks(field) => value.put(field(target), |v| v.list(network).map(Networks::new)),
            Kind::Services(field) => value.put(field(target), Value::services),
            Kind::ServicesOrAny(field) => value.put(field(target), |v| v.unless("any", Value::services)),
            Kind::ServicesOrLateral(field) => value.put(field(target), |v| v.unless("lateral", Value::services)),
            Kind::Servers(field) => value.put(field(target), |v| v.list(server)),
            Kind::Interfaces(field) => value.put(field(target), |v| v.list(interface)),
            Kind::Name(field) => value.put(field(target), Value::name),
            Kind::Text(field) => value.put(field(target), Value::text),
            Kind::Path(field) => value.put(field(target), Value::path),
            Kind::PathOrOff(field) => value.put(field(target), |v| v.unless("off", Value::path)),
            Kind::ListenOrOff(field) => value.put(field(target), |v| v.unless("off", Value::listen)),
            Kind::Date(field) => value.put(field(target), |v| v.date().map(Some)),
        }
    }

    /// The field's value as it would stand in the file; `None` where it would be left out.
    pub fn write(&self, target: &mut T) -> Option<String> {
        Some(match self {
            Kind::Switch(field) => field(target).to_string(),
            Kind::Mode(field) => word(&MODES, field(target)),
            Kind::Backend(field) => word(&BACKENDS, field(target)),
            Kind::Count(field, ..) => field(target).to_string(),
            Kind::Small(field, ..) => field(target).to_string(),
            Kind::Entries(field, ..) => field(target).to_string(),
            Kind::Size(field, _) => quoted(&ShowSize(*field(target) as u64).to_string()),
            Kind::Nats(field, _) => format!("{:?}", field(target).nats()),
            Kind::Time(field, _) => show(Some(*field(target)), ""),
            Kind::TimeOr(field, _, never) => show(*field(target), never),
            Kind::Ladder(field, _) => array(field(target).iter().map(|rung| show(*rung, UNTIL_RELEASED))),
            Kind::Windows(field, ..) => array(field(target).iter().map(|window| {
                format!("{{ within = {}, contacts = {} }}", show(Some(window.length), ""), window.limit)
            })),
            Kind::Networks(field) => array(field(target).written().iter().map(|n| quoted(&show_network(*n)))),
            Kind::Services(field) => show_services(field(target)),
            Kind::ServicesOrAny(field) => field(target).as_ref().map_or_else(|| quoted("any"), show_services),
            Kind::ServicesOrLateral(field) => field(target).as_ref().map_or_else(|| quoted("lateral"), show_services),
            Kind::Servers(field) => array(field(target).iter().map(|server| quoted(&show_server(server)))),
            Kind::Interfaces(field) => array(field(target).iter().map(|name| quoted(name))),
            Kind::Name(field) | Kind::Text(field) => quoted(field(target)),
            Kind::Path(field) => quoted(&field(target).to_string_lossy()),
            Kind::PathOrOff(field) => {
                field(target).as_ref().map_or_else(|| quoted("off"), |path| quoted(&path.to_string_lossy()))
            }
            Kind::ListenOrOff(field) => {
                field(target).as_ref().map_or_else(|| quoted("off"), |at| quoted(&at.to_string()))
            }
            Kind::Date(field) => return field(target).map(|at| at.to_string()),
        })
    }

    /// What may be written, in words: the notation and its range.
    #[must_use]
    pub fn range(&self) -> String {
        match self {
            Kind::Switch(_) => "`true` or `false`".into(),
            Kind::Mode(_) => words(&MODES),
            Kind::Backend(_) => words(&BACKENDS),
            Kind::Count(_, range, unit) => format!("{} to {} {unit}", range.start(), range.end()),
            Kind::Small(_, range, unit) => format!("{} to {} {unit}", range.start(), range.end()),
            Kind::Entries(_, range, unit) => format!("{} to {} {unit}", range.start(), range.end()),
            Kind::Size(_, range) => {
                format!("{} to {}", ShowSize(*range.start() as u64), ShowSize(*range.end() as u64))
            }
            Kind::Nats(_, range) => format!("{:?} to {:?} nats", range.start(), range.end()),
            Kind::Time(_, range) => times(range),
            Kind::TimeOr(_, range, never) => format!("{}, or `\"{never}\"`", times(range)),
            Kind::Ladder(_, range) => {
                format!("1 to {MOST_RUNGS} durations, {}, rising; the last may be `\"{UNTIL_RELEASED}\"`", times(range))
            }
            Kind::Windows(_, most, lengths, limits) => format!(
                "up to {most} windows, {} long, rising; {} to {} contacts",
                times(lengths),
                limits.start(),
                limits.end()
            ),
            Kind::Networks(_) => format!("addresses and networks, up to {LONGEST_LIST}"),
            Kind::Services(_) => "ports: `445` or `\"445/tcp\"` is TCP, `\"1434/udp\"` is UDP".into(),
            Kind::ServicesOrAny(_) => "ports as in `services.lateral`, or `\"any\"`".into(),
            Kind::ServicesOrLateral(_) => {
                "ports as in `services.lateral`, or `\"lateral\"`: those of them over TCP".into()
            }
            Kind::Servers(_) => {
                format!("`\"10.1.2.3:445\"`, `\"10.1.0.0/24:445/tcp\"`, `\"[fd00::1]:137/udp\"`: up to {LONGEST_LIST}")
            }
            Kind::Interfaces(_) => "interface names".into(),
            Kind::Name(_) => "a name: up to 64 letters, digits, `.`, `_` and `-`".into(),
            Kind::Text(_) => "one line of text".into(),
            Kind::Path(_) => "an absolute path".into(),
            Kind::PathOrOff(_) => "an absolute path, or `\"off\"`".into(),
            Kind::ListenOrOff(_) => "an address with its port, or `\"off\"`".into(),
            Kind::Date(_) => "a date (to the end of that day, UTC) or a date-time with offset; unquoted".into(),
        }
    }
}

const MODES: [(&str, Mode); 2] = [("monitor", Mode::Monitor), ("enforce", Mode::Enforce)];
const BACKENDS: [(&str, Backend); 2] = [("ring", Backend::Ring), ("pnet", Backend::Pnet)];

fn word<V: PartialEq>(words: &[(&str, V)], value: &V) -> String {
    quoted(words.iter().find(|(_, v)| v == value).map_or("", |(word, _)| word))
}

fn words<V>(words: &[(&str, V)]) -> String {
    let words: Vec<String> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
    words.join(" or ")
}

/// A string as TOML writes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= 100 { line } else { format!("[\n    {},\n]", items.join(",\n    ")) }
}

fn show(time: Option<Duration>, never: &str) -> String {
    time.map_or_else(|| quoted(never), |time| quoted(&ShowDuration(time).to_string()))
}

fn show_services(services: &Services) -> String {
    array(services.written().iter().map(|(transport, port)| match transport {
        Transport::Udp => quoted(&format!("{port}/udp")),
        _ => port.to_string(),
    }))
}

/// A network as an engineer writes it: one host without its prefix.
#[must_use]
pub fn show_network(network: IpNetwork) -> String {
    let whole = if network.is_ipv4() { 32 } else { 128 };
    if network.prefix() == whole { network.ip().to_string() } else { network.to_string() }
}

/// A server as an engineer writes it.
#[must_use]
pub fn show_server(server: &GivenServer) -> String {
    let (network, port) = (show_network(server.network), server.port);
    let end = if server.transport == Transport::Udp { "/udp" } else { "" };
    if server.network.is_ipv4() { format!("{network}:{port}{end}") } else { format!("[{network}]:{port}{end}") }
}
