//! Servers that were learnt, as elements of the kernel's sets: nobody waits for them, whether or not the daemon runs.
//!
//! Table `inet firedoor` has them by address, protocol and port, and table `netdev firedoor`, where there is one, by address and
//! port. Each goes by itself when its time is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Firewall;
use super::elements::{self, Tables};
use super::places::{Key, Row, port_key};
use super::ruleset::greylist::MOST_SERVERS;
use crate::sys::netlink::Error;
use crate::wire::Address;
use crate::wire::frame::Transport;

/// The sets of table `inet firedoor`, then those of `netdev firedoor`.
const SETS: [&str; 4] = ["servers4", "servers6", "frame_servers4", "frame_servers6"];

/// A server that was learnt: who asks it on this port for the first time does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownServer {
    /// Where it is.
    pub address: Address,
    /// Over TCP rather than UDP.
    pub tcp: bool,
    /// What it serves on.
    pub port: u16,
}

impl KnownServer {
    /// A server of TCP.
    #[must_use]
    pub fn tcp(address: Address, port: u16) -> Self {
        KnownServer { address, tcp: true, port }
    }

    fn octets(self) -> Vec<u8> {
        match self.address.ip() {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        }
    }

    /// Its elements' sets and keys.
    fn keys(self, frames: bool) -> impl Iterator<Item = Key> {
        let port = port_key((if self.tcp { Transport::Tcp } else { Transport::Udp }, self.port));
        let [inet, frame] = if self.address.is_v4() { [SETS[0], SETS[2]] } else { [SETS[1], SETS[3]] };
        let bare = port.get(4..).unwrap_or_default().to_vec();
        let row = (inet, [self.octets(), port].concat());
        let framed = frames.then(|| (frame, [self.octets(), bare].concat()));
        std::iter::once(row).chain(framed)
    }

    /// What a key of `servers4` or `servers6` says.
    fn read(key: &[u8]) -> Option<Self> {
        let (address, service) = key.split_at_checked(key.len().checked_sub(8)?)?;
        let [protocol, _, _, _, high, low, _, _] = *service else { return None };
        let address = match <[u8; 4]>::try_from(address) {
            Ok(octets) => Address::v4(octets),
            Err(_) => Address::v6(address.try_into().ok()?),
        };
        Some(KnownServer { address, tcp: protocol != 17, port: u16::from_be_bytes([high, low]) })
    }
}

/// The servers that shall be in the kernel, each with when it goes.
#[derive(Debug, Default)]
pub(super) struct Servers {
    /// `None` until they are set, or read from the kernel.
    wanted: Option<HashMap<KnownServer, Option<Instant>>>,
}

impl Servers {
    /// Makes `servers` all there are. Gives the keys of what changed: new, withdrawn, or with less than half of its time
    /// left. With more than fit, those that stay longest count.
    pub(super) fn set(&mut self, servers: &[(KnownServer, Option<Duration>)], frames: bool, now: Instant) -> Vec<Key> {
        let mut servers = servers.to_vec();
        servers.sort_unstable_by_key(|(server, stays)| (std::cmp::Reverse(stays.unwrap_or(Duration::MAX)), *server));
        servers.dedup_by_key(|(server, _)| *server);
        for v4 in [true, false] {
            let mut left = MOST_SERVERS;
            servers.retain(|(server, _)| {
                let fits = server.address.is_v4() != v4 || left > 0;
                left = left.saturating_sub(u32::from(fits && server.address.is_v4() == v4));
                fits
            });
        }
        let before = self.wanted.take().unwrap_or_default();
        let mut wanted = HashMap::with_capacity(servers.len());
        let mut keys = Vec::new();
        for (server, stays) in servers {
            let known = before.get(&server).copied();
            let until = match (known, stays) {
                (Some(Some(until)), Some(stays)) if is_fresh(until.saturating_duration_since(now), stays) => {
                    Some(until)
                }
                (_, stays) => stays.map(|stays| now + stays),
            };
            if known != Some(until) {
                keys.extend(server.keys(frames));
            }
            wanted.entry(server).or_insert(until);
        }
        keys.extend(before.keys().filter(|server| !wanted.contains_key(server)).flat_map(|server| server.keys(frames)));
        self.wanted = Some(wanted);
        keys
    }

    /// What the elements shall be.
    pub(super) fn rows(&self, frames: bool, now: Instant) -> HashMap<Key, Row> {
        let wanted = self.wanted.iter().flatten().filter(|(_, until)| until.is_none_or(|until| until > now));
        wanted
            .flat_map(|(server, until)| {
                let row = Row { jump: None, left: until.map(|until| elements::left(until, now)) };
                server.keys(frames).map(move |key| (key, row))
            })
            .collect()
    }

    /// Puts back what is gone, and takes over what is there if nothing was set.
    pub(super) fn restore(&mut self, tables: &mut Tables, frames: bool, now: Instant) -> Result<(), Error> {
        let there = read(tables)?;
        let known = self
            .wanted
            .get_or_insert_with(|| there.iter().map(|(server, left)| (*server, left.map(|left| now + left))).collect());
        known.retain(|_, until| until.is_none_or(|until| until > now));
        let mut keys: Vec<Key> =
            known.keys().filter(|server| !there.contains_key(server)).flat_map(|server| server.keys(frames)).collect();
        if frames {
            for set in [SETS[2], SETS[3]] {
                let held: Vec<Vec<u8>> = elements::keys(tables.of(set), set)?;
                let all = known.keys().flat_map(|server| server.keys(true));
                keys.extend(all.filter(|(name, key)| *name == set && held.binary_search(key).is_err()));
            }
        }
        if !keys.is_empty() {
            tables.apply(keys, &self.rows(frames, now), &[])?;
        }
        Ok(())
    }
}

impl Firewall {
    /// Makes `servers` the ones that nobody waits for, each for so long; `None` is until it is withdrawn. Little is written
    /// where little changed: what has at least half of its time left stays as it is. They hold while no daemon runs, over reloads,
    /// and are put back after a deletion. Without a greylist in the plan they are only remembered.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn set_servers(&mut self, servers: &[(KnownServer, Option<Duration>)]) -> Result<(), super::Error> {
        let (now, frames) = (Instant::now(), !self.hooks.frames.is_empty());
        let keys = self.servers.set(servers, frames, now);
        if !keys.is_empty() && self.has_greylist() {
            self.tables.apply(keys, &self.servers.rows(frames, now), &[])?;
        }
        Ok(())
    }

    /// The learnt servers that the kernel holds, each with the time that is left to it.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn servers(&mut self) -> Result<Vec<(KnownServer, Option<Duration>)>, super::Error> {
        let mut servers: Vec<_> = read(&mut self.tables)?.into_iter().collect();
        servers.sort_unstable();
        Ok(servers)
    }

    pub(super) fn restore_servers(&mut self, now: Instant) -> Result<(), super::Error> {
        if self.has_greylist() {
            self.servers.restore(&mut self.tables, !self.hooks.frames.is_empty(), now)?;
        }
        Ok(())
    }

    fn has_greylist(&self) -> bool {
        self.skeleton.as_ref().is_some_and(|skeleton| skeleton.plan.has_greylist())
    }
}

/// Whether what is left is still near what is wanted.
fn is_fresh(left: Duration, wanted: Duration) -> bool {
    left >= wanted / 2 && left <= wanted + wanted / 2
}

/// The servers that the kernel holds, each with the time that is left to it.
pub(super) fn read(tables: &mut Tables) -> Result<HashMap<KnownServer, Option<Duration>>, Error> {
    let mut found = HashMap::new();
    for set in [SETS[0], SETS[1]] {
        let read =
            |element: crate::sys::nftables::Element<'_>| Some((KnownServer::read(element.key)?, element.expires_in));
        found.extend(tables.of(set).elements(set, usize::MAX, read)?.0);
    }
    Ok(found)
}
