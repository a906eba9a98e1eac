//! What the responder has decided, taken in by the detector.

use std::time::Duration;

use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::detect::event::Directive;
use crate::detect::scorer::REPEAT;
use crate::evidence::Reached;
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::ports::Ports;
use crate::wire::{Address, Link};

/// A host that nobody answers for is not alarmed again for so long.
const UNCONFIRMED: Duration = Duration::from_secs(30);

impl Detector {
    /// Takes what was decided. `mine` says whether this shard keeps an address.
    pub fn direct(&mut self, directive: &Directive, mine: impl Fn(Address) -> bool) {
        match directive {
            Directive::Acted { suspect, addresses } => {
                let first = addresses.first().copied().unwrap_or_default();
                if self.hosts.suspect(*suspect).is_none() && !mine(first) {
                    return;
                }
                for address in addresses.iter().rev() {
                    self.hosts.find_or_insert(*suspect, *address, self.scorer.now);
                }
                for slot in self.meant(*suspect) {
                    let Some(host) = self.hosts.slot_mut(slot) else { continue };
                    host.acted = true;
                    host.attempts.clear();
                    host.lateral.clear();
                    host.ports = Ports::default();
                    host.dirty = true;
                }
            }
            Directive::Owns { link, card, address } => self.owns(*link, *card, *address),
            Directive::Released { suspect } => {
                for slot in self.meant(*suspect) {
                    if let Some(host) = self.hosts.slot_mut(slot) {
                        host.reset(self.scorer.now);
                    }
                }
            }
            Directive::Spoofed { suspect, reason } => {
                if let Some(host) = self.hosts.suspect_mut(*suspect).filter(|host| !host.acted) {
                    self.scorer.counters.unverified(*reason);
                    if *reason == Unverified::NobodyThere {
                        // A host that hides shows itself by the next handshake it completes: what was said of it stands.
                        host.unconfirmed = Some(self.scorer.now);
                        host.alarmed = Some(self.scorer.now - REPEAT + UNCONFIRMED);
                    } else {
                        // Where its device has answered, a forger is not listened to any more, and the host itself is.
                        host.reset(self.scorer.now);
                        host.destinations = 0;
                        // Its place is learnt anew.
                        host.attached_at = Timestamp::ZERO;
                    }
                    host.watched = Some(self.scorer.now);
                }
            }
            Directive::Contained { hosts } => {
                self.scorer.set_contained(*hosts);
            }
            Directive::Exposed { from, reached, at } => {
                for Reached { destination, port } in reached.iter().filter(|reached| mine(reached.destination)) {
                    if !self.scorer.settings.protected.contains(*destination) {
                        continue;
                    }
                    if self.hosts.get(*destination).is_none() {
                        // Where it is shows when it first sends something.
                        self.hosts.find_or_insert(
                            Suspect::address(Link::default(), *destination),
                            *destination,
                            self.scorer.now,
                        );
                    }
                    if let Some(host) = self.hosts.get_mut(*destination).filter(|host| !host.acted) {
                        host.exposed = Some((*from, *port, *at));
                        host.dirty = true;
                    }
                }
            }
        }
    }

    /// The slots that a directive is about: the suspect's; for an address whose place is not known, those of everybody who
    /// uses it.
    fn meant(&self, suspect: Suspect) -> Vec<usize> {
        match suspect {
            Suspect { link, who: Who::Address(address) } if link == Link::default() => {
                self.hosts.slots_of(address).into_iter().flatten().collect()
            }
            _ => self.hosts.slot_of(suspect).into_iter().collect(),
        }
    }
}
