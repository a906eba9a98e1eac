//! The machine's clock jumps, by an hour, a year, back by a day: nothing but what a clock shows is different.
//!
//! The daemon alone is shown another time, by libfaketime (the wall clock only, the monotonic clock runs on). The stamps
//! that the kernel writes into a ring cannot be moved with it, as they would be by a real jump, so the packets here come
//! through the portable backend; what the ring makes of such stamps, unit tests of `sys::clock` state.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use firedoor::api::host::HostsView;
use firedoor::config::wall_clock;
use firedoor::respond::Verdict;
use firedoor::store::Store;
use firedoor::time::Timestamp;
use firedoor::wire::Address;

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long the short block is to last.
const TERM: Duration = Duration::from_secs(20);

/// The daemon looks at its times once a second, and the machine may be busy.
const LATE: Duration = Duration::from_millis(2500);

/// Where Debian has the library; `None`, and a loud word, if it is not there.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: there is no libfaketime here (Debian: libfaketime)");
    }
    found
}

/// The clock that the daemon is shown.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn new(directory: &Path) -> Self {
        let clock = Clock { file: directory.join("clock") };
        clock.jump(0);
        clock
    }

    /// Puts it so many seconds ahead of the machine's, or behind it.
    fn jump(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }
}

/// A site whose daemon is shown this clock.
fn site(seed: u64, infected: u8, library: &Path) -> (Site, Clock) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(directory.path());
    let file = clock.file.clone();
    let site = Site::within(directory, seed, infected, |setup| {
        setup
            .with("capture", "backend", "pnet")
            .in_environment("LD_PRELOAD", library)
            .in_environment("FAKETIME_TIMESTAMP_FILE", file)
            .in_environment("FAKETIME_NO_CACHE", "1")
            .in_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .in_environment("NO_FAKE_STAT", "1")
    });
    (site, clock)
}

/// The library's own leftovers of a daemon that was killed.
fn tidy(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Contains a host for a short while by an engineer's order.
fn contain_for(site: &Site, host: IpAddr, seconds: u64) -> Instant {
    site.command(&["contain", &host.to_string(), "--for", &format!("{seconds}s"), "--reason", "drill"]);
    Instant::now()
}

/// How long the daemon will still act on a host, by its own clock.
fn left(site: &Site, host: IpAddr) -> Duration {
    let list: HostsView = site.daemon().ask("/v1/hosts?acted=true").unwrap();
    let view = list.hosts.into_iter().find(|view| view.address == Address::from(host)).expect("it is acted on");
    view.until.expect("it ends by itself").since(site.status().at)
}

/// Waits until the daemon says by how much the clock was set, in status and metrics, and shows Prometheus, which has the
/// same clock, no time that lies elsewhere.
fn is_noticed(site: &Site, ahead: i64) {
    site::until("the jump is noticed", || (site.status().wall_ahead_ms - ahead * 1000).abs() < 1000);
    let text = site.command(&["status"]);
    assert!(text.contains(if ahead > 0 { "was set ahead by" } else { "was set back by" }), "{text}");
    let now = i64::try_from(wall_clock().secs()).unwrap() + ahead;
    for name in ["firedoor_snapshot_timestamp_seconds", "firedoor_shard_alive_timestamp_seconds"] {
        let shown = site.moment(name);
        assert!((shown - now).abs() <= 3, "{name} is {shown}, the clock shows {now}");
    }
    // Else it would look as if it had been restarted.
    let started = i64::try_from(site.status().started.secs()).unwrap();
    assert_eq!(site.moment("process_start_time_seconds"), started);
}

/// Waits for the end of a block for [`TERM`], which must come neither sooner nor later; gives how long it lasted.
fn ends_in_time(site: &Site, host: IpAddr, ordered: Instant) -> Duration {
    // The machine is given a moment between the order and its answer.
    while ordered.elapsed() + Duration::from_millis(200) < TERM {
        assert!(site.in_kernel().contains(&host), "lifted within {:?} of {TERM:?}", ordered.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    site::until("the block is over", || !site.in_kernel().contains(&host));
    let lasted = ordered.elapsed();
    assert!(lasted < TERM + LATE, "ordered for {TERM:?}, lifted after {lasted:?}");
    lasted
}

/// How far apart two moments or spans are.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// Looks at the daemon for a while: it shows the time it started with, works, and holds who is contained. Gives the
/// longest that an answer took.
fn watch(site: &Site, contained: IpAddr) -> Duration {
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let status = site.status();
        longest = longest.max(asked.elapsed());
        assert!(apart(status.at, wall_clock()) < LATE, "{} at {}", status.at, wall_clock());
        for shard in &status.shards {
            assert!(apart(shard.alive, status.at) < LATE, "{shard:?} at {}", status.at);
        }
        assert_eq!((status.store.lost, &status.store.error), (0, &None));
        assert!(status.interfaces.iter().all(|view| view.blind.is_none()), "{:?}", status.interfaces);
        assert!(site.in_kernel().contains(&contained));
        std::thread::sleep(Duration::from_millis(50));
    }
    longest
}

#[test]
fn jumps_of_the_clock_change_nothing_in_a_running_daemon() {
    let Some(library) = library().filter(|_| site::able()) else { return };
    let _turn = site::together();
    let (site, clock) = site(91, 3, &library);
    let pid = site.daemon().pid();
    let began = wall_clock();
    let sessions = site.scene.work().unwrap();
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    let mut acts = vec![site.contain_by_worm(0)];
    let contained = Instant::now();
    let drill = IpAddr::from([10, 77, 0, 9]);
    let ordered = contain_for(&site, drill, TERM.as_secs());

    let host = site.infected(0);
    let mut longest = Duration::ZERO;
    for (ahead, worm) in [(HOUR, None), (HOUR + YEAR, Some(1)), (-DAY, Some(2))] {
        clock.jump(ahead);
        is_noticed(&site, ahead);
        longest = longest.max(watch(&site, host));
        acts.extend(worm.map(|number| site.contain_by_worm(number)));
    }
    let lasted = ends_in_time(&site, drill, ordered);

    for act in &acts {
        assert!(act.destinations <= 10, "{act:?}");
        assert!(site.in_kernel().contains(&act.host.ip()));
    }
    let recorded = site.daemon().decisions().unwrap();
    let times: Vec<Timestamp> = recorded.iter().map(|act| act.at).collect();
    assert!(times.iter().all(|at| apart(*at, began) < wall_clock().since(began) + LATE), "{times:?}");
    let store = Store::open_to_read(&site.directory.path().join("history.db")).unwrap();
    for act in &acts {
        let known = store.of(act.host, 10).unwrap();
        assert!(known.iter().any(|row| row.decision == Verdict::Contain && row.at == act.at), "{known:?}");
    }
    let mut acted_on: Vec<IpAddr> = site.acted_on().iter().map(|act| act.host.ip()).collect();
    acted_on.sort_unstable();
    acted_on.dedup();
    assert_eq!(acted_on, [host, site.infected(1), site.infected(2), drill]);
    assert_eq!(forbidden.end().passed_since(contained), 0);
    let sent = bystanders.undisturbed();
    for stats in sessions.iter().map(firedoor::lab::session::Session::stats) {
        assert!(stats.is_undisturbed(), "{stats:?}");
    }
    eprintln!(
        "an hour on, a year on, a day back: {sent} clinical packets, {TERM:?} took {lasted:?}, answers {longest:?}"
    );
    drop(site);
    tidy(pid);
}

#[test]
fn a_daemon_that_starts_after_a_jump_ends_each_block_when_it_was_to_end() {
    let Some(library) = library().filter(|_| site::able()) else { return };
    let _turn = site::together();
    let (mut site, clock) = site(92, 1, &library);
    let mut pids = vec![site.daemon().pid()];
    site.contain_by_worm(0);
    let host = site.infected(0);
    let [drill, pardoned] = [9, 10].map(|number| IpAddr::from([10, 77, 0, number]));
    contain_for(&site, pardoned, 600);
    site.command(&["release", &pardoned.to_string(), "--reason", "the drill is over"]);
    let pardon = |site: &Site| site.why(pardoned).pardoned_until.expect("it is pardoned").since(site.status().at);
    let (begun, term, pardon_at_first) = (Instant::now(), left(&site, host), pardon(&site));
    let ordered = contain_for(&site, drill, TERM.as_secs());
    for ahead in [300, -DAY, YEAR] {
        site.kill();
        clock.jump(ahead);
        site.start();
        pids.push(site.daemon().pid());
        site::until("the host is listed", || site.status().hosts.contained == 2);
        let (passed, now) = (begun.elapsed(), left(&site, host));
        assert!(
            (now + passed).abs_diff(term) < LATE,
            "{term:?}, and {passed:?} later {now:?} with the clock at {ahead}"
        );
        let now = pardon(&site);
        assert!((now + passed).abs_diff(pardon_at_first) < LATE, "{pardon_at_first:?}, {passed:?} later {now:?}");
        assert_eq!(site.in_kernel(), [host, drill]);
    }
    let lasted = ends_in_time(&site, drill, ordered);
    assert_eq!(site.in_kernel(), [host]);
    eprintln!("3 restarts with another clock each: {TERM:?} took {lasted:?}");
    drop(site);
    pids.into_iter().for_each(tidy);
}
