//! The daemon dies in the middle of an outbreak.

use std::time::Duration;

use firedoor::lab::gateway::{Daemon, Setup};
use firedoor::lab::listener;
use firedoor::lab::plan::{Family, INFECTED, Segment, Shape};
use firedoor::lab::report::MOST_CONTACTS;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::{Mode, Verdict};
use firedoor::wire::Address;

use crate::scene;

/// How long the second worm is loose after the daemon's death.
const LOOSE: Duration = Duration::from_secs(6);

#[test]
fn contained_hosts_stay_contained_and_the_fuse_holds_new_scanners() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    for (family, shape) in [(Family::Ipv4, Shape::Routed), (Family::Ipv6, Shape::Bridged)] {
        let scene = scene::build(family, shape, 21, 2);
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new(Mode::Enforce, &scene.network.plan);
        let daemon = Daemon::start(scene::program(), &scene.network, directory.path(), &setup).unwrap();
        let sessions = scene.work().unwrap();
        for _ in 0..25 {
            listener::speak(&scene.network, 1).unwrap();
        }
        let [first, second] = [0, 1].map(|number| scene.network.plan.address(Segment::Office, INFECTED + number));

        let old = Worm::release(&scene.network, 0, Order { rate: 20.0, ..Order::new(Kind::Wannacry, 21) }).unwrap();
        let mut rounds = 0;
        while !daemon
            .decisions()
            .unwrap()
            .iter()
            .any(|act| act.host == Address::from(first) && act.decision == Verdict::Contain)
        {
            rounds += 1;
            assert!(rounds < 100, "not contained: {:#?}", daemon.decisions());
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(200));
        let before = scene.first_contacts(&scene.counter.arrivals(), first);
        daemon.kill();

        // Both at once: the old one continues where it was, the new one begins.
        let new = Worm::release(&scene.network, 1, Order { rate: 200.0, ..Order::new(Kind::Fast, 22) }).unwrap();
        std::thread::sleep(LOOSE);
        let (old, new) = (old.end().unwrap(), new.end().unwrap());
        let syns = |source| {
            let arrivals = scene.counter.arrivals();
            arrivals.iter().filter(|arrival| arrival.source == source).count()
        };
        let arrivals = scene.counter.arrivals();
        let asked_or_reached = scene.first_contacts(&arrivals, second).len();
        eprintln!(
            "{family:?} {shape:?}: dead daemon, {} attempts of the contained host, {} of the new scanner: {} arrived",
            old.attempts, new.attempts, asked_or_reached
        );
        let live_before = before.iter().filter(|&&address| scene.network.plan.is_live(address)).count();
        let live_after = scene
            .first_contacts(&arrivals, first)
            .iter()
            .filter(|&&address| scene.network.plan.is_live(address))
            .count();
        // Questions for dark addresses may be the new scanner's; a live host's SYN names its sender.
        assert_eq!(live_after, live_before, "{family:?} {shape:?}: the contained host got through; {}", syns(first));
        // What the first one asked for before its containment cannot be distinguished, so it is taken off.
        let of_new = asked_or_reached.saturating_sub(before.len() - live_before);
        let most = MOST_CONTACTS as usize + usize::try_from(LOOSE.as_secs()).unwrap() + 1;
        assert!((1..=most).contains(&of_new), "{family:?} {shape:?}: {of_new} of the new scanner, at most {most}");
        for stats in sessions.iter().map(firedoor::lab::session::Session::stats) {
            assert!(stats.is_undisturbed(), "{family:?} {shape:?}: {stats:?}");
        }
    }
}
