//! Messages of rtnetlink, read: links, addresses, routes, neighbours, and what changed.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::uapi::{
    ADDRESS_ADDRESS, ADDRESS_HEADER, ADDRESS_LOCAL, DELETE_ADDRESS, DELETE_LINK, DELETE_ROUTE, FAMILY_BRIDGE,
    FAMILY_V4, FAMILY_V6, FLAG_RUNNING, FLAG_UP, INFO_DATA, INFO_KIND, LINK_ADDRESS, LINK_HEADER, LINK_INFO,
    LINK_MASTER, LINK_NAME, LINK_PARENT, NEIGHBOUR_ADDRESS, NEIGHBOUR_HEADER, NEIGHBOUR_MAC, NEW_ADDRESS, NEW_LINK,
    NEW_NEIGHBOUR, NEW_ROUTE, ROUTE_DESTINATION, ROUTE_GATEWAY, ROUTE_HEADER, ROUTE_INTERFACE, ROUTE_MULTIPATH,
    ROUTE_TABLE, ROUTE_UNICAST, ROUTE_VIA, STATE_FAILED, STATE_INCOMPLETE, STATES_ALIVE, STATES_CONFIRMED, VLAN_ID,
};
use super::{Change, Link, Liveness, Neighbour, Own, Routes};
use crate::sys::netlink::{Attributes, Message};
use crate::wire::Mac;

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

pub(super) fn read_link(body: &[u8]) -> Option<Link> {
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

pub(super) fn read_address(body: &[u8]) -> Option<Own> {
    let attributes = Attributes::after(body, ADDRESS_HEADER);
    // On a point-to-point link ADDRESS is the far end; LOCAL, where given, is ours.
    let address = attributes.get(ADDRESS_LOCAL).or_else(|| attributes.get(ADDRESS_ADDRESS))?;
    let prefix = *body.get(1)?;
    Some(Own { interface: native32(body, 4)?, network: IpNetwork::new(ip(address.value)?, prefix).ok()? })
}

pub(super) fn read_route(body: &[u8], routes: &mut Routes) -> Option<()> {
    read_hops(body, |hop| {
        match hop.gateway {
            Some(gateway) => routes.next_hops.insert((gateway, hop.interface)),
            None => routes.attached.insert((hop.network, hop.interface)),
        };
    })
}

/// One way that a route leads; a multipath route has several.
pub(super) struct Hop {
    pub table: u32,
    pub network: IpNetwork,
    pub gateway: Option<IpAddr>,
    pub interface: u32,
}

pub(super) fn read_hops(body: &[u8], mut take: impl FnMut(Hop)) -> Option<()> {
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
    // The header has one octet for the table; above that the attribute has it.
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

pub(super) fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let state = native16(body, 8)?;
    let liveness = match state {
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
        confirmed: state & STATES_CONFIRMED != 0,
    })
}
