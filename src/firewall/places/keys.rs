//! The keys of places, octet by octet: each field padded to four octets; the interface in host order, the rest in network
//! order.

use std::net::IpAddr;

use crate::suspect::{Place, Who};
use crate::wire::frame::Transport;
use crate::wire::{Address, Link, Mac};

/// What an element's key holds behind the interface and the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Card,
    V4,
    V6,
    /// An IPv6 address without its low 64 bits.
    Network,
}

/// What stands ahead of the source in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The interface.
    Untagged,
    /// The interface and the outermost VLAN id.
    Tagged,
    /// The interface and two VLAN ids.
    Double,
    /// Nothing.
    Anywhere,
}

pub(super) fn kind(source: Who) -> Source {
    match source {
        Who::Card(_) => Source::Card,
        Who::Address(address) if address.is_v4() => Source::V4,
        Who::Address(_) => Source::V6,
        Who::Network(_) => Source::Network,
    }
}

pub(super) fn prefix(scope: Scope, link: Link) -> Vec<u8> {
    let interface = link.interface.to_ne_bytes();
    match scope {
        Scope::Anywhere => Vec::new(),
        Scope::Untagged => interface.to_vec(),
        Scope::Tagged => [interface, tag(link.outer)].concat(),
        Scope::Double => [interface, tag(link.outer), tag(link.inner)].concat(),
    }
}

pub(super) fn tag(vlan: u16) -> [u8; 4] {
    let [high, low] = vlan.to_be_bytes();
    [high, low, 0, 0]
}

pub(super) fn source_key(source: Who) -> Vec<u8> {
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

/// A source on an interface, whatever its tags.
pub(in crate::firewall) fn source_on(interface: u32, source: Address) -> Vec<u8> {
    [interface.to_ne_bytes().to_vec(), address_octets(source)].concat()
}

pub(super) fn card_octets(Mac([a, b, c, d, e, f]): Mac) -> [u8; 8] {
    [a, b, c, d, e, f, 0, 0]
}

pub(super) fn address_octets(address: Address) -> Vec<u8> {
    match address.ip() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

pub(in crate::firewall) fn port_key((transport, port): (Transport, u16)) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![if transport == Transport::Udp { 17 } else { 6 }, 0, 0, 0, high, low, 0, 0]
}

/// The key of a card that forwards for others, or of a card in a limit's set.
pub(in crate::firewall) fn card_key(interface: u32, card: Mac) -> Vec<u8> {
    prefix(Scope::Untagged, Link::untagged(interface)).into_iter().chain(card_octets(card)).collect()
}

/// The interface and source that a key of an untagged set holds.
pub(in crate::firewall) fn read_untagged(key: &[u8]) -> Option<Place> {
    let (interface, rest) = key.split_first_chunk::<4>()?;
    let link = Link::untagged(u32::from_ne_bytes(*interface));
    Some(Place { link, source: read_source(rest)? })
}

pub(super) fn read_source(octets: &[u8]) -> Option<Who> {
    match *octets {
        [a, b, c, d] => Some(Who::Address(Address::v4([a, b, c, d]))),
        [a, b, c, d, e, f, _, _] => Some(Who::Card(Mac([a, b, c, d, e, f]))),
        _ => <[u8; 16]>::try_from(octets).ok().map(|octets| Who::Address(Address::v6(octets))),
    }
}

pub(super) fn read_tag(octets: [u8; 4]) -> u16 {
    let [high, low, _, _] = octets;
    u16::from_be_bytes([high, low])
}

pub(super) fn read_port(key: &[u8]) -> Option<(Transport, u16)> {
    match *key {
        [17, _, _, _, high, low, _, _] => Some((Transport::Udp, u16::from_be_bytes([high, low]))),
        [6, _, _, _, high, low, _, _] => Some((Transport::Tcp, u16::from_be_bytes([high, low]))),
        _ => None,
    }
}
