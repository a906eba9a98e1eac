//! Roles, decoys, the never-contain list: who may do what, and who can never be dropped.

use firedoor::detect::counters::Unverified;
use firedoor::detect::settings::Role;
use firedoor::respond::{self, By, Exempted, Verdict};
use firedoor::wire::frame::{Flags, Packet, Segment, Transport};
use firedoor::wire::{Address, Networks, Services};

use crate::scene::{FAMILIES, Family, HOST, Outcome, Scene, ms, secs, settings};

fn only(host: Address) -> Networks {
    Networks::new(vec![host.ip().into()])
}

fn role(name: &str, host: Address, ports: Option<&[u16]>) -> Role {
    Role {
        name: name.to_owned(),
        hosts: only(host),
        services: ports
            .map(|ports| Services::new(&ports.iter().map(|&port| (Transport::Tcp, port)).collect::<Vec<_>>())),
        smb1: false,
        remote_execution: false,
        owner: "infrastructure".to_owned(),
        reason: "scans every night".to_owned(),
        until: None,
    }
}

fn scan(scene: &mut Scene, from: Address, port: u16, first: u16) {
    for n in first..first + 200 {
        scene.syn(from, Family::V4.address(9, n), port);
        scene.wait(ms(50));
    }
    scene.wait(secs(1));
}

#[test]
fn a_role_allows_its_ports_and_no_others() {
    let scanner = HOST;
    let mut scene =
        Scene::with(settings(|settings| settings.roles = vec![role("scanner", scanner, Some(&[445, 22]))])).settle();
    scan(&mut scene, scanner, 445, 0);
    scan(&mut scene, scanner, 22, 0);
    assert_eq!(scene.verdicts(scanner), []);
    assert!(scene.core.counters().unverified[Unverified::Role as usize] >= 200);
    scan(&mut scene, scanner, 3389, 300);
    assert!(scene.is_acted_on(scanner));
}

#[test]
fn a_role_without_ports_allows_all_and_only_to_its_hosts() {
    let mut scene = Scene::with(settings(|settings| settings.roles = vec![role("scanner", HOST, None)])).settle();
    scan(&mut scene, HOST, 445, 0);
    scan(&mut scene, HOST, 8443, 300);
    for n in 0..50 {
        scene.ping(HOST, Family::V4.dark(n));
        scene.who_has_in_vain(HOST, Family::V4.dark(100 + n));
    }
    assert_eq!(scene.verdicts(HOST), []);
    scan(&mut scene, Family::V4.client(8), 445, 0);
    assert!(scene.is_acted_on(Family::V4.client(8)));
}

#[test]
fn a_role_ends_when_it_expires() {
    let mut scene = Scene::with(settings(|settings| {
        let mut role = role("migration", HOST, None);
        role.until = Some(firedoor::time::Timestamp::from_secs(1_700_000_000 + 3600));
        settings.roles = vec![role];
    }))
    .settle();
    scan(&mut scene, HOST, 445, 0);
    assert_eq!(scene.verdicts(HOST), []);
    scene.wait(secs(3600));
    scan(&mut scene, HOST, 445, 300);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn a_host_may_have_several_roles() {
    let mut scene = Scene::with(settings(|settings| {
        let mut over = role("over", HOST, None);
        over.until = Some(firedoor::time::Timestamp::from_secs(1));
        settings.roles = vec![over, role("printing", HOST, Some(&[9100, 445])), role("poller", HOST, Some(&[22]))];
    }))
    .settle();
    scan(&mut scene, HOST, 445, 0);
    scan(&mut scene, HOST, 22, 300);
    assert_eq!(scene.verdicts(HOST), []);
}

#[test]
fn what_a_role_allows_does_not_teach_that_a_host_is_honest() {
    // The scanner's own machine is infected and spreads over a port it has no role for.
    let mut scene =
        Scene::with(settings(|settings| settings.roles = vec![role("scanner", HOST, Some(&[22]))])).settle();
    scan(&mut scene, HOST, 22, 0);
    let needed = scene.until_acted_on(HOST, |scene, n| {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    });
    assert_eq!(needed, 3);
}

#[test]
fn a_scanner_with_a_role_may_touch_decoys() {
    let bait = Family::V4.server(201);
    for (ports, acted) in [(None, false), (Some(&[8443][..]), false), (Some(&[22][..]), true)] {
        let mut scene = Scene::with(settings(|settings| {
            settings.decoys = only(bait);
            settings.roles = vec![role("scanner", HOST, ports)];
        }))
        .settle();
        scene.connect(HOST, bait, 8443);
        scene.fin(HOST, bait, 8443);
        assert_eq!(scene.is_acted_on(HOST), acted, "{ports:?}");
    }
}

#[test]
fn a_decoy_answers_for_a_completed_handshake_and_not_for_a_claim_of_one() {
    for family in FAMILIES {
        let bait = family.server(201);
        let host = family.client(7);
        let baited = || Scene::with(settings(|settings| settings.decoys = only(bait))).settle();
        // Payload without a connection: anybody can send that in the host's name.
        let mut scene = baited();
        scene.data(host, bait, 445);
        scene.fin(host, bait, 8443);
        assert!(!scene.is_acted_on(host));
        // A connection that the bait answered, but payload that cannot know the answer.
        let mut scene = baited();
        scene.syn(host, bait, 445);
        scene.send(bait, forged_answer(bait, host));
        scene.data(host, bait, 445);
        assert!(!scene.is_acted_on(host));
        // On a port whose data is not looked at, the connection's end decides.
        let mut scene = baited();
        scene.syn(host, bait, 8443);
        scene.syn_ack(bait, host, 8443);
        scene.fin(host, bait, 8443);
        assert!(scene.is_acted_on(host));
        let mut scene = baited();
        scene.syn(host, bait, 445);
        scene.syn_ack(bait, host, 445);
        scene.data(host, bait, 445);
        assert!(scene.is_acted_on(host));
        // From elsewhere than the host.
        let mut scene = baited();
        scene.lives(host);
        scene.connect(host, family.server(1), 445);
        scene.mac = Some(Scene::mac_of(family.client(66)));
        scene.syn(host, bait, 445);
        scene.syn_ack(bait, host, 445);
        scene.data(host, bait, 445);
        assert!(!scene.is_acted_on(host), "{family:?}");
    }
}

/// An answer with a number that the scene's clients do not acknowledge.
fn forged_answer<'a>(from: Address, to: Address) -> Packet<'a> {
    Packet::Tcp(Segment {
        source: from,
        destination: to,
        source_port: 445,
        destination_port: 40_000,
        flags: Flags(Flags::SYN | Flags::ACK),
        sequence: 0xdead_beef,
        acknowledgement: 0,
        payload_length: 0,
        payload: &[],
    })
}

#[test]
fn never_contain_is_watched_and_never_dropped() {
    for family in FAMILIES {
        let respond = respond::Settings {
            mode: respond::Mode::Enforce,
            never_contain: Networks::new(vec![match family {
                Family::V4 => "10.0.1.0/28".parse().unwrap(),
                Family::V6 => "fd00:0:0:1::/124".parse().unwrap(),
            }]),
            ..respond::Settings::default()
        };
        let mut scene = Scene::driven(firedoor::detect::Settings::default(), respond, 1).settle();
        let (never, other) = (family.client(7), family.client(77));
        for n in 0..20 {
            scene.contact(never, family.dark(n), 445, Outcome::Silent);
            scene.contact(other, family.dark(100 + n), 445, Outcome::Silent);
        }
        assert!(!scene.is_acted_on(never));
        assert!(scene.is_acted_on(other));
        assert!(scene.verdicts(never).iter().all(|&verdict| verdict == Verdict::Watch));
        let last = scene.about(never).next_back().unwrap();
        assert!(last.reason.contains("never-contain list (entry "), "{}", last.reason);
        assert!(!last.enforced);
    }
}

#[test]
fn never_contain_is_retroactive() {
    let mut scene = Scene::settled();
    for n in 0..3 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    assert!(scene.is_acted_on(HOST));
    let now = scene.now;
    let by = By::Operator("ana".to_owned());
    let entry = Exempted { network: HOST.ip().into(), by: "ana".to_owned(), at: now, reason: String::new() };
    scene.order(|responder, effects| responder.order_exempt(entry, &by, now, effects)).unwrap();
    assert!(!scene.is_acted_on(HOST));
    let released = scene.about(HOST).next_back().unwrap();
    assert_eq!((released.decision, &released.by), (Verdict::Release, &by));
}

#[test]
fn who_is_not_protected_is_not_judged() {
    let mut scene = Scene::settled();
    let outside = Address::v4([198, 51, 100, 9]);
    for n in 0..200 {
        scene.contact(outside, Family::V4.dark(n), 445, Outcome::Silent);
    }
    assert_eq!(scene.verdicts(outside), []);
    let gateway = Family::V4.address(1, 1);
    let mut scene = Scene::with(settings(|settings| settings.own = only(gateway))).settle();
    for n in 0..200 {
        scene.contact(gateway, Family::V4.dark(n), 445, Outcome::Silent);
    }
    assert_eq!(scene.verdicts(gateway), []);
}
