//! Completed handshakes: who acknowledges a server's number is there, and is who it says.

use crate::detect::attempt::ContactAttempt;
use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::evidence::{Detail, Signal};
use crate::track::Class;
use crate::track::contacts::Seen;
use crate::wire::frame::{Segment, Transport};
use crate::wire::{Address, Frame};

impl Detector {
    /// A server answered `host`: whoever acknowledges that has seen it, and is who it says.
    pub(super) fn offered(&mut self, server: Address, host: Address, port: u16, number: u32) {
        if let Some(host) = self.hosts.get_mut_where(host, |host| host.attempts.awaits(server, port)) {
            host.offered = Some((server, port, number));
        }
    }

    /// A client's segment: if it acknowledges what its server offered, the client is there.
    pub(super) fn acknowledged(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination, destination_port, acknowledgement, .. } = *segment;
        let link = frame.link();
        let card = frame.mac_source.unwrap_or_default();
        let Some(slot) = self.hosts.sender(source, link, card) else { return };
        let Some(host) = self.hosts.sending(slot, source) else { return };
        // Servers that speak first may have sent a little by the time that this is the first segment seen.
        let acknowledges = host.offered.is_some_and(|(server, port, number)| {
            server == destination && port == destination_port && acknowledgement.wrapping_sub(number) < 0x1_0000
        });
        let (is_card, nameless) = (host.is_card(), host.nameless);
        // What another card sends in this name is another's.
        if !acknowledges || !(is_card || host.attachment.mac == card) {
            return;
        }
        host.offered = None;
        // As good as an answer to whoever asks the link for it just now.
        self.scorer.shared.probes.answered(source, card);
        let unconfirmed = host.unconfirmed.take();
        if unconfirmed.is_some() {
            host.alarmed = None;
        }
        if self.scorer.settings.decoys.contains(destination) {
            self.decoy_completed(frame, segment);
        }
        if !is_card && frame.mac_source.is_some() {
            self.places(link, card, source, slot);
        } else if nameless {
            // Another card answered for its address, but the server's answer reached this one: it is there.
            self.owns(link, card, source);
        }
        if let Some(since) = unconfirmed {
            let Detector { scorer, hosts, .. } = self;
            if let Some(host) = hosts.get_mut(source).filter(|host| !host.acted) {
                scorer.confirm(host, since);
            }
        }
    }

    fn decoy_completed(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        let Segment { source, destination: decoy, destination_port: port, .. } = *segment;
        let Detector { scorer, hosts, contacts, .. } = self;
        if !scorer.settings.protected.contains(source) {
            return;
        }
        let host = match scorer.identify(hosts, frame, source) {
            Ok((host, _)) if !host.acted => host,
            Err(Some(rejection)) => {
                scorer.counters.unverified(rejection.reason);
                return;
            }
            Ok(_) | Err(None) => return,
        };
        if scorer.is_allowed(host, ContactAttempt::new(source, decoy, (Transport::Tcp, port), Class::Decoy)) {
            scorer.counters.unverified(Unverified::Role);
            return;
        }
        if contacts.meet(host.party(), decoy, Class::Decoy, scorer.now) == Seen::Before {
            return;
        }
        let detail = Detail::Fields { what: "bait address talked to", values: [0; 4], source: "config: decoys" };
        scorer.weigh(host, Signal::Decoy, decoy, port, scorer.settings.weights.decoy, detail);
    }
}
