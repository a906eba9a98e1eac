//! One scrape: reads [`Published`] and says it in Prometheus' samples.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::families::{self, FAMILIES, Family};
use crate::capture::busy::BUCKETS;
use crate::detect::Signal;
use crate::published::Published;
use crate::published::counters::{Condition, Feature, Outcome, Unverified};
use crate::published::host_report::Class;
use crate::published::host_table::Standing;
use crate::published::status::{Blindness, Drift, DropCause, InterfaceView, Occupancy, Status};
use crate::respond::Mode;
use crate::sys::process::Usage;
use crate::time::Timestamp;
use crate::wire::frame::{Encapsulation, FragmentKind, TunnelKind, Undecoded};
use crate::wire::smb::Dialect;

/// Shares of the threshold that `firedoor_hosts_near_threshold` counts hosts by, in thousandths.
const NEAR: [(u32, &str); 4] = [(250, "0.25"), (500, "0.5"), (750, "0.75"), (900, "0.9")];

/// Reads [`Published`] at each scrape.
pub(super) struct Exported {
    published: Arc<Published>,
    descs: Vec<Desc>,
}

impl Exported {
    pub(super) fn new(published: Arc<Published>) -> prometheus::Result<Self> {
        let desc = |family: &Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
        };
        Ok(Exported { published, descs: FAMILIES.iter().map(desc).collect::<prometheus::Result<_>>()? })
    }
}

impl Collector for Exported {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut scrape = Scrape::default();
        capture(&mut scrape, &self.published);
        detection(&mut scrape, &self.published);
        near(&mut scrape, &self.published);
        decisions(&mut scrape, &self.published);
        tables(&mut scrape, &self.published);
        daemon(&mut scrape, &self.published);
        scrape.families
    }
}

/// The families of one scrape.
#[derive(Default)]
struct Scrape {
    families: Vec<MetricFamily>,
}

impl Scrape {
    /// A family with its samples; none where there is no sample, which the text format does not know.
    fn put<'a>(&mut self, family: &Family, samples: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        let metrics: Vec<Metric> = samples
            .into_iter()
            .map(|(values, number)| {
                let pair = |(name, value): (&&str, &str)| {
                    let mut pair = LabelPair::default();
                    pair.set_name((*name).to_owned());
                    pair.set_value(value.to_owned());
                    pair
                };
                let mut pairs: Vec<LabelPair> = family.labels.iter().zip(values).map(pair).collect();
                pairs.sort_by(|a, b| a.name().cmp(b.name()));
                let mut metric = Metric::from_label(pairs);
                if family.counter {
                    let mut counter = Counter::default();
                    counter.set_value(number);
                    metric.set_counter(counter);
                } else {
                    let mut gauge = Gauge::default();
                    gauge.set_value(number);
                    metric.set_gauge(gauge);
                }
                metric
            })
            .collect();
        if metrics.is_empty() {
            return;
        }
        let mut out = MetricFamily::default();
        out.set_name(family.name.to_owned());
        out.set_help(family.help.to_owned());
        out.set_field_type(if family.counter { MetricType::COUNTER } else { MetricType::GAUGE });
        out.set_metric(metrics);
        self.families.push(out);
    }

    /// A family without labels.
    fn one(&mut self, family: &Family, number: f64) {
        self.put(family, [(Vec::new(), number)]);
    }
}

/// Prometheus knows only floats: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
const fn float(n: u64) -> f64 {
    n as f64
}

fn signed(n: i64) -> f64 {
    if n < 0 { -float(n.unsigned_abs()) } else { float(n.unsigned_abs()) }
}

fn truth(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// A moment by the machine's clock, as Prometheus compares it with its own; 0 is never.
fn seconds(at: Timestamp, status: &Status) -> f64 {
    if at == Timestamp::ZERO { 0.0 } else { float(at.millis().saturating_add_signed(status.wall_ahead_ms)) / 1000.0 }
}

fn capture(scrape: &mut Scrape, published: &Published) {
    let interfaces = published.counters.interfaces();
    let each = || interfaces.iter().map(|interface| (interface.name.as_str(), interface));
    scrape.put(
        &families::PACKETS,
        each().flat_map(|(name, of)| {
            [(vec![name, "in"], float(of.packets_in.get())), (vec![name, "out"], float(of.packets_out.get()))]
        }),
    );
    scrape.put(&families::KERNEL_DROPS, each().map(|(name, of)| (vec![name], float(of.kernel_drops.get()))));
    let status = published.status();
    let last = |at: u64| seconds(Timestamp::from_nanos(at), &status);
    scrape.put(&families::LAST_PACKET, each().map(|(name, of)| (vec![name], last(of.last_packet.get()))));
    scrape.put(
        &families::BLIND,
        status.interfaces.iter().flat_map(|interface| {
            let blind = interface.blind.as_ref().map(|blind| blind.reason);
            Blindness::ALL.map(|reason| (vec![interface.name.as_str(), reason.label()], truth(blind == Some(reason))))
        }),
    );
    let renamed = |interface: &InterfaceView| interface.now_called.is_some() || interface.formerly.is_some();
    scrape.put(
        &families::RENAMED,
        status.interfaces.iter().map(|interface| (vec![interface.name.as_str()], truth(renamed(interface)))),
    );
    let shards: Vec<(String, f64)> = published
        .counters
        .shard_views()
        .iter()
        .map(|shard| (shard.shard.to_string(), seconds(shard.alive, &status)))
        .collect();
    scrape.put(&families::SHARD_ALIVE, shards.iter().map(|(shard, alive)| (vec![shard.as_str()], *alive)));
    let undecoded = |reason: Undecoded| published.counters.sum(|shard| shard.undecoded.get(reason as usize));
    scrape.put(&families::UNDECODED, Undecoded::ALL.map(|reason| (vec![reason.label()], float(undecoded(reason)))));
    kinds(scrape, published);
    scrape.one(&families::QUEUE_DROPS, float(published.counters.sum(|shard| shard.queue_drops.get())));
}

/// What frames were, by kind.
fn kinds(scrape: &mut Scrape, published: &Published) {
    let counters = &published.counters;
    let others = float(counters.other_ethertypes().get());
    let unread: Vec<(String, f64)> = counters
        .unread()
        .into_iter()
        .map(|(ethertype, count)| (format!("{ethertype:#06x}"), float(count)))
        .chain([("other".to_owned(), others)])
        .collect();
    scrape.put(&families::UNREAD, unread.iter().map(|(ethertype, count)| (vec![ethertype.as_str()], *count)));
    let fragments = |kind: FragmentKind| float(counters.sum(|shard| shard.fragments.get(kind as usize)));
    scrape.put(&families::FRAGMENTS, FragmentKind::ALL.map(|kind| (vec![kind.label()], fragments(kind))));
    let opened = |kind: TunnelKind| float(counters.sum(|shard| shard.tunnels_opened.get(kind as usize)));
    let closed = |kind: TunnelKind| float(counters.sum(|shard| shard.tunnels_closed.get(kind as usize)));
    scrape.put(
        &families::TUNNELLED,
        TunnelKind::ALL
            .into_iter()
            .flat_map(|kind| [(vec![kind.label(), "true"], opened(kind)), (vec![kind.label(), "false"], closed(kind))]),
    );
    let encapsulated = |at: usize| float(counters.sum(|shard| shard.encapsulated.get(at)));
    scrape.put(
        &families::ENCAPSULATED,
        (0..).zip(Encapsulation::ALL).map(|(at, kind)| (vec![kind.label()], encapsulated(at))),
    );
    let buckets = counters.shard_views().len() * BUCKETS;
    let sampled = float(counters.sum(|shard| shard.sampled.get()));
    scrape.one(&families::SAMPLED, sampled / float(u64::try_from(buckets).unwrap_or(u64::MAX).max(1)));
}

fn detection(scrape: &mut Scrape, published: &Published) {
    let counters = &published.counters;
    let outcome = |at: Outcome| float(counters.sum(|shard| shard.first_contacts.get(at as usize)));
    scrape.put(&families::FIRST_CONTACTS, Outcome::ALL.iter().map(|at| (vec![at.label()], outcome(*at))));
    let evidence = |at: Signal| float(counters.sum(|shard| shard.evidence.get(at as usize)));
    scrape.put(&families::EVIDENCE, Signal::ALL.iter().map(|at| (vec![at.label()], evidence(*at))));
    let unverified = |at: Unverified| float(counters.sum(|shard| shard.unverified.get(at as usize)));
    scrape.put(&families::UNVERIFIED, Unverified::ALL.iter().map(|at| (vec![at.label()], unverified(*at))));
    scrape.one(&families::NEAR_MISSES, float(published.host_table.near_misses()));
    let negotiated = |at: usize| float(counters.sum(|shard| shard.dialects.get(at)));
    scrape.put(&families::SMB_NEGOTIATIONS, Dialect::ALL.map(|at| (vec![at.label()], negotiated(at as usize))));
    let used = |at: Feature| float(counters.sum(|shard| shard.smb_features.get(at as usize)));
    scrape.one(&families::SMB_ENCRYPTED, used(Feature::Encryption));
    scrape.one(&families::SMB_SIGNED, float(counters.sum(|shard| shard.smb_signed.get())));
    scrape.one(&families::SMB_COMPRESSED, used(Feature::Compression));
    let agreed = |at: Feature| float(counters.sum(|shard| shard.smb_negotiated.get(at as usize)));
    scrape.put(&families::SMB_NEGOTIATED, Feature::ALL.map(|at| (vec![at.label()], agreed(at))));
    let condition = |at: Condition| float(counters.sum(|shard| shard.smb_conditions.get(at as usize)));
    scrape.put(&families::SMB_CONDITIONS, Condition::ALL.map(|at| (vec![at.label()], condition(at))));
}

/// What is read off the host table, in one pass.
fn near(scrape: &mut Scrape, published: &Published) {
    let config = published.config();
    let windows = |class, windows: &[crate::detect::settings::Window]| -> Vec<(Class, u64, String)> {
        windows.iter().map(|window| (class, window.length.as_secs(), format!("{}s", window.length.as_secs()))).collect()
    };
    let mut keys = windows(Class::Lateral, &config.detect.lateral_windows);
    keys.extend(windows(Class::Any, &config.detect.any_windows));
    let mut fill = vec![0.0f64; keys.len()];
    let now = published.status().at;
    let mut smb1 = 0;
    let mut nearest = 0;
    let mut near = [0u64; NEAR.len()];
    let mut dialects = [0u64; Dialect::ALL.len()];
    published.host_table.each(|_, line| {
        for (at, hosts) in dialects.iter_mut().enumerate() {
            *hosts += u64::from((line.smb.client | line.smb.server) >> at & 1);
        }
        smb1 += u64::from(line.smb.smb1());
        let Some(report) = &line.report else { return };
        if line.standing.is_some_and(Standing::acted) {
            return;
        }
        let nearness = report.nearness_at(now, config.detect.decay);
        nearest = nearest.max(nearness);
        for ((least, _), hosts) in NEAR.iter().zip(&mut near) {
            *hosts += u64::from(nearness >= *least);
        }
        let age = now.since(report.at);
        for window in report.windows.iter().filter(|window| age.as_secs() < window.seconds) {
            let at = keys.iter().position(|(class, secs, _)| (*class, *secs) == (window.class, window.seconds));
            if let Some(fullest) = at.and_then(|at| fill.get_mut(at)) {
                *fullest = fullest.max(f64::from(window.count) / f64::from(window.limit.max(1)));
            }
        }
    });
    scrape.one(&families::SMB1_HOSTS, float(smb1));
    scrape.one(&families::NEAREST, f64::from(nearest) / 1000.0);
    scrape.put(&families::NEAR_HOSTS, NEAR.iter().zip(near).map(|((_, label), hosts)| (vec![*label], float(hosts))));
    scrape.put(
        &families::WINDOW_FILL,
        keys.iter().zip(fill).map(|((class, _, length), fill)| (vec![class.label(), length.as_str()], fill)),
    );
    scrape.put(
        &families::SMB_HOSTS,
        Dialect::ALL.iter().zip(dialects).map(|(name, hosts)| (vec![name.label()], float(hosts))),
    );
}

fn decisions(scrape: &mut Scrape, published: &Published) {
    let status = published.status();
    scrape.one(&families::TRACKED, float(status.hosts.tracked));
    scrape.one(&families::WATCHED, float(status.hosts.watched));
    let now = status.mode;
    let acted = |all: u64, ordered: u64| {
        [("true", Mode::Enforce), ("false", Mode::Monitor)].into_iter().flat_map(move |(label, mode)| {
            let of = |count: u64| float(if now == mode { count } else { 0 });
            [(vec!["alarm", label], of(all.saturating_sub(ordered))), (vec!["order", label], of(ordered))]
        })
    };
    let hosts = &status.hosts;
    scrape.put(&families::CONTAINED, acted(hosts.contained, hosts.contained_by_order).collect::<Vec<_>>());
    scrape.put(&families::ISOLATED, acted(hosts.isolated, hosts.isolated_by_order).collect::<Vec<_>>());
    scrape.one(&families::HELD, float(status.hosts.held));
    scrape.one(&families::BREAKER_TRIPPED, truth(status.breaker.tripped.is_some()));
    scrape.one(&families::BREAKER_ZONES, float(u64::try_from(status.breaker.zones.len()).unwrap_or(u64::MAX)));
    scrape.one(&families::BREAKER_TRIPS, float(status.breaker.trips));
    let firewall = &status.firewall;
    let drops = || DropCause::ALL.map(|cause| (vec![cause.label()], firewall.drops_by(cause)));
    scrape.put(&families::DROPPED, drops().map(|(label, (dropped, _))| (label, float(dropped))));
    scrape.put(&families::WOULD_DROP, drops().map(|(label, (_, would))| (label, float(would))));
    scrape.put(
        &families::FUSE,
        [(vec!["dropped"], float(status.fuse.limited)), (vec!["would_drop"], float(status.fuse.would_limit))],
    );
    let greylist = &status.greylist;
    scrape.put(
        &families::GREYLIST,
        [(vec!["dropped"], float(greylist.delayed)), (vec!["would_drop"], float(greylist.would_delay))],
    );
    scrape.one(&families::RULESET_IN_PLACE, truth(firewall.in_place));
    scrape.one(&families::TABLE_DELETIONS, float(firewall.deletions.as_ref().map_or(0, |deletions| deletions.count)));
    let repairs = |kind| firewall.repairs.iter().find(|repairs| repairs.kind == kind).map_or(0, |found| found.count);
    scrape.put(&families::RULESET_REPAIRS, Drift::ALL.map(|kind| (vec![kind.label()], float(repairs(kind)))));
}

fn tables(scrape: &mut Scrape, published: &Published) {
    let status = published.status();
    scrape.put(&families::SET_ELEMENTS, status.sets.iter().map(|set| (vec![set.name.as_str()], float(set.used))));
    scrape.put(&families::SET_CAPACITY, status.sets.iter().map(|set| (vec![set.name.as_str()], float(set.capacity))));
    let mut tables = published.counters.tables();
    tables.push(published.host_table.occupancy());
    let each =
        |of: fn(&Occupancy) -> u64| tables.iter().map(move |table| (vec![table.name.as_str()], float(of(table))));
    scrape.put(&families::TABLE_ENTRIES, each(|table| table.used));
    scrape.put(&families::TABLE_CAPACITY, each(|table| table.capacity));
    scrape.put(&families::TABLE_EVICTIONS, each(|table| table.evicted));
}

fn daemon(scrape: &mut Scrape, published: &Published) {
    let status = published.status();
    scrape.put(&families::BUILD_INFO, [(vec![status.version.as_str()], 1.0)]);
    scrape.one(&families::ENFORCING, truth(status.mode == Mode::Enforce));
    scrape.one(&families::CLOCK_AHEAD, signed(status.wall_ahead_ms) / 1000.0);
    scrape.one(&families::SNAPSHOT, seconds(status.at, &status));
    let config = &status.config;
    scrape
        .put(&families::RELOADS, [(vec!["ok"], float(config.reloads)), (vec!["failed"], float(config.failed_reloads))]);
    scrape.one(&families::CONFIG_LOADED, seconds(config.loaded_at, &status));
    scrape.one(&families::CONFIG_CURRENT, truth(config.last_error.is_none()));
    scrape.put(
        &families::STORE_RECORDS,
        [(vec!["written"], float(status.store.written)), (vec!["lost"], float(status.store.lost))],
    );
    scrape.one(&families::STORE_WAITING, float(status.store.waiting));
    scrape.one(&families::LOG_SUPPRESSED, float(crate::log::suppressed()));
    let usage = Usage::now();
    // As it was: an alert counts its changes, and clocks are always being corrected a little.
    scrape.one(&families::PROCESS_START, float(status.started.millis()) / 1000.0);
    let maybe = |number: Option<f64>| number.map(|number| (Vec::new(), number));
    scrape.put(&families::PROCESS_CPU, maybe(usage.cpu_seconds));
    scrape.put(&families::PROCESS_MEMORY, maybe(usage.resident_bytes.map(float)));
    scrape.put(&families::PROCESS_THREADS, maybe(usage.threads.map(float)));
    scrape.put(&families::PROCESS_FILES, maybe(usage.open_files.map(float)));
}
