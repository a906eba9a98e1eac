//! Ten thousand hosts, and what it costs to ask about a million contacts.

use std::time::{Duration, Instant};

use firedoor::firewall::Order;
use firedoor::respond::{Action, Mode};
use firedoor::suspect::Place;
use firedoor::wire::{Address, Link};

use crate::site::{Kind, Shape, Site, config, plan, victim};

fn hosts(link: Link, count: u32) -> Vec<Order> {
    (0..count)
        .map(|n| {
            let [_, b, c, d] = n.to_be_bytes();
            let host = if n % 4 == 3 {
                Address::v6([0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b, c, d])
            } else {
                Address::v4([10, 100 + b, c, d])
            };
            let action = if n % 10 == 0 { Action::Isolate } else { Action::Contain };
            let timeout = (n % 2 == 0).then_some(Duration::from_secs(3600 + u64::from(n)));
            Order { place: Place::address(link, host), action, timeout, ports: Vec::new() }
        })
        .collect()
}

#[test]
fn ten_thousand_hosts_are_put_in_and_taken_over_in_under_a_second() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let plan = plan(&config(Mode::Enforce));
    site.load(&plan);
    let (median, late) = one_by_one(&mut site, 1);
    eprintln!("the first hosts: median {median:.1?}, 99th percentile {late:.1?}");
    let orders = hosts(site.link("lan"), 10_000);
    let start = Instant::now();
    site.firewall(|firewall| firewall.act_many(&orders).unwrap());
    let put = start.elapsed();

    // The best of five: other tests run meanwhile.
    let mut taken_over = Duration::MAX;
    for _ in 0..5 {
        site.firewall = None;
        let start = Instant::now();
        let done = site.load(&plan);
        taken_over = taken_over.min(start.elapsed());
        assert_eq!(done.acted.len(), 10_000);
    }
    let mut wanted = orders.clone();
    wanted.sort_unstable_by_key(|order| order.place);
    let found = site.firewall(|firewall| firewall.acted().unwrap());
    for (order, acted) in wanted.iter().zip(&found) {
        assert_eq!((order.place, order.action), (acted.place, acted.action));
        match (order.timeout, acted.expires_in) {
            (None, None) => {}
            (Some(given), Some(left)) => assert!(left <= given && left + Duration::from_secs(60) > given),
            other => panic!("{:?}: {other:?}", order.place),
        }
    }

    // All of them again, changed: every verdict and timeout is replaced.
    let changed: Vec<Order> = orders
        .iter()
        .map(|order| Order {
            action: if order.action == Action::Isolate { Action::Contain } else { Action::Isolate },
            timeout: Some(Duration::from_secs(60)),
            ..order.clone()
        })
        .collect();
    let start = Instant::now();
    site.firewall(|firewall| firewall.act_many(&changed).unwrap());
    let replaced = start.elapsed();
    let found = site.firewall(|firewall| firewall.acted().unwrap());
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().all(|acted| acted.expires_in.is_some_and(|left| left <= Duration::from_secs(60))));
    assert_eq!(found.iter().filter(|acted| acted.action == Action::Isolate).count(), 9000);

    let mut restored = Duration::MAX;
    for _ in 0..5 {
        site.nft("flush ruleset");
        let start = Instant::now();
        let done = site.load(&plan);
        restored = restored.min(start.elapsed());
        assert_eq!(done.restored.len(), 10_000);
    }
    eprintln!(
        "10,000 hosts: put {put:.1?}, taken over {taken_over:.1?}, replaced {replaced:.1?}, restored {restored:.1?}"
    );
    for (what, took) in [("taken over", taken_over), ("restored", restored)] {
        assert!(took < Duration::from_secs(1), "{what} took {took:?}");
    }

    let (median, late) = one_by_one(&mut site, 2);
    eprintln!("one more host among them: median {median:.1?}, 99th percentile {late:.1?}");
    assert!(median < Duration::from_millis(10), "{median:?}");
}

/// Contains 200 hosts of network 10.1.`net`.0/24 and lets them go again; gives the median and the 99th percentile of
/// what each waited. The kernel looks through all the map's jumps at each change, so it depends on how many are in.
fn one_by_one(site: &mut Site, net: u8) -> (Duration, Duration) {
    let mut times: Vec<Duration> = Vec::new();
    site.firewall(|firewall| {
        for n in 0..200 {
            let start = Instant::now();
            firewall
                .act(Place::anywhere(Address::v4([10, 1, net, n])), Action::Contain, Some(Duration::from_secs(600)))
                .unwrap();
            times.push(start.elapsed());
        }
        for n in 0..200 {
            firewall.lift(Place::anywhere(Address::v4([10, 1, net, n]))).unwrap();
        }
    });
    times.sort_unstable();
    (times[100], times[198])
}

#[test]
fn asking_for_counters_costs_the_same_however_full_the_sets_are() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let plan = plan(&config(Mode::Enforce));
    site.load(&plan);
    let scrape = |site: &mut Site| {
        site.firewall(|firewall| {
            firewall.counters().unwrap();
            let start = Instant::now();
            for _ in 0..20 {
                firewall.counters().unwrap();
            }
            start.elapsed() / 20
        })
    };
    let empty = scrape(&mut site);
    let mut gun = site.gun();
    for n in 0..30_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        gun.as_card(firedoor::wire::Mac([2, 9, 9, b, c, d]));
        gun.fire(std::net::Ipv4Addr::from(0x0a20_0000 + n), victim(n), Kind::Syn(445));
    }
    let full = scrape(&mut site);
    let counters = site.firewall(|firewall| firewall.counters().unwrap());
    let contacts = counters.sets.iter().find(|occupancy| occupancy.set == "contacts4").unwrap();
    eprintln!("counters: {empty:.1?} with empty sets, {full:.1?} with {} contacts", contacts.elements);
    assert!(contacts.elements > 29_000 && contacts.size == 1_048_576, "{contacts:?}");
    if contacts.exact {
        assert!(full < empty * 5 + Duration::from_millis(2), "{empty:?} then {full:?}");
    }
}
