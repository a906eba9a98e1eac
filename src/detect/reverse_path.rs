//! Reverse paths: by which interfaces this machine would send to an address, and so where its packets may come from.
//!
//! A forger can write any source; but a source that lives nowhere behind the interface its packet came in on did not
//! send it. Each of the kernel's routing tables is asked by itself for the longest prefix (RFC 3704's strict check), and
//! one that agrees is enough: with policy routing it is unknown which applies. Knows nothing in a replay.

use ipnetwork::IpNetwork;

use crate::wire::Address;

/// A prefix's mask, and the networks of that length with the interfaces they are reached by, in order.
type Length = (u128, Vec<(u128, Vec<u32>)>);

/// The kernel's unicast routes, as the core must know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReversePaths {
    /// Each table's prefixes, the longest first.
    tables: Vec<(u32, Vec<Length>)>,
    /// The interfaces that packets leave by: for IPv4 (true) or IPv6.
    interfaces: Vec<(bool, u32)>,
}

/// One route: its table, the network it leads to, the index of the interface it leaves by.
pub type Route = (u32, IpNetwork, u32);

impl ReversePaths {
    /// From all routes, in any order; several to one network (multipath) all count.
    #[must_use]
    pub fn new(routes: &[Route]) -> Self {
        let mut sorted: Vec<(u32, u128, u128, u32)> = routes
            .iter()
            .filter(|(_, network, _)| !Address::from(network.ip()).is_link_local())
            .map(|(table, network, interface)| {
                let bits = u32::from(network.prefix()) + if network.is_ipv4() { 96 } else { 0 };
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                // The longest first.
                (*table, !mask, Address::from(network.ip()).bits() & mask, *interface)
            })
            .collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut paths = ReversePaths::default();
        for (table, host_bits, network, interface) in sorted {
            if paths.tables.last().is_none_or(|(last, _)| *last != table) {
                paths.tables.push((table, Vec::new()));
            }
            let Some((_, lengths)) = paths.tables.last_mut() else { continue };
            if lengths.last().is_none_or(|(mask, _)| *mask != !host_bits) {
                lengths.push((!host_bits, Vec::new()));
            }
            let Some((_, networks)) = lengths.last_mut() else { continue };
            match networks.last_mut() {
                Some((last, interfaces)) if *last == network => interfaces.push(interface),
                _ => networks.push((network, vec![interface])),
            }
        }
        paths.interfaces = routes
            .iter()
            .filter(|(_, network, _)| !Address::from(network.ip()).is_link_local())
            .map(|(_, network, interface)| (network.is_ipv4(), *interface))
            .collect();
        paths.interfaces.sort_unstable();
        paths.interfaces.dedup();
        paths
    }

    /// Whether packets to `address` would leave by `interface`. `None` where that says nothing: a link-local address, or
    /// an interface that no route of that family uses (a bridge's port, a replay).
    #[must_use]
    pub fn permits(&self, address: Address, interface: u32) -> Option<bool> {
        if address.is_link_local() {
            return None;
        }
        self.interfaces.binary_search(&(address.is_v4(), interface)).ok()?;
        let bits = address.bits();
        let agrees = |lengths: &Vec<Length>| {
            let longest = lengths.iter().find_map(|(mask, networks)| {
                let at = networks.binary_search_by_key(&(bits & mask), |(network, _)| *network).ok()?;
                networks.get(at)
            });
            longest.is_some_and(|(_, interfaces)| interfaces.contains(&interface))
        };
        Some(self.tables.iter().any(|(_, lengths)| agrees(lengths)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(routes: &[(u32, &str, u32)]) -> ReversePaths {
        let routes: Vec<Route> =
            routes.iter().map(|(table, network, interface)| (*table, network.parse().unwrap(), *interface)).collect();
        ReversePaths::new(&routes)
    }

    fn lead(paths: &ReversePaths, address: &str, interface: u32) -> Option<bool> {
        paths.permits(address.parse().unwrap(), interface)
    }

    #[test]
    fn the_longest_prefix_decides() {
        let paths = paths(&[
            (254, "0.0.0.0/0", 1),
            (254, "10.0.0.0/8", 2),
            (254, "10.7.0.0/16", 3),
            (254, "10.7.1.9/32", 4),
            (254, "fd00::/8", 5),
            (254, "::/0", 1),
        ]);
        for (address, interface) in [
            ("8.8.8.8", 1),
            ("10.1.1.1", 2),
            ("10.7.1.1", 3),
            ("10.7.1.9", 4),
            ("fd01::1", 5),
            ("2001:db8::1", 1),
            ("172.16.0.1", 1),
        ] {
            // 2, 3 and 4 carry IPv4 only, 5 IPv6 only.
            let other = if address.contains(':') { 2..=4 } else { 5..=5 };
            for asked in (1..=5).filter(|asked| !other.contains(asked)) {
                assert_eq!(lead(&paths, address, asked), Some(asked == interface), "{address} by {asked}");
            }
            for asked in other {
                assert_eq!(lead(&paths, address, asked), None, "{address} by {asked}");
            }
        }
    }

    #[test]
    fn without_a_route_nobody_comes_that_way_and_without_knowledge_nothing_is_said() {
        let paths = paths(&[(254, "10.0.1.0/24", 1), (254, "10.0.2.0/24", 2)]);
        assert_eq!(lead(&paths, "10.77.0.1", 1), Some(false));
        assert_eq!(lead(&paths, "10.0.2.1", 1), Some(false));
        assert_eq!(lead(&paths, "10.0.1.1", 9), None, "a bridge's port");
        assert_eq!(lead(&ReversePaths::default(), "10.0.1.1", 1), None);
    }

    #[test]
    fn link_local_addresses_and_routes_say_nothing() {
        let paths =
            paths(&[(254, "fe80::/64", 1), (254, "fe80::/64", 2), (254, "fd00:1::/64", 2), (254, "169.254.0.0/16", 1)]);
        assert_eq!(lead(&paths, "10.0.1.1", 1), None, "a bridge's port has a link-local route");
        assert_eq!(lead(&paths, "fd00:1::7", 1), None);
        assert_eq!(lead(&paths, "fd00:1::7", 2), Some(true));
        assert_eq!(lead(&paths, "fe80::7", 2), None);
        assert_eq!(lead(&paths, "169.254.1.7", 1), None);
    }

    #[test]
    fn several_paths_to_one_network_all_count_and_so_does_each_table() {
        let paths =
            paths(&[(254, "10.7.0.0/16", 1), (254, "10.7.0.0/16", 2), (254, "0.0.0.0/0", 4), (100, "10.7.0.0/16", 3)]);
        for (interface, leads) in [(1, true), (2, true), (3, true), (4, false)] {
            assert_eq!(lead(&paths, "10.7.1.1", interface), Some(leads), "{interface}");
        }
    }
}
