//! What is shown of one host: [`HostView`] in lists, [`WhyView`] in full.
//!
//! All can be read back, so that the command line prints exactly what the API sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::evidence::{Attachment, Score};
use crate::published::host_report::{NearMiss, WindowFill};
use crate::respond::{Action, Decision, EvidenceRecord, Exempted, Held, Verdict};
use crate::time::Timestamp;
use crate::wire::{Address, Mac};

/// Where a host sits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Interface name, or `if N` where the index has no name any more.
    pub interface: String,
    /// VLAN id, 0 for untagged.
    pub vlan: u16,
    /// The second VLAN id, 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inner_vlan: u16,
    /// Hardware address of the host, or of the router it is behind.
    pub mac: Mac,
}

impl AttachmentView {
    /// Names the interface by `name_of` (index to name).
    pub fn new(attachment: Attachment, name_of: impl Fn(u32) -> Option<String>) -> Self {
        AttachmentView {
            interface: name_of(attachment.interface).unwrap_or_else(|| format!("if {}", attachment.interface)),
            vlan: attachment.vlan,
            inner_vlan: attachment.inner_vlan,
            mac: attachment.mac,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
const fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// What is known of a host's SMB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmbView {
    /// It offered or accepted SMB1 by itself, with no newer dialect agreed.
    pub smb1: bool,
    /// Dialects it agreed on as a client.
    pub client: Vec<String>,
    /// Dialects it agreed on as a server.
    pub server: Vec<String>,
    /// A negotiation required signing.
    pub signing: bool,
    /// A negotiation agreed on SMB3 encryption; what is sent may be in the clear all the same.
    pub encryption: bool,
    /// What its answers gave away about it as a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<SmbCondition>,
}

/// What a server's answers gave away about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmbCondition {
    /// `unpatched` (MS17-010) or `implanted` (DoublePulsar).
    pub condition: String,
    /// When it last answered so.
    pub at: Timestamp,
}

/// A host as `hosts` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// The address it last used.
    pub address: Address,
    /// All its addresses, where it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Whether it is judged as a card, with all its addresses; otherwise as this address on its link.
    #[serde(default)]
    pub is_card: bool,
    /// Where it sits.
    pub attachment: AttachmentView,
    /// Its score in nats.
    pub score: Score,
    /// The threshold that applies to it now.
    pub threshold: Score,
    /// Why that is lower than the configured threshold, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_because: Option<String>,
    /// How much more evidence it would take.
    pub headroom: Score,
    /// Distinct destinations of first contact within the contact memory.
    pub destinations: u32,
    /// The fan-out windows that hold anything.
    pub windows: Vec<WindowFill>,
    /// What is decided about it now; `None` is nothing.
    pub verdict: Option<Verdict>,
    /// While it is contained and the kernel drops: every service that is shut, such as `445/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shut: Vec<String>,
    /// Whether the kernel enforces that.
    pub enforced: bool,
    /// When that ends by itself.
    pub until: Option<Timestamp>,
    /// Rung of the ladder it stands on; 0 is none yet.
    pub step: u8,
    /// The roles it has.
    pub roles: Vec<String>,
    /// Whether no decision may drop it.
    pub never_contain: bool,
    /// The alarmed host that lately reached it.
    pub exposed_by: Option<Address>,
    /// Its SMB, if it speaks it.
    pub smb: Option<SmbView>,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// The closest it came to a decision without one.
    pub near_miss: Option<NearMiss>,
}

/// A list of hosts, cut to a limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostsView {
    /// How many there are.
    pub total: usize,
    /// Those asked for.
    pub hosts: Vec<HostView>,
}

/// Everything that no decision may drop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeverContainView {
    /// From the configuration.
    pub configured: Vec<ipnetwork::IpNetwork>,
    /// The gateway's own addresses.
    pub own_addresses: Vec<ipnetwork::IpNetwork>,
    /// Added by command.
    pub added: Vec<Exempted>,
}

/// The ruleset, as it was last put into the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetView {
    /// In nft's language.
    pub ruleset: String,
}

/// Where an exemption comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Exemption {
    /// An entry of the never-contain list in the configuration.
    NeverContain {
        /// The entry as written.
        entry: String,
    },
    /// Added to the never-contain list by command.
    AddedByCommand {
        /// The entry as given.
        entry: String,
        /// Who added it.
        by: String,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// One of the gateway's own addresses.
    OwnAddress,
    /// Not a host that Firedoor may contain.
    NotProtected,
    /// A role: part of its behaviour is no evidence.
    Role {
        /// The role's name.
        name: String,
        /// What it exempts, in words.
        covers: String,
        /// Who answers for it.
        owner: String,
        /// Why it is needed.
        reason: String,
        /// When it ends; `None` is never.
        until: Option<Timestamp>,
        /// It has ended: it no longer exempts anything.
        expired: bool,
    },
}

impl Exemption {
    /// Whether it alone forbids every drop.
    #[must_use]
    pub const fn forbids(&self) -> bool {
        !matches!(self, Exemption::Role { .. })
    }
}

/// What the ladder would do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStep {
    /// The rung, from 1.
    pub step: u8,
    /// What a scan-grade alarm would lead to.
    pub on_scan: Action,
    /// What an exploit-grade alarm would lead to.
    pub on_exploit: Action,
    /// For how long, in seconds; `None` is until released.
    pub seconds: Option<u64>,
}

/// Everything about one address: what has happened to it, and what would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyView {
    /// The address asked about.
    pub address: Address,
    /// The link that this is about, by name such as `eth1.20`; empty where it is not known.
    #[serde(default)]
    pub link: String,
    /// The same of everybody else who uses the address: on other links it is another host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<WhyView>,
    /// When this was answered.
    pub at: Timestamp,
    /// Monitor mode drops nothing, whatever is decided.
    pub mode: crate::respond::Mode,
    /// The answer in a sentence: what is done now, or what would be done on an alarm, and why.
    pub summary: String,
    /// The host as the shards know it; `None` if it was never seen, or was forgotten.
    pub host: Option<HostView>,
    /// What applies to it ahead of any evidence.
    pub exemptions: Vec<Exemption>,
    /// What the ladder would do at its next alarm; `None` where nothing may be dropped.
    pub next: Option<NextStep>,
    /// Until then an alarm only leads to a watch, because an engineer released it.
    pub pardoned_until: Option<Timestamp>,
    /// What the greylist has, or would have, to do with it, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub greylist: Vec<String>,
    /// The evidence, oldest first: what the decision in force rests on, or without one what counts now.
    pub evidence: Vec<EvidenceRecord>,
    /// The decision that waits, if one does.
    pub held: Option<Held>,
    /// What was decided about it, latest first.
    pub history: Vec<Arc<Decision>>,
}
