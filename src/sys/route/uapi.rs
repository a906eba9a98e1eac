//! Numbers of rtnetlink(7) as `linux/rtnetlink.h`, `if_link.h`, `if_addr.h` and `neighbour.h` have them.

pub(super) const FAMILY_V4: u8 = 2;
pub(super) const FAMILY_BRIDGE: u8 = 7;
pub(super) const FAMILY_V6: u8 = 10;

pub(super) const NEW_LINK: u16 = 16;
pub(super) const DELETE_LINK: u16 = 17;
pub(super) const GET_LINK: u16 = 18;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DELETE_ADDRESS: u16 = 21;
pub(super) const GET_ADDRESS: u16 = 22;
pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DELETE_ROUTE: u16 = 25;
pub(super) const GET_ROUTE: u16 = 26;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const GET_NEIGHBOUR: u16 = 30;

pub(super) const GROUP_LINK: u32 = 1;
pub(super) const GROUP_NEIGHBOUR: u32 = 3;
pub(super) const GROUP_ADDRESS_V4: u32 = 5;
pub(super) const GROUP_ROUTE_V4: u32 = 7;
pub(super) const GROUP_ADDRESS_V6: u32 = 9;
pub(super) const GROUP_ROUTE_V6: u32 = 11;

pub(super) const LINK_HEADER: usize = 16;
pub(super) const LINK_ADDRESS: u16 = 1;
pub(super) const LINK_NAME: u16 = 3;
pub(super) const LINK_PARENT: u16 = 5;
pub(super) const LINK_MASTER: u16 = 10;
pub(super) const LINK_INFO: u16 = 18;
pub(super) const INFO_KIND: u16 = 1;
pub(super) const INFO_DATA: u16 = 2;
pub(super) const VLAN_ID: u16 = 1;
pub(super) const FLAG_UP: u32 = 1;
pub(super) const FLAG_RUNNING: u32 = 0x40;

pub(super) const ADDRESS_HEADER: usize = 8;
pub(super) const ADDRESS_ADDRESS: u16 = 1;
pub(super) const ADDRESS_LOCAL: u16 = 2;

pub(super) const ROUTE_HEADER: usize = 12;
pub(super) const ROUTE_DESTINATION: u16 = 1;
pub(super) const ROUTE_INTERFACE: u16 = 4;
pub(super) const ROUTE_GATEWAY: u16 = 5;
pub(super) const ROUTE_MULTIPATH: u16 = 9;
pub(super) const ROUTE_TABLE: u16 = 15;
pub(super) const ROUTE_VIA: u16 = 18;
pub(super) const ROUTE_UNICAST: u8 = 1;

pub(super) const NEIGHBOUR_HEADER: usize = 12;
pub(super) const NEIGHBOUR_ADDRESS: u16 = 1;
pub(super) const NEIGHBOUR_MAC: u16 = 2;
pub(super) const STATE_INCOMPLETE: u16 = 0x01;
pub(super) const STATE_FAILED: u16 = 0x20;
/// REACHABLE, STALE, DELAY, PROBE, PERMANENT.
pub(super) const STATES_ALIVE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// REACHABLE, PERMANENT.
pub(super) const STATES_CONFIRMED: u16 = 0x02 | 0x80;
