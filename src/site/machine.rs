//! The machine the daemon runs on, as the core must know it: own addresses, attached networks, routes, interface
//! names.

use std::collections::{BTreeSet, HashMap};

use ipnetwork::IpNetwork;

use crate::detect::ReversePaths;
use crate::sys::route::{Kernel, Link};
use crate::wire::{self, Address, Mac};

/// The machine's interfaces and addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Names by kernel index.
    pub names: HashMap<u32, String>,
    /// Its own addresses, loopback aside, as host entries.
    pub own: Vec<IpNetwork>,
    /// Networks attached to each interface.
    pub attached: Vec<(u32, Vec<IpNetwork>)>,
    /// By which interface each address is reached.
    pub reverse_paths: ReversePaths,
    /// Hardware addresses by kernel index.
    pub macs: HashMap<u32, Mac>,
    /// Ports of bridges, each with its bridge's index.
    pub ports: Vec<(u32, u32)>,
    /// VLAN interfaces: index, the interface below, the VLAN id.
    pub vlans: Vec<(u32, u32, u16)>,
    /// Routers that routes lead through, each with the interface's index (0 where the route names none).
    pub next_hops: BTreeSet<(Address, u32)>,
}

/// With more routes than this (an Internet table) nothing is said about reverse paths beyond the attached networks.
const MOST_ROUTES: usize = 65_536;

fn reverse_paths() -> ReversePaths {
    match Kernel::open().and_then(|mut kernel| kernel.paths()) {
        Ok(routes) if routes.len() <= MOST_ROUTES => ReversePaths::new(&routes),
        Ok(routes) => {
            tracing::warn!(routes = routes.len(), "too many routes to check sources by");
            ReversePaths::default()
        }
        Err(error) => {
            tracing::warn!("the routes cannot be read: {error}");
            ReversePaths::default()
        }
    }
}

fn next_hops() -> BTreeSet<(Address, u32)> {
    match Kernel::open().and_then(|mut kernel| kernel.routes()) {
        Ok(routes) => routes.next_hops.into_iter().map(|(ip, interface)| (Address::from(ip), interface)).collect(),
        Err(error) => {
            tracing::warn!("the routers cannot be read: {error}");
            BTreeSet::new()
        }
    }
}

fn links() -> Vec<Link> {
    Kernel::open().and_then(|mut kernel| kernel.links()).unwrap_or_else(|error| {
        tracing::warn!("the interfaces cannot be read: {error}");
        Vec::new()
    })
}

impl Machine {
    /// Reads this machine's.
    #[must_use]
    pub fn now() -> Self {
        let mut machine = Machine { reverse_paths: reverse_paths(), ..Machine::default() };
        for interface in pnet::datalink::interfaces() {
            machine.names.insert(interface.index, interface.name.clone());
            if interface.is_loopback() {
                continue;
            }
            // pnet brings an older ipnetwork of its own.
            let networks: Vec<IpNetwork> = interface
                .ips
                .iter()
                .filter_map(|network| IpNetwork::new(network.ip(), network.prefix()).ok())
                .collect();
            machine.own.extend(networks.iter().map(|network| IpNetwork::from(network.ip())));
            // A host route attaches nobody else, and every link has fe80::/10.
            let attached: Vec<IpNetwork> = networks
                .into_iter()
                .filter(|network| match network {
                    IpNetwork::V4(four) => four.prefix() < 31,
                    IpNetwork::V6(six) => six.prefix() < 127 && !six.ip().is_unicast_link_local(),
                })
                .collect();
            if !attached.is_empty() {
                machine.attached.push((interface.index, attached));
            }
        }
        let links = links();
        let bridges: Vec<u32> =
            links.iter().filter(|link| link.kind.as_deref() == Some("bridge")).map(|link| link.index).collect();
        machine.macs = links.iter().filter_map(|link| Some((link.index, link.mac?))).collect();
        machine.ports = links
            .iter()
            .filter_map(|link| Some((link.index, link.master.filter(|master| bridges.contains(master))?)))
            .collect();
        machine.ports.sort_unstable();
        machine.vlans = links.iter().filter_map(|link| Some((link.index, link.parent?, link.vlan?))).collect();
        machine.vlans.sort_unstable();
        machine.next_hops = next_hops();
        machine.own.sort_unstable();
        machine.own.dedup();
        machine.attached.sort_unstable_by_key(|(index, _)| *index);
        machine
    }

    /// Which of `wanted` exist now.
    #[must_use]
    pub fn present(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().filter(|name| self.names.values().any(|known| known == *name)).cloned().collect()
    }

    /// The links on which frames of somebody behind an interface show, as capture and door see them: the interface itself;
    /// for a bridge its ports; for a VLAN interface the one below, with a tag.
    #[must_use]
    pub fn links_of(&self, interface: u32, watched: &[String]) -> Vec<wire::Link> {
        let is_watched = |index: &u32| self.names.get(index).is_some_and(|name| watched.contains(name));
        let (mut below, mut outer) = (interface, 0);
        loop {
            if is_watched(&below) {
                return vec![wire::Link { interface: below, outer, inner: 0 }];
            }
            let ports = self.ports.iter().filter(|(port, bridge)| *bridge == below && is_watched(port));
            let links: Vec<_> = ports.map(|(port, _)| wire::Link { interface: *port, outer, inner: 0 }).collect();
            if !links.is_empty() || outer != 0 {
                return links;
            }
            let Some((_, parent, vlan)) = self.vlans.iter().find(|(index, ..)| *index == below) else {
                return Vec::new();
            };
            (below, outer) = (*parent, *vlan);
        }
    }

    /// A link by name, as `respond::Settings::link_name` writes it.
    #[must_use]
    pub fn link_named(&self, name: &str) -> Option<wire::Link> {
        let index = |name: &str| self.names.iter().find(|(_, known)| *known == name).map(|(index, _)| *index);
        if let Some(interface) = index(name) {
            return Some(wire::Link::untagged(interface));
        }
        let (rest, last) = name.rsplit_once('.')?;
        let tag: u16 = last.parse().ok()?;
        if let Some(interface) = index(rest) {
            return Some(wire::Link { interface, outer: tag, inner: 0 });
        }
        let (rest, outer) = rest.rsplit_once('.')?;
        Some(wire::Link { interface: index(rest)?, outer: outer.parse().ok()?, inner: tag })
    }
}
