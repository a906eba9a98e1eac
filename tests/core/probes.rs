//! Who is there: found out without opening anything, by what an odd packet elicits.

use firedoor::detect::Signal;
use firedoor::respond::Verdict;
use firedoor::wire::Address;
use firedoor::wire::frame::{Flags, Transport};

use crate::scene::{FAMILIES, Family, HOST, Outcome, Scene, VERDICT, ms, secs, settings};

/// What a host that is there answers to an ACK, a SYN-ACK or a FIN with ACK out of nothing (RFC 9293 §3.10.7.1).
fn bare_rst(scene: &mut Scene, peer: Address, host: Address, port: u16) {
    scene.raw((peer, port), (host, 40_000), Flags::RST, 0x1234_5678, 0);
}

#[test]
fn a_sweep_that_opens_nothing_is_watched_and_the_contacts_after_it_alarm_at_half() {
    for family in FAMILIES {
        for port in [80, 445] {
            let mut scene = Scene::settled();
            let host = family.client(7);
            for n in 1..=76 {
                bare_rst(&mut scene, family.server(n), host, port);
                scene.wait(ms(50));
            }
            assert_eq!(scene.verdicts(host), [Verdict::Watch], "{family:?} {port}");
            assert_eq!(scene.last_signal(host), Some(Signal::Probe));
            // It asks the living only, and all answer.
            let needed = scene.until_acted_on(host, |scene, n| {
                scene.connect(host, family.server(n + 1), 445);
                scene.wait(ms(500));
            });
            assert_eq!(needed, 5, "{family:?} {port}");
        }
    }
}

#[test]
fn packets_that_no_connection_holds_are_attempts() {
    for family in FAMILIES {
        for flags in [Flags::FIN, Flags::FIN | Flags::PSH | 0x20, Flags::SYN | Flags::FIN] {
            let probe = |scene: &mut Scene, to, port| {
                scene.raw((family.client(7), 40_000), (to, port), flags, 1000, 0);
            };
            let mut scene = Scene::settled();
            let needed = scene.until_acted_on(family.client(7), |scene, n| {
                probe(scene, family.dark(n), 445);
                scene.wait(VERDICT);
            });
            assert_eq!(needed, 3, "{family:?} {flags:#x}: nobody there");
            let mut scene = Scene::settled();
            let needed = scene.until_acted_on(family.client(7), |scene, n| {
                probe(scene, family.server(n + 1), 445);
                scene.raw(
                    (family.server(n + 1), 445),
                    (family.client(7), 40_000),
                    Flags::RST | Flags::ACK,
                    0,
                    1000 + u32::from(n % 2),
                );
            });
            assert_eq!(needed, 9, "{family:?} {flags:#x}: refused");
        }
    }
}

#[test]
fn a_sweep_by_datagrams_that_live_hosts_refuse_is_watched() {
    let mut scene = Scene::settled();
    for n in 1..=76 {
        let peer = Family::V4.server(n);
        scene.refuses(peer, HOST, 40_125, Transport::Udp);
        scene.wait(ms(50));
    }
    assert_eq!(scene.verdicts(HOST), [Verdict::Watch]);
}

#[test]
fn nobody_is_contained_for_answers_to_what_others_sent_in_its_name() {
    // A forger sends ACKs to every server in the name of a busy one; each refuses to it.
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let framed = family.server(1);
        for n in 2..=200 {
            bare_rst(&mut scene, family.server(n), framed, [445, 80, 3389][usize::from(n % 3)]);
            if n % 40 == 0 {
                scene.connect(framed, family.client(n), 445);
                scene.contact(framed, family.client(n + 1), 9100, Outcome::Refused);
            }
            scene.wait(ms(200));
        }
        assert_eq!(scene.verdicts(framed), [Verdict::Watch], "{family:?}");
    }
}

#[test]
fn the_ends_of_connections_tell_nobody_anything_new() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let server = family.server(1);
        for n in 1..=100 {
            let client = family.client(n);
            scene.connect(client, server, 8080);
            scene.wait(secs(10));
            // The client gave up, and is sent something still: it refuses. So does the server, later.
            scene.raw((client, 40_000), (server, 8080), Flags::RST, 77, 0);
            scene.raw((server, 8080), (client, 40_000), Flags::RST, 78, 0);
        }
        for n in 1..=100 {
            let client = family.client(n);
            // Aborted while it ran (RFC 9293 §3.10.5), with nothing known of its beginning.
            scene.raw((client, 40_000), (family.server(2), 445), Flags::RST | Flags::ACK, 99, 100);
            // From outside, whatever it is.
            scene.raw((Address::v4([198, 51, 100, 7]), 443), (client, 40_000), Flags::RST, 99, 0);
        }
        assert_eq!(scene.decisions(), [], "{family:?}");
        assert_eq!(scene.score(server).0, 0);
    }
}

#[test]
fn connections_that_are_older_than_the_daemon_may_end() {
    // Within the grace a server's may; a sweep is one from the first minute on.
    for (port, verdicts) in [(445, &[][..]), (80, &[][..]), (40_000, &[Verdict::Watch][..])] {
        let mut scene = Scene::with(settings(|settings| settings.start_up_grace = secs(600)));
        let server = Family::V4.server(1);
        for n in 1..=100 {
            scene.raw((Family::V4.client(n), 50_000), (server, port), Flags::RST, 77, 0);
            scene.wait(ms(100));
        }
        assert_eq!(scene.verdicts(server), verdicts, "{port}");
    }
}
