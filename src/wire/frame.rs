//! What the core needs to know of a frame: [`Frame`], a borrowed summary of one packet.
//!
//! The types here are the contract between decoding (`wire::decode`) and everything behind it. Building a frame
//! allocates nothing and never panics, whatever the bytes.

use crate::time::Timestamp;
use crate::wire::{Address, Link, Mac};

pub use crate::wire::encapsulation::{Encapsulation, Opaque, Tunnel, TunnelKind};

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
    /// The 802.1Q VLAN id, where the ring's header states it (the kernel strips the tag from the bytes); 0 is a priority
    /// tag that was stripped. In a decoded frame: the outermost tag that names a VLAN, stripped or not, never 0.
    pub vlan: Option<u16>,
    /// In a decoded frame: the VLAN id of the second tag that names one.
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
    /// What the capture knows of it, with the tags found in the bytes.
    pub meta: Meta,
    /// The link-layer sender, where there is one. Inside FabricPath and ERSPAN, the sender on the segment that was mirrored
    /// or carried; inside any other tunnel, who sent the tunnel's packet.
    pub mac_source: Option<Mac>,
    /// The link-layer receiver, likewise.
    pub mac_destination: Option<Mac>,
    /// What stands between the link header and IP, so that the door cannot read it as plain IP.
    pub encapsulation: Encapsulation,
    /// The tunnel that the packet was taken out of.
    pub tunnel: Option<Tunnel>,
    /// Where reading ended in [`Packet::NonIp`]: the ethertype; behind a PPP header the PPP protocol; below 1536 the
    /// length field of an 802.3 frame that carries no Ethernet type.
    pub unread: Option<u16>,
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

/// A fragment that no honest sender makes (RFC 1858, RFC 3128, RFC 7112).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// The transport it belongs to; [`Transport::Other`] where it does not say.
    pub transport: Transport,
    /// What is wrong with it.
    pub kind: FragmentKind,
}

/// What is wrong with a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FragmentKind {
    /// A first fragment that ends within the transport header.
    Tiny,
    /// A fragment at offset 8, within a TCP header.
    Overlapping,
    /// A first fragment that ends before the transport header: within extension headers, or a tunnel's headers.
    Headless,
}

impl FragmentKind {
    /// Every kind, in label order.
    pub const ALL: [FragmentKind; 3] = [FragmentKind::Tiny, FragmentKind::Overlapping, FragmentKind::Headless];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            FragmentKind::Tiny => "tiny",
            FragmentKind::Overlapping => "overlapping",
            FragmentKind::Headless => "headless",
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
    /// An ICMP or ICMPv6 question whether somebody is there, or the reply: echo, timestamp, address mask, node information.
    Echo(Echo),
    /// An ICMP or ICMPv6 error (destination unreachable, time exceeded, parameter problem), with the packet it answers.
    IcmpError(IcmpError),
    /// An ARP request or reply (RFC 826), probes and announcements included.
    Arp(Arp),
    /// A neighbour solicitation or advertisement (RFC 4861).
    Neighbour(Neighbour),
    /// A fragment that no honest sender makes.
    Fragment(Fragment),
    /// A tunnelled packet whose inside is not looked into.
    Tunnel(Opaque),
    /// Other IP: honest later fragments, other transports, other ICMP types.
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

    /// SYN without ACK, whatever else is set: a stack that takes it opens a connection, and one that does not may answer
    /// (RFC 9293 §3.10.7.2).
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN
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

/// What an ICMP question asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EchoKind {
    /// The same back: ICMP types 8 and 0, ICMPv6 128 and 129.
    #[default]
    Echo,
    /// The time: ICMP types 13 and 14.
    Timestamp,
    /// The address mask: ICMP types 17 and 18 (RFC 950).
    Mask,
    /// Names and addresses: ICMPv6 types 139 and 140 (RFC 4620).
    Node,
}

/// An ICMP question or the reply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// What is asked.
    pub kind: EchoKind,
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
    /// Sequence number of the embedded TCP segment, where it is there.
    pub sequence: Option<u32>,
    /// ICMP type and code as on the wire, for the evidence's text.
    pub kind: (u8, u8),
}

impl IcmpError {
    /// Whether it says that the packet did not arrive. A parameter problem does not: who complains of a packet read it.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.kind.0 != if self.source.is_v4() { 12 } else { 4 }
    }
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
