//! Interfaces, addresses and routes of one network namespace, by rtnetlink (rtnetlink(7)).
//!
//! A [`Links`] is a socket: it acts in the namespace it was opened in, whichever thread uses it. Each request waits
//! for the kernel's word on it, so that a failure names what was asked.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnetwork::IpNetwork;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use thiserror::Error;

use crate::wire::Mac;

/// A request the kernel refused.
#[derive(Debug, Error)]
#[error("cannot {what}: {source}")]
pub struct Error {
    what: String,
    source: io::Error,
}

/// The interfaces of the namespace this was opened in.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// Opens the socket in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error { what: "open a netlink socket".to_owned(), source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Links { socket })
    }

    /// Makes a veth pair, `peer_name` being in the namespace `peer`. Both are down.
    pub fn veth(&self, name: &str, peer: BorrowedFd<'_>, peer_name: &str) -> Result<(), Error> {
        let mut far = LinkMessage::default();
        far.attributes.push(LinkAttribute::IfName(peer_name.to_owned()));
        far.attributes.push(LinkAttribute::NetNsFd(peer.as_raw_fd()));
        let mut near = LinkMessage::default();
        near.attributes.push(LinkAttribute::IfName(name.to_owned()));
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        self.create(RouteNetlinkMessage::NewLink(near), || format!("join {name} and {peer_name} by a veth pair"))
    }

    /// Makes a bridge; it is down.
    pub fn bridge(&self, name: &str) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.create(RouteNetlinkMessage::NewLink(link), || format!("make the bridge {name}"))
    }

    /// Makes `port` a port of `bridge`.
    pub fn enslave(&self, port: &str, bridge: &str) -> Result<(), Error> {
        let bridge_index = self.index(bridge)?;
        self.change(
            port,
            |link| link.attributes.push(LinkAttribute::Controller(bridge_index)),
            || format!("make {port} a port of {bridge}"),
        )
    }

    /// Sets an interface up.
    pub fn up(&self, name: &str) -> Result<(), Error> {
        self.change(
            name,
            |link| (link.header.flags, link.header.change_mask) = (LinkFlags::Up, LinkFlags::Up),
            || format!("set {name} up"),
        )
    }

    /// Sets an interface down.
    pub fn down(&self, name: &str) -> Result<(), Error> {
        self.change(name, |link| link.header.change_mask = LinkFlags::Up, || format!("set {name} down"))
    }

    /// Removes an interface; of a veth pair, both ends.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.header.index = self.index(name)?;
        self.request(RouteNetlinkMessage::DelLink(link), 0, || format!("remove {name}")).map(drop)
    }

    /// Gives an interface a hardware address of its own.
    pub fn set_mac(&self, name: &str, mac: Mac) -> Result<(), Error> {
        self.change(
            name,
            |link| link.attributes.push(LinkAttribute::Address(mac.0.to_vec())),
            || format!("give {name} the hardware address {mac}"),
        )
    }

    /// Sets the longest packet an interface takes, in bytes without the link header.
    pub fn set_mtu(&self, name: &str, bytes: u32) -> Result<(), Error> {
        self.change(
            name,
            |link| link.attributes.push(LinkAttribute::Mtu(bytes)),
            || format!("set the MTU of {name} to {bytes}"),
        )
    }

    /// Gives an interface an address with its prefix.
    pub fn address(&self, name: &str, network: IpNetwork) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = family(network.ip());
        message.header.prefix_len = network.prefix();
        message.header.index = self.index(name)?;
        message.attributes.push(AddressAttribute::Address(network.ip()));
        message.attributes.push(AddressAttribute::Local(network.ip()));
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        self.create(RouteNetlinkMessage::NewAddress(message), || format!("give {name} the address {network}"))
    }

    /// Sends traffic for `network` (of the gateway's family) through `gateway`.
    pub fn route(&self, network: IpNetwork, gateway: IpAddr) -> Result<(), Error> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family(gateway),
            destination_prefix_length: network.prefix(),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        if network.prefix() > 0 {
            message.attributes.push(RouteAttribute::Destination(network.network().into()));
        }
        message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        self.create(RouteNetlinkMessage::NewRoute(message), || format!("route {network} through {gateway}"))
    }

    /// Enters a permanent neighbour: `address` is at `mac` on interface `name`.
    pub fn neighbour(&self, name: &str, address: IpAddr, mac: Mac) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = self.index(name)?;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.request(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE, || {
            format!("enter {address} as a neighbour at {mac}")
        })
        .map(drop)
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> Result<u32, Error> {
        Ok(self.ask(name)?.header.index)
    }

    /// The hardware address of an interface.
    pub fn mac(&self, name: &str) -> Result<Mac, Error> {
        let link = self.ask(name)?;
        let found = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => None,
        });
        found.map(Mac).ok_or_else(|| Error {
            what: format!("read the hardware address of {name}"),
            source: io::Error::other("it has none"),
        })
    }

    fn ask(&self, name: &str) -> Result<LinkMessage, Error> {
        let what = || format!("find the interface {name}");
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.request(RouteNetlinkMessage::GetLink(link), 0, what)? {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
            _ => Err(Error { what: what(), source: io::Error::other("the kernel answered something else") }),
        }
    }

    fn change(&self, name: &str, edit: impl FnOnce(&mut LinkMessage), what: impl Fn() -> String) -> Result<(), Error> {
        let mut link = LinkMessage::default();
        link.header.index = self.index(name)?;
        edit(&mut link);
        self.request(RouteNetlinkMessage::SetLink(link), 0, what).map(drop)
    }

    fn create(&self, message: RouteNetlinkMessage, what: impl Fn() -> String) -> Result<(), Error> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL, what).map(drop)
    }

    /// Sends one request and reads up to the kernel's acknowledgement; gives the answer before it, if there is one.
    fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: impl Fn() -> String,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        self.exchange(message, flags).map_err(|source| Error { what: what(), source })
    }

    fn exchange(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
                match message.payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answer),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => answer = Some(inner),
                    _ => {}
                }
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
