//! Which card an address is of, as the link layer and completed handshakes prove it.

use std::time::Duration;

use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::suspect::Suspect;
use crate::track::Host;
use crate::track::hosts::Adopted;
use crate::wire::{Address, Link, Mac};

/// A card that is acted on takes no address back from one that answered for it so lately.
const CONTESTED: Duration = Duration::from_secs(60);

impl Detector {
    /// A handshake from `source`, the host in `slot`, was completed through `card`: it is the card's, or the card forwards.
    pub(super) fn places(&mut self, link: Link, card: Mac, source: Address, slot: usize) {
        let (addresses, now) = (&self.scorer.shared.addresses, self.scorer.now);
        let (its, forwarder) =
            (addresses.resolution(link, source, now) == Some(card), addresses.is_forwarder(link, card, now));
        if its || (!forwarder && self.scorer.settings.is_attached(link.interface, source)) {
            self.owns(link, card, source);
        } else if !forwarder && self.scorer.settings.protected.contains(source) {
            addresses.forwards(link, card, now);
            self.scorer.events.push(Event::Forwards { link, card, does: true });
            if let Some(host) = self.hosts.slot_mut(slot) {
                host.vouched = true;
            }
        }
    }

    /// `card` has proved on `link` that `address` is its own.
    pub fn owns(&mut self, link: Link, card: Mac, address: Address) {
        let now = self.scorer.now;
        let before = self.scorer.shared.addresses.answered_from(link, address, now);
        let to = Suspect::card(link, card);
        // Two cards that both answer want the same address, and the block stays off it: one of them is its owner.
        let contested = |host: &Host| {
            host.acted && before.is_some_and(|other| other != card) && now.since(host.lost_at) < CONTESTED
        };
        if self.hosts.suspect(to).is_some_and(contested) {
            return;
        }
        self.scorer.shared.addresses.resolved(link, address, card, now);
        let events = &mut self.scorer.events;
        self.hosts.lose(link, card, address, now, |host| {
            if host.acted {
                events.push(Event::Lost { suspect: host.suspect, address, to: card, at: now });
            }
        });
        let adopted = self.hosts.adopt(link, card, address, now, self.scorer.settings.decay);
        let Detector { scorer, hosts, .. } = self;
        let Some(host) = hosts.suspect_mut(to) else { return };
        if std::mem::take(&mut host.vouched) {
            scorer.shared.addresses.ends(link, card);
            scorer.events.push(Event::Forwards { link, card, does: false });
        }
        match adopted {
            Adopted::Nothing | Adopted::Named => {
                // One that it had lost to another card is its again.
                let again = std::mem::take(&mut host.nameless) || before != Some(card);
                if host.acted && (adopted == Adopted::Named || again) {
                    scorer.events.push(Event::Named { suspect: to, address, at: now });
                }
            }
            Adopted::Moved(from) => {
                if host.acted || host.alarmed.is_some() || host.epoch > 0 {
                    scorer.events.push(Event::Identified { from, to, address, at: now });
                }
                scorer.reconsider(host);
            }
        }
    }
}
