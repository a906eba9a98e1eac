//! The responder: alarms, orders and time in, actions out.
//!
//! One case for each host that is contained or isolated. The ladder says for how long; at its end a host that still
//! tries is renewed a step further, and a quiet one is released. Engineers' orders pass the breaker, never the
//! exemptions. Bounded: cases by the breaker and [`MOST_CASES`], what is remembered of hosts by the settings.

use ipnetwork::IpNetwork;

use crate::detect::{Directive, Event};
use crate::evidence::{Alarm, Attachment, Grade};
use crate::respond::breaker::{self, Breaker, Load};
use crate::respond::cases::{Case, Cases, MOST_CASES, decision_of};
use crate::respond::exempt::{Exemption, exemption};
use crate::respond::past::Past;
use crate::respond::waiting::{Held, Waiting};
use crate::respond::{Action, By, Decision, Mode, Settings, Switched, Verdict};
use crate::time::Timestamp;
use crate::wire::Address;

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
    pub fn event(&mut self, event: &Event, actions: &mut Vec<Action>) {
        match event {
            Event::Alarm(alarm) => self.alarm(alarm, actions),
            Event::Active { host, at } => self.cases.touch(*host, *at),
            Event::SameDevice { host, of, attachment, at } => self.same_device(*host, *of, *attachment, *at, actions),
            Event::OtherDevice { host, at, .. } => {
                if self.cases.get(*host).is_some_and(|case| case.by == By::Firedoor) {
                    let reason = "the address belongs to another device now".to_owned();
                    self.close(*host, reason, By::Firedoor, *at, actions);
                }
            }
            Event::Speaks { .. } | Event::GaveAway { .. } => {}
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
        let exempt = self.exemption(host).is_some() || self.past.pardon(host).is_some_and(|until| at < until);
        if exempt || self.cases.contains(host) || self.cases.len() >= MOST_CASES {
            return;
        }
        let Some(case) = self.cases.get(of) else { return };
        let reason = format!("the same device as {of} ({}): {}", attachment.mac, case.reason);
        self.open(Case { host, since: at, active: at, attachment, reason, ..case.clone() }, actions);
    }

    fn alarm(&mut self, alarm: &Alarm, actions: &mut Vec<Action>) {
        let now = alarm.at;
        let host = alarm.host;
        if alarm.grade == Grade::Watch {
            if !self.cases.contains(host) {
                let reason = format!("half way to an alarm: {}", alarm.signal);
                actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
            }
            return;
        }
        let verdict_now = self.cases.get(host).map(|case| case.verdict);
        if verdict_now == Some(Verdict::Isolate)
            || verdict_now.is_some() && (alarm.grade < Grade::Exploit || !self.settings.isolate_on_exploit)
        {
            self.cases.touch(host, now);
            return;
        }
        if let Some(exemption) = self.exemption(host) {
            let reason = format!("{}, but the host is {exemption}: nothing is dropped", alarm.signal);
            actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
            return;
        }
        if let Some(until) = self.past.pardon(host) {
            if now < until {
                let reason = format!("{}, but an engineer released the host: only watched until {until}", alarm.signal);
                actions.push(record(alarm, Verdict::Watch, None, 0, false, reason));
                return;
            }
            self.past.unpardon(host);
        }
        let step = self.next_step(host, now);
        let verdict = self.settings.verdict(alarm.grade, step);
        let passes = alarm.grade == Grade::Exploit && self.settings.breaker.exploit_passes;
        if verdict_now.is_none() && !passes {
            let limits = self.settings.breaker;
            self.breaker.tick(&limits, now);
            // What is tripped needs no count of who is acted on: a storm of alarms must not cost one each.
            let held = self.breaker.holding(breaker::zone(host)).is_some();
            let load = (!held).then(|| Load::new(self.cases.iter(), host, alarm.attachment, alarm.zone_hosts, &limits));
            if !load.is_some_and(|load| self.breaker.admits(&limits, load, now)) {
                self.hold(alarm, verdict, actions);
                return;
            }
        }
        let reason = format!("spreads like a worm: {}", alarm.signal);
        self.act(alarm, verdict, step, reason, By::Firedoor, actions);
    }

    /// The rung that a decision about `host` would stand on.
    #[must_use]
    pub fn next_step(&self, host: Address, now: Timestamp) -> u8 {
        self.past.next_step(host, now, &self.settings)
    }

    fn hold(&mut self, alarm: &Alarm, verdict: Verdict, actions: &mut Vec<Action>) {
        let why = self.breaker.holding(breaker::zone(alarm.host)).map_or("", |trip| trip.why.as_str());
        let reason = format!("would {verdict}: {}; held, because the breaker tripped: {why}", alarm.signal);
        actions.push(record(alarm, Verdict::Hold, None, 0, false, reason.clone()));
        self.waiting.add(verdict, reason, alarm.clone(), self.settings.most_held);
    }

    pub(super) fn act(
        &mut self,
        alarm: &Alarm,
        verdict: Verdict,
        step: u8,
        reason: String,
        by: By,
        actions: &mut Vec<Action>,
    ) {
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
        self.breaker.count(alarm.host, breaker::suspect_of(alarm.host, alarm.attachment), now);
        self.past.note_step(alarm.host, step, now, &self.settings);
        self.open(case, actions);
        if !alarm.reached.is_empty() {
            let directive = Directive::Exposed { from: alarm.host, reached: alarm.reached.clone(), at: now };
            actions.push(Action::Direct(directive));
        }
    }

    /// Begins or changes a case: the kernel first, then the record, then the shards.
    pub(super) fn open(&mut self, case: Case, actions: &mut Vec<Action>) {
        let host = case.host;
        let enforced = self.settings.mode == Mode::Enforce;
        // In monitor mode too: the kernel's rules then count what they would drop.
        actions.push(Action::Enforce { host, verdict: case.verdict, until: case.until });
        actions.push(Action::Record(Box::new(decision_of(&case, enforced))));
        self.waiting.take_of(host);
        actions.push(Action::Direct(Directive::Acted { host }));
        self.cases.put(case);
        self.tell_contained(actions);
    }

    fn tell_contained(&self, actions: &mut Vec<Action>) {
        // Only what Firedoor found itself says that something spreads; an engineer's order may have any reason.
        actions.push(Action::Direct(Directive::Contained { hosts: self.cases.automatic() }));
    }

    /// Ends a case. A pardon is recorded with the release, so that whoever remembers one remembers the other.
    pub(super) fn close(&mut self, host: Address, reason: String, by: By, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(case) = self.cases.take(host) else { return };
        let enforced = self.settings.mode == Mode::Enforce;
        actions.push(Action::Lift { host });
        actions.push(Action::Record(Box::new(Decision {
            at: now,
            decision: Verdict::Release,
            until: self.past.pardon(host).filter(|until| now < *until),
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
        while let Some((due, host)) = self.cases.next_due()
            && due <= now
        {
            self.expire(host, due, actions);
        }
        self.past.forget_pardons(now);
    }

    /// When [`Responder::tick`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.cases.next_due().map(|(at, _)| at)
    }

    fn expire(&mut self, host: Address, at: Timestamp, actions: &mut Vec<Action>) {
        let Some(case) = self.cases.get(host) else { return };
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
        self.past.note_step(host, case.step, at, &self.settings);
        self.open(case, actions);
    }

    pub(super) fn release_exempt(&mut self, by: &By, now: Timestamp, actions: &mut Vec<Action>) {
        let mut covered: Vec<_> =
            self.cases.iter().filter_map(|case| Some((case.host, self.exemption(case.host)?))).collect();
        covered.sort_unstable_by_key(|(host, _)| *host);
        for (host, exemption) in covered {
            self.close(host, format!("now {exemption}"), by.clone(), now, actions);
        }
    }

    /// Takes new settings: exemptions apply at once to whoever is acted on.
    ///
    /// A change of mode keeps every case: monitor lets pass, and enforce enforces what is still due.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp, actions: &mut Vec<Action>) {
        let begins = self.settings.mode == Mode::Monitor && settings.mode == Mode::Enforce;
        self.settings = settings;
        self.release_exempt(&By::Firedoor, now, actions);
        if begins {
            self.enforce_counted(self.cases.iter().map(|case| case.host).collect(), now, actions);
        }
    }

    /// Records that `hosts`, which monitor mode only counted, are dropped from now on.
    pub fn enforce_counted(&mut self, hosts: Vec<Address>, now: Timestamp, actions: &mut Vec<Action>) {
        for case in hosts.iter().filter_map(|host| self.cases.get(*host)) {
            let reason = format!("monitor mode only counted it, enforced from now on: {}", case.reason);
            actions.push(Action::Record(Box::new(Decision { at: now, reason, ..decision_of(case, true) })));
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
    pub fn restore(&mut self, case: Case, actions: &mut Vec<Action>) {
        let host = case.host;
        if case.step > 0 {
            self.past.note_step(host, case.step, case.since, &self.settings);
        }
        if self.exemption(host).is_none() {
            actions.push(Action::Enforce { host, verdict: case.verdict, until: case.until });
        }
        actions.push(Action::Direct(Directive::Acted { host }));
        self.cases.put(case);
        self.tell_contained(actions);
    }

    /// Takes over a held decision from before the start, under its old number.
    pub fn restore_held(&mut self, held: Held) {
        let acted = self.cases.contains(held.alarm.host);
        self.waiting.restore(held, acted, self.settings.most_held);
    }

    /// Remembers from before the start until when an engineer's release protects a host.
    pub fn restore_pardon(&mut self, host: Address, until: Timestamp) {
        self.past.pardon_until(host, until, &self.settings);
    }

    /// Remembers a step of the ladder from before the start.
    pub fn restore_step(&mut self, host: Address, step: u8, at: Timestamp) {
        self.past.note_step(host, step, at, &self.settings);
    }

    /// Why `host` may not be dropped, if so.
    #[must_use]
    pub fn exemption(&self, host: Address) -> Option<Exemption> {
        exemption(&self.settings, &self.by_command, host)
    }

    /// The case of `host`.
    #[must_use]
    pub fn case(&self, host: Address) -> Option<&Case> {
        self.cases.get(host)
    }

    /// All cases, in no order that means anything.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// The held decisions, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.waiting.iter()
    }

    /// Until when an engineer's release protects `host`.
    #[must_use]
    pub fn pardon(&self, host: Address) -> Option<Timestamp> {
        self.past.pardon(host)
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

/// The record that a host's segment denied what was said of it: watched, and nothing dropped.
#[must_use]
pub fn doubted(alarm: &Alarm, reason: String) -> Action {
    record(alarm, Verdict::Watch, None, 0, false, reason)
}

pub(super) fn record(
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
