//! The link layer and what stands between it and IP (tags, labels, sessions): down to which network protocol follows,
//! and where.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice, ether_type};

use crate::wire::Mac;
use crate::wire::frame::{Encapsulation, LinkKind, Undecoded};

/// The network protocol a link header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Ipv4,
    Ipv6,
    Arp,
    Other,
}

/// A frame with its link header taken off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub network: Network,
    pub mac_source: Option<Mac>,
    pub mac_destination: Option<Mac>,
    /// The first tags that name a VLAN, from outside; priority tags (id 0) name none (IEEE 802.1Q §9.6).
    pub vlans: [Option<u16>; 2],
    /// How many tags there are, priority tags among them.
    pub tags: u8,
    /// The first thing there is beside tags.
    pub encapsulation: Encapsulation,
    /// Where reading ended, of [`Network::Other`]: see `Frame::unread`.
    pub unread: u16,
    pub payload: &'a [u8],
}

/// More tags, labels and sessions than anybody stacks; what lies deeper is [`Network::Other`].
const LAYERS: usize = 4;

/// Labels of one MPLS stack that are followed.
const LABELS: usize = 8;

/// Ethertypes that etherparse does not name, and what 802.3 allows as a length.
pub(crate) mod kind {
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE: u16 = 0x8864;
    pub const FABRICPATH: u16 = 0x8903;
    pub const CISCO_METADATA: u16 = 0x8909;
    pub const VN_TAG: u16 = 0x8926;
    /// The kernel does not take this tag off.
    pub const OLD_TAG: u16 = 0x9100;
    /// Ethernet inside of something (transparent Ethernet bridging).
    pub const BRIDGED: u16 = 0x6558;
    /// Mirrored frames in GRE: types I and II, and III.
    pub const ERSPAN: u16 = 0x88be;
    pub const ERSPAN_III: u16 = 0x22eb;
    pub const LAST_LENGTH: u16 = 1500;
}

/// A frame with IPv4 right behind its Ethernet header, if this is one.
#[inline]
pub(super) fn plain_ipv4(bytes: &[u8]) -> Option<Opened<'_>> {
    let header = Ethernet2HeaderSlice::from_slice(bytes).ok()?;
    if header.ether_type() != ether_type::IPV4 {
        return None;
    }
    let opened = plain(Network::Ipv4, bytes.get(header.slice().len()..)?);
    Some(Opened { mac_source: Some(Mac(header.source())), mac_destination: Some(Mac(header.destination())), ..opened })
}

/// Takes the link header off `bytes`.
#[inline]
pub(super) fn open(kind: LinkKind, bytes: &[u8]) -> Result<Opened<'_>, Undecoded> {
    match kind {
        LinkKind::Ethernet => {
            let header = Ethernet2HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Link)?;
            let payload = bytes.get(header.slice().len()..).unwrap_or_default();
            let macs = (Some(Mac(header.source())), Some(Mac(header.destination())));
            layers(header.ether_type().0, payload, macs)
        }
        LinkKind::RawIp => {
            let network = match bytes.first().map(|byte| byte >> 4) {
                Some(4) => Network::Ipv4,
                Some(6) => Network::Ipv6,
                _ => return Err(Undecoded::Ip),
            };
            Ok(plain(network, bytes))
        }
        LinkKind::Null | LinkKind::Loop => {
            let (family, payload) = bytes.split_first_chunk::<4>().ok_or(Undecoded::Link)?;
            // NULL is in the capturing host's byte order, which the file does not always state; families are small.
            let family = u32::from_le_bytes(*family).min(u32::from_be_bytes(*family));
            Ok(plain(address_family(family), payload))
        }
        LinkKind::LinuxSll => {
            // Packet type, ARP hardware type, address length, address (8), protocol.
            let (header, payload) = bytes.split_first_chunk::<16>().ok_or(Undecoded::Link)?;
            let [_, _, _, _, length_high, length_low, address @ .., high, low] = header;
            let sender = sender(u16::from_be_bytes([*length_high, *length_low]), *address);
            layers(u16::from_be_bytes([*high, *low]), payload, (sender, None))
        }
        LinkKind::LinuxSll2 => {
            // Protocol, reserved (2), interface (4), ARP hardware type (2), packet type, address length, address (8).
            let (header, payload) = bytes.split_first_chunk::<20>().ok_or(Undecoded::Link)?;
            let [high, low, _, _, _, _, _, _, _, _, _, length, address @ ..] = header;
            layers(u16::from_be_bytes([*high, *low]), payload, (sender(u16::from(*length), *address), None))
        }
    }
}

#[inline]
pub(super) fn plain(network: Network, payload: &[u8]) -> Opened<'_> {
    Opened {
        network,
        mac_source: None,
        mac_destination: None,
        vlans: [None; 2],
        tags: 0,
        encapsulation: Encapsulation::None,
        unread: 0,
        payload,
    }
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs and macOS.
fn address_family(family: u32) -> Network {
    match family {
        2 => Network::Ipv4,
        10 | 24 | 28 | 30 => Network::Ipv6,
        _ => Network::Other,
    }
}

fn sender(length: u16, address: [u8; 8]) -> Option<Mac> {
    let [a, b, c, d, e, f, _, _] = address;
    (length == 6).then_some(Mac([a, b, c, d, e, f]))
}

/// The network protocol that an ethertype names outright.
#[inline]
fn named(ethertype: u16) -> Option<Network> {
    match etherparse::EtherType(ethertype) {
        ether_type::IPV4 => Some(Network::Ipv4),
        ether_type::IPV6 => Some(Network::Ipv6),
        ether_type::ARP => Some(Network::Arp),
        _ => None,
    }
}

/// Goes on from an ethertype: through all that may stand before IP.
#[inline]
pub(super) fn layers(
    ethertype: u16,
    payload: &[u8],
    macs: (Option<Mac>, Option<Mac>),
) -> Result<Opened<'_>, Undecoded> {
    match named(ethertype) {
        Some(network) => Ok(Opened { mac_source: macs.0, mac_destination: macs.1, ..plain(network, payload) }),
        None => encapsulated(ethertype, payload, macs),
    }
}

/// What one layer is taken off to.
enum Inside<'a> {
    Ethertype(u16, &'a [u8]),
    Network(Network, &'a [u8]),
    /// Nothing that is read; the number stands for it.
    Unread(u16),
}

#[cold]
fn encapsulated(
    ethertype: u16,
    payload: &[u8],
    (mac_source, mac_destination): (Option<Mac>, Option<Mac>),
) -> Result<Opened<'_>, Undecoded> {
    let mut opened = Opened { mac_source, mac_destination, unread: ethertype, ..plain(Network::Other, payload) };
    for _ in 0..LAYERS {
        let ethertype = opened.unread;
        if let Some(network) = named(ethertype) {
            opened.network = network;
            return Ok(opened);
        }
        let Some((encapsulation, inside)) = layer(&mut opened)? else { return Ok(opened) };
        if opened.encapsulation == Encapsulation::None {
            opened.encapsulation = encapsulation;
        }
        match inside {
            Inside::Ethertype(next, payload) => (opened.unread, opened.payload) = (next, payload),
            Inside::Network(network, payload) => {
                (opened.network, opened.payload) = (network, payload);
                return Ok(opened);
            }
            Inside::Unread(number) => {
                opened.unread = number;
                return Ok(opened);
            }
        }
    }
    if let Some(network) = named(opened.unread) {
        opened.network = network;
    }
    Ok(opened)
}

/// Takes the layer off that the ethertype names; `None` where it names none that is known.
fn layer<'a>(opened: &mut Opened<'a>) -> Result<Option<(Encapsulation, Inside<'a>)>, Undecoded> {
    let payload = opened.payload;
    let ethertype = opened.unread;
    Ok(Some(match ethertype {
        0x8100 | 0x88a8 | kind::OLD_TAG => {
            let tag = SingleVlanHeaderSlice::from_slice(payload).map_err(|_| Undecoded::Link)?;
            let id = Some(tag.vlan_identifier().value()).filter(|&id| id != 0);
            let [outer, inner] = &mut opened.vlans;
            let slot = if outer.is_none() { outer } else { inner };
            *slot = slot.or(id);
            opened.tags = opened.tags.saturating_add(1);
            let encapsulation = if ethertype == kind::OLD_TAG { Encapsulation::Tags } else { Encapsulation::None };
            let rest = payload.get(tag.slice().len()..).unwrap_or_default();
            (encapsulation, Inside::Ethertype(tag.ether_type().0, rest))
        }
        kind::MPLS | kind::MPLS_MULTICAST => (Encapsulation::Mpls, mpls(payload, ethertype)?),
        kind::PPPOE => (Encapsulation::Pppoe, pppoe(payload, ethertype)?),
        kind::VN_TAG => (Encapsulation::VnTag, ethertype_at(payload, 4)?),
        kind::CISCO_METADATA => {
            // Version, length of the options in words, options, ethertype.
            let words = payload.get(1).copied().ok_or(Undecoded::Link)?;
            (Encapsulation::CiscoMetadata, ethertype_at(payload, 2 + usize::from(words) * 4)?)
        }
        kind::FABRICPATH => {
            // Forwarding tag and time to live, and then the frame as it was.
            let inner = payload.get(2..).ok_or(Undecoded::Link)?;
            let header = Ethernet2HeaderSlice::from_slice(inner).map_err(|_| Undecoded::Link)?;
            opened.mac_source = Some(Mac(header.source()));
            opened.mac_destination = Some(Mac(header.destination()));
            let rest = inner.get(header.slice().len()..).unwrap_or_default();
            (Encapsulation::FabricPath, Inside::Ethertype(header.ether_type().0, rest))
        }
        0..=kind::LAST_LENGTH => match payload {
            // Encapsulated Ethernet, and 802.1H's for what bridges must not translate.
            [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, high, low, rest @ ..] => {
                (Encapsulation::Snap, Inside::Ethertype(u16::from_be_bytes([*high, *low]), rest))
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// Goes on from an ethertype that stands `at` so many bytes.
fn ethertype_at(bytes: &[u8], at: usize) -> Result<Inside<'_>, Undecoded> {
    match bytes.get(at..) {
        Some([high, low, rest @ ..]) => Ok(Inside::Ethertype(u16::from_be_bytes([*high, *low]), rest)),
        _ => Err(Undecoded::Link),
    }
}

/// Over the labels down to the bottom of the stack, behind which only the first four bits say what follows.
fn mpls(mut payload: &[u8], ethertype: u16) -> Result<Inside<'_>, Undecoded> {
    for _ in 0..LABELS {
        let (label, rest) = payload.split_first_chunk::<4>().ok_or(Undecoded::Link)?;
        payload = rest;
        if label[2] & 1 == 1 {
            return Ok(match payload.first().map(|byte| byte >> 4) {
                Some(4) => Inside::Network(Network::Ipv4, payload),
                Some(6) => Inside::Network(Network::Ipv6, payload),
                _ => Inside::Unread(ethertype),
            });
        }
    }
    Ok(Inside::Unread(ethertype))
}

/// A session packet's IP. Its PPP protocol may be compressed to one byte (RFC 1661 §6.5), though RFC 2516 advises against it.
fn pppoe(payload: &[u8], ethertype: u16) -> Result<Inside<'_>, Undecoded> {
    let ([kind, code, ..], rest) = payload.split_first_chunk::<6>().ok_or(Undecoded::Link)?;
    if (*kind, *code) != (0x11, 0) {
        return Ok(Inside::Unread(ethertype));
    }
    let (protocol, rest) = match rest {
        [low, rest @ ..] if low & 1 == 1 => (u16::from(*low), rest),
        [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
        _ => return Err(Undecoded::Link),
    };
    Ok(match protocol {
        0x0021 => Inside::Network(Network::Ipv4, rest),
        0x0057 => Inside::Network(Network::Ipv6, rest),
        other => Inside::Unread(other),
    })
}
