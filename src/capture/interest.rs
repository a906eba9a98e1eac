//! Which frames the core wants to see.

use crate::detect::settings::Services;
use crate::wire::Frame;
use crate::wire::frame::{Datagram, Direction, Flags, Packet, Segment, Transport};

/// TCP ports whose streams are looked into, both ways: DCE/RPC endpoint mapper, SMB over NetBIOS, SMB.
pub(super) const INSPECTED: [u16; 3] = [135, 139, 445];

/// A segment of data is taken if it is no longer: requests and single messages are, bulk is not. Just below what an
/// IPv4 host must accept whole (RFC 791: 576 bytes, less headers).
pub(super) const SMALL: u32 = 512;

/// A broadcast is taken as a sign of life if its frame is no longer: DHCP, NetBIOS, mDNS are; multicast video is not.
pub(super) const SMALL_BROADCAST: u32 = 600;

/// Any of these makes a segment tell of the connection itself.
pub(super) const CONTROL: u8 = Flags::SYN | Flags::FIN | Flags::RST;

/// How SMB messages begin, behind four bytes of NetBIOS or direct TCP header: SMB1, SMB2, compressed, encrypted.
pub(super) const SMB: [u32; 4] = [0xfc53_4d42, 0xfd53_4d42, 0xfe53_4d42, 0xff53_4d42];

/// How connection-oriented DCE/RPC begins: version 5.0 (C706 §12.6.3.1).
pub(super) const DCE_RPC: u16 = 0x0500;

/// What the core wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    lateral: Services,
    inspected: Services,
}

impl Interest {
    /// The lateral services; whether SMB and DCE/RPC are looked into; and TCP ports that the endpoint mapper gave out,
    /// to be looked into as well.
    #[must_use]
    pub fn new(lateral: &Services, inspect_smb: bool, extra_tcp_ports: &[u16]) -> Self {
        let fixed: &[u16] = if inspect_smb { &INSPECTED } else { &[] };
        let inspected: Vec<_> = fixed.iter().chain(extra_tcp_ports).map(|&port| (Transport::Tcp, port)).collect();
        Interest { lateral: lateral.clone(), inspected: Services::new(&inspected) }
    }

    /// The lateral services.
    #[must_use]
    pub fn lateral(&self) -> &Services {
        &self.lateral
    }

    /// Whether the core wants to see this frame. What the gateway itself sends is of interest only where it answers or
    /// asks: such answers may never be seen coming in, if the other side's interface is not a protected one.
    #[must_use]
    pub fn takes(&self, frame: &Frame<'_>) -> bool {
        let out = frame.meta.direction == Direction::Out;
        match &frame.packet {
            Packet::Tcp(segment) => self.takes_segment(segment, out),
            Packet::Udp(datagram) => self.takes_datagram(frame, *datagram, out),
            Packet::Echo(echo) => !out || !echo.request,
            Packet::IcmpError(_) | Packet::Arp(_) | Packet::Neighbour(_) => true,
            Packet::OtherIp { .. } | Packet::NonIp => false,
        }
    }

    fn takes_segment(&self, segment: &Segment<'_>, out: bool) -> bool {
        let flags = segment.flags;
        if flags.0 & CONTROL != 0 {
            return !out || flags.is_rst() || flags.0 & (Flags::SYN | Flags::ACK) == Flags::SYN | Flags::ACK;
        }
        if out || segment.payload_length == 0 {
            return false;
        }
        if self.inspected.has_tcp(segment.destination_port) || self.inspected.has_tcp(segment.source_port) {
            return segment.payload_length <= SMALL || begins_message(segment.payload);
        }
        self.lateral.has_tcp(segment.destination_port) && segment.payload_length <= SMALL
    }

    fn takes_datagram(&self, frame: &Frame<'_>, datagram: Datagram, out: bool) -> bool {
        if out {
            return self.lateral.has_udp(datagram.source_port);
        }
        if self.lateral.has_udp(datagram.destination_port) || self.lateral.has_udp(datagram.source_port) {
            return true;
        }
        let to_many = match frame.mac_destination {
            Some(mac) => mac.0[0] & 1 == 1,
            None => is_group(datagram.destination.bits()),
        };
        to_many && frame.meta.original_length <= SMALL_BROADCAST
    }

    pub(super) fn lateral_tcp(&self) -> Vec<u32> {
        ports(&self.lateral, Transport::Tcp)
    }

    pub(super) fn lateral_udp(&self) -> Vec<u32> {
        ports(&self.lateral, Transport::Udp)
    }

    pub(super) fn inspected_tcp(&self) -> Vec<u32> {
        ports(&self.inspected, Transport::Tcp)
    }
}

/// Sorted and distinct, as the assembler wants them.
pub(super) fn ports(services: &Services, wanted: Transport) -> Vec<u32> {
    let written = services.written().iter();
    let mut ports: Vec<u32> =
        written.filter(|(transport, _)| *transport == wanted).map(|&(_, port)| u32::from(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether a payload begins with an SMB message or a DCE/RPC fragment.
fn begins_message(payload: &[u8]) -> bool {
    match payload {
        [a, b, _, _, magic @ ..] => {
            u16::from_be_bytes([*a, *b]) == DCE_RPC
                || magic.first_chunk().is_some_and(|magic| SMB.contains(&u32::from_be_bytes(*magic)))
        }
        _ => false,
    }
}

/// IPv4 class D and above (the limited broadcast among them), or IPv6 multicast.
fn is_group(bits: u128) -> bool {
    if bits >> 32 == 0xffff { bits & 0xffff_ffff >= 0xe000_0000 } else { bits >> 120 == 0xff }
}
