//! The servers for whom nobody waits, as they were learnt: one immutable set that the control task replaces, and that every
//! shard looks up when a first contact begins.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashSet;

use crate::wire::Address;
use crate::wire::frame::Transport;

/// One service of one host.
pub type Service = (Address, Transport, u16);

/// The set.
#[derive(Debug, Default)]
pub struct KnownServers(ArcSwap<HashSet<Service, foldhash::fast::RandomState>>);

impl KnownServers {
    /// Makes `servers` all there are.
    pub fn set(&self, servers: impl Iterator<Item = Service>) {
        self.0.store(Arc::new(servers.collect()));
    }

    /// Whether this service is one.
    #[must_use]
    pub fn has(&self, service: Service) -> bool {
        self.0.load().contains(&service)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
