//! What the kernel's sets of places hold, read back as places.

use std::collections::HashMap;
use std::time::Duration;

use super::keys::{Scope, Source, kind, read_port, read_source, read_tag};
use super::{Key, MAPS, Map, Row, action};
use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::wire::Link;
use crate::wire::frame::Transport;

/// The elements of all sets that hold places.
#[derive(Clone, Debug, Default)]
pub(in crate::firewall) struct Found {
    pub(in crate::firewall) rows: HashMap<Key, Row>,
}

/// A place as found in the kernel.
#[derive(Clone, Debug)]
pub(in crate::firewall) struct Held {
    pub(in crate::firewall) action: Action,
    pub(in crate::firewall) left: Option<Duration>,
    pub(in crate::firewall) ports: Vec<(Transport, u16)>,
}

/// Two expiries that were set by one transaction differ by no more than the time between the two looks.
const TOGETHER: Duration = Duration::from_secs(2);

impl Found {
    /// The places that hold. One that holds everywhere shows once, not for each interface, except where a place of that
    /// interface alone is `known` besides.
    pub(in crate::firewall) fn places(&self, known: impl Fn(&Place) -> bool) -> HashMap<Place, Held> {
        let mut places: HashMap<Place, Held> = HashMap::new();
        for ((set, key), row) in &self.rows {
            let Some(map) = MAPS.iter().find(|map| map.name == *set) else { continue };
            // A table of an earlier version has addresses alone, which held everywhere.
            let bare = matches!((map.source, key.len()), (Source::V4, 4) | (Source::V6, 16));
            let older = map.scope == Scope::Untagged && bare;
            let place = if older {
                read_source(key).map(|source| Place { link: Link::default(), source })
            } else {
                read_place(map, key)
            };
            let (Some(place), Some(jump)) = (place, row.jump) else { continue };
            places.insert(place, Held { action: action(jump), left: row.left, ports: Vec::new() });
        }
        for (set, key) in self.rows.keys() {
            let Some(map) = MAPS.iter().find(|map| map.shut == *set) else { continue };
            let Some((owner, port)) = key.len().checked_sub(8).and_then(|at| key.split_at_checked(at)) else {
                continue;
            };
            if let (Some(place), Some(port)) = (read_place(map, owner), read_port(port))
                && let Some(held) = places.get_mut(&place)
            {
                held.ports.push(port);
            }
        }
        let everywhere: HashMap<Who, (Action, Option<Duration>)> = places
            .iter()
            .filter(|(place, _)| place.link.interface == 0)
            .map(|(place, held)| (place.source, (held.action, held.left)))
            .collect();
        places.retain(|place, own| {
            let copied = everywhere.get(&place.source).is_some_and(|(action, left)| {
                own.action == *action
                    && match (own.left, *left) {
                        (Some(own), Some(left)) => own.abs_diff(left) < TOGETHER,
                        (None, None) => true,
                        _ => false,
                    }
            });
            let may_be = place.link.interface != 0 && place.link.outer == 0 && !known(place);
            !(may_be && copied)
        });
        for held in places.values_mut() {
            held.ports.sort_unstable();
        }
        places
    }
}

/// The place that a main row's key names.
fn read_place(map: &Map, key: &[u8]) -> Option<Place> {
    let mut link = Link::default();
    let mut rest = key;
    if map.scope != Scope::Anywhere {
        let (interface, behind) = rest.split_first_chunk::<4>()?;
        (link.interface, rest) = (u32::from_ne_bytes(*interface), behind);
    }
    if matches!(map.scope, Scope::Tagged | Scope::Double) {
        let (outer, behind) = rest.split_first_chunk::<4>()?;
        (link.outer, rest) = (read_tag(*outer), behind);
    }
    if map.scope == Scope::Double {
        let (inner, behind) = rest.split_first_chunk::<4>()?;
        (link.inner, rest) = (read_tag(*inner), behind);
    }
    let source = match (map.source, read_source(rest)?) {
        (Source::Network, Who::Address(network)) => Who::Network(network),
        (_, source) => source,
    };
    (kind(source) == map.source).then_some(Place { link, source })
}
