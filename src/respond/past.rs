//! What is remembered of hosts beyond their cases: their last rung of the ladder, and whom an engineer's release protects.
//! Both bounded by the settings' `remembered_hosts`.

use std::collections::HashMap;

use crate::respond::Settings;
use crate::suspect::Suspect;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug)]
struct Step {
    step: u8,
    at: Timestamp,
}

/// The past of all hosts.
#[derive(Debug, Default)]
pub(super) struct Past {
    steps: HashMap<Suspect, Step>,
    pardons: HashMap<Suspect, Timestamp>,
}

impl Past {
    /// The rung that a decision about a suspect would stand on.
    pub fn next_step(&self, suspect: Suspect, now: Timestamp, settings: &Settings) -> u8 {
        match self.steps.get(&suspect) {
            Some(last) if now.since(last.at) <= settings.repeat_within => last.step.saturating_add(1),
            _ => 1,
        }
    }

    /// Notes the rung that a decision stands on. At capacity those too old to count give way, else the oldest.
    pub fn note_step(&mut self, suspect: Suspect, step: u8, now: Timestamp, settings: &Settings) {
        if self.steps.len() >= settings.remembered_hosts && !self.steps.contains_key(&suspect) {
            let within = settings.repeat_within;
            self.steps.retain(|_, step| now.since(step.at) <= within);
            if self.steps.len() >= settings.remembered_hosts
                && let Some(oldest) = self.steps.iter().min_by_key(|(_, step)| step.at).map(|(&suspect, _)| suspect)
            {
                self.steps.remove(&oldest);
            }
        }
        self.steps.insert(suspect, Step { step, at: now });
    }

    /// Until when an engineer's release protects a suspect; the time may be past.
    pub fn pardon(&self, suspect: Suspect) -> Option<Timestamp> {
        self.pardons.get(&suspect).copied()
    }

    /// Begins a host's pardon; says until when it lasts, if there is one.
    pub fn forgive(&mut self, suspect: Suspect, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
        let until = now + settings.pardon;
        (until > now && self.pardon_until(suspect, until, settings)).then_some(until)
    }

    /// Pardons a host until then, if there is room; says whether there was.
    pub fn pardon_until(&mut self, suspect: Suspect, until: Timestamp, settings: &Settings) -> bool {
        let room = self.pardons.len() < settings.remembered_hosts || self.pardons.contains_key(&suspect);
        if room {
            self.pardons.insert(suspect, until);
        }
        room
    }

    /// What is remembered of an address by itself is its card's.
    pub fn identified(&mut self, from: Suspect, to: Suspect) {
        if let Some(step) = self.steps.remove(&from) {
            let known = self.steps.entry(to).or_insert(step);
            if step.step > known.step {
                *known = step;
            }
        }
        if let Some(until) = self.pardons.remove(&from) {
            let known = self.pardons.entry(to).or_insert(until);
            *known = until.max(*known);
        }
    }

    /// Ends a host's pardon.
    pub fn unpardon(&mut self, suspect: Suspect) {
        self.pardons.remove(&suspect);
    }

    /// Forgets the pardons that are over, once there are more than a few.
    pub fn forget_pardons(&mut self, now: Timestamp) {
        if self.pardons.len() > 64 {
            self.pardons.retain(|_, until| now < *until);
        }
    }
}
