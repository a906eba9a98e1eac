//! Good packets give the right fields, cut ones what is there, and no bytes whatever a panic.

use etherparse::{PacketBuilder, TcpHeader};
use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;
use crate::wire::frame::{
    Arp, Echo, EchoKind, Encapsulation, Flags, FragmentKind, Neighbour, Segment, Transport, TunnelKind,
};
use crate::wire::{Address, Mac};

const LINKS: [LinkKind; 6] =
    [LinkKind::Ethernet, LinkKind::RawIp, LinkKind::Null, LinkKind::Loop, LinkKind::LinuxSll, LinkKind::LinuxSll2];

fn meta(bytes: &[u8]) -> Meta {
    Meta { at: Timestamp::from_secs(1), original_length: u32::try_from(bytes.len()).unwrap(), ..Meta::default() }
}

fn ethernet(bytes: &[u8]) -> Result<Frame<'_>, Undecoded> {
    decode(meta(bytes), LinkKind::Ethernet, bytes)
}

fn segment<'a>(frame: &Frame<'a>) -> Segment<'a> {
    match frame.packet {
        Packet::Tcp(segment) => segment,
        other => panic!("{other:?}"),
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A SYN from 10.0.0.1:4000 to 10.0.0.2:445 without its link header.
fn syn_ipv4(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(4000, 445, 7, 1024)
        .syn()
        .options_raw(&[2, 4, 5, 180])
        .unwrap()
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn syn_ipv6(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (source, destination) =
        ("fd00::1".parse::<std::net::Ipv6Addr>().unwrap(), "fd00::2".parse::<std::net::Ipv6Addr>().unwrap());
    PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
        .tcp(4000, 445, 7, 1024)
        .syn()
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// Behind an Ethernet header with the ethertypes and tags given.
fn framed(head: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(head.iter().flat_map(|field| field.to_be_bytes()));
    bytes.extend(packet);
    bytes
}

/// Puts extension headers between the IPv6 header and its payload.
fn extended(packet: &[u8], first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    bytes[6] = first;
    bytes.splice(40..40, extensions.iter().copied());
    let length = u16::try_from(bytes.len() - 40).unwrap();
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn a_syn_is_the_same_under_every_link_header() {
    let (four, six) = (syn_ipv4(&[]), syn_ipv6(&[]));
    let prefix = |head: &[u8], packet: &[u8]| [head, packet].concat();
    let sll = |protocol: u16| {
        let mut head = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        head.extend(protocol.to_be_bytes());
        head
    };
    let sll2 = |protocol: u16| {
        let mut head = protocol.to_be_bytes().to_vec();
        head.extend([0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
        head
    };
    for (kind, bytes, vlan) in [
        (LinkKind::Ethernet, framed(&[0x0800], &four), None),
        (LinkKind::Ethernet, framed(&[0x86dd], &six), None),
        (LinkKind::Ethernet, framed(&[0x8100, 0xa00a, 0x0800], &four), Some(10)),
        (LinkKind::Ethernet, framed(&[0x88a8, 20, 0x8100, 10, 0x86dd], &six), Some(20)),
        (LinkKind::Ethernet, framed(&[0x9100, 0, 0x8100, 10, 0x0800], &four), Some(10)),
        (LinkKind::RawIp, four.clone(), None),
        (LinkKind::RawIp, six.clone(), None),
        (LinkKind::Null, prefix(&[2, 0, 0, 0], &four), None),
        (LinkKind::Null, prefix(&[0, 0, 0, 2], &four), None),
        (LinkKind::Null, prefix(&[30, 0, 0, 0], &six), None),
        (LinkKind::Loop, prefix(&[0, 0, 0, 24], &six), None),
        (LinkKind::LinuxSll, prefix(&sll(0x0800), &four), None),
        (LinkKind::LinuxSll, prefix(&sll(0x8100), &prefix(&[0, 7, 0x86, 0xdd], &six)), Some(7)),
        (LinkKind::LinuxSll2, prefix(&sll2(0x86dd), &six), None),
    ] {
        let frame = decode(meta(&bytes), kind, &bytes).unwrap();
        let syn = segment(&frame);
        assert!(syn.flags.is_syn(), "{kind:?}");
        let (source, destination) = if syn.source.is_v4() { ("10.0.0.1", "10.0.0.2") } else { ("fd00::1", "fd00::2") };
        assert_eq!((syn.source, syn.destination), (address(source), address(destination)), "{kind:?}");
        assert_eq!((syn.source_port, syn.destination_port, syn.sequence, syn.payload_length), (4000, 445, 7, 0));
        assert_eq!(frame.meta.vlan, vlan, "{kind:?}");
        if matches!(kind, LinkKind::Ethernet | LinkKind::LinuxSll | LinkKind::LinuxSll2) {
            assert_eq!(frame.mac_source, Some(Mac([2, 0, 0, 0, 0, 1])), "{kind:?}");
        }
    }
}

#[test]
fn the_tag_that_the_ring_stripped_is_the_outermost() {
    use Encapsulation::{None as Plain, Tags};
    for (stripped, head, ids, encapsulation) in [
        (None, &[0x0800][..], (None, None), Plain),
        (Some(99), &[0x0800], (Some(99), None), Plain),
        (Some(0), &[0x0800], (None, None), Plain),
        (None, &[0x8100, 10, 0x0800], (Some(10), None), Plain),
        (Some(99), &[0x8100, 10, 0x0800], (Some(99), Some(10)), Tags),
        (None, &[0x88a8, 99, 0x8100, 10, 0x0800], (Some(99), Some(10)), Tags),
        (None, &[0x88a8, 99, 0x8100, 10, 0x8100, 5, 0x0800], (Some(99), Some(10)), Tags),
        // Priority tags name no VLAN, and stand in the door's way all the same.
        (Some(0), &[0x8100, 10, 0x0800], (Some(10), None), Tags),
        (None, &[0x8100, 0, 0x8100, 10, 0x0800], (Some(10), None), Tags),
        (Some(99), &[0x8100, 0, 0x0800], (Some(99), None), Tags),
        // The kernel does not take this tag off.
        (None, &[0x9100, 10, 0x0800], (Some(10), None), Tags),
    ] {
        let bytes = framed(head, &syn_ipv4(&[]));
        let frame = decode(Meta { vlan: stripped, ..meta(&bytes) }, LinkKind::Ethernet, &bytes).unwrap();
        assert!(segment(&frame).flags.is_syn());
        assert_eq!((frame.meta.vlan, frame.meta.inner_vlan), ids, "{stripped:?} {head:x?}");
        assert_eq!(frame.encapsulation, encapsulation, "{stripped:?} {head:x?}");
    }
}

/// Behind an Ethernet header with these bytes between it and the packet.
fn behind(head: &[u8], packet: &[u8]) -> Vec<u8> {
    [&framed(&[], head)[..], packet].concat()
}

#[test]
fn what_stands_between_ethernet_and_ip_is_taken_off_and_named() {
    use Encapsulation::{CiscoMetadata, FabricPath, Mpls, Pppoe, Snap, VnTag};
    for (head, encapsulation) in [
        (&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0, 0x21][..], Pppoe),
        (&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0x21], Pppoe),
        (&[0x88, 0x47, 0, 1, 1, 64], Mpls),
        (&[0x88, 0x48, 0, 1, 0, 64, 0, 2, 0, 64, 0, 3, 1, 64], Mpls),
        (&[0, 52, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], Snap),
        (&[0, 52, 0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0], Snap),
        (&[0x89, 0x26, 0, 0, 0, 1, 8, 0], VnTag),
        (&[0x89, 0x09, 1, 1, 0, 1, 0, 16, 8, 0], CiscoMetadata),
        (&[0x89, 0x09, 1, 2, 0, 1, 0, 16, 0, 0, 0, 0, 8, 0], CiscoMetadata),
        (&[0x89, 0x03, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], FabricPath),
        (&[0x81, 0, 0, 5, 0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0, 0x21], Pppoe),
        (&[0x89, 0x26, 0, 0, 0, 1, 0x81, 0, 0, 5, 8, 0], VnTag),
    ] {
        let bytes = behind(head, &syn_ipv4(b"xy"));
        let frame = ethernet(&bytes).unwrap();
        assert_eq!(segment(&frame).payload, b"xy", "{head:x?}");
        assert_eq!((frame.encapsulation, frame.tunnel), (encapsulation, None));
        assert_eq!(frame.mac_source, Some(Mac([2, 0, 0, 0, 0, 1])));
    }
    let bytes = behind(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0, 0x57], &syn_ipv6(&[]));
    assert!(segment(&ethernet(&bytes).unwrap()).flags.is_syn());
    let bytes = behind(&[0x88, 0x47, 0, 1, 1, 64], &syn_ipv6(&[]));
    assert!(segment(&ethernet(&bytes).unwrap()).flags.is_syn());
}

#[test]
fn what_is_not_read_says_where_reading_ended() {
    for (head, unread) in [
        (&[0x88, 0xcc][..], 0x88cc),
        (&[0, 38, 0x42, 0x42, 3], 38),
        (&[0x88, 0x64, 0x11, 0, 0, 1, 0, 4, 0xc0, 0x21], 0xc021),
        (&[0x88, 0x64, 0x11, 9, 0, 1, 0, 4, 0, 0x21], 0x8864),
        (&[0x88, 0x47, 0, 1, 1, 64], 0x8847),
        (&[0x81, 0, 0, 5, 0x88, 0xcc], 0x88cc),
    ] {
        let bytes = behind(head, &[0; 46]);
        let frame = ethernet(&bytes).unwrap();
        assert!(matches!(frame.packet, Packet::NonIp));
        assert_eq!(frame.unread, Some(unread), "{head:x?}");
    }
}

/// The IPv4 packet with these flags and offset, its payload cut after so many bytes.
fn fragment_ipv4(packet: &[u8], field: u16, length: usize) -> Vec<u8> {
    let mut bytes = packet[..(20 + length).min(packet.len())].to_vec();
    bytes[6..8].copy_from_slice(&field.to_be_bytes());
    let whole = u16::try_from(bytes.len()).unwrap();
    bytes[2..4].copy_from_slice(&whole.to_be_bytes());
    framed(&[0x0800], &bytes)
}

fn fragment_ipv6(packet: &[u8], field: u16, length: usize) -> Vec<u8> {
    let [high, low] = field.to_be_bytes();
    let cut = &packet[..(40 + length).min(packet.len())];
    framed(&[0x86dd], &extended(cut, 44, &[packet[6], 0, high, low, 0, 0, 0, 9]))
}

#[test]
fn a_first_fragment_without_its_header_and_one_that_would_overwrite_it_are_named() {
    let kind = |bytes: &[u8]| match ethernet(bytes).unwrap().packet {
        Packet::Fragment(fragment) => Some((fragment.kind, fragment.transport)),
        _ => None,
    };
    let (four, six) = (syn_ipv4(&[1; 64]), syn_ipv6(&[1; 64]));
    let tiny = Some((FragmentKind::Tiny, Transport::Tcp));
    // The IPv4 SYN's header has 24 bytes, that over IPv6 has 20.
    for length in [0, 8, 16] {
        assert_eq!(kind(&fragment_ipv4(&four, 0x2000, length)), tiny, "{length}");
        assert_eq!(kind(&fragment_ipv6(&six, 1, length)), tiny, "{length}");
    }
    for length in [24, 32] {
        assert_eq!(kind(&fragment_ipv4(&four, 0x2000, length)), None);
        assert_eq!(kind(&fragment_ipv6(&six, 1, length)), None);
        assert!(segment(&ethernet(&fragment_ipv4(&four, 0x2000, length)).unwrap()).flags.is_syn());
    }
    let mut long = four.clone();
    long[20 + 12] = 0x80;
    assert_eq!(kind(&fragment_ipv4(&long, 0x2000, 24)), tiny, "32 bytes of header");
    assert_eq!(kind(&fragment_ipv4(&four, 1, 40)), Some((FragmentKind::Overlapping, Transport::Tcp)));
    assert_eq!(kind(&fragment_ipv4(&four, 0x2001, 8)), Some((FragmentKind::Overlapping, Transport::Tcp)));
    assert_eq!(kind(&fragment_ipv6(&six, 8, 40)), Some((FragmentKind::Overlapping, Transport::Tcp)));
    for (offset, six_offset) in [(2, 16), (185, 1480)] {
        assert_eq!(kind(&fragment_ipv4(&four, offset, 40)), None);
        assert_eq!(kind(&fragment_ipv6(&six, six_offset, 40)), None);
    }
    // A packet in one fragment is the packet (RFC 6946).
    assert!(segment(&ethernet(&fragment_ipv6(&six, 0, 84)).unwrap()).flags.is_syn());

    for (protocol, transport) in [(17, Transport::Udp), (58, Transport::Icmp)] {
        let mut packet = six.clone();
        packet[6] = protocol;
        assert_eq!(kind(&fragment_ipv6(&packet, 1, 0)), Some((FragmentKind::Tiny, transport)));
    }
    // The chain of headers continues in the next fragment (RFC 7112), also behind hop-by-hop options.
    let mut options = six.clone();
    options[6] = 60;
    options[40..42].copy_from_slice(&[6, 3]);
    assert_eq!(kind(&fragment_ipv6(&options, 1, 8)), Some((FragmentKind::Headless, Transport::Other)));
    let behind = fragment_ipv6(&six, 1, 8);
    let hops = extended(&behind[14..], 0, &[44, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(kind(&framed(&[0x86dd], &hops)), tiny);
    // A large datagram's first fragment is the datagram.
    let mut large = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2).write(&mut large, &[0; 1472]).unwrap();
    assert!(matches!(ethernet(&fragment_ipv4(&large, 0x2000, 1480)).unwrap().packet, Packet::Udp(_)));
}

/// An IPv4 packet from 10.9.9.1 to 10.9.9.2 with this inside.
fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 9, 9, 1, 10, 9, 9, 2]);
    bytes.extend(payload);
    bytes
}

fn outer_udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    outer(17, &[&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &[0; 4], payload].concat())
}

#[test]
fn tunnels_are_looked_into_one_level_deep() {
    let (four, six) = (syn_ipv4(b"abc"), syn_ipv6(b"abc"));
    let bridged = behind(&[8, 0], &four);
    let gre = |head: &[u8], rest: &[u8]| outer(47, &[head, rest].concat());
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &bridged].concat();
    for (packet, kind) in [
        (outer(4, &four), TunnelKind::Ipip),
        (outer(41, &six), TunnelKind::SixInFour),
        (gre(&[0, 0, 8, 0], &four), TunnelKind::Gre),
        (gre(&[0xb0, 0, 8, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3], &four), TunnelKind::Gre),
        (gre(&[0x20, 0, 0x86, 0xdd, 1, 1, 1, 1], &six), TunnelKind::Gre),
        (gre(&[0, 0, 0x65, 0x58], &bridged), TunnelKind::Gre),
        (gre(&[0, 0, 0x88, 0xbe], &bridged), TunnelKind::Erspan),
        (gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0x64, 0, 1, 0, 0, 0, 0], &bridged), TunnelKind::Erspan),
        (gre(&[[0x10, 0, 0x22, 0xeb].as_slice(), &[0; 16]].concat(), &bridged), TunnelKind::Erspan),
        (gre(&[[0x10, 0, 0x22, 0xeb].as_slice(), &[0; 15], &[1], &[0; 8]].concat(), &bridged), TunnelKind::Erspan),
        (outer_udp((50_000, 4789), &vxlan), TunnelKind::Vxlan),
        (outer_udp((50_000, 8472), &vxlan), TunnelKind::Vxlan),
        (
            outer_udp((1, 6081), &[&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 9, 9, 9, 9][..], &bridged].concat()),
            TunnelKind::Geneve,
        ),
        (outer_udp((3544, 1), &six), TunnelKind::Teredo),
        (outer_udp((1, 3544), &[&[0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0][..], &six].concat()), TunnelKind::Teredo),
        (outer_udp((1, 3544), &[&[0, 0, 1, 1, 2, 2, 2, 2][..], &six].concat()), TunnelKind::Teredo),
    ] {
        let bytes = framed(&[0x0800], &packet);
        let frame = ethernet(&bytes).unwrap();
        let syn = segment(&frame);
        assert_eq!((syn.source_port, syn.destination_port, syn.payload), (4000, 445, &b"abc"[..]), "{kind:?}");
        let tunnel = frame.tunnel.unwrap();
        assert_eq!(tunnel.kind, kind);
        assert_eq!((tunnel.outer_source, tunnel.outer_destination), (address("10.9.9.1"), address("10.9.9.2")));
        assert_eq!(frame.mac_source, Some(Mac([2, 0, 0, 0, 0, 1])));
        // A cut one is refused or says what it is; it never is another packet.
        for length in 14..bytes.len() - 3 {
            if let Ok(frame) = decode(meta(&bytes), LinkKind::Ethernet, &bytes[..length]) {
                assert!(
                    matches!(frame.packet, Packet::Tunnel(_) | Packet::Udp(_) | Packet::Tcp(_)),
                    "{kind:?} {length}"
                );
            }
        }
    }
}

#[test]
fn a_tunnel_that_is_not_looked_into_is_named() {
    let opaque = |packet: &[u8]| match ethernet(&framed(&[0x0800], packet)).unwrap().packet {
        Packet::Tunnel(opaque) => (opaque.kind, opaque.opens),
        other => panic!("{other:?}"),
    };
    let sctp = |chunk: u8| outer(132, &[&[0; 12][..], &[chunk, 0, 0, 20], &[0; 16]].concat());
    assert_eq!(opaque(&sctp(1)), (TunnelKind::Sctp, true));
    assert_eq!(opaque(&sctp(0)), (TunnelKind::Sctp, false));
    assert_eq!(opaque(&outer(50, &[0; 64])), (TunnelKind::Esp, false));
    assert_eq!(opaque(&outer(115, &[0; 64])), (TunnelKind::L2tp, false));
    // PPTP's GRE, and a tunnel in a tunnel.
    assert_eq!(opaque(&outer(47, &[0x30, 1, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 0])), (TunnelKind::Gre, false));
    assert_eq!(opaque(&outer(4, &outer(4, &syn_ipv4(&[])))), (TunnelKind::Ipip, false));
    assert_eq!(opaque(&outer(4, &[0; 40])), (TunnelKind::Ipip, false));
    // Whatever is sent to a tunnel's port and is none is the datagram it is.
    for (port, payload) in [(4789, &[0; 60][..]), (4789, &[8; 3]), (6081, &[0xff; 60]), (3544, &[0x45; 60])] {
        let bytes = framed(&[0x0800], &outer_udp((9, port), payload));
        let frame = ethernet(&bytes).unwrap();
        assert!(matches!(frame.packet, Packet::Udp(datagram) if datagram.destination_port == port), "{port}");
        assert_eq!(frame.tunnel, None);
    }
    // A first fragment of a tunnel's packet that hides what is inside.
    let hidden = fragment_ipv4(&outer(4, &syn_ipv4(&[1; 64])), 0x2000, 32);
    assert!(matches!(ethernet(&hidden).unwrap().packet, Packet::Fragment(f) if f.kind == FragmentKind::Headless));
}

#[test]
fn a_syn_opens_whatever_else_is_set() {
    for (flags, opens, is_syn) in [
        (0x02, true, true),
        (0x03, true, false),
        (0x06, true, false),
        (0x2b, true, false),
        (0x12, false, false),
        (0, false, false),
    ] {
        assert_eq!((Flags(flags).opens(), Flags(flags).is_syn()), (opens, is_syn), "{flags:#x}");
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut bytes = framed(&[0x0800], &syn_ipv4(b"xy"));
    bytes.resize(100, 0xee);
    let frame = ethernet(&bytes).unwrap();
    assert_eq!((segment(&frame).payload, segment(&frame).payload_length), (b"xy".as_slice(), 2));
}

#[test]
fn a_cut_segment_keeps_what_was_captured_and_knows_what_was_not() {
    let whole = framed(&[0x0800], &syn_ipv4(&[7; 1000]));
    let tcp = 14 + 20;
    for length in 0..whole.len() {
        let decoded = decode(meta(&whole), LinkKind::Ethernet, &whole[..length]);
        match length {
            0..14 => assert_eq!(decoded.unwrap_err(), Undecoded::Link),
            14..34 => assert_eq!(decoded.unwrap_err(), Undecoded::Ip),
            34..54 => assert_eq!(decoded.unwrap_err(), Undecoded::Tcp),
            _ => {
                let segment = segment(&decoded.unwrap());
                assert_eq!(segment.payload_length, 1000);
                assert_eq!(segment.payload.len(), length.saturating_sub(tcp + 24));
            }
        }
    }
}

#[test]
fn a_length_that_offload_left_empty_is_the_wire_length() {
    for (mut packet, kind) in [(syn_ipv4(&[7; 100]), 0x0800), (syn_ipv6(&[7; 100]), 0x86dd)] {
        let at = if kind == 0x0800 { 2 } else { 4 };
        packet[at..at + 2].fill(0);
        let bytes = framed(&[kind], &packet);
        let cut = &bytes[..bytes.len() - 60];
        let frame = decode(meta(&bytes), LinkKind::Ethernet, cut).unwrap();
        assert_eq!((segment(&frame).payload_length, segment(&frame).payload.len()), (100, 40));
    }
}

#[test]
fn malformed_lengths_are_refused_by_layer() {
    let good = framed(&[0x0800], &syn_ipv4(&[]));
    for (at, value, reason) in [
        (14, 0x43, Undecoded::Ip),       // header of 12 bytes
        (14, 0x65, Undecoded::Ip),       // version 6 under the ethertype of 4
        (17, 19, Undecoded::Ip),         // total length below the header's
        (34 + 12, 0x40, Undecoded::Tcp), // TCP header of 16 bytes
        (34 + 12, 0xf0, Undecoded::Tcp), // TCP header past the packet
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(ethernet(&bytes).unwrap_err(), reason, "byte {at} = {value:#x}");
    }
}

#[test]
fn only_the_first_fragment_has_a_transport() {
    let mut first = syn_ipv4(&[1; 8]);
    first[6] = 0x20;
    assert!(segment(&ethernet(&framed(&[0x0800], &first)).unwrap()).flags.is_syn());
    let mut later = first.clone();
    later[7] = 3;
    let bytes = framed(&[0x0800], &later);
    assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::OtherIp { .. }));

    let fragment = |offset: u8| extended(&syn_ipv6(&[]), 44, &[6, 0, 0, offset | 1, 0, 0, 0, 9]);
    assert!(segment(&ethernet(&framed(&[0x86dd], &fragment(0))).unwrap()).flags.is_syn());
    let bytes = framed(&[0x86dd], &fragment(16));
    assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::OtherIp { .. }));
}

#[test]
fn extension_headers_are_walked_through() {
    let chain = [
        60, 0, 1, 4, 0, 0, 0, 0, // hop by hop, then destination options
        43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // destination options of 16 bytes, then routing
        44, 0, 4, 0, 0, 0, 0, 0, // routing, then fragment
        51, 0, 0, 0, 0, 0, 0, 9, // fragment, then authentication
        6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, // authentication of 12 bytes, then TCP
    ];
    let bytes = framed(&[0x86dd], &extended(&syn_ipv6(b"abc"), 0, &chain));
    let frame = ethernet(&bytes).unwrap();
    assert_eq!((segment(&frame).payload, segment(&frame).payload_length), (b"abc".as_slice(), 3));
    for length in 54..54 + chain.len() {
        assert_eq!(ethernet(&bytes[..length]).unwrap_err(), Undecoded::Extension, "cut at {length}");
    }

    let mut authenticated = syn_ipv4(b"abc");
    authenticated[9] = 51;
    authenticated.splice(20..20, [6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let length = u16::try_from(authenticated.len()).unwrap();
    authenticated[2..4].copy_from_slice(&length.to_be_bytes());
    let bytes = framed(&[0x0800], &authenticated);
    assert_eq!(segment(&ethernet(&bytes).unwrap()).payload, b"abc");
}

#[test]
fn no_ipv6_packet_can_speak_for_an_ipv4_host() {
    let mut packet = syn_ipv6(&[]);
    packet[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
    assert_eq!(ethernet(&framed(&[0x86dd], &packet)).unwrap_err(), Undecoded::Ip);
}

#[test]
fn echoes_are_distinguished() {
    for (request, four, six) in [(true, 8_u8, 128_u8), (false, 0, 129)] {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .icmpv4_raw(four, 0, [0; 4])
            .write(&mut bytes, b"ping")
            .unwrap();
        let bytes = framed(&[0x0800], &bytes);
        let expected =
            Echo { kind: EchoKind::Echo, source: address("10.0.0.1"), destination: address("10.0.0.2"), request };
        assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::Echo(echo) if echo == expected));

        let mut bytes = Vec::new();
        PacketBuilder::ipv6([0xfd; 16], [0xfe; 16], 64).icmpv6_raw(six, 0, [0; 4]).write(&mut bytes, b"ping").unwrap();
        let bytes = framed(&[0x86dd], &bytes);
        assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::Echo(echo) if echo.request == request));
    }
}

/// An ICMP error from 10.0.0.254 or fd00::fe that embeds `inner`.
fn icmp_error(kind: u8, code: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if inner[0] >> 4 == 4 {
        PacketBuilder::ipv4([10, 0, 0, 254], [10, 0, 0, 1], 64)
            .icmpv4_raw(kind, code, [0; 4])
            .write(&mut bytes, inner)
            .unwrap();
        return framed(&[0x0800], &bytes);
    }
    let router = "fd00::fe".parse::<std::net::Ipv6Addr>().unwrap().octets();
    PacketBuilder::ipv6(router, router, 64).icmpv6_raw(kind, code, [0; 4]).write(&mut bytes, inner).unwrap();
    framed(&[0x86dd], &bytes)
}

#[test]
fn icmp_errors_name_the_attempt_that_failed() {
    for (kind, code, inner) in
        [(3, 1, syn_ipv4(&[])), (11, 0, syn_ipv4(&[])), (1, 3, syn_ipv6(&[])), (3, 0, syn_ipv6(&[]))]
    {
        let header = if inner[0] >> 4 == 4 { 20 } else { 40 };
        // RFC 792 promises the header and eight bytes; some senders give less, and some change the length field.
        for (length, ports) in
            [(header, (0, 0)), (header + 3, (0, 0)), (header + 8, (4000, 445)), (inner.len(), (4000, 445))]
        {
            let mut inner = inner[..length].to_vec();
            if header == 20 {
                inner[3] = 1;
            }
            let bytes = icmp_error(kind, code, &inner);
            let Packet::IcmpError(error) = ethernet(&bytes).unwrap().packet else { panic!("{kind} {code}") };
            assert_eq!(error.kind, (kind, code));
            assert_eq!((error.source_port, error.destination_port), ports);
            assert_eq!(error.transport, Transport::Tcp);
            assert_eq!(error.sequence, (length >= header + 8).then_some(7));
            let four = header == 20;
            assert_eq!(error.source, address(if four { "10.0.0.1" } else { "fd00::1" }));
            assert_eq!(error.destination, address(if four { "10.0.0.2" } else { "fd00::2" }));
            assert_eq!(error.reporter, address(if four { "10.0.0.254" } else { "fd00::fe" }));
        }
        let cut = icmp_error(kind, code, &inner[..header - 1]);
        assert_eq!(ethernet(&cut).unwrap_err(), Undecoded::Icmp);
    }
}

#[test]
fn questions_who_is_there_are_seen_whatever_they_ask() {
    for (four, six, kind, request) in [
        (Some(13_u8), None, EchoKind::Timestamp, true),
        (Some(14), None, EchoKind::Timestamp, false),
        (Some(17), None, EchoKind::Mask, true),
        (Some(18), None, EchoKind::Mask, false),
        (None, Some(139_u8), EchoKind::Node, true),
        (None, Some(140), EchoKind::Node, false),
    ] {
        let mut bytes = Vec::new();
        if let Some(four) = four {
            let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            builder.icmpv4_raw(four, 0, [0; 4]).write(&mut bytes, &[0; 12]).unwrap();
            bytes = framed(&[0x0800], &bytes);
        }
        if let Some(six) = six {
            let builder = PacketBuilder::ipv6([0xfd; 16], [0xfe; 16], 64);
            builder.icmpv6_raw(six, 0, [0; 4]).write(&mut bytes, &[0; 12]).unwrap();
            bytes = framed(&[0x86dd], &bytes);
        }
        let packet = ethernet(&bytes).unwrap().packet;
        assert!(matches!(packet, Packet::Echo(echo) if (echo.kind, echo.request) == (kind, request)), "{packet:?}");
    }
}

#[test]
fn a_parameter_problem_shows_who_lives_and_no_failure() {
    for (kind, inner) in [(12, syn_ipv4(&[])), (4, syn_ipv6(&[]))] {
        let bytes = icmp_error(kind, 0, &inner);
        let Packet::IcmpError(error) = ethernet(&bytes).unwrap().packet else { panic!("{kind}") };
        assert!(!error.is_failure());
    }
    let bytes = icmp_error(3, 3, &syn_ipv4(&[]));
    assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::IcmpError(error) if error.is_failure()));
}

#[test]
fn icmp_that_reports_no_failed_attempt_is_no_error() {
    for (kind, code) in [(3, 4), (5, 1), (4, 0), (15, 0)] {
        let bytes = icmp_error(kind, code, &syn_ipv4(&[]));
        assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::OtherIp { .. }), "{kind} {code}");
    }
    for (kind, code) in [(2, 0), (133, 0), (143, 0)] {
        let bytes = icmp_error(kind, code, &syn_ipv6(&[]));
        assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::OtherIp { .. }), "{kind} {code}");
    }
}

#[test]
fn arp_is_read_as_the_payload_states_it() {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    body.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let expected = Arp {
        request: true,
        sender_mac: Mac([2, 0, 0, 0, 0, 1]),
        sender: address("10.0.0.1"),
        target: address("10.0.0.2"),
    };
    let decoded = |body: &[u8]| match ethernet(&framed(&[0x0806], body)).map(|frame| frame.packet) {
        Ok(Packet::Arp(arp)) => Ok(arp),
        Err(reason) => Err(reason),
        Ok(other) => panic!("{other:?}"),
    };
    assert_eq!(decoded(&body), Ok(expected));
    body[7] = 2;
    assert_eq!(decoded(&body), Ok(Arp { request: false, ..expected }));
    assert_eq!(decoded(&body[..27]), Err(Undecoded::Arp));
    for (at, value) in [(1, 15), (3, 1), (4, 8), (5, 16)] {
        let mut odd = body.clone();
        odd[at] = value;
        assert_eq!(decoded(&odd), Err(Undecoded::Arp), "byte {at}");
    }
}

#[test]
fn neighbour_discovery_must_come_from_the_link() {
    let target = address("fd00::9");
    let octets = "fd00::9".parse::<std::net::Ipv6Addr>().unwrap().octets();
    for (kind, solicitation) in [(135, true), (136, false)] {
        let mut packet = Vec::new();
        PacketBuilder::ipv6([0xfd; 16], [0xff; 16], 255)
            .icmpv6_raw(kind, 0, [0; 4])
            .write(&mut packet, &octets)
            .unwrap();
        let bytes = framed(&[0x86dd], &packet);
        let Packet::Neighbour(neighbour) = ethernet(&bytes).unwrap().packet else { panic!("{kind}") };
        let (source, destination) = (Address::v6([0xfd; 16]), Address::v6([0xff; 16]));
        assert_eq!(neighbour, Neighbour { solicitation, source, destination, target });
        packet[7] = 254;
        let bytes = framed(&[0x86dd], &packet);
        assert!(matches!(ethernet(&bytes).unwrap().packet, Packet::OtherIp { .. }));
    }
}

#[test]
fn what_is_neither_ip_nor_arp_is_no_error() {
    for head in [0x0026, 0x88cc, 0x8863] {
        assert!(matches!(ethernet(&framed(&[head], &[0; 46])).unwrap().packet, Packet::NonIp));
    }
    assert!(matches!(
        ethernet(&framed(&[0x8100, 5, 0x8100, 5, 0x8100, 5, 0x8100, 5, 0x8100, 5, 0x0800], &[])).unwrap().packet,
        Packet::NonIp
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), original: u32, which in 0..LINKS.len()) {
        let _ = decode(Meta { original_length: original, ..Meta::default() }, LINKS[which], &bytes);
    }

    /// Random bytes rarely get past the first header: start from a good packet and change a few.
    #[test]
    fn no_change_to_a_good_packet_makes_it_panic(
        six: bool,
        extensions in proptest::collection::vec(any::<u8>(), 0..64),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        changes in proptest::collection::vec((0..200_usize, any::<u8>()), 0..8),
        cut in 0..300_usize,
    ) {
        let packet = if six { extended(&syn_ipv6(&payload), 0, &extensions) } else { syn_ipv4(&payload) };
        let mut bytes = framed(&[if six { 0x86dd } else { 0x0800 }], &packet);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let original = meta(&bytes);
        bytes.truncate(cut);
        if let Ok(Frame { packet: Packet::Tcp(segment), .. }) = decode(original, LinkKind::Ethernet, &bytes) {
            prop_assert!(segment.payload.len() <= segment.payload_length as usize);
        }
    }

    /// The same behind everything that may stand around a packet.
    #[test]
    fn no_change_to_what_stands_around_a_packet_makes_it_panic(
        which in 0..24_usize,
        changes in proptest::collection::vec((0..120_usize, any::<u8>()), 0..6),
        cut in 0..160_usize,
        stripped in proptest::option::of(any::<u16>()),
    ) {
        let (four, six) = (syn_ipv4(b"abc"), syn_ipv6(b"abc"));
        let bridged = behind(&[8, 0], &four);
        let packets = [
            outer(4, &four), outer(41, &six), outer(47, &[&[0xb0, 0, 8, 0][..], &[1; 12], &four].concat()),
            outer(47, &[&[0, 0, 0x65, 0x58][..], &bridged].concat()),
            outer(47, &[&[0x10, 0, 0x88, 0xbe][..], &[0; 12], &bridged].concat()),
            outer(47, &[&[0x10, 0, 0x22, 0xeb][..], &[0; 16], &bridged].concat()),
            outer_udp((9, 4789), &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &bridged].concat()),
            outer_udp((9, 6081), &[&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 9, 9, 9, 9][..], &bridged].concat()),
            outer_udp((9, 3544), &[&[0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0][..], &six].concat()),
            outer(132, &[1; 32]), outer(50, &[1; 32]), outer(4, &outer(4, &four)),
            fragment_ipv4(&four, 0x2000, 16)[14..].to_vec(), fragment_ipv4(&four, 1, 16)[14..].to_vec(),
        ];
        let heads: [&[u8]; 10] = [
            &[0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0, 0x21], &[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64],
            &[0, 52, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &[0x89, 0x26, 0, 0, 0, 1, 8, 0],
            &[0x89, 0x09, 1, 1, 0, 1, 0, 16, 8, 0], &[0x89, 0x03, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0],
            &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0], &[0x91, 0, 0, 5, 8, 0],
            &[0x81, 0, 0, 5, 0x81, 0, 0, 5, 0x81, 0, 0, 5, 0x81, 0, 0, 5, 8, 0], &[8, 0],
        ];
        let mut bytes = match packets.get(which) {
            Some(packet) => framed(&[0x0800], packet),
            None => behind(heads[which - packets.len()], &four),
        };
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let original = Meta { vlan: stripped, ..meta(&bytes) };
        bytes.truncate(cut);
        let decoded = decode(original, LinkKind::Ethernet, &bytes);
        if let Ok(Frame { packet: Packet::Tcp(segment), .. }) = &decoded {
            prop_assert!(segment.payload.len() <= segment.payload_length as usize);
        }
        crate::wire::FrameCounts::default().count(decoded.as_ref().map_err(|reason| *reason));
    }

    #[test]
    fn tcp_fields_survive(
        ports: (u16, u16), sequence: u32, acknowledgement: u32, flags in 0_u8..64,
        source: [u8; 4], destination: [u8; 4],
        options in 0..11_usize,
        payload in proptest::collection::vec(any::<u8>(), 0..1400),
    ) {
        let mut header = TcpHeader::new(ports.0, ports.1, sequence, 1000);
        header.acknowledgment_number = acknowledgement;
        (header.fin, header.syn, header.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        (header.psh, header.ack, header.urg) = (flags & 8 != 0, flags & 16 != 0, flags & 32 != 0);
        header.set_options_raw(&vec![1; options * 4]).unwrap();
        let mut packet = Vec::new();
        PacketBuilder::ipv4(source, destination, 9).tcp_header(header).write(&mut packet, &payload).unwrap();
        let bytes = framed(&[0x0800], &packet);
        let frame = ethernet(&bytes).unwrap();
        let segment = segment(&frame);
        prop_assert_eq!((segment.source, segment.destination), (Address::v4(source), Address::v4(destination)));
        prop_assert_eq!((segment.source_port, segment.destination_port), ports);
        prop_assert_eq!((segment.sequence, segment.acknowledgement, segment.flags.0), (sequence, acknowledgement, flags));
        prop_assert_eq!(segment.payload, &payload[..]);
        prop_assert_eq!(segment.payload_length as usize, payload.len());
    }

    #[test]
    fn udp_fields_survive(ports: (u16, u16), payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut packet = Vec::new();
        PacketBuilder::ipv6([0xfd; 16], [0xfe; 16], 9).udp(ports.0, ports.1).write(&mut packet, &payload).unwrap();
        let bytes = framed(&[0x86dd], &packet);
        match ethernet(&bytes).unwrap().packet {
            Packet::Udp(datagram) => prop_assert_eq!((datagram.source_port, datagram.destination_port), ports),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(ethernet(&bytes[..14 + 40 + 7]).unwrap_err(), Undecoded::Udp);
    }
}
