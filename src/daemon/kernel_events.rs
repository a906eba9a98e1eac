//! What others change around the daemon: the kernel's table, interfaces, addresses, neighbours.
//!
//! The kernel tells of each change; nothing here is polled. What was ours is put right at once, counted and logged.

use std::time::Duration;

use crate::daemon::control::Control;
use crate::daemon::machine::Machine;
use crate::daemon::renamed::Renamed;
use crate::detect::Directive;
use crate::firewall::{self, What};
use crate::published::status::{Deletions, Drift, Repairs};
use crate::sys::netlink;
use crate::sys::route::{Change, Kernel, Liveness, Neighbour};
use crate::time::Timestamp;
use crate::wire::{Link, Mac};

/// Most cards that are known to forward for others.
const MOST_FORWARDERS: usize = 4096;

/// A neighbour that the kernel gave up was asked for at least this long ago.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// Deletions of the table are counted as one series within this time.
const LATELY: Duration = Duration::from_secs(10);

/// From so many on within [`LATELY`], somebody does it again and again.
const AGAIN_AND_AGAIN: u64 = 3;

/// Most deletions remembered of the last [`LATELY`].
const MOST_DELETED: usize = 10_000;

impl Control {
    /// Somebody changed the kernel's table: puts it right.
    pub(super) fn drifted(&mut self, found: Result<Vec<firewall::Drift>, netlink::Error>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!("changes of the kernel's table cannot be watched: {error}");
                self.firewall_error = Some(error.to_string());
                return;
            }
        };
        if found.is_empty() {
            return;
        }
        // The door is open until it is put back: first that, then the rest.
        let deleted = found.iter().any(|drift| drift.what == What::Table);
        let back = deleted && self.put_back();
        for drift in &found {
            let by = drift.by.as_deref().unwrap_or("somebody");
            let process = drift.process.unwrap_or(0);
            if drift.what == What::Table {
                self.deleted(drift);
            }
            let kind = match &drift.what {
                What::Table | What::Lost => Drift::Table,
                What::Chain(_) | What::Rules(_) | What::Set(_) | What::Counter(_) => Drift::Rule,
                What::Elements(_) => Drift::Element,
            };
            tracing::warn!(
                by,
                process,
                kind = kind.label(),
                "the kernel's table was changed ({:?}): putting it right",
                drift.what
            );
            self.repaired(kind);
        }
        if !back {
            self.look_over();
        }
        // Whoever changes it may change it again while it is being put right: the next tick looks once more.
        self.looked_over = Timestamp::ZERO;
        self.refresh();
    }

    /// Puts a deleted table back at once; whether that is done, and nothing is left to look over in haste.
    fn put_back(&mut self) -> bool {
        match self.firewall.reassert() {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!("the deleted table could not be put back at once: {error}");
                false
            }
        }
    }

    /// Notes that the whole table was deleted; whoever does so again and again keeps the door open.
    fn deleted(&mut self, drift: &firewall::Drift) {
        let now = self.clock.now();
        self.deleted_at.push_back(now);
        while self.deleted_at.front().is_some_and(|at| now.since(*at) > LATELY) || self.deleted_at.len() > MOST_DELETED
        {
            self.deleted_at.pop_front();
        }
        let lately = u64::try_from(self.deleted_at.len()).unwrap_or(u64::MAX);
        let count = self.deletions.as_ref().map_or(0, |before| before.count) + 1;
        let by = drift.by.as_ref().map(|by| match drift.process {
            Some(process) => format!("{by} (process {process})"),
            None => by.clone(),
        });
        if lately >= AGAIN_AND_AGAIN {
            tracing::error!(
                "the kernel's table is deleted again and again, {lately} times in the last {} s, last by {}: the door \
                 is open each time until it is put back; stop what does it",
                LATELY.as_secs(),
                by.as_deref().unwrap_or("somebody")
            );
        }
        self.deletions = Some(Deletions { count, last: now, lately, by });
    }

    fn repaired(&mut self, kind: Drift) {
        let now = self.clock.now();
        match self.repairs.iter_mut().find(|repairs| repairs.kind == kind) {
            Some(repairs) => {
                repairs.count += 1;
                repairs.last = now;
            }
            None => self.repairs.push(Repairs { kind, count: 1, last: now }),
        }
    }

    /// Interfaces, addresses or neighbours have changed.
    pub(super) fn changed(&mut self, found: Result<Vec<Change>, netlink::Error>) {
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
                Change::Route => self.routes_changed = true,
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
        self.routes_changed = false;
        let machine = Machine::now();
        if machine == self.machine {
            // A device may have come back under its old name and number, without its hook.
            self.look_over();
            return;
        }
        let before = self.machine.present(&self.written.gateway.interfaces);
        self.machine = machine;
        for renamed in self.protected.look(&self.written.gateway.interfaces, &self.machine.names) {
            let Renamed { configured, now, .. } = renamed;
            tracing::warn!(
                "interface {configured} is now called {now}: it stays protected under that name until the daemon \
                 restarts; put {now} into gateway.interfaces, or give the interface its name back"
            );
        }
        let after = self.machine.present(&self.written.gateway.interfaces);
        if before != after {
            tracing::warn!(interfaces = after.join(","), "protected interfaces have come or gone");
            self.repaired(Drift::Device);
        }
        self.settings_changed();
        self.look_over();
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
        let config = self.published.config();
        let Neighbour { interface, address, .. } = *neighbour;
        if !address.is_unicast() {
            return;
        }
        let links = self.machine.links_of(interface, &config.gateway.interfaces);
        let next_hop = [interface, 0].iter().any(|index| self.machine.next_hops.contains(&(address, *index)));
        // Only what routes lead through: that it is a router anybody may say of himself (RFC 4861 §4.4).
        if let Some(card) = neighbour.mac.filter(|_| next_hop) {
            for link in &links {
                self.shared.addresses.forwards(*link, card, now);
                self.forwards(*link, card, true);
            }
        }
        if !config.detect.protected.contains(address) {
            return;
        }
        match (neighbour.liveness, neighbour.mac) {
            (Liveness::Alive, Some(card)) => {
                self.shared.addresses.saw(address, now);
                for link in links {
                    if neighbour.confirmed {
                        self.direct(&Directive::Owns { link, card, address });
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

    /// A card forwards for others, or not: whoever is behind it is judged, and limited by the fuse, by address.
    pub(super) fn forwards(&mut self, link: Link, card: Mac, does: bool) {
        let new = if does {
            self.forwarders.len() < MOST_FORWARDERS && self.forwarders.insert((link, card))
        } else {
            self.forwarders.remove(&(link, card))
        };
        if new {
            let forwarders: Vec<_> = self.forwarders.iter().copied().collect();
            if let Err(error) = self.firewall.set_forwarders(&forwarders) {
                tracing::error!(%link, %card, "the kernel was not given a router's card: {error}");
            }
        }
    }
}
