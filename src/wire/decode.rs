//! Bytes to [`Frame`]: link layer, tags, IP with its extension headers, transport, and what ICMP errors embed.
//!
//! Contract: any bytes are welcome. A cut frame is decoded as far as the core needs it (a TCP header without its
//! options, the eight bytes an ICMP error embeds) and refused with the layer that was cut otherwise; nothing here
//! allocates or panics. Lengths come from the IP header, so Ethernet padding is not payload.
//!
//! Limits: no reassembly (a first fragment is decoded, later ones are [`Packet::OtherIp`]), no tunnels, no checksums
//! (offload leaves them unset on the sending side).

mod internet;
mod link;
mod transport;

use crate::wire::Frame;
use crate::wire::frame::{LinkKind, Meta, Packet, Undecoded};

use link::Network;

/// Decodes one frame as `link` lays it out.
///
/// `meta.original_length` tells how much was on the wire; fewer bytes are a cut frame, more are believed.
///
/// # Errors
/// The layer that is cut or malformed. What is merely of no interest is no error but [`Packet::OtherIp`] or
/// [`Packet::NonIp`].
pub fn decode(meta: Meta, link: LinkKind, bytes: &[u8]) -> Result<Frame<'_>, Undecoded> {
    let opened = link::open(link, bytes)?;
    let on_wire = (meta.original_length as usize).max(bytes.len()) - (bytes.len() - opened.payload.len());
    let packet = match opened.network {
        Network::Ipv4 => transport::packet(&internet::ipv4(opened.payload, on_wire)?)?,
        Network::Ipv6 => transport::packet(&internet::ipv6(opened.payload, on_wire)?)?,
        Network::Arp => transport::arp(opened.payload)?,
        Network::Other => Packet::NonIp,
    };
    Ok(Frame {
        meta: Meta { vlan: meta.vlan.or(opened.vlan), ..meta },
        mac_source: opened.mac_source,
        mac_destination: opened.mac_destination,
        packet,
    })
}

#[cfg(test)]
mod tests;
