//! Which frames the core wants to see.

use crate::inspect::protocol::{begins_anywhere, inspected_ports, is_inspected, openings};
use crate::wire::frame::{Datagram, Direction, Flags, Packet, Segment, Transport};
use crate::wire::{Frame, Services};

/// A segment of data is taken if it is no longer: requests and single messages are, bulk is not. Just below what an
/// IPv4 host must accept whole (RFC 791: 576 bytes, less headers).
pub(super) const SMALL: u32 = 512;

/// A broadcast is taken as a sign of life if its frame is no longer: DHCP, NetBIOS, mDNS are; multicast video is not.
pub(super) const SMALL_BROADCAST: u32 = 600;

/// Any of these makes a segment one about the connection itself.
pub(super) const CONTROL: u8 = Flags::SYN | Flags::FIN | Flags::RST;

/// What the core wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturePolicy {
    lateral: Services,
    inspect: bool,
}

impl CapturePolicy {
    /// The lateral services, and whether SMB and DCE/RPC are looked into. DCE/RPC is known by how it begins, so the
    /// ports that an endpoint mapper gives out need not be.
    #[must_use]
    pub fn new(lateral: &Services, inspect_smb: bool) -> Self {
        CapturePolicy { lateral: lateral.clone(), inspect: inspect_smb }
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
            // Taken or sent by the gateway's own stack, which reassembles and unpacks for itself.
            Packet::Fragment(_) | Packet::Tunnel(_) => !out,
            Packet::OtherIp { .. } | Packet::NonIp => false,
        }
    }

    fn takes_segment(&self, segment: &Segment<'_>, out: bool) -> bool {
        let flags = segment.flags;
        // Without ACK it is a probe: no connection has such segments (RFC 9293 §3.10.7.4).
        if flags.0 & CONTROL != 0 || !flags.is_ack() {
            return !out || flags.is_rst() || flags.0 & (Flags::SYN | Flags::ACK) == Flags::SYN | Flags::ACK;
        }
        if out {
            return false;
        }
        if segment.payload_length == 0 {
            // The end of a handshake, which shows that the client is where it says.
            return self.lateral.has_tcp(segment.destination_port);
        }
        let small = segment.payload_length <= SMALL;
        if self.inspect {
            if is_inspected(segment.destination_port) || is_inspected(segment.source_port) {
                return small || openings().any(|opening| opening.begins(segment.payload));
            }
            if begins_anywhere(segment.payload) {
                return true;
            }
        }
        small && self.lateral.has_tcp(segment.destination_port)
    }

    fn takes_datagram(&self, frame: &Frame<'_>, datagram: Datagram, out: bool) -> bool {
        if out {
            return self.lateral.has_udp(datagram.source_port);
        }
        if self.lateral.has_udp(datagram.destination_port) || self.lateral.has_udp(datagram.source_port) {
            return true;
        }
        let to_many = match frame.mac_destination {
            Some(mac) if frame.tunnel.is_none() => mac.0[0] & 1 == 1,
            _ => is_group(datagram.destination.bits()),
        };
        // The first datagram to a host is a first contact on any port; which are first, the filter cannot know.
        !to_many || frame.meta.original_length <= SMALL_BROADCAST
    }

    pub(super) fn lateral_tcp(&self) -> Vec<u32> {
        ports(&self.lateral, Transport::Tcp)
    }

    pub(super) fn lateral_udp(&self) -> Vec<u32> {
        ports(&self.lateral, Transport::Udp)
    }

    pub(super) fn inspects(&self) -> bool {
        self.inspect
    }

    pub(super) fn inspected_tcp(&self) -> Vec<u32> {
        let mut ports: Vec<u32> = if self.inspect { inspected_ports().map(u32::from).collect() } else { Vec::new() };
        ports.sort_unstable();
        ports
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

/// IPv4 class D and above (the limited broadcast among them), or IPv6 multicast.
fn is_group(bits: u128) -> bool {
    if bits >> 32 == 0xffff { bits & 0xffff_ffff >= 0xe000_0000 } else { bits >> 120 == 0xff }
}
