//! The chains that drop: what a contained host may not send, and what may pass from and to an isolated one.

use std::fmt::{self, Write as _};

use super::{Family, NETWORK, Plan, TAGS, listed, tunnels};
use crate::respond::Mode;

/// An isolated host may ask for routers and neighbours, and is not to play the router.
const NEIGHBOUR_DISCOVERY: &str =
    "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }";
const NEIGHBOUR_DISCOVERY_ANSWERS: &str =
    "ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }";
const GROUP_MEMBERSHIP: &str = "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }";

impl Plan {
    /// What the end of a dropping rule says: in monitor mode the packet passes, past the table's other rules,
    /// as a dropped one would not have met them.
    pub(super) fn verdict(&self, counter: &str) -> String {
        match self.mode {
            Mode::Enforce => format!("counter name {counter}_dropped drop"),
            Mode::Monitor => format!("counter name {counter}_would_drop accept"),
        }
    }

    pub(super) fn write_contain(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\t# What a contained place may not send, whoever it is.")?;
        writeln!(out, "\tchain contain {{")?;
        for (word, _, _) in self.lateral() {
            writeln!(out, "\t\t{word} dport @lateral_{word} {}", self.verdict("contain"))?;
        }
        writeln!(out, "\t\t# Nor serve: a worm's payload leaves from 445 as well as from anywhere.")?;
        for (word, _, _) in self.lateral() {
            writeln!(out, "\t\t{word} sport @lateral_{word} {}", self.verdict("contain"))?;
        }
        writeln!(
            out,
            "\t\t# Inside a tunnel no lateral service can be recognised: IPIP, IPv6, GRE, IP within IP, EtherIP, SCTP;"
        )?;
        writeln!(out, "\t\t# VXLAN (two ports), Teredo, Geneve.")?;
        writeln!(out, "\t\tmeta l4proto {{ {} }} {}", listed(&tunnels::PROTOCOLS), self.verdict("tunnel"))?;
        writeln!(out, "\t\tudp dport {{ {} }} {}", listed(&tunnels::PORTS), self.verdict("tunnel"))?;
        writeln!(out, "\t}}")?;
        let exempt = |n: char, ip: &str| format!("{ip} saddr @exempt{n} counter name exempt_passed return");
        let card = [exempt('4', "ip"), exempt('6', "ip6")];
        let chains: [(&str, &[String], &str, &str); 4] = [
            ("contain4", &[exempt('4', "ip")], "ip saddr", "shut4"),
            ("contain6", &[exempt('6', "ip6")], "ip6 saddr", "shut6"),
            ("contain_card", &card, "ether saddr", "shut_cards"),
            ("contain_net6", &[exempt('6', "ip6")], NETWORK, "shut_net6"),
        ];
        for (chain, exempt, source, shut) in chains {
            for tagged in [false, true] {
                writeln!(out, "\tchain {}{chain} {{", if tagged { "tagged_" } else { "" })?;
                for rule in exempt {
                    writeln!(out, "\t\t{rule}")?;
                }
                let verdict = self.verdict("contain");
                if tagged {
                    for tag in TAGS {
                        writeln!(
                            out,
                            "\t\tether type {tag} meta iif . vlan id . {source} . meta l4proto . th dport @tagged_{shut} {verdict}"
                        )?;
                    }
                } else {
                    writeln!(out, "\t\tmeta iif . {source} . meta l4proto . th dport @{shut} {verdict}")?;
                }
                writeln!(out, "\t\tgoto contain\n\t}}")?;
            }
        }
        for family in Family::ALL {
            let (n, ip) = (family.digit(), family.ip());
            writeln!(out, "\tchain anywhere_contain{n} {{\n\t\t{}", exempt(n, ip))?;
            let verdict = self.verdict("contain");
            writeln!(out, "\t\t{ip} saddr . meta l4proto . th dport @anywhere_shut{n} {verdict}")?;
            writeln!(out, "\t\tgoto contain\n\t}}")?;
        }
        writeln!(out, "\tchain isolate_card {{")?;
        for rule in card {
            writeln!(out, "\t\t{rule}")?;
        }
        writeln!(out, "\t\tmeta nfproto vmap {{ ipv4 : goto isolate4, ipv6 : goto isolate6 }}\n\t}}")
    }

    pub(super) fn write_isolate(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, ip) = (family.digit(), family.ip());
        writeln!(out, "\tchain isolate{n} {{")?;
        writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
        writeln!(out, "\t\t{ip} daddr @care{n} counter name care_passed return")?;
        writeln!(out, "\t\t# What keeps the host addressable: neighbour discovery, group membership, its lease.")?;
        match family {
            Family::V4 => writeln!(out, "\t\tudp sport 68 udp dport 67 return")?,
            Family::V6 => {
                writeln!(out, "\t\t{NEIGHBOUR_DISCOVERY} return")?;
                writeln!(out, "\t\t{GROUP_MEMBERSHIP} return")?;
                writeln!(out, "\t\tudp sport 546 udp dport 547 return")?;
            }
        }
        writeln!(out, "\t\t{}", self.verdict("isolate"))?;
        writeln!(out, "\t}}")
    }

    pub(super) fn write_toward_isolated(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, ip) = (family.digit(), family.ip());
        writeln!(out, "\tchain toward_isolated{n} {{")?;
        writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
        writeln!(out, "\t\t{ip} saddr @care{n} counter name care_passed return")?;
        match family {
            Family::V4 => {
                writeln!(out, "\t\tudp sport 67 udp dport 68 return")?;
                writeln!(out, "\t\ticmp type destination-unreachable icmp code frag-needed return")?;
            }
            Family::V6 => {
                writeln!(out, "\t\t{NEIGHBOUR_DISCOVERY_ANSWERS} return")?;
                writeln!(out, "\t\tudp sport 547 udp dport 546 return")?;
                writeln!(out, "\t\ticmpv6 type packet-too-big return")?;
            }
        }
        writeln!(out, "\t\t{}", self.verdict("isolate"))?;
        writeln!(out, "\t}}")
    }
}
