//! IPv4 and IPv6, with their extension headers and fragments.

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice,
    ip_number,
};

use crate::wire::Address;
use crate::wire::frame::Undecoded;

/// An IP packet with its headers taken off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub source: Address,
    pub destination: Address,
    /// The transport, after all extension headers; meaningless in a later fragment.
    pub protocol: IpNumber,
    /// TTL or hop limit.
    pub hops: u8,
    /// Not the first fragment: the payload is no transport header.
    pub later_fragment: bool,
    /// What was captured behind the headers, without link padding.
    pub payload: &'a [u8],
    /// Its length on the wire.
    pub payload_length: usize,
}

/// An IPv4 packet at the start of `bytes`, of which `on_wire` bytes were on the wire, padding included.
#[inline]
pub(super) fn ipv4(bytes: &[u8], on_wire: usize) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Ip)?;
    let header_length = header.slice().len();
    let length = match usize::from(header.total_len()) {
        // Segmentation offload of more than 64 KiB leaves the field empty.
        0 => on_wire,
        length if length < header_length => return Err(Undecoded::Ip),
        length => length,
    };
    behind_ipv4(&header, bytes, length)
}

/// The same packet as an ICMP error embeds it: cut, and with a length that some senders have changed.
pub(super) fn embedded_ipv4(bytes: &[u8]) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Icmp)?;
    behind_ipv4(&header, bytes, bytes.len())
}

#[inline]
fn behind_ipv4<'a>(header: &Ipv4HeaderSlice<'a>, bytes: &'a [u8], length: usize) -> Result<Datagram<'a>, Undecoded> {
    let header_length = header.slice().len();
    let mut datagram = Datagram {
        source: Address::v4(header.source()),
        destination: Address::v4(header.destination()),
        protocol: header.protocol(),
        hops: header.ttl(),
        later_fragment: header.fragments_offset().value() != 0,
        payload: bytes.get(header_length..length.min(bytes.len())).unwrap_or_default(),
        payload_length: length.saturating_sub(header_length),
    };
    if datagram.protocol == ip_number::AUTH && !datagram.later_fragment {
        extension(&mut datagram)?;
    }
    Ok(datagram)
}

/// An IPv6 packet at the start of `bytes`, of which `on_wire` bytes were on the wire, padding included.
pub(super) fn ipv6(bytes: &[u8], on_wire: usize) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Ip)?;
    let length = match usize::from(header.payload_length()) {
        // A jumbogram (RFC 2675), which segmentation offload makes of more than 64 KiB.
        0 => on_wire.saturating_sub(header.slice().len()),
        length => length,
    };
    behind_ipv6(&header, bytes, length)
}

/// The same packet as an ICMPv6 error embeds it.
pub(super) fn embedded_ipv6(bytes: &[u8]) -> Result<Datagram<'_>, Undecoded> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Undecoded::Icmp)?;
    behind_ipv6(&header, bytes, bytes.len())
}

fn behind_ipv6<'a>(header: &Ipv6HeaderSlice<'a>, bytes: &'a [u8], length: usize) -> Result<Datagram<'a>, Undecoded> {
    let payload = bytes.get(header.slice().len()..).unwrap_or_default();
    let mut datagram = Datagram {
        source: v6(header.source()).ok_or(Undecoded::Ip)?,
        destination: v6(header.destination()).ok_or(Undecoded::Ip)?,
        protocol: header.next_header(),
        hops: header.hop_limit(),
        later_fragment: false,
        payload: payload.get(..length.min(payload.len())).unwrap_or_default(),
        payload_length: length,
    };
    // Each header takes at least 8 bytes, so the frame bounds this loop.
    while !datagram.later_fragment && is_extension(datagram.protocol) {
        extension(&mut datagram)?;
    }
    Ok(datagram)
}

/// An IPv6 address off the wire. IPv4-mapped ones have no business there (RFC 4942 §2.2), and would let an IPv6 packet
/// bear false witness against an IPv4 host.
pub(super) fn v6(octets: [u8; 16]) -> Option<Address> {
    Some(Address::v6(octets)).filter(|address| !address.is_v4())
}

fn is_extension(protocol: IpNumber) -> bool {
    matches!(
        protocol,
        ip_number::IPV6_HEADER_HOP_BY_HOP
            | ip_number::IPV6_ROUTE_HEADER
            | ip_number::IPV6_FRAGMENTATION_HEADER
            | ip_number::IPV6_DESTINATION_OPTIONS
            | ip_number::AUTH
    )
}

/// Takes one extension header off.
fn extension(datagram: &mut Datagram<'_>) -> Result<(), Undecoded> {
    let cut = |_| Undecoded::Extension;
    let (next, length) = match datagram.protocol {
        ip_number::IPV6_FRAGMENTATION_HEADER => {
            let header = Ipv6FragmentHeaderSlice::from_slice(datagram.payload).map_err(cut)?;
            datagram.later_fragment = header.fragment_offset().value() != 0;
            (header.next_header(), header.slice().len())
        }
        ip_number::AUTH => {
            let header = IpAuthHeaderSlice::from_slice(datagram.payload).map_err(|_| Undecoded::Extension)?;
            (header.next_header(), header.slice().len())
        }
        _ => {
            let header = Ipv6RawExtHeaderSlice::from_slice(datagram.payload).map_err(cut)?;
            (header.next_header(), header.slice().len())
        }
    };
    datagram.protocol = next;
    datagram.payload = datagram.payload.get(length..).unwrap_or_default();
    datagram.payload_length = datagram.payload_length.saturating_sub(length);
    Ok(())
}
