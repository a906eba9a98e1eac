//! The responder: alarms, orders and time in, effects out.
//!
//! One case for each suspect that is contained or isolated. The ladder says for how long; at its end a host that still
//! tries is renewed a step further, and a quiet one is released. Engineers' orders pass the breaker, never the
//! exemptions. Bounded: cases by the breaker and [`MOST_CASES`], what is remembered of hosts by the settings.

use ipnetwork::IpNetwork;

use crate::detect::{Directive, Event};
use crate::evidence::{Alarm, Grade};
use crate::respond::breaker::{self, Breaker, Load};
use crate::respond::cases::{Case, Cases, MOST_ADDRESSES, MOST_PORTS, card_of, decision_of};
use crate::respond::decision::service_name;
use crate::respond::exempt::{Exemption, exemption};
use crate::respond::past::{Pardon, Past};
use crate::respond::waiting::{Held, Waiting};
use crate::respond::{By, Decision, Effect, Mode, Settings, Switched, Verdict};
use crate::suspect::{Place, Suspect, Who};
use crate::time::Timestamp;
use crate::wire::{Address, Mac};

/// The responder.
pub struct Responder {
    pub(super) settings: Settings,
    pub(super) cases: Cases,
    pub(super) past: Past,
    pub(super) waiting: Waiting,
    pub(super) by_command: Vec<IpNetwork>,
    pub(super) breaker: Breaker,
    switched: Option<Switched>,
}

impl Responder {
    /// With nobody acted on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Responder {
            settings,
            cases: Cases::default(),
            past: Past::default(),
            waiting: Waiting::default(),
            by_command: Vec::new(),
            breaker: Breaker::default(),
            switched: None,
        }
    }

    /// Takes what a detector says.
    pub fn event(&mut self, event: &Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Alarm(alarm) => self.alarm(alarm, effects),
            Event::Active { suspect, at } => self.cases.touch(*suspect, *at),
            Event::Named { suspect, address, at } => self.named(*suspect, *address, *at, effects),
            Event::Lost { suspect, address, to, at } => self.lost(*suspect, *address, *to, *at, effects),
            Event::Identified { from, to, address, at } => self.identified(*from, *to, *address, *at, effects),
            Event::SmbNegotiated { .. }
            | Event::SmbCondition { .. }
            | Event::Unproved { .. }
            | Event::Forwards { .. } => {}
        }
    }

    /// A card that is acted on has one more address: the block covers it too, for as long as it lasts.
    fn named(&mut self, suspect: Suspect, address: Address, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(case) = self.cases.get(suspect) else { return };
        let full = case.addresses.len() >= MOST_ADDRESSES;
        if full || case.addresses.contains(&address) || self.exemption(address).is_some() {
            return;
        }
        let mut case = case.clone();
        if case.addresses.is_empty() {
            // The one that it was called by is another card's.
            case.host = address;
        }
        case.addresses.push(address);
        case.active = case.active.max(at);
        effects.push(Effect::Enforce(case.block()));
        effects.push(Effect::Record(Box::new(Decision {
            at,
            reason: format!("the same device also uses {address}: {}", case.reason),
            ..decision_of(&case, self.settings.mode == Mode::Enforce)
        })));
        self.cases.put(case);
    }

    /// Another card answers for an address of a card that is acted on: the block leaves it, and stays with the card.
    fn lost(&mut self, suspect: Suspect, address: Address, to: Mac, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(case) = self.cases.get(suspect).filter(|case| case.addresses.contains(&address)) else { return };
        let mut case = case.clone();
        case.addresses.retain(|other| *other != address);
        if let Some(first) = case.addresses.first().filter(|_| case.host == address) {
            case.host = *first;
        }
        effects.push(Effect::Lift { host: address, places: vec![Place::address(suspect.link, address)] });
        effects.push(Effect::Record(Box::new(Decision {
            at,
            reason: format!("{address} belongs to {to} now; the card itself stays shut: {}", case.reason),
            ..decision_of(&case, self.settings.mode == Mode::Enforce)
        })));
        self.cases.put(case);
    }

    /// What was decided about an address by itself is about its card.
    fn identified(&mut self, from: Suspect, to: Suspect, address: Address, at: Timestamp, effects: &mut Vec<Effect>) {
        self.past.identified(from, to);
        let Some(case) = self.cases.take(from) else { return };
        let addresses = match self.cases.get(to) {
            Some(known) => {
                let mut addresses = known.addresses.clone();
                if !addresses.contains(&address) && addresses.len() < MOST_ADDRESSES {
                    addresses.push(address);
                }
                addresses
            }
            None => vec![address],
        };
        let known = self.cases.get(to);
        let longer = known.is_none_or(|known| case.verdict > known.verdict);
        let base = if longer { case.clone() } else { known.cloned().unwrap_or_else(|| case.clone()) };
        let reason = match to.who {
            Who::Card(card) => format!("{address} is {card}'s, and the block covers the card: {}", base.reason),
            Who::Address(_) | Who::Network(_) => base.reason.clone(),
        };
        let case = Case { suspect: to, addresses, since: at, active: at.max(base.active), reason, ..base };
        self.open(case, effects);
    }

    fn alarm(&mut self, alarm: &Alarm, effects: &mut Vec<Effect>) {
        let now = alarm.at;
        let suspect = alarm.suspect;
        if alarm.grade == Grade::Watch {
            if !self.cases.contains(suspect) {
                let reason = format!("half way to an alarm: {}", alarm.signal);
                effects.push(self.record(alarm, Verdict::Watch, None, 0, false, reason));
            }
            return;
        }
        let verdict_now = self.cases.get(suspect).map(|case| case.verdict);
        if verdict_now == Some(Verdict::Isolate)
            || verdict_now.is_some() && (alarm.grade < Grade::Exploit || !self.settings.isolate_on_exploit)
        {
            self.cases.touch(suspect, now);
            self.shut_further(alarm, effects);
            return;
        }
        let alarm = &self.without_exempt(alarm);
        if let Some(exemption) = self.exemption(alarm.host) {
            let reason = format!("{}, but the host is {exemption}: nothing is dropped", alarm.signal);
            effects.push(self.record(alarm, Verdict::Watch, None, 0, false, reason));
            return;
        }
        if let Some(until) = self.past.pardon(suspect) {
            if now < until {
                let reason = format!("{}, but an engineer released the host: only watched until {until}", alarm.signal);
                effects.push(self.record(alarm, Verdict::Watch, None, 0, false, reason));
                return;
            }
            self.past.unpardon(suspect);
        }
        let step = self.next_step(suspect, now);
        let verdict = self.settings.verdict(alarm.grade, step);
        let passes = alarm.grade == Grade::Exploit && self.settings.breaker.exploit_passes;
        if verdict_now.is_none() && !passes {
            let limits = self.settings.breaker;
            self.breaker.tick(&limits, now);
            // What is tripped needs no count of who is acted on: a storm of alarms must not cost one each.
            let held = self.breaker.holding(breaker::zone(alarm.host)).is_some();
            let load = (!held).then(|| Load::new(self.cases.iter(), suspect, alarm.host, alarm.zone_hosts, &limits));
            if !load.is_some_and(|load| self.breaker.admits(&limits, load, now)) {
                self.hold(alarm, verdict, effects);
                return;
            }
        }
        let reason = format!("spreads like a worm: {}", alarm.signal);
        self.act(alarm, verdict, step, reason, By::Firedoor, effects);
    }

    /// A contained suspect spreads over ports that are not shut for it: now they are.
    fn shut_further(&mut self, alarm: &Alarm, effects: &mut Vec<Effect>) {
        let Some(case) = self.cases.get(alarm.suspect).filter(|case| case.verdict == Verdict::Contain) else { return };
        let new: Vec<_> = alarm.ports.iter().filter(|service| !case.ports.contains(service)).copied().collect();
        if new.is_empty() || case.ports.len() + new.len() > MOST_PORTS {
            return;
        }
        let mut case = case.clone();
        let names: Vec<String> = new.iter().map(|service| service_name(*service)).collect();
        case.ports.extend(new);
        case.evidence.clone_from(&alarm.evidence);
        case.reason = format!("spreads over {} too: shut as well", names.join(", "));
        effects.push(Effect::Enforce(case.block()));
        let enforced = self.settings.mode == Mode::Enforce;
        effects.push(Effect::Record(Box::new(Decision { at: alarm.at, ..decision_of(&case, enforced) })));
        self.cases.put(case);
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
        self.past.next_step(suspect, now, &self.settings)
    }

    fn hold(&mut self, alarm: &Alarm, verdict: Verdict, effects: &mut Vec<Effect>) {
        let why = self.breaker.holding(breaker::zone(alarm.host)).map_or("", |trip| trip.why.as_str());
        let reason = format!("would {verdict}: {}; held, because the breaker tripped: {why}", alarm.signal);
        effects.push(self.record(alarm, Verdict::Hold, None, 0, false, reason.clone()));
        self.waiting.add(verdict, reason, alarm.clone(), self.settings.most_held);
    }

    pub(super) fn act(
        &mut self,
        alarm: &Alarm,
        verdict: Verdict,
        step: u8,
        reason: String,
        by: By,
        effects: &mut Vec<Effect>,
    ) {
        let now = alarm.at;
        let until = self.settings.rung(step).map(|length| now + length);
        let addresses = if alarm.addresses.is_empty() { vec![alarm.host] } else { alarm.addresses.clone() };
        let case = Case {
            suspect: alarm.suspect,
            link: self.settings.link_name(alarm.suspect.link),
            host: alarm.host,
            addresses,
            ports: alarm.ports.clone(),
            verdict,
            since: now,
            until,
            step,
            active: now,
            grade: Some(alarm.grade),
            by,
            reason,
            attachment: alarm.attachment,
            score: alarm.score,
            threshold: alarm.threshold,
            destinations: alarm.destinations,
            evidence: alarm.evidence.clone(),
        };
        self.breaker.count(alarm.host, alarm.suspect, now);
        self.past.note_step(alarm.suspect, step, now, &self.settings);
        self.open(case, effects);
        if !alarm.reached.is_empty() {
            let directive = Directive::Exposed { from: alarm.host, reached: alarm.reached.clone(), at: now };
            effects.push(Effect::Direct(directive));
        }
    }

    /// Begins or changes a case: the kernel first, then the record, then the shards.
    pub(super) fn open(&mut self, mut case: Case, effects: &mut Vec<Effect>) {
        let suspect = case.suspect;
        let enforced = self.settings.mode == Mode::Enforce;
        if let Some(before) = self.cases.get(suspect) {
            // What was shut stays shut while the block lasts.
            let ports = before.ports.iter().filter(|service| !case.ports.contains(service)).copied();
            let ports: Vec<_> = case.ports.iter().copied().chain(ports).take(MOST_PORTS).collect();
            let gone: Vec<Place> = before.places().into_iter().filter(|place| !case.places().contains(place)).collect();
            case.ports = ports;
            if !gone.is_empty() {
                effects.push(Effect::Lift { host: case.host, places: gone });
            }
        }
        // In monitor mode too: the kernel's rules then count what they would drop.
        effects.push(Effect::Enforce(case.block()));
        effects.push(Effect::Record(Box::new(decision_of(&case, enforced))));
        self.waiting.take_of(suspect);
        effects.push(Effect::Direct(Directive::Acted { suspect, addresses: case.addresses.clone() }));
        self.cases.put(case);
        self.tell_contained(effects);
    }

    fn tell_contained(&self, effects: &mut Vec<Effect>) {
        // Only what Firedoor found itself says that something spreads; an engineer's order may have any reason.
        effects.push(Effect::Direct(Directive::Contained { hosts: self.cases.automatic() }));
    }

    /// Ends a case. A pardon is recorded with the release, so that whoever remembers one remembers the other.
    pub(super) fn close(
        &mut self,
        suspect: Suspect,
        reason: String,
        by: By,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(case) = self.cases.take(suspect) else { return };
        let enforced = self.settings.mode == Mode::Enforce;
        effects.push(Effect::Lift { host: case.host, places: case.places() });
        effects.push(Effect::Record(Box::new(Decision {
            at: now,
            decision: Verdict::Release,
            until: self.past.pardon(suspect).filter(|until| now < *until),
            reason,
            by,
            evidence: Vec::new(),
            ..decision_of(&case, enforced)
        })));
        effects.push(Effect::Direct(Directive::Released { suspect }));
        self.tell_contained(effects);
    }

    /// Lets time pass: releases or renews what has run out, re-arms the breaker, forgets what is over.
    pub fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let limits = self.settings.breaker;
        self.breaker.tick(&limits, now);
        while let Some((due, suspect)) = self.cases.next_due()
            && due <= now
        {
            self.expire(suspect, due, effects);
        }
        self.past.forget_pardons(now);
    }

    /// When [`Responder::tick`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.cases.next_due().map(|(at, _)| at)
    }

    fn expire(&mut self, suspect: Suspect, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(case) = self.cases.get(suspect) else { return };
        let quiet = at.since(case.active) >= self.settings.quiet_before_release.min(at.since(case.since) / 2);
        if quiet || case.grade.is_none() {
            let reason = if case.grade.is_none() { "the order has run out" } else { "quiet since" };
            self.close(suspect, reason.to_owned(), By::Firedoor, at, effects);
            return;
        }
        let mut case = case.clone();
        case.step = case.step.saturating_add(1);
        if let Some(grade) = case.grade
            && self.settings.verdict(grade, case.step) == Verdict::Isolate
        {
            case.verdict = Verdict::Isolate;
        }
        case.reason = format!("still tries new destinations (last {}): renewed", case.active);
        case.until = self.settings.rung(case.step).map(|length| at + length);
        case.since = at;
        self.past.note_step(suspect, case.step, at, &self.settings);
        self.open(case, effects);
    }

    pub(super) fn release_exempt(&mut self, by: &By, now: Timestamp, effects: &mut Vec<Effect>) {
        // A card may keep its block for addresses that are not exempt; the kernel lets the exempt ones pass.
        let covers = |case: &Case| case.addresses.iter().all(|address| self.exemption(*address).is_some());
        let mut covered: Vec<_> = self
            .cases
            .iter()
            .filter(|case| covers(case))
            .filter_map(|case| Some((case.suspect, self.exemption(case.host)?)))
            .collect();
        covered.sort_unstable_by_key(|(suspect, _)| *suspect);
        for (suspect, exemption) in covered {
            self.close(suspect, format!("now {exemption}"), by.clone(), now, effects);
        }
    }

    /// Takes new settings: exemptions apply at once to whoever is acted on.
    ///
    /// A change of mode keeps every case: monitor lets pass, and enforce enforces what is still due.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp, effects: &mut Vec<Effect>) {
        let begins = self.settings.mode == Mode::Monitor && settings.mode == Mode::Enforce;
        self.settings = settings;
        self.release_exempt(&By::Firedoor, now, effects);
        if begins {
            let suspects: Vec<Suspect> = self.cases.iter().map(|case| case.suspect).collect();
            self.enforce_counted(&suspects, now, effects);
        }
    }

    /// Records that suspects which monitor mode only counted are dropped from now on.
    pub fn enforce_counted(&mut self, suspects: &[Suspect], now: Timestamp, effects: &mut Vec<Effect>) {
        let mut hosts = Vec::with_capacity(suspects.len());
        for case in suspects.iter().filter_map(|suspect| self.cases.get(*suspect)) {
            hosts.push(case.host);
            let reason = format!("monitor mode only counted it, enforced from now on: {}", case.reason);
            effects.push(Effect::Record(Box::new(Decision { at: now, reason, ..decision_of(case, true) })));
        }
        self.switched = Switched::new(hosts, now);
    }

    /// Whom the last switch from monitor to enforce began to drop; `None` of nobody.
    #[must_use]
    pub fn switched(&self) -> Option<&Switched> {
        self.switched.as_ref()
    }

    /// Takes over a case that was found in the kernel or in the history at start. No record is made of it; the kernel
    /// is told (it may have lost it), and the shards are.
    pub fn restore(&mut self, case: Case, effects: &mut Vec<Effect>) {
        let suspect = case.suspect;
        if case.step > 0 {
            self.past.note_step(suspect, case.step, case.since, &self.settings);
        }
        if self.exemption(case.host).is_none() {
            effects.push(Effect::Enforce(case.block()));
        }
        effects.push(Effect::Direct(Directive::Acted { suspect, addresses: case.addresses.clone() }));
        self.cases.put(case);
        self.tell_contained(effects);
    }

    /// Takes over a held decision from before the start, under its old number.
    pub fn restore_held(&mut self, held: Held) {
        let acted = self.cases.contains(held.alarm.suspect);
        self.waiting.restore(held, acted, self.settings.most_held);
    }

    /// Remembers from before the start until when an engineer's release protects a suspect that is called `host` and that
    /// the history has under `key`.
    pub fn restore_pardon(&mut self, suspect: Suspect, host: Address, key: String, until: Timestamp) {
        self.past.pardon_until(suspect, Pardon { until, host, keys: vec![key] }, &self.settings);
    }

    /// Remembers a step of the ladder from before the start.
    pub fn restore_step(&mut self, suspect: Suspect, step: u8, at: Timestamp) {
        self.past.note_step(suspect, step, at, &self.settings);
    }

    /// Why `host` may not be dropped, if so.
    #[must_use]
    pub fn exemption(&self, host: Address) -> Option<Exemption> {
        exemption(&self.settings, &self.by_command, host)
    }

    /// A case of a suspect that uses `address`.
    #[must_use]
    pub fn case(&self, address: Address) -> Option<&Case> {
        self.cases_of(address).next()
    }

    /// All cases of suspects that use `address`: several where several links have it.
    pub fn cases_of(&self, address: Address) -> impl Iterator<Item = &Case> {
        self.cases.of(address).iter().filter_map(|suspect| self.cases.get(*suspect))
    }

    /// The case of a suspect.
    #[must_use]
    pub fn case_of(&self, suspect: Suspect) -> Option<&Case> {
        self.cases.get(suspect)
    }

    /// All cases, in no order that means anything.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// The held decisions, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.waiting.iter()
    }

    /// Until when an engineer's release protects a suspect.
    #[must_use]
    pub fn pardon(&self, suspect: Suspect) -> Option<Timestamp> {
        self.past.pardon(suspect)
    }

    /// What engineers put on the never-contain list by command.
    #[must_use]
    pub fn by_command(&self) -> &[IpNetwork] {
        &self.by_command
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

    /// The record that a suspect's link denied what was reported of it: watched, and nothing dropped.
    #[must_use]
    pub fn spoofed(&self, alarm: &Alarm, reason: String) -> Effect {
        self.record(alarm, Verdict::Watch, None, 0, false, reason)
    }

    pub(super) fn record(
        &self,
        alarm: &Alarm,
        decision: Verdict,
        until: Option<Timestamp>,
        step: u8,
        enforced: bool,
        reason: String,
    ) -> Effect {
        Effect::Record(Box::new(Decision {
            at: alarm.at,
            host: alarm.host,
            decision,
            score: alarm.score,
            threshold: alarm.threshold,
            destinations: alarm.destinations,
            grade: Some(alarm.grade),
            until,
            step,
            enforced,
            reason,
            by: By::Firedoor,
            attachment: alarm.attachment,
            suspect: alarm.suspect,
            link: self.settings.link_name(alarm.suspect.link),
            card: card_of(alarm.suspect),
            addresses: if alarm.addresses.len() > 1 { alarm.addresses.clone() } else { Vec::new() },
            ports: alarm.ports.clone(),
            unpardons: Vec::new(),
            evidence: alarm.evidence.clone(),
        }))
    }
}

#[cfg(test)]
mod tests;
