//! The windows: how many distinct first contacts, within how long, whatever their outcome.

use std::time::Duration;

use firedoor::detect::Signal;
use firedoor::respond::Verdict;
use firedoor::suspect::Who;
use firedoor::wire::{Address, Mac};

use crate::scene::{FAMILIES, Family, HOST, Outcome, Scene, VERDICT, ms, secs};

/// A contact every `every`, all answered by hosts that nobody else uses.
fn answered(every: Duration, port: u16) -> (u16, Scene) {
    let mut scene = Scene::settled();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        scene.connect(HOST, Family::V4.address(4 + u8::try_from(n / 250).unwrap(), n % 250), port);
        scene.wait(every);
    });
    (needed, scene)
}

#[test]
fn a_worm_whose_every_contact_is_answered_is_contained_by_the_narrowest_window_it_fills() {
    for (every, limit, window) in [
        (ms(100), 10, 10),
        (ms(990), 10, 10),
        (secs(2), 15, 60),
        (ms(4100), 15, 60),
        (secs(6), 30, 600),
        (secs(20), 30, 600),
        (secs(30), 60, 3600),
        (secs(60), 60, 3600),
        (secs(120), 120, 28_800),
        (secs(240), 120, 28_800),
    ] {
        let (needed, scene) = answered(every, 445);
        assert_eq!(needed, limit, "one every {every:?}");
        let decision = scene.about(HOST).next_back().unwrap();
        assert_eq!(decision.decision, Verdict::Contain);
        let last = decision.evidence.last().unwrap();
        assert_eq!(last.signal, Signal::FanoutLateral);
        let expected = format!("{limit} distinct destinations within {window} s, threshold {limit}");
        assert_eq!(last.detail, expected, "one every {every:?}");
    }
}

#[test]
fn on_any_port_the_windows_are_wide() {
    for (every, limit, window) in [(ms(50), 120, 10), (ms(150), 300, 60), (ms(550), 1000, 600)] {
        let (needed, scene) = answered(every, 8080);
        // These windows are counted in tenths: up to a tenth longer than they say.
        assert!((limit - 2..=limit).contains(&needed), "one every {every:?}: {needed}");
        let last = scene.about(HOST).next_back().unwrap().evidence.last().unwrap();
        assert_eq!(last.signal, Signal::FanoutAny);
        assert!(last.detail.contains(&format!("within {window} s")), "{}", last.detail);
    }
}

#[test]
fn contacts_outside_alone_are_worth_a_watch_however_many() {
    let outside = |n: u16| Address::v4([198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    for inside in [0, 1, 100] {
        let mut scene = Scene::settled();
        for n in 0..1500 {
            scene.connect(HOST, outside(n), 443);
            if n % 15 == 0 && n / 15 < inside {
                scene.connect(HOST, Family::V4.server(n / 15 + 1), 443);
            }
            scene.wait(ms(50));
        }
        assert_eq!(scene.verdicts(HOST), [Verdict::Watch], "{inside} inside");
    }
    // A worm that scans the Internet is one: its service shows it.
    let mut scene = Scene::settled();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        scene.connect(HOST, outside(n), 445);
        scene.wait(ms(50));
    });
    assert_eq!(needed, 10);
}

#[test]
fn connections_are_not_counted_destinations_are() {
    let mut scene = Scene::settled();
    for round in 0..200u16 {
        for server in 1..=4 {
            scene.connect(HOST, Family::V4.server(server), 445);
            scene.connect(HOST, Family::V4.server(server), [3389, 22, 135][usize::from(round % 3)]);
        }
        scene.wait(ms(500));
    }
    assert_eq!(scene.verdicts(HOST), []);
    let host = scene.core.detector(HOST).unwrap().host(HOST).unwrap().clone();
    assert_eq!(host.destinations, 4);
}

#[test]
fn a_slow_scan_of_dark_addresses_is_contained_by_its_tenth() {
    // Nine in 6,250 s is the slowest scan of record; one every 30 s is the specification's.
    for (every, at_most) in [(30, 3), (60, 3), (300, 4), (694, 5), (1200, 8), (1500, 10)] {
        let mut scene = Scene::settled();
        let needed = scene.until_acted_on(HOST, |scene, n| {
            scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
            scene.wait(secs(every));
        });
        assert!(needed <= at_most, "one every {every} s: {needed}");
    }
}

#[test]
fn a_scan_of_any_speed_is_contained_by_its_tenth_first_contact() {
    for family in FAMILIES {
        for every in [ms(125), ms(20), ms(1), Duration::from_micros(10), Duration::ZERO] {
            for dark in [true, false] {
                let mut scene = Scene::settled();
                let host = family.client(7);
                let needed = scene.until_acted_on(host, |scene, n| {
                    scene.syn(host, if dark { family.dark(n) } else { family.server(n + 1) }, 445);
                    scene.wait(every);
                });
                assert!(needed <= 10, "{family:?}, every {every:?}, dark: {dark}: {needed}");
            }
        }
    }
}

#[test]
fn wannacry_finds_the_ward_shut_after_its_fifth_knock() {
    // 8 addresses a second, ascending, three in ten alive and answering.
    let mut scene = Scene::settled();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        let target = Family::V4.dark(n);
        scene.syn(HOST, target, 445);
        if n % 10 < 3 {
            scene.syn_ack(target, HOST, 445);
        }
        scene.wait(ms(125));
    });
    assert!(needed <= 8, "{needed}");
}

#[test]
fn lateral_services_are_what_the_configuration_says() {
    for (port, lateral) in [(445, true), (2323, true), (5986, true), (443, false), (80, false), (9100, false)] {
        let mut scene = Scene::settled();
        for n in 0..20 {
            scene.connect(HOST, Family::V4.server(n + 1), port);
            scene.wait(ms(100));
        }
        assert_eq!(scene.is_acted_on(HOST), lateral, "port {port}");
    }
}

#[test]
fn a_worm_over_udp_is_counted_where_the_port_is_a_lateral_service() {
    use firedoor::wire::Services;
    use firedoor::wire::frame::Transport;
    for (configured, expected) in [(true, 3), (false, 2001)] {
        let mut scene = Scene::with(crate::scene::settings(|settings| {
            let udp = [(Transport::Tcp, 445), (Transport::Udp, 1434)];
            settings.lateral = Services::new(if configured { &udp } else { &udp[..1] });
        }))
        .settle();
        let mut needed = 0;
        while !scene.is_acted_on(HOST) && needed <= 2000 {
            scene.udp((HOST, 1200), (Family::V4.address(VACANT, needed % 200), 1434));
            scene.wait(VERDICT);
            needed += 1;
        }
        assert_eq!(needed, expected);
    }
}

#[test]
fn an_answered_datagram_is_an_answered_contact() {
    use firedoor::wire::Services;
    use firedoor::wire::frame::Transport;
    let lateral = Services::new(&[(Transport::Udp, 1434), (Transport::Udp, 137)]);
    let mut scene = Scene::with(crate::scene::settings(|settings| settings.lateral = lateral)).settle();
    for n in 1..=9 {
        scene.udp((HOST, 1200), (Family::V4.server(n), 1434));
        scene.udp((Family::V4.server(n), 1434), (HOST, 1200));
        scene.wait(secs(10));
    }
    assert_eq!(scene.score(HOST).0, 0);
    // Where both ports are the service's, who asks and who answers cannot be known: nobody is blamed.
    for n in 1..=200 {
        scene.udp((Family::V4.client(n), 137), (HOST, 137));
        scene.udp((HOST, 137), (Family::V4.client(n), 137));
    }
    scene.wait(secs(1));
    assert_eq!(scene.verdicts(HOST), []);
}

#[test]
fn a_ping_sweep_of_hosts_that_answer_is_fan_out_on_any_port() {
    let mut scene = Scene::settled();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        let target: Address = Family::V4.address(9, n);
        scene.ping(HOST, target);
        scene.pong(target, HOST);
        scene.wait(ms(20));
    });
    assert!((118..=120).contains(&needed), "{needed}");
}

use crate::scene::VACANT;

/// A handshake from behind `router`, whose card the frame comes from.
fn from_behind(scene: &mut Scene, router: Mac, from: Address, to: Address, port: u16) {
    scene.mac = Some(router);
    scene.syn(from, to, port);
    scene.mac = None;
    scene.syn_ack(to, from, port);
    scene.mac = Some(router);
    scene.data(from, to, port);
    scene.mac = None;
}

#[test]
fn a_host_behind_a_router_that_changes_its_ipv6_address_is_contained_with_its_network() {
    let mut scene = Scene::settled();
    let router = Scene::mac_of(Family::V6.router());
    let network = |n: u16| Family::V6.address(9, n);
    let needed = scene.until_acted_on(network(0), |scene, n| {
        from_behind(scene, router, network(100 + n / 2), Family::V6.server(n + 1), 445);
        scene.wait(ms(200));
    });
    assert_eq!(needed, 21, "twice a host's limit, and the one that showed that its card is a router's");
    let decision = scene.about(network(0)).last().unwrap();
    assert_eq!(decision.suspect.who, Who::Network(network(0)));
}

#[test]
fn a_network_of_many_honest_hosts_behind_a_router_is_not() {
    let mut scene = Scene::settled();
    let router = Scene::mac_of(Family::V6.router());
    // A morning: everybody opens the same three servers, and a session at a desk of his own.
    for n in 0..180 {
        let host = Family::V6.address(9, 100 + n);
        for server in 1..=3 {
            from_behind(&mut scene, router, host, Family::V6.server(server), 445);
        }
        from_behind(&mut scene, router, host, Family::V6.server(10 + n), 3389);
        scene.wait(secs(5));
    }
    assert_eq!(scene.decisions().iter().filter(|decision| decision.decision != Verdict::Watch).count(), 0);
}
