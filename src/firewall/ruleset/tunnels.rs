//! First contacts inside plain tunnels: a SYN or a datagram to a lateral service one level deep counts in the bucket of
//! the card that sends the tunnel's packet.
//!
//! Routers are left out: what they forward is limited where it is visible, and a bucket for a router would be one for all
//! behind it. So are exempt hosts, and hosts with a role for a lateral service, by the tunnel's own source address: a
//! site that runs tunnels through the gateway gives their ends one of both. What is inside is matched at fixed places;
//! what hides it (IPv4 options, extension headers, a first fragment too short to show ports) counts as an opening. No
//! contact is remembered: the inner addresses cannot be matched against named sets.

use std::fmt::{self, Write as _};

use super::{Family, Plan, listed};
use crate::wire::frame::Transport;

/// IPIP, IPv6, GRE, IP within IP (94), EtherIP (97), SCTP.
pub(super) const PROTOCOLS: [u16; 6] = [4, 41, 47, 94, 97, 132];
/// UDP ports of Teredo, VXLAN, Geneve, and the VXLAN of older kernels.
pub(super) const PORTS: [u16; 4] = [TEREDO, 4789, 6081, 8472];
/// UDP port of Teredo (RFC 4380).
pub(super) const TEREDO: u16 = 3544;

/// A first fragment shorter than this (outer total length, octets) may not show the inner ports.
const SHORT: u16 = 160;
/// How far behind the outer header an inner IP header is looked for: at once; behind GRE with 0 to 3 optional words, and
/// an Ethernet header behind those; behind UDP and Teredo, with and without an origin indication; behind UDP, VXLAN or
/// Geneve, and Ethernet.
const DEPTHS: [u16; 9] = [0, 4, 8, 12, 16, 18, 22, 26, 30];
/// The GRE flags (checksum, key, sequence number; the version with them) that make its header so long (RFC 2890).
const GRE: [(u16, &[u16]); 4] =
    [(4, &[0x0000]), (8, &[0x8000, 0x2000, 0x1000]), (12, &[0xa000, 0x9000, 0x3000]), (16, &[0xb000])];

impl Plan {
    pub(super) fn write_tunnels(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\t# A lateral service inside a tunnel: counted in the bucket of the card that sends it.")?;
        writeln!(out, "\tchain tunnelled {{")?;
        for family in Family::ALL {
            let (n, ip) = (family.digit(), family.ip());
            writeln!(out, "\t\t{ip} saddr != @protected{n} return")?;
            writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
            if !self.role_hosts(family).is_empty() {
                writeln!(out, "\t\t{ip} saddr @role_hosts{n} counter name exempt_passed return")?;
            }
        }
        writeln!(out, "\t\tmeta iiftype != ether meta nfproto vmap {{ ipv4 : goto limit4, ipv6 : goto limit6 }}")?;
        writeln!(out, "\t\tmeta iif . ether saddr @forwarders return")?;
        writeln!(out, "\t\tgoto limit_card\n\t}}")?;
        for depth in DEPTHS {
            writeln!(out, "\tchain inner{depth} {{")?;
            if matches!(depth, 0 | 4 | 30) {
                writeln!(out, "\t\tip frag-off & 0x2000 != 0 ip length < {SHORT} goto tunnelled")?;
                writeln!(out, "\t\tfrag more-fragments 1 ip6 length < {SHORT} goto tunnelled")?;
            }
            self.write_openings(out, "th", depth, "goto tunnelled")?;
            writeln!(out, "\t}}")?;
        }
        writeln!(out, "\tchain in_gre {{")?;
        for (length, flags) in GRE {
            for flags in flags {
                writeln!(out, "\t\t@th,0,16 & 0xb007 == {flags:#06x} @th,16,16 0x6558 goto inner{}", length + 14)?;
                writeln!(out, "\t\t@th,0,16 & 0xb007 == {flags:#06x} goto inner{length}")?;
            }
        }
        writeln!(out, "\t}}")?;
        writeln!(out, "\tchain in_vxlan {{\n\t\tgoto inner30\n\t}}")?;
        writeln!(out, "\tchain in_teredo {{")?;
        writeln!(out, "\t\t@th,64,16 0 goto inner16")?;
        writeln!(out, "\t\tgoto inner8\n\t}}")
    }

    /// Rules that match an opening to a lateral service in an IP packet that starts `depth` octets behind `base`.
    pub(super) fn write_openings(&self, out: &mut String, base: &str, depth: u16, then: &str) -> fmt::Result {
        // A field of `bits` bits, `octet` octets into the inner packet.
        let at = |octet: u16, bits: u16| format!("@{base},{},{bits}", (depth + octet) * 8);
        let version = |version: u16| format!("@{base},{},4 {version}", depth * 8);
        let (tcp, udp) = (self.ports(Transport::Tcp), self.ports(Transport::Udp));
        if !tcp.is_empty() {
            let ports = listed(&tcp);
            writeln!(
                out,
                "\t\t{} 0x45 {} 6 {} {{ {ports} }} {} & 0x12 == 2 {then}",
                at(0, 8),
                at(9, 8),
                at(22, 16),
                at(33, 8)
            )?;
            writeln!(
                out,
                "\t\t{} {} 6 {} {{ {ports} }} {} & 0x12 == 2 {then}",
                version(6),
                at(6, 8),
                at(42, 16),
                at(53, 8)
            )?;
        }
        if !udp.is_empty() {
            let ports = listed(&udp);
            writeln!(
                out,
                "\t\t{} 0x45 {} 17 {} & 0x1fff == 0 {} {{ {ports} }} {then}",
                at(0, 8),
                at(9, 8),
                at(6, 16),
                at(22, 16)
            )?;
            writeln!(out, "\t\t{} {} 17 {} {{ {ports} }} {then}", version(6), at(6, 8), at(42, 16))?;
        }
        // Options, extension headers, a TCP header in two fragments: whatever hides the ports.
        writeln!(out, "\t\t{} != 0x45 {} {} 6 {then}", at(0, 8), version(4), at(9, 8))?;
        writeln!(out, "\t\t{} {} 6 {} & 0x1fff == 1 {then}", version(4), at(9, 8), at(6, 16))?;
        writeln!(out, "\t\t{} {} 6 {} & 0x3fff == 0x2000 {} < 40 {then}", version(4), at(9, 8), at(6, 16), at(2, 16))?;
        writeln!(out, "\t\t{} {} {{ 0, 43, 60 }} {then}", version(6), at(6, 8))?;
        writeln!(out, "\t\t{} {} 44 {} {{ 0, 6, 43, 60 }} {then}", version(6), at(6, 8), at(40, 8))
    }
}
