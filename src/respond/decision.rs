//! Decisions: what is done about a host, and everything an engineer needs to judge it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::detect::Directive;
use crate::evidence::{Alarm, Evidence, Grade, Reached, Score, Signal};
use crate::respond::Block;
use crate::suspect::{Place, Suspect, Who, key};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Mac};

/// What is decided about a host: DESIGN.md's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is dropped; an engineer should look.
    Watch,
    /// The kernel's fuse is limiting the host's first contacts.
    Throttle,
    /// Traffic to lateral services is dropped.
    Contain,
    /// All traffic is dropped, care networks aside.
    Isolate,
    /// Nothing is dropped any more.
    Release,
    /// Would contain or isolate, but the breaker has tripped: waits for an engineer.
    Hold,
}

impl Verdict {
    /// Every verdict, in declaration order.
    pub const ALL: [Verdict; 6] =
        [Verdict::Watch, Verdict::Throttle, Verdict::Contain, Verdict::Isolate, Verdict::Release, Verdict::Hold];

    /// Its name in JSON, metrics, logs and the manual.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Verdict::Watch => "watch",
            Verdict::Throttle => "throttle",
            Verdict::Contain => "contain",
            Verdict::Isolate => "isolate",
            Verdict::Release => "release",
            Verdict::Hold => "hold",
        }
    }
}

impl Verdict {
    /// What it does to the suspect's traffic; `None` for those that drop nothing.
    #[must_use]
    pub const fn action(self) -> Option<Action> {
        match self {
            Verdict::Contain => Some(Action::Contain),
            Verdict::Isolate => Some(Action::Isolate),
            Verdict::Watch | Verdict::Throttle | Verdict::Release | Verdict::Hold => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What can be done to a suspect's traffic, the lesser first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Drop what goes to lateral services and to the ports that it alarmed on, and what comes from its own.
    Contain,
    /// Drop everything, care networks aside.
    Isolate,
}

impl Action {
    /// Both.
    pub const ALL: [Action; 2] = [Action::Contain, Action::Isolate];

    /// Its name in JSON, metrics, logs and the manual.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.verdict().label()
    }

    /// The decision for it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Action::Contain => Verdict::Contain,
            Action::Isolate => Verdict::Isolate,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Monitor: decide, report, drop nothing. Enforce: drop too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is ever dropped; what would have been is counted.
    #[default]
    Monitor,
    /// Decisions are put into the kernel.
    Enforce,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Monitor => "monitor",
            Mode::Enforce => "enforce",
        })
    }
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Firedoor itself.
    Firedoor,
    /// An engineer, by the name the kernel vouches for (the socket peer's user).
    Operator(String),
}

/// One piece of evidence as it is recorded: its figures in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRecord {
    /// Which kind.
    pub signal: Signal,
    /// When.
    pub at: Timestamp,
    /// The other side.
    pub peer: Address,
    /// The service's port; 0 where there is none.
    pub port: u16,
    /// What it added to the score, in nats.
    pub weight: Score,
    /// The figures, in a sentence.
    pub detail: String,
}

impl From<&Evidence> for EvidenceRecord {
    fn from(evidence: &Evidence) -> Self {
        EvidenceRecord {
            signal: evidence.signal,
            at: evidence.at,
            peer: evidence.peer,
            port: evidence.port,
            weight: evidence.weight,
            detail: evidence.detail.to_string(),
        }
    }
}

/// What a decision's reason says before why the kernel cannot match the host, where it cannot.
pub const NOT_SHUT: &str = "; not shut: ";

/// Why the kernel cannot match a host.
pub const UNMATCHED: &str =
    "its packets cannot be matched here (behind a second VLAN tag or in PPPoE, and behind a router)";

/// One decision: what the history stores and reads back, the API and `--json` send, and the log and every command
/// print. Its JSON reads back as itself, times to the millisecond. Serializes to one line of `replay --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// About whom: the address that the suspect is called by.
    pub host: Address,
    /// What.
    pub decision: Verdict,
    /// The host's score in nats.
    pub score: Score,
    /// The threshold that applied.
    pub threshold: Score,
    /// Distinct destinations of first contact.
    pub destinations: u32,
    /// What the alarm rested on; none for manual decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// The signal that tipped the alarm; none where no alarm did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// When it ends by itself; `None` is until released (or, for a watch, does not apply).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// For an engineer's release: until when the host is only watched, whatever it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pardoned_until: Option<Timestamp>,
    /// Rung of the ladder, from 1; 0 where the ladder has no part.
    pub step: u8,
    /// Whether the kernel drops: false in monitor mode, for watches, and for exempt hosts.
    pub enforced: bool,
    /// One sentence: why, or why not.
    pub reason: String,
    /// Who decided.
    pub by: By,
    /// The suspect.
    pub suspect: Suspect,
    /// The card that its frames came from: its own, or the router's that it is behind; zero where that is not known.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub sender: Mac,
    /// The suspect's link by name, such as `eth1.20`; empty where it is not known. Names outlive a boot, indices do not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// The suspect's card, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Mac>,
    /// All addresses that the decision is about, see [`Decision::addresses`]: none stands for `host` alone. Empty is a card
    /// that has lost them all to other cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Address>>,
    /// The ports that are shut besides the lateral services, such as `8080/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "services")]
    pub ports: Vec<(Transport, u16)>,
    /// Whose pardon ends with it besides the suspect's, by [`key`]: an engineer's order overrules his release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrules: Vec<String>,
    /// Whom the suspect lately reached, for infection chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
    /// The evidence, oldest first.
    pub evidence: Vec<EvidenceRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_unknown(card: &Mac) -> bool {
    *card == Mac::default()
}

impl Decision {
    /// A decision of Firedoor's that rests on an alarm, its evidence worded; `link` is the name of the suspect's.
    #[must_use]
    pub fn of_alarm(alarm: &Alarm, link: String, decision: Verdict, reason: String) -> Self {
        Decision {
            at: alarm.at,
            host: alarm.host,
            decision,
            score: alarm.score,
            threshold: alarm.threshold,
            destinations: alarm.destinations,
            grade: Some(alarm.grade),
            signal: Some(alarm.signal),
            until: None,
            pardoned_until: None,
            step: 0,
            enforced: false,
            reason,
            by: By::Firedoor,
            suspect: alarm.suspect,
            sender: alarm.attachment.mac,
            link,
            card: card_of(alarm.suspect),
            addresses: several(alarm.host, &alarm.addresses),
            ports: alarm.ports.clone(),
            overrules: Vec::new(),
            reached: alarm.reached.clone(),
            evidence: alarm.evidence.iter().map(EvidenceRecord::from).collect(),
        }
    }

    /// A decision about a suspect that rests on no alarm: an order, or what was found.
    #[must_use]
    pub fn without_alarm(at: Timestamp, suspect: Suspect, host: Address, decision: Verdict, reason: String) -> Self {
        Decision {
            at,
            host,
            decision,
            score: Score(0),
            threshold: Score(0),
            destinations: 0,
            grade: None,
            signal: None,
            until: None,
            pardoned_until: None,
            step: 0,
            enforced: false,
            reason,
            by: By::Firedoor,
            suspect,
            sender: Mac::default(),
            link: String::new(),
            card: card_of(suspect),
            addresses: None,
            ports: Vec::new(),
            overrules: Vec::new(),
            reached: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// A further record of the same at a later time.
    #[must_use]
    pub fn amended(&self, at: Timestamp, reason: String) -> Self {
        Decision { at, reason, overrules: Vec::new(), ..self.clone() }
    }

    /// What it does to the suspect's traffic, if anything.
    #[must_use]
    pub const fn action(&self) -> Option<Action> {
        self.decision.action()
    }

    /// The same, of a suspect that the kernel cannot match: it is not shut, and the reason says why.
    pub fn set_unmatched(&mut self) {
        self.enforced = false;
        if !self.reason.contains(NOT_SHUT) {
            self.reason.push_str(NOT_SHUT);
            self.reason.push_str(UNMATCHED);
        }
    }

    /// All addresses that it is about; none for a card that has lost them all.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.addresses.as_deref().unwrap_or(std::slice::from_ref(&self.host))
    }

    /// Where the kernel matches the suspect: its card, and each of its addresses.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let Suspect { link, who } = self.suspect;
        let of = |address: &Address| Place::address(link, *address);
        match who {
            Who::Card(card) => {
                std::iter::once(Place::card(link, card)).chain(self.addresses().iter().map(of)).collect()
            }
            Who::Address(address) => vec![Place::address(link, address)],
            Who::Network(_) => vec![Place { link, source: who }],
        }
    }

    /// The suspect as the history keeps it.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.link, self.suspect.who)
    }

    /// Whether an engineer's order, and nothing that the host did, is what it rests on.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.grade.is_none() && self.by != By::Firedoor
    }
}

/// Addresses as a decision has them: none where they are `host` alone.
pub(super) fn several(host: Address, addresses: &[Address]) -> Option<Vec<Address>> {
    match addresses {
        [] => None,
        [only] if *only == host => None,
        several => Some(several.to_vec()),
    }
}

/// The card, if the suspect is one.
#[must_use]
pub fn card_of(suspect: Suspect) -> Option<Mac> {
    match suspect.who {
        Who::Card(card) => Some(card),
        Who::Address(_) | Who::Network(_) => None,
    }
}

/// Services in JSON: `8080/tcp`, and so on.
mod services {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Transport, service_name, service_of};

    pub fn serialize<S: Serializer>(ports: &[(Transport, u16)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ports.iter().map(|service| service_name(*service)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Transport, u16)>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let service = |name: &String| service_of(name).ok_or_else(|| Error::custom(format!("{name:?} is no service")));
        names.iter().map(service).collect()
    }
}

/// A service as it is written: `8080/tcp`.
#[must_use]
pub fn service_name((transport, port): (Transport, u16)) -> String {
    match transport {
        Transport::Udp => format!("{port}/udp"),
        _ => format!("{port}/tcp"),
    }
}

/// Reads a service as [`service_name`] writes it.
#[must_use]
pub fn service_of(name: &str) -> Option<(Transport, u16)> {
    let (port, transport) = name.split_once('/')?;
    let transport = match transport {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        _ => return None,
    };
    Some((transport, port.parse().ok()?))
}

/// What the responder wants done. The daemon carries these out in order; a replay only prints the records.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put a block into the kernel, or change the one there.
    Enforce(Block),
    /// Take places out of the kernel.
    Lift {
        /// Whom they are about, for the log.
        host: Address,
        /// The places.
        places: Vec<Place>,
    },
    /// Keep and report this decision.
    Record(Arc<Decision>),
    /// Direct every shard.
    Direct(Directive),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Link;
    use proptest::prelude::*;

    /// Times as JSON has them.
    fn time() -> impl Strategy<Value = Timestamp> {
        (0..18_000_000_000_000u64).prop_map(|millis| Timestamp::from_nanos(millis * 1_000_000))
    }

    fn address() -> impl Strategy<Value = Address> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(Address::v4),
            any::<u128>().prop_map(|bits| Address::from(std::net::IpAddr::from(bits.to_be_bytes()))),
        ]
    }

    fn mac() -> impl Strategy<Value = Mac> {
        any::<[u8; 6]>().prop_map(Mac)
    }

    fn signal() -> impl Strategy<Value = Signal> {
        proptest::sample::select(Signal::ALL)
    }

    fn suspect() -> impl Strategy<Value = Suspect> {
        let who =
            prop_oneof![mac().prop_map(Who::Card), address().prop_map(Who::Address), address().prop_map(Who::Network)];
        let link = (any::<u32>(), any::<u16>(), any::<u16>());
        (link, who).prop_map(|((interface, outer, inner), who)| Suspect { link: Link { interface, outer, inner }, who })
    }

    prop_compose! {
        fn evidence()(
            signal in signal(), at in time(), peer in address(), port: u16, weight: i32, detail: String
        ) -> EvidenceRecord {
            EvidenceRecord { signal, at, peer, port, weight: Score(weight), detail }
        }
    }

    prop_compose! {
        fn judged()(
            at in time(), host in address(), decision in proptest::sample::select(&Verdict::ALL[..]), score: i32,
            threshold: i32, destinations: u32, step: u8, enforced: bool, reason: String, suspect in suspect(),
            grade in proptest::option::of(proptest::sample::select(&[Grade::Watch, Grade::Scan, Grade::Exploit][..]))
        ) -> Decision {
            let judged = Decision::without_alarm(at, suspect, host, decision, reason);
            Decision { score: Score(score), threshold: Score(threshold), destinations, grade, step, enforced, ..judged }
        }
    }

    prop_compose! {
        pub(crate) fn decision()(
            judged in judged(), until in proptest::option::of(time()), pardoned_until in proptest::option::of(time()),
            signal in proptest::option::of(signal()), by in proptest::option::of(any::<String>()), sender in mac(),
            link: String, addresses in proptest::option::of(proptest::collection::vec(address(), 0..4)),
            ports in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..4), overrules: Vec<String>,
            reached in proptest::collection::vec((address(), any::<u16>()), 0..3),
            evidence in proptest::collection::vec(evidence(), 0..4)
        ) -> Decision {
            Decision {
                signal, until, pardoned_until, sender, link, addresses, overrules, evidence,
                by: by.map_or(By::Firedoor, By::Operator),
                ports: ports.into_iter().map(|(udp, port)| (if udp { Transport::Udp } else { Transport::Tcp }, port))
                    .collect(),
                reached: reached.into_iter().map(|(destination, port)| Reached { destination, port }).collect(),
                ..judged
            }
        }
    }

    proptest! {
        #[test]
        fn a_decision_reads_its_own_json_back(decision in decision()) {
            let text = serde_json::to_string(&decision).unwrap();
            prop_assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
        }
    }
}
