//! Frames of our own making: the question who has an address, and for the lab a bare SYN. Never a payload.

use std::net::{IpAddr, Ipv6Addr};

use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{MutableNdpOptionPacket, MutableNeighborSolicitPacket, NdpOptionTypes};
use pnet::packet::icmpv6::{self, Icmpv6Packet, Icmpv6Types};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Flags, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::tcp::{self, MutableTcpPacket, TcpFlags, TcpOption};
use pnet::util::MacAddr;

use crate::wire::Mac;

/// The longest frame built here.
pub const LONGEST: usize = 14 + 4 + 40 + 32;

const ETHERNET: usize = 14;
const TCP: usize = 24;

/// One end's link and network address.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The hardware address.
    pub mac: Mac,
    /// The IP address.
    pub ip: IpAddr,
}

/// A bare SYN from `from` to `to` (whose hardware address is the next hop's). Gives the frame's length, or `None` if
/// the families differ or `frame` is too short.
pub fn syn(frame: &mut [u8], from: End, to: End, ports: (u16, u16), sequence: u32) -> Option<usize> {
    match (from.ip, to.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = ETHERNET + 20 + TCP;
            let frame = frame.get_mut(..length)?;
            let body = ethernet(frame, from.mac, to.mac, EtherTypes::Ipv4)?;
            let (header, segment) = body.split_at_mut_checked(20)?;
            let mut ip = MutableIpv4Packet::new(header)?;
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length(44);
            ip.set_flags(Ipv4Flags::DontFragment);
            ip.set_ttl(64);
            ip.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
            ip.set_source(source);
            ip.set_destination(destination);
            let sum = ipv4::checksum(&ip.to_immutable());
            ip.set_checksum(sum);
            let mut tcp = bare_syn(segment, ports, sequence)?;
            let sum = tcp::ipv4_checksum(&tcp.to_immutable(), &source, &destination);
            tcp.set_checksum(sum);
            Some(length)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = ETHERNET + 40 + TCP;
            let frame = frame.get_mut(..length)?;
            let body = ethernet(frame, from.mac, to.mac, EtherTypes::Ipv6)?;
            let (header, segment) = body.split_at_mut_checked(40)?;
            ipv6(header, (source, destination), IpNextHeaderProtocols::Tcp, 64, TCP)?;
            let mut tcp = bare_syn(segment, ports, sequence)?;
            let sum = tcp::ipv6_checksum(&tcp.to_immutable(), &source, &destination);
            tcp.set_checksum(sum);
            Some(length)
        }
        _ => None,
    }
}

/// The question who has `target`: an ARP request (RFC 826) or a neighbour solicitation (RFC 4861 §4.3). Who has no
/// address of its own there asks from the unspecified one: an ARP probe (RFC 5227 §1.1), a solicitation without a link-layer
/// address (RFC 4862 §5.4.2); whoever has the address answers these too. Gives the frame's length, or `None` if the families
/// differ or `frame` is too short.
pub fn ask(frame: &mut [u8], from: End, target: IpAddr) -> Option<usize> {
    match (from.ip, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let length = ETHERNET + 28;
            let frame = frame.get_mut(..length)?;
            let body = ethernet(frame, from.mac, Mac([0xff; 6]), EtherTypes::Arp)?;
            let mut arp = MutableArpPacket::new(body)?;
            arp.set_hardware_type(ArpHardwareTypes::Ethernet);
            arp.set_protocol_type(EtherTypes::Ipv4);
            arp.set_hw_addr_len(6);
            arp.set_proto_addr_len(4);
            arp.set_operation(ArpOperations::Request);
            arp.set_sender_hw_addr(mac(from.mac));
            arp.set_sender_proto_addr(source);
            arp.set_target_proto_addr(target);
            Some(length)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let message_length = if source.is_unspecified() { 24 } else { 32 };
            let length = ETHERNET + 40 + message_length;
            let frame = frame.get_mut(..length)?;
            let [.., x, y, z] = target.octets();
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), u16::from_be_bytes([y, z]));
            let body = ethernet(frame, from.mac, Mac([0x33, 0x33, 0xff, x, y, z]), EtherTypes::Ipv6)?;
            let (header, message) = body.split_at_mut_checked(40)?;
            ipv6(header, (source, group), IpNextHeaderProtocols::Icmpv6, 255, message_length)?;
            let mut solicit = MutableNeighborSolicitPacket::new(message)?;
            solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            solicit.set_target_addr(target);
            if !source.is_unspecified() {
                let mut option = MutableNdpOptionPacket::new(message.get_mut(24..)?)?;
                option.set_option_type(NdpOptionTypes::SourceLLAddr);
                option.set_length(1);
                option.set_data(&from.mac.0);
            }
            let sum = icmpv6::checksum(&Icmpv6Packet::new(message)?, &source, &group);
            message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
            Some(length)
        }
        _ => None,
    }
}

/// Puts the frame of this length into a VLAN (IEEE 802.1Q §9.6). Gives its new length, or `None` if `frame` is too short.
pub fn tag(frame: &mut [u8], length: usize, vlan: u16) -> Option<usize> {
    let tagged = length.checked_add(4)?;
    frame.get(..tagged)?;
    frame.copy_within(12..length, 16);
    let [high, low] = (vlan & 0xfff).to_be_bytes();
    frame.get_mut(12..16)?.copy_from_slice(&[0x81, 0x00, high, low]);
    Some(tagged)
}

fn mac(mac: Mac) -> MacAddr {
    MacAddr::from(mac.0)
}

/// Fills the Ethernet header, clears the rest and gives it.
fn ethernet(
    frame: &mut [u8],
    source: Mac,
    destination: Mac,
    kind: pnet::packet::ethernet::EtherType,
) -> Option<&mut [u8]> {
    frame.fill(0);
    let mut header = MutableEthernetPacket::new(frame)?;
    header.set_source(mac(source));
    header.set_destination(mac(destination));
    header.set_ethertype(kind);
    frame.get_mut(ETHERNET..)
}

fn ipv6(
    header: &mut [u8],
    (source, destination): (Ipv6Addr, Ipv6Addr),
    next: pnet::packet::ip::IpNextHeaderProtocol,
    hops: u8,
    payload: usize,
) -> Option<()> {
    let mut ip = MutableIpv6Packet::new(header)?;
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(payload).ok()?);
    ip.set_next_header(next);
    ip.set_hop_limit(hops);
    ip.set_source(source);
    ip.set_destination(destination);
    Some(())
}

fn bare_syn(segment: &mut [u8], (from, to): (u16, u16), sequence: u32) -> Option<MutableTcpPacket<'_>> {
    let mut tcp = MutableTcpPacket::new(segment)?;
    tcp.set_source(from);
    tcp.set_destination(to);
    tcp.set_sequence(sequence);
    tcp.set_data_offset(6);
    tcp.set_flags(TcpFlags::SYN);
    tcp.set_window(64_240);
    tcp.set_options(&[TcpOption::mss(1460)]);
    Some(tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(family: u8) -> (End, End) {
        let (from, to) = if family == 4 { ("10.66.0.66", "10.66.1.9") } else { ("fd66::66", "fd66:0:0:1::9") };
        let end = |last, ip: &str| End { mac: Mac([2, 0, 0, 0, 0, last]), ip: ip.parse().unwrap() };
        (end(1, from), end(2, to))
    }

    #[test]
    fn a_syn_is_what_it_says_and_its_checksums_hold() {
        for family in [4, 6] {
            let (from, to) = ends(family);
            let mut frame = [0; LONGEST];
            let length = syn(&mut frame, from, to, (50_000, 445), 7).unwrap();
            let parsed = etherparse::PacketHeaders::from_ethernet_slice(&frame[..length]).unwrap();
            let tcp = parsed.transport.unwrap().tcp().unwrap();
            assert!(tcp.syn && !tcp.ack);
            assert_eq!((tcp.source_port, tcp.destination_port, tcp.sequence_number), (50_000, 445, 7));
            let sum = match parsed.net.unwrap() {
                etherparse::NetHeaders::Ipv4(ip, _) => {
                    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    tcp.calc_checksum_ipv4(&ip, &[])
                }
                etherparse::NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(&ip, &[]),
                etherparse::NetHeaders::Arp(_) => panic!("not ARP"),
            };
            assert_eq!(tcp.checksum, sum.unwrap());
        }
    }

    #[test]
    fn a_question_names_its_target() {
        let (from, to) = ends(4);
        let mut frame = [0; LONGEST];
        let length = ask(&mut frame, from, to.ip).unwrap();
        assert_eq!(&frame[length - 4..length], &[10, 66, 1, 9]);
        let (from, to) = ends(6);
        let length = ask(&mut frame, from, to.ip).unwrap();
        let parsed = etherparse::PacketHeaders::from_ethernet_slice(&frame[..length]).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(ip, _)) = parsed.net else { panic!("not IPv6") };
        let icmp = parsed.transport.unwrap().icmpv6().unwrap();
        assert_eq!(
            icmp.checksum,
            icmp.icmp_type.calc_checksum(ip.source, ip.destination, parsed.payload.slice()).unwrap()
        );
        assert_eq!(&frame[14 + 40 + 8..14 + 40 + 24], &"fd66:0:0:1::9".parse::<Ipv6Addr>().unwrap().octets());
    }

    #[test]
    fn who_has_no_address_asks_without_claiming_one() {
        let mut frame = [0; LONGEST];
        let from = |ip: &str| End { mac: Mac([2, 0, 0, 0, 0, 1]), ip: ip.parse().unwrap() };
        let length = ask(&mut frame, from("0.0.0.0"), ends(4).1.ip).unwrap();
        assert_eq!(&frame[28..32], &[0; 4]);
        assert_eq!(length, 42);
        let length = ask(&mut frame, from("::"), ends(6).1.ip).unwrap();
        assert_eq!(length, 14 + 40 + 24, "no option");
        let parsed = etherparse::PacketHeaders::from_ethernet_slice(&frame[..length]).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(ip, _)) = parsed.net else { panic!("not IPv6") };
        let icmp = parsed.transport.unwrap().icmpv6().unwrap();
        let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, parsed.payload.slice()).unwrap();
        assert_eq!(icmp.checksum, sum);
    }

    #[test]
    fn a_tagged_question_is_the_same_question_in_a_vlan() {
        let mut frame = [0; LONGEST];
        let (from, to) = ends(4);
        let length = ask(&mut frame, from, to.ip).unwrap();
        let plain = frame[..length].to_vec();
        let tagged = tag(&mut frame, length, 110).unwrap();
        assert_eq!(tagged, length + 4);
        assert_eq!(frame[..12], plain[..12]);
        assert_eq!(frame[12..16], [0x81, 0, 0, 110]);
        assert_eq!(frame[16..tagged], plain[12..]);
        assert_eq!(tag(&mut [0; 44], 42, 1), None);
        let (from, to) = ends(6);
        let length = ask(&mut frame, from, to.ip).unwrap();
        assert!(tag(&mut frame, length, 1).is_some(), "the longest frame has room for it");
    }

    #[test]
    fn unlike_ends_and_short_buffers_are_refused() {
        let (from, to) = (ends(4).0, ends(6).1);
        assert_eq!(syn(&mut [0; LONGEST], from, to, (1, 445), 0), None);
        assert_eq!(syn(&mut [0; 20], ends(4).0, ends(4).1, (1, 445), 0), None);
    }
}
