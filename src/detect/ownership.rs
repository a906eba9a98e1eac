//! Which card an address is of, as the link layer and completed handshakes prove it.

use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::suspect::Suspect;
use crate::track::hosts::Adopted;
use crate::wire::{Address, Link, Mac};

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
        self.scorer.shared.addresses.resolved(link, address, card, now);
        if let Some(host) = self.hosts.lose(link, card, address)
            && host.acted
        {
            self.scorer.events.push(Event::Lost { suspect: host.suspect, address, to: card, at: now });
        }
        let to = Suspect::card(link, card);
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
                if host.acted && (adopted == Adopted::Named || before != Some(card)) {
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
