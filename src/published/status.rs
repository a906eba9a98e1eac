//! [`Status`]: the one picture of the running daemon that `status`, the API, `--json` and the metrics all read.
//!
//! The control task builds it afresh about once a second and after every change, and swaps it into
//! [`Published`](super::Published); whoever asks reads the latest one and never waits for the control task. Plain serde structs:
//! what the API sends is what the command line prints.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::published::greylist::Readiness;
use crate::respond::{Mode, Responder, Switched};
use crate::time::Timestamp;
use crate::wire::Address;

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Firedoor's version.
    pub version: String,
    /// Monitor or enforce.
    pub mode: Mode,
    /// When this picture was made, on the daemon's clock.
    pub at: Timestamp,
    /// When the daemon started.
    pub started: Timestamp,
    /// How long it has run, in seconds.
    pub uptime_seconds: u64,
    /// By how many milliseconds the machine's clock is ahead of the daemon's, by which all times here are dated: it was
    /// set since the start.
    #[serde(default)]
    pub wall_ahead_ms: i64,
    /// The protected interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// The capture threads.
    pub shards: Vec<ShardView>,
    /// How many hosts are in which state.
    pub hosts: HostCounts,
    /// The circuit breaker.
    pub breaker: BreakerView,
    /// The kernel's first-contact limiter.
    pub fuse: FuseView,
    /// The kernel's rule that a first contact with a host that is no known server asks twice.
    #[serde(default)]
    pub greylist: GreylistView,
    /// The shards' tables, summed over shards.
    pub tables: Vec<Occupancy>,
    /// The kernel's sets and maps.
    pub sets: Vec<Occupancy>,
    /// The history database.
    pub store: StoreView,
    /// The configuration in force.
    pub config: ConfigView,
    /// The kernel's firewall table.
    pub firewall: FirewallView,
    /// What hides packets from inspection.
    #[serde(default)]
    pub hidden: HiddenView,
    /// Addresses that are in use on several links.
    #[serde(default)]
    pub overlaps: OverlapsView,
    /// The daemon's memory.
    pub memory: MemoryView,
}

impl Default for Status {
    /// The picture before the control task has made its first one: nothing is known, nothing is claimed.
    fn default() -> Self {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: Mode::Monitor,
            at: Timestamp::ZERO,
            started: Timestamp::ZERO,
            uptime_seconds: 0,
            wall_ahead_ms: 0,
            interfaces: Vec::new(),
            shards: Vec::new(),
            hosts: HostCounts::default(),
            breaker: BreakerView::default(),
            fuse: FuseView::default(),
            greylist: GreylistView::default(),
            tables: Vec::new(),
            sets: Vec::new(),
            store: StoreView::default(),
            config: ConfigView::default(),
            firewall: FirewallView::default(),
            hidden: HiddenView::default(),
            overlaps: OverlapsView::default(),
            memory: MemoryView::default(),
        }
    }
}

/// What hides packets from inspection: tunnels, fragments, encapsulations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenView {
    /// Tunnels that protected hosts lately began to use, the latest first; at most 16.
    pub tunnels: Vec<TunnelView>,
    /// Fragments captured that hide a transport header.
    pub fragments: u64,
    /// Frames captured behind two VLAN tags or more.
    pub tags: u64,
    /// Frames captured in PPPoE sessions.
    pub pppoe: u64,
    /// Interfaces on which the kernel drops such frames of a card that is acted on, as a whole.
    pub by_card: Vec<String>,
    /// Interfaces on which it cannot match them.
    pub unmatched: Vec<String>,
}

/// A tunnel that a protected host began to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelView {
    /// The protocol: a [`TunnelKind`](crate::wire::frame::TunnelKind)'s label.
    pub kind: String,
    /// Who uses it.
    pub host: Address,
    /// Its link by name.
    pub link: String,
    /// Where the tunnel leads.
    pub peer: Address,
    /// Since when.
    pub since: Timestamp,
}

/// Addresses that are in use on several links: on each, another host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlapsView {
    /// How many.
    pub total: usize,
    /// The first of them.
    pub first: Vec<OverlapView>,
}

/// An address that is in use on several links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlapView {
    /// The address.
    pub address: Address,
    /// The links by name.
    pub links: Vec<String>,
}

/// The daemon's memory, and what the configuration lets it come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryView {
    /// Resident memory in bytes, if the daemon can see its own.
    pub resident: Option<u64>,
    /// The most it comes to with every table full, in bytes: the bound that its configuration sets.
    pub bound: u64,
}

/// One protected interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name: the configured one, unless another device has that now.
    pub name: String,
    /// What the device is called now, if its configured name is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_called: Option<String>,
    /// The configured name that the device had, if another device has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<String>,
    /// Its index in the kernel; 0 while it does not exist.
    pub index: u32,
    /// How frames are taken off it: `ring` or `pnet`.
    pub backend: String,
    /// Packets that came in from the network.
    pub packets_in: u64,
    /// Packets that the gateway sent or forwarded out of it.
    pub packets_out: u64,
    /// Packets that the kernel dropped because the ring was full.
    pub kernel_drops: u64,
    /// When the last packet was seen.
    pub last_packet: Option<Timestamp>,
    /// Why this interface cannot be judged by, if so.
    pub blind: Option<BlindView>,
}

/// Why a sensor is blind, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlindView {
    /// Which kind of blindness: a closed set, and a metric label.
    pub reason: Blindness,
    /// Since when.
    pub since: Timestamp,
    /// The figures it was concluded from, in a sentence.
    pub detail: String,
}

/// The ways in which a sensor can be blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blindness {
    /// The interface does not exist, or is down.
    Missing,
    /// No packets on an interface that had them.
    Silent,
    /// The ring loses packets.
    Drops,
    /// Packets arrive, but none that the filter lets through.
    NothingMatches,
    /// Only one direction of the connections is seen.
    OneWay,
    /// The interface is of a kind whose frames are not decoded.
    Unreadable,
}

impl Blindness {
    /// Every kind, in declaration order.
    pub const ALL: [Blindness; 6] = [
        Blindness::Missing,
        Blindness::Silent,
        Blindness::Drops,
        Blindness::NothingMatches,
        Blindness::OneWay,
        Blindness::Unreadable,
    ];

    /// Its name in JSON, metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Blindness::Missing => "missing",
            Blindness::Silent => "silent",
            Blindness::Drops => "drops",
            Blindness::NothingMatches => "nothing_matches",
            Blindness::OneWay => "one_way",
            Blindness::Unreadable => "unreadable",
        }
    }

    /// What an engineer should do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Blindness::Missing => {
                "bring the interface up (`ip link`), or take it out of gateway.interfaces and reload; it is picked up \
                 again by itself when it returns"
            }
            Blindness::Silent => {
                "check cable, switch port and bridge membership; `tcpdump -ni IFACE` shows whether the kernel sees \
                 anything"
            }
            Blindness::Drops => {
                "raise capture.shards or capture.ring_size; while packets are lost, silence is not counted as failure"
            }
            Blindness::NothingMatches => {
                "frames arrive that hold no IP traffic of protected networks: check networks.protected and VLAN or \
                 tunnel encapsulation on this port"
            }
            Blindness::Unreadable => {
                "protect the interface that its packets leave the tunnel to, or enter it from, instead; Ethernet and \
                 plain IP tunnels are read. The fuse and what is contained hold on it all the same"
            }
            Blindness::OneWay => {
                "answers take another path: protect the interface they return on too; until then, unanswered \
                 attempts weigh nothing"
            }
        }
    }
}

/// One capture thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardView {
    /// Its number, from 0.
    pub shard: u32,
    /// Packets it has taken.
    pub packets: u64,
    /// Hosts it has state for.
    pub hosts: u64,
    /// Alarms and reports it could not hand over because the control queue was full.
    pub queue_drops: u64,
    /// When it last showed that it runs.
    pub alive: Timestamp,
}

/// How many hosts are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// With state in a shard.
    pub tracked: u64,
    /// Watched.
    pub watched: u64,
    /// Contained.
    pub contained: u64,
    /// Isolated.
    pub isolated: u64,
    /// Of the contained, those that an engineer ordered.
    #[serde(default)]
    pub contained_by_order: u64,
    /// Of the isolated, those that an engineer ordered.
    #[serde(default)]
    pub isolated_by_order: u64,
    /// Of the contained and isolated, those that the kernel drops nothing of: in monitor mode, or because it cannot match
    /// their packets.
    #[serde(default)]
    pub only_counted: u64,
    /// Waiting for an engineer because the breaker tripped.
    pub held: u64,
}

/// The circuit breaker on automatic decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Since when the whole or a zone is tripped; `None` while all is armed.
    pub tripped: Option<Timestamp>,
    /// Which limit tripped it, with the figures.
    pub reason: Option<String>,
    /// When it re-arms by itself; `None` is by command only.
    pub rearms_at: Option<Timestamp>,
    /// Hosts contained or isolated now, by any hand.
    pub now: u32,
    /// The most at once.
    pub most_at_once: u32,
    /// Decisions within the last minute.
    pub last_minute: u32,
    /// The most within a minute.
    pub most_a_minute: u32,
    /// How often it has tripped since start.
    pub trips: u64,
    /// Whether it is tripped as a whole, and holds decisions everywhere.
    #[serde(default)]
    pub whole: bool,
    /// The zones that are tripped by themselves, the longest tripped first; decisions are held there alone.
    #[serde(default)]
    pub zones: Vec<ZoneView>,
}

/// A zone whose decisions are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneView {
    /// The zone: a /24, or a /64.
    pub zone: IpNetwork,
    /// Since when.
    pub tripped: Timestamp,
    /// Which limit tripped it, with the figures.
    pub reason: String,
    /// When it re-arms by itself; `None` is by command only.
    pub rearms_at: Option<Timestamp>,
}

impl BreakerView {
    /// What the responder says of its breaker.
    #[must_use]
    pub fn of(responder: &Responder) -> Self {
        let (limits, breaker) = (responder.settings().breaker, responder.breaker());
        let tripped = breaker.tripped().map(|trip| trip.at);
        let mut zones: Vec<ZoneView> = breaker
            .zones()
            .map(|(zone, trip)| ZoneView {
                zone: *zone,
                tripped: trip.at,
                reason: trip.why.clone(),
                rearms_at: limits.rearm_after.map(|after| trip.at + after),
            })
            .collect();
        zones.sort_by_key(|zone| zone.tripped);
        BreakerView {
            tripped,
            reason: breaker.tripped().map(|trip| trip.why.clone()),
            whole: breaker.whole().is_some(),
            zones,
            rearms_at: tripped.zip(limits.rearm_after).map(|(at, after)| at + after),
            now: u32::try_from(responder.blocks().count()).unwrap_or(u32::MAX),
            most_at_once: limits.most_at_once,
            last_minute: breaker.last_minute(),
            most_a_minute: limits.most_a_minute,
            trips: breaker.trips(),
        }
    }
}

/// The kernel's first-contact limiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuseView {
    /// Whether it is in the ruleset.
    pub enabled: bool,
    /// Whether it drops (enforce) or only counts (monitor).
    pub drops: bool,
    /// First contacts it dropped.
    pub limited: u64,
    /// First contacts it would have dropped, in monitor mode.
    pub would_limit: u64,
}

/// The kernel's greylist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GreylistView {
    /// Whether it is in the ruleset.
    pub enabled: bool,
    /// Whether it drops (enforce) or only counts (monitor).
    pub drops: bool,
    /// Packets it dropped that have to be sent again: first ones, and those that came too soon.
    pub delayed: u64,
    /// First contacts that would have waited, in monitor mode.
    pub would_delay: u64,
    /// Whether the site is ready for it to drop: what is known of servers.
    #[serde(default)]
    pub readiness: Readiness,
}

/// How full something of fixed capacity is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// Its name: a closed set, and a metric label.
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries it can hold.
    pub capacity: u64,
    /// Entries evicted to make room.
    pub evicted: u64,
}

impl Occupancy {
    /// How full, 0 to 1; 0 for a capacity of 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share to be shown")]
    pub fn share(&self) -> f64 {
        if self.capacity == 0 { 0.0 } else { self.used as f64 / self.capacity as f64 }
    }
}

/// The history database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Its file; `None` keeps no history.
    pub path: Option<String>,
    /// Records written since start.
    pub written: u64,
    /// Records that could not be written.
    pub lost: u64,
    /// Records waiting to be written.
    pub waiting: u64,
    /// The last failure, and what to do.
    pub error: Option<String>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Its file.
    pub path: String,
    /// When it was read.
    pub loaded_at: Timestamp,
    /// Reloads that took effect since start.
    pub reloads: u64,
    /// Reloads that were refused since start.
    pub failed_reloads: u64,
    /// Why the last reload was refused, if it was: the running configuration is then older than the file.
    pub last_error: Option<String>,
}

/// The kernel's firewall table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallView {
    /// Whether the table stands as Firedoor wants it.
    pub in_place: bool,
    /// The last failure to put it there, and what to do.
    pub error: Option<String>,
    /// How often something that somebody else changed was put right, by kind.
    pub repairs: Vec<Repairs>,
    /// Deletions of the whole table by somebody else, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletions: Option<Deletions>,
    /// Packets dropped, or that would have been, by cause.
    #[serde(default)]
    pub drops: Vec<Drops>,
    /// In monitor mode: whom a switch to enforce would begin to drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Switched>,
    /// In enforce mode: whom the last switch from monitor began to drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<Switched>,
}

/// What makes the kernel drop a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// A contained host's lateral traffic.
    Contain,
    /// An isolated host's traffic.
    Isolate,
    /// A fragment that hides a transport header, whoever sends it.
    Fragment,
    /// A frame of a card that is acted on, behind a second VLAN tag or in PPPoE.
    Encapsulated,
    /// A contained host's plain tunnel.
    Tunnel,
}

impl DropCause {
    /// Every cause, in declaration order.
    pub const ALL: [DropCause; 5] =
        [DropCause::Contain, DropCause::Isolate, DropCause::Fragment, DropCause::Encapsulated, DropCause::Tunnel];

    /// Its name in JSON and metrics, and of the kernel's counters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            DropCause::Contain => "contain",
            DropCause::Isolate => "isolate",
            DropCause::Fragment => "fragment",
            DropCause::Encapsulated => "encapsulated",
            DropCause::Tunnel => "tunnel",
        }
    }
}

/// Packets dropped for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// The cause.
    pub cause: DropCause,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Packets that would have been, in monitor mode.
    pub would_drop: u64,
}

impl FirewallView {
    /// The drops of one cause: dropped, and what would have been.
    #[must_use]
    pub fn drops_by(&self, cause: DropCause) -> (u64, u64) {
        let found = self.drops.iter().find(|drops| drops.cause == cause);
        found.map_or((0, 0), |drops| (drops.dropped, drops.would_drop))
    }
}

/// Deletions of the kernel's table by somebody else: the door is open until it is put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletions {
    /// How often since the start.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
    /// How often within the ten seconds before that.
    pub lately: u64,
    /// Who did it last, where the kernel says: `nft (process 4711)`.
    pub by: Option<String>,
}

/// Repairs of one kind of drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    /// What had been changed.
    pub kind: Drift,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// What somebody else can change in the kernel's firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// The whole table was gone.
    Table,
    /// A chain or a rule was changed or gone.
    Rule,
    /// An element was gone, or was not ours.
    Element,
    /// A protected interface came, went or changed its index.
    Device,
}

impl Drift {
    /// Every kind, in declaration order.
    pub const ALL: [Drift; 4] = [Drift::Table, Drift::Rule, Drift::Element, Drift::Device];

    /// Its name in JSON, metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Drift::Table => "table",
            Drift::Rule => "rule",
            Drift::Element => "element",
            Drift::Device => "device",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_survives_json() {
        let status = Status {
            interfaces: vec![InterfaceView {
                name: "eth0".to_owned(),
                blind: Some(BlindView {
                    reason: Blindness::OneWay,
                    since: Timestamp::from_secs(1_700_000_000),
                    detail: "12 attempts, no answer".to_owned(),
                }),
                ..InterfaceView::default()
            }],
            firewall: FirewallView {
                repairs: vec![Repairs { kind: Drift::Table, count: 2, last: Timestamp::from_secs(1_700_000_001) }],
                ..FirewallView::default()
            },
            ..Status::default()
        };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn labels_are_the_names_in_json() {
        for kind in Blindness::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.label()));
            assert!(!kind.remedy().is_empty());
        }
        for kind in Drift::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.label()));
        }
        for cause in DropCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("{:?}", cause.label()));
        }
    }

    #[test]
    fn a_set_without_capacity_is_not_full() {
        assert!(Occupancy::default().share() < f64::EPSILON);
        let half = Occupancy { used: 5, capacity: 10, ..Occupancy::default() };
        assert!((half.share() - 0.5).abs() < f64::EPSILON);
    }
}
