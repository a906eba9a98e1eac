//! What the core needs to know of a frame: [`Frame`], a borrowed summary of one packet.
//!
//! The types here are the contract between decoding (`wire::decode`) and everything behind it. Building a frame
//! allocates nothing and never panics, whatever the bytes.

use crate::suspect::Link;
use crate::time::Timestamp;
use crate::wire::{Address, Mac};

/// Which way a frame crossed the interface it was captured on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came in from the network (or the capture does not say).
    #[default]
    In,
    /// The gateway itself sent it, or forwarded it out of this interface.
    Out,
}

/// What the capture knows of a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// When it was seen.
    pub at: Timestamp,
    /// The interface's index in the kernel live; in a capture file, the interface's number in it.
    pub interface: u32,
    /// In or out.
    pub direction: Direction,
    /// The 802.1Q VLAN id, where the ring's header told it (the kernel strips the tag from the bytes).
    pub vlan: Option<u16>,
    /// The VLAN id of a second tag behind it, found in the bytes.
    pub inner_vlan: Option<u16>,
    /// Length on the wire, in bytes; the captured bytes may be fewer.
    pub original_length: u32,
}

/// The layer below IP, as libpcap's link types name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// LINKTYPE_ETHERNET (1).
    Ethernet,
    /// LINKTYPE_RAW (101, 12, 14), IPV4 (228), IPV6 (229): an IP header comes first.
    RawIp,
    /// LINKTYPE_NULL (0), the byte order of the host that captured.
    Null,
    /// LINKTYPE_LOOP (108), big-endian.
    Loop,
    /// LINKTYPE_LINUX_SLL (113).
    LinuxSll,
    /// LINKTYPE_LINUX_SLL2 (276).
    LinuxSll2,
}

/// One decoded packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the capture knows of it; `vlan` also holds the outermost tag found in the bytes.
    pub meta: Meta,
    /// The link-layer sender, where there is one.
    pub mac_source: Option<Mac>,
    /// The link-layer receiver, where there is one.
    pub mac_destination: Option<Mac>,
    /// What it carries.
    pub packet: Packet<'a>,
}

impl Frame<'_> {
    /// The link it was seen on.
    #[must_use]
    pub fn link(&self) -> Link {
        Link {
            interface: self.meta.interface,
            outer: self.meta.vlan.unwrap_or(0),
            inner: self.meta.inner_vlan.unwrap_or(0),
        }
    }
}

/// What a frame carries, as far as the core cares.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// A TCP segment with at least its ports and flags.
    Tcp(Segment<'a>),
    /// A UDP datagram.
    Udp(Datagram),
    /// An ICMP or ICMPv6 echo request or reply.
    Echo(Echo),
    /// An ICMP or ICMPv6 destination-unreachable or time-exceeded error, with the packet it answers.
    IcmpError(IcmpError),
    /// An ARP request or reply (RFC 826), probes and announcements included.
    Arp(Arp),
    /// A neighbour solicitation or advertisement (RFC 4861).
    Neighbour(Neighbour),
    /// Other IP: later fragments, other transports, other ICMP types.
    OtherIp {
        /// Source address.
        source: Address,
        /// Destination address.
        destination: Address,
    },
    /// Not IP, not ARP.
    NonIp,
}

/// TCP flags, as on the wire (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// FIN bit.
    pub const FIN: u8 = 0x01;
    /// SYN bit.
    pub const SYN: u8 = 0x02;
    /// RST bit.
    pub const RST: u8 = 0x04;
    /// PSH bit.
    pub const PSH: u8 = 0x08;
    /// ACK bit.
    pub const ACK: u8 = 0x10;

    /// A connection attempt: SYN without ACK, RST or FIN.
    #[must_use]
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// An answer to one: SYN and ACK, no RST.
    #[must_use]
    pub const fn is_syn_ack(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN | Self::ACK
    }

    /// RST set.
    #[must_use]
    pub const fn is_rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// FIN set.
    #[must_use]
    pub const fn is_fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// ACK set.
    #[must_use]
    pub const fn is_ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Flags.
    pub flags: Flags,
    /// Sequence number of the first payload byte (of the SYN, if it is one).
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Payload bytes on the wire, by the IP header's length; the captured payload may be shorter.
    pub payload_length: u32,
    /// The captured payload.
    pub payload: &'a [u8],
}

/// A UDP datagram; its payload is of no interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// A request; otherwise a reply.
    pub request: bool,
}

/// Transport protocols that the core distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// ICMP (1) or ICMPv6 (58).
    Icmp,
    /// Anything else.
    Other,
}

/// An ICMP error and the packet it embeds (RFC 792, RFC 4443 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who reports it: a router, or the destination itself.
    pub reporter: Address,
    /// Source of the embedded packet: the host whose attempt failed.
    pub source: Address,
    /// Destination of the embedded packet.
    pub destination: Address,
    /// Transport of the embedded packet.
    pub transport: Transport,
    /// Embedded source port; 0 where it was cut off.
    pub source_port: u16,
    /// Embedded destination port; 0 where it was cut off.
    pub destination_port: u16,
    /// ICMP type and code as on the wire, for the evidence's text.
    pub kind: (u8, u8),
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// A request (operation 1); otherwise a reply (2).
    pub request: bool,
    /// Sender's hardware address, as the ARP payload states it.
    pub sender_mac: Mac,
    /// Sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Address,
    /// The address asked for.
    pub target: Address,
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// A solicitation (type 135); otherwise an advertisement (136).
    pub solicitation: bool,
    /// IPv6 source; unspecified in duplicate address detection.
    pub source: Address,
    /// IPv6 destination; of an advertisement that answers, who asked.
    pub destination: Address,
    /// The target address asked for, or advertised.
    pub target: Address,
}

/// Why a frame could not be decoded. Each is a label of the `undecoded` metric, so the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Undecoded {
    /// The link header is cut or malformed.
    Link,
    /// The IP header is cut or malformed.
    Ip,
    /// The IPv6 extension headers (or IPv4 AH) are cut or malformed.
    Extension,
    /// The TCP header is cut or malformed.
    Tcp,
    /// The UDP header is cut or malformed.
    Udp,
    /// The ICMP header or the embedded packet is cut or malformed.
    Icmp,
    /// The ARP packet is cut, or not IPv4 over Ethernet.
    Arp,
}

impl Undecoded {
    /// Every reason, in label order.
    pub const ALL: [Undecoded; 7] = [
        Undecoded::Link,
        Undecoded::Ip,
        Undecoded::Extension,
        Undecoded::Tcp,
        Undecoded::Udp,
        Undecoded::Icmp,
        Undecoded::Arp,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Undecoded::Link => "link",
            Undecoded::Ip => "ip",
            Undecoded::Extension => "extension",
            Undecoded::Tcp => "tcp",
            Undecoded::Udp => "udp",
            Undecoded::Icmp => "icmp",
            Undecoded::Arp => "arp",
        }
    }
}
