//! Who has which address in a lab network. Everything follows from the family, the shape and the seed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::lab::random::Random;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// 10.66.0.0/22
    #[default]
    Ipv4,
    /// `fd66::/62`
    Ipv6,
}

/// How the gateway passes traffic on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A router between the segments.
    #[default]
    Routed,
    /// A transparent bridge: one network, cut into the same segments.
    Bridged,
}

/// A part of the network behind one port of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Where the infected hosts are.
    Office,
    /// The victims: some live addresses, the rest dark.
    Ward,
    /// An uninvolved clinical client.
    Clinic,
    /// The server that everybody works with.
    Server,
}

impl Segment {
    /// Every segment, in address order.
    pub const ALL: [Segment; 4] = [Segment::Office, Segment::Ward, Segment::Clinic, Segment::Server];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Segment::Office => "office",
            Segment::Ward => "ward",
            Segment::Clinic => "clinic",
            Segment::Server => "server",
        }
    }

    /// The gateway's interface towards it.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Segment::Office => "office0",
            Segment::Ward => "ward0",
            Segment::Clinic => "clinic0",
            Segment::Server => "server0",
        }
    }

    const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The gateway's own host number in every segment.
pub const GATEWAY: u8 = 1;
/// The first infected host's number in the office; the others follow.
pub const INFECTED: u8 = 66;
/// The clinical client's and the server's host number in their segments.
pub const CLINICAL: u8 = 10;

/// The address plan of one lab network.
#[derive(Clone, Debug)]
pub struct Plan {
    family: Family,
    shape: Shape,
    live: Vec<u8>,
}

impl Plan {
    /// A plan in which `live_percent` of the ward's 253 addresses are live, chosen by the seed.
    #[must_use]
    pub fn new(family: Family, shape: Shape, live_percent: u8, seed: u64) -> Self {
        let mut hosts: Vec<u8> = (GATEWAY + 1..=254).collect();
        Random::new(seed).shuffle(&mut hosts);
        let count = (hosts.len() * usize::from(live_percent.min(100))).div_ceil(100);
        hosts.truncate(count);
        hosts.sort_unstable();
        Plan { family, shape, live: hosts }
    }

    /// IPv4 or IPv6.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Routed or bridged.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The ward's live host numbers, ascending.
    #[must_use]
    pub fn live(&self) -> &[u8] {
        &self.live
    }

    /// Whether this address of the ward is live.
    #[must_use]
    pub fn is_live(&self, address: IpAddr) -> bool {
        self.host(address).is_some_and(|host| self.live.binary_search(&host).is_ok())
    }

    /// The host number of a ward address.
    #[must_use]
    pub fn host(&self, address: IpAddr) -> Option<u8> {
        let host = match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        (self.address(Segment::Ward, host) == address).then_some(host)
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, segment: Segment, host: u8) -> IpAddr {
        match self.family {
            Family::Ipv4 => Ipv4Addr::new(10, 66, segment.number(), host).into(),
            Family::Ipv6 => Ipv6Addr::new(0xfd66, 0, 0, segment.number().into(), 0, 0, 0, u16::from(host)).into(),
        }
    }

    /// The address of a host as its interface is given it: with the prefix that is on the same wire.
    #[must_use]
    pub fn on_link(&self, segment: Segment, host: u8) -> IpNetwork {
        let prefix = match (self.family, self.shape) {
            (Family::Ipv4, Shape::Routed) => 24,
            (Family::Ipv4, Shape::Bridged) => 22,
            (Family::Ipv6, Shape::Routed) => 64,
            (Family::Ipv6, Shape::Bridged) => 62,
        };
        network(self.address(segment, host), prefix)
    }

    /// The addresses of a segment: a /24, or the /64 around them.
    #[must_use]
    pub fn network(&self, segment: Segment) -> IpNetwork {
        let prefix = if self.family == Family::Ipv4 { 24 } else { 64 };
        network(self.address(segment, 0), prefix)
    }

    /// Everywhere: the default route of this family.
    #[must_use]
    pub fn everywhere(&self) -> IpNetwork {
        match self.family {
            Family::Ipv4 => network(Ipv4Addr::UNSPECIFIED.into(), 0),
            Family::Ipv6 => network(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }
}

/// The prefixes here are constants that fit their family, so the whole-host prefix is never the answer.
fn network(address: IpAddr, prefix: u8) -> IpNetwork {
    IpNetwork::new(address, prefix).unwrap_or_else(|_| IpNetwork::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_a_ward_is_live_and_the_seed_says_which() {
        let plan = Plan::new(Family::Ipv4, Shape::Routed, 30, 1);
        assert_eq!(plan.live().len(), 76);
        assert_eq!(plan.live(), Plan::new(Family::Ipv6, Shape::Bridged, 30, 1).live());
        assert_ne!(plan.live(), Plan::new(Family::Ipv4, Shape::Routed, 30, 2).live());
    }

    #[test]
    fn only_addresses_of_the_ward_are_live() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let plan = Plan::new(family, Shape::Routed, 100, 1);
            assert!(plan.is_live(plan.address(Segment::Ward, 9)));
            assert!(!plan.is_live(plan.address(Segment::Office, 9)));
            assert!(!plan.is_live(plan.address(Segment::Ward, GATEWAY)));
        }
    }

    #[test]
    fn bridged_segments_share_one_wire() {
        let plan = Plan::new(Family::Ipv4, Shape::Bridged, 30, 1);
        let office = plan.on_link(Segment::Office, INFECTED);
        assert!(office.contains(plan.address(Segment::Server, CLINICAL)));
        assert!(!plan.network(Segment::Office).contains(plan.address(Segment::Server, CLINICAL)));
    }
}
