//! Whether an answer, or any frame, comes from where its source lives.

use std::time::Duration;

use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::time::Timestamp;
use crate::track::recent_traffic::Sent;
use crate::track::{Host, Proof};
use crate::wire::frame::Direction;
use crate::wire::{Address, Frame, Mac};

/// What the gateway forwards leaves it within this time.
const FORWARDED: Duration = Duration::from_secs(1);

impl Detector {
    /// Whether what comes in as an answer from `peer` to `host` is not from there: by its path, by the card that sent it,
    /// or by what the link layer says of `peer` on the host's own link. Counted, and worth nothing; nor is its copy that
    /// the gateway forwards. Only who knows what the host sent can so spoil an answer: the host itself.
    pub(super) fn is_forged(
        &mut self,
        frame: &Frame<'_>,
        host: Address,
        peer: Address,
        port: u16,
        proof: Proof,
    ) -> bool {
        let traffic = &self.scorer.shared.recent_traffic;
        if self.misplaced(frame, peer) || self.answers_itself(frame, host, peer) {
            let speaks_for = |known: &Host| {
                known.attempts.waits_for(peer, port, proof) || known.evidence.iter().any(|said| said.peer == peer)
            };
            if self.hosts.get(host).is_some_and(speaks_for) {
                traffic.note(Sent::Forgery, peer, host, self.scorer.now);
            }
            self.scorer.counters.unverified(Unverified::Answer);
            return true;
        }
        traffic.within(Sent::Forgery, peer, host, FORWARDED, self.scorer.now)
    }

    /// Whether a frame came in where its source does not live.
    pub(super) fn misplaced(&self, frame: &Frame<'_>, source: Address) -> bool {
        let meta = &frame.meta;
        if meta.direction == Direction::Out || meta.vlan.is_some() {
            return false;
        }
        let settings = &self.scorer.settings;
        let elsewhere =
            settings.attached.iter().any(|(interface, of)| *interface != meta.interface && of.contains(source))
                && !settings.attached.iter().any(|(interface, of)| *interface == meta.interface && of.contains(source));
        elsewhere
            || (settings.check_reverse_path && settings.reverse_paths.permits(source, meta.interface) == Some(false))
    }

    fn answers_itself(&self, frame: &Frame<'_>, host: Address, peer: Address) -> bool {
        let Some(card) = frame.mac_source.filter(|card| *card != Mac::default()) else { return false };
        if frame.meta.direction == Direction::Out {
            return false;
        }
        let Some(host) = self.hosts.get(host).filter(|host| host.attached_at != Timestamp::ZERO) else { return false };
        let (addresses, now) = (&self.scorer.shared.addresses, self.scorer.now);
        let home = &host.attachment;
        if (home.interface, home.vlan) != (frame.meta.interface, frame.meta.vlan.unwrap_or(0)) {
            return false;
        }
        if addresses.is_router(frame.link(), card, now) {
            return false;
        }
        // On the host's own link its own card speaks for nobody else. What comes back there from another card passed no
        // gateway on its way, and needs the link layer's word: peers across a bridge answer by another port, and where
        // routes lead, `misplaced` has decided. A capture file shows one link for all.
        let settings = &self.scorer.settings;
        let across =
            !settings.attached.is_empty() && settings.reverse_paths.permits(peer, frame.meta.interface).is_none();
        let attached = settings.attached.iter().any(|(on, of)| *on == frame.meta.interface && of.contains(peer));
        card == home.mac || (across && !attached && addresses.answered_from(frame.link(), peer, now) != Some(card))
    }
}
