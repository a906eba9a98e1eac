//! What conceals: tunnels that cannot be read, and fragments that hide a transport header.

use crate::detect::attempt::ContactAttempt;
use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::evidence::{Detail, Grade, Signal};
use crate::track::Class;
use crate::track::contacts::Seen;
use crate::wire::frame::{Direction, Transport, TunnelKind};
use crate::wire::{Address, Frame};

impl Detector {
    /// `source` sends through a tunnel to `destination`. That it begins to is worth a look, once a pair: what was there at
    /// the start is a site's.
    pub(super) fn tunnels(&mut self, frame: &Frame<'_>, kind: TunnelKind, source: Address, destination: Address) {
        let Detector { scorer, hosts, contacts, started, .. } = self;
        let now = scorer.now;
        if frame.meta.direction == Direction::Out || !scorer.is_watched(source) || !destination.is_unicast() {
            return;
        }
        let Ok((host, _)) = scorer.identify(hosts, frame, source) else { return };
        if contacts.meet(host.party(), destination, Class::Tunnel, now) == Seen::Before {
            return;
        }
        if now.since(started.unwrap_or(now)) < scorer.settings.start_up_grace {
            scorer.counters.learnt += 1;
            return;
        }
        if scorer.is_allowed(host, ContactAttempt::new(source, destination, (Transport::Other, 0), Class::Tunnel)) {
            scorer.counters.unverified(Unverified::Role);
            return;
        }
        scorer.counters.tunnels += 1;
        scorer.tip(host, Signal::Tunnel, destination, 0, Grade::Watch, Detail::Tunnel { kind, inside: 0 });
    }

    /// `frame` is a fragment by which `source` hides a transport header from `destination`'s gateway; `detail` says how.
    /// Each new peer weighs once.
    pub fn hides(&mut self, frame: &Frame<'_>, source: Address, destination: Address, detail: Detail) {
        let Detector { scorer, hosts, contacts, .. } = self;
        if !scorer.is_watched(source) || !destination.is_unicast() {
            return;
        }
        let host = match scorer.identify(hosts, frame, source) {
            Ok((host, _)) => host,
            Err(rejection) => {
                if let Some(rejection) = rejection {
                    scorer.counters.unverified(rejection.reason);
                }
                return;
            }
        };
        if host.acted || contacts.meet(host.party(), destination, Class::Fragment, scorer.now) == Seen::Before {
            return;
        }
        scorer.weigh(host, Signal::FragmentEvasion, destination, 0, scorer.settings.weights.fragment, detail);
    }
}
