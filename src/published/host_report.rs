//! [`HostReport`]: what a shard reports of one host, compact enough to be published often.
//!
//! Facts are true at the moment they state. Scores decay and windows slide on after that; whoever reads them later
//! takes them [`aged`](HostReport::aged), so that the host table needs no refreshing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::Settings;
use crate::evidence::{Attachment, Evidence, Score};
use crate::inspect::Condition;
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::Host;
use crate::wire::Address;
use crate::wire::smb::Dialect;

/// Which contacts a fan-out window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// First contacts on lateral services.
    Lateral,
    /// First contacts on any port.
    Any,
    /// Datagrams to lateral services.
    Udp,
}

impl Class {
    /// Its name in JSON and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Class::Lateral => "lateral",
            Class::Any => "any",
            Class::Udp => "udp",
        }
    }
}

/// How full one fan-out window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFill {
    /// What it counts.
    pub class: Class,
    /// Its length in seconds.
    pub seconds: u64,
    /// Distinct first contacts within it.
    pub count: u32,
    /// The threshold.
    pub limit: u32,
}

/// The closest a host came to a decision without one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearMiss {
    /// When.
    pub at: Timestamp,
    /// How near, in thousandths of the way to a decision.
    pub share: u32,
    /// The score then.
    pub score: Score,
    /// The threshold then.
    pub threshold: Score,
}

/// What was seen of a host's SMB. A dialect is a bit: bit N is [`Dialect::ALL`]`[N]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSmb {
    /// Dialects agreed on as a client.
    pub client: u16,
    /// Dialects agreed on as a server.
    pub server: u16,
    /// A negotiation required signing.
    pub signing: bool,
    /// A negotiation agreed on encryption, used or not.
    pub encryption: bool,
    /// When an answer of its last gave away each [`Condition`], in the order of its list.
    pub conditions: [Option<Timestamp>; Condition::ALL.len()],
}

impl HostSmb {
    /// The dialects that are SMB1: the oldest ones.
    const SMB1: u16 = (1 << (Dialect::OtherSmb1 as u16 + 1)) - 1;

    /// Whether it speaks SMB at all.
    #[must_use]
    pub fn any(self) -> bool {
        self.client | self.server != 0 || self.vulnerable()
    }

    /// Whether its answers gave away that it is unpatched or implanted.
    #[must_use]
    pub fn vulnerable(self) -> bool {
        self.conditions.iter().any(Option::is_some)
    }

    /// Its answer gave away a condition.
    pub fn gave_away(&mut self, condition: Condition, at: Timestamp) {
        if let Some(last) = self.conditions.get_mut(condition as usize) {
            *last = Some(at);
        }
    }

    /// Whether it agreed on SMB1, on either side.
    #[must_use]
    pub const fn smb1(self) -> bool {
        (self.client | self.server) & Self::SMB1 != 0
    }

    /// Takes one more agreement in.
    pub const fn spoke(&mut self, as_server: bool, dialect: Dialect, signing: bool, encryption: bool) {
        let bits = if as_server { &mut self.server } else { &mut self.client };
        *bits |= 1 << (dialect as u16);
        self.signing |= signing;
        self.encryption |= encryption;
    }

    /// Takes in what else was seen of the same host.
    pub fn join(&mut self, other: HostSmb) {
        for (mine, theirs) in self.conditions.iter_mut().zip(other.conditions) {
            *mine = (*mine).max(theirs);
        }
        self.client |= other.client;
        self.server |= other.server;
        self.signing |= other.signing;
        self.encryption |= other.encryption;
    }

    /// The labels of the dialects in a set of bits, oldest first.
    pub fn names(bits: u16) -> impl Iterator<Item = &'static str> {
        let spoken = Dialect::ALL.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
        spoken.map(|(_, dialect)| dialect.label())
    }
}

/// What a shard knows of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostReport {
    /// When this was true.
    pub at: Timestamp,
    /// When the host last sent something of interest.
    pub seen: Timestamp,
    /// Who it is.
    pub suspect: Suspect,
    /// Its addresses, where it has several.
    pub addresses: Vec<Address>,
    /// Its shard knows that it is acted on.
    pub acted: bool,
    /// Where it sits.
    pub attachment: Attachment,
    /// Its score then.
    pub score: Score,
    /// The threshold that applied to it then.
    pub threshold: Score,
    /// Distinct destinations of first contact within the contact memory.
    pub destinations: u32,
    /// The fan-out windows that hold anything.
    pub windows: Vec<WindowFill>,
    /// The alarmed host that lately reached it.
    pub exposed_by: Option<Address>,
    /// The closest it came to a decision without one; kept by the host table.
    pub near_miss: Option<NearMiss>,
    /// The evidence that counts now, oldest first; none for quiet hosts.
    pub evidence: Vec<Evidence>,
}

impl HostReport {
    /// What the core holds of a host, at `now`.
    #[must_use]
    pub fn of(host: &Host, threshold: Score, settings: &Settings, now: Timestamp) -> Self {
        let fill =
            |class, length: Duration, limit, count| WindowFill { class, seconds: length.as_secs(), count, limit };
        let lateral = settings
            .lateral_windows
            .iter()
            .map(|window| fill(Class::Lateral, window.length, window.limit, host.lateral.within(window.length, now)));
        let any = settings
            .any_windows
            .iter()
            .zip(&host.any)
            .map(|(window, bins)| fill(Class::Any, window.length, window.limit, bins.within(window.length, now)));
        let udp = settings
            .udp_windows
            .iter()
            .zip(&host.datagrams)
            .map(|(window, bins)| fill(Class::Udp, window.length, window.limit, bins.within(window.length, now)));
        HostReport {
            at: now,
            acted: host.acted,
            seen: host.seen,
            suspect: host.suspect,
            addresses: if host.others.is_empty() { Vec::new() } else { host.addresses().collect() },
            attachment: host.attachment,
            score: host.score_now(now, settings.decay),
            threshold,
            destinations: host.destinations,
            windows: lateral.chain(any).chain(udp).filter(|window| window.count > 0).collect(),
            exposed_by: host
                .exposed
                .filter(|(_, _, at)| now.since(*at) <= settings.chain_memory)
                .map(|(from, _, _)| from),
            near_miss: None,
            evidence: host.evidence.clone(),
        }
    }

    /// The same host at a later moment, if nothing happened since: the score has decayed, and windows that have slid
    /// past everything are empty. The counts of longer windows are then upper bounds.
    #[must_use]
    pub fn aged(&self, now: Timestamp, decay: Duration) -> Self {
        let age = now.since(self.at);
        let mut aged = self.clone();
        aged.score = self.score.decayed(age, decay);
        aged.windows.retain(|window| age < Duration::from_secs(window.seconds));
        aged
    }

    /// Whether anything speaks against it.
    #[must_use]
    pub fn suspicious(&self) -> bool {
        self.score > Score(0) || self.exposed_by.is_some()
    }

    /// How near its decision it was then, in thousandths: by score, or by its fullest window.
    #[must_use]
    pub fn nearness(&self) -> u32 {
        self.nearness_at(self.at, Duration::MAX)
    }

    /// How near it is at a later moment, if nothing happened since.
    #[must_use]
    pub fn nearness_at(&self, now: Timestamp, decay: Duration) -> u32 {
        let age = now.since(self.at);
        let share = |part: u64, whole: u64| part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
        let nats = |score: Score| u64::from(score.0.max(0).unsigned_abs());
        let windows = self.windows.iter().filter(|window| age < Duration::from_secs(window.seconds));
        let fullest = windows.map(|window| share(window.count.into(), window.limit.into())).max().unwrap_or(0);
        let score = share(nats(self.score.decayed(age, decay)), nats(self.threshold));
        u32::try_from(score.max(fullest)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_700_000_000);
    const DECAY: Duration = Duration::from_secs(600);

    fn report() -> HostReport {
        let window = |seconds, count, limit| WindowFill { class: Class::Lateral, seconds, count, limit };
        HostReport {
            at: START,
            score: Score(4950),
            threshold: Score(9900),
            windows: vec![window(10, 9, 10), window(3600, 12, 60)],
            ..HostReport::default()
        }
    }

    #[test]
    fn nearness_is_the_fullest_of_score_and_windows() {
        assert_eq!(report().nearness(), 900);
        assert_eq!(HostReport { windows: Vec::new(), ..report() }.nearness(), 500);
        assert_eq!(HostReport { threshold: Score(0), ..report() }.nearness(), 900, "no threshold divides by nothing");
    }

    #[test]
    fn facts_age_as_the_core_would() {
        let later = START + Duration::from_secs(600);
        let aged = report().aged(later, DECAY);
        assert_eq!(aged.score, Score(3950), "one nat in ten minutes");
        assert_eq!(aged.windows.len(), 1, "the ten seconds are over");
        assert_eq!(aged.nearness(), report().nearness_at(later, DECAY));
        assert_eq!(report().aged(START, DECAY), report());
        assert_eq!(report().aged(START + Duration::from_secs(86_400), DECAY).nearness(), 0);
    }

    #[test]
    fn dialects_are_named_oldest_first_and_smb1_is_distinguished() {
        for dialect in Dialect::ALL {
            let mut report = HostSmb::default();
            report.spoke(true, dialect, false, true);
            assert_eq!(report.smb1(), dialect.is_smb1(), "{dialect:?}");
            assert_eq!((report.client, report.signing, report.encryption), (0, false, true));
            assert_eq!(HostSmb::names(report.server).collect::<Vec<_>>(), [dialect.label()]);
        }
        let bits = 1 << (Dialect::NtLm012 as u16) | 1 << (Dialect::Smb311 as u16);
        assert_eq!(HostSmb::names(bits).collect::<Vec<_>>(), ["smb1_ntlm0.12", "smb3.1.1"]);
    }
}
