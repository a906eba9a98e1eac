//! Packets in somebody else's name, and more of them than any table holds.

use firedoor::detect::counters::Unverified;
use firedoor::detect::settings::Capacities;
use firedoor::detect::{Directive, ReversePaths};
use firedoor::respond::{Effect, Verdict};
use firedoor::wire::{Address, Mac, Networks};

use crate::scene::{CLIENTS, FAMILIES, Family, HOST, Outcome, SERVERS, Scene, VACANT, ms, secs, settings};

const FORGER: Mac = Mac([2, 0xbb, 0, 0, 0, 1]);

/// The clients' and servers' segments are attached to the interfaces that bear their numbers.
fn attached() -> Scene {
    Scene::with(settings(|settings| {
        settings.attached = [CLIENTS, SERVERS, VACANT]
            .into_iter()
            .map(|segment| {
                let nets = [format!("10.0.{segment}.0/24"), format!("10.1.{segment}.0/24")];
                (u32::from(segment), Networks::new(nets.iter().map(|net| net.parse().unwrap()).collect()))
            })
            .collect();
    }))
    .settle()
}

fn scan(scene: &mut Scene, source: Address, addresses: std::ops::Range<u16>) {
    for n in addresses {
        scene.contact(source, Family::V4.dark(n), 445, Outcome::Silent);
    }
}

fn unverified(scene: &Scene, reason: Unverified) -> u64 {
    scene.core.counters().unverified[reason as usize]
}

/// A domain controller at work.
fn controller(scene: &mut Scene) -> Address {
    let controller = Family::V4.server(10);
    scene.connect(controller, Family::V4.server(11), 445);
    controller
}

#[test]
fn a_forged_scan_from_the_same_segment_contains_nobody() {
    let mut scene = attached();
    let victim = controller(&mut scene);
    scene.mac = Some(FORGER);
    scan(&mut scene, victim, 0..50);
    assert_eq!(scene.verdicts(victim), []);
    assert!(unverified(&scene, Unverified::Mac) >= 50);
    scene.mac = None;
    scan(&mut scene, victim, 50..53);
    assert!(scene.is_acted_on(victim), "what it does itself still counts");
}

/// Its segment denies what was said of a host.
fn deny(scene: &mut Scene, host: Address, reason: Unverified) {
    let suspect = scene.suspect(host);
    scene.order(|_, effects| effects.push(Effect::Direct(Directive::Spoofed { suspect, reason })));
}

#[test]
fn what_a_forger_did_is_forgotten_and_the_host_is_judged_for_what_it_does_itself() {
    let mut scene = attached();
    scene.mac = Some(FORGER);
    scan(&mut scene, HOST, 0..2);
    assert_eq!(scene.score(HOST).0, 6600, "nobody has contradicted him yet");
    // The host itself answers its segment's question.
    scene.mac = None;
    scene.is_at(HOST, Family::V4.router());
    assert_eq!(scene.score(HOST).0, 0, "what another card sent in its name is nobody's");
    scene.mac = Some(FORGER);
    scan(&mut scene, HOST, 2..40);
    assert_eq!(scene.score(HOST).0, 0, "he is not listened to any more");
    scene.mac = None;
    scan(&mut scene, HOST, 0..2);
    assert!(!scene.is_acted_on(HOST));
    scan(&mut scene, HOST, 2..3);
    assert!(scene.is_acted_on(HOST), "three dark addresses of its own, which the forger tried before it");
    let decision = scene.about(HOST).next_back().unwrap();
    assert_eq!(decision.destinations, 3, "the forger's are not its own");
}

#[test]
fn a_host_that_nobody_answers_for_is_left_alone_for_half_a_minute_only() {
    let mut scene = attached();
    scan(&mut scene, HOST, 0..2);
    deny(&mut scene, HOST, Unverified::NobodyThere);
    scan(&mut scene, HOST, 10..20);
    assert!(!scene.is_acted_on(HOST), "it has just been looked for");
    scene.wait(secs(30));
    scan(&mut scene, HOST, 20..23);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn a_forged_scan_from_another_segment_contains_nobody() {
    let mut scene = attached();
    let victim = controller(&mut scene);
    scene.mac = Some(FORGER);
    scene.interface = Some(u32::from(CLIENTS));
    scan(&mut scene, victim, 0..50);
    // A victim that never sent anything here is protected by where its network is attached.
    let silent = Family::V4.server(199);
    scan(&mut scene, silent, 50..100);
    assert_eq!(scene.decisions(), []);
    assert!(unverified(&scene, Unverified::ReversePath) + unverified(&scene, Unverified::Interface) >= 100);
}

#[test]
fn a_forged_scan_behind_another_router_contains_nobody_who_was_heard_lately() {
    // Nothing is known of attached networks: a replay.
    let mut scene = Scene::settled();
    let victim = controller(&mut scene);
    scene.mac = Some(FORGER);
    scene.interface = Some(77);
    scan(&mut scene, victim, 0..50);
    assert_eq!(scene.decisions(), []);
    assert!(unverified(&scene, Unverified::Interface) >= 50);
}

#[test]
fn a_forger_of_remote_hosts_contains_none_that_does_not_live_behind_its_segment() {
    // A remote site is behind the servers' segment, and nothing behind the clients'.
    let mut scene = Scene::with(settings(|settings| {
        let routes = [(CLIENTS, "10.0.1.0/24"), (SERVERS, "10.0.2.0/24"), (SERVERS, "10.0.77.0/24")];
        let routes = routes.map(|(segment, network)| (254, network.parse().unwrap(), u32::from(segment)));
        settings.reverse_paths = ReversePaths::new(&routes);
    }))
    .settle();
    let remote = |n| Family::V4.address(77, n);
    scene.mac = Some(FORGER);
    scene.interface = Some(u32::from(CLIENTS));
    for n in 1..=100 {
        scan(&mut scene, remote(n), 0..20);
        scan(&mut scene, Family::V4.address(78, n), 0..20);
    }
    assert_eq!(scene.decisions(), []);
    assert!(unverified(&scene, Unverified::ReversePath) >= 4000);
    scene.interface = Some(u32::from(SERVERS));
    scene.mac = None;
    scan(&mut scene, remote(7), 50..60);
    assert!(scene.is_acted_on(remote(7)), "what it does itself still counts");
}

#[test]
fn the_link_layers_own_word_protects_a_victim_that_sends_nothing() {
    let mut scene = attached();
    let victim = Family::V4.client(60);
    scene.is_at(victim, Family::V4.client(1));
    scene.mac = Some(FORGER);
    scan(&mut scene, victim, 0..50);
    assert_eq!(scene.verdicts(victim), []);
    assert!(unverified(&scene, Unverified::Mac) >= 50);
}

#[test]
fn a_forger_who_rotates_through_a_segments_addresses_contains_few_and_soon_nobody() {
    let mut scene = attached();
    scene.mac = Some(FORGER);
    for victim in 1..=200 {
        scan(&mut scene, Family::V4.client(victim), 0..5);
    }
    let acted = (1..=200).filter(|&n| scene.is_acted_on(Family::V4.client(n))).count();
    assert!(acted <= 3, "{acted}");
    assert!(unverified(&scene, Unverified::ManyAddresses) > 190, "alarms that were not raised");
}

#[test]
fn a_host_of_two_families_with_privacy_addresses_is_no_router() {
    // IPv4, link-local, a stable and five temporary IPv6 addresses, all on one card.
    let mut scene = attached();
    let mac = Scene::mac_of(HOST);
    scene.mac = Some(mac);
    scene.interface = Some(u32::from(CLIENTS));
    for n in 0..6 {
        scene.connect(Family::V6.address(CLIENTS, 1000 + n), Family::V6.server(1), 443);
    }
    scene.connect(Address::v6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]), Family::V6.server(1), 443);
    scene.connect(HOST, Family::V4.server(1), 445);
    scan(&mut scene, HOST, 0..3);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn a_device_that_had_many_addresses_over_the_months_is_no_router() {
    let mut scene = attached();
    scene.mac = Some(Scene::mac_of(HOST));
    for day in 0..60 {
        scene.connect(Family::V4.client(100 + day), Family::V4.server(1), 445);
        scene.wait(secs(86_400));
    }
    scene.lives(Family::V4.address(VACANT, 250));
    scene.wait(secs(600));
    scan(&mut scene, HOST, 0..3);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn a_laptop_that_moves_is_believed_after_a_pause() {
    let mut scene = attached();
    let remote = Family::V4.address(90, 5);
    scene.interface = Some(1);
    scene.connect(remote, Family::V4.server(1), 445);
    scene.wait(secs(400));
    scene.interface = Some(2);
    scene.mac = Some(Mac([2, 9, 9, 9, 9, 9]));
    scan(&mut scene, remote, 0..3);
    assert!(scene.is_acted_on(remote));
}

#[test]
fn a_million_forged_sources_hide_no_worm_and_harm_nobody() {
    for family in FAMILIES {
        let mut scene = Scene::with(settings(|settings| {
            settings.capacities =
                Capacities { hosts: 16_384, contacts: 131_072, addresses: 65_536, attempts: 16_384, streams: 1024 };
        }))
        .settle();
        let worm = family.client(7);
        let mut rng = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng
        };
        let (mut knocks, mut contained_after) = (0, None);
        // Twenty seconds at 25,000 a second; the second family gets fewer, to keep the test short.
        let forged: u32 = if family == Family::V4 { 1_000_000 } else { 200_000 };
        for n in 0..forged {
            let [a, b, c, d, e, f, g, h] = random().to_be_bytes();
            let (source, target) = match family {
                Family::V4 => (Address::v4([10, 64 | a & 63, b, c]), Address::v4([10, d & 63, e, f])),
                Family::V6 => (
                    Address::v6([0xfd, 0, 0, 0, 0, 0, a, b, c, d, e, f, 0, 0, g, h]),
                    Address::v6([0xfd, 0, 0, 0, 0, 0, 0, c & 7, 0, 0, 0, 0, 0, e, f, g]),
                ),
            };
            scene.mac = Some(FORGER);
            scene.syn(source, target, 445);
            scene.mac = None;
            if n % 3125 == 0 && n > forged / 4 {
                // The worm, 8 a second, into hosts that are known to be alive: the least evidence there is.
                if contained_after.is_none() {
                    scene.syn(worm, family.server(knocks % 200 + 1), 445);
                    knocks += 1;
                }
                if contained_after.is_none() && scene.is_acted_on(worm) {
                    contained_after = Some(knocks);
                }
            }
            scene.wait(std::time::Duration::from_micros(40));
        }
        assert!(contained_after.is_some_and(|knocks| knocks <= 10), "{family:?}: {contained_after:?}");
        let others: Vec<_> = scene
            .decisions()
            .iter()
            .filter(|decision| decision.host != worm && decision.decision != Verdict::Watch)
            .collect();
        assert!(others.is_empty(), "{family:?}: {others:?}");
        let detector = scene.core.detector(worm).unwrap();
        let (hosts, room) = detector.hosts().occupancy();
        assert!(hosts <= room && room == 16_384);
        let (contacts, room) = detector.contacts().occupancy();
        assert!(contacts <= room && room == 131_072);
        assert!(detector.deadlines().occupancy().0 <= 16_384);
        assert!(detector.hosts().evicted() > 100_000);
        assert_eq!(scene.core.shared().addresses.occupancy().1, 65_536);
    }
}

#[test]
fn a_flood_forgets_neither_a_contained_host_nor_a_suspect_nor_known_contacts() {
    let mut scene = Scene::with(settings(|settings| {
        settings.capacities =
            Capacities { hosts: 2048, contacts: 16_384, addresses: 8192, attempts: 4096, streams: 1024 };
    }))
    .settle();
    let (contained, suspect, honest) = (Family::V4.client(1), Family::V4.client(2), Family::V4.client(3));
    scan(&mut scene, contained, 0..3);
    scan(&mut scene, suspect, 10..12);
    for n in 1..=9 {
        scene.connect(honest, Family::V4.server(n), 445);
        scene.wait(secs(10));
    }
    scene.wait(secs(30));
    scene.mac = Some(FORGER);
    for n in 0..100_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        scene.syn(Address::v4([10, 64 + b, c, d]), Address::v4([10, 0, d, c]), 445);
        scene.wait(std::time::Duration::from_micros(20));
    }
    scene.mac = None;
    assert!(scene.is_acted_on(contained));
    assert!(scene.score(suspect).0 > 6000, "{:?}", scene.score(suspect));
    // Known contacts are still known: nine old ones and one new are one first contact.
    let before = scene.core.counters().first_contacts;
    for n in 1..=9 {
        scene.connect(honest, Family::V4.server(n), 445);
    }
    assert_eq!(scene.core.counters().first_contacts, before);
    // And nobody is dark while "never seen" proves nothing.
    scene.contact(Family::V4.client(9), Family::V4.dark(99), 445, Outcome::Silent);
    assert!(scene.score(Family::V4.client(9)).0 <= 1100);
    scene.wait(ms(1));
}
