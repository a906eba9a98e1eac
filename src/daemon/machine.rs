//! The machine the daemon runs on, as the core must know it: own addresses, attached networks, routes, interface
//! names.

use std::collections::HashMap;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::config::Config;
use crate::detect::settings::{Fuse, Networks};
use crate::detect::{self, Paths};
use crate::respond::{self, Mode};
use crate::sys::route::{Kernel, Link};
use crate::wire::Mac;

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
    pub paths: Paths,
    /// Hardware addresses by kernel index.
    pub macs: HashMap<u32, Mac>,
    /// Ports of bridges, each with its bridge's index.
    pub ports: Vec<(u32, u32)>,
}

/// With more routes than this (an Internet table) nothing is said about reverse paths beyond the attached networks.
const MOST_ROUTES: usize = 65_536;

fn paths() -> Paths {
    match Kernel::open().and_then(|mut kernel| kernel.paths()) {
        Ok(routes) if routes.len() <= MOST_ROUTES => Paths::new(&routes),
        Ok(routes) => {
            tracing::warn!(routes = routes.len(), "too many routes to check sources by");
            Paths::default()
        }
        Err(error) => {
            tracing::warn!("the routes cannot be read: {error}");
            Paths::default()
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
        let mut machine = Machine { paths: paths(), ..Machine::default() };
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

    /// The configuration with what only the machine knows filled in.
    #[must_use]
    pub fn complete(&self, config: &Config) -> Config {
        let mut config = config.clone();
        let own = Networks::new(self.own.clone());
        config.detect.own = own.clone();
        config.respond.own_addresses = own;
        config.respond.mode = config.gateway.mode;
        let watched = |index: &u32| self.names.get(index).is_some_and(|name| config.gateway.interfaces.contains(name));
        config.detect.paths = self.paths.clone();
        config.detect.attached = self
            .attached
            .iter()
            .filter(|(index, _)| watched(index))
            .map(|(index, networks)| (*index, Networks::new(networks.clone())))
            .collect();
        config.detect.fuse = (config.fuse.enabled && config.gateway.mode == Mode::Enforce)
            .then_some(Fuse { burst: config.fuse.burst, per_second: config.fuse.per_second });
        config
    }
}

/// The core's settings of a completed configuration.
#[must_use]
pub fn core_settings(config: &Config) -> (Arc<detect::Settings>, respond::Settings) {
    (Arc::new(config.detect.clone()), config.respond.clone())
}
