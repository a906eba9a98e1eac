//! The fuse's chains: whose bucket a first contact is counted in, and how it is remembered.

use std::fmt::{self, Write as _};

use super::{Family, Fuse, NETWORK, Plan, THROTTLED, briefly, bucket_refills, write_dynamic};
use crate::respond::Mode;

impl Plan {
    fn rate(&self, times: u32) -> String {
        let fuse = &self.fuse;
        let (rate, burst) = (fuse.per_second.max(1).saturating_mul(times), fuse.burst.max(1).saturating_mul(times));
        format!("limit rate over {rate}/second burst {burst} packets")
    }

    /// What the end of a limiting rule says. Monitor mode continues and remembers the contact: it was made, and the next
    /// attempt is no first contact.
    fn limited(&self) -> &'static str {
        match self.mode {
            Mode::Enforce => "dropped drop",
            Mode::Monitor => "would_drop",
        }
    }

    /// The sets of cards and of networks.
    pub(super) fn write_card_limits(&self, out: &mut String) -> fmt::Result {
        let fuse = &self.fuse;
        let card = "iface_index . ether_addr";
        write_dynamic(out, "fuse_cards", card, fuse.sources, bucket_refills(fuse))?;
        write_dynamic(out, "throttled_cards", card, fuse.sources, THROTTLED)?;
        write_dynamic(out, "fuse_net6", "iface_index . ipv6_addr", fuse.sources, bucket_refills(fuse))
    }

    pub(super) fn write_fuse(&self, out: &mut String) -> fmt::Result {
        let (over, end) = (self.rate(1), self.limited());
        writeln!(out, "\tchain throttle_card {{")?;
        writeln!(out, "\t\tupdate @throttled_cards {{ meta iif . ether saddr counter }}")?;
        writeln!(out, "\t\tcounter name fuse_{end}\n\t}}")?;
        writeln!(out, "\t# A card's bucket is one for both families, and for what it sends inside tunnels.")?;
        writeln!(out, "\tchain limit_card {{")?;
        writeln!(out, "\t\tupdate @fuse_cards {{ meta iif . ether saddr {over} }} jump throttle_card")?;
        writeln!(out, "\t\t# A source that found no place among the limited ones shares a bucket with its like.")?;
        writeln!(out, "\t\tmeta iif . ether saddr != @fuse_cards {over} counter name fuse_shared_{end}")?;
        writeln!(out, "\t}}")?;
        for family in Family::ALL {
            self.write_first_contact(out, family)?;
        }
        writeln!(out, "\tchain first_contact {{")?;
        writeln!(out, "\t\tmeta nfproto vmap {{ ipv4 : goto first_contact4, ipv6 : goto first_contact6 }}\n\t}}")
    }

    fn write_first_contact(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, ip) = (family.digit(), family.ip());
        let (fuse, over, end) = (&self.fuse, self.rate(1), self.limited());
        let pair = format!("meta iif . {ip} saddr . {ip} daddr");
        writeln!(out, "\tchain throttle{n} {{")?;
        writeln!(out, "\t\tupdate @throttled{n} {{ meta iif . {ip} saddr counter }}")?;
        writeln!(out, "\t\tcounter name fuse_{end}\n\t}}")?;
        writeln!(out, "\t# Behind a router, and where there are no cards: by address.")?;
        writeln!(out, "\tchain limit{n} {{")?;
        writeln!(out, "\t\tupdate @fuse{n} {{ meta iif . {ip} saddr {over} }} jump throttle{n}")?;
        if family == Family::V6 {
            writeln!(out, "\t\tupdate @fuse_net6 {{ meta iif . {NETWORK} {} }} jump throttle6", self.rate(2))?;
        }
        writeln!(out, "\t\tmeta iif . {ip} saddr != @fuse{n} {over} counter name fuse_shared_{end}")?;
        writeln!(out, "\t}}")?;
        writeln!(out, "\tchain first_contact{n} {{")?;
        writeln!(out, "\t\t{pair} @contacts{n} return")?;
        writeln!(out, "\t\t{ip} saddr != @protected{n} return")?;
        writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
        if !self.role_elements(family).is_empty() {
            writeln!(out, "\t\t{ip} saddr . meta l4proto . th dport @roles{n} counter name exempt_passed return")?;
        }
        self.write_asked(out, family)?;
        writeln!(out, "\t\tjump limit_first{n}")?;
        self.write_wait(out, family)?;
        write_met(out, fuse, "", &format!("contacts{n}"), &pair)?;
        writeln!(out, "\t}}")?;
        writeln!(out, "\tchain limit_first{n} {{")?;
        writeln!(out, "\t\tmeta iiftype != ether goto limit{n}")?;
        writeln!(out, "\t\tmeta iif . ether saddr @forwarders goto limit{n}")?;
        writeln!(out, "\t\tgoto limit_card\n\t}}")?;
        self.write_greylist(out, family)
    }
}

/// The rules that add a contact: where `proof` holds, `pair` to `set`.
pub(super) fn write_met(out: &mut String, fuse: &Fuse, proof: &str, set: &str, pair: &str) -> fmt::Result {
    let steady = u64::from(fuse.contacts) * 1800 / fuse.contact_timeout.as_secs().max(1);
    writeln!(out, "\t\t# Half of the contacts is filled at a bounded pace; the rest forgets within a minute.")?;
    writeln!(
        out,
        "\t\t{proof}limit rate {}/hour burst {} packets add @{set} {{ {pair} }} return",
        steady.max(1),
        (fuse.contacts / 2).max(1)
    )?;
    writeln!(out, "\t\t{proof}add @{set} {{ {pair} timeout {}s }}", briefly(fuse).as_secs())
}
