//! What may stand around a packet: tags and labels before its network header, and tunnels.

use crate::wire::Address;

/// What stands between the link header and the network header, beyond a single VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encapsulation {
    /// Nothing, or one VLAN tag.
    #[default]
    None,
    /// Two VLAN tags or more (IEEE 802.1ad), or one of type 0x9100, which the kernel does not take off.
    Tags,
    /// A PPPoE session (RFC 2516).
    Pppoe,
    /// MPLS labels (RFC 3032).
    Mpls,
    /// An 802.3 length and LLC/SNAP (RFC 1042).
    Snap,
    /// Cisco's VN-Tag, a draft of IEEE 802.1BR (ethertype 0x8926).
    VnTag,
    /// Cisco metadata: a security group tag (ethertype 0x8909).
    CiscoMetadata,
    /// FabricPath (ethertype 0x8903).
    FabricPath,
}

impl Encapsulation {
    /// All of them but [`Encapsulation::None`], in label order.
    pub const ALL: [Encapsulation; 7] = [
        Encapsulation::Tags,
        Encapsulation::Pppoe,
        Encapsulation::Mpls,
        Encapsulation::Snap,
        Encapsulation::VnTag,
        Encapsulation::CiscoMetadata,
        Encapsulation::FabricPath,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Encapsulation::None => "none",
            Encapsulation::Tags => "tags",
            Encapsulation::Pppoe => "pppoe",
            Encapsulation::Mpls => "mpls",
            Encapsulation::Snap => "snap",
            Encapsulation::VnTag => "vn_tag",
            Encapsulation::CiscoMetadata => "cisco_metadata",
            Encapsulation::FabricPath => "fabricpath",
        }
    }
}

/// A way to carry packets inside of packets. Each is a label of a metric, so the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IPv4 in IP (RFC 2003, RFC 2473): IP protocol 4.
    Ipip,
    /// IPv6 in IP (RFC 4213, RFC 2473): IP protocol 41.
    SixInFour,
    /// GRE (RFC 2784, RFC 2890), with IP or Ethernet inside.
    Gre,
    /// ERSPAN types I to III: mirrored Ethernet in GRE.
    Erspan,
    /// VXLAN (RFC 7348): UDP 4789, and 8472 as Linux had it first.
    Vxlan,
    /// Geneve (RFC 8926): UDP 6081.
    Geneve,
    /// Teredo (RFC 4380): UDP 3544.
    Teredo,
    /// SCTP (RFC 9260), which carries streams rather than packets, and hides them alike.
    Sctp,
    /// IPsec ESP (RFC 4303).
    Esp,
    /// L2TPv3 over IP (RFC 3931): IP protocol 115.
    L2tp,
}

impl TunnelKind {
    /// Every kind, in label order.
    pub const ALL: [TunnelKind; 10] = [
        TunnelKind::Ipip,
        TunnelKind::SixInFour,
        TunnelKind::Gre,
        TunnelKind::Erspan,
        TunnelKind::Vxlan,
        TunnelKind::Geneve,
        TunnelKind::Teredo,
        TunnelKind::Sctp,
        TunnelKind::Esp,
        TunnelKind::L2tp,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            TunnelKind::Ipip => "ipip",
            TunnelKind::SixInFour => "6in4",
            TunnelKind::Gre => "gre",
            TunnelKind::Erspan => "erspan",
            TunnelKind::Vxlan => "vxlan",
            TunnelKind::Geneve => "geneve",
            TunnelKind::Teredo => "teredo",
            TunnelKind::Sctp => "sctp",
            TunnelKind::Esp => "esp",
            TunnelKind::L2tp => "l2tp",
        }
    }
}

/// The tunnel that a packet was taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its kind.
    pub kind: TunnelKind,
    /// Who sent the outer packet.
    pub outer_source: Address,
    /// Where the tunnel ends.
    pub outer_destination: Address,
}

/// A tunnelled packet whose inside is not looked into, or cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// The tunnel's kind.
    pub kind: TunnelKind,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// It begins an association, as far as the packet shows: an SCTP INIT. Of opaque packets that do not, and are not
    /// small, the kernel's filter passes one in [`Opaque::ONE_IN`].
    pub opens: bool,
}

impl Opaque {
    /// How opaque packets are sampled live.
    pub const ONE_IN: u32 = 1024;
}
