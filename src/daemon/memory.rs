//! The most memory that a daemon with this configuration comes to.

use crate::config::Config;
use crate::detect::Detector;
use crate::published::host_table::HostTable;

/// What the daemon takes besides its tables, at most: its program, the database's cache, the latest decisions with their
/// evidence in words, queues to the history and to whoever asks.
const REST: usize = 96 << 20;

/// The most memory that a daemon with this configuration comes to, with every table full, in bytes. Rings are memory of
/// the kernel, but mapped, and count.
#[must_use]
pub fn bound(config: &Config) -> u64 {
    let capacities = &config.detect.capacities;
    let rings = config.capture.ring_bytes * config.capture.shards.max(1) * config.gateway.interfaces.len().max(1);
    let tables = Detector::bytes(capacities, config.capture.shards) + HostTable::bytes(capacities.hosts);
    u64::try_from(REST + rings + tables).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_capacities() {
        let default = Config::default();
        let mut twice = default.clone();
        let capacities = &mut twice.detect.capacities;
        (capacities.hosts, capacities.contacts) = (capacities.hosts * 2, capacities.contacts * 2);
        assert!(bound(&default) > 300 << 20 && bound(&default) < 1 << 30, "{}", bound(&default));
        assert!(bound(&twice) > bound(&default) + (100 << 20));
    }
}
