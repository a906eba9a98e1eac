//! A daemon's outside without its inside: the real API and metrics, over figures that a test has put up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use firedoor::api::orders::{Done, Order, Refusal, Request};
use firedoor::api::{self, socket};
use firedoor::config::model::Config;
use firedoor::detect::counters::{Counters as Detected, Outcome};
use firedoor::evidence::{Attachment, Detail, Evidence, Grade, Score, Signal};
use firedoor::inspect::Condition;
use firedoor::metrics::{Metrics, exporter};
use firedoor::published::Published;
use firedoor::published::counters::Table;
use firedoor::published::greylist::Readiness;
use firedoor::published::host_report::{Class, HostReport, WindowFill};
use firedoor::published::status::{
    BlindView, Blindness, BreakerView, ConfigView, Drift, DropCause, Drops, FirewallView, FuseView, GreylistView,
    HiddenView, HostCounts, InterfaceView, Occupancy, OverlapView, OverlapsView, Repairs, Status, StoreView,
    TunnelView,
};
use firedoor::respond::{
    Action, Block, By, Decision, EvidenceRecord, Exempted, Held, Mode, Refused, Responder, Verdict,
};
use firedoor::site::{Machine, Site};
use firedoor::suspect::Suspect;
use firedoor::time::Timestamp;
use firedoor::wire::smb::Dialect;
use firedoor::wire::{Address, Link, Mac};
use tokio::sync::watch;

/// A running stand-in; stops when dropped.
pub struct StandIn {
    /// What it shows.
    pub published: Arc<Published>,
    /// Its admin socket.
    pub socket: PathBuf,
    /// Where it serves metrics.
    pub metrics: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl StandIn {
    /// With an outbreak's figures.
    pub fn start() -> StandIn {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("firedoor.sock");
        let published = Arc::new(Published::new(Arc::new(Site::new(&config(), &Machine::default()))));
        outbreak(&published);
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn({
            let (published, path) = (Arc::clone(&published), path.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let (orders, mut inbox) = tokio::sync::mpsc::channel::<Request>(8);
                    let listener = socket::bind(&path, None).unwrap();
                    let api = api::spawn(listener, Arc::clone(&published), orders, Some(0), stopped.clone()).unwrap();
                    let listener = exporter::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                    ready.send(listener.local_addr().unwrap()).unwrap();
                    let metrics = Metrics::new(&published).unwrap();
                    let exporter = exporter::spawn(listener, published, metrics, stopped).unwrap();
                    while let Some(Request { order, by, reply }) = inbox.recv().await {
                        let _ = reply.send(answer(&order, &by));
                    }
                    let _ = tokio::join!(api, exporter);
                });
            }
        });
        let metrics = is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
        StandIn { published, socket: path, metrics, stop, thread: Some(thread), _directory: directory }
    }
}

fn answer(order: &Order, by: &str) -> Result<Done, Refusal> {
    match order {
        Order::Release { .. } => Err(Refusal::Refused(Refused::NotActedOn(address(99)))),
        Order::Reload => Err(Refusal::Reload("line 3: mod is no key".to_owned())),
        order => Ok(Done { message: format!("{by}: {}", order.kind().label()), decisions: Vec::new() }),
    }
}

/// 10.0.0.N.
pub fn address(n: u8) -> Address {
    Address::v4([10, 0, 0, n])
}

/// This machine's time, as a daemon would show it.
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap())
}

fn config() -> Config {
    let mut config = Config::default();
    config.gateway.mode = Mode::Enforce;
    config.respond.never_contain = firedoor::wire::Networks::new(vec!["10.0.0.200/29".parse().unwrap()]);
    config
}

fn evidence(at: Timestamp, n: u8) -> Evidence {
    Evidence {
        signal: Signal::Dark,
        at,
        peer: address(n),
        port: 445,
        weight: Score(3300),
        detail: Detail::Silent { after_ms: 300 },
    }
}

fn report(at: Timestamp, score: i32, n: u8) -> HostReport {
    HostReport {
        at,
        seen: at,
        attachment: Attachment { interface: 2, vlan: 12, inner_vlan: 0, mac: Mac([2, 0, 0, 0, 0, n]) },
        score: Score(score),
        threshold: Score(9900),
        destinations: 4,
        windows: vec![WindowFill { class: Class::Lateral, seconds: 3600, count: 4, limit: 60 }],
        evidence: vec![evidence(at, 40), evidence(at, 41)],
        ..HostReport::default()
    }
}

/// Puts up the figures of an outbreak: every metric has something to show.
pub fn outbreak(published: &Published) {
    let now = now();
    let shard = published.counters.shard(0).unwrap();
    shard.packets.add(123_456);
    let mut detected = Detected::default();
    detected.outcomes[Outcome::Silent as usize] = 40;
    detected.outcomes[Outcome::Answered as usize] = 400;
    detected.evidence[Signal::Dark as usize] = 12;
    shard.detected.store(Arc::new(detected));
    shard.undecoded.add(0, 3);
    shard.alive.set(now.nanos());
    for (table, used, capacity) in [(Table::Hosts, 1204, 65_536), (Table::Contacts, 900_000, 1_048_576)] {
        shard.used.set(table as usize, used);
        shard.capacity.set(table as usize, capacity);
    }
    let eth0 = published.counters.interface("eth0");
    eth0.packets_in.add(123_456);
    eth0.packets_out.add(1234);
    eth0.last_packet.set(now.nanos());
    published.control_counters.enforced(Duration::from_micros(1800));

    published.host_table.try_publish(address(7), report(now, 10_100, 7));
    published.host_table.try_publish(address(8), report(now, 6600, 8));
    published
        .host_table
        .try_publish(address(201), HostReport { exposed_by: Some(address(7)), ..report(now, 1100, 201) });
    published.host_table.speaks(address(8), true, Dialect::NtLm012, false, false);
    published.host_table.speaks(address(8), false, Dialect::Smb311, true, false);
    published.host_table.gave_away(address(8), Condition::Unpatched, now);
    let decision = |host, decision, enforced, reason: &str| {
        let suspect = Suspect::address(Link::default(), host);
        Arc::new(Decision {
            score: Score(10_100),
            threshold: Score(9900),
            destinations: 4,
            grade: Some(Grade::Scan),
            signal: Some(Signal::Dark),
            until: (decision == Verdict::Contain).then_some(now + Duration::from_secs(600)),
            step: u8::from(enforced),
            enforced,
            evidence: vec![EvidenceRecord::from(&evidence(now, 40))],
            ..Decision::without_alarm(now, suspect, host, decision, reason.to_owned())
        })
    };
    published.record(&decision(address(8), Verdict::Watch, false, "half way to an alarm: dark"));
    let contain = decision(address(7), Verdict::Contain, true, "spreads like a worm: dark");
    published.record(&contain);
    let hold = decision(address(9), Verdict::Hold, false, "would contain: dark; held, because the breaker tripped");
    published.record(&hold);
    let entry = Exempted {
        network: "10.0.0.250/32".parse().unwrap(),
        by: "ana".to_owned(),
        at: now,
        reason: "theatre 3".to_owned(),
    };
    let mut responder = Responder::new(published.site().respond.clone());
    responder.restore(Block::new(contain).unwrap(), &mut Vec::new());
    responder.restore_held(Held { id: 3, action: Action::Contain, decision: hold });
    responder.order_exempt(entry, &By::Operator("ana".to_owned()), now, &mut Vec::new()).unwrap();
    published.set_state(responder.state());
    published.set_ruleset("table inet firedoor {\n}\n".to_owned());
    published.set_status(status(published, now));
}

fn status(published: &Published, now: Timestamp) -> Status {
    let blind = BlindView { reason: Blindness::OneWay, since: now, detail: "60 attempts, no answer seen".to_owned() };
    let interface = |name: &str, index, blind| InterfaceView {
        name: name.to_owned(),
        index,
        backend: "ring".to_owned(),
        packets_in: 123_456,
        packets_out: 1234,
        kernel_drops: 0,
        last_packet: Some(now),
        blind,
        ..InterfaceView::default()
    };
    let set = |name: &str, used, capacity| Occupancy { name: name.to_owned(), used, capacity, evicted: 0 };
    Status {
        mode: Mode::Enforce,
        at: now,
        started: now - Duration::from_secs(90_061),
        uptime_seconds: 90_061,
        interfaces: vec![interface("eth0", 2, None), interface("eth1", 3, Some(blind))],
        shards: published.counters.shard_views(),
        hosts: HostCounts {
            tracked: 1204,
            held: 1,
            contained: 1,
            watched: published.host_table.survey(now, Duration::from_secs(600)),
            ..HostCounts::default()
        },
        breaker: BreakerView {
            tripped: Some(now),
            reason: Some("60 decisions within a minute".to_owned()),
            rearms_at: Some(now + Duration::from_secs(600)),
            now: 1,
            most_at_once: 200,
            last_minute: 60,
            most_a_minute: 60,
            trips: 1,
            whole: true,
            zones: Vec::new(),
        },
        fuse: FuseView { enabled: true, drops: true, limited: 13_402, would_limit: 0 },
        greylist: GreylistView {
            enabled: true,
            drops: true,
            delayed: 61,
            would_delay: 0,
            readiness: Readiness::default(),
        },
        tables: published.counters.tables(),
        sets: vec![set("contacts4", 950_000, 1_048_576), set("acted4", 1, 65_536)],
        store: StoreView { path: Some("/var/lib/firedoor/history.db".to_owned()), written: 42, ..StoreView::default() },
        config: ConfigView { path: "/etc/firedoor/firedoor.toml".to_owned(), loaded_at: now, ..ConfigView::default() },
        firewall: FirewallView {
            in_place: true,
            repairs: vec![Repairs { kind: Drift::Table, count: 2, last: now }],
            drops: vec![
                Drops { cause: DropCause::Contain, dropped: 512, would_drop: 0 },
                Drops { cause: DropCause::Fragment, dropped: 2, would_drop: 0 },
            ],
            ..FirewallView::default()
        },
        hidden: HiddenView {
            tunnels: vec![TunnelView {
                kind: "sctp".to_owned(),
                host: address(7),
                link: "eth0.12".to_owned(),
                peer: address(40),
                since: now,
            }],
            fragments: 3,
            tags: 70,
            pppoe: 4,
            by_card: vec!["eth0".to_owned()],
            unmatched: vec!["eth1".to_owned()],
        },
        overlaps: OverlapsView {
            total: 1,
            first: vec![OverlapView { address: address(8), links: vec!["eth0.12".to_owned(), "eth1".to_owned()] }],
        },
        ..Status::default()
    }
}
