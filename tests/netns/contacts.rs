//! First contacts that reach the victims in enforce mode, counted on their side by another process.

use std::time::Duration;

use firedoor::lab::gateway::Daemon;
use firedoor::lab::listener;
use firedoor::lab::plan::{Family, INFECTED, Segment, Shape};
use firedoor::lab::report::{MOST_CONTACTS, Report};
use firedoor::lab::trial::Trial;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::Verdict;
use firedoor::wire::Address;

use crate::scene;

/// Runs a trial and checks every promise; gives how many first contacts reached the victims.
fn kept(trial: &Trial) -> u32 {
    let outcome = scene::protected(trial);
    let (attempts, pace) = (outcome.worm_stats.attempts, trial.order().rate);
    eprintln!("{:?} worm at {pace}/s: {attempts} attempts within {} s", trial.worm, trial.seconds);
    let reached = outcome.reached;
    let report = Report::new(trial.clone(), outcome, None);
    for promise in &report.promises {
        assert!(promise.kept, "{}: {}\n{trial:?}\n{:#?}", promise.promise, promise.found, report.protected);
    }
    reached
}

#[test]
fn at_wannacrys_pace_never_more_than_ten_and_at_most_six_in_the_median() {
    if !scene::able() {
        return;
    }
    let mut reached: Vec<u32> = (1..=5)
        .map(|seed| {
            let _turn = scene::turn();
            kept(&Trial::new(Kind::Wannacry, seed, 4.0))
        })
        .collect();
    reached.sort_unstable();
    eprintln!("first contacts at 8/s, five seeds: {reached:?}");
    assert!(reached[2] <= 6, "{reached:?}");
}

#[test]
fn at_any_pace_never_more_than_ten() {
    if !scene::able() {
        return;
    }
    for (kind, rate) in [(Kind::Wannacry, 50.0), (Kind::Fast, 1_000.0), (Kind::Flood, 100_000.0)] {
        let _turn = scene::turn();
        let reached = kept(&Trial { rate, ..Trial::new(kind, 6, 4.0) });
        eprintln!("first contacts at {rate}/s: {reached}");
    }
}

#[test]
fn bridged_and_over_ipv6_never_more_than_ten() {
    if !scene::able() {
        return;
    }
    for (family, shape) in
        [(Family::Ipv4, Shape::Bridged), (Family::Ipv6, Shape::Routed), (Family::Ipv6, Shape::Bridged)]
    {
        for kind in [Kind::Wannacry, Kind::Fast] {
            let _turn = scene::turn();
            let reached = kept(&Trial { family, shape, ..Trial::new(kind, 7, 4.0) });
            eprintln!("first contacts of a {kind:?} worm, {family:?} {shape:?}: {reached}");
        }
    }
}

#[test]
fn a_topological_worm_that_is_always_answered_is_contained_too() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let reached = kept(&Trial::new(Kind::Topological, 8, 9.0));
    eprintln!("first contacts of a topological worm at 2/s: {reached}");
}

/// The real pace, in real time: it takes minutes, and it mostly sleeps, so it takes no turn.
#[test]
fn a_new_dark_destination_every_thirty_seconds_is_contained_by_its_tenth() {
    if !scene::able() {
        return;
    }
    let trial = Trial::new(Kind::Slow, 9, 0.0);
    let scene = scene::build(trial.family, trial.shape, trial.seed, 1);
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(scene::program(), &scene.network, directory.path(), &trial.setup()).unwrap();
    for _ in 0..25 {
        listener::speak(&scene.network, 1).unwrap();
    }
    let worm = Worm::release(&scene.network, 0, Order::new(Kind::Slow, trial.seed)).unwrap();
    let host = Address::from(scene.network.plan.address(Segment::Office, INFECTED));
    loop {
        std::thread::sleep(Duration::from_millis(500));
        daemon.check_running().unwrap();
        let decisions = daemon.decisions().unwrap();
        if let Some(act) = decisions.iter().find(|act| act.host == host && act.decision == Verdict::Contain) {
            eprintln!("the slow worm was contained at its dark destination number {}", act.destinations);
            assert!(act.destinations <= 10, "{act:?}");
            break;
        }
        // The tenth attempt is made 270 s after the first, and fails within a second.
        let attempts = worm.worm_stats().attempts;
        assert!(attempts <= 10, "not contained after {attempts} attempts: {decisions:#?}");
    }
    assert!(worm.end().unwrap().attempts <= 10);
    let arrivals = scene.counter.arrivals();
    assert!(scene.first_contacts(&arrivals, host.ip()).len() <= MOST_CONTACTS as usize);
    daemon.stop().unwrap();
}
