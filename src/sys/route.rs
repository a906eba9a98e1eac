//! What the kernel knows of the network around this gateway, by rtnetlink: interfaces, its own addresses, routes,
//! neighbours; and word of their changes.
//!
//! Lists are read as a stream and in time linear in their length; entries that cannot be read are left out. Nothing
//! here changes anything. Formats: rtnetlink(7), `linux/rtnetlink.h`; numbers are in the machine's order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ipnetwork::IpNetwork;

use super::netlink::{Attributes, Error, Message, Protocol, Socket, messages};
use crate::wire::{Address, Mac};

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
    /// had more to tell than the socket could hold.
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

/// Reads one notification; `None` if it is of no interest.
#[must_use]
pub fn change(message: &Message<'_>) -> Option<Change> {
    match message.kind {
        NEW_LINK => read_link(message.body).map(Change::Link),
        DELETE_LINK => {
            // A port that leaves its bridge is announced as deleted from it, and lives on.
            if message.body.first() == Some(&FAMILY_BRIDGE) {
                return None;
            }
            read_link(message.body).map(Change::LinkGone)
        }
        NEW_ADDRESS => read_address(message.body).map(Change::Address),
        DELETE_ADDRESS => read_address(message.body).map(Change::AddressGone),
        NEW_ROUTE | DELETE_ROUTE => Some(Change::Route),
        NEW_NEIGHBOUR => read_neighbour(message.body).map(Change::Neighbour),
        _ => None,
    }
}

/// What a route's message adds to the routes; nothing if it cannot be read or leads nowhere.
#[must_use]
pub fn routes(body: &[u8]) -> Routes {
    let mut routes = Routes::default();
    read_route(body, &mut routes);
    routes
}

fn native16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn native32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn read_link(body: &[u8]) -> Option<Link> {
    let flags = native32(body, 8)?;
    let attributes = Attributes::after(body, LINK_HEADER);
    let info = attributes.get(LINK_INFO).map(|info| info.nested());
    let kind = info.as_ref().and_then(|info| info.get(INFO_KIND)).and_then(|kind| kind.text()).map(str::to_owned);
    let vlan = info
        .filter(|_| kind.as_deref() == Some("vlan"))
        .and_then(|info| info.get(INFO_DATA))
        .and_then(|data| data.nested().get(VLAN_ID))
        .and_then(|id| native16(id.value, 0));
    Some(Link {
        index: native32(body, 4)?,
        name: attributes.get(LINK_NAME)?.text()?.to_owned(),
        mac: attributes.get(LINK_ADDRESS).and_then(|mac| mac.value.try_into().ok()).map(Mac),
        up: flags & FLAG_UP != 0,
        running: flags & FLAG_RUNNING != 0,
        master: attributes.get(LINK_MASTER).and_then(|master| master.native32()),
        parent: attributes.get(LINK_PARENT).and_then(|parent| parent.native32()),
        kind,
        vlan,
    })
}

fn read_address(body: &[u8]) -> Option<Own> {
    let attributes = Attributes::after(body, ADDRESS_HEADER);
    // On a point-to-point link ADDRESS is the far end; LOCAL, where given, is ours.
    let address = attributes.get(ADDRESS_LOCAL).or_else(|| attributes.get(ADDRESS_ADDRESS))?;
    let prefix = *body.get(1)?;
    Some(Own { interface: native32(body, 4)?, network: IpNetwork::new(ip(address.value)?, prefix).ok()? })
}

fn read_route(body: &[u8], routes: &mut Routes) -> Option<()> {
    read_hops(body, |hop| {
        match hop.gateway {
            Some(gateway) => routes.next_hops.insert((gateway, hop.interface)),
            None => routes.attached.insert((hop.network, hop.interface)),
        };
    })
}

/// One way that a route leads; a multipath route has several.
struct Hop {
    table: u32,
    network: IpNetwork,
    gateway: Option<IpAddr>,
    interface: u32,
}

fn read_hops(body: &[u8], mut take: impl FnMut(Hop)) -> Option<()> {
    let (family, prefix, table, kind) = (*body.first()?, *body.get(1)?, *body.get(4)?, *body.get(7)?);
    let unspecified: IpAddr = match family {
        FAMILY_V4 => [0; 4].into(),
        FAMILY_V6 => [0; 16].into(),
        _ => return None,
    };
    if kind != ROUTE_UNICAST {
        return None;
    }
    let attributes = Attributes::after(body, ROUTE_HEADER);
    let destination = match attributes.get(ROUTE_DESTINATION) {
        Some(destination) => ip(destination.value)?,
        None => unspecified,
    };
    // The header has one octet for the table; above that the attribute tells it.
    let table = attributes.get(ROUTE_TABLE).and_then(|table| table.native32()).unwrap_or(table.into());
    let network = IpNetwork::new(destination, prefix).ok()?;
    let mut hop = |attributes: &Attributes<'_>, interface: u32| {
        let gateway = attributes.get(ROUTE_GATEWAY).and_then(|gateway| ip(gateway.value)).or_else(|| {
            // A router of the other family: two octets of family, then its address.
            attributes.get(ROUTE_VIA).and_then(|via| ip(via.value.get(2..)?))
        });
        take(Hop { table, network, gateway, interface });
    };
    let Some(paths) = attributes.get(ROUTE_MULTIPATH) else {
        hop(&attributes, attributes.get(ROUTE_INTERFACE).and_then(|oif| oif.native32()).unwrap_or(0));
        return Some(());
    };
    let mut rest = paths.value;
    while let Some(length) = native16(rest, 0).map(usize::from) {
        // struct rtnexthop is eight octets; a shorter one would be read for ever.
        let path = rest.get(..length.max(8))?;
        hop(&Attributes::after(path, 8), native32(path, 4)?);
        rest = rest.get(length.max(8).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(())
}

fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let liveness = match native16(body, 8)? {
        state if state & STATE_FAILED != 0 => Liveness::Dead,
        state if state & STATE_INCOMPLETE != 0 => Liveness::Asked,
        state if state & STATES_ALIVE != 0 => Liveness::Alive,
        // NOARP (multicast, tunnels) and NONE say nothing about anybody.
        _ => return None,
    };
    let attributes = Attributes::after(body, NEIGHBOUR_HEADER);
    Some(Neighbour {
        interface: native32(body, 4)?,
        address: ip(attributes.get(NEIGHBOUR_ADDRESS)?.value)?.into(),
        mac: attributes.get(NEIGHBOUR_MAC).and_then(|mac| mac.value.try_into().ok()).map(Mac),
        liveness,
    })
}

const FAMILY_V4: u8 = 2;
const FAMILY_BRIDGE: u8 = 7;
const FAMILY_V6: u8 = 10;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;

const GROUP_LINK: u32 = 1;
const GROUP_NEIGHBOUR: u32 = 3;
const GROUP_ADDRESS_V4: u32 = 5;
const GROUP_ROUTE_V4: u32 = 7;
const GROUP_ADDRESS_V6: u32 = 9;
const GROUP_ROUTE_V6: u32 = 11;

const LINK_HEADER: usize = 16;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_PARENT: u16 = 5;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VLAN_ID: u16 = 1;
const FLAG_UP: u32 = 1;
const FLAG_RUNNING: u32 = 0x40;

const ADDRESS_HEADER: usize = 8;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;

const ROUTE_HEADER: usize = 12;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_MULTIPATH: u16 = 9;
const ROUTE_TABLE: u16 = 15;
const ROUTE_VIA: u16 = 18;
const ROUTE_UNICAST: u8 = 1;

const NEIGHBOUR_HEADER: usize = 12;
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_MAC: u16 = 2;
const STATE_INCOMPLETE: u16 = 0x01;
const STATE_FAILED: u16 = 0x20;
/// REACHABLE, STALE, DELAY, PROBE, PERMANENT.
const STATES_ALIVE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::namespace::{self, Namespace};

    fn pair() -> Option<[Namespace; 2]> {
        if let Err(error) = namespace::permitted() {
            eprintln!("SKIPPED, namespaces cannot be made here: {error}");
            return None;
        }
        let [left, right] = ["left", "right"].map(|name| Namespace::new(name).unwrap());
        left.veth("eth0", &right, "eth0").unwrap();
        for (ns, addresses) in [(&left, ["10.66.0.1/24", "fd66::1/64"]), (&right, ["10.66.0.2/24", "fd66::2/64"])] {
            for address in addresses {
                ns.link(|links| links.address("eth0", address.parse().unwrap())).unwrap();
            }
            ns.link(|links| links.up("eth0")).unwrap();
        }
        Some([left, right])
    }

    fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = probe() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn interfaces_addresses_and_routes_are_found() {
        let Some([left, _right]) = pair() else { return };
        left.link(|links| links.route("10.67.0.0/16".parse().unwrap(), "10.66.0.2".parse().unwrap())).unwrap();
        left.link(|links| links.route("::/0".parse().unwrap(), "fd66::2".parse().unwrap())).unwrap();
        left.link(|links| links.bridge("br0")).unwrap();
        let mut kernel = left.run(|| Kernel::open().unwrap()).unwrap();

        let links = kernel.links().unwrap();
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert!(eth0.up && eth0.mac.is_some() && eth0.master.is_none(), "{eth0:?}");
        assert_eq!(eth0.kind.as_deref(), Some("veth"));
        left.link(|links| links.enslave("eth0", "br0")).unwrap();
        let links = kernel.links().unwrap();
        let bridge = links.iter().find(|link| link.name == "br0").unwrap().index;
        assert_eq!(links.iter().find(|link| link.name == "eth0").unwrap().master, Some(bridge));

        let own: Vec<String> = kernel.addresses().unwrap().iter().map(|own| own.network.to_string()).collect();
        for address in ["127.0.0.1/8", "10.66.0.1/24", "fd66::1/64"] {
            assert!(own.iter().any(|o| o == address), "{address} in {own:?}");
        }
        let routes = kernel.routes().unwrap();
        let hops: Vec<String> = routes.next_hops.iter().map(|(hop, _)| hop.to_string()).collect();
        assert_eq!(hops, ["10.66.0.2", "fd66::2"]);
        assert!(routes.attached.contains(&("10.66.0.0/24".parse().unwrap(), eth0.index)), "{routes:?}");
        let paths = kernel.paths().unwrap();
        for network in ["10.67.0.0/16", "10.66.0.0/24", "::/0"] {
            assert!(paths.contains(&(254, network.parse().unwrap(), eth0.index)), "{network} in {paths:?}");
        }
    }

    #[test]
    fn a_neighbour_that_answers_is_alive_and_one_that_does_not_is_dead() {
        let Some([left, _right]) = pair() else { return };
        let mut kernel = left.run(|| Kernel::open().unwrap()).unwrap();
        let mut changes = left.run(|| Changes::open(true).unwrap()).unwrap();
        left.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            for address in ["10.66.0.2:9", "10.66.0.99:9"] {
                socket.send_to(b"?", address).unwrap();
            }
        })
        .unwrap();
        let liveness = |kernel: &mut Kernel, address: &str| {
            let address: Address = address.parse().unwrap();
            kernel.neighbours().unwrap().into_iter().find(|n| n.address == address).map(|n| n.liveness)
        };
        assert_eq!(liveness(&mut kernel, "10.66.0.99"), Some(Liveness::Asked));
        until("the live neighbour", || (liveness(&mut kernel, "10.66.0.2") == Some(Liveness::Alive)).then_some(()));
        until("the dead neighbour", || (liveness(&mut kernel, "10.66.0.99") == Some(Liveness::Dead)).then_some(()));
        let told = changes.drain().unwrap();
        assert!(
            told.iter().any(|change| matches!(change, Change::Neighbour(n)
                if n.liveness == Liveness::Dead && n.address == "10.66.0.99".parse().unwrap())),
            "{told:?}"
        );
    }

    #[test]
    fn an_interface_that_goes_and_a_new_address_are_told() {
        let Some([left, right]) = pair() else { return };
        let mut changes = left.run(|| Changes::open(false).unwrap()).unwrap();
        let new: IpNetwork = "10.66.0.77/24".parse().unwrap();
        left.link(|links| links.address("eth0", new)).unwrap();
        let told = changes.drain().unwrap();
        assert!(told.iter().any(|c| matches!(c, Change::Address(own) if own.network == new)), "{told:?}");
        left.link(|links| links.route("10.67.0.0/16".parse().unwrap(), "10.66.0.2".parse().unwrap())).unwrap();
        assert!(changes.drain().unwrap().contains(&Change::Route));
        right.link(|links| links.remove("eth0")).unwrap();
        until("the interface to go", || {
            let told = changes.drain().unwrap();
            told.iter().any(|c| matches!(c, Change::LinkGone(link) if link.name == "eth0")).then_some(())
        });
    }

    #[test]
    fn a_lost_change_is_told_as_such() {
        let Some([left, _right]) = pair() else { return };
        let mut changes = left
            .run(|| {
                let mut changes = Changes::open(false).unwrap();
                changes.socket.receive_buffer(4096);
                changes
            })
            .unwrap();
        for _ in 0..50 {
            left.link(|links| links.down("eth0")).unwrap();
            left.link(|links| links.up("eth0")).unwrap();
        }
        assert!(changes.drain().unwrap().contains(&Change::Lost));
        left.link(|links| links.down("eth0")).unwrap();
        assert!(changes.drain().unwrap().iter().any(|c| matches!(c, Change::Link(link) if !link.up)));
    }
}
