//! The greylist at work: whom a worm reaches, counted on the victims' side, and what an honest client waits.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use firedoor::lab::listener;
use firedoor::lab::plan::{Family, Plan, Shape};
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::published::greylist::ServersView;
use firedoor::respond::Verdict;
use firedoor::respond::servers::Standing;
use firedoor::sys::namespace::Namespace;

use crate::site::{self, Site};

/// How long a TCP connection to 445 takes from `machine`.
fn connects(machine: &Namespace, from: IpAddr, to: IpAddr) -> Duration {
    let begun = Instant::now();
    let connected = machine.run(|| {
        let to = SocketAddr::new(to, 445);
        TcpStream::connect_timeout(&to, Duration::from_secs(20)).map(|stream| stream.local_addr().map(|a| a.ip()))
    });
    let local = connected.unwrap().unwrap_or_else(|error| panic!("{from} to {to}: {error}")).unwrap();
    assert_eq!(local, from);
    begun.elapsed()
}

/// A ward whose hosts are known to be there, three in ten of them alive, behind a gateway that greylists.
fn greylisting(family: Family, shape: Shape, seed: u64, infected: u8) -> Site {
    let plan = Plan::new(family, shape, 30, seed);
    let site = Site::planned(plan, infected, |setup| setup.with("greylist", "enabled", true));
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    site
}

/// Lets worms loose, one after the other, each on a host of its own; gives whom each reached.
fn reached(site: &Site, orders: &[Order]) -> Vec<usize> {
    let network = &site.scene.network;
    let mut counts = Vec::new();
    for (number, order) in (0..).zip(orders) {
        let host = site.infected(number);
        let worm = Worm::release(network, number, *order).unwrap();
        site::until("the worm is contained", || !site.decisions(host, Verdict::Contain).is_empty());
        // What still waits is asked for again.
        std::thread::sleep(Duration::from_secs(4));
        let stats = worm.end().unwrap();
        let reached = site.scene.first_contacts(&site.scene.counter.arrivals(), host);
        let at = site.decisions(host, Verdict::Contain)[0].at;
        eprintln!(
            "{:?} {}/s, gives up after {:?}: contained {:?} after its start, {} addresses tried, reached {reached:?}",
            order.kind,
            order.rate,
            order.patience,
            at.since(stats.began),
            stats.destinations
        );
        counts.push(reached.len());
        // The next one meets nobody's lowered threshold.
        site.command(&["release", &host.to_string(), "--reason", "the next one"]);
    }
    counts
}

const CONNECT: Duration = Duration::from_secs(21);

#[test]
fn from_three_a_second_on_no_worm_reaches_anybody_routed_bridged_and_over_ipv6() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let wannacry = |rate, seed| Order { rate, ..Order::new(Kind::Wannacry, seed) };
    for (family, shape, seed) in
        [(Family::Ipv4, Shape::Routed, 1), (Family::Ipv6, Shape::Routed, 2), (Family::Ipv4, Shape::Bridged, 3)]
    {
        let site = greylisting(family, shape, seed, 6);
        let orders = [
            wannacry(8.0, seed),
            Order { patience: CONNECT, ..wannacry(8.0, seed) },
            Order { patience: CONNECT, ..wannacry(3.0, seed) },
            Order { patience: CONNECT, ..wannacry(50.0, seed) },
            Order { patience: CONNECT, rate: 3.0, ..Order::new(Kind::Topological, seed) },
            Order::new(Kind::Fast, seed),
        ];
        let reached = reached(&site, &orders);
        // On one wire with its victims a worm's host first asks for them, and sends nothing to the dark: three addresses a
        // second are one SYN a second there, all to the living.
        let sparse = usize::from(shape == Shape::Bridged) * 3;
        for (order, reached) in orders.iter().zip(&reached) {
            let most = if order.rate > 3.0 || order.kind == Kind::Topological { 0 } else { sparse };
            assert!(*reached <= most, "{family:?} {shape:?}, {order:?}: {reached}");
        }
        let waits = site.command(&["greylist"]);
        assert!(waits.contains("waited since"), "{waits}");
    }
}

#[test]
fn an_honest_first_contact_waits_a_second_once_and_never_for_a_server_that_monitor_mode_learnt() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let mut site = Site::new(5, 4, |setup| setup.with("greylist", "enabled", true).with("gateway", "mode", "monitor"));
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    let network = &site.scene.network;
    let (server, other) = (site.victim(0), site.victim(1));
    for number in 0..3 {
        let took = connects(&network.infected[usize::from(number)], site.infected(number), server);
        assert!(took < Duration::from_millis(500), "monitor mode drops nothing: {took:?}");
    }
    let known = |site: &Site| {
        let view: ServersView = site.daemon().ask("/v1/servers").unwrap();
        let known = view.servers.into_iter().filter(|view| view.standing == Standing::Known);
        known.map(|view| (view.server.service.to_string(), view.in_kernel)).collect::<Vec<_>>()
    };
    let expected = [(format!("{server}:445"), true)];
    site::until("the server is known, to the kernel too", || known(&site) == expected);
    // Killed right then, and started in enforce mode.
    std::thread::sleep(Duration::from_millis(1500));
    site.kill();
    site.setup = site.setup.clone().with("gateway", "mode", "enforce");
    site.start();
    site::until("the server is known again", || known(&site) == expected);
    let clinic = &site.scene.network.clinic;
    let took = connects(clinic, site.clinic(), server);
    assert!(took < Duration::from_millis(500), "a known server, after {took:?}");
    let took = connects(clinic, site.clinic(), other);
    eprintln!("a first contact took {took:?}");
    assert!((Duration::from_millis(700)..Duration::from_millis(2500)).contains(&took), "a first contact: {took:?}");
    let took = connects(clinic, site.clinic(), other);
    assert!(took < Duration::from_millis(500), "the second: {took:?}");
    let why = site.command(&["why", &site.clinic().to_string()]);
    site::until("it is said who waits", || site.command(&["greylist"]).contains(&format!("\"{other}:445\"")));
    assert!(why.contains("Greylist") || site.command(&["why", &site.clinic().to_string()]).contains("waits a second"));
    let servers = site.command(&["servers"]);
    assert!(
        servers.contains(&server.to_string()) && servers.lines().all(|line| line.chars().count() <= 80),
        "{servers}"
    );
    assert!(site.acted_on().is_empty());
}
