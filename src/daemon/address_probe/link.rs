//! Which interfaces a link is asked on, and the asking itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::evidence::Attachment;
use crate::respond::address_probe::Silence;
use crate::site::{Machine, Site};
use crate::sys::inject::Injector;
use crate::time::Timestamp;
use crate::track::Shared;
use crate::wire::build::{self, End};
use crate::wire::{Address, Mac};

/// How a host's link is asked who has its address.
pub(super) struct LinkProbe {
    host: Address,
    attachment: Attachment,
    /// The interfaces to ask on, each with this gateway's end there.
    on: Vec<(u32, End)>,
    /// What it means if nobody answers.
    pub silence: Silence,
}

impl LinkProbe {
    /// For a host whose frames came from there; `None` where nobody can be asked.
    pub fn new(
        host: Address,
        attachment: Attachment,
        (site, machine, shared): (&Site, &Machine, &Shared),
        now: Timestamp,
    ) -> Option<Self> {
        if !site.detect.address_probe || attachment.mac == Mac::default() {
            return None;
        }
        let watched = |index: u32| {
            let name = machine.names.get(&index);
            name.is_some_and(|name| site.config.gateway.interfaces.contains(name))
        };
        let nowhere: IpAddr = if host.is_v4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let port = machine.ports.iter().find(|(port, _)| *port == attachment.interface);
        let bridge = port.map(|(_, bridge)| *bridge);
        let attached = site
            .detect
            .attached
            .iter()
            .any(|(index, networks)| *index == attachment.interface && networks.contains(host));
        // No router passes a link-local address on: whoever has one is on the link.
        let local = host.is_link_local();
        if attached || (local && bridge.is_none()) {
            let ip = own_beside(machine, host).unwrap_or(nowhere);
            let end = End { mac: *machine.macs.get(&attachment.interface)?, ip };
            let on = vec![(attachment.interface, end)];
            return Some(LinkProbe { host, attachment, on, silence: Silence::IsAbsence });
        }
        if bridge.is_none() || shared.addresses.is_router(attachment.link(), attachment.mac, now) {
            return None;
        }
        let of_it = machine.ports.iter().filter(|(port, of)| Some(*of) == bridge && watched(*port));
        let on = of_it.filter_map(|(port, _)| Some((*port, End { mac: *machine.macs.get(port)?, ip: nowhere })));
        let own = |(index, networks): &(u32, Vec<IpNetwork>)| {
            Some(*index) == bridge && networks.iter().any(|network| network.contains(host.ip()))
        };
        // In a network that the bridge itself has an address in, whoever is there must answer.
        let beside = local || machine.attached.iter().any(own);
        let silence = if beside { Silence::IsAbsence } else { Silence::ProvesNothing };
        Some(LinkProbe { host, attachment, on: on.collect(), silence })
    }

    /// Asks. What keeps a question from being sent is logged, and then nobody answers.
    pub fn send(&self) {
        for (interface, end) in &self.on {
            let tag = if *interface == self.attachment.interface { self.attachment.vlan } else { 0 };
            if let Err(error) = send(self.host, *interface, *end, tag) {
                tracing::warn!(host = %self.host, interface, "the link cannot be asked who has an address: {error}");
            }
        }
    }
}

/// This machine's own address in the network that `host` is in, the narrowest if there are several.
fn own_beside(machine: &Machine, host: Address) -> Option<IpAddr> {
    let networks = machine.attached.iter().flat_map(|(_, networks)| networks);
    networks.filter(|network| network.contains(host.ip())).max_by_key(|network| network.prefix()).map(IpNetwork::ip)
}

fn send(host: Address, interface: u32, end: End, vlan: u16) -> io::Result<()> {
    let mut frame = [0; build::LONGEST];
    let unsuited = || io::Error::other("no question can be built for this address");
    let mut length = build::ask(&mut frame, end, host.ip()).ok_or_else(unsuited)?;
    if vlan != 0 {
        length = build::tag(&mut frame, length, vlan).ok_or_else(unsuited)?;
    }
    Injector::open(interface)?.send(&[frame.get(..length).unwrap_or_default()]).map(drop)
}
