//! The sets and maps that hold places, and the chains that ask who sends a packet, and to whom.

use std::fmt::{self, Write as _};

use super::{Family, NETWORK, TAGS, Variant};

/// The sets that hold places.
pub(super) fn write_places(out: &mut String) -> fmt::Result {
    let sources = [
        ("acted4", "shut4", "ipv4_addr", "ip saddr"),
        ("acted6", "shut6", "ipv6_addr", "ip6 saddr"),
        ("cards", "shut_cards", "ether_addr", "ether saddr"),
        ("acted_net6", "shut_net6", "ipv6_addr", "ip6 saddr"),
    ];
    writeln!(out, "\t# Whom the door acts on, by interface; and which further ports are shut for them.")?;
    for (acted, shut, address, _) in sources {
        writeln!(out, "\tmap {acted} {{\n\t\ttype iface_index . {address} : verdict\n\t\tflags timeout\n\t}}")?;
        let key = format!("iface_index . {address} . inet_proto . inet_service");
        writeln!(out, "\tset {shut} {{\n\t\ttype {key}\n\t\tflags timeout\n\t}}")?;
    }
    writeln!(out, "\t# The same by interface and VLAN id: consulted once a protected link carries tags.")?;
    for (acted, shut, _, source) in sources {
        let acted = if acted == "acted_net6" { "net6" } else { acted };
        let key = format!("meta iif . vlan id . {source}");
        writeln!(out, "\tmap tagged_{acted} {{\n\t\ttypeof {key} : verdict\n\t\tflags timeout\n\t}}")?;
        let key = format!("{key} . meta l4proto . th dport");
        writeln!(out, "\tset tagged_{shut} {{\n\t\ttypeof {key}\n\t\tflags timeout\n\t}}")?;
    }
    for family in Family::ALL {
        let (n, ip, address) = (family.digit(), family.ip(), family.address());
        writeln!(out, "\t# Acted on wherever it is: in acted{n} for each interface, here for tagged frames.")?;
        writeln!(out, "\tmap anywhere{n} {{\n\t\ttype {address} : verdict\n\t\tflags timeout\n\t}}")?;
        let key = format!("{address} . inet_proto . inet_service");
        writeln!(out, "\tset anywhere_shut{n} {{\n\t\ttype {key}\n\t\tflags timeout\n\t}}")?;
        match family {
            // A field at a bare offset can be compared with numbers only.
            Family::V4 => {
                writeln!(out, "\tset isolated_raw4 {{\n\t\ttypeof @nh,96,32\n\t\tflags timeout\n\t}}")?;
            }
            Family::V6 => writeln!(out, "\tset isolated6 {{\n\t\ttype ipv6_addr\n\t\tflags timeout\n\t}}")?,
        }
        writeln!(out, "\tset anywhere_isolated{n} {{\n\t\ttype {address}\n\t\tflags timeout\n\t}}")?;
        writeln!(out, "\tset tagged_isolated{n} {{\n\t\ttypeof vlan id . {ip} daddr\n\t\tflags timeout\n\t}}")?;
    }
    writeln!(out, "\tset isolated_cards {{\n\t\ttypeof @ll,48,48\n\t\tflags timeout\n\t}}")?;
    writeln!(out, "\t# Cards that forward for others: their first contacts are counted by address.")?;
    writeln!(out, "\tset forwarders {{\n\t\ttype iface_index . ether_addr\n\t}}")
}

/// Who sends it?
pub(super) fn write_acted(out: &mut String, variant: &Variant) -> fmt::Result {
    writeln!(out, "\tchain acted {{")?;
    if variant.tagged {
        writeln!(out, "\t\tether type {{ {} }} goto acted_tagged", TAGS.join(", "))?;
    }
    writeln!(out, "\t\tmeta iif . ether saddr vmap @cards")?;
    writeln!(out, "\t\tmeta iif . ip saddr vmap @acted4")?;
    writeln!(out, "\t\tmeta iif . ip6 saddr vmap @acted6")?;
    if variant.networks {
        writeln!(out, "\t\tmeta iif . {NETWORK} vmap @acted_net6")?;
    }
    writeln!(out, "\t}}")?;
    if !variant.tagged {
        return Ok(());
    }
    writeln!(out, "\tchain acted_tagged {{")?;
    for tag in TAGS {
        let mut keys =
            vec![("ether saddr", "tagged_cards"), ("ip saddr", "tagged_acted4"), ("ip6 saddr", "tagged_acted6")];
        if variant.networks {
            keys.push((NETWORK, "tagged_net6"));
        }
        for (source, map) in keys {
            writeln!(out, "\t\tether type {tag} meta iif . vlan id . {source} vmap @{map}")?;
        }
    }
    writeln!(out, "\t\tip saddr vmap @anywhere4\n\t\tip6 saddr vmap @anywhere6\n\t}}")
}

/// What goes to an isolated address, in the variant that asks about everybody: chain `toward_isolated`.
pub(super) fn write_destinations(out: &mut String, variant: &Variant) -> fmt::Result {
    writeln!(out, "\tchain toward_untagged {{")?;
    writeln!(out, "\t\tmeta nfproto ipv4 @nh,128,32 @isolated_raw4 jump toward_isolated4")?;
    writeln!(out, "\t\tip6 daddr @isolated6 jump toward_isolated6\n\t}}\n\tchain toward_isolated {{")?;
    if !variant.tagged {
        return writeln!(out, "\t\tgoto toward_untagged\n\t}}");
    }
    for family in Family::ALL {
        let (n, ip) = (family.digit(), family.ip());
        for tag in TAGS {
            writeln!(out, "\t\tether type {tag} vlan id . {ip} daddr @tagged_isolated{n} jump toward_isolated{n}")?;
        }
        writeln!(out, "\t\t{ip} daddr @anywhere_isolated{n} jump toward_isolated{n}")?;
    }
    // nft cannot list a rule that reads the Ethernet type and a bare offset.
    writeln!(out, "\t\tether type != {{ {} }} goto toward_untagged\n\t}}", TAGS.join(", "))
}
