//! What clients send: serde structs that the command line writes and the API reads, and their way into [`Order`]s.
//!
//! Everything is checked here for form: addresses, sizes, lengths, characters. Whether an order makes sense is the
//! control task's to say.

use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::api::orders::{MOST_ADDRESSES, Order, Target, Which};
use crate::respond::Action;
use crate::wire::Address;

/// Longest reason, in bytes.
const REASON: usize = 500;
/// Longest time an order may be given for: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `POST /v1/contain`, `POST /v1/isolate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// An address, or a network of at most 256 addresses.
    pub target: String,
    /// Why: goes into the record.
    pub reason: String,
    /// For how long, in seconds; until released if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// `POST /v1/release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// An address, a network, or `all`.
    pub target: String,
    /// Why: goes into the record.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/held/confirm`, `POST /v1/held/drop`: one or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// One, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Each that waits.
    #[serde(default)]
    pub all: bool,
}

/// `POST /v1/breaker/rearm`: one zone, or everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rearm {
    /// The zone, or an address in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// `POST /v1/never-contain/add`, `POST /v1/never-contain/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exempt {
    /// An address or a network.
    pub network: String,
    /// Why: goes into the record.
    #[serde(default)]
    pub reason: String,
}

/// What is wrong with a request's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither an address nor a network.
    #[error("{0:?} is neither an address nor a network")]
    Target(String),
    /// More addresses than one order may name.
    #[error("{0} has more than {MOST_ADDRESSES} addresses")]
    TooWide(IpNetwork),
    /// Everybody cannot be contained by one order.
    #[error("only a release may be for all")]
    All,
    /// No reason given.
    #[error("no reason is given")]
    NoReason,
    /// Too long, or with control characters.
    #[error("a reason has at most {REASON} bytes and no control characters")]
    Reason,
    /// Zero, or longer than ten years.
    #[error("a duration lies between a second and ten years")]
    Duration,
    /// Both, or neither.
    #[error("either the id of one held decision, or all")]
    Which,
}

impl Malformed {
    /// What the client should send instead.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Malformed::Target(_) => "give an address such as 10.1.2.3, or a network such as 10.1.2.0/24",
            Malformed::TooWide(_) => "name hosts, or networks no larger than a /24",
            Malformed::All => "name the hosts",
            Malformed::NoReason => "say why: the record keeps it for whoever asks later",
            Malformed::Reason => "shorten it to one line",
            Malformed::Duration => "leave it out to act until somebody releases",
            Malformed::Which => "send {\"id\":N} or {\"all\":true}",
        }
    }
}

impl Act {
    /// The order to do that.
    pub fn order(self, action: Action) -> Result<Order, Malformed> {
        let target = target(&self.target)?;
        match target {
            Target::All => return Err(Malformed::All),
            Target::Network(network) if wide(network) => return Err(Malformed::TooWide(network)),
            Target::Network(_) | Target::Host(_) => {}
        }
        if self.reason.trim().is_empty() {
            return Err(Malformed::NoReason);
        }
        let duration = self.seconds.map(Duration::from_secs);
        if duration.is_some_and(|duration| duration.is_zero() || duration > LONGEST) {
            return Err(Malformed::Duration);
        }
        Ok(Order::Act { target, action, duration, reason: reason(self.reason)? })
    }
}

impl Release {
    /// The order.
    pub fn order(self) -> Result<Order, Malformed> {
        Ok(Order::Release { target: target(&self.target)?, reason: reason(self.reason)? })
    }
}

impl Held {
    /// Which are meant.
    pub fn which(&self) -> Result<Which, Malformed> {
        match (self.id, self.all) {
            (Some(id), false) => Ok(Which::One(id)),
            (None, true) => Ok(Which::All),
            _ => Err(Malformed::Which),
        }
    }
}

impl Rearm {
    /// An address in the zone that is meant; `None` is everything.
    pub fn zone(self) -> Result<Option<Address>, Malformed> {
        let Some(zone) = self.zone else { return Ok(None) };
        match target(&zone)? {
            Target::Host(host) => Ok(Some(host)),
            Target::Network(network) => Ok(Some(Address::from(network.ip()))),
            Target::All => Ok(None),
        }
    }
}

impl Exempt {
    /// The network, and why.
    pub fn parts(self) -> Result<(IpNetwork, String), Malformed> {
        let network = match target(&self.network)? {
            Target::Network(network) => network,
            Target::Host(host) => IpNetwork::from(host.ip()),
            Target::All => return Err(Malformed::Target(self.network)),
        };
        Ok((network, reason(self.reason)?))
    }
}

/// An address, a network in its canonical form, or `all`.
pub fn target(text: &str) -> Result<Target, Malformed> {
    let bad = || Malformed::Target(text.chars().take(64).collect());
    if text == "all" {
        return Ok(Target::All);
    }
    if let Ok(address) = text.parse::<Address>() {
        return if address.is_unicast() { Ok(Target::Host(address)) } else { Err(bad()) };
    }
    let network: IpNetwork = text.parse().map_err(|_| bad())?;
    let network = IpNetwork::new(network.network(), network.prefix()).map_err(|_| bad())?;
    let host_bits = if network.is_ipv4() { 32 } else { 128 };
    if network.prefix() == host_bits {
        return target(&network.ip().to_string());
    }
    Ok(Target::Network(network))
}

fn wide(network: IpNetwork) -> bool {
    let bits = if network.is_ipv4() { 32 } else { 128 } - u32::from(network.prefix());
    1usize.checked_shl(bits).is_none_or(|addresses| addresses > MOST_ADDRESSES)
}

fn reason(text: String) -> Result<String, Malformed> {
    if text.len() > REASON || text.chars().any(char::is_control) { Err(Malformed::Reason) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(target: &str, reason: &str, seconds: Option<u64>) -> Result<Order, Malformed> {
        Act { target: target.to_owned(), reason: reason.to_owned(), seconds }.order(Action::Contain)
    }

    #[test]
    fn targets_are_addresses_or_networks_in_canonical_form() {
        assert_eq!(target("10.0.0.7"), Ok(Target::Host("10.0.0.7".parse().unwrap())));
        assert_eq!(target("10.0.0.7/32"), Ok(Target::Host("10.0.0.7".parse().unwrap())));
        assert_eq!(target("10.0.0.7/24"), Ok(Target::Network("10.0.0.0/24".parse().unwrap())));
        assert_eq!(target("fd00::1"), Ok(Target::Host("fd00::1".parse().unwrap())));
        assert_eq!(target("all"), Ok(Target::All));
        for bad in ["", "ALL", "10.0.0", "10.0.0.7/33", "224.0.0.1", "0.0.0.0", "host.example", "::1", "127.0.0.1/32"] {
            assert!(matches!(target(bad), Err(Malformed::Target(_))), "{bad}");
        }
    }

    #[test]
    fn an_order_names_at_most_so_many_addresses() {
        assert!(act("10.0.0.0/24", "worm", None).is_ok());
        assert!(matches!(act("10.0.0.0/23", "worm", None), Err(Malformed::TooWide(_))));
        assert!(matches!(act("fd00::/64", "worm", None), Err(Malformed::TooWide(_))));
        assert!(matches!(act("::/0", "worm", None), Err(Malformed::TooWide(_))));
        assert!(act("fd00::/120", "worm", None).is_ok());
        assert_eq!(act("all", "worm", None), Err(Malformed::All));
    }

    #[test]
    fn reasons_are_wanted_short_and_of_one_line() {
        assert_eq!(act("10.0.0.7", " ", None), Err(Malformed::NoReason));
        assert_eq!(act("10.0.0.7", "a\nforged line", None), Err(Malformed::Reason));
        assert_eq!(act("10.0.0.7", &"x".repeat(501), None), Err(Malformed::Reason));
        let release = Release { target: "10.0.0.7".to_owned(), reason: String::new() };
        assert!(release.order().is_ok(), "a release needs no reason: nobody must hesitate to undo");
    }

    #[test]
    fn durations_are_bounded() {
        assert!(act("10.0.0.7", "worm", Some(1)).is_ok());
        for seconds in [0, 10 * 365 * 86_400 + 1, u64::MAX] {
            assert_eq!(act("10.0.0.7", "worm", Some(seconds)), Err(Malformed::Duration));
        }
    }

    #[test]
    fn held_decisions_are_named_by_id_or_all() {
        assert_eq!(Held { id: Some(3), all: false }.which(), Ok(Which::One(3)));
        assert_eq!(Held { id: None, all: true }.which(), Ok(Which::All));
        assert_eq!(Held::default().which(), Err(Malformed::Which));
        assert_eq!(Held { id: Some(3), all: true }.which(), Err(Malformed::Which));
    }
}
