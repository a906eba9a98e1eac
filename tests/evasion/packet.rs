//! Packets of our own making, byte by byte: what no library builds because no honest host sends it.

use std::net::IpAddr;

use firedoor::wire::Mac;

/// TCP's flags (RFC 9293 §3.1).
pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
    pub const URG: u8 = 32;
}

/// Protocol numbers (IANA).
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
}

/// Ethertypes (IANA).
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const PPPOE: u16 = 0x8864;
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// Who sends a packet, and to whom.
pub type Ends = (IpAddr, IpAddr);

/// A TCP segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment<'a> {
    pub ports: (u16, u16),
    pub flags: u8,
    pub sequence: u32,
    pub acknowledged: u32,
    /// A multiple of four bytes.
    pub options: &'a [u8],
    pub data: &'a [u8],
}

impl Segment<'_> {
    /// Its bytes between these ends.
    pub fn bytes(&self, ends: Ends) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledged.to_be_bytes());
        bytes.push(u8::try_from(5 + self.options.len() / 4).unwrap() << 4);
        bytes.push(self.flags);
        bytes.extend(64_240_u16.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.options);
        bytes.extend(self.data);
        sealed(bytes, 16, ends, protocol::TCP)
    }
}

/// A UDP datagram (RFC 768).
pub fn udp(ends: Ends, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(u16::try_from(8 + data.len()).unwrap().to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(data);
    sealed(bytes, 6, ends, protocol::UDP)
}

/// An ICMP message of this type (RFC 792).
pub fn icmp(kind: u8, number: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 1];
    bytes.extend(number.to_be_bytes());
    bytes.extend(data);
    let sum = checksum(words(&bytes));
    bytes[2..4].copy_from_slice(&sum);
    bytes
}

/// An IPv4 packet (RFC 791); `fragment` is the field of flags and offset.
pub fn ipv4((from, to): Ends, protocol: u8, (number, fragment): (u16, u16), options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    bytes.extend(u16::try_from(header + payload.len()).unwrap().to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(octets(from));
    bytes.extend(octets(to));
    bytes.extend(options);
    let sum = checksum(words(&bytes));
    bytes[10..12].copy_from_slice(&sum);
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet (RFC 8200); `next` is the first header behind its own.
pub fn ipv6((from, to): Ends, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend([next, if next == protocol::ICMPV6 { 255 } else { 64 }]);
    bytes.extend(octets(from));
    bytes.extend(octets(to));
    bytes.extend(payload);
    bytes
}

/// An ARP reply (RFC 826) that answers for `from`, as a frame.
pub fn reply((from, card): (IpAddr, Mac), (to, target): (IpAddr, Mac)) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 2];
    body.extend(card.0);
    body.extend(octets(from));
    body.extend(target.0);
    body.extend(octets(to));
    ethernet(card, target, ethertype::ARP, &body)
}

/// A neighbour advertisement that answers for `from` (RFC 4861 §4.4), as a frame.
pub fn advertisement((from, card): (IpAddr, Mac), (to, target): (IpAddr, Mac)) -> Vec<u8> {
    let mut bytes = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    bytes.extend(octets(from));
    bytes.extend([2, 1]);
    bytes.extend(card.0);
    let message = sealed(bytes, 2, (from, to), protocol::ICMPV6);
    ethernet(card, target, ethertype::IPV6, &ipv6((from, to), protocol::ICMPV6, &message))
}

/// An Ethernet frame.
pub fn ethernet(from: Mac, to: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frame with these VLAN tags, the outermost first (IEEE 802.1Q §9).
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for (kind, vlan) in tags {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(vlan.to_be_bytes());
    }
    bytes.extend(&frame[12..]);
    bytes
}

/// An address in network order.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Writes the checksum over the pseudo-header and the bytes (RFC 1071, RFC 8200 §8.1) to where it belongs.
fn sealed(mut bytes: Vec<u8>, at: usize, (from, to): Ends, protocol: u8) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    let sum = checksum(words(&octets(from)) + words(&octets(to)) + u32::from(protocol) + length + words(&bytes));
    bytes[at..at + 2].copy_from_slice(&sum);
    bytes
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn checksum(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

#[test]
fn packets_are_what_an_independent_reader_finds_in_them() {
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    for ends in [("10.66.0.66", "10.66.3.9"), ("fd66::66", "fd66:0:0:3::9")] {
        let ends: Ends = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
        let segment =
            Segment { ports: (50_000, 445), flags: flag::SYN, sequence: 7, data: b"odd", ..Segment::default() };
        let bytes = segment.bytes(ends);
        let packet = match ends.0 {
            IpAddr::V4(_) => ipv4(ends, protocol::TCP, (1, 0), &[], &bytes),
            IpAddr::V6(_) => ipv6(ends, protocol::TCP, &bytes),
        };
        let parsed = PacketHeaders::from_ip_slice(&packet).unwrap();
        let Some(TransportHeader::Tcp(tcp)) = parsed.transport else { panic!("not TCP") };
        assert!(tcp.syn && !tcp.ack && tcp.destination_port == 445);
        let sum = match parsed.net.unwrap() {
            NetHeaders::Ipv4(ip, _) => {
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                tcp.calc_checksum_ipv4(&ip, b"odd")
            }
            NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(&ip, b"odd"),
            NetHeaders::Arp(_) => panic!("not IP"),
        };
        assert_eq!(tcp.checksum, sum.unwrap());
    }
}
