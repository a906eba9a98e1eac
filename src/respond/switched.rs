//! The switch from monitor to enforce: blocks that were only counted become real, and an engineer must see which.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::wire::Address;

/// So many hosts are named; the others are counted.
pub const NAMED: usize = 5;

/// Hosts that monitor mode only counted, and that are dropped since the switch to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// When the mode was switched.
    pub at: Timestamp,
    /// How many hosts.
    pub hosts: u64,
    /// The first few, by address.
    pub first: Vec<Address>,
}

impl Switched {
    /// Of these hosts, at this moment; `None` of none.
    #[must_use]
    pub fn new(mut hosts: Vec<Address>, at: Timestamp) -> Option<Self> {
        if hosts.is_empty() {
            return None;
        }
        hosts.sort_unstable();
        let count = u64::try_from(hosts.len()).unwrap_or(u64::MAX);
        hosts.truncate(NAMED);
        Some(Switched { at, hosts: count, first: hosts })
    }
}

impl fmt::Display for Switched {
    /// `12 hosts (10.0.0.1, 10.0.0.2, …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.hosts == 1 { "host" } else { "hosts" };
        let names: Vec<String> = self.first.iter().map(Address::to_string).collect();
        let more = if self.hosts > u64::try_from(names.len()).unwrap_or(u64::MAX) { ", …" } else { "" };
        write!(f, "{} {noun} ({}{more})", self.hosts, names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_named_and_all_are_counted() {
        let hosts = |n: u8| (1..=n).rev().map(|n| Address::v4([10, 0, 0, n])).collect::<Vec<_>>();
        assert_eq!(Switched::new(hosts(0), Timestamp::ZERO), None);
        assert_eq!(Switched::new(hosts(1), Timestamp::ZERO).unwrap().to_string(), "1 host (10.0.0.1)");
        let many = Switched::new(hosts(9), Timestamp::ZERO).unwrap().to_string();
        assert_eq!(many, "9 hosts (10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, …)");
    }
}
