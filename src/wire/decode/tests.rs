//! Good packets give the right fields, cut ones what is there, and no bytes whatever a panic.

use etherparse::{PacketBuilder, TcpHeader};
use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;
use crate::wire::frame::{Arp, Echo, EchoKind, Neighbour, Segment, Transport};
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
    let bytes = framed(&[0x8100, 10, 0x0800], &syn_ipv4(&[]));
    let frame = decode(Meta { vlan: Some(99), ..meta(&bytes) }, LinkKind::Ethernet, &bytes).unwrap();
    assert_eq!(frame.meta.vlan, Some(99));
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
fn echoes_are_told_apart() {
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
    for head in [0x0026, 0x88cc, 0x8864] {
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
