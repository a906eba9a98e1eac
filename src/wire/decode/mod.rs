//! Bytes to [`Frame`]: link layer, tags and labels, IP with its extension headers, tunnels, transport, and what ICMP errors
//! embed.
//!
//! Contract: any bytes are welcome. A cut frame is decoded as far as the core needs it (a TCP header without its
//! options, the eight bytes an ICMP error embeds) and refused with the layer that was cut otherwise; nothing here
//! allocates or panics. Lengths come from the IP header, so Ethernet padding is not payload.
//!
//! Limits: no reassembly (a first fragment is decoded, honest later ones are [`Packet::OtherIp`], others
//! [`Packet::Fragment`]), one level of tunnel (what is a tunnel in a tunnel is [`Packet::Tunnel`]), no checksums
//! (offload leaves them unset on the sending side).

mod internet;
pub(crate) mod link;
mod transport;
pub(crate) mod tunnel;

use etherparse::ip_number;

use crate::wire::Frame;
use crate::wire::frame::{Encapsulation, FragmentKind, LinkKind, Meta, Packet, Tunnel, Undecoded};

use internet::{Datagram, Part};
use link::{Network, Opened};

/// Decodes one frame as `link` lays it out.
///
/// `meta.original_length` states how much was on the wire; fewer bytes are a cut frame, more are believed.
///
/// # Errors
/// The layer that is cut or malformed. What is merely of no interest is no error but [`Packet::OtherIp`] or
/// [`Packet::NonIp`].
pub fn decode(meta: Meta, link: LinkKind, bytes: &[u8]) -> Result<Frame<'_>, Undecoded> {
    // Nearly all frames are plain TCP over IPv4: for them the general way is cut short, not another one taken.
    if link == LinkKind::Ethernet
        && let Some(opened) = link::plain_ipv4(bytes)
    {
        let ip = internet::ipv4(opened.payload, on_wire(meta, bytes, &opened))?;
        if ip.protocol == ip_number::TCP && ip.part == Part::Whole {
            return Ok(frame(meta, &opened, None, transport::tcp(&ip)?));
        }
    }
    decode_any(meta, link, bytes)
}

/// What was on the wire from the network header on.
#[inline]
fn on_wire(meta: Meta, bytes: &[u8], opened: &Opened<'_>) -> usize {
    (meta.original_length as usize).max(bytes.len()) - (bytes.len() - opened.payload.len())
}

#[inline(never)]
fn decode_any(meta: Meta, link: LinkKind, bytes: &[u8]) -> Result<Frame<'_>, Undecoded> {
    let opened = link::open(link, bytes)?;
    let on_wire = on_wire(meta, bytes, &opened);
    let ip = match opened.network {
        Network::Ipv4 => internet::ipv4(opened.payload, on_wire)?,
        Network::Ipv6 => internet::ipv6(opened.payload, on_wire)?,
        Network::Arp => return Ok(frame(meta, &opened, None, transport::arp(opened.payload)?)),
        Network::Other => return Ok(frame(meta, &opened, Some(opened.unread), Packet::NonIp)),
    };
    if tunnel::may_be(ip.protocol)
        && ip.part.has_header()
        && let Some(inside) = tunnel::open(&ip)
    {
        return tunnelled(meta, &opened, &ip, &inside);
    }
    Ok(frame(meta, &opened, None, transport::packet(&ip)?))
}

/// A frame that shows `packet` behind the link header and its tags.
#[inline]
fn frame<'a>(meta: Meta, opened: &Opened<'_>, unread: Option<u16>, packet: Packet<'a>) -> Frame<'a> {
    let [first, second] = opened.vlans;
    // What the ring took off stood before all tags that are left.
    let (vlan, inner_vlan) = match meta.vlan {
        None | Some(0) => (first, second),
        stripped => (stripped, first),
    };
    let tagged = opened.encapsulation == Encapsulation::None && opened.tags + u8::from(meta.vlan.is_some()) > 1;
    Frame {
        meta: Meta { vlan, inner_vlan, ..meta },
        mac_source: opened.mac_source,
        mac_destination: opened.mac_destination,
        encapsulation: if tagged { Encapsulation::Tags } else { opened.encapsulation },
        tunnel: None,
        unread,
        packet,
    }
}

/// The frame that shows what a tunnel's packet carries. What cannot be read is a closed tunnel, or the datagram that it
/// looks like from outside.
#[cold]
fn tunnelled<'a>(
    meta: Meta,
    outer: &Opened<'a>,
    ip: &Datagram<'a>,
    inside: &tunnel::Inside<'a>,
) -> Result<Frame<'a>, Undecoded> {
    let kind = inside.kind;
    if let Some(opened) = &inside.opened
        && let Some(packet) = packet(ip, opened)
    {
        let tunnel = Tunnel { kind, outer_source: ip.source, outer_destination: ip.destination };
        let frame = frame(meta, outer, None, packet);
        return Ok(Frame {
            mac_source: opened.mac_source.or(frame.mac_source),
            mac_destination: opened.mac_destination.or(frame.mac_destination),
            tunnel: Some(tunnel),
            ..frame
        });
    }
    if ip.protocol == ip_number::UDP {
        return Ok(frame(meta, outer, None, transport::packet(ip)?));
    }
    // A fragment that ends within the inner headers hides them like any that ends within the outer ones.
    let hidden = ip.part == Part::First && ip.payload_length < tunnel::HEADERS as usize;
    let packet = if hidden { transport::fragment(ip, FragmentKind::Headless) } else { transport::opaque(ip, kind) };
    Ok(frame(meta, outer, None, packet))
}

/// What is inside; `None` where it cannot be read.
fn packet<'a>(ip: &Datagram<'_>, opened: &Opened<'a>) -> Option<Packet<'a>> {
    // The outer length counts from the outer payload, of which the inner is the end.
    let on_wire = ip.payload_length.checked_sub(ip.payload.len().checked_sub(opened.payload.len())?)?;
    let packet = match opened.network {
        Network::Ipv4 => transport::packet(&internet::ipv4(opened.payload, on_wire).ok()?),
        Network::Ipv6 => transport::packet(&internet::ipv6(opened.payload, on_wire).ok()?),
        Network::Arp => transport::arp(opened.payload),
        Network::Other => return None,
    };
    packet.ok()
}

#[cfg(test)]
mod tests;
