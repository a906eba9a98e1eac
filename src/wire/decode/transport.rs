//! What IP and Ethernet carry: TCP, UDP, ICMP, ICMPv6 and ARP.

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacketSlice, Icmpv6Slice, TcpHeaderSlice, UdpHeaderSlice, ether_type, icmpv4,
    icmpv6, ip_number,
};

use super::internet::{self, Datagram as IpDatagram};
use crate::wire::frame::{Arp, Datagram, Echo, Flags, IcmpError, Neighbour, Packet, Segment, Transport, Undecoded};
use crate::wire::{Address, Mac};

/// What the packet carries.
#[inline]
pub(super) fn packet<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    if ip.later_fragment {
        return Ok(other(ip));
    }
    match ip.protocol {
        ip_number::TCP => tcp(ip),
        ip_number::UDP => udp(ip),
        ip_number::ICMP if ip.source.is_v4() => icmp(ip),
        ip_number::IPV6_ICMP if !ip.source.is_v4() => icmpv6(ip),
        _ => Ok(other(ip)),
    }
}

fn other<'a>(ip: &IpDatagram<'_>) -> Packet<'a> {
    Packet::OtherIp { source: ip.source, destination: ip.destination }
}

#[inline]
fn tcp<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    const FIXED: usize = 20;
    let fixed: &[u8; FIXED] = ip.payload.first_chunk().ok_or(Undecoded::Tcp)?;
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

fn icmp<'a>(ip: &IpDatagram<'a>) -> Result<Packet<'a>, Undecoded> {
    let ([kind, code, ..], embedded) = ip.payload.split_first_chunk::<8>().ok_or(Undecoded::Icmp)?;
    match (*kind, *code) {
        (icmpv4::TYPE_ECHO_REQUEST, _) => Ok(echo(ip, true)),
        (icmpv4::TYPE_ECHO_REPLY, _) => Ok(echo(ip, false)),
        // "Fragmentation needed" tells of a path's width, not of a failed attempt.
        (icmpv4::TYPE_DEST_UNREACH, icmpv4::CODE_DST_UNREACH_NEED_FRAG) => Ok(other(ip)),
        (icmpv4::TYPE_DEST_UNREACH | icmpv4::TYPE_TIME_EXCEEDED, _) => {
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
        icmpv6::TYPE_ECHO_REQUEST => Ok(echo(ip, true)),
        icmpv6::TYPE_ECHO_REPLY => Ok(echo(ip, false)),
        // Packet Too Big and Parameter Problem (types 2, 4) come from or behind a destination that can be reached.
        icmpv6::TYPE_DST_UNREACH | icmpv6::TYPE_TIME_EXCEEDED => {
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

fn echo<'a>(ip: &IpDatagram<'_>, request: bool) -> Packet<'a> {
    Packet::Echo(Echo { source: ip.source, destination: ip.destination, request })
}

fn icmp_error<'a>(reporter: Address, embedded: &IpDatagram<'_>, kind: (u8, u8)) -> Packet<'a> {
    let transport = match embedded.protocol {
        ip_number::TCP => Transport::Tcp,
        ip_number::UDP => Transport::Udp,
        ip_number::ICMP | ip_number::IPV6_ICMP => Transport::Icmp,
        _ => Transport::Other,
    };
    let ports = match (transport, embedded.payload.first_chunk()) {
        (Transport::Tcp | Transport::Udp, Some(ports)) if !embedded.later_fragment => *ports,
        _ => [0; 4],
    };
    let [a, b, c, d] = ports;
    Packet::IcmpError(IcmpError {
        reporter,
        source: embedded.source,
        destination: embedded.destination,
        transport,
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
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
