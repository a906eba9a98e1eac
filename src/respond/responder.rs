//! The responder: alarms, orders and time in, actions out.
//!
//! One case for each host that is contained or isolated. The ladder says for how long; at its end a host that still
//! tries is renewed a step further, and a quiet one is released. Engineers' orders pass the breaker, never the
//! exemptions. Bounded: cases by the breaker and [`MOST_CASES`], steps and pardons by the settings.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::detect::{Directive, Event};
use crate::evidence::{Alarm, Attachment, Evidence, Grade, Score};
use crate::respond::breaker::{Breaker, Load};
use crate::respond::exempt::{Exemption, exemption};
use crate::respond::{Action, By, Decision, Mode, Settings, Verdict};
use crate::time::Timestamp;
use crate::wire::Address;

/// Most hosts acted on, by any hand.
pub const MOST_CASES: usize = 65_536;

/// Most entries on the never-contain list by command.
pub const MOST_BY_COMMAND: usize = 1024;

/// A host that is contained or isolated.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The host.
    pub host: Address,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` is until released.
    pub until: Option<Timestamp>,
    /// Rung of the ladder, from 1; 0 for an engineer's order.
    pub step: u8,
    /// When it last tried something new.
    pub active: Timestamp,
    /// What it rests on; none for an engineer's order.
    pub grade: Option<Grade>,
    /// Who decided.
    pub by: By,
    /// Why.
    pub reason: String,
    /// Where the host sits.
    pub attachment: Attachment,
    /// Its score then.
    pub score: Score,
    /// Its threshold then.
    pub threshold: Score,
    /// Its destinations then.
    pub destinations: u32,
    /// The evidence.
    pub evidence: Vec<Evidence>,
}

/// What an engineer wants done about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered<'a> {
    /// The host.
    pub host: Address,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// For how long; `None` is until released.
    pub duration: Option<Duration>,
    /// Why.
    pub reason: &'a str,
}

/// A decision that waits for an engineer.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Its number, from 1.
    pub id: u64,
    /// What would be done.
    pub verdict: Verdict,
    /// Why it is held.
    pub reason: String,
    /// The alarm.
    pub alarm: Alarm,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody may drop this host.
    #[error("{0} is {1}")]
    Exempt(Address, Exemption),
    /// Neither contained nor isolated.
    #[error("{0} is neither contained nor isolated")]
    NotActedOn(Address),
    /// No held decision has this number.
    #[error("no held decision has the number {0}")]
    NotHeld(u64),
    /// Too many hosts are acted on.
    #[error("{MOST_CASES} hosts are acted on: release some first")]
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    step: u8,
    at: Timestamp,
}

/// The responder.
pub struct Responder {
    settings: Settings,
    cases: HashMap<Address, Case>,
    zones: HashMap<u128, u32>,
    due: BTreeSet<(Timestamp, Address)>,
    automatic: u32,
    steps: HashMap<Address, Step>,
    pardons: HashMap<Address, Timestamp>,
    held: BTreeMap<u64, Held>,
    /// Which held decision is about whom.
    held_of: HashMap<Address, u64>,
    next_held: u64,
    by_command: Vec<IpNetwork>,
    breaker: Breaker,
}

fn zone(host: Address) -> u128 {
    if host.is_v4() { host.bits() & !0xff } else { host.bits() & !u128::from(u64::MAX) }
}

impl Responder {
    /// With nobody acted on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Responder {
            settings,
            cases: HashMap::new(),
            zones: HashMap::new(),
            due: BTreeSet::new(),
            automatic: 0,
            steps: HashMap::new(),
            pardons: HashMap::new(),
            held: BTreeMap::new(),
            held_of: HashMap::new(),
            next_held: 1,
            by_command: Vec::new(),
            breaker: Breaker::default(),
        }
    }

    /// Takes what a detector says.
    pub fn event(&mut self, event: &Event, actions: &mut Vec<Action>) {
        match event {
            Event::Alarm(alarm) => self.alarm(alarm, actions),
            Event::Active { host, at } => {
                if let Some(case) = self.cases.get_mut(host) {
                    case.active = case.active.max(*at);
                }
            }
            Event::SameDevice { host, of, attachment, at } => self.same_device(*host, *of, *attachment, *at, actions),
            Event::OtherDevice { host, at } => {
                if self.cases.get(host).is_some_and(|case| case.by == By::Firedoor) {
                    let reason = "the address belongs to another device now".to_owned();
                    self.close(*host, reason, By::Firedoor, *at, actions);
                }
            }
            Event::Speaks { .. } => {}
        }
    }

    /// The device that is acted on as `of` also uses `host`: the decision follows it, for as long as it lasts.
    fn same_device(
        &mut self,
        host: Address,
        of: Address,
        attachment: Attachment,
        at: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let exempt = self.exemption(host).is_some() || self.pardons.get(&host).is_some_and(|until| at < *until);
        if exempt || self.cases.contains_key(&host) || self.cases.len() >= MOST_CASES {
            return;
        }
        let Some(case) = self.cases.get(&of) else { return };
        let reason = format!("the same device as {of} ({}): {}", attachment.mac, case.reason);
        self.open(Case { host, since: at, active: at, attachment, reason, ..case.clone() }, actions);
    }

    fn alarm(&mut self, alarm: &Alarm, actions: &mut Vec<Action>) {
        let now = alarm.at;
        let host = alarm.host;
        if alarm.grade == Grade::Watch {
            if !self.cases.contains_key(&host) {
                let reason = format!("half way to an alarm: {}", alarm.signal);
                actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
            }
            return;
        }
        let verdict_now = self.cases.get(&host).map(|case| case.verdict);
        if verdict_now == Some(Verdict::Isolate)
            || verdict_now.is_some() && (alarm.grade < Grade::Exploit || !self.settings.isolate_on_exploit)
        {
            if let Some(case) = self.cases.get_mut(&host) {
                case.active = case.active.max(now);
            }
            return;
        }
        if let Some(exemption) = self.exemption(host) {
            let reason = format!("{}, but the host is {exemption}: nothing is dropped", alarm.signal);
            actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
            return;
        }
        if let Some(&until) = self.pardons.get(&host) {
            if now < until {
                let reason = format!("{}, but an engineer released the host: only watched until {until}", alarm.signal);
                actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
                return;
            }
            self.pardons.remove(&host);
        }
        let step = self.next_step(host, now);
        let verdict = self.settings.verdict(alarm.grade, step);
        let passes = alarm.grade == Grade::Exploit && self.settings.breaker.exploit_passes;
        if verdict_now.is_none() && !passes {
            let limits = self.settings.breaker;
            let load = self.load(host, alarm.zone_hosts);
            if !self.breaker.admits(&limits, load, now) {
                self.hold(alarm, verdict, actions);
                return;
            }
        }
        let reason = format!("spreads like a worm: {}", alarm.signal);
        self.act(alarm, verdict, step, reason, By::Firedoor, actions);
    }

    fn load(&self, host: Address, zone_hosts: u32) -> Load {
        Load {
            at_once: u32::try_from(self.cases.len()).unwrap_or(u32::MAX),
            in_zone: self.zones.get(&zone(host)).copied().unwrap_or(0),
            zone_hosts,
        }
    }

    /// The rung that a decision about `host` would stand on.
    #[must_use]
    pub fn next_step(&self, host: Address, now: Timestamp) -> u8 {
        match self.steps.get(&host) {
            Some(last) if now.since(last.at) <= self.settings.repeat_within => last.step.saturating_add(1),
            _ => 1,
        }
    }

    fn hold(&mut self, alarm: &Alarm, verdict: Verdict, actions: &mut Vec<Action>) {
        let why = self.breaker.tripped().map_or("", |(_, why)| why).to_owned();
        let id = self.next_held;
        self.next_held += 1;
        self.unhold(alarm.host);
        while self.held.len() >= self.settings.most_held.max(1) {
            if let Some((_, oldest)) = self.held.pop_first() {
                self.held_of.remove(&oldest.alarm.host);
            }
        }
        let reason = format!("would {verdict}: {}; held, because the breaker tripped: {why}", alarm.signal);
        actions.push(record(alarm, Verdict::Hold, None, 0, false, reason.clone()));
        self.held_of.insert(alarm.host, id);
        self.held.insert(id, Held { id, verdict, reason, alarm: alarm.clone() });
    }

    fn unhold(&mut self, host: Address) {
        if let Some(id) = self.held_of.remove(&host) {
            self.held.remove(&id);
        }
    }

    fn act(&mut self, alarm: &Alarm, verdict: Verdict, step: u8, reason: String, by: By, actions: &mut Vec<Action>) {
        let now = alarm.at;
        let until = self.settings.rung(step).map(|length| now + length);
        let case = Case {
            host: alarm.host,
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
        self.breaker.count(now);
        self.note_step(alarm.host, step, now);
        self.open(case, actions);
        if !alarm.reached.is_empty() {
            let directive = Directive::Exposed { from: alarm.host, reached: alarm.reached.clone(), at: now };
            actions.push(Action::Direct(directive));
        }
    }

    fn note_step(&mut self, host: Address, step: u8, now: Timestamp) {
        if self.steps.len() >= self.settings.remembered_hosts && !self.steps.contains_key(&host) {
            let within = self.settings.repeat_within;
            self.steps.retain(|_, step| now.since(step.at) <= within);
            if self.steps.len() >= self.settings.remembered_hosts
                && let Some(oldest) = self.steps.iter().min_by_key(|(_, step)| step.at).map(|(&host, _)| host)
            {
                self.steps.remove(&oldest);
            }
        }
        self.steps.insert(host, Step { step, at: now });
    }

    /// Begins or changes a case: the kernel first, then the record, then the shards.
    fn open(&mut self, case: Case, actions: &mut Vec<Action>) {
        let host = case.host;
        let enforced = self.settings.mode == Mode::Enforce;
        // In monitor mode too: the kernel's rules then count what they would drop.
        actions.push(Action::Enforce { host, verdict: case.verdict, until: case.until });
        actions.push(Action::Record(Box::new(decision_of(&case, enforced))));
        self.unhold(host);
        actions.push(Action::Direct(Directive::Acted { host }));
        self.put(case);
        self.tell_contained(actions);
    }

    /// Puts a case in place of the host's former one, and keeps the indexes true.
    fn put(&mut self, case: Case) {
        self.take(case.host);
        if let Some(until) = case.until {
            self.due.insert((until, case.host));
        }
        self.automatic += u32::from(case.by == By::Firedoor);
        *self.zones.entry(zone(case.host)).or_default() += 1;
        self.cases.insert(case.host, case);
    }

    fn take(&mut self, host: Address) -> Option<Case> {
        let case = self.cases.remove(&host)?;
        if let Some(until) = case.until {
            self.due.remove(&(until, host));
        }
        self.automatic -= u32::from(case.by == By::Firedoor);
        if let Some(count) = self.zones.get_mut(&zone(host)) {
            *count -= 1;
            if *count == 0 {
                self.zones.remove(&zone(host));
            }
        }
        Some(case)
    }

    fn tell_contained(&self, actions: &mut Vec<Action>) {
        // Only what Firedoor found itself says that something spreads; an engineer's order may have any reason.
        actions.push(Action::Direct(Directive::Contained { hosts: self.automatic }));
    }

    /// Ends a case. A pardon is recorded with the release, so that whoever remembers one remembers the other.
    fn close(&mut self, host: Address, reason: String, by: By, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(case) = self.take(host) else { return };
        let enforced = self.settings.mode == Mode::Enforce;
        actions.push(Action::Lift { host });
        actions.push(Action::Record(Box::new(Decision {
            at: now,
            decision: Verdict::Release,
            until: self.pardons.get(&host).copied().filter(|until| now < *until),
            reason,
            by,
            evidence: Vec::new(),
            ..decision_of(&case, enforced)
        })));
        actions.push(Action::Direct(Directive::Released { host }));
        self.tell_contained(actions);
    }

    /// Lets time pass: releases or renews what has run out, re-arms the breaker, forgets what is over.
    pub fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let limits = self.settings.breaker;
        self.breaker.tick(&limits, now);
        while let Some(&(due, host)) = self.due.first()
            && due <= now
        {
            self.expire(host, due, actions);
        }
        if self.pardons.len() > 64 {
            self.pardons.retain(|_, until| now < *until);
        }
    }

    /// When [`Responder::tick`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.due.first().map(|&(at, _)| at)
    }

    fn expire(&mut self, host: Address, at: Timestamp, actions: &mut Vec<Action>) {
        let Some(case) = self.cases.get(&host) else { return };
        let quiet = at.since(case.active) >= self.settings.quiet_before_release.min(at.since(case.since) / 2);
        if quiet || case.grade.is_none() {
            let reason = if case.grade.is_none() { "the order has run out" } else { "quiet since" };
            self.close(host, reason.to_owned(), By::Firedoor, at, actions);
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
        self.note_step(host, case.step, at);
        self.open(case, actions);
    }

    /// An engineer contains or isolates a host.
    pub fn order_act(
        &mut self,
        order: &Ordered<'_>,
        by: By,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let Ordered { host, verdict, duration, reason } = *order;
        if let Some(exemption) = self.exemption(host) {
            return Err(Refused::Exempt(host, exemption));
        }
        if self.cases.len() >= MOST_CASES && !self.cases.contains_key(&host) {
            return Err(Refused::Full);
        }
        self.pardons.remove(&host);
        self.open(
            Case {
                host,
                verdict,
                since: now,
                until: duration.map(|length| now + length),
                step: 0,
                active: now,
                grade: None,
                by,
                reason: reason.to_owned(),
                attachment: Attachment::default(),
                score: Score(0),
                threshold: Score(0),
                destinations: 0,
                evidence: Vec::new(),
            },
            actions,
        );
        Ok(())
    }

    /// An engineer releases a host; for the pardon's time it is then only watched.
    pub fn order_release(
        &mut self,
        host: Address,
        reason: &str,
        by: By,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        if !self.cases.contains_key(&host) {
            return Err(Refused::NotActedOn(host));
        }
        self.forgive(host, now);
        self.close(host, reason.to_owned(), by, now, actions);
        Ok(())
    }

    /// Begins a host's pardon; says until when it lasts, if there is one.
    fn forgive(&mut self, host: Address, now: Timestamp) -> Option<Timestamp> {
        let until = now + self.settings.pardon;
        let room = self.pardons.len() < self.settings.remembered_hosts || self.pardons.contains_key(&host);
        if until <= now || !room {
            return None;
        }
        self.pardons.insert(host, until);
        Some(until)
    }

    /// An engineer carries out a held decision.
    pub fn order_confirm(&mut self, id: u64, by: By, now: Timestamp, actions: &mut Vec<Action>) -> Result<(), Refused> {
        let held = self.held.remove(&id).ok_or(Refused::NotHeld(id))?;
        self.held_of.remove(&held.alarm.host);
        let host = held.alarm.host;
        if let Some(exemption) = self.exemption(host) {
            return Err(Refused::Exempt(host, exemption));
        }
        let step = self.next_step(host, now);
        let alarm = Alarm { at: now, ..held.alarm };
        let reason = format!("held decision confirmed: {}", alarm.signal);
        self.act(&alarm, held.verdict, step, reason, by, actions);
        Ok(())
    }

    /// An engineer discards a held decision; the host is then only watched for the pardon's time.
    pub fn order_discard(&mut self, id: u64, by: By, now: Timestamp, actions: &mut Vec<Action>) -> Result<(), Refused> {
        let held = self.held.remove(&id).ok_or(Refused::NotHeld(id))?;
        self.held_of.remove(&held.alarm.host);
        let until = self.forgive(held.alarm.host, now);
        let alarm = Alarm { at: now, ..held.alarm };
        let Action::Record(mut decision) =
            record(&alarm, Verdict::Release, until, 0, false, "held decision discarded".to_owned())
        else {
            return Ok(());
        };
        decision.by = by;
        decision.evidence.clear();
        actions.push(Action::Record(decision));
        actions.push(Action::Direct(Directive::Released { host: alarm.host }));
        Ok(())
    }

    /// An engineer re-arms the breaker; says whether it was tripped.
    pub fn order_rearm(&mut self) -> bool {
        self.breaker.rearm()
    }

    /// An engineer puts a network on the never-contain list: whom it covers is released.
    pub fn order_exempt(
        &mut self,
        network: IpNetwork,
        by: &By,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        if !self.by_command.contains(&network) {
            if self.by_command.len() >= MOST_BY_COMMAND {
                return Err(Refused::Full);
            }
            self.by_command.push(network);
        }
        self.release_exempt(by, now, actions);
        Ok(())
    }

    /// An engineer takes a network added by command off the never-contain list; says whether it was on it.
    pub fn order_unexempt(&mut self, network: IpNetwork) -> bool {
        let before = self.by_command.len();
        self.by_command.retain(|entry| *entry != network);
        self.by_command.len() != before
    }

    fn release_exempt(&mut self, by: &By, now: Timestamp, actions: &mut Vec<Action>) {
        let mut covered: Vec<_> = self.cases.keys().filter_map(|&host| Some((host, self.exemption(host)?))).collect();
        covered.sort_unstable_by_key(|(host, _)| *host);
        for (host, exemption) in covered {
            self.close(host, format!("now {exemption}"), by.clone(), now, actions);
        }
    }

    /// Takes new settings: exemptions apply at once to whoever is acted on.
    ///
    /// When monitor becomes enforce, whoever was only counted is released first: nothing that nobody saw dropping begins
    /// to drop with the switch. A host that still spreads is found again at once.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp, actions: &mut Vec<Action>) {
        if self.settings.mode == Mode::Monitor && settings.mode == Mode::Enforce {
            let mut counted: Vec<_> = self.cases.keys().copied().collect();
            counted.sort_unstable();
            for host in counted {
                let reason = "monitor mode ends: what was only counted does not become a block".to_owned();
                self.close(host, reason, By::Firedoor, now, actions);
            }
        }
        self.settings = settings;
        self.release_exempt(&By::Firedoor, now, actions);
    }

    /// Takes over a case that was found in the kernel or in the history at start. No record is made of it; the kernel
    /// is told (it may have lost it), and the shards are.
    pub fn restore(&mut self, case: Case, actions: &mut Vec<Action>) {
        let host = case.host;
        if case.step > 0 {
            self.note_step(host, case.step, case.since);
        }
        if self.exemption(host).is_none() {
            actions.push(Action::Enforce { host, verdict: case.verdict, until: case.until });
        }
        actions.push(Action::Direct(Directive::Acted { host }));
        self.put(case);
        self.tell_contained(actions);
    }

    /// Takes over a held decision from before the start, under its old number.
    pub fn restore_held(&mut self, held: Held) {
        self.next_held = self.next_held.max(held.id.saturating_add(1));
        if self.held.len() < self.settings.most_held.max(1) && !self.cases.contains_key(&held.alarm.host) {
            self.held_of.insert(held.alarm.host, held.id);
            self.held.insert(held.id, held);
        }
    }

    /// Remembers from before the start until when an engineer's release protects a host.
    pub fn restore_pardon(&mut self, host: Address, until: Timestamp) {
        if self.pardons.len() < self.settings.remembered_hosts {
            self.pardons.insert(host, until);
        }
    }

    /// Remembers a step of the ladder from before the start.
    pub fn restore_step(&mut self, host: Address, step: u8, at: Timestamp) {
        self.note_step(host, step, at);
    }

    /// Why `host` may not be dropped, if so.
    #[must_use]
    pub fn exemption(&self, host: Address) -> Option<Exemption> {
        exemption(&self.settings, &self.by_command, host)
    }

    /// The case of `host`.
    #[must_use]
    pub fn case(&self, host: Address) -> Option<&Case> {
        self.cases.get(&host)
    }

    /// All cases, in no order that means anything.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// The held decisions, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Until when an engineer's release protects `host`.
    #[must_use]
    pub fn pardon(&self, host: Address) -> Option<Timestamp> {
        self.pardons.get(&host).copied()
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
}

/// The decision that a case rests on, as it is recorded.
#[must_use]
pub fn decision_of(case: &Case, enforced: bool) -> Decision {
    Decision {
        at: case.since,
        host: case.host,
        decision: case.verdict,
        score: case.score,
        threshold: case.threshold,
        destinations: case.destinations,
        grade: case.grade,
        until: case.until,
        step: case.step,
        enforced,
        reason: case.reason.clone(),
        by: case.by.clone(),
        attachment: case.attachment,
        evidence: case.evidence.clone(),
    }
}

fn record(
    alarm: &Alarm,
    decision: Verdict,
    until: Option<Timestamp>,
    step: u8,
    enforced: bool,
    reason: String,
) -> Action {
    Action::Record(Box::new(Decision {
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
        evidence: alarm.evidence.clone(),
    }))
}

#[cfg(test)]
mod tests;
