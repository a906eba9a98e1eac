//! The text of tables `inet firedoor` and `netdev firedoor`: a pure function of the settings.
//!
//! The table is hooked at ingress of the protected interfaces, ahead of routing, bridging and flowtables. A packet meets
//! as little as can be:
//!
//! 1. Whole segments and datagrams whose destination port is in `to_ports`, or whose source port is in `from_ports`, go
//!    to `watched`. What is in neither passes. Both sets are bitmaps in the kernel (no size, no flags), and what stands
//!    ahead of them compares bare fields of the header, which costs a few nanoseconds each; so an ordinary packet pays for
//!    two look-ups, whoever is acted on. Fragments, extension headers and other protocols go to `rest`.
//! 2. While nobody is acted on, only lateral services are in `to_ports`: a SYN to one passes the fuse. While somebody is
//!    ([`Variant::acted`]), what comes from a lateral service or goes to a port that is shut for somebody is watched too,
//!    and by way of `acting` the way leads past `acted` first: nothing else is dropped of what a contained host sends.
//!    Which of both is a matter of a few elements, so the first containment loads no text.
//! 3. `acted` asks who sends it: the card, then the address, each a verdict map keyed by interface. So the same address
//!    on two interfaces is two hosts. In the variant for tags, frames with a tag are looked up with their VLAN id and in
//!    maps of their own. Few rules lead there: at each change of elements the kernel follows every way to a map, and
//!    looks through all of its jumps.
//! 4. While somebody is isolated, every packet's source and destination are compared with the few that are, and what
//!    matches is `asked` about: only then by interface.
//!
//! **Towards an isolated address** no interface is part of the key: the side by which a packet leaves is not known at
//! ingress. So where two hosts on two interfaces have the same address and one is isolated, the other sends freely, but
//! what is sent to it is dropped as well, apart from care and exempt sources. (Behind a VLAN tag the tag is part of the
//! key.) A card or a /64 that is isolated is cut off as a source alone; its addresses are places of their own.
//!
//! Exemptions are consulted only in the chains that drop, first thing there.
//!
//! **The fuse.** A bucket belongs to a card on an interface, whatever addresses it uses; for cards that forward for
//! others, and where there are no cards, to an address on an interface (and twice as much to its /64). So who forges
//! addresses empties the bucket of his own card. Contacts are keyed by interface, source and destination: a forger can
//! use what the forged address knows already, which shows him nothing new, and can add nothing to it beyond his bucket.
//! Who forges the card of another on the same interface does empty its bucket: nothing at ingress distinguishes them.
//!
//! **The fuse under a flood.** A set that is full takes no more elements, and a rule whose `add` fails does not match:
//! by itself that would open the fuse. So a source that found no place among the limited sources shares one bucket with
//! all such sources. Contacts are remembered for their full time at a bounded pace (half the set over the contact
//! memory); above it, and a flood of forged sources is above it, for a minute only, so that a set that was filled is
//! usable again a minute after the flood. Known contacts pass ahead of all that.
//!
//! In monitor mode the same rules count into `*_would_drop` counters and drop nothing.
//!
//! Not seen by an `inet` table: ARP (so an isolated host still resolves its care network), a second VLAN tag, PPPoE,
//! MPLS. See [`frames`].

mod door;
mod drops;
mod fragments;
mod frames;
mod fuse;
pub(crate) mod greylist;
mod places;
mod transaction;
mod tunnels;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::time::Duration;

use ipnetwork::IpNetwork;

pub use transaction::{Existing, Frames};

use super::Error;
use super::networks::disjoint;
use crate::config::model::{Config, Fuse};
use crate::respond::Mode;
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Networks, Services};
use places::{write_acted, write_destinations, write_places};

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
pub const COUNTERS: [&str; 18] = [
    "contain_dropped",
    "contain_would_drop",
    "isolate_dropped",
    "isolate_would_drop",
    "fuse_dropped",
    "fuse_would_drop",
    "fuse_shared_dropped",
    "fuse_shared_would_drop",
    "greylist_dropped",
    "greylist_would_drop",
    "fragment_dropped",
    "fragment_would_drop",
    "encapsulated_dropped",
    "encapsulated_would_drop",
    "tunnel_dropped",
    "tunnel_would_drop",
    "exempt_passed",
    "care_passed",
];

/// Sets and maps whose elements come and go at run time, and outlive a reload; with the octets of a key, by which those
/// of an earlier version are recognised.
pub const KEPT_SETS: [(&str, u32); 55] = [
    ("acted4", 8),
    ("isolated_raw4", 4),
    ("contacts4", 12),
    ("fuse4", 8),
    ("throttled4", 8),
    ("acted6", 20),
    ("isolated6", 16),
    ("contacts6", 36),
    ("fuse6", 20),
    ("throttled6", 20),
    ("cards", 12),
    ("isolated_cards", 6),
    ("fuse_cards", 12),
    ("throttled_cards", 12),
    ("forwarders", 12),
    ("acted_net6", 20),
    ("fuse_net6", 20),
    ("shut4", 16),
    ("shut6", 28),
    ("shut_cards", 20),
    ("shut_net6", 28),
    ("tagged_cards", 16),
    ("tagged_acted4", 12),
    ("tagged_acted6", 24),
    ("tagged_net6", 24),
    ("tagged_isolated4", 8),
    ("tagged_isolated6", 20),
    ("tagged_shut_cards", 24),
    ("tagged_shut4", 20),
    ("tagged_shut6", 32),
    ("tagged_shut_net6", 32),
    ("anywhere4", 4),
    ("anywhere6", 16),
    ("anywhere_shut4", 12),
    ("anywhere_shut6", 24),
    ("anywhere_isolated4", 4),
    ("anywhere_isolated6", 16),
    ("frame_cards", 12),
    ("frame_tagged_cards", 16),
    ("double_cards", 20),
    ("frame_forwarders", 12),
    ("frame_fuse", 12),
    ("frame_throttled", 12),
    ("servers4", 12),
    ("servers6", 24),
    ("young4", 16),
    ("young6", 40),
    ("knocked4", 16),
    ("knocked6", 40),
    ("frame_servers4", 8),
    ("frame_servers6", 20),
    ("frame_young4", 20),
    ("frame_young6", 32),
    ("frame_knocked4", 20),
    ("frame_knocked6", 32),
];

/// The octets of a key of one of [`KEPT_SETS`].
pub(super) fn kept(set: &str) -> Option<u32> {
    KEPT_SETS.iter().find(|(name, _)| *name == set).map(|(_, key)| *key)
}

/// The sets that say which packets are watched: see [`Plan::dispatch`].
pub(super) const DISPATCH: [&str; 3] = ["acting", "from_ports", "to_ports"];

/// Most ports shut at once one by one; above it, every packet's source is looked up.
pub(super) const MOST_SHUT: usize = 1024;

/// A set of [`DISPATCH`] and a key's octets.
pub(super) type Way = (&'static str, Vec<u8>);

/// What of the text depends on what is going on, not on the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Somebody is isolated: every packet's source and destination are compared with the isolated addresses.
    pub isolation: bool,
    /// A card is isolated: every packet's card is compared with the isolated ones.
    pub cards: bool,
    /// Every packet's sender is asked about by all that is acted on: an isolated /64, isolation by tag, or more ports shut
    /// than are kept one by one.
    pub everybody: bool,
    /// A protected link carries VLAN tags: they are part of the key.
    pub tagged: bool,
    /// A /64 behind a router is acted on.
    pub networks: bool,
    /// Interfaces where frames can pass that the `inet` table does not see: a bridge's ports.
    pub frames: Vec<String>,
    /// Somebody is acted on: by a few elements, not by text.
    pub acted: bool,
    /// Ports that are shut for somebody: by elements too.
    pub shut: BTreeSet<u16>,
}

impl Variant {
    /// Whether packets are compared with the isolated few, ahead of asking who sends them.
    fn is_compared(&self) -> bool {
        self.isolation && !self.everybody
    }
}

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
    greylist: Option<greylist::Greylist>,
    tagged: bool,
}

/// Networks that a role frees from the fuse, for some services or all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exemption {
    role: String,
    hosts: Vec<IpNetwork>,
    services: Option<Services>,
}

impl Plan {
    /// From the configuration; `own` are the gateway's own addresses. `present` are the interfaces that exist now: a chain can only be hooked at those. Roles
    /// that ended before `now` are left out.
    ///
    /// # Errors
    /// An interface whose name the ruleset's grammar cannot hold.
    pub fn new(config: &Config, own: &Networks, present: &[String], now: Timestamp) -> Result<Plan, Error> {
        let mut interfaces: Vec<String> =
            config.gateway.interfaces.iter().filter(|name| present.contains(name)).cloned().collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        if let Some(name) = interfaces.iter().find(|name| !speakable(name)) {
            return Err(Error::InterfaceName { name: name.clone() });
        }
        let exempt = config.respond.never_contain.written().iter().chain(own.written());
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
            greylist: greylist::Greylist::of(config),
            tagged: false,
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

    /// Whether VLAN tags are part of a place from the start. Without it they are once a place with a tag is acted on.
    pub fn set_tagged(&mut self, tagged: bool) {
        self.tagged = tagged;
    }

    /// Whether VLAN tags are part of a place from the start.
    #[must_use]
    pub fn tagged(&self) -> bool {
        self.tagged
    }

    /// What the door's comment says about who wrote it, and in which mode.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("Firedoor {}, {}", env!("CARGO_PKG_VERSION"), self.mode)
    }

    /// The table as an engineer is shown it. With `isolation`, destinations are looked up among the isolated too: rules
    /// that every packet pays for, and that only matter while somebody is isolated.
    #[must_use]
    pub fn text(&self, isolation: bool) -> String {
        self.variant(&Variant {
            isolation,
            cards: isolation,
            everybody: isolation && self.tagged,
            tagged: self.tagged,
            ..Variant::default()
        })
    }

    /// The tables, as what is going on needs them.
    #[must_use]
    pub fn variant(&self, variant: &Variant) -> String {
        let mut out = String::with_capacity(16_384);
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, variant);
        out
    }

    fn write(&self, out: &mut String, variant: &Variant) -> fmt::Result {
        writeln!(out, "table inet {TABLE} {{")?;
        for counter in COUNTERS {
            writeln!(out, "\tcounter {counter} {{ }}")?;
        }
        self.write_services(out)?;
        for family in Family::ALL {
            self.write_sets(out, family)?;
        }
        write_places(out)?;
        if self.fuse.enabled {
            self.write_card_limits(out)?;
        }
        self.write_dispatch(out, variant)?;
        self.write_contain(out)?;
        for family in Family::ALL {
            self.write_isolate(out, family)?;
            if variant.isolation {
                self.write_toward_isolated(out, family)?;
            }
        }
        write_acted(out, variant)?;
        if self.fuse.enabled {
            self.write_fuse(out)?;
            self.write_tunnels(out)?;
        }
        self.write_fragments(out)?;
        self.write_watched(out, variant)?;
        if variant.isolation && variant.everybody {
            write_destinations(out, variant)?;
        }
        if !self.interfaces.is_empty() {
            self.write_door(out, variant)?;
        }
        writeln!(out, "}}")?;
        self.write_frames(out, variant)
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
        self.write_greylisted(out)
    }

    fn write_sets(&self, out: &mut String, family: Family) -> fmt::Result {
        let (n, address) = (family.digit(), family.address());
        for (name, networks) in [("exempt", &self.exempt), ("care", &self.care), ("protected", &self.protected)] {
            write_networks(out, &format!("{name}{n}"), address, &disjoint(networks, family))?;
        }
        self.write_roles(out, family)?;
        if self.fuse.enabled {
            let fuse = &self.fuse;
            let (one, pair) = (format!("iface_index . {address}"), format!("iface_index . {address} . {address}"));
            write_dynamic(out, &format!("contacts{n}"), &pair, fuse.contacts, fuse.contact_timeout)?;
            write_dynamic(out, &format!("fuse{n}"), &one, fuse.sources, bucket_refills(fuse))?;
            write_dynamic(out, &format!("throttled{n}"), &one, fuse.sources, THROTTLED)?;
        }
        self.write_greylist_sets(out, family)
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
        writeln!(out, "\t\telements = {{ {} }}\n\t}}", elements.join(", "))?;
        write_networks(out, &format!("role_hosts{n}"), address, &self.role_hosts(family))
    }

    /// Hosts with a role for any lateral service: what is inside their tunnels is their role's business.
    fn role_hosts(&self, family: Family) -> Vec<IpNetwork> {
        if self.role_elements(family).is_empty() {
            return Vec::new();
        }
        let lateral = |services: &Services| {
            self.lateral.written().iter().any(|(transport, port)| match transport {
                Transport::Udp => services.has_udp(*port),
                _ => services.has_tcp(*port),
            })
        };
        let hosts = self.exemptions.iter().filter(|exemption| exemption.services.as_ref().is_none_or(lateral));
        disjoint(hosts.flat_map(|exemption| &exemption.hosts), family)
    }
}

/// The families as the kernel's `nf_proto` has them.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The two types of VLAN tag (IEEE 802.1Q, 802.1ad), as nft writes them.
const TAGS: [&str; 2] = ["8021q", "8021ad"];
/// An IPv6 source's /64.
const NETWORK: &str = "ip6 saddr & ffff:ffff:ffff:ffff::";

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

fn quoted(interfaces: &[String]) -> String {
    interfaces.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
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
