//! Connections found running: a late start, a filtered capture, an answer that passed elsewhere.

use firedoor::detect::Signal;
use firedoor::wire::frame::Flags;

use crate::scene::{FAMILIES, Family, HOST, Outcome, Scene, ms, secs, settings};

#[test]
fn a_clients_payload_is_an_answered_first_contact() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        let needed = scene.until_acted_on(host, |scene, n| {
            scene.data(host, family.server(n + 1), 445);
            scene.data(family.server(n + 1), host, 445);
            scene.wait(ms(700));
        });
        assert_eq!(needed, 10);
        assert_eq!(scene.last_signal(host), Some(Signal::FanoutLateral));
        assert_eq!(scene.score(host).0, 0);
    }
}

#[test]
fn a_servers_payload_is_nothing_of_its_own() {
    let mut scene = Scene::settled();
    for n in 1..=100 {
        scene.tcp((HOST, 445), (Family::V4.client(n), 50_000), Flags::ACK | Flags::PSH, 1400);
    }
    assert_eq!(scene.core.summary().hosts, 0);
}

#[test]
fn neither_bare_acknowledgements_nor_other_ports_begin_a_contact() {
    let mut scene = Scene::settled();
    for n in 1..=100 {
        scene.tcp((HOST, 50_000), (Family::V4.server(n), 445), Flags::ACK, 0);
        scene.tcp((HOST, 50_000), (Family::V4.server(n), 443), Flags::ACK | Flags::PSH, 100);
    }
    assert_eq!(scene.core.counters().first_contacts, 0);
}

#[test]
fn the_start_up_grace_learns_what_runs_and_counts_what_begins() {
    let mut scene = Scene::with(settings(|settings| settings.start_up_grace = secs(60)));
    // A file server's old clients' worth of connections of a backup host, running since yesterday.
    for n in 1..=50 {
        scene.data(HOST, Family::V4.server(n), 445);
    }
    assert_eq!(scene.core.counters().first_contacts, 0);
    assert_eq!(scene.core.counters().learnt, 50);
    // They reconnect later: not new.
    scene.wait(secs(300));
    for n in 1..=50 {
        scene.connect(HOST, Family::V4.server(n), 445);
    }
    assert_eq!(scene.decisions(), []);
    // A scan that begins within the grace is a scan.
    let mut scene = Scene::with(settings(|settings| settings.start_up_grace = secs(60)));
    let needed = scene.until_acted_on(HOST, |scene, n| scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent));
    assert_eq!(needed, 9);
}

#[test]
fn after_the_grace_running_connections_count() {
    let mut scene = Scene::with(settings(|settings| settings.start_up_grace = secs(60)));
    scene.lives(HOST);
    scene.wait(secs(61));
    let needed = scene.until_acted_on(HOST, |scene, n| scene.data(HOST, Family::V4.server(n + 1), 445));
    assert_eq!(needed, 10);
}

#[test]
fn payload_towards_nobody_is_no_answer() {
    // A scanner that sends data after each SYN, to look answered.
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        let needed = scene.until_acted_on(host, |scene, n| {
            scene.syn(host, family.dark(n), 445);
            scene.data(host, family.dark(n), 445);
            scene.wait(secs(12));
        });
        assert_eq!(needed, 3, "{family:?}");
        // Nor does it make others' silence meaningless.
        let other = family.client(8);
        scene.contact(other, family.dark(200), 445, Outcome::Silent);
        assert_eq!(scene.score(other).0, 3300);
    }
}
