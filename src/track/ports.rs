//! The ports that a host's first contacts were on: the few that count most.
//!
//! A fixed number of ports with points (space-saving, Metwally et al. 2005): a port that finds no place takes that of the
//! one with the fewest, and its points. So the ports that a host spreads over are among them, whatever else it does.

use crate::wire::frame::Transport;

/// A port with its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    service: (Transport, u16),
    points: u16,
}

/// The ports of one host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    entries: [Option<Entry>; Ports::MOST],
}

impl Ports {
    /// Ports remembered at once.
    pub const MOST: usize = 8;

    /// Adds points to a port; gives how many it has now.
    pub fn add(&mut self, service: (Transport, u16), points: u16) -> u16 {
        if let Some(entry) = self.entries.iter_mut().flatten().find(|entry| entry.service == service) {
            entry.points = entry.points.saturating_add(points);
            return entry.points;
        }
        let Some(place) = self.entries.iter_mut().min_by_key(|entry| entry.map_or(0, |entry| entry.points)) else {
            return 0;
        };
        let before = place.map_or(0, |entry| entry.points);
        let points = points.saturating_add(before);
        *place = Some(Entry { service, points });
        points
    }

    /// The ports that have at least a quarter of what the first has, and two points: the most first.
    #[must_use]
    pub fn leading(&self) -> Vec<(Transport, u16)> {
        let mut entries: Vec<Entry> = self.entries.iter().flatten().copied().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.points));
        let most = entries.first().map_or(0, |entry| entry.points);
        entries.retain(|entry| entry.points >= 2 && entry.points.saturating_mul(4) >= most);
        entries.into_iter().map(|entry| entry.service).collect()
    }

    /// Takes over another's points.
    pub fn merge(&mut self, other: &Ports) {
        for entry in other.entries.iter().flatten() {
            self.add(entry.service, entry.points);
        }
    }

    /// A port's points are over.
    pub fn settle(&mut self, service: (Transport, u16)) {
        for entry in &mut self.entries {
            if entry.is_some_and(|entry| entry.service == service) {
                *entry = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_is_scanned_leads_whatever_else_is_used() {
        let mut ports = Ports::default();
        for n in 0..200 {
            ports.add((Transport::Tcp, 8080), 1);
            ports.add((Transport::Tcp, 20_000 + n), 1);
        }
        assert_eq!(ports.leading().first(), Some(&(Transport::Tcp, 8080)));
        let mut few = Ports::default();
        few.add((Transport::Udp, 1434), 9);
        few.add((Transport::Tcp, 443), 1);
        assert_eq!(few.leading(), [(Transport::Udp, 1434)]);
        few.settle((Transport::Udp, 1434));
        assert!(few.leading().is_empty());
    }
}
