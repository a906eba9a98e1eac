//! First contacts: what begins with a SYN, a datagram, an ARP request or an echo request.

use std::time::Duration;

use crate::detect::attempt::ContactAttempt;
use crate::detect::counters::{Outcome, Unverified};
use crate::detect::detector::{Beyond, Detector, Pace};
use crate::detect::event::Event;
use crate::detect::greylist::LIMITED;
use crate::detect::scorer::{REPEAT, Scorer};
use crate::detect::settings::Settings;
use crate::detect::still_scanning::meet;
use crate::detect::verify::attachment;
use crate::evidence::{Detail, Grade, Reached, Score, Signal};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::buckets::Buckets;
use crate::track::contacts::Seen;
use crate::track::waits::Again;
use crate::track::{Attempt, Class, Contacts, Host, Hosts, Shared};
use crate::wire::frame::{Transport, Tunnel};
use crate::wire::{Address, Frame};

/// The shared table hears of a living host at most this often.
const ALIVE_EVERY: Duration = Duration::from_secs(30);

/// The responder hears at most this often that an acted host still scans.
const ACTIVE_EVERY: Duration = Duration::from_secs(10);

/// From so many source addresses inside on, a tunnel is taken for a site's.
const SITE: u32 = 3;

/// So many first contacts on lateral services within a minute out of a site's tunnel are worth a look.
const SITE_CONTACTS: u32 = 15;

/// A host that is acted on, and gathers so many points on another port, spreads over that port too: an address that answers
/// counts one, one that is dark three, a server that others use none.
const FURTHER: u16 = 15;

/// Lateral services over UDP that answer nobody: NetBIOS datagrams (RFC 1002 §4.4).
const ONE_WAY: [u16; 1] = [138];

impl Detector {
    /// Counts what came from behind a router for the /64 of its sender too.
    pub(super) fn count_beyond(&mut self) {
        let Some(Beyond { address, peer, port, attachment }) = self.beyond.take() else { return };
        let Detector { scorer, hosts, contacts, .. } = self;
        let now = scorer.now;
        let network = Address::from_bits(address.bits() & !u128::from(u64::MAX));
        let suspect = Suspect { link: attachment.link(), who: Who::Network(network) };
        let Some(host) = hosts.get_or_insert(suspect, network, now) else { return };
        (host.seen, host.attached_at, host.attachment) = (now, now, attachment);
        let usual = scorer.is_usual(address, peer, port);
        if host.acted || usual || contacts.meet(host.party(), peer, Class::Lateral, now) == Seen::Before {
            return;
        }
        host.destinations = host.destinations.saturating_add(1);
        host.lateral.push(now);
        scorer.network_windows(host, peer, port);
    }

    /// `frame` shows that a host attempts something.
    pub(super) fn attempt(&mut self, frame: &Frame<'_>, what: ContactAttempt) {
        let ContactAttempt { host: inside, peer, port, class, opening, running, .. } = what;
        // What runs in a tunnel is the doing of whoever sends it.
        let source = frame.tunnel.map_or(inside, |tunnel| tunnel.outer_source);
        if !self.scorer.is_watched(source) || source == peer {
            return;
        }
        let Detector { scorer, hosts, contacts, deadlines, waits, buckets, repeats, beyond, probes, .. } = self;
        let Some(host) = sender(scorer, hosts, probes, frame, (source, peer)) else { return };
        let now = scorer.now;
        if now.since(host.reported) >= ALIVE_EVERY || host.reported == Timestamp::ZERO {
            host.reported = now;
            scorer.shared.addresses.saw(source, now);
        }
        if let Some(tunnel) = frame.tunnel
            && inside != source
        {
            host.tunnelled |= 1 << (self.hash_key.address(inside) >> 58);
            if host.tunnelled.count_ones() >= SITE {
                scorer.site_contact(host, contacts, what, tunnel);
                return;
            }
        }
        if host.acted {
            if what.is_lateral()
                && now.since(host.active_reported) >= ACTIVE_EVERY
                && repeats.still_scanning(host, contacts, peer, class, now)
            {
                host.active_reported = now;
                host.dirty = true;
                scorer.events.push(Event::Active { suspect: host.suspect, at: now });
            }
            scorer.further(host, contacts, what);
            return;
        }
        if host.alarmed.is_some_and(|at| now.since(at) < REPEAT) {
            // Alarmed, and held or exempt: nothing more is said of it for a while, so nothing more is weighed. If it
            // continues after that, its windows fill again.
            if host.unconfirmed.is_some() && what.transport == Transport::Tcp && !running {
                // Its handshake would show that it is there.
                host.attempts.push(pending(what, now));
            }
            return;
        }
        if class == Class::Arp {
            self.requested(frame, what);
            return;
        }
        if meet(host, contacts, peer, class, now) == Seen::Before {
            if running && !(host.attempts.is_empty() && host.evidence.is_empty()) {
                self.inferred(what);
            } else if !running {
                if !host.attempts.is_empty() {
                    host.attempts.opened_again(peer, port, class, opening);
                }
                if let Again::Passes(attempt) = scorer.asked_again(host, waits, what) {
                    // Several that waited pass at the same moment, by their client's timers: no overrun.
                    if let Some(oldest) = host.attempts.push(attempt) {
                        scorer.silent(host, oldest, true);
                    }
                    if let Some(due) = deadlines.start(source, now, self.order) {
                        self.judge(due);
                    }
                }
            }
            return;
        }
        let learns = running || class == Class::OtherUdp;
        if learns && now.since(self.started.unwrap_or(now)) < scorer.settings.start_up_grace {
            contacts.answered(host.party(), peer, class);
            scorer.counters.learnt += 1;
            return;
        }
        if scorer.is_allowed(host, what) {
            scorer.counters.unverified(Unverified::Role);
            contacts.answered(host.party(), peer, class);
            return;
        }
        *beyond = scorer.first_contact(host, contacts, source, what);
        if running {
            contacts.answered(host.party(), peer, class);
            scorer.counters.outcome(Outcome::Answered);
            remember(host, class, peer, port);
        } else if scorer.awaits_answer(host, buckets, what) {
            if scorer.must_wait(what) {
                if self.reports_of_waits.may(now) {
                    let (transport, destination) = (what.transport, peer);
                    scorer.events.push(Event::Waits { source, destination, transport, port, at: now });
                }
                if scorer.drops_first() {
                    scorer.waits(host, waits, source, what);
                    return;
                }
            }
            scorer.pend(host, what);
            if let Some(due) = deadlines.start(source, now, self.order) {
                self.judge(due);
            }
        }
    }
}

/// The host that `frame` is from, if it is believed. Where its link could prove who has the address, that is reported.
#[inline]
fn sender<'h>(
    scorer: &mut Scorer,
    hosts: &'h mut Hosts,
    probes: &mut Pace,
    frame: &Frame<'_>,
    (source, peer): (Address, Address),
) -> Option<&'h mut Host> {
    let now = scorer.now;
    match scorer.identify(hosts, frame, source) {
        Ok((host, unproved)) => {
            let settings = &scorer.settings;
            if unproved && settings.address_probe && frame.mac_source.is_some() && settings.live && probes.may(now) {
                scorer.events.push(Event::Unproved { address: source, peer, attachment: host.attachment });
            }
            Some(host)
        }
        Err(Some(rejection)) => {
            scorer.counters.unverified(rejection.reason);
            if rejection.probe && probes.may(now) {
                scorer.events.push(Event::Unproved { address: source, peer, attachment: attachment(frame) });
            }
            None
        }
        Err(None) => None,
    }
}

/// An attempt as it waits for its answer.
pub(super) fn pending(what: ContactAttempt, at: Timestamp) -> Attempt {
    let ContactAttempt { peer, transport, port, class, opening, .. } = what;
    Attempt { peer, transport, port, class, at, openings: [opening; 2] }
}

/// Remembers an answered contact on a lateral service, for infection chains.
pub(super) fn remember(host: &mut Host, class: Class, destination: Address, port: u16) {
    if matches!(class, Class::Lateral | Class::LateralUdp) {
        host.remember(Reached { destination, port });
    }
}

impl Scorer {
    /// A contact out of a tunnel with several hosts inside: they are a site's, or look like one, and cutting the tunnel
    /// would cut off the site. So it is worth a watch at most.
    fn site_contact(&mut self, host: &mut Host, contacts: &mut Contacts, what: ContactAttempt, tunnel: Tunnel) {
        let now = self.now;
        if what.is_lateral() && meet(host, contacts, what.peer, what.class, now) == Seen::First {
            host.lateral.push(now);
            if host.lateral.reached(SITE_CONTACTS, Duration::from_secs(60), now) {
                let detail = Detail::Tunnel { kind: tunnel.kind, inside: host.tunnelled.count_ones() };
                self.tip(host, Signal::Tunnel, what.peer, what.port, Grade::Watch, detail);
            }
        }
    }

    /// A host that is acted on tries a port that may not be shut for it: if it spreads over that one too, it is reported.
    fn further(&mut self, host: &mut Host, contacts: &mut Contacts, what: ContactAttempt) {
        let other = matches!(what.class, Class::Other | Class::OtherUdp);
        if !other
            || what.running
            || !what.has_port()
            || !self.settings.protected.contains(what.peer)
            || meet(host, contacts, what.peer, what.class, self.now) == Seen::Before
            || self.is_usual(what.host, what.peer, what.port)
            || self.is_allowed(host, what)
        {
            return;
        }
        let service = (what.transport, what.port);
        let points = if self.is_dark(what.peer) { 3 } else { 1 };
        let gathered = host.ports.add(service, points);
        if gathered >= FURTHER {
            host.ports.settle(service);
            self.spreads_further(host, what.peer, service, gathered);
        }
    }

    /// Counts a first contact: in the windows, in infection chains, at decoys. Gives what is still to be counted for the
    /// sender's network.
    fn first_contact(
        &mut self,
        host: &mut Host,
        contacts: &Contacts,
        source: Address,
        what: ContactAttempt,
    ) -> Option<Beyond> {
        let ContactAttempt { peer, port, class, .. } = what;
        let now = self.now;
        self.counters.first_contacts += 1;
        host.dirty = true;
        let met = |other: &Class| *other != class && contacts.knows(host.party(), peer, *other, now);
        if Class::CONTACTS.contains(&class) && !Class::CONTACTS.iter().any(met) {
            host.destinations = host.destinations.saturating_add(1);
        }
        if what.is_lateral() {
            self.chain(host, source, what);
        }
        let mut beyond = None;
        if class == Class::LateralUdp {
            self.datagrams(host, peer, port);
        } else if class == Class::Lateral {
            host.lateral.push(now);
            if let Who::Address(address) = host.suspect.who
                && !address.is_v4()
                && self.shared.addresses.is_forwarder(host.suspect.link, host.attachment.mac, now)
            {
                beyond = Some(Beyond { address, peer, port, attachment: host.attachment });
            }
        } else if what.has_port() && self.settings.protected.contains(peer) {
            host.ports.add((what.transport, port), 1);
        }
        self.windows(host, peer, port, class == Class::Lateral);
        if self.settings.decoys.contains(peer) {
            let touched = Detail::Fields { what: "bait address touched", values: [0; 4], source: "config: decoys" };
            self.weigh(host, Signal::DecoyTouch, peer, port, self.settings.weights.decoy_touch, touched);
        }
        beyond
    }

    /// Whether `host`, which an alarmed host reached, now spreads on the same port: an infection chain.
    fn chain(&mut self, host: &mut Host, source: Address, what: ContactAttempt) {
        let Some((from, exposed_port, at)) = host.exposed else { return };
        if self.now.since(at) > self.settings.chain_memory {
            (host.exposed, host.chained) = (None, false);
        } else if exposed_port == what.port && !host.chained && !self.is_usual(source, what.peer, what.port) {
            host.chained = true;
            // As much as two failures: with the first dark address, an exposed host is past half the threshold.
            let weight = Score(self.settings.weights.failure.0.saturating_mul(2));
            self.weigh(host, Signal::Chain, what.peer, what.port, weight, Detail::Chain { from });
        }
    }

    /// Whether it matters if a first contact is answered. Towards other ports outside the protected networks nothing
    /// weighs; a datagram need not be answered; and what the kernel's fuse dropped is no failure.
    fn awaits_answer(&mut self, host: &mut Host, buckets: &mut Buckets, what: ContactAttempt) -> bool {
        let settings = &*self.settings;
        let weighs = match what.class {
            Class::Lateral => true,
            Class::OtherUdp => false,
            Class::LateralUdp => !ONE_WAY.contains(&what.port) && settings.protected.contains(what.peer),
            _ => settings.protected.contains(what.peer),
        };
        if weighs && what.is_lateral() && is_fused(settings, &self.shared, buckets, host, self.now) {
            self.counters.outcome(Outcome::Limited);
            host.held_until = host.held_until.max(self.now + LIMITED);
            return false;
        }
        weighs
    }

    /// Lets an attempt wait for its answer. More than a few that wait have failed; while that lasts, each new one fails the
    /// one before.
    fn pend(&mut self, host: &mut Host, what: ContactAttempt) {
        let now = self.now;
        if let Some(oldest) = host.attempts.push(pending(what, now)) {
            self.silent(host, oldest, true);
        }
        let overruns = host.overrun.is_some_and(|at| now.since(at) < self.settings.answer_timeout * 10);
        let limit = if overruns { 1 } else { self.settings.pending_limit };
        if host.attempts.len() > limit as usize {
            host.overrun = Some(now);
            while host.attempts.len() > 1 {
                let Some(oldest) = host.attempts.pop() else { break };
                self.silent(host, oldest, true);
            }
        }
    }
}

/// Takes a token from the mirror of the kernel's fuse; says whether there was none. Whoever is behind a forwarder has a
/// bucket of its own, everybody else its card's.
fn is_fused(settings: &Settings, shared: &Shared, buckets: &mut Buckets, host: &mut Host, now: Timestamp) -> bool {
    let Some(fuse) = settings.fuse else { return false };
    let (link, card) = (host.suspect.link, host.attachment.mac);
    if !host.is_card() && shared.addresses.is_forwarder(link, card, now) {
        host.bucket.is_empty(fuse, now)
    } else {
        buckets.is_empty(link, card, fuse, now)
    }
}
