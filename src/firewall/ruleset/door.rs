//! The door at ingress, and which packets it has watched: see [`super`] for the way of a packet.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::{DOOR, IPV4, IPV6, PRIORITY, Plan, Variant, Way, listed, quoted, tunnels};
use crate::wire::frame::Transport;

impl Plan {
    /// What the sets of [`DISPATCH`] hold, sorted.
    pub(in crate::firewall) fn dispatch(&self, variant: &Variant) -> Vec<Way> {
        // Where everybody is asked about, it is done already.
        let acted = variant.acted && !variant.everybody;
        let (tcp, udp) = (self.ports(Transport::Tcp), self.ports(Transport::Udp));
        let lateral = || tcp.iter().chain(&udp).copied();
        let mut to = BTreeSet::new();
        if acted {
            to.extend(&variant.shut);
        }
        if acted || self.fuse.enabled {
            to.extend(tunnels::PORTS);
            to.extend(lateral());
        }
        let from: BTreeSet<u16> = if acted { lateral().collect() } else { BTreeSet::new() };
        let port = |port: u16| port.to_be_bytes().to_vec();
        let mut ways: Vec<Way> = Vec::new();
        if acted {
            ways.extend([("acting", vec![IPV4]), ("acting", vec![IPV6])]);
        }
        ways.extend(from.into_iter().map(|from| ("from_ports", port(from))));
        ways.extend(to.into_iter().map(|to| ("to_ports", port(to))));
        ways
    }

    pub(super) fn write_dispatch(&self, out: &mut String, variant: &Variant) -> fmt::Result {
        writeln!(
            out,
            "\t# Which packets are watched; changes with whether anybody is acted on, and what is shut for him."
        )?;
        let ways = self.dispatch(variant);
        for (set, key) in [("to_ports", "inet_service"), ("from_ports", "inet_service"), ("acting", "nf_proto")] {
            writeln!(out, "\tset {set} {{\n\t\ttype {key}")?;
            let element = |(_, key): &Way| match key[..] {
                [high, low] => u16::from_be_bytes([high, low]).to_string(),
                [IPV4] => "ipv4".to_owned(),
                _ => "ipv6".to_owned(),
            };
            let elements: Vec<String> = ways.iter().filter(|(of, _)| *of == set).map(element).collect();
            if !elements.is_empty() {
                writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
            }
            writeln!(out, "\t}}")?;
        }
        Ok(())
    }

    /// What comes from or goes to a port of interest, and what goes the slow way.
    pub(super) fn write_watched(&self, out: &mut String, variant: &Variant) -> fmt::Result {
        writeln!(out, "\t# First contacts, and tunnels over UDP.")?;
        writeln!(out, "\tchain opening {{")?;
        if self.fuse.enabled {
            for (word, transport, _) in self.lateral() {
                if transport == Transport::Tcp {
                    writeln!(
                        out,
                        "\t\ttcp flags & (syn | ack) == syn {word} dport @lateral_{word} goto first_contact"
                    )?;
                }
            }
            writeln!(out, "\t\tmeta l4proto udp goto opening_udp\n\t}}\n\tchain opening_udp {{")?;
            for (word, transport, _) in self.lateral() {
                if transport == Transport::Udp {
                    writeln!(out, "\t\t{word} dport @lateral_{word} goto first_contact")?;
                }
            }
            writeln!(out, "\t\tudp dport {} goto in_teredo", tunnels::TEREDO)?;
            let [_, vxlan @ ..] = tunnels::PORTS;
            writeln!(out, "\t\tudp dport {{ {} }} goto in_vxlan", listed(&vxlan))?;
        }
        writeln!(out, "\t}}\n\t# Segments and datagrams from or to a port of interest.")?;
        writeln!(out, "\tchain watched {{\n\t\tmeta nfproto @acting jump acted\n\t\tgoto opening\n\t}}")?;
        writeln!(out, "\t# Fragments, extension headers, other protocols.")?;
        writeln!(out, "\tchain rest {{\n\t\tmeta nfproto @acting jump acted\n\t\tgoto unwrapped\n\t}}")?;
        if variant.is_compared() {
            writeln!(out, "\t# From or to an isolated card or address, by whatever interface.")?;
            writeln!(out, "\tchain asked {{\n\t\tjump acted")?;
            writeln!(out, "\t\tmeta nfproto ipv4 @nh,128,32 @isolated_raw4 jump toward_isolated4")?;
            writeln!(out, "\t\tip6 daddr @isolated6 jump toward_isolated6\n\t\tgoto unwrapped\n\t}}")?;
        }
        writeln!(out, "\tchain unwrapped {{")?;
        writeln!(out, "\t\tip frag-off & 0x3fff != 0 jump fragments4")?;
        writeln!(out, "\t\texthdr frag exists jump fragments6")?;
        if self.fuse.enabled {
            writeln!(out, "\t\tmeta l4proto vmap {{ 4 : goto inner0, 41 : goto inner0, 47 : goto in_gre }}")?;
            writeln!(out, "\t\tgoto opening")?;
        }
        writeln!(out, "\t}}")
    }

    pub(super) fn write_door(&self, out: &mut String, variant: &Variant) -> fmt::Result {
        writeln!(out, "\tchain {DOOR} {{")?;
        writeln!(out, "\t\tcomment \"{}\"", self.signature())?;
        writeln!(
            out,
            "\t\ttype filter hook ingress devices = {{ {} }} priority {PRIORITY}; policy accept;",
            quoted(&self.interfaces)
        )?;
        if variant.everybody {
            writeln!(out, "\t\tjump acted")?;
            if variant.isolation {
                writeln!(out, "\t\tjump toward_isolated")?;
            }
        }
        let compared = variant.is_compared();
        if compared && variant.cards {
            writeln!(out, "\t\t@ll,48,48 @isolated_cards goto asked # the sending card")?;
        }
        // Every packet of the site pays for these. A field at a bare offset is read and compared in the kernel's fast
        // path; anything that asks for the family or the protocol first, or calls a function more, costs more.
        let ports = ["th dport @to_ports goto watched", "th sport @from_ports goto watched"];
        writeln!(out, "\t\t@nh,0,8 != 0x45 goto {DOOR}6 # IPv6, or IPv4 with options")?;
        if compared {
            writeln!(out, "\t\t@nh,96,32 @isolated_raw4 goto asked # the source")?;
            writeln!(out, "\t\t@nh,128,32 @isolated_raw4 goto asked # the destination")?;
        }
        writeln!(out, "\t\t@nh,48,16 & 0x3fff != 0 goto rest # a fragment")?;
        writeln!(out, "\t\t@nh,72,8 != 17 @nh,72,8 != 6 goto rest # neither UDP nor TCP")?;
        writeln!(out, "\t\t{}\n\t\t{}", ports[0], ports[1])?;
        writeln!(out, "\t}}\n\tchain {DOOR}6 {{")?;
        writeln!(out, "\t\tmeta nfproto ipv4 goto {DOOR}_options")?;
        if compared {
            writeln!(out, "\t\tip6 saddr @isolated6 goto asked\n\t\tip6 daddr @isolated6 goto asked")?;
        }
        writeln!(out, "\t\t@nh,48,8 != 17 @nh,48,8 != 6 goto rest # neither UDP nor TCP at once")?;
        writeln!(out, "\t\t{}\n\t\t{}", ports[0], ports[1])?;
        writeln!(out, "\t}}\n\tchain {DOOR}_options {{")?;
        writeln!(out, "\t\tgoto {}\n\t}}", if compared { "asked" } else { "rest" })
    }
}
