//! The greylist's rules: a first contact with a host that is no known server has to ask twice.
//!
//! They stand in the chain of first contacts, behind what passes freely and behind the fuse, so that no other packet meets
//! them. The fuse's token is taken when a contact begins to wait, not when it asks again: a flood that the fuse stops does
//! not fill the sets of what waits. A set that is full takes no more, a rule whose `add` fails does not match, and the
//! packet is remembered and passes: the fuse alone holds then, and nobody is blocked. Why: docs/greylist.md.
//!
//! A source that the fuse limited lately waits on, however often it asks: a worm that repeats each SYN on purpose is past
//! its burst by then.
//!
//! Monitor mode counts what would have waited, and remembers it at once.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::fuse::write_met;
use super::{Family, Plan, listed, written};
use crate::config::model::{Config, GivenServer};
use crate::firewall::networks::disjoint;
use crate::respond::Mode;
use crate::wire::frame::Transport;

/// What waits is forgotten after this, if it does not ask again.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Most pairs that wait at once, each family.
const MOST_WAITING: u32 = 65_536;
/// Most servers that are learnt, each family.
pub(crate) const MOST_SERVERS: u32 = 65_536;

/// What the rules depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greylist {
    wait: Duration,
    /// Lateral services only: nothing else is a first contact.
    services: Vec<(Transport, u16)>,
    servers: Vec<GivenServer>,
}

impl Greylist {
    /// `None` where it is off, or has no fuse to stand on.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let greylist = &config.greylist;
        if !greylist.enabled || !config.fuse.enabled {
            return None;
        }
        let mut services: Vec<(Transport, u16)> = config.detect.lateral.written().to_vec();
        services.retain(|(transport, port)| match (&greylist.ports, transport) {
            (None, transport) => *transport == Transport::Tcp,
            (Some(ports), Transport::Tcp) => ports.has_tcp(*port),
            (Some(ports), _) => ports.has_udp(*port),
        });
        services.sort_unstable_by_key(|(transport, port)| (*transport == Transport::Udp, *port));
        services.dedup();
        Some(Greylist { wait: greylist.wait, services, servers: greylist.servers.clone() })
    }

    /// Networks of servers on one port, none inside another.
    fn given(&self, family: Family, service: (Transport, u16)) -> Vec<ipnetwork::IpNetwork> {
        let serving = self.servers.iter().filter(|server| (server.transport, server.port) == service);
        disjoint(serving.map(|server| &server.network), family)
    }
}

fn word(transport: Transport) -> &'static str {
    if transport == Transport::Udp { "udp" } else { "tcp" }
}

fn write_waiting(out: &mut String, name: &str, key: &str, timeout: Duration) -> fmt::Result {
    writeln!(out, "\tset {name} {{\n\t\t{key}\n\t\tsize {MOST_WAITING}\n\t\tflags dynamic,timeout")?;
    writeln!(out, "\t\ttimeout {}ms\n\t}}", timeout.as_millis().max(1))
}

impl Plan {
    /// Whether servers can be put into the kernel.
    #[must_use]
    pub fn has_greylist(&self) -> bool {
        self.greylist.is_some()
    }

    /// The services that wait.
    pub(super) fn write_greylisted(&self, out: &mut String) -> fmt::Result {
        let Some(greylist) = &self.greylist else { return Ok(()) };
        writeln!(out, "\t# Services whose first contacts ask twice.")?;
        writeln!(out, "\tset greylisted {{\n\t\ttype inet_proto . inet_service")?;
        let elements: Vec<String> =
            greylist.services.iter().map(|(transport, port)| format!("{} . {port}", word(*transport))).collect();
        if !elements.is_empty() {
            writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
        }
        writeln!(out, "\t}}")
    }

    /// The sets of servers and of what waits.
    pub(super) fn write_greylist_sets(&self, out: &mut String, family: Family) -> fmt::Result {
        let Some(greylist) = &self.greylist else { return Ok(()) };
        let (n, address) = (family.digit(), family.address());
        let server = format!("type {address} . inet_proto . inet_service");
        writeln!(out, "\t# Servers, for whom nobody waits: learnt, and given by the configuration.")?;
        writeln!(out, "\tset servers{n} {{\n\t\t{server}\n\t\tsize {MOST_SERVERS}\n\t\tflags timeout\n\t}}")?;
        writeln!(out, "\tset given_servers{n} {{\n\t\t{server}\n\t\tflags interval")?;
        let mut elements = Vec::new();
        for (transport, port) in &greylist.services {
            for network in greylist.given(family, (*transport, *port)) {
                elements.push(format!("{} . {} . {port}", written(network), word(*transport)));
            }
        }
        if !elements.is_empty() {
            writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
        }
        writeln!(out, "\t}}\n\t# What waits, and what has asked once, by port.")?;
        let key = format!("type iface_index . {address} . {address} . inet_service");
        write_waiting(out, &format!("young{n}"), &key, greylist.wait)?;
        write_waiting(out, &format!("knocked{n}"), &key, FORGOTTEN)
    }

    /// What a first contact that has asked before meets: ahead of the fuse, which it has paid.
    pub(super) fn write_asked(&self, out: &mut String, family: Family) -> fmt::Result {
        if self.greylist.is_none() || self.mode == Mode::Monitor {
            return Ok(());
        }
        let n = family.digit();
        writeln!(out, "\t\t{} @knocked{n} goto asked_again{n}", asking(family))
    }

    /// What the fuse let through meets: a rule at the end of the chain of first contacts.
    pub(super) fn write_wait(&self, out: &mut String, family: Family) -> fmt::Result {
        if self.greylist.is_none() {
            return Ok(());
        }
        writeln!(out, "\t\tjump wait{}", family.digit())
    }

    /// The greylist's own chains.
    pub(super) fn write_greylist(&self, out: &mut String, family: Family) -> fmt::Result {
        if self.greylist.is_none() {
            return Ok(());
        }
        let (n, ip) = (family.digit(), family.ip());
        let asking = asking(family);
        writeln!(out, "\t# A first contact with a host that serves nobody asks twice.")?;
        writeln!(out, "\tchain wait{n} {{")?;
        writeln!(out, "\t\tmeta l4proto . th dport != @greylisted return")?;
        for servers in ["servers", "given_servers"] {
            writeln!(out, "\t\t{ip} daddr . meta l4proto . th dport @{servers}{n} return")?;
        }
        writeln!(out, "\t\t{ip} daddr @care{n} return")?;
        match self.mode {
            Mode::Monitor => return writeln!(out, "\t\tcounter name greylist_would_drop\n\t}}"),
            Mode::Enforce => writeln!(
                out,
                "\t\tadd @young{n} {{ {asking} }} add @knocked{n} {{ {asking} }} counter name greylist_dropped drop"
            )?,
        }
        writeln!(out, "\t}}\n\t# Too soon, or by a source that the fuse limits: it waits on.")?;
        writeln!(out, "\tchain asked_again{n} {{")?;
        for waits in [
            format!("{asking} @young{n}"),
            "meta iif . ether saddr @throttled_cards".to_owned(),
            format!("meta iif . {ip} saddr @throttled{n}"),
        ] {
            writeln!(out, "\t\t{waits} counter name greylist_dropped drop")?;
        }
        write_met(out, &self.fuse, "", &format!("contacts{n}"), &format!("meta iif . {ip} saddr . {ip} daddr"))?;
        writeln!(out, "\t}}")
    }

    /// The same sets for frames that only table `netdev firedoor` sees.
    pub(super) fn write_frame_greylist_sets(&self, out: &mut String) -> fmt::Result {
        let Some(greylist) = &self.greylist else { return Ok(()) };
        for family in Family::ALL {
            let (n, Inner { destination, port, .. }) = (family.digit(), inner(0, family));
            writeln!(out, "\tset frame_servers{n} {{\n\t\ttypeof {destination} . {port}")?;
            writeln!(out, "\t\tsize {MOST_SERVERS}\n\t\tflags timeout\n\t}}")?;
            let key = format!("typeof {}", frame_asking(0, family));
            write_waiting(out, &format!("frame_young{n}"), &key, greylist.wait)?;
            write_waiting(out, &format!("frame_knocked{n}"), &key, FORGOTTEN)?;
        }
        Ok(())
    }

    /// As [`Plan::write_asked`], for what is inside a frame, `depth` octets deep.
    pub(super) fn write_frame_asked(&self, out: &mut String, depth: u16) -> fmt::Result {
        if self.greylist.is_none() || self.mode == Mode::Monitor {
            return Ok(());
        }
        for family in Family::ALL {
            let (n, version) = (family.digit(), inner(depth, family).version);
            let asking = frame_asking(depth, family);
            writeln!(out, "\t\t{version} {asking} @frame_knocked{n} goto asked_again{depth}_{n}")?;
        }
        Ok(())
    }

    /// As [`Plan::write_wait`].
    pub(super) fn write_frame_wait(&self, out: &mut String, depth: u16) -> fmt::Result {
        if self.greylist.is_none() {
            return Ok(());
        }
        writeln!(out, "\t\tjump wait{depth}")
    }

    /// As [`Plan::write_greylist`]. `met` is how a contact is keyed there.
    pub(super) fn write_frame_greylist(
        &self,
        out: &mut String,
        depth: u16,
        met: impl Fn(Family) -> String,
    ) -> fmt::Result {
        let Some(greylist) = &self.greylist else { return Ok(()) };
        writeln!(out, "\tchain wait{depth} {{")?;
        for family in Family::ALL {
            let Inner { version, protocol, destination, port } = inner(depth, family);
            let n = family.digit();
            for (word, transport, lateral) in self.lateral() {
                let free: Vec<u16> =
                    lateral.into_iter().filter(|port| !greylist.services.contains(&(transport, *port))).collect();
                let number = if word == "udp" { 17 } else { 6 };
                if !free.is_empty() {
                    writeln!(out, "\t\t{version} {protocol} {number} {port} {{ {} }} return", listed(&free))?;
                }
            }
            writeln!(out, "\t\t{version} {destination} . {port} @frame_servers{n} return")?;
            for service in &greylist.services {
                let (networks, (_, number)) = (greylist.given(family, *service), service);
                if !networks.is_empty() {
                    let ranges = super::frames::ranges(&networks);
                    writeln!(out, "\t\t{version} {port} {number} {destination} {{ {ranges} }} return")?;
                }
            }
            let care = disjoint(&self.care, family);
            if !care.is_empty() {
                writeln!(out, "\t\t{version} {destination} {{ {} }} return", super::frames::ranges(&care))?;
            }
        }
        if self.mode == Mode::Monitor {
            return writeln!(out, "\t\tcounter name greylist_would_drop\n\t}}");
        }
        for family in Family::ALL {
            let (n, version, asking) = (family.digit(), inner(depth, family).version, frame_asking(depth, family));
            writeln!(
                out,
                "\t\t{version} add @frame_young{n} {{ {asking} }} add @frame_knocked{n} {{ {asking} }} counter name greylist_dropped drop"
            )?;
        }
        writeln!(out, "\t}}")?;
        for family in Family::ALL {
            let n = family.digit();
            writeln!(out, "\tchain asked_again{depth}_{n} {{")?;
            for waits in [
                format!("{} @frame_young{n}", frame_asking(depth, family)),
                "meta iif . ether saddr @frame_throttled".to_owned(),
            ] {
                writeln!(out, "\t\t{waits} counter name greylist_dropped drop")?;
            }
            write_met(out, &self.fuse, "", &format!("frame_contacts{n}"), &met(family))?;
            writeln!(out, "\t}}")?;
        }
        Ok(())
    }
}

/// Who asks whom for what.
fn asking(family: Family) -> String {
    let ip = family.ip();
    format!("meta iif . {ip} saddr . {ip} daddr . th dport")
}

/// The fields of an IP packet inside a frame, at fixed places behind the frame's header; IPv4 without options.
struct Inner {
    version: String,
    protocol: String,
    destination: String,
    port: String,
}

fn inner(depth: u16, family: Family) -> Inner {
    let at = |octet: u16, bits: u16| format!("@nh,{},{bits}", (depth + octet) * 8);
    let version = |version: char| format!("@nh,{},4 {version}", depth * 8);
    match family {
        Family::V4 => Inner { version: version('4'), protocol: at(9, 8), destination: at(16, 32), port: at(22, 16) },
        Family::V6 => Inner { version: version('6'), protocol: at(6, 8), destination: at(24, 128), port: at(42, 16) },
    }
}

/// Who asks whom for what: there the card is who. What hides its port behind options has some other two octets there,
/// the same in each attempt.
fn frame_asking(depth: u16, family: Family) -> String {
    let Inner { destination, port, .. } = inner(depth, family);
    format!("meta iif . ether saddr . {destination} . {port}")
}
