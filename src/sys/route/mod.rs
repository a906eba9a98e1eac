//! What the kernel knows of the network around this gateway, by rtnetlink: interfaces, its own addresses, routes,
//! neighbours; and word of their changes.
//!
//! Lists are read as a stream and in time linear in their length; entries that cannot be read are left out. Nothing
//! here changes anything. Formats: rtnetlink(7), `linux/rtnetlink.h`; numbers are in the machine's order.

mod message;
mod uapi;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ipnetwork::IpNetwork;

use super::netlink::{Error, Message, Protocol, Socket, messages};
use crate::wire::{Address, Mac};
use message::{read_address, read_hops, read_link, read_neighbour, read_route};
use uapi::{
    ADDRESS_HEADER, GET_ADDRESS, GET_LINK, GET_NEIGHBOUR, GET_ROUTE, GROUP_ADDRESS_V4, GROUP_ADDRESS_V6, GROUP_LINK,
    GROUP_NEIGHBOUR, GROUP_ROUTE_V4, GROUP_ROUTE_V6, LINK_HEADER, NEIGHBOUR_HEADER, ROUTE_HEADER,
};

pub use message::{change, routes};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index: unique while it lives.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it has a six-octet one.
    pub mac: Option<Mac>,
    /// Administratively up.
    pub up: bool,
    /// Up and with a carrier.
    pub running: bool,
    /// The bridge or bond it is a port of, by index.
    pub master: Option<u32>,
    /// The interface it sits on, by index: a VLAN's trunk, a veth's far end where that is in sight.
    pub parent: Option<u32>,
    /// The kernel's word for its kind (`bridge`, `vlan`, `bond`, `veth` …); none for plain hardware.
    pub kind: Option<String>,
    /// Its VLAN id, for a VLAN interface.
    pub vlan: Option<u16>,
}

/// One of this machine's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// The interface's index.
    pub interface: u32,
    /// The address, with the prefix length of its network.
    pub network: IpNetwork,
}

/// Where packets leave to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Routers that routes lead through, with the interface's index (0 where the route names none).
    pub next_hops: BTreeSet<(IpAddr, u32)>,
    /// Networks reached without a router, with the interface's index.
    pub attached: BTreeSet<(IpNetwork, u32)>,
}

/// What the kernel's neighbour table says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It answered, lately or some time ago.
    Alive,
    /// It is being asked for, and has not answered yet.
    Asked,
    /// It was asked for and did not answer.
    Dead,
}

/// An entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface's index.
    pub interface: u32,
    /// The address.
    pub address: Address,
    /// Its hardware address, if known.
    pub mac: Option<Mac>,
    /// Whether it is alive.
    pub liveness: Liveness,
    /// It was asked and has answered lately, or an engineer said so; otherwise the hardware address is what somebody
    /// claimed, or what was so some time ago.
    pub confirmed: bool,
}

/// A connection to ask over.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
}

impl Kernel {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Kernel { socket: Socket::open(Protocol::Route)? })
    }

    /// Every interface.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.list("interfaces", GET_LINK, &[0; LINK_HEADER], Vec::clear, |found: &mut Vec<Link>, message| {
            found.extend(read_link(message.body));
        })
    }

    /// This machine's own addresses, loopback's among them.
    pub fn addresses(&mut self) -> Result<Vec<Own>, Error> {
        self.list("addresses", GET_ADDRESS, &[0; ADDRESS_HEADER], Vec::clear, |found: &mut Vec<Own>, message| {
            found.extend(read_address(message.body));
        })
    }

    /// Next hops and attached networks of all unicast routes, whichever table they are in.
    pub fn routes(&mut self) -> Result<Routes, Error> {
        let restart = |routes: &mut Routes| *routes = Routes::default();
        self.list("routes", GET_ROUTE, &[0; ROUTE_HEADER], restart, |routes, message| {
            read_route(message.body, routes);
        })
    }

    /// All unicast routes, as (table, network, index of the interface it leaves by).
    pub fn paths(&mut self) -> Result<Vec<(u32, IpNetwork, u32)>, Error> {
        self.list("routes", GET_ROUTE, &[0; ROUTE_HEADER], Vec::clear, |found: &mut Vec<_>, message| {
            read_hops(message.body, |hop| found.push((hop.table, hop.network, hop.interface)));
        })
    }

    /// The neighbour table: ARP and neighbour discovery.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        let take = |found: &mut Vec<Neighbour>, message: Message<'_>| found.extend(read_neighbour(message.body));
        self.list("neighbours", GET_NEIGHBOUR, &[0; NEIGHBOUR_HEADER], Vec::clear, take)
    }

    fn list<S: Default>(
        &mut self,
        what: &'static str,
        kind: u16,
        header: &[u8],
        restart: impl Fn(&mut S),
        take: impl Fn(&mut S, Message<'_>),
    ) -> Result<S, Error> {
        let mut found = S::default();
        let each = |found: &mut S, message: Message<'_>| {
            take(found, message);
            ControlFlow::Continue(())
        };
        self.socket.dump(what, kind, |out| out.raw(header), &mut found, restart, each)?;
        Ok(found)
    }
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface came, or went up or down, or was renamed.
    Link(Link),
    /// An interface is gone.
    LinkGone(Link),
    /// This machine has this address now.
    Address(Own),
    /// This machine no longer has this address.
    AddressGone(Own),
    /// The neighbour table says this now.
    Neighbour(Neighbour),
    /// A route came, went or changed.
    Route,
    /// Changes were lost: read anew what matters.
    Lost,
}

/// Word of changes. Readable (its descriptor is) when there are some.
#[derive(Debug)]
pub struct Changes {
    socket: Socket,
}

impl Changes {
    /// Most changes that one [`Changes::drain`] gives, so that a storm of them holds nobody up.
    pub const AT_ONCE: usize = 4096;

    /// Listens for interfaces, addresses and routes, and for neighbours too where asked.
    pub fn open(neighbours: bool) -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        socket.receive_buffer(1 << 20);
        for group in [GROUP_LINK, GROUP_ADDRESS_V4, GROUP_ADDRESS_V6, GROUP_ROUTE_V4, GROUP_ROUTE_V6] {
            socket.join(group)?;
        }
        if neighbours {
            socket.join(GROUP_NEIGHBOUR)?;
        }
        Ok(Changes { socket })
    }

    /// What changed since the last call, oldest first; waits for nothing. A [`Change::Lost`] stands where the kernel
    /// had more to report than the socket could hold.
    pub fn drain(&mut self) -> Result<Vec<Change>, Error> {
        let mut found = Vec::new();
        while found.len() < Self::AT_ONCE {
            match self.socket.receive() {
                Ok(Some(datagram)) => found.extend(messages(datagram).filter_map(|message| change(&message))),
                Ok(None) => break,
                Err(Error::Overrun) => found.push(Change::Lost),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
