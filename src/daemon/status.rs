//! The picture of the daemon that everybody reads: built here, about once a second and after every change.

use crate::config::model::Backend;
use crate::daemon::control::Control;
use crate::daemon::interface_health::carried;
use crate::daemon::memory::bound;
use crate::evidence::{Alarm, Detail, Signal};
use crate::published::status::{
    BreakerView, DropCause, Drops, FirewallView, FuseView, HiddenView, HostCounts, InterfaceView, MemoryView,
    Occupancy, OverlapView, OverlapsView, Status, StoreView, TunnelView,
};
use crate::respond::{By, Case, Mode, Switched, Verdict};
use crate::store::StoreHandle;
use crate::suspect::Place;
use crate::sys::process::Usage;
use crate::time::Timestamp;
use crate::wire::frame::{Encapsulation, FragmentKind};
use crate::wire::{Address, Link, Mac};

/// Tunnels shown.
const TUNNELS: usize = 16;

/// Addresses shown that are in use on several links.
const OVERLAPS: usize = 16;

/// Whether an engineer's order, and nothing that the host did, is what a case rests on.
fn is_ordered(case: &Case) -> bool {
    case.grade.is_none() && case.by != By::Firedoor
}

impl Control {
    /// Puts up a fresh picture.
    pub(super) fn refresh(&mut self) {
        self.show_held();
        if let Ok(counters) = self.firewall.counters() {
            self.counters = counters;
        }
        let status = self.picture();
        self.published.set_status(status);
    }

    /// What hides packets, and where the door acts on it all the same.
    fn hidden(&self, interfaces: &[InterfaceView]) -> HiddenView {
        let counters = &self.published.counters;
        let encapsulated = |kind: Encapsulation| {
            let at = Encapsulation::ALL.iter().position(|known| *known == kind);
            at.map_or(0, |at| counters.sum(|shard| shard.encapsulated.get(at)))
        };
        // Any card behind any two tags: what can be matched depends on the interface alone.
        let matched = |interface: &&InterfaceView| {
            let link = Link { interface: interface.index, outer: 1, inner: 1 };
            self.firewall.reaches(Place::card(link, Mac::default()))
        };
        let (by_card, unmatched): (Vec<_>, Vec<_>) =
            interfaces.iter().filter(|interface| interface.index != 0).partition(matched);
        let names = |of: Vec<&InterfaceView>| of.into_iter().map(|interface| interface.name.clone()).collect();
        HiddenView {
            tunnels: self.tunnels.iter().cloned().collect(),
            fragments: FragmentKind::ALL
                .iter()
                .map(|kind| counters.sum(|shard| shard.fragments.get(*kind as usize)))
                .sum(),
            tags: encapsulated(Encapsulation::Tags),
            pppoe: encapsulated(Encapsulation::Pppoe),
            by_card: names(by_card),
            unmatched: names(unmatched),
        }
    }

    /// Keeps a tunnel that a protected host began to use.
    pub(super) fn note_tunnel(&mut self, alarm: &Alarm) {
        let begun = alarm.evidence.iter().rev().find_map(|evidence| match evidence.detail {
            Detail::Tunnel { kind, .. } => Some((evidence.peer, kind)),
            _ => None,
        });
        let Some((peer, kind)) = begun.filter(|_| alarm.signal == Signal::Tunnel) else { return };
        let (host, kind) = (alarm.host, kind.label().to_owned());
        let link = self.responder.settings().link_name(alarm.suspect.link);
        let view = TunnelView { kind, host, link, peer, since: alarm.at };
        let same = |known: &TunnelView| {
            (&known.kind, known.host, &known.link, known.peer) == (&view.kind, view.host, &view.link, view.peer)
        };
        if !self.tunnels.iter().any(same) {
            self.tunnels.push_front(view);
            self.tunnels.truncate(TUNNELS);
        }
    }

    fn picture(&mut self) -> Status {
        let now = self.clock.now();
        let config = self.published.config();
        let one_sided = self.shared.is_one_sided();
        let backend = match config.capture.backend {
            Backend::Ring => "ring",
            Backend::Pnet => "pnet",
        };
        let known = self.published.counters.interfaces();
        let names = &self.machine.names;
        let index = |name: &str| names.iter().find(|(_, known)| *known == name).map(|(index, _)| *index);
        let mut devices = Vec::new();
        for name in &config.gateway.interfaces {
            let mut renamed = self.protected.renamed().iter().filter(|renamed| renamed.configured == *name);
            let own = index(name).map(|index| (name, None, None, index));
            let first = own.or_else(|| renamed.next().map(|first| (name, Some(&first.now), None, first.index)));
            devices.push(first.unwrap_or((name, None, None, 0)));
            devices.extend(renamed.map(|other| (&other.now, None, Some(name), other.index)));
        }
        let interfaces: Vec<InterfaceView> = devices
            .into_iter()
            .map(|(name, now_called, formerly, index)| {
                let counters = known.iter().find(|counters| counters.name == *name);
                let last = counters.map_or(0, |counters| counters.last_packet.get());
                if let Some(counters) = counters {
                    counters.kernel_drops.set(self.interface_health.lost(name));
                }
                InterfaceView {
                    name: name.clone(),
                    now_called: now_called.cloned(),
                    formerly: formerly.cloned(),
                    index,
                    backend: backend.to_owned(),
                    packets_in: counters.map_or(0, |counters| counters.packets_in.get()),
                    packets_out: counters.map_or(0, |counters| counters.packets_out.get()),
                    kernel_drops: self.interface_health.lost(name),
                    last_packet: (last > 0).then(|| Timestamp::from_nanos(last)),
                    blind: self.interface_health.judge(name, carried(now_called.unwrap_or(name)), one_sided, now),
                }
            })
            .collect();
        let count = |verdict: Verdict| {
            let cases = self.responder.cases().filter(|case| case.verdict == verdict).count();
            u64::try_from(cases).unwrap_or(u64::MAX)
        };
        let ordered = |verdict: Verdict| {
            let cases = self.responder.cases().filter(|case| case.verdict == verdict && is_ordered(case));
            u64::try_from(cases.count()).unwrap_or(u64::MAX)
        };
        let enforce = config.gateway.mode == Mode::Enforce;
        self.published.adopt(self.responder.cases(), enforce);
        let surveyed = self.published.host_table.survey(now, config.detect.decay);
        let shards = self.published.counters.shard_views();
        let hosts = HostCounts {
            tracked: shards.iter().map(|shard| shard.hosts).sum(),
            watched: surveyed.watched,
            contained: count(Verdict::Contain),
            isolated: count(Verdict::Isolate),
            contained_by_order: ordered(Verdict::Contain),
            isolated_by_order: ordered(Verdict::Isolate),
            held: u64::try_from(self.responder.held().count()).unwrap_or(u64::MAX),
        };
        let link_name = |link| self.responder.settings().link_name(link);
        let (first, total) = self.published.host_table.overlaps(now, OVERLAPS);
        let overlap = |(address, links): (Address, Vec<Link>)| OverlapView {
            address,
            links: links.into_iter().map(link_name).collect(),
        };
        let overlaps = OverlapsView { total, first: first.into_iter().map(overlap).collect() };
        let hidden = self.hidden(&interfaces);
        let packets = |name: &str| self.counters.count(name).packets;
        let drops = DropCause::ALL.map(|cause| Drops {
            cause,
            dropped: packets(&format!("{}_dropped", cause.label())),
            would_drop: packets(&format!("{}_would_drop", cause.label())),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: config.gateway.mode,
            at: now,
            started: self.started,
            uptime_seconds: now.since(self.started).as_secs(),
            wall_ahead_ms: self.clock.wall_ahead_ms(),
            interfaces,
            shards,
            hosts,
            breaker: BreakerView::of(&self.responder),
            fuse: FuseView {
                enabled: config.fuse.enabled,
                drops: config.fuse.enabled && enforce,
                limited: packets("fuse_dropped") + packets("fuse_shared_dropped"),
                would_limit: packets("fuse_would_drop") + packets("fuse_shared_would_drop"),
            },
            tables: self.published.counters.tables(),
            sets: self
                .counters
                .sets
                .iter()
                .map(|set| Occupancy {
                    name: set.set.to_owned(),
                    used: set.elements.into(),
                    capacity: set.size.into(),
                    evicted: 0,
                })
                .collect(),
            store: self.store.as_ref().map_or_else(StoreView::default, StoreHandle::view),
            config: self.config.clone(),
            firewall: FirewallView {
                in_place: self.firewall_error.is_none(),
                error: self.firewall_error.clone(),
                repairs: self.repairs.clone(),
                deletions: self.deletions.clone(),
                drops: drops.to_vec(),
                counted: (!enforce)
                    .then(|| Switched::new(self.responder.cases().map(|case| case.host).collect(), now))
                    .flatten(),
                switched: self.responder.switched().filter(|_| enforce).cloned(),
            },
            hidden,
            overlaps,
            memory: MemoryView { resident: Usage::now().resident_bytes, bound: bound(&config) },
        }
    }
}
