//! The text of table `inet firedoor`: a pure function of the settings.
//!
//! The table is hooked at ingress of the protected interfaces, ahead of routing, bridging and flowtables. Order of
//! work for a packet: the source is looked up once in a verdict map; while somebody is isolated, so is the destination;
//! a TCP SYN to a lateral service goes through the fuse. Exemptions are consulted only in the chains that drop, first
//! thing there.
//!
//! **The fuse under a flood.** A set that is full takes no more elements, and a rule whose `add` fails does not match:
//! by itself that would open the fuse. So a source that found no place among the limited sources shares one bucket with
//! all such sources. Contacts are remembered for their full time at a bounded pace (half the set over the contact
//! memory); above it, and a flood of forged sources is above it, for a minute only, so that a set that was filled is
//! usable again a minute after the flood. Known contacts pass ahead of all that.
//!
//! In monitor mode the same rules count into `*_would_drop` counters and drop nothing.
//!
//! Not seen by an `inet` table: ARP (so an isolated host still resolves its care network), and IP behind a second VLAN
//! tag.

mod transaction;

use std::fmt::{self, Write as _};
use std::time::Duration;

use ipnetwork::IpNetwork;

pub use transaction::Existing;

use super::Error;
use super::networks::disjoint;
use crate::config::model::{Config, Fuse};
use crate::detect::settings::Services;
use crate::respond::Mode;
use crate::time::Timestamp;
use crate::wire::frame::Transport;

/// The table's name, in family `inet`.
pub const TABLE: &str = "firedoor";
/// The ingress chain.
pub const DOOR: &str = "door";
/// Where the table hooks among others at ingress: before flowtables (0 and up) and ahead of ordinary filters.
pub const PRIORITY: i32 = -500;
/// How long a contact is remembered that came in above the bounded pace.
const BRIEFLY: Duration = Duration::from_secs(60);
/// How long a source counts as throttled after the fuse last limited it.
const THROTTLED: Duration = Duration::from_secs(10);

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both, in the order the text has them.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    const fn digit(self) -> char {
        match self {
            Family::V4 => '4',
            Family::V6 => '6',
        }
    }

    const fn ip(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    const fn address(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }
}

/// The named counters, in the order the text declares them. Those of the other mode stay at what they were.
pub const COUNTERS: [&str; 10] = [
    "contain_dropped",
    "contain_would_drop",
    "isolate_dropped",
    "isolate_would_drop",
    "fuse_dropped",
    "fuse_would_drop",
    "fuse_shared_dropped",
    "fuse_shared_would_drop",
    "exempt_passed",
    "care_passed",
];

/// Sets and maps whose elements come and go at run time, and outlive a reload.
pub const KEPT_SETS: [&str; 10] = [
    "acted4",
    "isolated4",
    "contacts4",
    "fuse4",
    "throttled4",
    "acted6",
    "isolated6",
    "contacts6",
    "fuse6",
    "throttled6",
];

/// Everything the ruleset depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    mode: Mode,
    interfaces: Vec<String>,
    protected: Vec<IpNetwork>,
    exempt: Vec<IpNetwork>,
    care: Vec<IpNetwork>,
    lateral: Services,
    exemptions: Vec<Exemption>,
    fuse: Fuse,
}

/// Networks that a role frees from the fuse, for some services or all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exemption {
    role: String,
    hosts: Vec<IpNetwork>,
    services: Option<Services>,
}

impl Plan {
    /// From the configuration. `present` are the interfaces that exist now: a chain can only be hooked at those. Roles
    /// that ended before `now` are left out.
    ///
    /// # Errors
    /// An interface whose name the ruleset's grammar cannot hold.
    pub fn new(config: &Config, present: &[String], now: Timestamp) -> Result<Plan, Error> {
        let mut interfaces: Vec<String> =
            config.gateway.interfaces.iter().filter(|name| present.contains(name)).cloned().collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        if let Some(name) = interfaces.iter().find(|name| !speakable(name)) {
            return Err(Error::InterfaceName { name: name.clone() });
        }
        let exempt = config.respond.never_contain.written().iter().chain(config.respond.own_addresses.written());
        Ok(Plan {
            mode: config.gateway.mode,
            interfaces,
            protected: config.detect.protected.written().to_vec(),
            exempt: exempt.copied().collect(),
            care: config.gateway.care.written().to_vec(),
            lateral: config.detect.lateral.clone(),
            exemptions: config
                .detect
                .roles
                .iter()
                .filter(|role| role.until.is_none_or(|until| until > now))
                .map(|role| Exemption {
                    role: role.name.clone(),
                    hosts: role.hosts.written().to_vec(),
                    services: role.services.clone(),
                })
                .collect(),
            fuse: config.fuse,
        })
    }

    /// Monitor or enforce.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The interfaces it hooks at.
    #[must_use]
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// The hosts and networks that no rule of it drops.
    #[must_use]
    pub fn exempt(&self) -> &[IpNetwork] {
        &self.exempt
    }

    /// Replaces the hosts and networks that no rule drops.
    pub fn set_exempt(&mut self, exempt: Vec<IpNetwork>) {
        self.exempt = exempt;
    }

    /// What the door's comment says about who wrote it, and in which mode.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("Firedoor {}, {}", env!("CARGO_PKG_VERSION"), self.mode)
    }

    /// The table. With `isolation`, destinations are looked up among the isolated too: rules that every packet pays
    /// for, and that only matter while somebody is isolated.
    #[must_use]
    pub fn text(&self, isolation: bool) -> String {
        let mut out = String::with_capacity(4096);
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, isolation);
        out
    }

    fn write(&self, out: &mut String, isolation: bool) -> fmt::Result {
        writeln!(out, "table inet {TABLE} {{")?;
        for counter in COUNTERS {
            writeln!(out, "\tcounter {counter} {{ }}")?;
        }
        self.write_services(out)?;
        for family in Family::ALL {
            self.write_sets(out, family)?;
        }
        for family in Family::ALL {
            self.write_contain(out, family)?;
            self.write_isolate(out, family)?;
            if isolation {
                self.write_toward_isolated(out, family)?;
            }
            if self.fuse.enabled {
                self.write_fuse(out, family)?;
            }
        }
        if !self.interfaces.is_empty() {
            self.write_door(out, isolation)?;
        }
        writeln!(out, "}}")
    }

    fn ports(&self, transport: Transport) -> Vec<u16> {
        let mut ports: Vec<u16> =
            self.lateral.written().iter().filter(|(t, _)| *t == transport).map(|(_, port)| *port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The lateral services, as (nft's word for the transport, the set of its ports); only those that have any.
    fn lateral(&self) -> impl Iterator<Item = (&'static str, Transport, Vec<u16>)> {
        [("tcp", Transport::Tcp), ("udp", Transport::Udp)]
            .into_iter()
            .map(|(word, transport)| (word, transport, self.ports(transport)))
            .filter(|(_, _, ports)| !ports.is_empty())
    }

    fn write_services(&self, out: &mut String) -> fmt::Result {
        for (word, _, ports) in self.lateral() {
            writeln!(out, "\tset lateral_{word} {{")?;
            writeln!(out, "\t\ttype inet_service")?;
            writeln!(out, "\t\telements = {{ {} }}", listed(&ports))?;
            writeln!(out, "\t}}")?;
        }
        Ok(())
    }

    fn write_sets(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, address) = (family.digit(), family.address());
        for (name, networks) in [("exempt", &self.exempt), ("care", &self.care), ("protected", &self.protected)] {
            write_networks(out, &format!("{name}{n}"), address, &disjoint(networks, family))?;
        }
        self.write_roles(out, family)?;
        writeln!(out, "\tmap acted{n} {{\n\t\ttype {address} : verdict\n\t\tflags timeout\n\t}}")?;
        writeln!(out, "\tset isolated{n} {{\n\t\ttype {address}\n\t\tflags timeout\n\t}}")?;
        if self.fuse.enabled {
            let fuse = &self.fuse;
            let pair = format!("{address} . {address}");
            write_dynamic(out, &format!("contacts{n}"), &pair, fuse.contacts, fuse.contact_timeout)?;
            write_dynamic(out, &format!("fuse{n}"), address, fuse.sources, bucket_refills(fuse))?;
            write_dynamic(out, &format!("throttled{n}"), address, fuse.sources, THROTTLED)?;
        }
        Ok(())
    }

    /// One element for a service and a network: a role's services narrowed to the lateral ones, which is all the fuse
    /// asks about. Networks of all roles are joined for each service, so no element overlaps another.
    fn role_elements(&self, family: Family) -> Vec<String> {
        let mut elements = Vec::new();
        for (word, transport, ports) in self.lateral() {
            for port in ports {
                let holds = |services: &Services| match transport {
                    Transport::Udp => services.has_udp(port),
                    _ => services.has_tcp(port),
                };
                let hosts = self
                    .exemptions
                    .iter()
                    .filter(|exemption| exemption.services.as_ref().is_none_or(holds))
                    .flat_map(|exemption| &exemption.hosts);
                for network in disjoint(hosts, family) {
                    elements.push(format!("{} . {word} . {port}", written(network)));
                }
            }
        }
        elements
    }

    fn write_roles(&self, out: &mut String, family: Family) -> fmt::Result {
        let elements = self.role_elements(family);
        if elements.is_empty() || !self.fuse.enabled {
            return Ok(());
        }
        let (n, address) = (family.digit(), family.address());
        let mut names: Vec<&str> = self.exemptions.iter().map(|exemption| exemption.role.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names: Vec<&str> = names.into_iter().filter(|name| !name.contains(char::is_control)).collect();
        writeln!(out, "\t# Roles: {}.", names.join(", "))?;
        writeln!(out, "\tset roles{n} {{\n\t\ttype {address} . inet_proto . inet_service\n\t\tflags interval")?;
        writeln!(out, "\t\telements = {{ {} }}\n\t}}", elements.join(", "))
    }

    /// What the end of a dropping rule says: in monitor mode the packet goes on its way, past the table's other rules,
    /// as a dropped one would not have met them.
    fn verdict(&self, counter: &str) -> String {
        match self.mode {
            Mode::Enforce => format!("counter name {counter}_dropped drop"),
            Mode::Monitor => format!("counter name {counter}_would_drop accept"),
        }
    }

    fn write_contain(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, ip) = (family.digit(), family.ip());
        writeln!(out, "\tchain contain{n} {{")?;
        writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
        for (word, _, _) in self.lateral() {
            writeln!(out, "\t\t{word} dport @lateral_{word} {}", self.verdict("contain"))?;
        }
        writeln!(out, "\t}}")
    }

    fn write_isolate(&self, out: &mut String, family: Family) -> fmt::Result {
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

    fn write_toward_isolated(&self, out: &mut String, family: Family) -> fmt::Result {
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

    fn write_fuse(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, ip) = (family.digit(), family.ip());
        let fuse = &self.fuse;
        let over = format!("limit rate over {}/second burst {} packets", fuse.per_second.max(1), fuse.burst.max(1));
        let end = match self.mode {
            Mode::Enforce => "dropped drop",
            // Monitor mode goes on and remembers the contact: it was made, and the next attempt is no first contact.
            Mode::Monitor => "would_drop",
        };
        writeln!(out, "\tchain throttle{n} {{")?;
        writeln!(out, "\t\tupdate @throttled{n} {{ {ip} saddr counter }}")?;
        writeln!(out, "\t\tcounter name fuse_{end}")?;
        writeln!(out, "\t}}")?;
        let steady = u64::from(fuse.contacts) * 1800 / fuse.contact_timeout.as_secs().max(1);
        writeln!(out, "\tchain first_contact{n} {{")?;
        writeln!(out, "\t\t{ip} saddr . {ip} daddr @contacts{n} return")?;
        writeln!(out, "\t\t{ip} saddr != @protected{n} return")?;
        writeln!(out, "\t\t{ip} saddr @exempt{n} counter name exempt_passed return")?;
        if !self.role_elements(family).is_empty() {
            writeln!(out, "\t\t{ip} saddr . meta l4proto . th dport @roles{n} counter name exempt_passed return")?;
        }
        writeln!(out, "\t\tupdate @fuse{n} {{ {ip} saddr {over} }} jump throttle{n}")?;
        writeln!(out, "\t\t# A source that found no place among the limited ones shares a bucket with its like.")?;
        writeln!(out, "\t\t{ip} saddr != @fuse{n} {over} counter name fuse_shared_{end}")?;
        writeln!(out, "\t\t# Half of the contacts is filled at a bounded pace; the rest forgets within a minute.")?;
        writeln!(
            out,
            "\t\tlimit rate {}/hour burst {} packets add @contacts{n} {{ {ip} saddr . {ip} daddr }} return",
            steady.max(1),
            (fuse.contacts / 2).max(1)
        )?;
        writeln!(out, "\t\tadd @contacts{n} {{ {ip} saddr . {ip} daddr timeout {}s }}", briefly(fuse).as_secs())?;
        writeln!(out, "\t}}")
    }

    fn write_door(&self, out: &mut String, isolation: bool) -> fmt::Result {
        let devices: Vec<String> = self.interfaces.iter().map(|name| format!("\"{name}\"")).collect();
        writeln!(out, "\tchain {DOOR} {{")?;
        writeln!(out, "\t\tcomment \"{}\"", self.signature())?;
        writeln!(
            out,
            "\t\ttype filter hook ingress devices = {{ {} }} priority {PRIORITY}; policy accept;",
            devices.join(", ")
        )?;
        for family in Family::ALL {
            writeln!(out, "\t\t{} saddr vmap @acted{}", family.ip(), family.digit())?;
        }
        if isolation {
            for family in Family::ALL {
                let n = family.digit();
                writeln!(out, "\t\t{} daddr @isolated{n} jump toward_isolated{n}", family.ip())?;
            }
        }
        if self.fuse.enabled {
            for (word, transport, _) in self.lateral() {
                let opening = if transport == Transport::Tcp { "tcp flags & (syn | ack) == syn " } else { "" };
                writeln!(
                    out,
                    "\t\t{opening}{word} dport @lateral_{word} \
                     meta nfproto vmap {{ ipv4 : jump first_contact4, ipv6 : jump first_contact6 }}"
                )?;
            }
        }
        writeln!(out, "\t}}")
    }
}

/// An isolated host may ask for routers and neighbours, and is not to play the router.
const NEIGHBOUR_DISCOVERY: &str =
    "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }";
const NEIGHBOUR_DISCOVERY_ANSWERS: &str =
    "ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }";
const GROUP_MEMBERSHIP: &str = "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }";

/// A source is limited for as long as its bucket is not full again, and a little more.
fn bucket_refills(fuse: &Fuse) -> Duration {
    Duration::from_secs(u64::from(fuse.burst / fuse.per_second.max(1)) + 10)
}

fn briefly(fuse: &Fuse) -> Duration {
    BRIEFLY.min(fuse.contact_timeout).max(Duration::from_secs(1))
}

fn write_networks(out: &mut String, name: &str, address: &str, networks: &[IpNetwork]) -> fmt::Result {
    writeln!(out, "\tset {name} {{\n\t\ttype {address}\n\t\tflags interval")?;
    if !networks.is_empty() {
        let elements: Vec<String> = networks.iter().map(|network| written(*network)).collect();
        writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
    }
    writeln!(out, "\t}}")
}

fn write_dynamic(out: &mut String, name: &str, key: &str, size: u32, timeout: Duration) -> fmt::Result {
    let (size, timeout) = (size.max(1), timeout.as_secs().max(1));
    writeln!(out, "\tset {name} {{\n\t\ttype {key}\n\t\tsize {size}\n\t\tflags dynamic,timeout")?;
    writeln!(out, "\t\ttimeout {timeout}s\n\t}}")
}

/// A network as nft writes it: a single host without its prefix length.
fn written(network: IpNetwork) -> String {
    let whole = if network.is_ipv4() { 32 } else { 128 };
    if network.prefix() == whole { network.ip().to_string() } else { network.to_string() }
}

fn listed(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether an interface name can stand in a quoted string of the ruleset.
fn speakable(name: &str) -> bool {
    !name.is_empty() && name.len() < 16 && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '*'))
}

#[cfg(test)]
mod tests;
