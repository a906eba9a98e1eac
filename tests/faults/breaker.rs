//! Many hosts scan at once: the breaker holds decisions, and the fuse holds the hosts.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use firedoor::lab::counter::Sign;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::{Held, Verdict};

use crate::prober::Probe;
use crate::site::{self, Site};

const WORMS: u8 = 6;

#[test]
fn a_tripped_breaker_holds_decisions_and_the_fuse_still_limits() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let mut site = Site::new(41, WORMS, |setup| setup.with("breaker", "most_at_once", 2));
    let network = &site.scene.network;
    let bystander = Probe::uninvolved(&site);
    let began = Instant::now();
    let worms: Vec<Worm> = (0..WORMS)
        .map(|n| Worm::release(network, n, Order { rate: 100.0, ..Order::new(Kind::Fast, 41 + u64::from(n)) }).unwrap())
        .collect();
    site::until("the others are held", || site.status().hosts.held == u64::from(WORMS - 2));
    std::thread::sleep(Duration::from_secs(3));
    for worm in worms {
        worm.end().unwrap();
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let status = site.status();
    assert_eq!((status.hosts.contained, status.breaker.trips), (2, 1), "{:?}", status.breaker);
    assert!(status.breaker.tripped.is_some() && status.breaker.reason.is_some());
    let zones: Vec<String> = status.breaker.zones.iter().map(|zone| zone.zone.to_string()).collect();
    assert!(!status.breaker.whole && zones.len() == 1 && site.command(&["status"]).contains(&zones[0]), "{zones:?}");
    assert_eq!(site.metric("firedoor_breaker_tripped_zones", ""), 1);
    let elsewhere = site.command(&["rearm", &site.clinic().to_string()]);
    assert!(elsewhere.contains("was armed") && site.status().breaker.zones.len() == 1, "{elsewhere}");
    assert_eq!(site.metric("firedoor_breaker_tripped", ""), 1);
    assert_eq!(site.metric("firedoor_held_decisions", ""), u64::from(WORMS - 2));
    let arrivals = site.scene.counter.arrivals();
    let mut worst = 0;
    for number in 0..WORMS {
        let host = site.infected(number);
        let reached: HashSet<_> = arrivals
            .iter()
            .filter(|arrival| arrival.sign == Sign::Syn && arrival.source == host)
            .map(|arrival| arrival.destination)
            .collect();
        assert!(reached.len() <= 10 + seconds, "{host} reached {} in {seconds} s", reached.len());
        worst = worst.max(reached.len());
    }

    let held: Vec<Held> = site.daemon().ask("/v1/held").unwrap();
    assert_eq!(held.len(), usize::from(WORMS - 2));
    let chosen = &held[0];
    assert!(!chosen.decision.evidence.is_empty());
    // A start takes over what waits: its number, its place and its evidence, in `held` and in `why`.
    site::until("the history has it all", || site.status().store.waiting == 0);
    for _ in 0..2 {
        site.kill();
        site.start();
        assert_eq!(site.daemon().ask::<Vec<Held>>("/v1/held").unwrap(), held);
        assert_eq!(site.why(chosen.decision.host.ip()).held.as_ref(), Some(chosen));
    }
    assert!(site.command(&["held"]).contains(&chosen.decision.host.to_string()));
    assert!(!site.in_kernel().contains(&chosen.decision.host.ip()));
    site.command(&["held", "confirm", &chosen.id.to_string()]);
    assert!(site.in_kernel().contains(&chosen.decision.host.ip()), "a confirmed decision is carried out");
    site.command(&["held", "drop", "--all"]);
    assert!(site.daemon().ask::<Vec<Held>>("/v1/held").unwrap().is_empty());
    assert_eq!(site.in_kernel().len(), 3);
    assert_eq!(site.decisions(chosen.decision.host.ip(), Verdict::Contain).len(), 1);
    site.command(&["rearm"]);
    assert!(site.status().breaker.tripped.is_none());
    assert_eq!(site.metric("firedoor_breaker_tripped", ""), 0);
    let sent = bystander.all_passed();
    eprintln!(
        "{WORMS} worms at 100/s for {seconds} s: the worst reached {worst} live hosts; {sent} others undisturbed"
    );
}
