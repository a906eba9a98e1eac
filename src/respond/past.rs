//! What is remembered of hosts beyond their cases: their last rung of the ladder, and whom an engineer's release protects.
//! Both bounded by the settings' `remembered_hosts`.

use std::collections::HashMap;

use crate::respond::Settings;
use crate::time::Timestamp;
use crate::wire::Address;

#[derive(Clone, Copy, Debug)]
struct Step {
    step: u8,
    at: Timestamp,
}

/// The past of all hosts.
#[derive(Debug, Default)]
pub(super) struct Past {
    steps: HashMap<Address, Step>,
    pardons: HashMap<Address, Timestamp>,
}

impl Past {
    /// The rung that a decision about `host` would stand on.
    pub fn next_step(&self, host: Address, now: Timestamp, settings: &Settings) -> u8 {
        match self.steps.get(&host) {
            Some(last) if now.since(last.at) <= settings.repeat_within => last.step.saturating_add(1),
            _ => 1,
        }
    }

    /// Notes the rung that a decision stands on. At capacity those too old to count give way, else the oldest.
    pub fn note_step(&mut self, host: Address, step: u8, now: Timestamp, settings: &Settings) {
        if self.steps.len() >= settings.remembered_hosts && !self.steps.contains_key(&host) {
            let within = settings.repeat_within;
            self.steps.retain(|_, step| now.since(step.at) <= within);
            if self.steps.len() >= settings.remembered_hosts
                && let Some(oldest) = self.steps.iter().min_by_key(|(_, step)| step.at).map(|(&host, _)| host)
            {
                self.steps.remove(&oldest);
            }
        }
        self.steps.insert(host, Step { step, at: now });
    }

    /// Until when an engineer's release protects `host`; the time may be past.
    pub fn pardon(&self, host: Address) -> Option<Timestamp> {
        self.pardons.get(&host).copied()
    }

    /// Begins a host's pardon; says until when it lasts, if there is one.
    pub fn forgive(&mut self, host: Address, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
        let until = now + settings.pardon;
        (until > now && self.pardon_until(host, until, settings)).then_some(until)
    }

    /// Pardons a host until then, if there is room; says whether there was.
    pub fn pardon_until(&mut self, host: Address, until: Timestamp, settings: &Settings) -> bool {
        let room = self.pardons.len() < settings.remembered_hosts || self.pardons.contains_key(&host);
        if room {
            self.pardons.insert(host, until);
        }
        room
    }

    /// Ends a host's pardon.
    pub fn unpardon(&mut self, host: Address) {
        self.pardons.remove(&host);
    }

    /// Forgets the pardons that are over, once there are more than a few.
    pub fn forget_pardons(&mut self, now: Timestamp) {
        if self.pardons.len() > 64 {
            self.pardons.retain(|_, until| now < *until);
        }
    }
}
