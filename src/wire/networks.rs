//! Lists of networks, matched without allocation.

use ipnetwork::IpNetwork;

use crate::wire::Address;

/// A list of networks, matched without allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    entries: Vec<(u128, u128)>,
    written: Vec<IpNetwork>,
}

impl Networks {
    /// Builds the matcher; the order is kept for display.
    #[must_use]
    pub fn new(networks: Vec<IpNetwork>) -> Self {
        let entries = networks
            .iter()
            .map(|network| {
                let width =
                    if network.is_ipv4() { 96 + u32::from(network.prefix()) } else { u32::from(network.prefix()) };
                let mask = if width == 0 { 0 } else { u128::MAX << (128 - width) };
                (Address::from(network.ip()).bits() & mask, mask)
            })
            .collect();
        Networks { entries, written: networks }
    }

    /// Whether `address` lies in one of them.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        self.entries.iter().any(|&(value, mask)| address.bits() & mask == value)
    }

    /// The first entry that holds `address`, as it was written.
    #[must_use]
    pub fn entry(&self, address: Address) -> Option<IpNetwork> {
        let at = self.entries.iter().position(|&(value, mask)| address.bits() & mask == value)?;
        self.written.get(at).copied()
    }

    /// As they were written.
    #[must_use]
    pub fn written(&self) -> &[IpNetwork] {
        &self.written
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_match_both_families() {
        let networks = Networks::new(
            ["10.0.0.0/8", "172.16.0.0/12", "fc00::/7"].iter().map(|text| text.parse().unwrap()).collect(),
        );
        for (text, inside) in [
            ("10.255.1.2", true),
            ("172.15.255.255", false),
            ("172.31.0.1", true),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
            ("::10.0.0.1", false),
        ] {
            assert_eq!(networks.contains(text.parse().unwrap()), inside, "{text}");
        }
    }

    #[test]
    fn the_zero_prefix_of_one_family_does_not_hold_the_other() {
        let v4 = Networks::new(vec!["0.0.0.0/0".parse().unwrap()]);
        assert!(v4.contains("1.2.3.4".parse().unwrap()));
        assert!(!v4.contains("2001:db8::1".parse().unwrap()));
    }
}
