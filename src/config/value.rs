//! Reading one value of the file: its notation, its range, and what to say when it is wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Problem;
use super::model::GivenServer;
use super::quantity::{Malformed, ShowDuration, ShowSize, parse_duration, parse_size};
use crate::detect::Score;
use crate::detect::settings::Window;
use crate::respond::settings::Rung;
use crate::time::Timestamp;
use crate::wire::Services;
use crate::wire::frame::Transport;

/// Most entries of any list: more is a mistake, and would be slow to match for every new host.
pub(super) const LONGEST_LIST: usize = 4096;
/// Most rungs of the ladder.
pub(super) const MOST_RUNGS: usize = 16;

/// The words for a rung without an end.
pub const UNTIL_RELEASED: &str = "until released";

/// Where each key's value stands: `fuse.burst`, `networks.never_contain[2]`, `role[0].until`.
pub type Places = BTreeMap<String, Range<usize>>;

/// A value as the file has it.
pub type Node<'i> = Spanned<DeValue<'i>>;

/// What reading a file gives besides the values: its problems, and where each key stands.
#[derive(Debug, Default)]
pub struct Reading {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Where things stand.
    pub places: Places,
}

/// The value is wrong, and that has been reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// A value, if it could be read.
pub(super) type Read<V> = Result<V, Reported>;

/// One value being read.
pub(super) struct Value<'a> {
    pub node: &'a Node<'a>,
    pub key: &'a str,
    pub out: &'a mut Reading,
}

impl Value<'_> {
    /// Notes where the value stands, and puts it into its field if it can be read.
    pub fn put<V>(&mut self, field: &mut V, read: impl FnOnce(&mut Self) -> Read<V>) {
        self.out.places.insert(self.key.to_owned(), self.node.span());
        if let Ok(value) = read(self) {
            *field = value;
        }
    }

    /// Reports a problem at this value. Always an error, so that a reader can end with it.
    fn wrong<V>(&mut self, message: &str, label: impl Into<String>, help: impl Into<String>) -> Read<V> {
        let problem = Problem::new(format!("`{}` {message}", self.key)).at(self.node.span());
        self.out.problems.push(problem.label(label).help(help));
        Err(Reported)
    }

    fn wrong_kind<V>(&mut self, wanted: &str) -> Read<V> {
        let found = match self.node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong("is of the wrong kind", format!("this is {found}"), format!("write {wanted}"))
    }

    fn string(&mut self, wanted: &str) -> Read<String> {
        match self.node.get_ref().as_str() {
            Some(text) => Ok(text.to_owned()),
            None => self.wrong_kind(wanted),
        }
    }

    pub fn switch(&mut self) -> Read<bool> {
        match self.node.get_ref().as_bool() {
            Some(on) => Ok(on),
            None => self.wrong_kind("true or false, without quotes"),
        }
    }

    pub fn choice<V: Copy>(&mut self, words: &[(&str, V)]) -> Read<V> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let wanted = format!("\"{}\"", names.join("\" or \""));
        let text = self.string(&wanted)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let help = match suggestion(&text, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write {wanted}"),
        };
        self.wrong("has no such choice", "not one of them", help)
    }

    /// A whole number of `unit` within the range.
    pub fn whole<V>(&mut self, range: &RangeInclusive<V>, unit: &str) -> Read<V>
    where
        V: Copy + std::fmt::Display + TryFrom<i128> + PartialOrd,
    {
        let help = format!("a whole number of {unit} from {} to {}", range.start(), range.end());
        let Some(number) = self.node.get_ref().as_integer() else { return self.wrong_kind(&help) };
        let below = number.as_str().starts_with('-');
        // What does not fit 128 bits is as far out of range as what just does.
        let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let label = match parsed.and_then(|number| V::try_from(number).ok()) {
            Some(value) if range.contains(&value) => return Ok(value),
            Some(value) if value < *range.start() => format!("below {}", range.start()),
            None if below => format!("below {}", range.start()),
            _ => format!("above {}", range.end()),
        };
        self.wrong("is out of range", label, format!("write {help}"))
    }

    fn within<V: PartialOrd + Copy>(
        &mut self,
        value: V,
        range: &RangeInclusive<V>,
        show: impl Fn(V) -> String,
        help: &str,
    ) -> Read<V> {
        if range.contains(&value) {
            return Ok(value);
        }
        let label = if value > *range.end() {
            format!("above {}", show(*range.end()))
        } else {
            format!("below {}", show(*range.start()))
        };
        self.wrong("is out of range", label, format!("write {help}"))
    }

    pub fn size(&mut self, range: &RangeInclusive<usize>) -> Read<usize> {
        let (least, most) = (ShowSize(*range.start() as u64), ShowSize(*range.end() as u64));
        let help = format!("a size from {least} to {most}, such as \"8MiB\"");
        if self.node.get_ref().is_integer() {
            return self.wrong("has no unit", "bytes? MiB?", format!("write {help}"));
        }
        let text = self.string(&help)?;
        match parse_size(&text) {
            Ok(bytes) => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                self.within(bytes, range, |n| ShowSize(n as u64).to_string(), &help)
            }
            Err(reason) => self.wrong("is no size", reason.to_string(), format!("write {help}: B, KiB, MiB or GiB")),
        }
    }

    pub fn nats(&mut self, range: &RangeInclusive<f64>) -> Read<Score> {
        let help = format!("a number of nats from {:?} to {:?}", range.start(), range.end());
        let digits = match self.node.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return self.wrong_kind(&help),
        };
        match digits.parse::<f64>() {
            Ok(value) if !value.is_nan() => {
                self.within(value, range, |n| format!("{n:?}"), &help).map(Score::from_nats)
            }
            _ => self.wrong("is no number", "not a number", format!("write {help}")),
        }
    }

    pub fn time(&mut self, range: &RangeInclusive<Duration>) -> Read<Duration> {
        let help = format!("a duration from {}", times(range));
        if let DeValue::Integer(number) = self.node.get_ref() {
            let help = format!("write \"{}s\" if seconds are meant: {help}", number.as_str());
            return self.wrong("has no unit", "seconds? minutes?", help);
        }
        let text = self.string(&help)?;
        match parse_duration(&text) {
            Ok(time) => self.within(time, range, |t| ShowDuration(t).to_string(), &help),
            Err(reason @ (Malformed::Unit | Malformed::UnknownUnit)) => {
                self.wrong("is no duration", reason.to_string(), "the units are ms, s, m, h, d and w, as in \"1h 30m\"")
            }
            Err(reason) => self.wrong("is no duration", reason.to_string(), format!("write {help}")),
        }
    }

    /// `None` for the given word, else whatever `read` reads.
    pub fn unless<V>(&mut self, word: &str, read: impl FnOnce(&mut Self) -> Read<V>) -> Read<Option<V>> {
        match self.node.get_ref().as_str() {
            Some(text) if text == word => Ok(None),
            _ => read(self).map(Some),
        }
    }

    /// Reads every element, and reports each that is wrong.
    pub fn list<V>(&mut self, read: impl Fn(&mut Value<'_>) -> Read<V>) -> Read<Vec<V>> {
        let Some(array) = self.node.get_ref().as_array() else { return self.wrong_kind("a list in square brackets") };
        if array.len() > LONGEST_LIST {
            let label = format!("{} entries", array.len());
            return self.wrong("is too long", label, format!("at most {LONGEST_LIST}: name networks, not hosts"));
        }
        let mut values = Vec::with_capacity(array.len());
        for (at, node) in array.iter().enumerate() {
            let key = format!("{}[{at}]", self.key);
            self.out.places.insert(key.clone(), node.span());
            values.push(read(&mut Value { node, key: &key, out: self.out }));
        }
        values.into_iter().collect()
    }

    pub fn ladder(&mut self, range: &RangeInclusive<Duration>) -> Read<Vec<Rung>> {
        let rungs = self.list(|v| v.unless(UNTIL_RELEASED, |v| v.time(range)))?;
        if rungs.is_empty() || rungs.len() > MOST_RUNGS {
            let label = format!("{} rungs", rungs.len());
            return self.wrong("has too few or too many rungs", label, format!("write 1 to {MOST_RUNGS}"));
        }
        let rising = rungs.iter().zip(rungs.iter().skip(1)).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => a < b,
            (Some(_), None) => true,
            (None, _) => false,
        });
        if !rising {
            let help = "each rung must be longer than the one before: a repeat is never let out sooner";
            return self.wrong("does not rise", "out of order", help);
        }
        Ok(rungs)
    }

    pub fn windows(
        &mut self,
        most: usize,
        lengths: &RangeInclusive<Duration>,
        limits: &RangeInclusive<u32>,
    ) -> Read<Vec<Window>> {
        let windows = self.list(|v| v.window(lengths, limits))?;
        if windows.len() > most {
            let label = format!("{} windows", windows.len());
            return self.wrong("has too many windows", label, format!("write at most {most}"));
        }
        if windows.iter().zip(windows.iter().skip(1)).any(|(a, b)| a.length >= b.length) {
            return self.wrong("does not rise", "out of order", "order the windows from the shortest to the longest");
        }
        Ok(windows)
    }

    fn window(&mut self, lengths: &RangeInclusive<Duration>, limits: &RangeInclusive<u32>) -> Read<Window> {
        const WANTED: &str = "{ within = \"60s\", contacts = 15 }";
        let Some(table) = self.node.get_ref().as_table() else { return self.wrong_kind(WANTED) };
        let (mut length, mut limit, mut stray) = (None, None, false);
        for (name, node) in table {
            let key = format!("{}.{}", self.key, name.get_ref());
            self.out.places.insert(key.clone(), node.span());
            let mut value = Value { node, key: &key, out: self.out };
            match name.get_ref().as_ref() {
                "within" => length = Some(value.time(lengths)),
                "contacts" => limit = Some(value.whole(limits, "contacts")),
                _ => {
                    let problem = Problem::new(format!("`{key}` is no key")).at(name.span()).label("not known");
                    self.out.problems.push(problem.help(format!("a window is written {WANTED}")));
                    stray = true;
                }
            }
        }
        match (length, limit) {
            _ if stray => Err(Reported),
            (Some(length), Some(limit)) => Ok(Window { length: length?, limit: limit? }),
            (None, _) => self.wrong("is incomplete", "`within` is missing", format!("write {WANTED}")),
            (_, None) => self.wrong("is incomplete", "`contacts` is missing", format!("write {WANTED}")),
        }
    }

    pub fn services(&mut self) -> Read<Services> {
        self.list(service).map(|list| Services::new(&list))
    }

    pub fn name(&mut self) -> Read<String> {
        let name = self.string("a name in quotes")?;
        let sound = (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            && !name.starts_with('-');
        if sound {
            return Ok(name);
        }
        self.wrong("is no name", "not possible", "write up to 64 letters, digits, '.', '_' and '-'")
    }

    pub fn text(&mut self) -> Read<String> {
        let text = self.string("text in quotes")?;
        if text.len() > 500 || text.chars().any(char::is_control) {
            return self.wrong("does not fit one line", "too long, or with line breaks", "write at most 500 bytes");
        }
        Ok(text)
    }

    pub fn path(&mut self) -> Read<PathBuf> {
        let text = self.string("an absolute path in quotes")?;
        if !text.starts_with('/') || text.len() > 4000 || text.contains('\0') {
            return self.wrong("is no absolute path", "does not begin at /", "write the path from / on");
        }
        Ok(PathBuf::from(text))
    }

    pub fn listen(&mut self) -> Read<SocketAddr> {
        let text = self.string("an address with its port in quotes")?;
        if let Ok(at) = text.parse() {
            return Ok(at);
        }
        let help = "write \"127.0.0.1:9477\", \"[::1]:9477\" or \"off\"";
        self.wrong("is no address with a port", "cannot be read", help)
    }

    pub fn date(&mut self) -> Read<Timestamp> {
        const HELP: &str = "write 2027-01-31, or 2027-01-31T18:00:00Z, both without quotes";
        let Some(date) = self.node.get_ref().as_datetime() else { return self.wrong_kind(HELP) };
        let text = date.to_string();
        let stamp = match (date.date, date.time, date.offset) {
            (Some(_), Some(_), Some(_)) => text.parse::<jiff::Timestamp>().ok(),
            (Some(_), None, None) => text
                .parse::<jiff::civil::Date>()
                .and_then(jiff::civil::Date::tomorrow)
                .and_then(|day| jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)))
                .ok(),
            _ => return self.wrong("is not one moment everywhere", "no date, or no offset", HELP),
        };
        match stamp.and_then(|at| u64::try_from(at.as_nanosecond()).ok()) {
            Some(nanos) => Ok(Timestamp::from_nanos(nanos)),
            None => self.wrong("is no date of our time", "before 1970, or too far", HELP),
        }
    }
}

/// An element of a list of networks.
pub(super) fn network(value: &mut Value<'_>) -> Read<IpNetwork> {
    let text = value.string("an address or a network in quotes, such as \"10.1.0.0/16\"")?;
    network_of(value, &text)
}

fn network_of(value: &mut Value<'_>, text: &str) -> Read<IpNetwork> {
    let Ok(network) = IpNetwork::from_str(text.trim()) else {
        let help = "write 10.1.2.3, 10.1.0.0/16, fd00::1 or fd00::/64; names are not looked up";
        return value.wrong("is no address or network", "cannot be read", help);
    };
    if network.ip() != network.network() {
        let (base, prefix, host) = (network.network(), network.prefix(), network.ip());
        let help = format!("write \"{base}/{prefix}\" for the network, or \"{host}\" for the one host");
        return value.wrong("is both a host and a network", "bits beyond the prefix are set", help);
    }
    match network {
        IpNetwork::V6(six) if six.ip().to_ipv4_mapped().is_some() => {
            value.wrong("is an IPv4-mapped address", "IPv4 in IPv6 notation", "write it as IPv4: 10.1.2.3")
        }
        _ => Ok(network),
    }
}

/// An element of a list of services.
fn service(value: &mut Value<'_>) -> Read<(Transport, u16)> {
    const WANTED: &str = "a port from 1 to 65535: 445 or \"445/tcp\" is TCP, \"1434/udp\" is UDP";
    let text = match value.node.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        _ => value.string(WANTED)?,
    };
    match service_of(&text) {
        Some(service) => Ok(service),
        None => value.wrong("is no service", "not possible", format!("write {WANTED}")),
    }
}

/// `445`, `445/tcp` or `1434/udp`.
fn service_of(text: &str) -> Option<(Transport, u16)> {
    let (port, transport) = text.split_once('/').unwrap_or((text, "tcp"));
    let transport = match transport.trim() {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => return None,
    };
    Some((transport, port.trim().parse().ok().filter(|port| *port > 0)?))
}

/// An element of a list of servers.
pub(super) fn server(value: &mut Value<'_>) -> Read<GivenServer> {
    const WANTED: &str = "a server with its port in quotes: \"10.1.2.3:445\", \"10.1.0.0/24:445\", \"[fd00::1]:445\", \"10.1.2.3:137/udp\"";
    let text = value.string(WANTED)?;
    // IPv6 stands in brackets, so that no group of it is taken for the port.
    let split = match text.trim().strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.trim().split_once(':').filter(|(_, port)| !port.contains(':')),
    };
    let Some((host, (transport, port))) = split.and_then(|(host, port)| Some((host, service_of(port)?))) else {
        return value.wrong("is no server with a port", "cannot be read", format!("write {WANTED}"));
    };
    Ok(GivenServer { network: network_of(value, host)?, transport, port })
}

/// An element of a list of interfaces.
pub(super) fn interface(value: &mut Value<'_>) -> Read<String> {
    let name = value.string("an interface's name in quotes")?;
    // The kernel's own rule, dev_valid_name: 1 to 15 bytes without a slash, a colon or white space. Quotes and
    // backslashes are possible there, but nobody has them, and the ruleset need not escape them.
    let sound = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '"' | '\\'));
    if sound { Ok(name) } else { value.wrong("is no interface name", "not possible", "see `ip -brief link`") }
}

/// The word that was probably meant.
pub fn suggestion<'w>(typed: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let typed: String = typed.chars().take(64).flat_map(char::to_lowercase).collect();
    words
        .map(|word| (strsim::damerau_levenshtein(&typed, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min()
        .map(|(_, word)| word)
}

pub(super) fn times(range: &RangeInclusive<Duration>) -> String {
    format!("{} to {}", ShowDuration(*range.start()), ShowDuration(*range.end()))
}
