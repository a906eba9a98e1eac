//! How a packet is put on the wire so that a gateway overlooks it.

use std::net::IpAddr;

use firedoor::wire::Mac;

use crate::packet::{self, Ends, ethertype, protocol};

/// More fragments follow (RFC 791 §3.1).
const MORE: u16 = 0x2000;

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IPv4 in IPv4 (RFC 2003).
    Ipip,
    /// IPv6 in IPv4 (RFC 4213).
    SixInFour,
    /// RFC 2784.
    Gre,
    /// RFC 7348.
    Vxlan,
}

/// How a packet is dressed.
#[derive(Clone, Copy, Debug)]
pub enum Dress {
    /// As everybody's.
    Plain,
    /// Two fragments, cut behind so many bytes of the transport header.
    Split(usize),
    /// The same, the second one first.
    Reversed(usize),
    /// A third fragment before the last overwrites what the second one held.
    Overlapping(usize),
    /// Two IPv6 fragments behind a header of destination options.
    SplitBehindOptions(usize),
    /// One IPv6 fragment that is whole (RFC 6946).
    Atomic,
    /// So many IPv6 headers of destination options.
    Extensions(usize),
    /// IPv4 options; a multiple of four bytes.
    Options(&'static [u8]),
    /// A PPPoE session (RFC 2516).
    Pppoe,
    /// Inside a tunnel between these ends.
    Inside(Tunnel, Ends),
}

impl Dress {
    /// The frames that carry this payload between these ends, from one card to another. `number` names the packet.
    pub fn frames(self, cards: (Mac, Mac), ends: Ends, kind: u8, payload: &[u8], number: u16) -> Vec<Vec<u8>> {
        let whole = || plain(ends, kind, payload, number);
        let family = if ends.0.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
        let on_wire = |packets: Vec<Vec<u8>>| {
            packets.iter().map(|packet| packet::ethernet(cards.0, cards.1, family, packet)).collect::<Vec<_>>()
        };
        let piece = |from: usize, to: usize, options| {
            fragment(ends, kind, number, (from, to < payload.len()), &payload[from..to.min(payload.len())], options)
        };
        if let Dress::Split(after) | Dress::Reversed(after) | Dress::Overlapping(after) = self
            && payload.len() < after + 8
        {
            // There is nothing to cut.
            return on_wire(vec![whole()]);
        }
        match self {
            Dress::Plain => on_wire(vec![whole()]),
            Dress::Split(after) => on_wire(vec![piece(0, after, false), piece(after, usize::MAX, false)]),
            Dress::Reversed(after) => on_wire(vec![piece(after, usize::MAX, false), piece(0, after, false)]),
            Dress::Overlapping(after) => {
                let mut other = payload.to_vec();
                other[after..].fill(0xff);
                let cover = fragment(ends, kind, number, (after, true), &other[after..after + 8], false);
                on_wire(vec![piece(0, after, false), cover, piece(after, usize::MAX, false)])
            }
            Dress::SplitBehindOptions(after) => on_wire(vec![piece(0, after, true), piece(after, usize::MAX, true)]),
            Dress::Atomic => on_wire(vec![piece(0, usize::MAX, false)]),
            Dress::Extensions(count) => {
                let mut body = Vec::new();
                for left in (0..count).rev() {
                    body.extend([if left == 0 { kind } else { protocol::OPTIONS }, 0, 1, 4, 0, 0, 0, 0]);
                }
                body.extend(payload);
                on_wire(vec![packet::ipv6(ends, protocol::OPTIONS, &body)])
            }
            Dress::Options(options) => on_wire(vec![packet::ipv4(ends, kind, (number, 0), options, payload)]),
            Dress::Pppoe => {
                let packet = whole();
                let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
                let body = [&[0x11, 0, 0, 1][..], &length, &[0, 0x21], &packet].concat();
                vec![packet::ethernet(cards.0, cards.1, ethertype::PPPOE, &body)]
            }
            Dress::Inside(tunnel, outer) => {
                let inner = whole();
                let (kind, body) = match tunnel {
                    Tunnel::Ipip => (protocol::IPIP, inner),
                    Tunnel::SixInFour => (protocol::IPV6, inner),
                    Tunnel::Gre => (protocol::GRE, [&[0, 0][..], &family.to_be_bytes(), &inner].concat()),
                    Tunnel::Vxlan => {
                        let frame = packet::ethernet(cards.0, Mac([2, 0, 0, 0, 9, 9]), family, &inner);
                        let body = [&[8, 0, 0, 0, 0, 0, 77, 0][..], &frame].concat();
                        (protocol::UDP, packet::udp(outer, (40_000 + number % 1_000, 4_789), &body))
                    }
                };
                let family = if outer.0.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
                vec![packet::ethernet(cards.0, cards.1, family, &plain(outer, kind, &body, number))]
            }
        }
    }
}

fn plain(ends: Ends, kind: u8, payload: &[u8], number: u16) -> Vec<u8> {
    match ends.0 {
        IpAddr::V4(_) => packet::ipv4(ends, kind, (number, 0), &[], payload),
        IpAddr::V6(_) => packet::ipv6(ends, kind, payload),
    }
}

/// A fragment (RFC 791 §3.2, RFC 8200 §4.5) that begins at this byte; `more` follow.
fn fragment(
    ends: Ends,
    kind: u8,
    number: u16,
    (from, more): (usize, bool),
    payload: &[u8],
    behind_options: bool,
) -> Vec<u8> {
    let eighths = u16::try_from(from / 8).unwrap();
    if ends.0.is_ipv4() {
        return packet::ipv4(ends, kind, (number, eighths | if more { MORE } else { 0 }), &[], payload);
    }
    let field = (eighths << 3 | u16::from(more)).to_be_bytes();
    let name = (0x5eed_0000 | u32::from(number)).to_be_bytes();
    let header = [&[kind, 0][..], &field, &name, payload].concat();
    if behind_options {
        let body = [&[protocol::FRAGMENT, 0, 1, 4, 0, 0, 0, 0][..], &header].concat();
        return packet::ipv6(ends, protocol::OPTIONS, &body);
    }
    packet::ipv6(ends, protocol::FRAGMENT, &header)
}
