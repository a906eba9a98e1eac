//! What others change around the daemon: the kernel's table, interfaces, addresses, neighbours.
//!
//! The kernel reports each change; nothing here is polled. What was ours is put right at once, counted and logged.

use std::time::Duration;

use crate::daemon::control::Control;
use crate::daemon::gateway::Survey;
use crate::detect::Directive;
use crate::firewall;
use crate::published::status::Drift;
use crate::sys::netlink;
use crate::sys::route::{Change, Kernel, Liveness, Neighbour};

/// A neighbour that the kernel gave up was asked for at least this long ago.
const GIVEN_UP: Duration = Duration::from_secs(1);

impl Control {
    /// Somebody changed the kernel's table: puts it right.
    pub(super) fn table_changed(&mut self, found: Result<Vec<firewall::Drift>, netlink::Error>) {
        let Some(at_once) = self.enforcement.drifted(found) else { return };
        if at_once {
            self.reconcile();
        }
        // Whoever changes it may change it again while it is being put right: the next tick looks once more.
        self.enforcement.make_due();
        self.refresh();
    }

    /// Interfaces, addresses or neighbours have changed.
    pub(super) fn network_changed(&mut self, found: Result<Vec<Change>, netlink::Error>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!("changes of the network cannot be watched: {error}");
                return;
            }
        };
        let mut ours = false;
        for change in &found {
            match change {
                Change::Neighbour(neighbour) => self.neighbour(neighbour),
                // Routes may change by the thousand: the next tick reads them once.
                Change::Route => self.gateway.routes_changed = true,
                Change::Link(_) | Change::LinkGone(_) | Change::Address(_) | Change::AddressGone(_) | Change::Lost => {
                    ours = true;
                }
            }
        }
        if ours {
            self.survey();
        }
    }

    /// Looks at the machine anew.
    pub(super) fn survey(&mut self) {
        match self.gateway.survey() {
            Survey::Unchanged => {
                // A device may have come back under its old name and number, without its hook.
                self.reconcile();
                return;
            }
            Survey::Changed => {}
            Survey::InterfacesChanged => self.enforcement.repaired(Drift::Device),
        }
        self.settings_changed();
        self.reconcile();
        // Routes may lead through other routers now.
        self.learn_neighbours();
        self.refresh();
    }

    /// Takes over the kernel's neighbour table.
    pub(super) fn learn_neighbours(&mut self) {
        match Kernel::open().and_then(|mut kernel| kernel.neighbours()) {
            Ok(neighbours) => neighbours.iter().for_each(|neighbour| self.neighbour(neighbour)),
            Err(error) => tracing::warn!("the neighbour table cannot be read: {error}"),
        }
    }

    fn neighbour(&mut self, neighbour: &Neighbour) {
        let now = self.clock.now();
        let site = self.published.site();
        let Neighbour { interface, address, .. } = *neighbour;
        if !address.is_unicast() {
            return;
        }
        let links = self.gateway.machine().links_of(interface, &site.config.gateway.interfaces);
        let next_hop = [interface, 0].iter().any(|index| self.gateway.machine().next_hops.contains(&(address, *index)));
        // Only what routes lead through: that it is a router anybody may say of himself (RFC 4861 §4.4).
        if let Some(card) = neighbour.mac.filter(|_| next_hop) {
            for link in &links {
                self.shared.addresses.forwards(*link, card, now);
                self.enforcement.forwards(*link, card, true);
            }
        }
        if !site.detect.protected.contains(address) {
            return;
        }
        match (neighbour.liveness, neighbour.mac) {
            (Liveness::Alive, Some(card)) => {
                self.shared.addresses.saw(address, now);
                for link in links {
                    if neighbour.confirmed {
                        self.capture.direct(&Directive::Owns { link, card, address });
                    } else {
                        self.shared.addresses.claimed(link, address, card, now);
                    }
                }
            }
            (Liveness::Dead, _) if !self.shared.addresses.is_alive(address, now) => {
                self.shared.addresses.asked(address, now - GIVEN_UP);
            }
            _ => {}
        }
    }
}
