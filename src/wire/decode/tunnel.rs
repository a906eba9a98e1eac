//! Tunnels, one level deep: what stands between an outer packet and the one it carries.
//!
//! Sources: RFC 2003 (IPv4 in IP), 4213 (6in4), 2784 and 2890 (GRE), draft-foschiano-erspan (ERSPAN), 7348 (VXLAN), 8926
//! (Geneve), 4380 (Teredo).

use etherparse::{Ethernet2HeaderSlice, IpNumber, ip_number};

use super::internet::Datagram;
use super::link::{self, Network, Opened, kind};
use crate::wire::Mac;
use crate::wire::frame::TunnelKind;

/// UDP ports of tunnels.
pub(crate) mod port {
    /// VXLAN, and what Linux used before the number was assigned.
    pub const VXLAN: [u16; 2] = [4789, 8472];
    pub const GENEVE: u16 = 6081;
    pub const TEREDO: u16 = 3544;
}

/// A first fragment of a tunnel that is shorter cannot hold an inner IPv6 and TCP header.
pub(crate) const HEADERS: u32 = 60;

/// What is in a tunnel's packet.
pub(super) struct Inside<'a> {
    pub kind: TunnelKind,
    /// `None`: nothing that is read.
    pub opened: Option<Opened<'a>>,
}

/// Whether an IP protocol may be a tunnel's.
#[inline]
pub(super) fn may_be(protocol: IpNumber) -> bool {
    matches!(protocol, ip_number::UDP | ip_number::IPV4 | ip_number::IPV6 | ip_number::GRE)
}

/// What the packet carries, if it is a tunnel's that is looked into. A UDP datagram whose inside does not read as what its
/// port stands for is no tunnel's.
pub(super) fn open<'a>(ip: &Datagram<'a>) -> Option<Inside<'a>> {
    match ip.protocol {
        ip_number::IPV4 => {
            Some(Inside { kind: TunnelKind::Ipip, opened: Some(link::plain(Network::Ipv4, ip.payload)) })
        }
        ip_number::IPV6 => {
            Some(Inside { kind: TunnelKind::SixInFour, opened: Some(link::plain(Network::Ipv6, ip.payload)) })
        }
        ip_number::GRE => Some(gre(ip.payload)),
        ip_number::UDP => {
            let (kind, opened) = udp(ip.payload)?;
            Some(Inside { kind, opened: Some(opened) })
        }
        _ => None,
    }
}

fn gre(bytes: &[u8]) -> Inside<'_> {
    let closed = Inside { kind: TunnelKind::Gre, opened: None };
    let Some(([high, low, protocol @ ..], rest)) = bytes.split_first_chunk::<4>() else { return closed };
    // Routing (RFC 1701) is obsolete, version 1 is PPTP's.
    if high & 0x40 != 0 || low & 0x07 != 0 {
        return closed;
    }
    let sequenced = high & 0x10 != 0;
    let words = [0x80, 0x20, 0x10].into_iter().filter(|bit| high & bit != 0).count();
    let Some(rest) = rest.get(words * 4..) else { return closed };
    match u16::from_be_bytes(*protocol) {
        kind::BRIDGED => Inside { kind: TunnelKind::Gre, opened: ethernet(rest, false) },
        // Type I has no header, and no sequence numbers; type II has 8 bytes.
        kind::ERSPAN => {
            let opened = rest.get(if sequenced { 8 } else { 0 }..).and_then(|rest| ethernet(rest, true));
            Inside { kind: TunnelKind::Erspan, opened }
        }
        // Type III: 12 bytes, and 8 more if its last bit says so.
        kind::ERSPAN_III => {
            let length = if rest.get(11).is_some_and(|last| last & 1 == 1) { 20 } else { 12 };
            Inside { kind: TunnelKind::Erspan, opened: rest.get(length..).and_then(|rest| ethernet(rest, true)) }
        }
        ethertype => {
            Inside { kind: TunnelKind::Gre, opened: readable(link::layers(ethertype, rest, (None, None)).ok()) }
        }
    }
}

fn udp(bytes: &[u8]) -> Option<(TunnelKind, Opened<'_>)> {
    let ([a, b, c, d, ..], rest) = bytes.split_first_chunk::<8>()?;
    let (source, destination) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    if port::VXLAN.contains(&destination) {
        let ([flags, ..], rest) = rest.split_first_chunk::<8>()?;
        let opened = (flags & 0x08 != 0).then(|| ethernet(rest, false)).flatten()?;
        return Some((TunnelKind::Vxlan, opened));
    }
    if destination == port::GENEVE {
        let ([first, _, high, low, ..], rest) = rest.split_first_chunk::<8>()?;
        // Version 0, and options in words.
        let rest = rest.get(usize::from(first & 0x3f) * 4..).filter(|_| first >> 6 == 0)?;
        let opened = match u16::from_be_bytes([*high, *low]) {
            kind::BRIDGED => ethernet(rest, false),
            ethertype => readable(link::layers(ethertype, rest, (None, None)).ok()),
        }?;
        return Some((TunnelKind::Geneve, opened));
    }
    if destination == port::TEREDO || source == port::TEREDO {
        let rest = teredo(rest)?;
        return (rest.first()? >> 4 == 6).then(|| (TunnelKind::Teredo, link::plain(Network::Ipv6, rest)));
    }
    None
}

/// Over Teredo's authentication and origin indication, one of each at most and in this order (RFC 4380 §5.1.1).
fn teredo(mut bytes: &[u8]) -> Option<&[u8]> {
    if let [0, 1, client, authentication, rest @ ..] = bytes {
        bytes = rest.get(usize::from(*client) + usize::from(*authentication) + 9..)?;
    }
    if let [0, 0, rest @ ..] = bytes {
        bytes = rest.get(6..)?;
    }
    Some(bytes)
}

/// An Ethernet frame in a tunnel; its cards are named only where it is a copy of a segment's.
fn ethernet(bytes: &[u8], mirrored: bool) -> Option<Opened<'_>> {
    let header = Ethernet2HeaderSlice::from_slice(bytes).ok()?;
    let macs = if mirrored { (Some(Mac(header.source())), Some(Mac(header.destination()))) } else { (None, None) };
    let payload = bytes.get(header.slice().len()..)?;
    readable(link::layers(header.ether_type().0, payload, macs).ok())
}

fn readable(opened: Option<Opened<'_>>) -> Option<Opened<'_>> {
    opened.filter(|opened| opened.network != Network::Other)
}
