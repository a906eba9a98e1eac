//! An outbreak in the lab, watched from outside: the real daemon on the lab's gateway, a real Prometheus beside it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use firedoor::lab::gateway::Daemon;
use firedoor::lab::listener;
use firedoor::lab::plan::{INFECTED, Segment};
use firedoor::lab::scene::Scene;
use firedoor::lab::trial::Trial;
use firedoor::lab::worm::{Kind, Worm};
use firedoor::sys::namespace;

use super::dashboard::expressions;
use super::prometheus::Prometheus;

/// How long the daemon learns who is alive before the worm comes.
const LEARNING: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_outbreak_fires_the_alert_and_shows_on_every_panel() {
    if let Err(error) = namespace::permitted() {
        return eprintln!("SKIPPED: {error}");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_firedoor"));
    let directory = tempfile::tempdir().unwrap();
    let trial = Trial::new(Kind::Wannacry, 1, 0.0);
    let scene = Scene::build(program, trial.plan(), 1, &listener::WARD_PORTS).unwrap();
    let mut daemon = Daemon::start(program, &scene.network, directory.path(), &trial.setup()).unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], 9477));
    let Some(prometheus) = Prometheus::start(target, Some(&scene.network.gateway)) else { return };

    let _sessions = scene.work().unwrap();
    prometheus.wait_for("up{job=\"firedoor\"} == 1", PATIENCE);
    let began = Instant::now();
    while began.elapsed() < LEARNING {
        listener::speak(&scene.network, 1).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(prometheus.query("ALERTS{alertname=~\"FiredoorOutbreak|FiredoorRulesetMissing|FiredoorDown\"}").is_empty());
    assert!(prometheus.figure("sum({__name__=~\"firedoor_(contained|isolated)_hosts\"})") < 0.5);

    let worm = Worm::release(&scene.network, 0, trial.order()).unwrap();
    prometheus.wait_for("ALERTS{alertname=\"FiredoorOutbreak\",alertstate=\"firing\"}", PATIENCE);
    daemon.check_running().unwrap();
    // The worm keeps knocking at a closed door: the kernel's counters move, and every panel has something to show.
    prometheus.wait_for("firedoor_dropped_packets_total{by=\"contain\"} > 0", PATIENCE);
    for (title, expr) in expressions() {
        let found = prometheus.wait_for(&expr, PATIENCE);
        assert!(!found.is_empty(), "{title}");
    }
    for (expr, least) in [
        ("sum({__name__=~\"firedoor_(contained|isolated)_hosts\"})", 1.0),
        ("sum(firedoor_decisions_total{decision=\"contain\",enforced=\"true\"})", 1.0),
        ("sum(firedoor_alarms_total)", 1.0),
        ("sum(firedoor_evidence_total{signal=\"dark\"})", 1.0),
        ("firedoor_packet_to_kernel_seconds_count", 1.0),
        ("sum(firedoor_packets_total{direction=\"in\"})", 10.0),
        ("firedoor_tracked_hosts", 1.0),
        ("firedoor_ruleset_in_place", 1.0),
        ("firedoor_enforcing", 1.0),
    ] {
        assert!(prometheus.figure(expr) >= least, "{expr} is {}", prometheus.figure(expr));
    }
    let host = scene.network.plan.address(Segment::Office, INFECTED).to_string();
    let said = |args: &[&str]| {
        let out = Command::new(program).arg("--socket").arg(daemon.socket()).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let why = said(&["why", &host]);
    assert!(why.contains(&format!("{host} is contained until")) && why.contains("dark"), "{why}");
    assert!(said(&["hosts", "--acted"]).contains(&host));
    assert!(said(&["status"]).contains("1 contained"));
    assert!(said(&["release", &host, "--reason", "the test ends"]).contains(&host));
    assert!(!said(&["hosts", "--acted"]).contains(&host));
    worm.end().unwrap();
    let slowest = prometheus.figure("histogram_quantile(1, sum by (le) (firedoor_packet_to_kernel_seconds_bucket))");
    eprintln!("packet to kernel: within {slowest} s");
    drop(prometheus);
    daemon.stop().unwrap();
}
