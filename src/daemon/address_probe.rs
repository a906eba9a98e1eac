//! Asking a segment who has an address, before that address is acted on for what anybody could have sent in its name.
//!
//! Where the segment is attached to this gateway, the gateway asks as any of its hosts would, from its own address there.
//! At a bridge the sender may be on any port, and the gateway asks on all of them, without claiming an address. What lies
//! behind a router cannot be asked. See [`crate::respond::inquiry`].

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::daemon::control::Control;
use crate::daemon::machine::Machine;
use crate::detect::counters::Unverified;
use crate::detect::{Directive, Event};
use crate::evidence::{Alarm, Attachment, Grade, Score, Signal};
use crate::respond::inquiry::{Finding, Inquiry, Silence, Step, suspect_of};
use crate::suspect::Suspect;
use crate::sys::inject::Injector;
use crate::time::Timestamp;
use crate::wire::build::{self, End};
use crate::wire::{Address, Link, Mac};

/// How often answers are looked for while some are waited for: about as often as the ring hands its frames over.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// The same host is told again only after this.
const REPEAT: Duration = Duration::from_secs(600);

/// Most hosts told within [`REPEAT`]: a forger has any number of names, and must not fill the history with them.
const MOST_TOLD: usize = 256;

/// What asking takes: the interfaces to ask on, each with this gateway's end there.
struct Asking {
    on: Vec<(u32, End)>,
    silence: Silence,
}

/// Links asked early, before anything is reported of an address: a bounded number a second, each card about each address
/// once in a while.
#[derive(Debug, Default)]
pub(super) struct Asked {
    lately: HashMap<(Address, Link, Mac), Timestamp>,
    second: u64,
    count: u32,
}

impl Asked {
    /// Questions a second, at most.
    const PACE: u32 = 200;
    /// Addresses remembered at once.
    const MOST: usize = 4096;
    /// The same address is asked for again after this.
    const AGAIN: Duration = Duration::from_secs(30);
    /// The same where two cards want it.
    const DISPUTED: Duration = Duration::from_secs(1);

    /// Whether this address, which `attachment` sent from, may be asked for now; notes that it is.
    fn may(&mut self, address: Address, attachment: Attachment, again: Duration, now: Timestamp) -> bool {
        let what = (address, attachment.link(), attachment.mac);
        if self.second != now.secs() {
            (self.second, self.count) = (now.secs(), 0);
        }
        if self.count >= Self::PACE || self.lately.get(&what).is_some_and(|at| now.since(*at) < again) {
            return false;
        }
        if self.lately.len() >= Self::MOST {
            self.lately.retain(|_, at| now.since(*at) < Self::AGAIN);
            if self.lately.len() >= Self::MOST {
                return false;
            }
        }
        self.count += 1;
        self.lately.insert(what, now);
        true
    }
}

/// Cards that send in the name of an address that another card answers for, and to whom: from some destinations on, the
/// engineer finds a record of it.
#[derive(Debug, Default)]
pub(super) struct Forgeries {
    seen: HashMap<(Address, Link, Mac), (Timestamp, Vec<Address>)>,
}

impl Forgeries {
    /// From so many distinct destinations on it is recorded: a device that takes an address over, or two that share one by
    /// mistake, soon settle who has it.
    const DESTINATIONS: usize = 5;

    /// Notes that `attachment` sent to `peer` in the name of `address`; whether that is enough for a record.
    fn note(&mut self, address: Address, peer: Address, attachment: Attachment, now: Timestamp) -> bool {
        let what = (address, attachment.link(), attachment.mac);
        if self.seen.len() >= MOST_TOLD && !self.seen.contains_key(&what) {
            self.seen.retain(|_, (since, _)| now.since(*since) < REPEAT);
            if self.seen.len() >= MOST_TOLD {
                return false;
            }
        }
        let (since, peers) = self.seen.entry(what).or_insert_with(|| (now, Vec::new()));
        if now.since(*since) >= REPEAT {
            (*since, *peers) = (now, Vec::new());
        }
        if peers.len() < Self::DESTINATIONS && !peers.contains(&peer) {
            peers.push(peer);
        }
        peers.len() >= Self::DESTINATIONS
    }
}

impl Control {
    /// A card sends in the name of an address that only another card answers for: none of it weighs, and the engineer
    /// finds a record why nothing is done about the address.
    pub(super) fn note_forgery(&mut self, address: Address, peer: Address, attachment: Attachment) {
        let (now, link) = (self.clock.now(), attachment.link());
        let Some(owner) = self.shared.addresses.answered_from(link, address, now) else { return };
        if owner == attachment.mac || self.shared.addresses.is_forwarder(link, attachment.mac, now) {
            return;
        }
        if !self.forgeries.note(address, peer, attachment, now) {
            return;
        }
        let alarm = Alarm {
            at: now,
            suspect: Suspect::address(link, address),
            host: address,
            addresses: vec![address],
            ports: Vec::new(),
            attachment,
            grade: Grade::Watch,
            signal: Signal::FanoutAny,
            score: Score(0),
            threshold: self.published.config().detect.threshold,
            destinations: 0,
            evidence: Vec::new(),
            reached: Vec::new(),
            zone_hosts: 0,
        };
        let finding = Finding::Elsewhere(owner);
        if self.record_doubt(&alarm, finding, now) {
            self.published.control_counters.inquired(finding);
        }
    }

    /// An address was seen whose card is not proved: asks its link, so that what it does counts for its card at once.
    pub(super) fn ask_early(&mut self, address: Address, attachment: Attachment) {
        let now = self.clock.now();
        let Some(asking) = self.asking(address, attachment, now) else { return };
        // Where another card has answered, two want the address: whoever has it now is worth another question soon.
        let owner = self.shared.addresses.answered_from(attachment.link(), address, now);
        let disputed = owner.is_some_and(|owner| owner != attachment.mac);
        if self.asked.may(address, attachment, if disputed { Asked::DISPUTED } else { Asked::AGAIN }, now) {
            ask(address, attachment, &asking);
        }
    }

    /// Gives the event back if it may be acted on now; keeps it while its link is being asked.
    pub(super) fn inquire(&mut self, event: Event) -> Option<Event> {
        let now = self.clock.now();
        let Some((suspect, host, attachment)) = suspect_of(&event) else { return Some(event) };
        let settled = self.responder.case_of(suspect).is_some();
        if settled || self.shared.addresses.answered_from(attachment.link(), host, now) == Some(attachment.mac) {
            return Some(event);
        }
        let Some(asking) = self.asking(host, attachment, now) else { return Some(event) };
        if self.inquiries.is_open(host, attachment) {
            // The answer to the first event settles what the next ones of its kind would say.
            return None;
        }
        match self.inquiries.begin(event, (suspect, host, attachment), asking.silence, &self.shared.probes, now) {
            Ok(()) => {
                ask(host, attachment, &asking);
                None
            }
            Err(event) if asking.silence == Silence::ProvesNothing => Some(event),
            Err(event) => {
                self.disbelieve(&event, suspect, Finding::NotAsked, now);
                None
            }
        }
    }

    /// Looks for answers.
    pub(super) fn hear_segments(&mut self) {
        let now = self.clock.now();
        for step in self.inquiries.advance(&self.shared.probes, now) {
            match step {
                Step::Ask(host, attachment) => {
                    if let Some(asking) = self.asking(host, attachment, now) {
                        ask(host, attachment, &asking);
                    }
                }
                Step::Ended(inquiry, finding, true) => {
                    self.published.control_counters.inquired(finding);
                    self.believe(*inquiry, finding);
                }
                Step::Ended(inquiry, finding, false) => self.disbelieve(&inquiry.event, inquiry.suspect, finding, now),
            }
        }
    }

    /// The link confirmed an alarm: where the card itself has answered, the alarm is about the card.
    fn believe(&mut self, inquiry: Inquiry, finding: Finding) {
        let Inquiry { mut event, suspect, host, attachment, .. } = inquiry;
        let card = Suspect::card(attachment.link(), attachment.mac);
        if finding == Finding::There
            && suspect == Suspect::address(attachment.link(), host)
            && let Event::Alarm(alarm) = &mut event
        {
            // The shards have moved what they know of the address to its card, or are about to.
            alarm.suspect = card;
        }
        self.respond(&event);
    }

    fn disbelieve(&mut self, event: &Event, suspect: Suspect, finding: Finding, now: Timestamp) {
        self.published.control_counters.inquired(finding);
        let reason = if matches!(finding, Finding::Elsewhere(_)) { Unverified::Mac } else { Unverified::NobodyThere };
        self.direct(&Directive::Spoofed { suspect, reason });
        if let Event::Alarm(alarm) = event {
            self.record_doubt(alarm, finding, now);
        }
    }

    /// Records why nothing was done about a suspect, unless that was recorded lately; says whether it did.
    fn record_doubt(&mut self, alarm: &Alarm, finding: Finding, now: Timestamp) -> bool {
        self.spoofed.retain(|_, at| now.since(*at) < REPEAT);
        if self.spoofed.len() >= MOST_TOLD || self.spoofed.contains_key(&alarm.suspect) {
            return false;
        }
        self.spoofed.insert(alarm.suspect, now);
        let record = self.responder.spoofed(alarm, words(alarm, finding));
        self.carry_out(&mut vec![record]);
        true
    }

    fn asking(&self, host: Address, attachment: Attachment, now: Timestamp) -> Option<Asking> {
        let config = self.published.config();
        if !config.detect.address_probe || attachment.mac == Mac::default() {
            return None;
        }
        let watched = |index: u32| {
            let name = self.machine.names.get(&index);
            name.is_some_and(|name| config.gateway.interfaces.contains(name))
        };
        let nowhere: IpAddr = if host.is_v4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let port = self.machine.ports.iter().find(|(port, _)| *port == attachment.interface);
        let bridge = port.map(|(_, bridge)| *bridge);
        let attached = config
            .detect
            .attached
            .iter()
            .any(|(index, networks)| *index == attachment.interface && networks.contains(host));
        // No router passes a link-local address on: whoever has one is on the segment.
        let local = host.is_link_local();
        if attached || (local && bridge.is_none()) {
            let ip = self.machine.own_beside(host).unwrap_or(nowhere);
            let end = End { mac: *self.machine.macs.get(&attachment.interface)?, ip };
            return Some(Asking { on: vec![(attachment.interface, end)], silence: Silence::IsAbsence });
        }
        if bridge.is_none() || self.shared.addresses.is_router(attachment.link(), attachment.mac, now) {
            return None;
        }
        let of_it = self.machine.ports.iter().filter(|(port, of)| Some(*of) == bridge && watched(*port));
        let on = of_it.filter_map(|(port, _)| Some((*port, End { mac: *self.machine.macs.get(port)?, ip: nowhere })));
        let own = |(index, networks): &(u32, Vec<IpNetwork>)| {
            Some(*index) == bridge && networks.iter().any(|network| network.contains(host.ip()))
        };
        // In a network that the bridge itself has an address in, whoever is there must answer.
        let beside = local || self.machine.attached.iter().any(own);
        let silence = if beside { Silence::IsAbsence } else { Silence::ProvesNothing };
        Some(Asking { on: on.collect(), silence })
    }
}

impl Machine {
    /// This machine's own address in the network that `host` is in, the narrowest if there are several.
    fn own_beside(&self, host: Address) -> Option<IpAddr> {
        let networks = self.attached.iter().flat_map(|(_, networks)| networks);
        networks.filter(|network| network.contains(host.ip())).max_by_key(|network| network.prefix()).map(IpNetwork::ip)
    }
}

fn words(alarm: &Alarm, finding: Finding) -> String {
    let (signal, card) = (alarm.signal, alarm.attachment.mac);
    match finding {
        Finding::Elsewhere(owner) => format!(
            "{signal}, but only {owner} answers for the address, and the frames came from {card}: forged by that card, \
             nothing is dropped"
        ),
        Finding::NotAsked => format!("{signal}, but too many addresses were asked for at once to ask for this one"),
        Finding::There | Finding::Nobody => format!(
            "{signal}, but nobody on its segment answers for the address, in whose name {card} sent: forged, or a host \
             that hides; nothing is dropped but what the fuse drops"
        ),
    }
}

/// Puts the question to the segment. What keeps it from being sent is told, and then nobody answers.
fn ask(host: Address, attachment: Attachment, asking: &Asking) {
    for (interface, end) in &asking.on {
        let tag = if *interface == attachment.interface { attachment.vlan } else { 0 };
        if let Err(error) = send(host, *interface, *end, tag) {
            tracing::warn!(%host, interface, "the segment cannot be asked who has an address: {error}");
        }
    }
}

fn send(host: Address, interface: u32, end: End, vlan: u16) -> io::Result<()> {
    let mut frame = [0; build::LONGEST];
    let unsuited = || io::Error::other("no question can be built for this address");
    let mut length = build::ask(&mut frame, end, host.ip()).ok_or_else(unsuited)?;
    if vlan != 0 {
        length = build::tag(&mut frame, length, vlan).ok_or_else(unsuited)?;
    }
    Injector::open(interface)?.send(&[frame.get(..length).unwrap_or_default()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgery_is_recorded_from_five_destinations_on_and_takes_bounded_room() {
        let mut forgeries = Forgeries::default();
        let now = Timestamp::from_secs(1_000_000);
        let card = |last| Attachment { interface: 2, mac: Mac([2, 0, 0, 0, 0, last]), ..Attachment::default() };
        let (victim, peer) = (Address::v4([10, 0, 1, 5]), |n| Address::v4([10, 0, 2, n]));
        for _ in 0..100 {
            assert!(!forgeries.note(victim, peer(1), card(66), now), "one destination, however often");
        }
        assert!((2..5).all(|n| !forgeries.note(victim, peer(n), card(66), now)));
        assert!(!forgeries.note(victim, peer(9), card(67), now), "another card");
        assert!(forgeries.note(victim, peer(5), card(66), now));
        assert!(!forgeries.note(victim, peer(6), card(66), now + REPEAT), "what is long ago is over");
        for n in 0..100_000_u32 {
            forgeries.note(Address::v4(n.to_be_bytes()), peer(1), card(66), now + REPEAT);
        }
        assert!(forgeries.seen.len() <= MOST_TOLD);
    }
}
