//! Who has which address in a lab network. Everything follows from the family, the shape and the seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::lab::random::Random;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// 10.66.0.0/19
    #[default]
    Ipv4,
    /// `fd66::/59`
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
    /// Where the first infected hosts are.
    Office,
    /// An uninvolved clinical client.
    Clinic,
    /// The server that everybody works with.
    Server,
    /// The victims: some live addresses, the rest dark. Numbered from 0.
    Ward(u8),
}

/// The ward that worms attack, unless there are more.
pub const WARD: Segment = Segment::Ward(0);
/// The most wards a plan can have.
pub const MOST_WARDS: u8 = 16;

impl Segment {
    /// The gateway's interface towards it.
    #[must_use]
    pub fn interface(self) -> String {
        match self {
            Segment::Office => "office0".to_owned(),
            Segment::Clinic => "clinic0".to_owned(),
            Segment::Server => "server0".to_owned(),
            Segment::Ward(number) => format!("ward{number}"),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Segment::Office => 0,
            Segment::Clinic => 1,
            Segment::Server => 2,
            Segment::Ward(number) => 3 + number,
        }
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
    wards: u8,
    live: Vec<u8>,
}

impl Plan {
    /// A plan of one ward, in which `live_percent` of the 253 addresses are live, chosen by the seed.
    #[must_use]
    pub fn new(family: Family, shape: Shape, live_percent: u8, seed: u64) -> Self {
        let mut hosts: Vec<u8> = (GATEWAY + 1..=254).collect();
        Random::new(seed).shuffle(&mut hosts);
        let count = (hosts.len() * usize::from(live_percent.min(100))).div_ceil(100);
        hosts.truncate(count);
        hosts.sort_unstable();
        Plan { family, shape, wards: 1, live: hosts }
    }

    /// The same with so many wards (1 to [`MOST_WARDS`]), alike in who is live.
    #[must_use]
    pub fn with_wards(self, wards: u8) -> Self {
        Plan { wards: wards.clamp(1, MOST_WARDS), ..self }
    }

    /// How many wards there are.
    #[must_use]
    pub const fn wards(&self) -> u8 {
        self.wards
    }

    /// Every segment there is.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + use<> {
        [Segment::Office, Segment::Clinic, Segment::Server].into_iter().chain((0..self.wards).map(Segment::Ward))
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

    /// The live host numbers of a ward, ascending.
    #[must_use]
    pub fn live(&self) -> &[u8] {
        &self.live
    }

    /// Whether this address of a ward is live.
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
        (0..self.wards).any(|ward| self.address(Segment::Ward(ward), host) == address).then_some(host)
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
            (Family::Ipv4, Shape::Bridged) => 19,
            (Family::Ipv6, Shape::Routed) => 64,
            (Family::Ipv6, Shape::Bridged) => 59,
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
            assert!(plan.is_live(plan.address(WARD, 9)));
            assert!(!plan.is_live(plan.address(Segment::Office, 9)));
            assert!(!plan.is_live(plan.address(WARD, GATEWAY)));
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
