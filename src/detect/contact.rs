//! First contacts: what begins with a SYN, a datagram, an ARP request or an echo request.

use std::time::Duration;

use crate::detect::alarm::{Context, REPEAT, is_usual};
use crate::detect::counters::{Outcome, Unverified};
use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::detect::outcome::{answered_late, is_dark};
use crate::detect::settings::{Role, Settings};
use crate::detect::verify::{attachment, identify};
use crate::evidence::{Attachment, Detail, Grade, Score, Signal};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::track::buckets::Buckets;
use crate::track::contacts::{Party, Seen};
use crate::track::recent_traffic::Sent;
use crate::track::{Attempt, Class, Contacts, Host, Opening, Proof, Shared};
use crate::wire::frame::Transport;
use crate::wire::{Address, Frame, Mac};

/// The shared table hears of a living host at most this often.
const TELL: Duration = Duration::from_secs(30);

/// The responder hears at most this often that an acted host still scans.
const ACTIVE: Duration = Duration::from_secs(10);

/// From so many source addresses inside on, a tunnel is taken for a site's.
const SITE: u32 = 3;

/// So many first contacts on lateral services within a minute out of a site's tunnel are worth a look.
const SITE_CONTACTS: u32 = 15;

/// A host that is acted on, and gathers so many points on another port, spreads over that port too: an address that answers
/// counts one, one that is dark three, a server that others use none.
const FURTHER: u16 = 15;

/// So many addresses that never answered, within a period of so long, are no retries of a few dead shares.
const SEVERAL: u32 = 4;
const SCANNING_PERIOD: Duration = Duration::from_secs(300);

/// Lateral services over UDP that answer nobody: NetBIOS datagrams (RFC 1002 §4.4).
const ONE_WAY: [u16; 1] = [138];

/// A stack repeats an ARP request within so many seconds if nobody answers.
const ASKS_AGAIN: u32 = 5;

/// Most distinct addresses, of those not known to be alive, that an ordinary host asks its link for within a minute: 24
/// in real captures. Sweeps ask for 250 to 40,000.
const ASKS: u32 = 32;

/// The same for a router, which asks for whom its senders name: 499 within 28 s in real captures.
const ROUTER_ASKS: u32 = 2048;

/// A request is caused by who sent in the target's name within this time.
const CAUSED: Duration = Duration::from_secs(60);

/// What a packet attempts.
#[derive(Clone, Copy)]
pub(super) struct ContactAttempt {
    pub host: Address,
    pub peer: Address,
    pub port: u16,
    pub class: Class,
    pub transport: Transport,
    /// What its answer must acknowledge.
    pub opening: Opening,
    /// The connection was found running: its attempt and the answer were not seen, but the client talks.
    pub running: bool,
}

/// A first contact on a lateral service from behind a router, over IPv6: a host there has as many addresses as it likes in
/// its network.
#[derive(Clone, Copy)]
pub(super) struct Beyond {
    address: Address,
    peer: Address,
    port: u16,
    attachment: Attachment,
}

impl Detector {
    /// Counts what came from behind a router for the /64 of its sender too.
    pub(super) fn count_beyond(&mut self) {
        let Some(Beyond { address, peer, port, attachment }) = self.beyond.take() else { return };
        let (now, threshold) = (self.now, self.threshold);
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        let network = Address::from_bits(address.bits() & !u128::from(u64::MAX));
        let suspect = Suspect { link: attachment.link(), who: Who::Network(network) };
        let Some(host) = hosts.get_or_insert(suspect, network, now) else { return };
        (host.seen, host.attached_at, host.attachment) = (now, now, attachment);
        let usual = is_usual(settings, shared, address, peer, port, now);
        if host.acted || usual || contacts.meet(host.party(), peer, Class::Lateral, now) == Seen::Before {
            return;
        }
        host.destinations = host.destinations.saturating_add(1);
        host.lateral.push(now);
        Context { settings, shared, counters, events, now, threshold }.network_windows(host, peer, port);
    }
}

impl Context<'_> {
    /// A host that is acted on tries a port that may not be shut for it: if it spreads over that one too, it is reported.
    fn further(&mut self, host: &mut Host, contacts: &mut Contacts, generation: u32, what: ContactAttempt) {
        let (settings, shared, now) = (self.settings, self.shared, self.now);
        if !matches!(what.transport, Transport::Tcp | Transport::Udp)
            || meet(host, contacts, what.peer, what.class, now) == Seen::Before
            || is_usual(settings, shared, what.host, what.peer, what.port, now)
            || has_role(settings, host, generation, now, |role| role_allows(role, what))
        {
            return;
        }
        let service = (what.transport, what.port);
        let points = if is_dark(settings, shared, what.peer, now) { 3 } else { 1 };
        let gathered = host.ports.add(service, points);
        if gathered >= FURTHER {
            host.ports.settle(service);
            self.spreads_further(host, what.peer, service, gathered);
        }
    }
}

impl Detector {
    /// `frame` shows that a host attempts something.
    pub(super) fn attempt(&mut self, frame: &Frame<'_>, what: ContactAttempt) {
        let ContactAttempt { host: inside, peer, port, class, opening, running, .. } = what;
        // What runs in a tunnel is the doing of whoever sends it.
        let source = frame.tunnel.map_or(inside, |tunnel| tunnel.outer_source);
        if !self.settings.protected.contains(source) || self.settings.own.contains(source) || source == peer {
            return;
        }
        let now = self.now;
        let order = self.order;
        let cooperative = self.threshold;
        let generation = self.generation;
        let Detector {
            settings,
            shared,
            hosts,
            contacts,
            deadlines,
            buckets,
            counters,
            events,
            started,
            hash_key,
            beyond,
            asks,
            ..
        } = self;
        let settings = &**settings;
        let (host, unproved) = match identify(settings, shared, hosts, frame, source, now) {
            Ok(found) => found,
            Err(Some(rejection)) => {
                counters.unverified(rejection.reason);
                if rejection.probe && asks.may(now) {
                    events.push(Event::Unproved { address: source, peer, attachment: attachment(frame) });
                }
                return;
            }
            Err(None) => return,
        };
        if unproved && settings.address_probe && frame.mac_source.is_some() && settings.live && asks.may(now) {
            events.push(Event::Unproved { address: source, peer, attachment: host.attachment });
        }
        if now.since(host.reported) >= TELL || host.reported == Timestamp::ZERO {
            host.reported = now;
            shared.addresses.saw(source, now);
        }
        let lateral = matches!(class, Class::Lateral | Class::LateralUdp);
        if let Some(tunnel) = frame.tunnel
            && inside != source
        {
            host.tunnelled |= 1 << (hash_key.address(inside) >> 58);
            let inside = host.tunnelled.count_ones();
            if inside >= SITE {
                // Several hosts in one tunnel are a site's, or look like one: cutting it would cut off the site.
                let mut ctx = Context { settings, shared, counters, events, now, threshold: cooperative };
                let detail = Detail::Tunnel { kind: tunnel.kind, inside };
                if lateral && meet(host, contacts, peer, class, now) == Seen::First {
                    host.lateral.push(now);
                    if host.lateral.reached(SITE_CONTACTS, Duration::from_secs(60), now) {
                        ctx.tip(host, Signal::Tunnel, peer, port, Grade::Watch, detail);
                    }
                }
                return;
            }
        }
        if host.acted {
            if lateral && now.since(host.active_reported) >= ACTIVE && still_scanning(host, contacts, peer, class, now)
            {
                host.active_reported = now;
                host.dirty = true;
                events.push(Event::Active { suspect: host.suspect, at: now });
            }
            if matches!(class, Class::Other | Class::OtherUdp) && settings.protected.contains(peer) && !running {
                let mut ctx = Context { settings, shared, counters, events, now, threshold: cooperative };
                ctx.further(host, contacts, generation, what);
            }
            return;
        }
        if host.alarmed.is_some_and(|at| now.since(at) < REPEAT) {
            // Alarmed, and held or exempt: nothing more is said of it for a while, so nothing more is weighed. If it
            // continues after that, its windows fill again.
            if host.unconfirmed.is_some() && what.transport == Transport::Tcp && !running {
                // Its handshake would show that it is there.
                host.attempts.push(Attempt {
                    peer,
                    transport: what.transport,
                    port,
                    class,
                    at: now,
                    openings: [opening; 2],
                });
            }
            return;
        }
        if class == Class::Arp {
            self.asked(frame, what);
            return;
        }
        if meet(host, contacts, peer, class, now) == Seen::Before {
            if running && !(host.attempts.is_empty() && host.evidence.is_empty()) {
                self.inferred(what);
            } else if !running && !host.attempts.is_empty() {
                host.attempts.opened_again(peer, port, class, opening);
            }
            return;
        }
        let mut ctx = Context { settings, shared, counters, events, now, threshold: cooperative };
        let learns = running || class == Class::OtherUdp;
        if learns && now.since(started.unwrap_or(now)) < settings.start_up_grace {
            contacts.answered(host.party(), peer, class);
            ctx.counters.learnt += 1;
            return;
        }
        if has_role(settings, host, generation, now, |role| role_allows(role, what)) {
            ctx.counters.unverified(Unverified::Role);
            contacts.answered(host.party(), peer, class);
            return;
        }
        ctx.counters.first_contacts += 1;
        host.dirty = true;
        let met = |other: &Class| *other != class && contacts.knows(host.party(), peer, *other, now);
        if Class::CONTACTS.contains(&class) && !Class::CONTACTS.iter().any(met) {
            host.destinations = host.destinations.saturating_add(1);
        }
        if lateral && let Some((from, exposed_port, at)) = host.exposed {
            if now.since(at) > settings.chain_memory {
                (host.exposed, host.chained) = (None, false);
            } else if exposed_port == port && !host.chained && !is_usual(settings, shared, source, peer, port, now) {
                host.chained = true;
                // As much as two failures: with the first dark address, an exposed host is past half the threshold.
                let weight = Score(settings.weights.failure.0.saturating_mul(2));
                ctx.weigh(host, Signal::Chain, peer, port, weight, Detail::Chain { from });
            }
        }
        if class == Class::LateralUdp {
            ctx.datagrams(host, peer, port);
        } else if lateral {
            host.lateral.push(now);
            if let Who::Address(address) = host.suspect.who
                && !address.is_v4()
                && shared.addresses.is_forwarder(host.suspect.link, host.attachment.mac, now)
            {
                *beyond = Some(Beyond { address, peer, port, attachment: host.attachment });
            }
        } else if matches!(what.transport, Transport::Tcp | Transport::Udp) && settings.protected.contains(peer) {
            host.ports.add((what.transport, port), 1);
        }
        ctx.windows(host, peer, port, class == Class::Lateral);
        if settings.decoys.contains(peer) {
            let touched = Detail::Fields { what: "bait address touched", values: [0; 4], source: "config: decoys" };
            ctx.weigh(host, Signal::DecoyTouch, peer, port, settings.weights.decoy_touch, touched);
        }
        if running {
            contacts.answered(host.party(), peer, class);
            ctx.counters.outcome(Outcome::Answered);
            remember(host, what);
            return;
        }
        // Towards other ports outside the protected networks nothing weighs: no verdict is needed. Nor is one of a
        // datagram that need not be answered.
        let weighs = match class {
            Class::Lateral => true,
            Class::OtherUdp => false,
            Class::LateralUdp => !ONE_WAY.contains(&port) && settings.protected.contains(peer),
            _ => settings.protected.contains(peer),
        };
        if !weighs {
            return;
        }
        if lateral && fused(settings, shared, buckets, host, now) {
            ctx.counters.outcome(Outcome::Limited);
            return;
        }
        let attempt = Attempt { peer, transport: what.transport, port, class, at: now, openings: [opening; 2] };
        if let Some(oldest) = host.attempts.push(attempt) {
            ctx.silent(host, oldest, true);
        }
        // More than a few attempts pending: they have failed. While that lasts, each new one fails the one before.
        let limit = if host.overrun.is_some_and(|at| now.since(at) < settings.answer_timeout * 10) {
            1
        } else {
            settings.pending_limit
        };
        if host.attempts.len() > limit as usize {
            host.overrun = Some(now);
            while host.attempts.len() > 1 {
                let Some(oldest) = host.attempts.pop() else { break };
                ctx.silent(host, oldest, true);
            }
        }
        if let Some(due) = deadlines.start(source, now, order) {
            self.judge(due);
        }
    }

    /// `frame` asks the link for an address that does not answer, as far as is known. Its answer need not pass here: the
    /// proof that none came is that the host asks again, as every operating system does within seconds (RFC 1122
    /// §2.3.2.1, RFC 4861 §7.2.2).
    fn asked(&mut self, frame: &Frame<'_>, what: ContactAttempt) {
        let (now, threshold, generation) = (self.now, self.threshold, self.generation);
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        let (link, card) = (frame.link(), frame.mac_source.unwrap_or_default());
        let Some(host) = hosts.sender(what.host, link, card).and_then(|slot| hosts.sending(slot, what.host)) else {
            return;
        };
        // What is alive may be asked for.
        if shared.addresses.is_alive(what.peer, now) {
            return;
        }
        // A packet in the target's name makes anybody ask for it.
        if shared.recent_traffic.within(Sent::Anything, what.peer, what.host, CAUSED, now) {
            counters.unverified(Unverified::Caused);
            return;
        }
        let router = shared.addresses.is_router(link, card, now);
        let first = !contacts.knows(host.party(), what.peer, Class::Arp, now);
        let again = contacts.asks_again(host.party(), what.peer, Class::Arp, ASKS_AGAIN, now);
        // A router asks for whom it forwards to; that is its senders' doing.
        if !first && (router || !again) {
            return;
        }
        if has_role(settings, host, generation, now, |role| role_allows(role, what)) {
            counters.unverified(Unverified::Role);
            return;
        }
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        if first {
            ctx.link_request(host, what.peer, if router { ROUTER_ASKS } else { ASKS });
            return;
        }
        let attempt = Attempt {
            peer: what.peer,
            transport: Transport::Other,
            port: 0,
            class: Class::Arp,
            at: now - Duration::from_secs(1),
            openings: [what.opening; 2],
        };
        ctx.silent(host, attempt, false);
    }

    /// The client continues as if answered, though no answer was seen.
    fn inferred(&mut self, what: ContactAttempt) {
        // A dark address cannot have answered: payload is easily sent after a SYN that nobody answered.
        if is_dark(&self.settings, &self.shared, what.peer, self.now) {
            return;
        }
        let awaits = |host: &Host| host.attempts.awaits(what.peer, what.port);
        let Some(host) = self.hosts.get_mut_where(what.host, awaits) else { return };
        // A dark address stays one: payload is easily sent to it, however late.
        if host.attempts.settle(what.peer, what.port, &[what.class], Proof::Port(what.opening.port)).is_none()
            && !answered_late(host, what.peer, what.port, self.now, |signal| signal != Signal::Dark)
        {
            return;
        }
        // Many addresses of one card are one client, unless it is a router.
        let (card, addresses) = (host.attachment.mac, &self.shared.addresses);
        let client = if card == Mac::default() || addresses.is_router(host.suspect.link, card, self.now) {
            self.hash_key.address(what.host)
        } else {
            self.hash_key.mac(card)
        };
        self.shared.inferred_answer(client, self.hash_key.address(what.peer));
        self.counters.outcome(Outcome::Answered);
        self.contacts.answered(host.party(), what.peer, what.class);
        remember(host, what);
    }
}

/// Notes a contact, and says whether it is new. After a release whoever answered before is still known, and whoever never
/// did is new again: a worm that tries again knocks on its old doors.
fn meet(host: &Host, contacts: &mut Contacts, peer: Address, class: Class, now: Timestamp) -> Seen {
    let party = host.party();
    let seen = contacts.meet(party, peer, class, now);
    if seen == Seen::First && host.epoch > 0 {
        let before = Party { epoch: host.epoch - 1, ..party };
        if contacts.was_answered(before, peer, class, now) {
            contacts.answered(party, peer, class);
            return Seen::Before;
        }
    }
    seen
}

/// Whether a host that is acted on still spreads: it tries an address it never tried before, or goes round among several
/// that never answered it. Its own servers it may miss without being renewed for that.
fn still_scanning(host: &mut Host, contacts: &mut Contacts, peer: Address, class: Class, now: Timestamp) -> bool {
    if meet(host, contacts, peer, class, now) == Seen::First {
        return true;
    }
    if contacts.was_answered(host.party(), peer, class, now) {
        return false;
    }
    // Each period of some minutes counts its addresses anew.
    let periods = now.secs() / SCANNING_PERIOD.as_secs();
    let again = Party { identity: host.identity, epoch: periods.to_le_bytes().first().copied().unwrap_or(0) };
    if contacts.meet(again, peer, Class::Again, now) == Seen::First {
        host.lateral.push(now);
    }
    host.lateral.reached(SEVERAL, SCANNING_PERIOD, now)
}

pub(super) fn remember(host: &mut Host, what: ContactAttempt) {
    if matches!(what.class, Class::Lateral | Class::LateralUdp) {
        host.remember(crate::evidence::Reached { destination: what.peer, port: what.port });
    }
}

/// Whether a role of `host` in force allows something. Hosts without any role are looked up once for each generation of
/// the settings.
pub(super) fn has_role(
    settings: &Settings,
    host: &mut Host,
    generation: u32,
    now: Timestamp,
    allows: impl Fn(&Role) -> bool,
) -> bool {
    if host.generation != generation {
        let at = settings.roles.iter().position(|role| role.hosts.contains(host.address));
        host.role = at.and_then(|at| u16::try_from(at + 1).ok()).unwrap_or(0);
        host.generation = generation;
    }
    let Some(first) = usize::from(host.role).checked_sub(1) else { return false };
    settings
        .roles
        .iter()
        .skip(first)
        .any(|role| role.hosts.contains(host.address) && role.until.is_none_or(|until| now < until) && allows(role))
}

pub(super) fn role_allows(role: &Role, what: ContactAttempt) -> bool {
    let Some(services) = &role.services else { return true };
    match what.transport {
        Transport::Tcp => services.has_tcp(what.port),
        Transport::Udp => services.has_udp(what.port),
        // A role that may open connections to many hosts asks the link for them, and pings them, first.
        Transport::Icmp | Transport::Other => true,
    }
}

/// Takes a token from the mirror of the kernel's fuse; says whether there was none. Whoever is behind a forwarder has a
/// bucket of its own, everybody else its card's.
fn fused(settings: &Settings, shared: &Shared, buckets: &mut Buckets, host: &mut Host, now: Timestamp) -> bool {
    let Some(fuse) = settings.fuse else { return false };
    let (link, card) = (host.suspect.link, host.attachment.mac);
    if !host.is_card() && shared.addresses.is_forwarder(link, card, now) {
        host.bucket.is_empty(fuse, now)
    } else {
        buckets.is_empty(link, card, fuse, now)
    }
}
