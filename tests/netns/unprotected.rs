//! The lab itself, without Firedoor: everything gets through, and the counter sees it.

use std::time::Duration;

use firedoor::lab::epidemic;
use firedoor::lab::listener;
use firedoor::lab::plan::{Family, INFECTED, Plan, Segment, Shape};
use firedoor::lab::worm::{Kind, Order, Worm};

use crate::scene;

#[test]
fn the_counter_sees_every_address_a_connecting_worm_tries() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    for (family, shape) in
        [(Family::Ipv4, Shape::Routed), (Family::Ipv6, Shape::Routed), (Family::Ipv4, Shape::Bridged)]
    {
        let scene = scene::build(family, shape, 1, 1);
        listener::speak(&scene.network, 1).unwrap();
        let worm = Worm::release(&scene.network, 0, Order { rate: 50.0, ..Order::new(Kind::Wannacry, 1) }).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let worm_stats = worm.end().unwrap();
        let arrivals = scene.counter.arrivals();
        let source = scene.network.plan.address(Segment::Office, INFECTED);
        let reached = scene.first_contacts(&arrivals, source);
        let live = reached.iter().filter(|&&address| scene.network.plan.is_live(address)).count();
        assert!(worm_stats.destinations >= 80, "{family:?} {shape:?}: {worm_stats:?}");
        // The last ones may have been on their way when the worm ended.
        assert!((live as u64).abs_diff(worm_stats.answered) <= 2, "{family:?} {shape:?}: {live} live, {worm_stats:?}");
        if shape == Shape::Routed {
            assert!(
                reached.len() + 1 >= worm_stats.destinations as usize,
                "{family:?} {shape:?}: {} of {worm_stats:?}",
                reached.len()
            );
        }
    }
}

#[test]
fn bare_syns_of_a_flood_arrive_in_both_families_routed_and_bridged() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    for (family, shape) in [
        (Family::Ipv4, Shape::Routed),
        (Family::Ipv4, Shape::Bridged),
        (Family::Ipv6, Shape::Routed),
        (Family::Ipv6, Shape::Bridged),
    ] {
        let scene = scene::build(family, shape, 1, 1);
        listener::speak(&scene.network, 1).unwrap();
        let worm = Worm::release(&scene.network, 0, Order::new(Kind::Fast, 1)).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let worm_stats = worm.end().unwrap();
        let source = scene.network.plan.address(Segment::Office, INFECTED);
        let reached = scene.first_contacts(&scene.counter.arrivals(), source);
        assert!(worm_stats.attempts >= 1_500, "{family:?} {shape:?}: {worm_stats:?}");
        assert!(reached.len() > 240, "{family:?} {shape:?}: {} of {}", reached.len(), worm_stats.destinations);
    }
}

#[test]
fn clinical_sessions_run() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let scene = scene::build(Family::Ipv4, Shape::Routed, 1, 1);
    let sessions = scene.work().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    for session in sessions {
        let stats = session.stats();
        assert!(stats.is_undisturbed() && stats.exchanges >= 5, "{stats:?}");
    }
}

#[test]
fn an_epidemic_takes_hold() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let plan = Plan::new(Family::Ipv4, Shape::Routed, 30, 1).with_wards(2);
    let length = (1, Duration::from_secs(14));
    let stats = epidemic::run(&plan, length, scene::program(), None, &|_, _| {}).unwrap();
    eprintln!("{} of {} infected within 14 s", stats.infections.len(), stats.vulnerable);
    assert!(stats.infections.len() > 10, "{stats:?}");
    // The second to be infected was reached by the first, and reaching takes six seconds.
    assert!((6.0..8.5).contains(&stats.infections[1].after), "{stats:?}");
}
