//! Table `netdev firedoor`: frames that an `inet` table never sees, at interfaces where they can pass (a bridge's ports,
//! and trunks with stacked VLAN interfaces). It exists only where there are such interfaces.
//!
//! A second VLAN tag, PPPoE, MPLS, provider backbone and service chain headers: what is inside cannot be looked up as in
//! the `inet` table. So a frame of a card that is acted on is dropped as a whole; of anybody else's the openings to
//! lateral services, matched at fixed places behind a second tag or PPPoE, are limited by card in a bucket of their own.
//! Cards that forward for others are not limited here: their bucket would be one for all behind them.
//!
//! Exempt and unprotected inner sources are written into the rules as ranges: a packet's field at a bare offset can be
//! compared with those, though not with the named sets. Roles count for all lateral services here.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::fuse::write_met;
use super::{Family, PRIORITY, Plan, TABLE, TAGS, THROTTLED, Variant, bucket_refills, quoted, write_dynamic};
use crate::firewall::networks::disjoint;
use crate::respond::Mode;

/// Ethertypes of what the `inet` table does not see: a tag behind the one that the kernel took off, QinQ of old, PPPoE
/// sessions, MPLS (unicast, multicast), IEEE 802.1ah, network service headers.
const UNREADABLE: [&str; 9] = ["8021q", "8021ad", "0x9100", "0x9200", "0x8864", "0x8847", "0x8848", "0x88e7", "0x894f"];

/// What the kernel calls a frame's protocol, and where an IP packet starts in it: what shows that it does, for each family.
/// nft (1.0.6) cannot list a rule that reads a frame's protocol and a bare offset, so the protocol leads to chains.
struct Readable {
    /// The end of the chains' names.
    name: &'static str,
    protocols: &'static [&'static str],
    /// Behind so many octets.
    inner: &'static [(u16, [&'static str; 2])],
}

/// Behind a second tag, a third, and PPPoE behind a second tag; and PPPoE (RFC 2516: six octets, then PPP's protocol).
const READABLE: [Readable; 2] = [
    Readable {
        name: "tag",
        protocols: &["8021q", "8021ad"],
        inner: &[
            (4, ["@nh,16,16 0x0800", "@nh,16,16 0x86dd"]),
            (8, ["@nh,16,16 { 0x8100, 0x88a8 } @nh,48,16 0x0800", "@nh,16,16 { 0x8100, 0x88a8 } @nh,48,16 0x86dd"]),
            (12, ["@nh,16,16 0x8864 @nh,80,16 0x0021", "@nh,16,16 0x8864 @nh,80,16 0x0057"]),
        ],
    },
    Readable { name: "pppoe", protocols: &["0x8864"], inner: &[(8, ["@nh,48,16 0x0021", "@nh,48,16 0x0057"])] },
];

/// Named counters of this table; each one's name and meaning are those of the other table.
pub(crate) const COUNTERS: [&str; 7] = [
    "encapsulated_dropped",
    "encapsulated_would_drop",
    "fuse_dropped",
    "fuse_would_drop",
    "greylist_dropped",
    "greylist_would_drop",
    "exempt_passed",
];

impl Plan {
    /// The table, if the variant has interfaces for it.
    pub(super) fn write_frames(&self, out: &mut String, variant: &Variant) -> fmt::Result {
        if variant.frames.is_empty() {
            return Ok(());
        }
        writeln!(out, "table netdev {TABLE} {{")?;
        for counter in COUNTERS {
            writeln!(out, "\tcounter {counter} {{ }}")?;
        }
        writeln!(out, "\t# Cards that are acted on: by interface, by interface and tag, and behind two tags.")?;
        writeln!(out, "\tset frame_cards {{\n\t\ttype iface_index . ether_addr\n\t\tflags timeout\n\t}}")?;
        writeln!(
            out,
            "\tset frame_tagged_cards {{\n\t\ttypeof meta iif . vlan id . ether saddr\n\t\tflags timeout\n\t}}"
        )?;
        writeln!(
            out,
            "\tmap double_cards {{\n\t\ttypeof meta iif . vlan id . @nh,4,12 . ether saddr : verdict\n\t\tflags timeout\n\t}}"
        )?;
        writeln!(out, "\tset frame_forwarders {{\n\t\ttype iface_index . ether_addr\n\t}}")?;
        let verdict = self.verdict("encapsulated");
        for chain in ["contain_frame", "isolate_frame"] {
            writeln!(out, "\tchain {chain} {{\n\t\t{verdict}\n\t}}")?;
        }
        if self.fuse.enabled {
            self.write_frame_limits(out)?;
        }
        writeln!(out, "\tchain double {{")?;
        for tag in TAGS {
            writeln!(out, "\t\tether type {tag} meta iif . vlan id . @nh,4,12 . ether saddr vmap @double_cards")?;
            // A priority tag in front is none (IEEE 802.1Q §6.9.1): what follows is the link's.
            writeln!(
                out,
                "\t\tether type {tag} vlan id 0 meta iif . @nh,4,12 . ether saddr @frame_tagged_cards {verdict}"
            )?;
        }
        writeln!(out, "\t}}")?;
        for readable in &READABLE {
            writeln!(out, "\tchain exempt_{} {{", readable.name)?;
            write_sources(out, readable, &self.exempt, "", "counter name exempt_passed accept")?;
            writeln!(out, "\t}}")?;
            if self.fuse.enabled {
                writeln!(out, "\tchain behind_{} {{", readable.name)?;
                for (depth, proofs) in readable.inner {
                    for proof in proofs {
                        writeln!(out, "\t\t{proof} goto behind{depth}")?;
                    }
                }
                writeln!(out, "\t}}")?;
            }
        }
        writeln!(out, "\tchain unreadable {{")?;
        writeln!(out, "\t\t{}", by_protocol("jump exempt"))?;
        writeln!(out, "\t\tmeta iif . ether saddr @frame_cards {verdict}")?;
        for tag in TAGS {
            writeln!(out, "\t\tether type {tag} meta iif . vlan id . ether saddr @frame_tagged_cards {verdict}")?;
        }
        writeln!(out, "\t\tmeta protocol {{ {} }} jump double", TAGS.join(", "))?;
        if self.fuse.enabled {
            writeln!(out, "\t\tmeta iif . ether saddr @frame_forwarders return")?;
            writeln!(out, "\t\t{}", by_protocol("goto behind"))?;
        }
        writeln!(out, "\t}}\n\tchain frames {{")?;
        writeln!(out, "\t\tcomment \"{}\"", self.signature())?;
        writeln!(
            out,
            "\t\ttype filter hook ingress devices = {{ {} }} priority {}; policy accept;",
            quoted(&variant.frames),
            PRIORITY - 1
        )?;
        writeln!(out, "\t\tmeta protocol {{ {} }} goto unreadable\n\t}}\n}}", UNREADABLE.join(", "))
    }

    fn write_frame_limits(&self, out: &mut String) -> fmt::Result {
        let fuse = &self.fuse;
        let card = "iface_index . ether_addr";
        write_dynamic(out, "frame_fuse", card, fuse.sources, bucket_refills(fuse))?;
        write_dynamic(out, "frame_throttled", card, fuse.sources, THROTTLED)?;
        let over = format!("limit rate over {}/second burst {} packets", fuse.per_second.max(1), fuse.burst.max(1));
        let end = match self.mode {
            Mode::Enforce => "dropped drop",
            Mode::Monitor => "would_drop",
        };
        writeln!(out, "\tchain throttle_frame {{")?;
        writeln!(out, "\t\tupdate @frame_throttled {{ meta iif . ether saddr counter }}")?;
        writeln!(out, "\t\tcounter name fuse_{end}\n\t}}")?;
        let roles = self.exemptions.iter().flat_map(|exemption| &exemption.hosts).copied().collect::<Vec<_>>();
        for readable in &READABLE {
            writeln!(out, "\tchain free_{} {{", readable.name)?;
            write_sources(out, readable, &roles, "", "counter name exempt_passed accept")?;
            write_sources(out, readable, &self.protected, "!= ", "accept")?;
            writeln!(out, "\t}}")?;
        }
        // Who has met whom: what was let pass once is no first contact. The destination's place depends on the depth.
        for (n, field) in [(4, met(4, Family::V4)), (6, met(4, Family::V6))] {
            writeln!(out, "\tset frame_contacts{n} {{\n\t\ttypeof {field}\n\t\tsize {}", fuse.contacts.max(1))?;
            let timeout = fuse.contact_timeout.as_secs().max(1);
            writeln!(out, "\t\tflags dynamic,timeout\n\t\ttimeout {timeout}s\n\t}}")?;
        }
        self.write_frame_greylist_sets(out)?;
        for depth in [4, 8, 12] {
            self.write_frame_greylist(out, depth, |family| met(depth, family))?;
            writeln!(out, "\tchain opening{depth} {{")?;
            writeln!(out, "\t\t{}", by_protocol("jump free"))?;
            let sides = [(4, Family::V4), (6, Family::V6)];
            for (n, family) in sides {
                writeln!(out, "\t\t@nh,{},4 {n} {} @frame_contacts{n} return", depth * 8, met(depth, family))?;
            }
            self.write_frame_asked(out, depth)?;
            writeln!(out, "\t\tupdate @frame_fuse {{ meta iif . ether saddr {over} }} goto throttle_frame")?;
            writeln!(out, "\t\tmeta iif . ether saddr != @frame_fuse {over} counter name fuse_{end}")?;
            self.write_frame_wait(out, depth)?;
            for (n, family) in sides {
                let proof = format!("@nh,{},4 {n} ", depth * 8);
                write_met(out, fuse, &proof, &format!("frame_contacts{n}"), &met(depth, family))?;
            }
            writeln!(out, "\t}}\n\tchain behind{depth} {{")?;
            self.write_openings(out, "nh", depth, &format!("goto opening{depth}"))?;
            writeln!(out, "\t}}")?;
        }
        Ok(())
    }
}

/// A frame's card and the destination inside it, `depth` octets deep.
fn met(depth: u16, family: Family) -> String {
    let (at, bits) = if family == Family::V4 { (16, 32) } else { (24, 128) };
    format!("meta iif . ether saddr . @nh,{},{bits}", (depth + at) * 8)
}

/// A rule that leads on by the frame's protocol.
fn by_protocol(then: &str) -> String {
    let ways = READABLE.iter().flat_map(|readable| {
        readable.protocols.iter().map(move |protocol| format!("{protocol} : {then}_{}", readable.name))
    });
    format!("meta protocol vmap {{ {} }}", ways.collect::<Vec<_>>().join(", "))
}

/// A rule for each place where an inner source address can stand, that compares it with `networks`.
fn write_sources(out: &mut String, readable: &Readable, networks: &[IpNetwork], not: &str, then: &str) -> fmt::Result {
    for (depth, proofs) in readable.inner {
        for (family, proof) in Family::ALL.into_iter().zip(*proofs) {
            let ranges = ranges(&disjoint(networks, family));
            let (at, bits) = if family == Family::V4 { (12, 32) } else { (8, 128) };
            let field = format!("@nh,{},{bits}", (depth + at) * 8);
            if !ranges.is_empty() {
                writeln!(out, "\t\t{proof} {field} {not}{{ {ranges} }} {then}")?;
            } else if !not.is_empty() {
                writeln!(out, "\t\t{proof} {then}")?;
            }
        }
    }
    Ok(())
}

/// Networks as ranges of numbers, none inside another.
pub(super) fn ranges(networks: &[IpNetwork]) -> String {
    networks.iter().copied().map(range).collect::<Vec<_>>().join(", ")
}

/// A network's first and last address as numbers.
fn range(network: IpNetwork) -> String {
    let (first, last) = match (network.network(), network.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (format!("{:#010x}", u32::from(first)), format!("{:#010x}", u32::from(last)))
        }
        (first, last) => {
            let number = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
                IpAddr::V6(ip) => u128::from(ip),
            };
            (format!("{:#034x}", number(first)), format!("{:#034x}", number(last)))
        }
    };
    if first == last { first } else { format!("{first}-{last}") }
}
