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
    /// Where a fragment stands in what it is a part of.
    pub part: Part,
    /// What was captured behind the headers, without link padding.
    pub payload: &'a [u8],
    /// Its length on the wire.
    pub payload_length: usize,
}

/// Where a fragment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// No fragment, or an atomic one (RFC 6946).
    Whole,
    /// The first fragment of several.
    First,
    /// The first fragment of several, which ends before the transport header.
    Headless,
    /// A later fragment, so many units of 8 bytes behind the first: the payload is no transport header.
    Later(u16),
}

impl Part {
    #[inline]
    fn new(offset: u16, more: bool) -> Self {
        match (offset, more) {
            (0, false) => Part::Whole,
            (0, true) => Part::First,
            (offset, _) => Part::Later(offset),
        }
    }

    /// Whether the payload is a transport header, or the beginning of one.
    pub(super) fn has_header(self) -> bool {
        matches!(self, Part::Whole | Part::First)
    }
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
        part: Part::new(header.fragments_offset().value(), header.more_fragments()),
        payload: bytes.get(header_length..length.min(bytes.len())).unwrap_or_default(),
        payload_length: length.saturating_sub(header_length),
    };
    if datagram.protocol == ip_number::AUTH && datagram.part.has_header() {
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
        part: Part::Whole,
        payload: payload.get(..length.min(payload.len())).unwrap_or_default(),
        payload_length: length,
    };
    // Each header takes at least 8 bytes, so the frame bounds this loop.
    while datagram.part.has_header() && is_extension(datagram.protocol) {
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
    if datagram.part == Part::First && datagram.payload_length < header_length(datagram) {
        datagram.part = Part::Headless;
        return Ok(());
    }
    let cut = |_| Undecoded::Extension;
    let (next, length) = match datagram.protocol {
        ip_number::IPV6_FRAGMENTATION_HEADER => {
            let header = Ipv6FragmentHeaderSlice::from_slice(datagram.payload).map_err(cut)?;
            // A second fragment header makes no first fragment whole.
            match Part::new(header.fragment_offset().value(), header.more_fragments()) {
                Part::Whole => {}
                part => datagram.part = part,
            }
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

/// The length of the extension header that comes next, by its own word; the least there is, where that was not captured.
fn header_length(datagram: &Datagram<'_>) -> usize {
    match (datagram.protocol, datagram.payload.get(1).map(|&units| usize::from(units))) {
        (ip_number::IPV6_FRAGMENTATION_HEADER, _) | (_, None) => 8,
        (ip_number::AUTH, Some(units)) => (units + 2) * 4,
        (_, Some(units)) => (units + 1) * 8,
    }
}
