//! Elements of places as text for nft.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use super::super::ruleset::TABLE;
use super::keys::{Scope, read_port, read_source, read_tag};
use super::{FRAME_CARDS, FRAME_TAGGED_CARDS, ISOLATED_AS_NUMBERS, Key, MAPS, Row, family};
use crate::suspect::Who;
use crate::sys::nftables::Family;
use crate::wire::frame::Transport;

/// A key as nft writes it; `None` if no set of that name holds places, cards or servers.
fn written(set: &str, key: &[u8]) -> Option<String> {
    let map = MAPS.iter().find(|map| map.name == set || (map.shut == set && !map.shut.is_empty()));
    let scope = match set {
        "forwarders" | "frame_forwarders" | FRAME_CARDS => Scope::Untagged,
        FRAME_TAGGED_CARDS => Scope::Tagged,
        _ => map.map_or(Scope::Anywhere, |map| map.scope),
    };
    let mut rest = key;
    let mut parts: Vec<String> = Vec::with_capacity(6);
    if scope != Scope::Anywhere {
        let (interface, behind) = rest.split_first_chunk::<4>()?;
        parts.push(u32::from_ne_bytes(*interface).to_string());
        rest = behind;
    }
    let tags = match (scope, set) {
        (Scope::Double, _) => 2,
        (Scope::Tagged, _) | (_, "tagged_isolated4" | "tagged_isolated6") => 1,
        _ => 0,
    };
    for _ in 0..tags {
        let (outer, behind) = rest.split_first_chunk::<4>()?;
        parts.push(read_tag(*outer).to_string());
        rest = behind;
    }
    let (source, ports) = match map {
        _ if map.is_some_and(|map| map.shut == set) || set.starts_with("servers") => {
            rest.split_at_checked(rest.len().checked_sub(8)?)?
        }
        _ => (rest, &[][..]),
    };
    if ISOLATED_AS_NUMBERS.contains(&set) {
        parts.push(source.iter().fold("0x".to_owned(), |digits, octet| format!("{digits}{octet:02x}")));
    } else {
        parts.push(match read_source(source)? {
            Who::Card(card) => card.to_string(),
            Who::Address(address) | Who::Network(address) => address.to_string(),
        });
    }
    if let Some((transport, port)) = read_port(ports) {
        parts.push(if transport == Transport::Udp { "udp" } else { "tcp" }.to_owned());
        parts.push(port.to_string());
    }
    Some(parts.join(" . "))
}

/// Whether nft can be given a set's elements as text. Five fields by expression are more than it (1.0.6) keeps of a set's
/// type, so it knows those for numbers without a length.
pub(in crate::firewall) fn is_writable(set: &str) -> bool {
    !set.starts_with("tagged_shut")
}

/// The rows as nft's commands that add them, in `out`.
pub(in crate::firewall) fn write(out: &mut String, rows: &HashMap<Key, Row>) -> fmt::Result {
    let mut rows: Vec<(&Key, &Row)> = rows.iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    for rows in rows.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
        let Some(((set, _), _)) = rows.first() else { continue };
        let table = if family(set) == Family::Netdev { "netdev" } else { "inet" };
        writeln!(out, "add element {table} {TABLE} {set} {{")?;
        for ((_, key), row) in rows {
            let Some(key) = written(set, key) else { continue };
            write!(out, "\t{key}")?;
            if let Some(left) = row.left {
                write!(
                    out,
                    " timeout {}s{}ms",
                    left.as_secs(),
                    left.subsec_millis().max(u32::from(left.as_secs() == 0))
                )?;
            }
            if let Some(chain) = row.jump {
                write!(out, " : jump {chain}")?;
            }
            writeln!(out, ",")?;
        }
        writeln!(out, "}}")?;
    }
    Ok(())
}
