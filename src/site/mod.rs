//! A configuration, and the machine that it is asked of: what the core, the responder and the kernel are set up by.
//!
//! [`Config`] says what an engineer wrote, and knows no machine; a [`Site`] is made of it by [`Site::new`] alone.

mod machine;

use std::sync::Arc;

use crate::config::Config;
use crate::detect;
use crate::detect::settings::Greylist;
use crate::firewall::{self, Plan};
use crate::respond::{self, Mode};
use crate::time::Timestamp;
use crate::track::buckets::Fuse;
use crate::wire::frame::Transport;
use crate::wire::{Networks, Services};

pub use machine::Machine;

/// A configuration on a machine.
#[derive(Clone, Debug)]
pub struct Site {
    /// As written.
    pub config: Config,
    /// What the detectors are tuned by.
    pub detect: Arc<detect::Settings>,
    /// What the responder decides by.
    pub respond: respond::Settings,
    /// The protected interfaces that exist.
    present: Vec<String>,
}

impl Site {
    /// `config` on `machine`.
    #[must_use]
    pub fn new(config: &Config, machine: &Machine) -> Self {
        let own = Networks::new(machine.own.clone());
        let watched =
            |index: &u32| machine.names.get(index).is_some_and(|name| config.gateway.interfaces.contains(name));
        let attached = machine.attached.iter().filter(|(index, _)| watched(index));
        let detect = detect::Settings {
            own: own.clone(),
            attached: attached.map(|(index, networks)| (*index, Networks::new(networks.clone()))).collect(),
            reverse_paths: machine.reverse_paths.clone(),
            live: true,
            fuse: (config.fuse.enabled && config.gateway.mode == Mode::Enforce)
                .then_some(Fuse { burst: config.fuse.burst, per_second: config.fuse.per_second }),
            greylist: config.fuse.enabled.then(|| greylist(config)),
            learns_servers: true,
            ..config.detect.clone()
        };
        let mut interfaces: Vec<_> = machine.names.iter().map(|(index, name)| (*index, name.clone())).collect();
        interfaces.sort_unstable();
        let respond =
            respond::Settings { own_addresses: own, mode: config.gateway.mode, interfaces, ..config.respond.clone() };
        let present = machine.present(&config.gateway.interfaces);
        Site { config: config.clone(), detect: Arc::new(detect), respond, present }
    }

    /// What the kernel is to do. Roles that have ended at `now` are left out.
    ///
    /// # Errors
    /// An interface has a name that no ruleset can hold.
    pub fn plan(&self, now: Timestamp) -> Result<Plan, firewall::Error> {
        Plan::new(&self.config, &self.respond.own_addresses, &self.present, now)
    }

    /// The protected interfaces that exist.
    #[must_use]
    pub fn present(&self) -> &[String] {
        &self.present
    }
}

/// The kernel's greylist as the core mirrors it. Where it is off, it is still reported who would have waited: an engineer sees
/// the cost before he pays it.
fn greylist(config: &Config) -> Greylist {
    let greylist = &config.greylist;
    let mut services = config.detect.lateral.written().to_vec();
    services.retain(|(transport, port)| match (&greylist.ports, transport) {
        (None, transport) => *transport == Transport::Tcp,
        (Some(ports), Transport::Tcp) => ports.has_tcp(*port),
        (Some(ports), _) => ports.has_udp(*port),
    });
    Greylist {
        drops: greylist.enabled && config.gateway.mode == Mode::Enforce,
        wait: greylist.wait,
        services: Services::new(&services),
        given: greylist.servers.iter().map(|server| (server.network, server.transport, server.port)).collect(),
        care: config.gateway.care.clone(),
        exempt: config.respond.never_contain.clone(),
    }
}

impl Default for Site {
    fn default() -> Self {
        Site::new(&Config::default(), &Machine::default())
    }
}
