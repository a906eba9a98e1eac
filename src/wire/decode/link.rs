//! The link layer and its VLAN tags: down to which network protocol follows, and where.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice, ether_type};

use crate::wire::Mac;
use crate::wire::frame::{LinkKind, Undecoded};

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
    /// The outermost tag that names a VLAN; priority tags (id 0) name none (IEEE 802.1Q §9.6).
    pub vlan: Option<u16>,
    pub payload: &'a [u8],
}

/// More tags than anybody stacks; what lies deeper is [`Network::Other`].
const TAGS: usize = 4;

/// Takes the link header off `bytes`.
#[inline]
pub(super) fn open(kind: LinkKind, bytes: &[u8]) -> Result<Opened<'_>, Undecoded> {
    match kind {
        LinkKind::Ethernet => {
            let header = Ethernet2HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Link)?;
            let payload = bytes.get(header.slice().len()..).unwrap_or_default();
            let macs = (Some(Mac(header.source())), Some(Mac(header.destination())));
            tagged(header.ether_type().0, payload, macs)
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
            // NULL is in the capturing host's byte order, which the file does not always tell; families are small.
            let family = u32::from_le_bytes(*family).min(u32::from_be_bytes(*family));
            Ok(plain(address_family(family), payload))
        }
        LinkKind::LinuxSll => {
            // Packet type, ARP hardware type, address length, address (8), protocol.
            let (header, payload) = bytes.split_first_chunk::<16>().ok_or(Undecoded::Link)?;
            let [_, _, _, _, length_high, length_low, address @ .., high, low] = header;
            let sender = sender(u16::from_be_bytes([*length_high, *length_low]), *address);
            tagged(u16::from_be_bytes([*high, *low]), payload, (sender, None))
        }
        LinkKind::LinuxSll2 => {
            // Protocol, reserved (2), interface (4), ARP hardware type (2), packet type, address length, address (8).
            let (header, payload) = bytes.split_first_chunk::<20>().ok_or(Undecoded::Link)?;
            let [high, low, _, _, _, _, _, _, _, _, _, length, address @ ..] = header;
            tagged(u16::from_be_bytes([*high, *low]), payload, (sender(u16::from(*length), *address), None))
        }
    }
}

fn plain(network: Network, payload: &[u8]) -> Opened<'_> {
    Opened { network, mac_source: None, mac_destination: None, vlan: None, payload }
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

/// Follows 802.1Q and QinQ tags from the first ethertype on.
#[inline]
fn tagged(
    mut ethertype: u16,
    mut payload: &[u8],
    (mac_source, mac_destination): (Option<Mac>, Option<Mac>),
) -> Result<Opened<'_>, Undecoded> {
    let mut vlan = None;
    for _ in 0..=TAGS {
        let network = match etherparse::EtherType(ethertype) {
            ether_type::IPV4 => Network::Ipv4,
            ether_type::IPV6 => Network::Ipv6,
            ether_type::ARP => Network::Arp,
            ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | ether_type::VLAN_DOUBLE_TAGGED_FRAME => {
                let tag = SingleVlanHeaderSlice::from_slice(payload).map_err(|_| Undecoded::Link)?;
                vlan = vlan.or(Some(tag.vlan_identifier().value()).filter(|&id| id != 0));
                ethertype = tag.ether_type().0;
                payload = payload.get(tag.slice().len()..).unwrap_or_default();
                continue;
            }
            _ => Network::Other,
        };
        return Ok(Opened { network, mac_source, mac_destination, vlan, payload });
    }
    Ok(Opened { network: Network::Other, mac_source, mac_destination, vlan, payload })
}
