//! The long run: a busy gateway on which something goes wrong every minute, and which must not wear out.
//!
//! `FIREDOOR_SOAK_MINUTES` (1 unless set) of [`Load`] at `FIREDOOR_SOAK_RATE` packets a second (50,000 in an optimised
//! build, 8,000 else), in rounds of a minute (of ten seconds if there are fewer than ten minutes). Each round has a new
//! worm that must be contained, drift (somebody flushes, empties or deletes what is ours), a reload with other settings,
//! and a `kill -9`. A second run of a third of the time leaves the daemon alive, so that its memory can be watched for
//! longer. Probers send throughout.
//!
//! Judged from outside the daemon every two seconds: its memory and descriptors from /proc, the sizes of its files,
//! whom the kernel acts on (by nft) and what the history holds. Nobody who is contained may be missing from kernel or
//! history before its time is over. The samples go to `FIREDOOR_SOAK_SAMPLES`, a folder, as CSV and as a picture.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use firedoor::lab::counter::now;
use firedoor::lab::listener;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::published::status::Drift;
use firedoor::respond::{Decision, Verdict};
use firedoor::store::Store;
use firedoor::time::Timestamp;
use firedoor::wire::Address;

use crate::load::Load;
use crate::prober::{Log, Probe};
use crate::record::{self, Sample};
use crate::reload::edit;
use crate::site::{self, Site};
use crate::vitals::{self, Traffic, Vitals};

/// A sample is taken this often.
const EVERY: Duration = Duration::from_secs(2);
/// What somebody takes out of the kernel is back within this: the promise.
const RIGHT: Duration = Duration::from_secs(1);
/// What passes so soon after a harm is put down to it.
const AFTER_HARM: Duration = Duration::from_secs(5);
/// A decision whose time is over by less than this may be found either way.
const SLACK: Duration = Duration::from_secs(3);
/// The write-ahead log is folded into the database at 4 MB; it may be so large.
const LOG_BYTES: u64 = 8 << 20;
/// The most that memory may rise, fitted over what follows the warm-up, in bytes a minute.
const SLOPE: f64 = 512.0 * 1024.0;

/// What happened, counted.
#[derive(Debug, Default)]
struct Tally {
    worms: u32,
    drifts: u32,
    reloads: u32,
    kills: u32,
    checks: u32,
    longest_repair: Duration,
    longest_start: Duration,
    longest_write: Duration,
}

/// A run under way.
struct Soak {
    site: Site,
    begun: Instant,
    started: Instant,
    life: u32,
    sampled: Instant,
    carried: Traffic,
    samples: Vec<Sample>,
    /// Who got contained, and when that was decided.
    contained: BTreeMap<IpAddr, Timestamp>,
    /// When somebody else harmed the table.
    harms: Vec<Instant>,
    tally: Tally,
    lost: Vec<String>,
}

/// Decisions about a host, latest first.
fn history_of(store: &Store, host: IpAddr) -> Vec<Decision> {
    store.of(Address::from(host), 50).unwrap()
}

impl Soak {
    fn history(&self) -> PathBuf {
        self.site.directory.path().join("history.db")
    }

    /// Who must be contained now, by the history: whoever was, and neither outlived it nor was released by its end.
    fn check(&mut self) {
        self.tally.checks += 1;
        let store = Store::open_to_read(&self.history()).unwrap();
        let acted: Vec<IpAddr> = store.acted().unwrap().iter().map(|case| case.host.ip()).collect();
        let kernel = self.site.in_kernel();
        let now = now();
        let mut complain = |text: String| {
            eprintln!("LOST: {text}");
            self.lost.push(text);
        };
        for (host, since) in &self.contained {
            let mut acts = history_of(&store, *host);
            acts.retain(|act| {
                matches!(act.decision, Verdict::Contain | Verdict::Isolate | Verdict::Release) && act.at >= *since
            });
            // Oldest first: each release must come at the end of what it releases from.
            acts.reverse();
            let mut standing: Option<&Decision> = None;
            for act in &acts {
                if act.decision == Verdict::Release {
                    let due = standing.and_then(|act| act.until);
                    if due.is_none_or(|due| act.at + Duration::from_secs(1) < due) {
                        complain(format!("{host} was released at {} and not at {due:?}: {}", act.at, act.reason));
                    }
                }
                standing = (act.decision != Verdict::Release).then_some(act);
            }
            let Some(first) = acts.first() else {
                complain(format!("{host} has no decision in the history any more"));
                continue;
            };
            if first.at != *since || first.decision == Verdict::Release {
                complain(format!("{host}: its first decision is gone from the history"));
            }
            let (remembered, dropped) = (acted.contains(host), kernel.contains(host));
            let Some(act) = standing else { continue };
            if act.until.is_none_or(|until| now + SLACK < until) && !(remembered && dropped) {
                complain(format!(
                    "{host} is contained until {:?}; history: {remembered}, kernel: {dropped}",
                    act.until
                ));
            }
            if act.until.is_some_and(|until| until + SLACK * 4 < now) {
                complain(format!("{host} was contained until {:?}, and nobody released or renewed it", act.until));
            }
        }
    }

    fn sample(&mut self) {
        let took = self.sampled.elapsed();
        if took < EVERY {
            return;
        }
        self.sampled = Instant::now();
        let carried = Traffic::through(&self.site);
        let since = carried.since(&self.carried);
        self.carried = carried;
        let history = self.history();
        let status = self.site.status();
        let rate = |count: u64| count as f64 / took.as_secs_f64();
        self.samples.push(Sample {
            at: self.begun.elapsed().as_secs_f64(),
            age: self.started.elapsed().as_secs_f64(),
            life: self.life,
            vitals: Vitals::of(self.site.daemon().pid()),
            history: vitals::size(&history),
            ahead: vitals::size(&history.with_extension("db-wal")),
            inward: rate(since.all_in),
            outward: rate(since.all_out),
            ring_lost: status.interfaces.iter().map(|interface| interface.kernel_drops).sum(),
            in_kernel: self.site.in_kernel().len(),
        });
    }

    /// Samples until then.
    fn idle(&mut self, until: Instant) {
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.sample();
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
    }

    fn infect(&mut self, number: u8) {
        let order = Order { rate: 20.0, ..Order::new(Kind::Wannacry, number.into()) };
        let worm = Worm::release(&self.site.scene.network, number, order).unwrap();
        let host = self.site.infected(number);
        let asked = Instant::now();
        while self.site.decisions(host, Verdict::Contain).is_empty() {
            assert!(asked.elapsed() < Duration::from_secs(15), "{host} was not contained");
            std::thread::sleep(Duration::from_millis(50));
        }
        let act = self.site.decisions(host, Verdict::Contain).remove(0);
        worm.end().unwrap();
        // The kernel waits a quarter of a second for the disk, and no longer: a busy machine's may be slower.
        let written = || {
            let store = Store::open_to_read(&self.history()).unwrap();
            history_of(&store, host).iter().any(|known| known.at == act.at)
        };
        let took = site::until("the history has the decision", written);
        self.tally.longest_write = self.tally.longest_write.max(took);
        self.contained.insert(host, act.at);
        self.tally.worms += 1;
    }

    fn drift(&mut self, round: u32) {
        let newest = self.contained.iter().max_by_key(|(_, at)| **at).map(|(host, _)| *host).unwrap();
        let element = format!("{{ {} }}", Site::in_office(newest));
        let ways: [(&[&str], Drift); 6] = [
            (&["flush", "ruleset"], Drift::Table),
            (&["delete", "element", "inet", "firedoor", "acted4", &element], Drift::Element),
            (&["delete", "chain", "inet", "firedoor", "door"], Drift::Rule),
            (&["flush", "chain", "inet", "firedoor", "contain4"], Drift::Rule),
            (&["flush", "map", "inet", "firedoor", "acted4"], Drift::Element),
            (&["delete", "table", "inet", "firedoor"], Drift::Table),
        ];
        let (command, kind) = &ways[usize::try_from(round).unwrap() % ways.len()];
        let before = self.site.repairs(*kind);
        let mut kernel = self.site.in_kernel();
        let begun = Instant::now();
        self.harms.push(begun);
        self.site.nft(command);
        site::until(&format!("the repair after {command:?} is counted"), || self.site.repairs(*kind) > before);
        let took = begun.elapsed();
        eprintln!("{command:?}: repaired when asked after {took:.1?}");
        self.tally.longest_repair = self.tally.longest_repair.max(took);
        let after = self.site.in_kernel();
        kernel.retain(|host| !after.contains(host));
        // Those whose time ran out just then are missed by nobody: the check that follows knows.
        if !kernel.is_empty() {
            eprintln!("{command:?}: {kernel:?} are not back, or their time is over");
        }
        self.tally.drifts += 1;
    }

    fn reload(&mut self, round: u32) {
        let odd = round % 2 == 1;
        let before = self.site.status().config.reloads;
        edit(
            &self.site,
            "services",
            "lateral",
            if odd { vec![22, 135, 139, 445, 3389] } else { vec![22, 445, 3389, 8445] },
        );
        edit(
            &self.site,
            "networks",
            "never_contain",
            if odd { vec!["10.66.0.20"] } else { vec!["10.66.0.21", "10.66.2.32/28"] },
        );
        edit(&self.site, "detect", "decay", if odd { "9m" } else { "11m" });
        site::signal(self.site.daemon().pid(), "HUP");
        site::until("the reload is in force", || self.site.status().config.reloads > before);
        self.tally.reloads += 1;
    }

    fn kill(&mut self) {
        self.site.kill();
        let (kernel, store) = (self.site.in_kernel(), Store::open_to_read(&self.history()).unwrap());
        for host in &kernel {
            if history_of(&store, *host).is_empty() {
                self.lost.push(format!("{host} was in the kernel at a kill, and not in the history"));
            }
        }
        drop(store);
        std::thread::sleep(Duration::from_millis(300));
        let took = self.site.start();
        self.started = Instant::now();
        self.life += 1;
        self.tally.longest_start = self.tally.longest_start.max(took);
        self.tally.kills += 1;
    }

    /// Lines of the daemon's log that report an error.
    fn errors(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.site.directory.path().join("log")).unwrap_or_default();
        text.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
    }
}

/// Nothing that came into the gateway was stopped there.
fn undisturbed(name: &str, log: &Log) {
    let (lost, stopped) = (log.lost().len(), log.stopped().len());
    eprintln!(
        "{name}: {} sent, {} came into the gateway, {stopped} stopped there, {lost} lost in all",
        log.sent(),
        log.entered()
    );
    assert_eq!(log.overheard(), 0, "{name}: a listener lost frames, so nothing is proved");
    assert_eq!(stopped, 0, "{name}: packets that came into the gateway did not leave it");
}

fn soak(name: &str, seconds: u64, round: Duration, kills: bool) {
    let rate = vitals::figure("FIREDOOR_SOAK_RATE", if cfg!(debug_assertions) { 8_000 } else { 50_000 });
    let rounds = u32::try_from((seconds / round.as_secs()).max(2)).unwrap();
    let hosts = u8::try_from(rounds + 2).unwrap().min(43);
    // In a short run a containment ends soon enough for its end to be seen.
    let brief = round < Duration::from_secs(60);
    let site = Site::new(81, hosts, |setup| {
        if brief {
            setup.with("respond", "ladder", vec!["20s", "1h"]).with("respond", "quiet_before_release", "5s")
        } else {
            setup
        }
    });
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    // The last infected host forges and plays the clients. The first is contained by order, until released, and sends on
    // trying: what passes of that is known to the millisecond.
    let load = Load::start(&site, rate, hosts - 1, 81);
    let forbidden = Probe::forbidden(&site, 0);
    let (uninvolved, clinical) = (Probe::uninvolved(&site), Probe::clinical(&site, 0));
    let squeezed = vitals::backlog_drops();
    let carried = Traffic::through(&site);
    let begun = Instant::now();
    let mut soak = Soak {
        site,
        begun,
        started: begun,
        life: 0,
        sampled: begun,
        carried,
        samples: Vec::new(),
        contained: BTreeMap::new(),
        harms: Vec::new(),
        tally: Tally::default(),
        lost: Vec::new(),
    };
    let first = soak.site.infected(0);
    soak.site.contain(first);
    let shut = Instant::now();
    site::until("the history has the order", || soak.site.status().store.waiting == 0);
    soak.contained.insert(first, soak.site.decisions(first, Verdict::Contain).remove(0).at);
    for number in 0..rounds {
        let base = begun + round * number;
        let worm = u8::try_from(number + 1).unwrap();
        if worm + 1 < hosts {
            soak.infect(worm);
        }
        soak.check();
        soak.idle(base + round / 4);
        soak.drift(number);
        soak.check();
        soak.idle(base + round / 2);
        soak.reload(number);
        soak.check();
        soak.idle(base + round * 3 / 4);
        if kills {
            soak.kill();
            soak.check();
        }
        soak.idle(base + round);
    }
    soak.check();
    let took = begun.elapsed();
    let total = Traffic::through(&soak.site).since(&carried);
    let status = soak.site.status();
    let sent = load.sent();
    drop(load);
    let (uninvolved, clinical, forbidden) = (uninvolved.end(), clinical.end(), forbidden.end());

    let folder = std::env::var_os("FIREDOOR_SOAK_SAMPLES").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.csv")), record::csv(&soak.samples)).unwrap();
    record::draw(&soak.samples, &folder.join(format!("{name}.svg")));

    // Each life warms up alike, so lives are compared at the same age; one life is fitted behind its warm-up.
    let minutes = |sample: &Sample| sample.at / 60.0;
    let steady: Vec<&Sample> = if kills {
        soak.samples.iter().filter(|sample| sample.life > 0 && sample.age >= round.as_secs_f64() / 2.0).collect()
    } else {
        soak.samples.iter().filter(|sample| sample.at >= took.as_secs_f64() / 2.0).collect()
    };
    let memory: Vec<(f64, f64)> = steady.iter().map(|s| (minutes(s), s.vitals.resident as f64)).collect();
    let rise = record::slope(&memory);
    let resident =
        |pick: fn(f64, f64) -> f64, from: f64| soak.samples.iter().map(|s| s.vitals.resident as f64).fold(from, pick);
    let (first, last) = (soak.samples.first().unwrap(), soak.samples.last().unwrap());
    let descriptors: Vec<u64> = steady.iter().map(|sample| sample.vitals.descriptors).collect();
    let ahead = soak.samples.iter().map(|sample| sample.ahead).max().unwrap();
    let acts = Store::open_to_read(&soak.history()).unwrap().recent(1_000_000).unwrap();
    let decided = acts.len();
    let ring: u64 = soak.samples.iter().map(|sample| sample.ring_lost).max().unwrap();
    let rate_of = |count: u64| count as f64 / took.as_secs_f64();
    eprintln!("{name}: {took:.0?}, {:?}", soak.tally);
    eprintln!(
        "packets sent {:.0}/s, into the gateway {:.0}/s, out of it {:.0}/s; lost in the machine's full queues {}",
        rate_of(sent),
        rate_of(total.all_in),
        rate_of(total.all_out),
        vitals::backlog_drops() - squeezed
    );
    eprintln!(
        "resident: {:.0} MB at first, {:.0} at the end, {:.0} to {:.0} in all, rising {:.3} MB a minute when warm; bound {} MB",
        first.vitals.resident as f64 / 1e6,
        last.vitals.resident as f64 / 1e6,
        resident(f64::min, f64::MAX) / 1e6,
        resident(f64::max, 0.0) / 1e6,
        rise / 1e6,
        status.memory.bound / 1_000_000
    );
    eprintln!(
        "descriptors {:?} to {:?}; history {} to {} kB for {decided} decisions, its log {} kB at most; ring lost {ring} at most in a life",
        descriptors.iter().min(),
        descriptors.iter().max(),
        first.history >> 10,
        last.history >> 10,
        ahead >> 10
    );
    let errors = soak.errors();
    eprintln!(
        "{} lost decisions, {} lines of error in the log; {}",
        soak.lost.len(),
        errors.len(),
        errors.first().map_or("", |line| line)
    );

    assert!(soak.lost.is_empty(), "{:#?}", soak.lost);
    let mut passed: Vec<Instant> = forbidden.passed().into_iter().filter(|at| *at > shut).collect();
    let mut longest = Duration::ZERO;
    for harm in &soak.harms {
        // The harm is done somewhat later than somebody sets about it: the gap is from the first packet to the last.
        let gap: Vec<Instant> = passed.extract_if(.., |at| *at >= *harm && *at < *harm + AFTER_HARM).collect();
        if let (Some(first), Some(last)) = (gap.first(), gap.last()) {
            longest = longest.max(last.duration_since(*first));
        }
    }
    let times: Vec<Duration> = passed.iter().map(|at| at.duration_since(begun)).collect();
    eprintln!(
        "the contained host to 445: {} sent, {} passed while nobody had touched the table; open for {longest:.1?} at most",
        forbidden.sent(),
        passed.len()
    );
    assert!(passed.is_empty(), "{} packets of a contained host passed, at {times:?}", passed.len());
    assert!(longest < RIGHT, "somebody's harm was put right after {longest:?}");
    undisturbed("the uninvolved client to 445", &uninvolved);
    undisturbed("the contained host to 80", &clinical);
    let worms: Vec<Address> = soak.contained.keys().map(|host| Address::from(*host)).collect();
    let acted_on = |act: &Decision| matches!(act.decision, Verdict::Contain | Verdict::Isolate | Verdict::Hold);
    let innocent: Vec<_> = acts.iter().filter(|act| acted_on(act) && !worms.contains(&act.host)).collect();
    assert!(innocent.is_empty(), "{} innocents: {:#?}", innocent.len(), innocent.first());
    assert_eq!(errors, Vec::<String>::new());
    assert!(soak.samples.iter().all(|sample| sample.vitals.resident <= status.memory.bound));
    assert!(ahead <= LOG_BYTES, "the history's log grew to {ahead} bytes");
    assert!(descriptors.iter().max().unwrap() - descriptors.iter().min().unwrap() <= 3, "{descriptors:?}");
    if !brief {
        assert!(rise < SLOPE, "memory rises by {rise:.0} bytes a minute");
        assert!(rate_of(total.all_in) > rate as f64 * 0.8, "{:.0} packets a second", rate_of(total.all_in));
    }
}

fn lengths() -> (u64, Duration) {
    let minutes = vitals::figure("FIREDOOR_SOAK_MINUTES", 1);
    (minutes * 60, Duration::from_secs(if minutes < 10 { 10 } else { 60 }))
}

#[test]
fn with_a_kill_drift_a_reload_and_a_worm_each_minute_no_decision_is_lost() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let (seconds, round) = lengths();
    soak("soak-killed", seconds, round, true);
}

#[test]
fn a_daemon_that_lives_on_under_drift_reloads_and_worms_does_not_grow() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let (seconds, round) = lengths();
    soak("soak-alive", seconds / 3, round, false);
}
