//! Hosts as elements of the kernel's sets, and the skeleton as the kernel shows it.
//!
//! A contained host is one element of `acted4` or `acted6`, whose verdict jumps to `contain`; an isolated host is one
//! that jumps to `isolate`, and one of `isolated4` or `isolated6`, for what is sent to it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::ruleset::KEPT_SETS;
use super::{Acted, Order};
use crate::respond::Verdict;
use crate::sys::netlink::Error;
use crate::sys::nftables::{Change, Element, Table};
use crate::wire::Address;

/// A race with the kernel's own expiry shows as a refusal; the next look sees what is there.
const ATTEMPTS: u32 = 4;
/// One order takes up to 220 octets, and a transaction has to fit the default send buffer of 208 KiB. The more the
/// better: at the end of each the kernel looks through the whole map again.
const ORDERS_A_TRANSACTION: usize = 800;

/// The map of verdicts, the set of isolated destinations, and the two chains, of a host's family.
struct Places {
    acted: &'static str,
    isolated: &'static str,
    contain: &'static str,
    isolate: &'static str,
}

const V4: Places = Places { acted: "acted4", isolated: "isolated4", contain: "contain4", isolate: "isolate4" };
const V6: Places = Places { acted: "acted6", isolated: "isolated6", contain: "contain6", isolate: "isolate6" };

fn places(host: Address) -> &'static Places {
    if host.is_v4() { &V4 } else { &V6 }
}

fn key(host: Address) -> Vec<u8> {
    match host.ip() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn host(key: &[u8]) -> Option<Address> {
    if let Ok(octets) = <[u8; 4]>::try_from(key) {
        return Some(Address::v4(octets));
    }
    <[u8; 16]>::try_from(key).ok().map(Address::v6)
}

fn verdict(element: &Element<'_>) -> Option<Verdict> {
    let chain = element.jump?;
    match chain.trim_end_matches(['4', '6']) {
        "contain" => Some(Verdict::Contain),
        "isolate" => Some(Verdict::Isolate),
        _ => None,
    }
}

fn read(element: &Element<'_>) -> Option<Acted> {
    Some(Acted { host: host(element.key)?, verdict: verdict(element)?, expires_in: element.expires_in })
}

/// Whom the kernel acts on.
pub(super) fn acted(table: &mut Table) -> Result<Vec<Acted>, Error> {
    let mut found = Vec::new();
    for places in [&V4, &V6] {
        found.append(&mut table.elements(places.acted, usize::MAX, |element| read(&element))?.0);
    }
    Ok(found)
}

/// The sources in a set whose elements count packets.
pub(super) fn throttled(table: &mut Table, set: &str, most: usize) -> Result<Vec<(Address, u64)>, Error> {
    Ok(table.elements(set, most, |element| Some((host(element.key)?, element.packets.unwrap_or(0))))?.0)
}

/// Puts hosts in, given what is there for them: an element that is there is taken out in the same transaction, so that
/// its new verdict and timeout hold on every kernel, and no packet sees it gone.
pub(super) fn put(table: &mut Table, orders: &[Order], there: &HashMap<Address, Verdict>) -> Result<(), Error> {
    for orders in orders.chunks(ORDERS_A_TRANSACTION) {
        let mut changes = Vec::with_capacity(orders.len());
        for Order { host, .. } in orders.iter().filter(|order| there.contains_key(&order.host)) {
            changes.push(Change::Remove { set: places(*host).acted, key: key(*host) });
        }
        let may_be_isolated =
            |order: &&Order| order.verdict == Verdict::Isolate || there.get(&order.host) == Some(&Verdict::Isolate);
        // Whether such a set holds a host or not, adding first makes the removal right.
        for Order { host, .. } in orders.iter().filter(may_be_isolated) {
            changes.push(Change::Put { set: places(*host).isolated, key: key(*host), jump: None, timeout: None });
        }
        for Order { host, .. } in orders.iter().filter(may_be_isolated) {
            changes.push(Change::Remove { set: places(*host).isolated, key: key(*host) });
        }
        for Order { host, timeout, .. } in orders.iter().filter(|order| order.verdict == Verdict::Isolate) {
            let set = places(*host).isolated;
            changes.push(Change::Put { set, key: key(*host), jump: None, timeout: *timeout });
        }
        for Order { host, verdict, timeout } in orders {
            let places = places(*host);
            let jump = Some(if *verdict == Verdict::Isolate { places.isolate } else { places.contain });
            changes.push(Change::Put { set: places.acted, key: key(*host), jump, timeout: *timeout });
        }
        table.change(&changes)?;
    }
    Ok(())
}

/// Puts hosts in, whatever is there for them.
pub(super) fn replace(table: &mut Table, orders: &[Order]) -> Result<(), Error> {
    for attempt in 1.. {
        let mut there = HashMap::new();
        if orders.len() > 64 {
            there.extend(acted(table)?.into_iter().map(|acted| (acted.host, acted.verdict)));
        } else {
            for order in orders {
                if let Some(acted) = find(table, order.host)? {
                    there.insert(acted.host, acted.verdict);
                }
            }
        }
        match put(table, orders, &there) {
            Err(error) if raced(&error) && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
    Ok(())
}

/// Takes a host out; gives what was done about it, if anything was.
pub(super) fn lift(table: &mut Table, host: Address) -> Result<Option<Verdict>, Error> {
    let places = places(host);
    for attempt in 1.. {
        let Some(acted) = find(table, host)? else { return Ok(None) };
        let mut changes = vec![Change::Remove { set: places.acted, key: key(host) }];
        if acted.verdict == Verdict::Isolate {
            changes.push(Change::Put { set: places.isolated, key: key(host), jump: None, timeout: None });
            changes.push(Change::Remove { set: places.isolated, key: key(host) });
        }
        match table.change(&changes) {
            Err(error) if raced(&error) && attempt < ATTEMPTS => {}
            result => return result.map(|()| Some(acted.verdict)),
        }
    }
    Ok(None)
}

fn find(table: &mut Table, host: Address) -> Result<Option<Acted>, Error> {
    table.element(places(host).acted, &key(host), |element| read(&element))
}

fn raced(error: &Error) -> bool {
    matches!(error.refused(), Some(libc::ENOENT | libc::EEXIST | libc::EBUSY))
}

/// The skeleton as the kernel shows it: what must not change behind our back. Compares equal while it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    chains: Vec<(String, Vec<String>)>,
    rules: Vec<(String, Vec<u8>)>,
    sets: Vec<(String, u32)>,
    elements: Vec<(String, Vec<Vec<u8>>)>,
    counters: Vec<String>,
}

impl Shape {
    /// Whether there is no table, or nothing in it.
    pub(super) fn is_bare(&self) -> bool {
        self.chains.is_empty()
    }
}

/// Reads the skeleton: chains, rules, sets, and the elements of those sets whose elements are part of it.
pub(super) fn shape(table: &mut Table) -> Result<Shape, Error> {
    let mut chains: Vec<_> = table.chains()?.into_iter().map(|chain| (chain.name, chain.devices)).collect();
    chains.sort_unstable();
    let mut sets: Vec<_> = table.sets()?.into_iter().filter(|s| !s.anonymous).map(|s| (s.name, s.size)).collect();
    sets.sort_unstable();
    let mut elements = Vec::new();
    for (name, _) in sets.iter().filter(|(name, _)| !KEPT_SETS.contains(&name.as_str())) {
        let (mut keys, _) = table.elements(name, usize::MAX, |element| {
            let mut key = element.key.to_vec();
            key.extend(element.last.unwrap_or_default());
            key.push(u8::from(element.interval_end));
            Some(key)
        })?;
        keys.sort_unstable();
        elements.push((name.clone(), keys));
    }
    let mut counters: Vec<_> = table.counters()?.into_iter().map(|counter| counter.name).collect();
    counters.sort_unstable();
    Ok(Shape { chains, rules: table.rules()?, sets, elements, counters })
}
