//! Dark addresses: what must be known before "nobody is there" is evidence.

use firedoor::detect::Signal;
use firedoor::respond::Verdict;
use firedoor::suspect::Suspect;
use firedoor::wire::frame::Flags;
use firedoor::wire::{Address, Networks};

use crate::scene::{CLIENTS, FAMILIES, Family, HOST, Outcome, Scene, VACANT, VERDICT, ms, secs, settings};

#[test]
fn a_fresh_daemon_knows_no_dark_address() {
    for family in FAMILIES {
        let mut scene = Scene::fresh();
        let host = family.client(7);
        scene.lives(family.address(VACANT, 250));
        let needed = scene.until_acted_on(host, |scene, n| scene.contact(host, family.dark(n), 445, Outcome::Silent));
        assert_eq!(needed, 9, "failures, no dark ones");
    }
}

#[test]
fn each_segment_is_learnt_by_itself() {
    for family in FAMILIES {
        let mut scene = Scene::fresh();
        let host = family.client(7);
        scene.lives(family.address(20, 1));
        scene.wait(secs(599));
        scene.lives(family.address(21, 1));
        scene.wait(secs(1));
        for (segment, weight) in [(20, 3300), (21, 1100), (22, 1100)] {
            let before = scene.score(host).0;
            scene.contact(host, family.address(segment, 99), 445, Outcome::Silent);
            let gained = scene.score(host).0 - before;
            assert!((weight - 5..=weight).contains(&gained), "{family:?} segment {segment}: {gained}");
        }
    }
}

#[test]
fn whoever_was_seen_within_a_day_is_not_dark() {
    let mut scene = Scene::settled();
    let printer = Family::V4.address(VACANT, 30);
    scene.lives(printer);
    scene.wait(secs(86_000));
    scene.contact(HOST, printer, 445, Outcome::Silent);
    assert!(scene.score(HOST).0 <= 1100);
    scene.wait(secs(86_400));
    scene.lives(Family::V4.address(VACANT, 250));
    scene.contact(HOST, printer, 139, Outcome::Silent);
    assert_eq!(scene.last_signal(HOST), None, "the pair met within the contact memory");
    scene.contact(Family::V4.client(8), printer, 445, Outcome::Silent);
    assert_eq!(scene.score(Family::V4.client(8)).0, 3300);
}

#[test]
fn the_gateways_own_unanswered_question_makes_dark() {
    for family in FAMILIES {
        let gateway = family.address(40, 1);
        let mut scene = Scene::with(settings(|settings| settings.own = Networks::new(vec![gateway.ip().into()])));
        let host = family.client(7);
        let target = family.address(40, 99);
        scene.syn(host, target, 445);
        scene.who_has(gateway, target);
        scene.wait(VERDICT);
        assert_eq!(scene.score(host).0, 3300, "{family:?}");
        assert_eq!(scene.score(gateway).0, 0, "nothing speaks against the gateway");
        // Another one answers the gateway's question but not the host's attempt.
        let alive = family.address(40, 98);
        scene.syn(host, alive, 445);
        scene.who_has(gateway, alive);
        scene.wait(ms(1));
        scene.lives(alive);
        scene.wait(VERDICT);
        assert!((4390..=4400).contains(&scene.score(host).0), "{family:?}: {:?}", scene.score(host));
    }
}

#[test]
fn an_arp_sweep_needs_unanswered_questions() {
    // A central station wakes up and asks for thirty monitors on its own segment. They answer it, unseen from here.
    let mut scene = Scene::settled();
    for n in 0..30 {
        scene.who_has(HOST, Family::V4.dark(n));
        scene.wait(ms(100));
    }
    assert_eq!(scene.verdicts(HOST), []);
    // Whoever asks again got no answer.
    for n in 0..20 {
        scene.who_has_in_vain(HOST, Family::V4.dark(100 + n));
    }
    assert_eq!(scene.verdicts(HOST), [Verdict::Watch], "others can make it ask");
    assert_eq!(scene.last_signal(HOST), Some(Signal::ArpSweep));
}

#[test]
fn questions_in_vain_contain_only_with_several_first_contacts_of_the_hosts_own() {
    for family in FAMILIES {
        for (own, every, acted) in [
            (None, 1, false),
            (Some(8080), 4, false),
            // It works with two servers, which it may always have done.
            (Some(445), 6, false),
            (Some(445), 4, true),
        ] {
            let mut scene = Scene::settled();
            let host = family.client(7);
            for n in 0..12 {
                scene.who_has_in_vain(host, family.dark(100 + n));
                if let Some(port) = own.filter(|_| n % every == 0) {
                    scene.connect(host, family.server(n + 1), port);
                }
            }
            scene.who_has_in_vain(host, family.dark(90));
            assert_eq!(scene.is_acted_on(host), acted, "{family:?}, {own:?} every {every}");
        }
    }
}

#[test]
fn a_card_that_was_taken_for_a_router_is_itself_once_it_answers_for_the_address() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let (host, card) = (family.client(7), Scene::mac_of(family.client(7)));
        // Its handshake is the first that is seen of it, and nobody has asked for it yet.
        scene.connect(host, family.server(1), 445);
        let link = scene.suspect(host).link;
        assert_eq!(scene.suspect(host), Suspect::address(link, host), "{family:?}");
        scene.who_has(host, family.server(2));
        scene.connect(host, family.server(3), 445);
        assert_eq!(scene.suspect(host), Suspect::card(link, card), "{family:?}");
        // Nor does it forward for its next name.
        let next = family.client(8);
        scene.mac = Some(card);
        scene.who_has(next, family.server(2));
        scene.syn(next, family.server(4), 445);
        scene.mac = None;
        scene.syn_ack(family.server(4), next, 445);
        scene.mac = Some(card);
        scene.data(next, family.server(4), 445);
        assert_eq!(scene.suspect(next), Suspect::card(link, card), "{family:?}");
    }
}

#[test]
fn a_question_caused_by_a_packet_in_the_targets_name_weighs_nothing() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        scene.connect(host, family.server(1), 445);
        scene.connect(host, family.server(2), 445);
        for n in 0..60 {
            let target = family.dark(100 + n);
            scene.mac = Some(Scene::mac_of(family.client(66)));
            scene.tcp((target, 5555), (host, 139), Flags::ACK | Flags::FIN, 0);
            scene.mac = None;
            scene.who_has_in_vain(host, target);
        }
        assert_eq!(scene.verdicts(host), []);
        assert_eq!(scene.score(host).0, 0);
    }
}

#[test]
fn a_sweep_by_arp_is_watched_within_seconds_before_anything_is_known_to_be_dark() {
    for (each, times) in [(ms(4), 1), (ms(10), 2), (ms(250), 1)] {
        let mut scene = Scene::fresh();
        let begun = scene.now;
        for n in 0..245 {
            for _ in 0..times {
                scene.who_has(HOST, Family::V4.dark(n));
                scene.wait(each);
            }
        }
        assert_eq!(scene.verdicts(HOST), [Verdict::Watch]);
        assert!(scene.about(HOST).next().unwrap().at.since(begun) < secs(10));
    }
    // An ordinary host asks for two dozen; a router for hundreds.
    let mut scene = Scene::fresh();
    for n in 0..24 {
        scene.who_has(HOST, Family::V4.dark(n));
        scene.wait(ms(100));
    }
    assert_eq!(scene.verdicts(HOST), []);
    let router = Family::V4.router();
    for n in 0..30 {
        // What it forwards comes in where it is itself.
        (scene.mac, scene.interface) = (Some(Scene::mac_of(router)), Some(u32::from(CLIENTS)));
        scene.syn(Family::V4.address(50, n), Family::V4.server(1), 443);
        (scene.mac, scene.interface) = (None, None);
    }
    for n in 0..499 {
        scene.who_has(router, Family::V4.address(3 + u8::try_from(n / 250).unwrap(), n % 250));
        scene.wait(ms(56));
    }
    assert_eq!(scene.verdicts(router), []);
}

#[test]
fn asking_for_the_living_and_being_answered_weighs_nothing() {
    let mut scene = Scene::settled();
    for n in 1..=100 {
        scene.who_has_in_vain(HOST, Family::V4.server(n));
    }
    for n in 0..100 {
        let target = Family::V4.dark(n);
        scene.who_has(HOST, target);
        scene.is_at(target, HOST);
        scene.who_has(HOST, target);
        scene.wait(secs(1));
    }
    assert_eq!(scene.score(HOST).0, 0);
}

#[test]
fn a_routers_questions_follow_from_what_it_forwards() {
    let mut scene = Scene::settled();
    let router = Family::V4.router();
    for n in 0..30 {
        // What it forwards comes in where it is itself.
        (scene.mac, scene.interface) = (Some(Scene::mac_of(router)), Some(u32::from(CLIENTS)));
        scene.syn(Family::V4.address(50, n), Family::V4.server(1), 443);
        (scene.mac, scene.interface) = (None, None);
    }
    for n in 0..50 {
        scene.who_has_in_vain(router, Family::V4.dark(n));
    }
    assert_eq!(scene.verdicts(router), []);
    assert_eq!(scene.score(router).0, 0);
}

#[test]
fn gratuitous_and_probing_arp_is_no_question() {
    let mut scene = Scene::settled();
    for n in 0..50 {
        let host = Family::V4.dark(n);
        scene.who_has(host, host);
        scene.mac = Some(Scene::mac_of(HOST));
        scene.who_has(Address::v4([0, 0, 0, 0]), Family::V4.dark(100 + n));
        scene.mac = None;
    }
    scene.wait(secs(1));
    assert_eq!(scene.core.summary().hosts, 0);
}

#[test]
fn an_address_that_many_still_try_is_an_old_server_and_no_target() {
    // Two print servers were switched off last week; every workstation's log-on script still maps them, and a third
    // dead share here and there.
    let mut scene = Scene::settled();
    let dead = |n: u16| Family::V4.address(VACANT, 40 + n);
    for n in 1..=200 {
        let client = Family::V4.client(n);
        scene.contact(client, dead(0), 445, Outcome::Silent);
        scene.contact(client, dead(1), 445, Outcome::Silent);
        if n > 20 {
            scene.contact(client, dead(2), 445, Outcome::Silent);
        }
        scene.wait(secs(20));
    }
    let acted: Vec<u16> = (1..=200).filter(|&n| scene.is_acted_on(Family::V4.client(n))).collect();
    assert_eq!(acted, Vec::<u16>::new());
    // A worm's targets are its own.
    let worm = Family::V4.client(230);
    let needed = scene.until_acted_on(worm, |scene, n| {
        scene.contact(worm, Family::V4.address(VACANT, 100 + n), 445, Outcome::Silent);
    });
    assert_eq!(needed, 3);
}
