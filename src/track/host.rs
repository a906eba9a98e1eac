//! What is remembered of one host.

use std::time::Duration;

use crate::evidence::{Alarm, Attachment, Evidence, Reached, Score};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::Attempts;
use crate::track::buckets::Bucket;
use crate::track::contacts::Party;
use crate::track::ports::Ports;
use crate::track::waits::AtOnce;
use crate::track::windows::{Bins, Recent};
use crate::wire::Address;

/// How many any-port windows there may be.
pub const ANY_WINDOWS: usize = 4;
/// How many windows of lateral services over UDP there may be.
pub const UDP_WINDOWS: usize = 4;
/// How many windows of lateral services there may be.
pub const LATERAL_WINDOWS: usize = 8;

/// What is remembered of one host.
///
/// Laid out so that a packet of a host that is known touches the first two cache lines and no more, unless it opens a
/// first contact: a gateway sees many hosts, and their state lies in memory, not in a cache.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Host {
    /// The address it last used.
    pub address: Address,
    /// When its last packet of interest was seen.
    pub seen: Timestamp,
    /// When the shared table last recorded that it is alive.
    pub reported: Timestamp,
    /// When a frame with that attachment was last seen.
    pub attached_at: Timestamp,
    /// When that attachment was last looked into.
    pub verified_at: Timestamp,
    /// Where its frames come from.
    pub attachment: Attachment,
    /// The first role it has: index into the settings' roles plus one; 0 is none.
    pub role: u16,
    /// A decision is in force.
    pub acted: bool,
    /// Something changed that the shared host table should show.
    pub dirty: bool,
    /// When the last alarm above watch was raised.
    pub alarmed: Option<Timestamp>,
    /// When the responder last heard that an acted host still scans.
    pub active_reported: Timestamp,
    /// The generation of the settings that `role` was looked up in.
    pub generation: u32,
    /// The score as of `score_at`, before decay since.
    pub score: Score,
    /// When the score was last changed.
    pub score_at: Timestamp,
    /// Distinct destinations of first contact so far.
    pub destinations: u32,
    /// How often it was released: in each epoch, contacts that nobody answered are new.
    pub epoch: u8,
    /// It opened first contacts on the port it was exposed on, while it was.
    pub chained: bool,
    /// It negotiated SMB1 as a client or a server.
    pub smb1: bool,
    /// Where the next of `reached` goes.
    pub reached_next: u8,
    /// A watch was given and not yet outlived.
    pub watched: Option<Timestamp>,
    /// When the last exploit was reported.
    pub exploited: Option<Timestamp>,
    /// Since when its attempts are failed at once, for having too many pending.
    pub overrun: Option<Timestamp>,
    /// The fuse's mirror, behind a forwarder.
    pub bucket: Bucket,
    /// Who it is.
    pub suspect: Suspect,
    /// As whom the contact memory knows it: stays when an address becomes its card's.
    pub identity: u64,
    /// A server's answer to it, which its next segment may acknowledge: from whom, on which port, which number. A segment
    /// that does proves that the host is there.
    pub offered: Option<(Address, u16, u32)>,
    /// The ports that its first contacts were on, besides the lateral services.
    pub ports: Ports,
    /// A sketch of the source addresses inside its tunnels.
    pub tunnelled: u64,
    /// Its addresses besides `address`; empty for almost everybody.
    pub others: Vec<Address>,
    /// Who exposed it on which port, and when (infection chains).
    pub exposed: Option<(Address, u16, Timestamp)>,
    /// Attempts that wait for an answer.
    pub attempts: Attempts,
    /// First contacts that the greylist has dropped once, and that nobody has answered since.
    pub waiting: AtOnce,
    /// Until when its second askings do not pass the kernel: the fuse limited it, or they are held back.
    pub held_until: Timestamp,
    /// First contacts on lateral services.
    pub lateral: Recent,
    /// First contacts on any port, one per configured window.
    pub any: [Bins; ANY_WINDOWS],
    /// Those of them inside the protected networks.
    pub any_inside: [Bins; ANY_WINDOWS],
    /// First contacts on lateral services by UDP, one per configured window.
    pub datagrams: [Bins; UDP_WINDOWS],
    /// Addresses that it asked the link for, and that were not known to be alive.
    pub asked: Bins,
    /// Since when an alarm waits for a proof that it is there: its link was asked for it, and nobody answered.
    pub unconfirmed: Option<Timestamp>,
    /// A handshake in its name was taken for proof that its card forwards.
    pub vouched: bool,
    /// Another card answers for the last address that it was seen with.
    pub nameless: bool,
    /// When another card last answered for an address of its.
    pub lost_at: Timestamp,
    /// When it was last watched for finding out who is alive.
    pub swept: Option<Timestamp>,
    /// The latest evidence, oldest first; empty until there is some.
    pub evidence: Vec<Evidence>,
    /// The latest answered first contacts on lateral services.
    pub reached: [Option<Reached>; Host::REACHED],
}

impl Host {
    /// How many reached destinations are remembered for infection chains.
    pub const REACHED: usize = 16;

    /// How many addresses are remembered of a card; with more, the oldest is forgotten.
    pub const ADDRESSES: usize = 64;

    pub(super) fn new(suspect: Suspect, address: Address, identity: u64, now: Timestamp) -> Self {
        Host {
            address,
            suspect,
            identity,
            offered: None,
            ports: Ports::default(),
            tunnelled: 0,
            others: Vec::new(),
            seen: now,
            reported: Timestamp::ZERO,
            score: Score(0),
            score_at: now,
            destinations: 0,
            attachment: Attachment::default(),
            attached_at: Timestamp::ZERO,
            verified_at: Timestamp::ZERO,
            role: 0,
            generation: 0,
            acted: false,
            epoch: 0,
            watched: None,
            alarmed: None,
            exploited: None,
            active_reported: Timestamp::ZERO,
            overrun: None,
            exposed: None,
            chained: false,
            bucket: Bucket::default(),
            dirty: false,
            smb1: false,
            attempts: Attempts::default(),
            waiting: AtOnce::default(),
            held_until: Timestamp::ZERO,
            lateral: Recent::default(),
            any: [Bins::default(); ANY_WINDOWS],
            any_inside: [Bins::default(); ANY_WINDOWS],
            datagrams: [Bins::default(); UDP_WINDOWS],
            asked: Bins::default(),
            unconfirmed: None,
            vouched: false,
            nameless: false,
            lost_at: Timestamp::ZERO,
            swept: None,
            reached: [None; Host::REACHED],
            reached_next: 0,
            evidence: Vec::new(),
        }
    }

    /// The score now: what decay has left of it. Decay sets in when a tenth of its time has passed without evidence, so
    /// that three dark addresses half a minute apart are three.
    #[must_use]
    pub fn score_now(&self, now: Timestamp, decay: Duration) -> Score {
        self.score.decayed(now.since(self.score_at).saturating_sub(decay / 10), decay)
    }

    /// As whom it is remembered in the contact memory.
    #[must_use]
    pub fn party(&self) -> Party {
        Party { identity: self.identity, epoch: self.epoch }
    }

    /// Its addresses, the one it last used first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        std::iter::once(self.address).chain(self.others.iter().copied())
    }

    /// Nobody: a slot that a host has left.
    pub(super) const fn is_vacant(&self) -> bool {
        self.identity == 0
    }

    /// Whether it is a card, with all that it calls itself.
    #[must_use]
    pub const fn is_card(&self) -> bool {
        matches!(self.suspect.who, Who::Card(_))
    }

    /// Adds evidence: S ← max(0, S + w), after decay. Only evidence that speaks against the host is kept by name.
    pub fn add(&mut self, evidence: Evidence, decay: Duration) -> Score {
        let now = evidence.at.max(self.score_at);
        self.score = Score((self.score_now(now, decay).0.saturating_add(evidence.weight.0)).max(0));
        self.score_at = now;
        self.dirty = true;
        if evidence.weight.0 >= 0 {
            self.keep(evidence);
        }
        self.score
    }

    /// Takes back the latest evidence of a failure on `peer`, because an answer came after all.
    pub fn retract(&mut self, peer: Address, since: Timestamp, which: impl Fn(&Evidence) -> bool) -> bool {
        let Some(at) =
            self.evidence.iter().rposition(|evidence| evidence.peer == peer && evidence.at >= since && which(evidence))
        else {
            return false;
        };
        let evidence = self.evidence.remove(at);
        self.score = Score((self.score.0 - evidence.weight.0).max(0));
        self.dirty = true;
        true
    }

    /// Remembers an answered lateral contact.
    pub fn remember(&mut self, reached: Reached) {
        if let Some(slot) = self.reached.get_mut(usize::from(self.reached_next)) {
            *slot = Some(reached);
        }
        self.reached_next = (self.reached_next + 1) % 16;
    }

    /// A clean slate after a release, and a new epoch: whoever never answered it is new again.
    pub fn reset(&mut self, now: Timestamp) {
        // At the last epoch it stays: what it met then is known from there on.
        self.epoch = self.epoch.saturating_add(1);
        self.score = Score(0);
        self.score_at = now;
        self.acted = false;
        self.watched = None;
        self.alarmed = None;
        self.exploited = None;
        self.unconfirmed = None;
        self.overrun = None;
        self.exposed = None;
        self.chained = false;
        self.offered = None;
        self.attempts.clear();
        self.waiting = AtOnce::default();
        self.lateral.clear();
        self.any = [Bins::default(); ANY_WINDOWS];
        self.ports = Ports::default();
        self.any_inside = [Bins::default(); ANY_WINDOWS];
        self.datagrams = [Bins::default(); UDP_WINDOWS];
        self.asked = Bins::default();
        self.swept = None;
        self.evidence.clear();
        self.dirty = true;
    }

    /// Takes over what another host gathered, which has turned out to be this one.
    pub(super) fn absorb(&mut self, other: &mut Host, now: Timestamp, decay: Duration) {
        self.score = Score(self.score_now(now, decay).0.saturating_add(other.score_now(now, decay).0));
        self.score_at = now;
        self.destinations = self.destinations.saturating_add(other.destinations);
        self.seen = self.seen.max(other.seen);
        self.lateral.merge(&other.lateral);
        for (mine, theirs) in self.any.iter_mut().zip(&other.any) {
            mine.merge(theirs);
        }
        self.ports.merge(&other.ports);
        while let Some(attempt) = other.attempts.pop() {
            // What finds no room would have been judged early; it is left out.
            self.attempts.push(attempt);
        }
        for evidence in other.evidence.drain(..) {
            self.keep(evidence);
        }
        self.evidence.sort_by_key(|evidence| evidence.at);
        for reached in other.reached.iter().flatten() {
            self.remember(*reached);
        }
        self.acted |= other.acted;
        self.alarmed = self.alarmed.max(other.alarmed);
        self.watched = self.watched.max(other.watched);
        self.exploited = self.exploited.max(other.exploited);
        self.swept = self.swept.max(other.swept);
        self.exposed = self.exposed.or(other.exposed);
        self.chained |= other.chained;
        self.smb1 |= other.smb1;
        self.unconfirmed = self.unconfirmed.max(other.unconfirmed);
        self.vouched |= other.vouched;
        self.lost_at = self.lost_at.max(other.lost_at);
        self.overrun = self.overrun.max(other.overrun);
        self.dirty = true;
    }

    fn keep(&mut self, evidence: Evidence) {
        if self.evidence.capacity() == 0 {
            // Once for each host that has evidence at all; the host keeps it until it is evicted.
            self.evidence.reserve_exact(Alarm::EVIDENCE);
        }
        if self.evidence.len() >= Alarm::EVIDENCE {
            self.evidence.remove(0);
        }
        self.evidence.push(evidence);
    }

    /// How much is lost by forgetting it: acted on, then score, then how lately it was seen.
    pub(super) fn worth(&self) -> (bool, i32, Timestamp) {
        (self.acted || self.alarmed.is_some(), self.score.0, self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Detail, Signal};

    const DECAY: Duration = Duration::from_secs(600);

    fn address(n: u8) -> Address {
        Address::v4([10, 0, 0, n])
    }

    fn host(now: Timestamp) -> Host {
        Host::new(Suspect::default(), address(1), 1, now)
    }

    fn evidence(at: Timestamp, weight: i32) -> Evidence {
        let (signal, peer, detail) = (Signal::FailureFirstContact, address(9), Detail::Refused);
        Evidence { signal, at, peer, port: 445, weight: Score(weight), detail }
    }

    #[test]
    fn the_score_decays_by_a_nat_in_ten_minutes_and_never_below_zero() {
        let start = Timestamp::from_secs(1_000);
        let mut host = host(start);
        assert_eq!(host.add(evidence(start, 3300), DECAY), Score(3300));
        assert_eq!(host.score_now(start + DECAY / 10, DECAY), Score(3300));
        let later = start + DECAY / 10 + DECAY;
        assert_eq!(host.score_now(later, DECAY), Score(2300));
        assert_eq!(host.add(evidence(later, 1100), DECAY), Score(3400));
        assert_eq!(host.add(evidence(later, -5000), DECAY), Score(0));
        assert_eq!(host.add(evidence(later, 1100), DECAY), Score(1100), "an honest past buys no credit");
        assert_eq!(host.score_now(start + Duration::from_secs(u64::MAX / 2_000_000_000), DECAY), Score(0));
    }

    #[test]
    fn a_late_answer_takes_the_failure_back() {
        let start = Timestamp::from_secs(1_000);
        let mut host = host(start);
        host.add(evidence(start, 3300), DECAY);
        assert!(!host.retract(address(8), start, |_| true));
        assert!(host.retract(address(9), start, |_| true));
        assert_eq!(host.score, Score(0));
        assert!(!host.retract(address(9), start, |_| true));
    }
}
