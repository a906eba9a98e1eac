//! What decisions are tuned by. `config` builds these from the TOML file.

use std::time::Duration;

use crate::evidence::Grade;
use crate::respond::decision::{Action, Mode};
use crate::wire::{Link, Networks};

/// One rung of the ladder: how long a decision lasts. `None` is until released by hand.
pub type Rung = Option<Duration>;

/// The circuit breaker on automatic decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Most hosts contained or isolated at once.
    pub most_at_once: u32,
    /// Most contained or isolated at once, in hundredths of the hosts seen in the host's zone (its /24 or
    /// /64); the first [`Breaker::FREE_IN_ZONE`] of a zone are free.
    pub most_percent_of_zone: u32,
    /// Most decisions a minute.
    pub most_a_minute: u32,
    /// Exploit-grade evidence passes a tripped breaker.
    pub exploit_passes: bool,
    /// Re-arms by itself after this; `None` is by command only.
    pub rearm_after: Option<Duration>,
}

impl Breaker {
    /// So many hosts of a zone are contained whatever its share: a zone of three hosts must not trip it with the first.
    pub const FREE_IN_ZONE: u32 = 4;
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            most_at_once: 200,
            most_percent_of_zone: 50,
            most_a_minute: 60,
            exploit_passes: true,
            rearm_after: Some(Duration::from_secs(600)),
        }
    }
}

/// Everything the responder is tuned by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Monitor or enforce.
    pub mode: Mode,
    /// Whose hosts may be contained.
    pub protected: Networks,
    /// Hosts no decision may drop, as configured.
    pub never_contain: Networks,
    /// The gateway's own addresses: never contained, configured or not.
    pub own_addresses: Networks,
    /// How long each step lasts: the last is repeated.
    pub ladder: Vec<Rung>,
    /// A repeat within this time is a step further.
    pub repeat_within: Duration,
    /// A host that tried lateral services within this time before its expiry is renewed, not released.
    pub quiet_before_release: Duration,
    /// From this step on, scan-grade alarms isolate instead of contain.
    pub isolate_from_step: u8,
    /// Exploit-grade alarms isolate at once.
    pub isolate_on_exploit: bool,
    /// A host that an engineer released is only watched for so long, whatever it does.
    pub pardon: Duration,
    /// The circuit breaker.
    pub breaker: Breaker,
    /// Most held decisions; with more, the oldest is dropped.
    pub most_held: usize,
    /// Most hosts the responder keeps a history of steps for.
    pub remembered_hosts: usize,
    /// The machine's interfaces by index, for the names of links; empty in a replay.
    pub interfaces: Vec<(u32, String)>,
}

impl Settings {
    /// A link by name, such as `eth1.20`; empty where its interface is not known.
    #[must_use]
    pub fn link_name(&self, link: Link) -> String {
        let Some((_, name)) = self.interfaces.iter().find(|(index, _)| *index == link.interface) else {
            return String::new();
        };
        let mut text = name.clone();
        for tag in [link.outer, link.inner].into_iter().filter(|tag| *tag != 0) {
            text.push('.');
            text.push_str(&tag.to_string());
        }
        text
    }

    /// How long a rung of the ladder lasts, counted from 1; `None` is until released. The last rung repeats.
    #[must_use]
    pub fn rung(&self, step: u8) -> Rung {
        let at = usize::from(step.max(1)) - 1;
        self.ladder.get(at).or(self.ladder.last()).copied().flatten()
    }

    /// What an alarm of this grade leads to on this rung.
    #[must_use]
    pub fn action(&self, grade: Grade, step: u8) -> Action {
        let exploit = grade == Grade::Exploit && self.isolate_on_exploit;
        if exploit || step >= self.isolate_from_step { Action::Isolate } else { Action::Contain }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::Monitor,
            protected: crate::detect::Settings::default().protected,
            never_contain: Networks::default(),
            own_addresses: Networks::default(),
            ladder: vec![
                Some(Duration::from_secs(600)),
                Some(Duration::from_secs(3600)),
                Some(Duration::from_secs(86_400)),
                None,
            ],
            repeat_within: Duration::from_secs(7 * 86_400),
            quiet_before_release: Duration::from_secs(300),
            isolate_from_step: 3,
            isolate_on_exploit: true,
            pardon: Duration::from_secs(3600),
            breaker: Breaker::default(),
            most_held: 1024,
            remembered_hosts: 65_536,
            interfaces: Vec::new(),
        }
    }
}
