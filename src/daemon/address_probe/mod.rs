//! [`AddressProbes`]: asking a link who has an address, before that address is acted on for what anybody could have sent
//! in its name.
//!
//! Where the link is attached to this gateway, the gateway asks as any host there would, from its own address there. At a
//! bridge the sender may be on any port, and the gateway asks on all of them, without claiming an address. What lies
//! behind a router cannot be asked. See [`crate::respond::address_probe`].

mod forgeries;
mod link;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::detect::Event;
use crate::detect::counters::Unverified;
use crate::evidence::{Alarm, Attachment, Grade, Score, Signal};
use crate::published::Published;
use crate::respond::Responder;
use crate::respond::address_probe::{Finding, PendingEvent, PendingEvents, Silence, Step, suspect_of};
use crate::site::Machine;
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::Shared;
use crate::wire::Address;
use forgeries::Forgeries;
use link::LinkProbe;
use pace::Pace;

/// How often answers are looked for while some are waited for: about as often as the ring hands its frames over.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// A spoofed suspect is recorded again only after this.
const REPEAT: Duration = Duration::from_secs(600);

/// Most suspects recorded within [`REPEAT`]: a forger has any number of names, and must not fill the history with them.
const MOST_RECORDED: usize = 256;

/// What a probe found out about an event.
pub(super) enum Probed {
    /// Its sender has the address it used, or nobody can be asked: the event may be acted on.
    Confirmed(Event),
    /// Its sender does not have the address.
    Spoofed {
        /// Whom the event is about.
        suspect: Suspect,
        /// Why its evidence weighs nothing.
        reason: Unverified,
        /// What to record of it, unless that was recorded recently.
        record: Option<SpoofedRecord>,
    },
}

/// An alarm that nothing is done about.
pub(super) struct SpoofedRecord {
    pub alarm: Box<Alarm>,
    /// What tipped it, where a detector raised it.
    pub signal: Option<Signal>,
    /// Why nothing is done, in words.
    pub reason: String,
}

/// The probes under way, and what earlier ones found.
pub(super) struct AddressProbes {
    shared: Arc<Shared>,
    published: Arc<Published>,
    /// Events that wait for an answer.
    open: PendingEvents,
    /// Suspects whose link recently reported that they do not have their address.
    spoofed: HashMap<Suspect, Timestamp>,
    /// Links that were recently asked before anything was reported of an address.
    early: Pace,
    forgeries: Forgeries,
}

impl AddressProbes {
    pub fn new(shared: Arc<Shared>, published: Arc<Published>) -> Self {
        AddressProbes {
            shared,
            published,
            open: PendingEvents::default(),
            spoofed: HashMap::new(),
            early: Pace::default(),
            forgeries: Forgeries::default(),
        }
    }

    /// Whether no event waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// An address was seen whose card is not proved: asks its link, so that what it does counts for its card at once.
    pub fn probe_early(&mut self, address: Address, attachment: Attachment, machine: &Machine, now: Timestamp) {
        let Some(probe) = self.link_probe(address, attachment, machine, now) else { return };
        // Where another card has answered, two want the address: whoever has it now is worth another question soon.
        let owner = self.shared.addresses.answered_from(attachment.link(), address, now);
        let disputed = owner.is_some_and(|owner| owner != attachment.mac);
        if self.early.may(address, attachment, if disputed { Pace::DISPUTED } else { Pace::AGAIN }, now) {
            probe.send();
        }
    }

    /// A card sent to `peer` in the name of an address that only another card answers for: none of it weighs, and from some
    /// destinations on the engineer finds a record why nothing is done about the address.
    pub fn forgery(
        &mut self,
        address: Address,
        peer: Address,
        attachment: Attachment,
        now: Timestamp,
    ) -> Option<SpoofedRecord> {
        let link = attachment.link();
        let owner = self.shared.addresses.answered_from(link, address, now)?;
        if owner == attachment.mac || self.shared.addresses.is_forwarder(link, attachment.mac, now) {
            return None;
        }
        if !self.forgeries.note(address, peer, attachment, now) {
            return None;
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
            threshold: self.published.site().detect.threshold,
            destinations: 0,
            evidence: Vec::new(),
            reached: Vec::new(),
            zone_hosts: 0,
        };
        let finding = Finding::Elsewhere(owner);
        let record = self.record_of(&alarm, None, finding, now);
        if record.is_some() {
            self.published.control_counters.probed(finding);
        }
        record
    }

    /// Asks the link of an event's sender, where the event could rest on a forged address. `None` while the answer is
    /// waited for: [`poll`](Self::poll) has the event then.
    pub fn check(&mut self, event: Event, responder: &Responder, machine: &Machine, now: Timestamp) -> Option<Probed> {
        let Some((suspect, host, attachment)) = suspect_of(&event) else { return Some(Probed::Confirmed(event)) };
        let settled = responder.block_of(suspect).is_some();
        if settled || self.shared.addresses.answered_from(attachment.link(), host, now) == Some(attachment.mac) {
            return Some(Probed::Confirmed(event));
        }
        let Some(probe) = self.link_probe(host, attachment, machine, now) else {
            return Some(Probed::Confirmed(event));
        };
        if self.open.is_open(host, attachment) {
            // The answer to the first event settles what the next ones of its kind would say.
            return None;
        }
        match self.open.begin(event, (suspect, host, attachment), probe.silence, &self.shared.probes, now) {
            Ok(()) => {
                probe.send();
                None
            }
            Err(event) if probe.silence == Silence::ProvesNothing => Some(Probed::Confirmed(event)),
            Err(event) => Some(self.spoofed(&event, suspect, Finding::NotAsked, now)),
        }
    }

    /// Looks for answers, and asks again where none came.
    pub fn poll(&mut self, machine: &Machine, now: Timestamp) -> Vec<Probed> {
        let mut ended = Vec::new();
        for step in self.open.advance(&self.shared.probes, now) {
            match step {
                Step::Ask(host, attachment) => {
                    if let Some(probe) = self.link_probe(host, attachment, machine, now) {
                        probe.send();
                    }
                }
                Step::Ended(pending, finding, true) => {
                    self.published.control_counters.probed(finding);
                    ended.push(Probed::Confirmed(confirmed(*pending, finding)));
                }
                Step::Ended(pending, finding, false) => {
                    ended.push(self.spoofed(&pending.event, pending.suspect, finding, now));
                }
            }
        }
        ended
    }

    fn spoofed(&mut self, event: &Event, suspect: Suspect, finding: Finding, now: Timestamp) -> Probed {
        self.published.control_counters.probed(finding);
        let reason = if matches!(finding, Finding::Elsewhere(_)) { Unverified::Mac } else { Unverified::NobodyThere };
        let record = match event {
            Event::Alarm(alarm) => self.record_of(alarm, Some(alarm.signal), finding, now),
            _ => None,
        };
        Probed::Spoofed { suspect, reason, record }
    }

    /// What to record of an alarm that nothing is done about, unless that was recorded recently.
    fn record_of(
        &mut self,
        alarm: &Alarm,
        signal: Option<Signal>,
        finding: Finding,
        now: Timestamp,
    ) -> Option<SpoofedRecord> {
        self.spoofed.retain(|_, at| now.since(*at) < REPEAT);
        if self.spoofed.len() >= MOST_RECORDED || self.spoofed.contains_key(&alarm.suspect) {
            return None;
        }
        self.spoofed.insert(alarm.suspect, now);
        Some(SpoofedRecord { alarm: Box::new(alarm.clone()), signal, reason: reason(alarm, finding) })
    }

    fn link_probe(
        &self,
        host: Address,
        attachment: Attachment,
        machine: &Machine,
        now: Timestamp,
    ) -> Option<LinkProbe> {
        LinkProbe::new(host, attachment, (&self.published.site(), machine, &self.shared), now)
    }
}

/// The link confirmed an event: where the card itself has answered, an alarm is about the card.
fn confirmed(pending: PendingEvent, finding: Finding) -> Event {
    let PendingEvent { mut event, suspect, host, attachment, .. } = pending;
    let card = Suspect::card(attachment.link(), attachment.mac);
    if finding == Finding::There
        && suspect == Suspect::address(attachment.link(), host)
        && let Event::Alarm(alarm) = &mut event
    {
        // The shards have moved what they know of the address to its card, or are about to.
        alarm.suspect = card;
    }
    event
}

fn reason(alarm: &Alarm, finding: Finding) -> String {
    let (signal, card) = (alarm.signal, alarm.attachment.mac);
    match finding {
        Finding::Elsewhere(owner) => format!(
            "{signal}, but only {owner} answers for the address, and the frames came from {card}: forged by that card, \
             nothing is dropped"
        ),
        Finding::NotAsked => format!("{signal}, but too many addresses were asked for at once to ask for this one"),
        Finding::There | Finding::Nobody => format!(
            "{signal}, but nobody on its link answers for the address, in whose name {card} sent: forged, or a host \
             that hides; nothing is dropped but what the fuse drops"
        ),
    }
}
