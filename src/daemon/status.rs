//! The status that everybody reads: built here, about once a second and after every change.

use crate::config::model::Backend;
use crate::daemon::control::Control;
use crate::daemon::interface_health::carried;
use crate::daemon::memory::bound;
use crate::published::status::{
    BreakerView, DropCause, Drops, FirewallView, FuseView, GreylistView, HiddenView, HostCounts, InterfaceView,
    MemoryView, Occupancy, OverlapView, OverlapsView, Status,
};
use crate::respond::{Action, Block, Mode, Switched};
use crate::suspect::Place;
use crate::sys::process::Usage;
use crate::time::Timestamp;
use crate::wire::frame::{Encapsulation, FragmentKind};
use crate::wire::{Address, Link, Mac};

/// Addresses shown that are in use on several links.
const OVERLAPS: usize = 16;

impl Control {
    /// Publishes a fresh status.
    pub(super) fn refresh(&mut self) {
        self.recorder.keep_held(&self.responder);
        self.enforcement.read_counters();
        let status = self.status();
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
            self.enforcement.reaches(Place::card(link, Mac::default()))
        };
        let (by_card, unmatched): (Vec<_>, Vec<_>) =
            interfaces.iter().filter(|interface| interface.index != 0).partition(matched);
        let names = |of: Vec<&InterfaceView>| of.into_iter().map(|interface| interface.name.clone()).collect();
        HiddenView {
            tunnels: self.tunnels.view(),
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

    fn status(&mut self) -> Status {
        let now = self.clock.now();
        let site = self.published.site();
        let one_sided = self.shared.is_one_sided();
        let backend = match site.config.capture.backend {
            Backend::Ring => "ring",
            Backend::Pnet => "pnet",
        };
        let known = self.published.counters.interfaces();
        let names = &self.gateway.machine().names;
        let index = |name: &str| names.iter().find(|(_, known)| *known == name).map(|(index, _)| *index);
        let mut devices = Vec::new();
        for name in &site.config.gateway.interfaces {
            let mut renamed = self.gateway.devices().renamed().iter().filter(|renamed| renamed.configured == *name);
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
        let state = self.published.state();
        let (contained, contained_by_order) = state.count(Action::Contain);
        let (isolated, isolated_by_order) = state.count(Action::Isolate);
        let enforce = site.config.gateway.mode == Mode::Enforce;
        let shards = self.published.counters.shard_views();
        let hosts = HostCounts {
            tracked: shards.iter().map(|shard| shard.hosts).sum(),
            watched: self.published.host_table.survey(now, site.detect.decay),
            contained,
            isolated,
            contained_by_order,
            isolated_by_order,
            only_counted: u64::try_from(state.blocks().filter(|block| !state.enforces(block)).count())
                .unwrap_or(u64::MAX),
            held: u64::try_from(state.held_count()).unwrap_or(u64::MAX),
        };
        let link_name = |link| self.responder.settings().link_name(link);
        let (first, total) = self.published.host_table.overlaps(now, OVERLAPS);
        let overlap = |(address, links): (Address, Vec<Link>)| OverlapView {
            address,
            links: links.into_iter().map(link_name).collect(),
        };
        let overlaps = OverlapsView { total, first: first.into_iter().map(overlap).collect() };
        let hidden = self.hidden(&interfaces);
        let packets = |name: &str| self.enforcement.counters().count(name).packets;
        let drops = DropCause::ALL.map(|cause| Drops {
            cause,
            dropped: packets(&format!("{}_dropped", cause.label())),
            would_drop: packets(&format!("{}_would_drop", cause.label())),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: site.config.gateway.mode,
            at: now,
            started: self.started,
            uptime_seconds: now.since(self.started).as_secs(),
            wall_ahead_ms: self.clock.wall_ahead_ms(),
            interfaces,
            shards,
            hosts,
            breaker: BreakerView::of(&self.responder),
            fuse: FuseView {
                enabled: site.config.fuse.enabled,
                drops: site.config.fuse.enabled && enforce,
                limited: packets("fuse_dropped") + packets("fuse_shared_dropped"),
                would_limit: packets("fuse_would_drop") + packets("fuse_shared_would_drop"),
            },
            greylist: GreylistView {
                enabled: site.config.greylist.enabled && site.config.fuse.enabled,
                drops: site.config.greylist.enabled && site.config.fuse.enabled && enforce,
                delayed: packets("greylist_dropped"),
                would_delay: packets("greylist_would_drop"),
                readiness: self.published.servers().readiness.clone(),
            },
            tables: self.published.counters.tables(),
            sets: self
                .enforcement
                .counters()
                .sets
                .iter()
                .map(|set| Occupancy {
                    name: set.set.to_owned(),
                    used: set.elements.into(),
                    capacity: set.size.into(),
                    evicted: 0,
                })
                .collect(),
            store: self.recorder.view(),
            config: self.gateway.view().clone(),
            firewall: FirewallView {
                in_place: self.enforcement.error().is_none(),
                error: self.enforcement.error().map(str::to_owned),
                repairs: self.enforcement.log().repairs().to_vec(),
                deletions: self.enforcement.log().deletions().cloned(),
                drops: drops.to_vec(),
                counted: (!enforce).then(|| Switched::new(state.blocks().map(Block::host).collect(), now)).flatten(),
                switched: self.responder.switched().filter(|_| enforce).cloned(),
            },
            hidden,
            overlaps,
            memory: MemoryView { resident: Usage::now().resident_bytes, bound: bound(&site.config) },
        }
    }
}
