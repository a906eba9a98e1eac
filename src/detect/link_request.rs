//! ARP requests and neighbour solicitations: a host asks its link for an address that does not answer.

use std::time::Duration;

use crate::detect::attempt::ContactAttempt;
use crate::detect::contact::pending;
use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::track::Class;
use crate::track::recent_traffic::Sent;
use crate::wire::Frame;

/// A stack repeats an ARP request within so many seconds if nobody answers.
const REPEATED_WITHIN: u32 = 5;

/// Most distinct addresses, of those not known to be alive, that an ordinary host asks its link for within a minute: 24
/// in real captures. Sweeps ask for 250 to 40,000.
const HOST_REQUESTS: u32 = 32;

/// The same for a router, which asks for whom its senders name: 499 within 28 s in real captures.
const ROUTER_REQUESTS: u32 = 2048;

/// A request is caused by who sent in the target's name within this time.
const CAUSED: Duration = Duration::from_secs(60);

impl Detector {
    /// `frame` asks the link for an address that does not answer, as far as is known. Its answer need not pass here: the
    /// proof that none came is that the host asks again, as every operating system does within seconds (RFC 1122
    /// §2.3.2.1, RFC 4861 §7.2.2).
    pub(super) fn requested(&mut self, frame: &Frame<'_>, what: ContactAttempt) {
        let Detector { scorer, hosts, contacts, .. } = self;
        let (link, card, now) = (frame.link(), frame.mac_source.unwrap_or_default(), scorer.now);
        let Some(host) = hosts.sender(what.host, link, card).and_then(|slot| hosts.sending(slot, what.host)) else {
            return;
        };
        // What is alive may be asked for.
        if scorer.shared.addresses.is_alive(what.peer, now) {
            return;
        }
        // A packet in the target's name makes anybody ask for it.
        if scorer.shared.recent_traffic.within(Sent::Anything, what.peer, what.host, CAUSED, now) {
            scorer.counters.unverified(Unverified::Caused);
            return;
        }
        let router = scorer.shared.addresses.is_router(link, card, now);
        let first = !contacts.knows(host.party(), what.peer, Class::Arp, now);
        let again = contacts.asks_again(host.party(), what.peer, Class::Arp, REPEATED_WITHIN, now);
        // A router asks for whom it forwards to; that is its senders' doing.
        if !first && (router || !again) {
            return;
        }
        if scorer.is_allowed(host, what) {
            scorer.counters.unverified(Unverified::Role);
        } else if first {
            scorer.link_request(host, what.peer, if router { ROUTER_REQUESTS } else { HOST_REQUESTS });
        } else {
            scorer.silent(host, pending(what, now - Duration::from_secs(1)), false);
        }
    }
}
