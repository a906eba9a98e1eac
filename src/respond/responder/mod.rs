//! The responder: alarms, orders and time in, effects out.
//!
//! One block for each suspect that is contained or isolated. The ladder says for how long; at its end a host that still
//! tries is renewed a step further, and a quiet one is released. Engineers' orders pass the breaker, never the
//! exemptions. Bounded: blocks by the breaker and
//! [`MOST_BLOCKS`](super::blocks::MOST_BLOCKS), what is remembered of hosts by the settings.

use std::sync::Arc;

use crate::detect::{Directive, Event};
use crate::evidence::{Alarm, Grade, Signal};
use crate::respond::blocks::{Block, Blocks, MOST_ADDRESSES, MOST_PORTS};
use crate::respond::breaker::{self, Breaker, Load};
use crate::respond::decision::{card_of, service_name, several};
use crate::respond::exempt::{Exemption, exemption};
use crate::respond::held::{Held, Waiting};
use crate::respond::ladder_history::{LadderHistory, Pardon};
use crate::respond::{Action, By, Decision, Effect, Exempted, Mode, Settings, State, Switched, Verdict};
use crate::suspect::{Place, Suspect, Who};
use crate::time::Timestamp;
use crate::wire::{Address, Mac};

/// The responder.
pub struct Responder {
    pub(super) settings: Settings,
    pub(super) blocks: Blocks,
    pub(super) history: LadderHistory,
    pub(super) waiting: Waiting,
    pub(super) exempted: Arc<Vec<Exempted>>,
    pub(super) breaker: Breaker,
    switched: Option<Switched>,
}

impl Responder {
    /// With nobody acted on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Responder {
            settings,
            blocks: Blocks::default(),
            history: LadderHistory::default(),
            waiting: Waiting::default(),
            exempted: Arc::default(),
            breaker: Breaker::default(),
            switched: None,
        }
    }

    /// Takes what a detector says.
    pub fn event(&mut self, event: &Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Alarm(alarm) => self.alarm(alarm, effects),
            Event::Active { suspect, at } => self.blocks.touch(*suspect, *at),
            Event::Named { suspect, address, at } => self.named(*suspect, *address, *at, effects),
            Event::Lost { suspect, address, to, at } => self.lost(*suspect, *address, *to, *at, effects),
            Event::Identified { from, to, address, at } => self.identified(*from, *to, *address, *at, effects),
            Event::SmbNegotiated { .. }
            | Event::SmbCondition { .. }
            | Event::Unproved { .. }
            | Event::Forwards { .. }
            | Event::Waits { .. }
            | Event::HoldBack { .. }
            | Event::Served { .. }
            | Event::Refuses { .. } => {}
        }
    }

    /// A card that is acted on has one more address: the block covers it too, for as long as it lasts.
    fn named(&mut self, suspect: Suspect, address: Address, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(block) = self.blocks.get(suspect) else { return };
        let mut addresses = block.decision.addresses().to_vec();
        let full = addresses.len() >= MOST_ADDRESSES;
        if full || addresses.contains(&address) || self.exemption(address).is_some() {
            return;
        }
        // The one that it was called by may be another card's.
        let host = if addresses.is_empty() { address } else { block.host() };
        addresses.push(address);
        let addresses = several(host, &addresses);
        let mut block = block.on(Decision { host, addresses, ..(*block.decision).clone() });
        block.last_active = block.last_active.max(at);
        let reason = format!("the same device also uses {address}: {}", block.decision.reason);
        effects.push(Effect::Enforce(block.clone()));
        effects.push(self.amended(&block, at, reason));
        self.blocks.put(block);
    }

    /// Another card answers for an address of a card that is acted on: the block leaves it, and stays with the card.
    fn lost(&mut self, suspect: Suspect, address: Address, to: Mac, at: Timestamp, effects: &mut Vec<Effect>) {
        let blocks = self.blocks.get(suspect);
        let Some(block) = blocks.filter(|block| block.decision.addresses().contains(&address)) else { return };
        let left: Vec<Address> = block.decision.addresses().iter().copied().filter(|other| *other != address).collect();
        let host = left.first().copied().filter(|_| block.host() == address).unwrap_or(block.host());
        let addresses = if left.is_empty() { Some(left) } else { several(host, &left) };
        let block = block.on(Decision { host, addresses, ..(*block.decision).clone() });
        let reason = format!("{address} belongs to {to} now; the card itself stays shut: {}", block.decision.reason);
        effects.push(Effect::Lift { host: address, places: vec![Place::address(suspect.link, address)] });
        effects.push(self.amended(&block, at, reason));
        self.blocks.put(block);
    }

    /// The record of a change to a block that stays.
    fn amended(&self, block: &Block, at: Timestamp, reason: String) -> Effect {
        let enforced = self.settings.mode == Mode::Enforce;
        Effect::Record(Arc::new(Decision { enforced, ..block.decision.amended(at, reason) }))
    }

    /// What was decided about an address by itself is about its card.
    fn identified(&mut self, from: Suspect, to: Suspect, address: Address, at: Timestamp, effects: &mut Vec<Effect>) {
        self.history.identified(from, to);
        let Some(block) = self.blocks.take(from) else { return };
        let known = self.blocks.get(to);
        let addresses = match known {
            Some(known) => {
                let mut addresses = known.decision.addresses().to_vec();
                if !addresses.contains(&address) && addresses.len() < MOST_ADDRESSES {
                    addresses.push(address);
                }
                addresses
            }
            None => vec![address],
        };
        let base = known.filter(|known| block.action <= known.action).unwrap_or(&block);
        let reason = match to.who {
            Who::Card(card) => {
                format!("{address} is {card}'s, and the block covers the card: {}", base.decision.reason)
            }
            Who::Address(_) | Who::Network(_) => base.decision.reason.clone(),
        };
        let addresses = several(base.host(), &addresses);
        let decision = Decision { suspect: to, card: card_of(to), addresses, ..base.decision.amended(at, reason) };
        let last_active = at.max(base.last_active);
        self.open(decision, last_active, effects);
    }

    fn alarm(&mut self, alarm: &Alarm, effects: &mut Vec<Effect>) {
        let now = alarm.at;
        let suspect = alarm.suspect;
        if alarm.grade == Grade::Watch {
            if !self.blocks.contains(suspect) {
                let reason = format!("half way to an alarm: {}", alarm.signal);
                effects.push(self.watch(alarm, reason));
            }
            return;
        }
        let now_done = self.blocks.get(suspect).map(|block| block.action);
        if now_done == Some(Action::Isolate)
            || now_done.is_some() && (alarm.grade < Grade::Exploit || !self.settings.isolate_on_exploit)
        {
            self.blocks.touch(suspect, now);
            self.shut_further(alarm, effects);
            return;
        }
        let alarm = &self.without_exempt(alarm);
        if let Some(exemption) = self.exemption(alarm.host) {
            let reason = format!("{}, but the host is {exemption}: nothing is dropped", alarm.signal);
            effects.push(self.watch(alarm, reason));
            return;
        }
        if let Some(until) = self.history.pardon(suspect) {
            if now < until {
                let reason = format!("{}, but an engineer released the host: only watched until {until}", alarm.signal);
                effects.push(self.watch(alarm, reason));
                return;
            }
            self.history.unpardon(suspect);
        }
        let step = self.next_step(suspect, now);
        let action = self.settings.action(alarm.grade, step);
        let passes = alarm.grade == Grade::Exploit && self.settings.breaker.exploit_passes;
        if now_done.is_none() && !passes {
            let limits = self.settings.breaker;
            self.breaker.tick(&limits, now);
            // What is tripped needs no count of who is acted on: a storm of alarms must not cost one each.
            let held = self.breaker.holding(breaker::zone(alarm.host)).is_some();
            let load = (!held).then(|| Load::new(self.blocks.iter(), suspect, alarm.host, alarm.zone_hosts, &limits));
            if !load.is_some_and(|load| self.breaker.admits(&limits, load, now)) {
                self.hold(alarm, action, effects);
                return;
            }
        }
        let reason = format!("spreads like a worm: {}", alarm.signal);
        let judged = Decision::of_alarm(alarm, self.link_name(suspect), action.verdict(), reason);
        self.act(judged, step, effects);
    }

    /// A contained suspect spreads over ports that are not shut for it: now they are.
    fn shut_further(&mut self, alarm: &Alarm, effects: &mut Vec<Effect>) {
        let block = self.blocks.get(alarm.suspect).filter(|block| block.action == Action::Contain);
        let Some(block) = block else { return };
        let before = &block.decision;
        let new: Vec<_> = alarm.ports.iter().filter(|service| !before.ports.contains(service)).copied().collect();
        if new.is_empty() || before.ports.len() + new.len() > MOST_PORTS {
            return;
        }
        let names: Vec<String> = new.iter().map(|service| service_name(*service)).collect();
        let block = block.on(Decision {
            ports: before.ports.iter().copied().chain(new).collect(),
            evidence: alarm.evidence.iter().map(Into::into).collect(),
            reason: format!("spreads over {} too: shut as well", names.join(", ")),
            ..(**before).clone()
        });
        effects.push(Effect::Enforce(block.clone()));
        effects.push(self.amended(&block, alarm.at, block.decision.reason.clone()));
        self.blocks.put(block);
    }

    /// The same alarm about those of its addresses that may be dropped; all of them if none may.
    fn without_exempt(&self, alarm: &Alarm) -> Alarm {
        let mut alarm = alarm.clone();
        let mut open: Vec<Address> =
            alarm.addresses.iter().filter(|address| self.exemption(**address).is_none()).copied().collect();
        if let Some(first) = open.first() {
            if self.exemption(alarm.host).is_some() {
                alarm.host = *first;
            }
            open.truncate(MOST_ADDRESSES);
            alarm.addresses = open;
        }
        alarm
    }

    /// The rung that a decision about a suspect would stand on.
    #[must_use]
    pub fn next_step(&self, suspect: Suspect, now: Timestamp) -> u8 {
        self.history.next_step(suspect, now, &self.settings)
    }

    fn hold(&mut self, alarm: &Alarm, action: Action, effects: &mut Vec<Effect>) {
        let why = self.breaker.holding(breaker::zone(alarm.host)).map_or("", |trip| trip.why.as_str());
        let reason = format!("would {action}: {}; held, because the breaker tripped: {why}", alarm.signal);
        let decision = Arc::new(Decision::of_alarm(alarm, self.link_name(alarm.suspect), Verdict::Hold, reason));
        effects.push(Effect::Record(decision.clone()));
        self.waiting.add(action, decision, self.settings.most_held);
    }

    /// Contains or isolates, as `judged` says, on this rung of the ladder.
    pub(super) fn act(&mut self, judged: Decision, step: u8, effects: &mut Vec<Effect>) {
        let Decision { at, host, suspect, .. } = judged;
        let reached = judged.reached.clone();
        self.breaker.count(host, suspect, at);
        self.history.note_step(suspect, step, at, &self.settings);
        let until = self.settings.rung(step).map(|length| at + length);
        self.open(Decision { until, step, ..judged }, at, effects);
        if !reached.is_empty() {
            effects.push(Effect::Direct(Directive::Exposed { from: host, reached, at }));
        }
    }

    /// Begins or changes a block: the kernel first, then the record, then the shards.
    pub(super) fn open(&mut self, mut decision: Decision, last_active: Timestamp, effects: &mut Vec<Effect>) {
        let Some(action) = decision.action() else { return };
        let suspect = decision.suspect;
        decision.enforced = self.settings.mode == Mode::Enforce;
        if let Some(before) = self.blocks.get(suspect) {
            // What was shut stays shut while the block lasts.
            let known = &before.decision;
            let ports = known.ports.iter().filter(|service| !decision.ports.contains(service)).copied();
            let ports: Vec<_> = decision.ports.iter().copied().chain(ports).take(MOST_PORTS).collect();
            let places = decision.places();
            let gone: Vec<Place> = known.places().into_iter().filter(|place| !places.contains(place)).collect();
            decision.ports = ports;
            if !gone.is_empty() {
                effects.push(Effect::Lift { host: decision.host, places: gone });
            }
        }
        let addresses = decision.addresses().to_vec();
        let block = Block { decision: Arc::new(decision), action, last_active, unmatched: false };
        // In monitor mode too: the kernel's rules then count what they would drop.
        effects.push(Effect::Enforce(block.clone()));
        effects.push(Effect::Record(block.decision.clone()));
        self.waiting.take_of(suspect);
        effects.push(Effect::Direct(Directive::Acted { suspect, addresses }));
        self.blocks.put(block);
        self.tell_contained(effects);
    }

    fn tell_contained(&self, effects: &mut Vec<Effect>) {
        // Only what Firedoor found itself says that something spreads; an engineer's order may have any reason.
        effects.push(Effect::Direct(Directive::Contained { hosts: self.blocks.automatic() }));
    }

    /// Ends a block. A pardon is recorded with the release, so that whoever remembers one remembers the other.
    pub(super) fn close(
        &mut self,
        suspect: Suspect,
        reason: String,
        by: By,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Block { decision, .. }) = self.blocks.take(suspect) else { return };
        effects.push(Effect::Lift { host: decision.host, places: decision.places() });
        effects.push(Effect::Record(Arc::new(Decision {
            decision: Verdict::Release,
            until: None,
            pardoned_until: self.history.pardon(suspect).filter(|until| now < *until),
            signal: None,
            enforced: self.settings.mode == Mode::Enforce,
            by,
            reached: Vec::new(),
            evidence: Vec::new(),
            ..decision.amended(now, reason)
        })));
        effects.push(Effect::Direct(Directive::Released { suspect }));
        self.tell_contained(effects);
    }

    /// Lets time pass: releases or renews what has run out, re-arms the breaker, forgets what is over.
    pub fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let limits = self.settings.breaker;
        self.breaker.tick(&limits, now);
        while let Some((due, suspect)) = self.blocks.next_due()
            && due <= now
        {
            self.expire(suspect, due, effects);
        }
        self.history.forget_pardons(now);
    }

    /// When [`Responder::tick`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.blocks.next_due().map(|(at, _)| at)
    }

    fn expire(&mut self, suspect: Suspect, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(block) = self.blocks.get(suspect) else { return };
        let Block { ref decision, last_active, .. } = *block;
        let quiet = at.since(last_active) >= self.settings.quiet_before_release.min(at.since(decision.at) / 2);
        let Some(grade) = decision.grade.filter(|_| !quiet) else {
            let reason = if decision.grade.is_none() { "the order has run out" } else { "quiet since" };
            self.close(suspect, reason.to_owned(), By::Firedoor, at, effects);
            return;
        };
        let step = decision.step.saturating_add(1);
        let action = block.action.max(self.settings.action(grade, step));
        let reason = format!("still tries new destinations (last {last_active}): renewed");
        let until = self.settings.rung(step).map(|length| at + length);
        let renewed = Decision { decision: action.verdict(), step, until, ..decision.amended(at, reason) };
        self.history.note_step(suspect, step, at, &self.settings);
        self.open(renewed, last_active, effects);
    }

    pub(super) fn release_exempt(&mut self, by: &By, now: Timestamp, effects: &mut Vec<Effect>) {
        // A card may keep its block for addresses that are not exempt; the kernel lets the exempt ones pass.
        let covers =
            |block: &Block| block.decision.addresses().iter().all(|address| self.exemption(*address).is_some());
        let mut covered: Vec<_> = self
            .blocks
            .iter()
            .filter(|block| covers(block))
            .filter_map(|block| Some((block.suspect(), self.exemption(block.host())?)))
            .collect();
        covered.sort_unstable_by_key(|(suspect, _)| *suspect);
        for (suspect, exemption) in covered {
            self.close(suspect, format!("now {exemption}"), by.clone(), now, effects);
        }
    }

    /// Takes new settings: exemptions apply at once to whoever is acted on.
    ///
    /// A change of mode keeps every block: monitor lets pass, and enforce enforces what is still due.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp, effects: &mut Vec<Effect>) {
        let begins = self.settings.mode == Mode::Monitor && settings.mode == Mode::Enforce;
        self.settings = settings;
        self.release_exempt(&By::Firedoor, now, effects);
        if begins {
            let suspects: Vec<Suspect> = self.blocks.iter().map(Block::suspect).collect();
            self.enforce_counted(&suspects, now, effects);
        }
    }

    /// Records that suspects which monitor mode only counted are dropped from now on.
    pub fn enforce_counted(&mut self, suspects: &[Suspect], now: Timestamp, effects: &mut Vec<Effect>) {
        let mut hosts = Vec::with_capacity(suspects.len());
        for block in suspects.iter().filter_map(|suspect| self.blocks.get(*suspect)) {
            hosts.push(block.host());
            let reason = format!("monitor mode only counted it, enforced from now on: {}", block.decision.reason);
            effects.push(self.amended(block, now, reason));
        }
        self.switched = Switched::new(hosts, now);
    }

    /// Whom the last switch from monitor to enforce began to drop; `None` of nobody.
    #[must_use]
    pub fn switched(&self) -> Option<&Switched> {
        self.switched.as_ref()
    }

    /// Takes over a block that was found in the kernel or in the history at start. No record is made of it; the kernel
    /// is given it again (it may have lost it), and the shards are.
    pub fn restore(&mut self, block: Block, effects: &mut Vec<Effect>) {
        let suspect = block.suspect();
        let decision = &block.decision;
        if decision.step > 0 {
            self.history.note_step(suspect, decision.step, decision.at, &self.settings);
        }
        if self.exemption(decision.host).is_none() {
            effects.push(Effect::Enforce(block.clone()));
        }
        effects.push(Effect::Direct(Directive::Acted { suspect, addresses: decision.addresses().to_vec() }));
        self.blocks.put(block);
        self.tell_contained(effects);
    }

    /// Takes over a held decision from before the start, under its old number.
    pub fn restore_held(&mut self, held: Held) {
        let acted = self.blocks.contains(held.decision.suspect);
        self.waiting.restore(held, acted, self.settings.most_held);
    }

    /// Remembers from before the start until when an engineer's release protects a suspect that is called `host` and that
    /// the history has under `key`.
    pub fn restore_pardon(&mut self, suspect: Suspect, host: Address, key: String, until: Timestamp) {
        self.history.pardon_until(suspect, Pardon { until, host, keys: vec![key] }, &self.settings);
    }

    /// Remembers a step of the ladder from before the start.
    pub fn restore_step(&mut self, suspect: Suspect, step: u8, at: Timestamp) {
        self.history.note_step(suspect, step, at, &self.settings);
    }

    /// Why `host` may not be dropped, if so.
    #[must_use]
    pub fn exemption(&self, host: Address) -> Option<Exemption> {
        exemption(&self.settings, &self.exempted, host)
    }

    /// A block of a suspect that uses `address`.
    #[must_use]
    pub fn block(&self, address: Address) -> Option<&Block> {
        self.blocks_of(address).next()
    }

    /// All blocks of suspects that use `address`: several where several links have it.
    pub fn blocks_of(&self, address: Address) -> impl Iterator<Item = &Block> {
        self.blocks.of(address).iter().filter_map(|suspect| self.blocks.get(*suspect))
    }

    /// The block of a suspect.
    #[must_use]
    pub fn block_of(&self, suspect: Suspect) -> Option<&Block> {
        self.blocks.get(suspect)
    }

    /// All blocks, in no order that means anything.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    /// The held decisions, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.waiting.iter()
    }

    /// Until when an engineer's release protects a suspect.
    #[must_use]
    pub fn pardon(&self, suspect: Suspect) -> Option<Timestamp> {
        self.history.pardon(suspect)
    }

    /// What engineers put on the never-contain list by command.
    #[must_use]
    pub fn exempted(&self) -> &[Exempted] {
        &self.exempted
    }

    /// Who is blocked, held, pardoned and exempt now, for everybody else to read.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            mode: self.settings.mode,
            blocks: self.blocks.table(),
            held: self.waiting.table(),
            history: self.history.clone(),
            exempted: self.exempted.clone(),
        }
    }

    /// How often the list of held decisions changed so far.
    #[must_use]
    pub const fn held_changes(&self) -> u64 {
        self.waiting.changes()
    }

    /// Notes whether the kernel can match a suspect that is acted on at all.
    pub fn set_unmatched(&mut self, suspect: Suspect, unmatched: bool) {
        self.blocks.set_unmatched(suspect, unmatched);
    }

    /// The breaker.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The record that a suspect's link denied what was reported of it: watched, and nothing dropped. `signal` is what
    /// was reported, if an alarm did.
    #[must_use]
    pub fn spoofed(&self, alarm: &Alarm, signal: Option<Signal>, reason: String) -> Effect {
        let judged = Decision::of_alarm(alarm, self.link_name(alarm.suspect), Verdict::Watch, reason);
        Effect::Record(Arc::new(Decision { signal, ..judged }))
    }

    fn watch(&self, alarm: &Alarm, reason: String) -> Effect {
        Effect::Record(Arc::new(Decision::of_alarm(alarm, self.link_name(alarm.suspect), Verdict::Watch, reason)))
    }

    pub(super) fn link_name(&self, suspect: Suspect) -> String {
        self.settings.link_name(suspect.link)
    }
}

#[cfg(test)]
mod tests;
