//! The lab's network: a gateway, and one machine behind each of its ports.
//!
//! ```text
//!  infected hosts ─┬─ switch ── office0 ┐
//!                  ┘                    │ gateway ── ward0 … ── wards: live addresses with listeners, the rest dark
//!  clinical client ─────────── clinic0 ─┤
//!  server ──────────────────── server0 ─┘
//! ```
//!
//! Every machine is a namespace without a name, so all of it goes when the [`Network`] does. Inside a machine the
//! interface is `eth0`.

use crate::lab::plan::{CLINICAL, Family, GATEWAY, INFECTED, Plan, Segment, Shape};
use crate::sys::namespace::{Error, Namespace};

/// The machines of one lab network, wired and reachable.
#[derive(Debug)]
pub struct Network {
    /// Who has which address.
    pub plan: Plan,
    /// The gateway, forwarding, without any protection.
    pub gateway: Namespace,
    /// The infected hosts, each with an office address.
    pub infected: Vec<Namespace>,
    /// All live hosts of each ward, in one machine a ward.
    pub wards: Vec<Namespace>,
    /// The uninvolved client.
    pub clinic: Namespace,
    /// The server.
    pub server: Namespace,
    _switch: Namespace,
}

impl Network {
    /// Builds the network with so many infected hosts (at least one).
    pub fn build(plan: Plan, infected: u8) -> Result<Self, Error> {
        let gateway = Namespace::new("gateway")?;
        let switch = Namespace::new("switch")?;
        let clinic = Namespace::new("clinic")?;
        let server = Namespace::new("server")?;

        switch.link(|links| links.bridge("switch0"))?;
        switch.link(|links| links.up("switch0"))?;
        plug(&switch, "uplink", &gateway, &Segment::Office.interface())?;
        switch.link(|links| links.enslave("uplink", "switch0"))?;
        for (machine, segment) in [(&clinic, Segment::Clinic), (&server, Segment::Server)] {
            plug(machine, "eth0", &gateway, &segment.interface())?;
        }
        let mut wards = Vec::new();
        for number in 0..plan.wards() {
            let ward = Namespace::new(&format!("ward{number}"))?;
            plug(&ward, "eth0", &gateway, &Segment::Ward(number).interface())?;
            wards.push(ward);
        }
        forward(&gateway, &plan)?;

        settle(&clinic, &plan, Segment::Clinic, &[CLINICAL])?;
        settle(&server, &plan, Segment::Server, &[CLINICAL])?;
        for (number, ward) in (0..).zip(&wards) {
            settle(ward, &plan, Segment::Ward(number), plan.live())?;
        }
        let mut hosts = Vec::new();
        for number in 0..infected.max(1) {
            let host = Namespace::new(&format!("infected{number}"))?;
            let port = format!("port{number}");
            plug(&host, "eth0", &switch, &port)?;
            switch.link(|links| links.enslave(&port, "switch0"))?;
            settle(&host, &plan, Segment::Office, &[INFECTED.saturating_add(number)])?;
            hosts.push(host);
        }
        Ok(Network { plan, gateway, infected: hosts, wards, clinic, server, _switch: switch })
    }
}

/// A cable between two machines, both ends up.
fn plug(machine: &Namespace, name: &str, other: &Namespace, other_name: &str) -> Result<(), Error> {
    machine.veth(name, other, other_name)?;
    machine.link(|links| links.up(name))?;
    other.link(|links| links.up(other_name))
}

/// Makes the gateway a router or a bridge.
fn forward(gateway: &Namespace, plan: &Plan) -> Result<(), Error> {
    if plan.shape() == Shape::Bridged {
        gateway.link(|links| links.bridge("br0"))?;
        gateway.link(|links| links.up("br0"))?;
        for segment in plan.segments() {
            gateway.link(|links| links.enslave(&segment.interface(), "br0"))?;
        }
        return gateway.link(|links| links.address("br0", plan.on_link(Segment::Server, GATEWAY)));
    }
    for segment in plan.segments() {
        gateway.link(|links| links.address(&segment.interface(), plan.on_link(segment, GATEWAY)))?;
    }
    match plan.family() {
        Family::Ipv4 => gateway.set("net/ipv4/ip_forward", "1"),
        Family::Ipv6 => gateway.set("net/ipv6/conf/all/forwarding", "1"),
    }
}

/// Gives a machine its addresses and its way out.
fn settle(machine: &Namespace, plan: &Plan, segment: Segment, hosts: &[u8]) -> Result<(), Error> {
    for &host in hosts {
        machine.link(|links| links.address("eth0", plan.on_link(segment, host)))?;
    }
    match plan.shape() {
        Shape::Bridged => Ok(()),
        Shape::Routed => machine.link(|links| links.route(plan.everywhere(), plan.address(segment, GATEWAY))),
    }
}
