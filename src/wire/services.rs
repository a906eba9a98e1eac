//! Sets of services: a transport and a port each.

use crate::wire::frame::Transport;

/// A set of services: a transport and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    tcp: Box<[u64; 1024]>,
    udp: Box<[u64; 1024]>,
    written: Vec<(Transport, u16)>,
}

impl Services {
    /// From a list of (TCP or UDP, port); other transports are passed over.
    #[must_use]
    pub fn new(list: &[(Transport, u16)]) -> Self {
        let mut services = Services { tcp: Box::new([0; 1024]), udp: Box::new([0; 1024]), written: list.to_vec() };
        for &(transport, port) in list {
            let map = match transport {
                Transport::Tcp => &mut services.tcp,
                Transport::Udp => &mut services.udp,
                Transport::Icmp | Transport::Other => continue,
            };
            if let Some(word) = map.get_mut(usize::from(port >> 6)) {
                *word |= 1 << (port & 63);
            }
        }
        services
    }

    /// Whether it holds this TCP port.
    #[must_use]
    pub fn has_tcp(&self, port: u16) -> bool {
        self.tcp.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
    }

    /// Whether it holds this UDP port.
    #[must_use]
    pub fn has_udp(&self, port: u16) -> bool {
        self.udp.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
    }

    /// As they were written.
    #[must_use]
    pub fn written(&self) -> &[(Transport, u16)] {
        &self.written
    }
}

impl Default for Services {
    fn default() -> Self {
        Services::new(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_keep_transports_apart() {
        let services = Services::new(&[(Transport::Tcp, 445), (Transport::Udp, 1434), (Transport::Tcp, 65535)]);
        assert!(services.has_tcp(445) && !services.has_udp(445));
        assert!(services.has_udp(1434) && !services.has_tcp(1434));
        assert!(services.has_tcp(65535) && !services.has_tcp(0));
    }
}
