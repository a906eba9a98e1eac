//! What IP and Ethernet carry: TCP, UDP, ICMP, ICMPv6 and ARP.

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacketSlice, Icmpv6Slice, IpNumber, TcpHeaderSlice, UdpHeaderSlice, ether_type,
    icmpv4, icmpv6, ip_number,
};

use super::internet::{self, Datagram as IpDatagram, Part};
use crate::wire::frame::{
    Arp, Datagram, Echo, EchoKind, Flags, Fragment, FragmentKind, IcmpError, Neighbour, Opaque, Packet, Segment,
    Transport, TunnelKind, Undecoded,
};
use crate::wire::{Address, Mac};

/// TCP's header without options.
const TCP: usize = 20;
/// UDP's header, and of ICMP's what all messages have that are read here.
const SHORT: usize = 8;

/// What the packet carries.
#[inline]
pub(super) fn packet<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    match ip.part {
        Part::First if !has_whole_header(ip) => return Ok(fragment(ip, FragmentKind::Tiny)),
        Part::Whole | Part::First => {}
        Part::Headless => return Ok(fragment(ip, FragmentKind::Headless)),
        Part::Later(1) => return Ok(fragment(ip, FragmentKind::Overlapping)),
        Part::Later(_) => return Ok(other(ip)),
    }
    match ip.protocol {
        ip_number::TCP => tcp(ip),
        ip_number::UDP => udp(ip),
        ip_number::ICMP if ip.source.is_v4() => icmp(ip),
        ip_number::IPV6_ICMP if !ip.source.is_v4() => icmpv6(ip),
        ip_number::SCTP => Ok(opaque(ip, TunnelKind::Sctp)),
        ip_number::ENCAP_SEC => Ok(opaque(ip, TunnelKind::Esp)),
        IpNumber::LAYER2_TUNNELING_PROTOCOL => Ok(opaque(ip, TunnelKind::L2tp)),
        // A tunnel in a tunnel.
        ip_number::IPV4 => Ok(opaque(ip, TunnelKind::Ipip)),
        ip_number::IPV6 => Ok(opaque(ip, TunnelKind::SixInFour)),
        ip_number::GRE => Ok(opaque(ip, TunnelKind::Gre)),
        _ => Ok(other(ip)),
    }
}

/// Whether a first fragment holds its transport header, by its length on the wire.
fn has_whole_header(ip: &IpDatagram<'_>) -> bool {
    let needed = match ip.protocol {
        ip_number::TCP => {
            let words = ip.payload.get(12).map_or(0, |byte| usize::from(byte >> 4));
            TCP.max(words * 4)
        }
        ip_number::UDP | ip_number::ICMP | ip_number::IPV6_ICMP => SHORT,
        _ => 0,
    };
    ip.payload_length >= needed
}

/// A fragment that no honest sender makes.
pub(super) fn fragment<'a>(ip: &IpDatagram<'_>, kind: FragmentKind) -> Packet<'a> {
    let transport = if ip.part == Part::Headless { Transport::Other } else { transport(ip) };
    Packet::Fragment(Fragment { source: ip.source, destination: ip.destination, transport, kind })
}

fn transport(ip: &IpDatagram<'_>) -> Transport {
    match ip.protocol {
        ip_number::TCP => Transport::Tcp,
        ip_number::UDP => Transport::Udp,
        ip_number::ICMP | ip_number::IPV6_ICMP => Transport::Icmp,
        _ => Transport::Other,
    }
}

/// A tunnelled packet whose inside stays closed.
pub(super) fn opaque<'a>(ip: &IpDatagram<'_>, kind: TunnelKind) -> Packet<'a> {
    /// Behind the common header, the first chunk's type (RFC 9260 §3.2).
    const CHUNK: usize = 12;
    let opens = kind == TunnelKind::Sctp && ip.payload.get(CHUNK) == Some(&1);
    Packet::Tunnel(Opaque { kind, source: ip.source, destination: ip.destination, opens })
}

fn other<'a>(ip: &IpDatagram<'_>) -> Packet<'a> {
    Packet::OtherIp { source: ip.source, destination: ip.destination }
}

#[inline]
pub(super) fn tcp<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    let fixed: &[u8; TCP] = ip.payload.first_chunk().ok_or(Undecoded::Tcp)?;
    let header_length = usize::from(fixed[12] >> 4) * 4;
    if header_length > ip.payload_length {
        return Err(Undecoded::Tcp);
    }
    let mut without_options;
    let header = if header_length <= ip.payload.len() {
        TcpHeaderSlice::from_slice(ip.payload)
    } else {
        // The options were cut off; none of them matters here.
        without_options = *fixed;
        without_options[12] = 5 << 4;
        TcpHeaderSlice::from_slice(&without_options)
    }
    .map_err(|_| Undecoded::Tcp)?;
    Ok(Packet::Tcp(Segment {
        source: ip.source,
        destination: ip.destination,
        source_port: header.source_port(),
        destination_port: header.destination_port(),
        flags: Flags(fixed[13]),
        sequence: header.sequence_number(),
        acknowledgement: header.acknowledgment_number(),
        payload_length: u32::try_from(ip.payload_length - header_length).unwrap_or(u32::MAX),
        payload: ip.payload.get(header_length..).unwrap_or_default(),
    }))
}

fn udp<'a>(ip: &IpDatagram<'_>) -> Result<Packet<'a>, Undecoded> {
    let header = UdpHeaderSlice::from_slice(ip.payload).map_err(|_| Undecoded::Udp)?;
    Ok(Packet::Udp(Datagram {
        source: ip.source,
        destination: ip.destination,
        source_port: header.source_port(),
        destination_port: header.destination_port(),
    }))
}

/// ICMP types of RFC 950.
const MASK_REQUEST: u8 = 17;
const MASK_REPLY: u8 = 18;

/// ICMPv6 types of RFC 4620.
const NODE_QUERY: u8 = 139;
const NODE_RESPONSE: u8 = 140;

fn icmp<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    let ([kind, code, ..], embedded) = ip.payload.split_first_chunk::<8>().ok_or(Undecoded::Icmp)?;
    match (*kind, *code) {
        (icmpv4::TYPE_ECHO_REQUEST, _) => Ok(echo(ip, EchoKind::Echo, true)),
        (icmpv4::TYPE_ECHO_REPLY, _) => Ok(echo(ip, EchoKind::Echo, false)),
        (icmpv4::TYPE_TIMESTAMP, _) => Ok(echo(ip, EchoKind::Timestamp, true)),
        (icmpv4::TYPE_TIMESTAMP_REPLY, _) => Ok(echo(ip, EchoKind::Timestamp, false)),
        (MASK_REQUEST, _) => Ok(echo(ip, EchoKind::Mask, true)),
        (MASK_REPLY, _) => Ok(echo(ip, EchoKind::Mask, false)),
        // "Fragmentation needed" reports a path's width, not a failed attempt.
        (icmpv4::TYPE_DEST_UNREACH, icmpv4::CODE_DST_UNREACH_NEED_FRAG) => Ok(other(ip)),
        (icmpv4::TYPE_DEST_UNREACH | icmpv4::TYPE_TIME_EXCEEDED | icmpv4::TYPE_PARAMETER_PROBLEM, _) => {
            let embedded = internet::embedded_ipv4(embedded).map_err(|_| Undecoded::Icmp)?;
            Ok(icmp_error(ip.source, &embedded, (*kind, *code)))
        }
        _ => Ok(other(ip)),
    }
}

fn icmpv6<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    let message = Icmpv6Slice::from_slice(ip.payload).map_err(|_| Undecoded::Icmp)?;
    let body = message.payload();
    let (kind, code) = (message.type_u8(), message.code_u8());
    match kind {
        icmpv6::TYPE_ECHO_REQUEST => Ok(echo(ip, EchoKind::Echo, true)),
        icmpv6::TYPE_ECHO_REPLY => Ok(echo(ip, EchoKind::Echo, false)),
        NODE_QUERY => Ok(echo(ip, EchoKind::Node, true)),
        NODE_RESPONSE => Ok(echo(ip, EchoKind::Node, false)),
        // Packet Too Big (type 2) reports a path's width, not a failed attempt.
        icmpv6::TYPE_DST_UNREACH | icmpv6::TYPE_TIME_EXCEEDED | icmpv6::TYPE_PARAMETER_PROBLEM => {
            let embedded = internet::embedded_ipv6(body).map_err(|_| Undecoded::Icmp)?;
            Ok(icmp_error(ip.source, &embedded, (kind, code)))
        }
        // A hop limit below 255 means that a router passed it on: forged (RFC 4861 §7.1).
        icmpv6::TYPE_NEIGHBOR_SOLICITATION | icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT if ip.hops == 255 => {
            let target = internet::v6(*body.first_chunk().ok_or(Undecoded::Icmp)?).ok_or(Undecoded::Icmp)?;
            let solicitation = kind == icmpv6::TYPE_NEIGHBOR_SOLICITATION;
            Ok(Packet::Neighbour(Neighbour { solicitation, source: ip.source, destination: ip.destination, target }))
        }
        _ => Ok(other(ip)),
    }
}

fn echo<'a>(ip: &IpDatagram<'_>, kind: EchoKind, request: bool) -> Packet<'a> {
    Packet::Echo(Echo { kind, source: ip.source, destination: ip.destination, request })
}

fn icmp_error<'a>(reporter: Address, embedded: &IpDatagram<'_>, kind: (u8, u8)) -> Packet<'a> {
    let transport = transport(embedded);
    let header = if embedded.part.has_header() { embedded.payload } else { &[] };
    let ports = match (transport, header.first_chunk()) {
        (Transport::Tcp | Transport::Udp, Some(ports)) => *ports,
        _ => [0; 4],
    };
    let [a, b, c, d] = ports;
    let sequence = match (transport, header) {
        (Transport::Tcp, [_, _, _, _, e, f, g, h, ..]) => Some(u32::from_be_bytes([*e, *f, *g, *h])),
        _ => None,
    };
    Packet::IcmpError(IcmpError {
        reporter,
        source: embedded.source,
        destination: embedded.destination,
        transport,
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        sequence,
        kind,
    })
}

/// An ARP packet; of operations, only request and reply are of interest.
pub(super) fn arp<'a>(bytes: &[u8]) -> Result<Packet<'a>, Undecoded> {
    let packet = ArpPacketSlice::from_slice(bytes).map_err(|_| Undecoded::Arp)?;
    // Hardware type 6 is how some Token Ring and 802.2 stacks still announce themselves (RFC 1042).
    let ethernet = matches!(packet.hw_addr_type(), ArpHardwareId::ETHERNET | ArpHardwareId::IEEE802);
    if !ethernet || packet.proto_addr_type() != ether_type::IPV4 {
        return Err(Undecoded::Arp);
    }
    let request = match packet.operation() {
        ArpOperation::REQUEST => true,
        ArpOperation::REPLY => false,
        _ => return Ok(Packet::NonIp),
    };
    let (Ok(mac), Ok(sender), Ok(target)) = (
        <[u8; 6]>::try_from(packet.sender_hw_addr()),
        <[u8; 4]>::try_from(packet.sender_protocol_addr()),
        <[u8; 4]>::try_from(packet.target_protocol_addr()),
    ) else {
        return Err(Undecoded::Arp);
    };
    Ok(Packet::Arp(Arp { request, sender_mac: Mac(mac), sender: Address::v4(sender), target: Address::v4(target) }))
}
