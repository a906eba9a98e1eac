//! Lists of networks as the kernel's interval sets want them: of one family, none inside another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::ruleset::Family;

/// The networks of `family` among `networks`: host bits cleared, sorted, without those that lie inside another.
/// Prefixes either nest or are disjoint, so what is left never overlaps. IPv4-mapped IPv6 networks count as IPv4.
#[must_use]
pub fn disjoint<'a>(networks: impl IntoIterator<Item = &'a IpNetwork>, family: Family) -> Vec<IpNetwork> {
    let mut all: Vec<(u128, u8)> = networks.into_iter().filter_map(|network| normal(*network, family)).collect();
    all.sort_unstable();
    let mut kept: Vec<(u128, u8)> = Vec::with_capacity(all.len());
    for (first, prefix) in all {
        if kept.last().is_none_or(|&(outer, wide)| first & mask(wide) != outer) {
            kept.push((first, prefix));
        }
    }
    kept.into_iter().filter_map(|(first, prefix)| network(first, prefix, family)).collect()
}

/// First address (IPv4 in the low 32 bits' place of a mapped address) and prefix length out of 128.
fn normal(network: IpNetwork, family: Family) -> Option<(u128, u8)> {
    let (bits, prefix) = match network.ip() {
        IpAddr::V4(a) => (u128::from(a.to_ipv6_mapped()), network.prefix().checked_add(96)?),
        IpAddr::V6(a) => (u128::from(a), network.prefix()),
    };
    let is_v4 = prefix >= 96 && bits >> 32 == 0xffff;
    (is_v4 == (family == Family::V4)).then_some((bits & mask(prefix), prefix))
}

const fn mask(prefix: u8) -> u128 {
    if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) }
}

fn network(first: u128, prefix: u8, family: Family) -> Option<IpNetwork> {
    match family {
        Family::V4 => {
            let [.., a, b, c, d] = first.to_be_bytes();
            IpNetwork::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix.checked_sub(96)?).ok()
        }
        Family::V6 => IpNetwork::new(IpAddr::V6(Ipv6Addr::from(first)), prefix).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(list: &[&str], family: Family) -> Vec<String> {
        let networks: Vec<IpNetwork> = list.iter().map(|text| text.parse().unwrap()).collect();
        disjoint(&networks, family).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_lies_inside_another_goes() {
        let list = ["10.1.2.3/8", "10.0.0.0/16", "10.0.0.1", "192.168.0.7/24", "192.168.0.0/24", "fe80::1/64", "::/0"];
        assert_eq!(shown(&list, Family::V4), ["10.0.0.0/8", "192.168.0.0/24"]);
        assert_eq!(shown(&list, Family::V6), ["::/0"]);
    }

    #[test]
    fn a_mapped_network_is_an_ipv4_network() {
        assert_eq!(shown(&["::ffff:10.1.0.0/112"], Family::V4), ["10.1.0.0/16"]);
        assert!(shown(&["::ffff:10.1.0.0/112"], Family::V6).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_overlaps(list in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..40)) {
            let list: Vec<IpNetwork> =
                list.into_iter().map(|(a, p)| IpNetwork::new(Ipv4Addr::from(a).into(), p).unwrap()).collect();
            let kept = disjoint(&list, Family::V4);
            for network in &list {
                prop_assert_eq!(kept.iter().filter(|k| k.contains(network.ip())).count(), 1);
            }
            for network in &kept {
                prop_assert!(list.iter().any(|n| n.network() == network.network() && n.prefix() == network.prefix()));
            }
        }
    }
}
