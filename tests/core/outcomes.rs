//! Answered, refused, unreachable, silent: each recognised, in time, and once.

use firedoor::detect::Signal;
use firedoor::detect::counters::{Outcome as Counted, Unverified};
use firedoor::detect::evidence::Score;
use firedoor::wire::frame::{Flags, Transport};

use crate::scene::{CLIENTS, FAMILIES, Family, HOST, Outcome, Scene, VERDICT, ms, secs, settings};

fn count(scene: &Scene, outcome: Counted) -> u64 {
    scene.core.counters().outcomes[outcome as usize]
}

fn unverified(scene: &Scene, reason: Unverified) -> u64 {
    scene.core.counters().unverified[reason as usize]
}

#[test]
fn each_outcome_is_counted_once() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        scene.contact(host, family.server(1), 445, Outcome::Answered);
        scene.contact(host, family.server(2), 445, Outcome::Refused);
        scene.contact(host, family.server(3), 445, Outcome::Unreachable);
        scene.contact(host, family.server(4), 445, Outcome::Silent);
        scene.wait(secs(5));
        for outcome in [Counted::Answered, Counted::Refused, Counted::Unreachable, Counted::Silent] {
            assert_eq!(count(&scene, outcome), 1, "{family:?} {outcome:?}");
        }
        assert_eq!(scene.core.counters().first_contacts, 4);
    }
}

#[test]
fn silence_is_judged_at_the_answer_timeout_without_another_packet() {
    let mut scene = Scene::settled();
    scene.syn(HOST, Family::V4.dark(1), 445);
    scene.wait(ms(299));
    assert_eq!(scene.score(HOST).0, 0);
    scene.wait(ms(1));
    assert_eq!(scene.score(HOST).0, 3300);
    // The decision bears the moment of the verdict, not of the next packet.
    scene.syn(HOST, Family::V4.dark(2), 445);
    scene.syn(HOST, Family::V4.dark(3), 445);
    let due = scene.now + ms(300);
    scene.wait(secs(60));
    assert_eq!(scene.about(HOST).next_back().unwrap().at, due);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn more_than_a_few_pending_have_failed_already() {
    let mut scene = Scene::settled();
    for n in 0..3 {
        scene.syn(HOST, Family::V4.dark(n), 445);
    }
    assert_eq!(scene.score(HOST).0, 0, "three may wait");
    scene.syn(HOST, Family::V4.dark(3), 445);
    assert!(scene.is_acted_on(HOST), "with a fourth, the three before it have failed");
    assert!(scene.about(HOST).next_back().unwrap().evidence[0].detail.contains("pending at once"));
}

#[test]
fn a_retransmitted_syn_is_the_same_attempt() {
    let mut scene = Scene::settled();
    for n in 0..2 {
        for retransmission in [1000, 2000, 4000, 8000] {
            scene.syn(HOST, Family::V4.dark(n), 445);
            scene.wait(ms(retransmission));
        }
    }
    assert!(scene.score(HOST).0 <= 6600);
    assert_eq!(scene.core.counters().first_contacts, 2);
    assert!(!scene.is_acted_on(HOST));
}

#[test]
fn a_late_answer_takes_the_failure_back() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        for n in 1..=8 {
            scene.contact(host, family.server(n), 445, Outcome::Silent);
        }
        let before = scene.score(host).0;
        assert!(before > 8700, "{before}");
        for n in 1..=8 {
            scene.syn_ack(family.server(n), host, 445);
        }
        assert!(scene.score(host).0 <= 0, "{family:?}: {:?}", scene.score(host));
        assert_eq!(scene.core.counters().retracted, 8);
        // A second copy of the same answer takes nothing back.
        scene.contact(host, family.server(20), 445, Outcome::Refused);
        scene.syn_ack(family.server(1), host, 445);
        assert_eq!(scene.score(host).0, 1100);
    }
}

#[test]
fn an_answer_much_too_late_takes_nothing_back() {
    let mut scene = Scene::settled();
    scene.contact(HOST, Family::V4.server(1), 445, Outcome::Silent);
    scene.wait(secs(11));
    scene.syn_ack(Family::V4.server(1), HOST, 445);
    assert!(scene.score(HOST).0 > 1000);
}

#[test]
fn a_slow_line_with_many_connections_at_once_is_no_worm() {
    // Eight servers behind a line of 250 ms, all asked in the same moment.
    let mut scene = Scene::settled();
    for n in 1..=8 {
        scene.syn(HOST, Family::V4.server(n), 3389);
    }
    scene.wait(ms(250));
    for n in 1..=8 {
        scene.syn_ack(Family::V4.server(n), HOST, 3389);
    }
    scene.wait(secs(2));
    assert!(!scene.is_acted_on(HOST));
    assert_eq!(scene.score(HOST).0, 0);
}

#[test]
fn backscatter_is_nobodys_evidence() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        for n in 0..500 {
            let outside = family.address(200, n);
            scene.syn_ack(outside, HOST, 445);
            scene.rst(outside, HOST, 445);
            scene.rst(HOST, outside, 445);
            scene.unreachable(family.router(), family.client(7), outside, 445, Transport::Tcp);
            scene.wait(ms(10));
        }
        assert_eq!(scene.decisions(), []);
        assert_eq!(scene.core.summary().hosts, 0);
    }
}

#[test]
fn an_icmp_error_without_ports_settles_what_waits_for_that_address() {
    let mut scene = Scene::settled();
    scene.syn(HOST, Family::V4.server(1), 445);
    scene.unreachable(Family::V4.router(), HOST, Family::V4.server(1), 0, Transport::Tcp);
    assert_eq!(scene.score(HOST).0, 1100);
    scene.wait(VERDICT);
    assert!((1090..=1100).contains(&scene.score(HOST).0), "judged once");
}

#[test]
fn failures_on_a_server_that_served_lately_are_an_outage_once_several_share_them() {
    let mut scene = Scene::settled();
    let client = |n| Family::V4.client(n);
    // Nine file servers serve for a while, then all of them vanish with their rack.
    let servers: Vec<_> = (1..=9).map(|n| Family::V4.server(n)).collect();
    for &server in &servers {
        for n in 100..105 {
            scene.connect(client(n), server, 445);
            scene.wait(secs(70));
        }
    }
    for n in 1..=60 {
        for &server in &servers {
            scene.syn(client(n), server, 445);
        }
        scene.wait(VERDICT);
    }
    let blamed: Vec<_> = (1..=60).filter(|&n| scene.score(client(n)).0 > 0 || scene.is_acted_on(client(n))).collect();
    assert_eq!(blamed, Vec::<u16>::new());
    assert!(unverified(&scene, Unverified::Outage) > 500);
    // On another port they never served, failures there are a scan's.
    for &server in &servers {
        scene.contact(client(200), server, 22, Outcome::Silent);
    }
    assert_eq!(scene.core.counters().evidence[Signal::FailureFirstContact as usize], 9);
}

#[test]
fn a_server_of_few_is_an_outage_once_several_fail_on_it() {
    let mut scene = Scene::settled();
    let client = |n| Family::V4.client(n);
    // One nightly job used it so far.
    scene.connect(client(100), Family::V4.server(1), 445);
    for n in 1..=20 {
        scene.contact(client(n), Family::V4.server(1), 445, Outcome::Silent);
    }
    let blamed: Vec<_> = (1..=20).filter(|&n| scene.score(client(n)).0 > 0).collect();
    assert!(blamed.len() <= 3, "{blamed:?}");
}

#[test]
fn one_hosts_failures_alone_are_no_outage() {
    let mut scene = Scene::settled();
    for n in 1..=20 {
        scene.connect(Family::V4.client(100), Family::V4.server(n), 445);
        scene.wait(secs(120));
    }
    let needed =
        scene.until_acted_on(HOST, |scene, n| scene.contact(HOST, Family::V4.server(n + 1), 445, Outcome::Silent));
    assert_eq!(needed, 9);
}

#[test]
fn while_the_ring_loses_packets_silence_proves_nothing() {
    let mut scene = Scene::settled();
    let until = scene.now + secs(30);
    scene.core.shared().lost_packets(scene.now, secs(30));
    for n in 0..6 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    assert_eq!(scene.score(HOST).0, 0);
    assert_eq!(unverified(&scene, Unverified::Loss), 6);
    scene.contact(HOST, Family::V4.server(1), 445, Outcome::Refused);
    assert_eq!(scene.score(HOST).0, 1100, "a refusal was seen");
    assert!(scene.now < until);
    // And fan-out is counted all the same.
    for n in 10..13 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn where_answers_pass_elsewhere_silence_proves_nothing() {
    // Only the clients' direction is seen: SYN, then payload.
    let mut scene = Scene::settled();
    for n in 1..=20 {
        let client = Family::V4.client(100 + n);
        scene.syn(client, Family::V4.server(n), 445);
        scene.wait(ms(5));
        scene.data(client, Family::V4.server(n), 445);
        scene.wait(secs(10));
        assert_eq!(scene.score(client).0, 0);
    }
    scene.contact(Family::V4.client(8), Family::V4.dark(1), 445, Outcome::Silent);
    assert_eq!(scene.score(Family::V4.client(8)).0, 0);
    assert!(unverified(&scene, Unverified::OneSided) > 0);
    // As soon as answers are seen again, it does.
    for n in 10..=60 {
        scene.connect(Family::V4.client(n), Family::V4.server(n), 445);
    }
    scene.contact(Family::V4.client(8), Family::V4.dark(2), 445, Outcome::Silent);
    assert_eq!(scene.score(Family::V4.client(8)).0, 3300);
}

#[test]
fn one_hosts_half_handshakes_make_nobodys_silence_meaningless() {
    // SYN and payload in one breath, to as many live hosts as there are; under one name, and under twenty of one card.
    for names in [1, 20] {
        let mut scene = Scene::settled();
        scene.mac = Some(Scene::mac_of(HOST));
        for n in 0..60 {
            let name = if names == 1 { HOST } else { Family::V4.client(100 + n % 3) };
            scene.syn(name, Family::V4.server(n + 1), 23);
            scene.data(name, Family::V4.server(n + 1), 23);
            scene.wait(secs(70));
        }
        scene.mac = None;
        let worm = Family::V4.client(8);
        let needed = scene.until_acted_on(worm, |scene, n| {
            scene.contact(worm, Family::V4.dark(n), 445, Outcome::Silent);
        });
        assert_eq!(needed, 3, "{names} names");
        assert_eq!(unverified(&scene, Unverified::OneSided), 0);
    }
}

#[test]
fn an_answer_must_acknowledge_what_was_sent() {
    for family in FAMILIES {
        for flags in [Flags::SYN | Flags::ACK, Flags::RST | Flags::ACK] {
            let mut scene = Scene::settled();
            let host = family.client(7);
            for n in 0..4 {
                scene.syn(host, family.server(n + 1), 445);
                // From a card that is not the host's, to a wrong port, and with a number that nobody sent.
                scene.tcp((family.server(n + 1), 445), (host, 40_001), flags, 0);
                scene.raw((family.server(n + 1), 445), (host, 40_000), flags, 0xdead_beef, 7);
                scene.wait(VERDICT);
                scene.wait(secs(11));
            }
            assert!(scene.score(host).0 > 4300, "{family:?}: {:?}", scene.score(host));
            assert_eq!(count(&scene, Counted::Silent), 4);
        }
    }
}

#[test]
fn a_host_that_answers_itself_is_judged_as_if_nobody_did() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        let needed = scene.until_acted_on(host, |scene, n| {
            let target = family.dark(n);
            scene.syn(host, target, 445);
            scene.mac = Some(Scene::mac_of(host));
            scene.interface = Some(u32::from(if family == Family::V4 { CLIENTS } else { 0 }));
            scene.syn_ack(target, host, 445);
            scene.rst(target, host, 445);
            // The gateway forwards it back to the host.
            scene.mac = Some(Scene::mac_of(family.router()));
            scene.syn_ack(target, host, 445);
            (scene.mac, scene.interface) = (None, None);
            scene.data(host, target, 445);
            scene.wait(ms(1250));
            // And too late for the verdict.
            for card in [host, family.router()] {
                (scene.mac, scene.interface) =
                    (Some(Scene::mac_of(card)), Some(u32::from(CLIENTS) * u32::from(host.is_v4())));
                scene.syn_ack(target, host, 445);
            }
            (scene.mac, scene.interface) = (None, None);
        });
        assert_eq!(needed, 3, "{family:?}");
        assert!(unverified(&scene, Unverified::Answer) >= 6);
    }
}

#[test]
fn nor_do_answers_from_a_made_up_card_on_its_own_link_help() {
    // A bridge: networks are attached elsewhere, and no route leads to its ports.
    use firedoor::wire::Networks;
    let bridge = || {
        let management = Networks::new(vec!["192.168.99.0/24".parse().unwrap()]);
        Scene::with(settings(|settings| settings.attached = vec![(99, management)])).settle()
    };
    let mut scene = bridge();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        scene.syn(HOST, Family::V4.dark(n), 445);
        (scene.mac, scene.interface) = (Some(Scene::mac_of(Family::V4.client(200))), Some(u32::from(CLIENTS)));
        scene.syn_ack(Family::V4.dark(n), HOST, 445);
        (scene.mac, scene.interface) = (None, None);
        scene.wait(ms(1250));
    });
    assert_eq!(needed, 3);
    let mut scene = bridge();
    scene.contact(HOST, Family::V4.server(1), 445, Outcome::Answered);
    scene.wait(VERDICT);
    assert_eq!((scene.score(HOST).0, count(&scene, Counted::Answered)), (0, 1));
}

#[test]
fn any_of_the_first_and_the_last_of_several_connections_may_be_answered() {
    let mut scene = Scene::settled();
    for port in [40_000, 40_001, 40_002] {
        scene.tcp((HOST, port), (Family::V4.server(1), 445), Flags::SYN, 0);
    }
    scene.tcp((Family::V4.server(1), 445), (HOST, 40_002), Flags::SYN | Flags::ACK, 0);
    scene.wait(VERDICT);
    assert_eq!((scene.score(HOST).0, count(&scene, Counted::Answered)), (0, 1));
}

#[test]
fn what_the_fuse_dropped_is_fan_out_and_not_failure() {
    use firedoor::track::buckets::Fuse;
    let mut scene = Scene::with(settings(|settings| settings.fuse = Some(Fuse { burst: 4, per_second: 1 }))).settle();
    for n in 1..=9 {
        scene.contact(HOST, Family::V4.server(n), 445, if n <= 4 { Outcome::Answered } else { Outcome::Silent });
    }
    assert!(count(&scene, Counted::Limited) >= 2);
    assert_eq!(count(&scene, Counted::Limited) + count(&scene, Counted::Silent), 5);
    assert!(scene.score(HOST).0 <= 3300);
    scene.contact(HOST, Family::V4.server(10), 445, Outcome::Silent);
    assert_eq!(scene.last_signal(HOST), Some(Signal::FanoutLateral));
}

/// Of so many addresses tried on a port, each `nth` answers, who is nobody else's server; says at which try the host was
/// contained.
fn one_in_nth_answers(scene: &mut Scene, port: u16, nth: u16, tries: u16) -> Option<u16> {
    for n in 0..tries {
        let outcome = if n % nth == nth - 1 { Outcome::Answered } else { Outcome::Silent };
        scene.contact(HOST, Family::V4.dark(n), port, outcome);
        scene.wait(ms(500));
        if scene.is_acted_on(HOST) {
            return Some(n + 1);
        }
    }
    None
}

#[test]
fn a_print_server_among_its_printers_is_left_alone_though_some_are_dead() {
    // A spooler starts: ninety printers answer, twenty were switched off long ago.
    for first in [0, 3, 5] {
        let mut scene = Scene::settled();
        for n in 0..110_u16 {
            let dead = (n + first) % 11 < 2;
            let (printer, outcome) = if dead {
                (Family::V4.dark(n), Outcome::Silent)
            } else {
                (Family::V4.server(n + 1), Outcome::Answered)
            };
            scene.contact(HOST, printer, [9100, 631, 515][usize::from(n % 3)], outcome);
            scene.wait(ms(300));
        }
        assert_eq!(scene.verdicts(HOST), [], "beginning at {first}");
    }
}

#[test]
fn a_scan_of_another_port_is_contained_whether_a_third_answers_or_nobody() {
    // 30 % of a network alive and listening is many.
    for (nth, contained_at) in [(100, 9), (10, 9), (3, 17)] {
        assert_eq!(
            one_in_nth_answers(&mut Scene::settled(), 8080, nth, 60),
            Some(contained_at),
            "one in {nth} answers"
        );
    }
    let mut scene = Scene::with(settings(|settings| settings.weights.known_server = Score(0))).settle();
    assert_eq!(one_in_nth_answers(&mut scene, 8080, 3, 60), Some(13), "if answers took nothing back");
}

#[test]
fn answers_on_other_ports_take_nothing_back_of_what_lateral_services_added() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let host = family.client(7);
        scene.contact(host, family.dark(1), 445, Outcome::Silent);
        scene.contact(host, family.dark(2), 445, Outcome::Silent);
        scene.contact(host, family.dark(3), 8080, Outcome::Silent);
        assert_eq!(scene.score(host).0, 7700);
        for n in 1..=50 {
            scene.connect(host, family.server(n), 9100);
        }
        assert_eq!(scene.score(host).0, 6600, "{family:?}");
        scene.contact(host, family.dark(4), 445, Outcome::Silent);
        assert!(scene.is_acted_on(host), "{family:?}: the third dark address contains all the same");
    }
}

#[test]
fn one_dark_address_on_many_ports_is_one_dark_address() {
    let mut scene = Scene::settled();
    for port in [445, 9100, 80, 631] {
        scene.contact(HOST, Family::V4.dark(1), port, Outcome::Silent);
    }
    assert_eq!(scene.score(HOST).0, 3300);
}
