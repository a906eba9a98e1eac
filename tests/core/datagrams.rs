//! First contacts by UDP: who began, what an answer is, and how many are too many.

use std::sync::Arc;
use std::time::Duration;

use firedoor::detect::counters::Outcome as Counted;
use firedoor::detect::evidence::{Detail, Grade};
use firedoor::detect::{Detector, Event, Settings, Signal};
use firedoor::respond::Verdict;
use firedoor::time::Timestamp;
use firedoor::track::{HashKey, Shared};
use firedoor::wire::frame::{Datagram, Frame, Meta, Packet, Transport};
use firedoor::wire::{Address, Mac};

use crate::scene::{CLIENTS, FAMILIES, Family, HOST, Outcome, Scene, VACANT, VERDICT, ms, secs};

#[test]
fn lateral_services_are_asked_over_udp_as_over_tcp() {
    for family in FAMILIES {
        for port in [137, 161, 1434] {
            let mut scene = Scene::settled();
            let host = family.client(7);
            let needed = scene.until_acted_on(host, |scene, n| {
                scene.udp((host, 1200), (family.dark(n), port));
                scene.wait(VERDICT);
            });
            assert_eq!((needed, scene.last_signal(host)), (3, Some(Signal::Dark)), "{family:?} {port}");
            let mut scene = Scene::settled();
            let needed = scene.until_acted_on(host, |scene, n| {
                scene.udp((host, 40_000), (family.server(n + 1), port));
                scene.refuses(family.server(n + 1), host, port, Transport::Udp);
                scene.wait(ms(400));
            });
            assert_eq!(needed, 9, "{family:?} {port}: refused");
            // However fast: the first wait, the fourth has made them fail.
            let mut scene = Scene::settled();
            let needed = scene.until_acted_on(host, |scene, n| {
                scene.udp((host, 1200), (family.dark(n), port));
            });
            assert!(needed <= 10, "{family:?} {port}: {needed}");
        }
    }
}

#[test]
fn a_name_is_looked_up_with_a_few_dozen_and_a_sweep_is_contained_though_all_answer() {
    for (every, limit) in [(ms(100), 30), (ms(900), 60), (secs(3), 150)] {
        let mut scene = Scene::settled();
        let needed = scene.until_acted_on(HOST, |scene, n| {
            let printer = Family::V4.address(4 + u8::try_from(n / 250).unwrap(), n % 250);
            scene.udp((HOST, 1200), (printer, 161));
            scene.udp((printer, 161), (HOST, 1200));
            scene.wait(every);
        });
        assert!((limit - 2..=limit).contains(&needed), "every {every:?}: {needed}");
        assert_eq!(scene.last_signal(HOST), Some(Signal::FanoutLateral));
    }
    // TCP's windows are not filled by datagrams.
    let mut scene = Scene::settled();
    for n in 1..=12 {
        scene.udp((HOST, 137), (Family::V4.server(n), 137));
        scene.udp((Family::V4.server(n), 137), (HOST, 137));
        scene.connect(HOST, Family::V4.server(1 + n % 4), 445);
        scene.wait(ms(500));
    }
    assert_eq!(scene.verdicts(HOST), []);
}

#[test]
fn where_both_ports_are_the_services_who_sent_first_asks() {
    for shards in [1, 4] {
        let mut scene = Scene::driven(Settings::default(), firedoor::respond::Settings::default(), shards).settle();
        // A WINS server answers, and is asked by everybody.
        for n in 1..=200 {
            scene.udp((Family::V4.client(n), 137), (HOST, 137));
            scene.udp((HOST, 137), (Family::V4.client(n), 137));
            scene.wait(ms(20));
        }
        scene.wait(VERDICT);
        assert_eq!(scene.decisions(), []);
        assert_eq!(scene.core.counters().outcomes[Counted::Answered as usize], 199, "all but its own");
        // Now it asks itself.
        let needed = scene.until_acted_on(HOST, |scene, n| {
            scene.udp((HOST, 137), (Family::V4.dark(n), 137));
            scene.wait(VERDICT);
        });
        assert_eq!(needed, 3);
    }
}

#[test]
fn what_need_not_be_answered_is_no_failure() {
    let mut scene = Scene::settled();
    for n in 0..25 {
        // NetBIOS datagrams are one-way, and outside nobody need answer for a name.
        scene.udp((HOST, 138), (Family::V4.dark(n), 138));
        scene.udp((HOST, 137), (Address::v4([198, 51, 100, u8::try_from(n).unwrap()]), 137));
        scene.wait(secs(30));
    }
    assert_eq!(scene.score(HOST).0, 0);
    // Hosts that are there and drop what they are asked weigh a third.
    for n in 1..=9 {
        scene.udp((HOST, 1200), (Family::V4.server(n), 161));
        scene.wait(VERDICT);
    }
    assert!((3200..=3300).contains(&scene.score(HOST).0), "{:?}", scene.score(HOST));
}

#[test]
fn a_datagram_first_hides_no_connection_after_it() {
    for port in [161, 40_125] {
        let mut scene = Scene::settled();
        let needed = scene.until_acted_on(HOST, |scene, n| {
            scene.udp((HOST, 1200), (Family::V4.address(VACANT, n), port));
            scene.contact(HOST, Family::V4.address(VACANT, n), 445, Outcome::Silent);
            scene.wait(secs(30));
        });
        assert!(needed <= 3, "{port}: {needed}");
    }
}

/// A detector by itself: what of other ports reaches it is the capture's affair.
struct Alone {
    detector: Detector,
    at: Timestamp,
    alarms: Vec<(Address, Grade)>,
}

impl Alone {
    fn new() -> Self {
        let settings = Arc::new(Settings::default());
        let hash_key = HashKey::new(1);
        let shared = Arc::new(Shared::new(4096, settings.contact_memory, hash_key));
        Alone {
            detector: Detector::new(settings, shared, 1, hash_key),
            at: Timestamp::from_secs(1_700_000_000),
            alarms: vec![],
        }
    }

    fn udp(&mut self, from: (Address, u16), to: (Address, u16), wait: Duration) {
        let datagram = Datagram { source: from.0, source_port: from.1, destination: to.0, destination_port: to.1 };
        let frame = Frame {
            meta: Meta { at: self.at, ..Meta::default() },
            mac_source: Some(Scene::mac_of(from.0)),
            mac_destination: None,
            encapsulation: firedoor::wire::frame::Encapsulation::None,
            tunnel: None,
            unread: None,
            packet: Packet::Udp(datagram),
        };
        self.detector.frame(&frame, 0);
        self.at = self.at + wait;
        let alarm = |event| if let Event::Alarm(alarm) = event { Some((alarm.host, alarm.grade)) } else { None };
        self.alarms.extend(self.detector.events().filter_map(alarm));
    }
}

#[test]
fn fragments_that_hide_a_header_contain_at_the_second_peer_and_forged_ones_nobody() {
    let detail = Detail::Fields { what: "a first fragment of {} bytes", values: [8, 0, 0, 0], source: "RFC 1858 §3" };
    for (card, expected) in [(HOST, vec![(HOST, Grade::Watch), (HOST, Grade::Scan)]), (Family::V4.client(66), vec![])] {
        let mut alone = Alone::new();
        alone.udp((HOST, 5353), (Family::V4.server(1), 5353), ms(1));
        for (n, frames) in [(1, 3), (2, 3)] {
            for _ in 0..frames {
                let (source, destination) = (HOST, Family::V4.server(n));
                let frame = Frame {
                    meta: Meta { at: alone.at, ..Meta::default() },
                    mac_source: Some(Scene::mac_of(card)),
                    mac_destination: None,
                    encapsulation: firedoor::wire::frame::Encapsulation::None,
                    tunnel: None,
                    unread: None,
                    packet: Packet::OtherIp { source, destination },
                };
                alone.detector.hides(&frame, source, destination, detail);
                alone.udp((Family::V4.server(9), 5353), (Family::V4.server(8), 5353), ms(100));
            }
        }
        assert_eq!(alone.alarms, expected);
    }
}

fn peer(n: u16) -> Address {
    Family::V4.address(20 + u8::try_from(n / 200).unwrap(), n % 200)
}

#[test]
fn a_sweep_of_any_udp_port_fills_the_windows_of_any_port() {
    let mut alone = Alone::new();
    for n in 0..1088 {
        alone.udp((HOST, 40_000), (peer(n), 6892), ms(37));
    }
    assert_eq!(alone.alarms[..2], [(HOST, Grade::Watch), (HOST, Grade::Scan)]);
    // Outside, it is a client of a swarm.
    let mut alone = Alone::new();
    for n in 0..1088_u16 {
        let [high, low] = n.to_be_bytes();
        alone.udp((HOST, 40_000), (Address::v4([198, 18, high, low]), 6892), ms(37));
    }
    assert_eq!(alone.alarms, [(HOST, Grade::Watch)]);
}

#[test]
fn who_answers_datagrams_has_opened_nothing() {
    // A name server of a thousand clients, and a telephone that talks to 139 others within a minute.
    let mut alone = Alone::new();
    for n in 0..1000 {
        alone.udp((peer(n), 40_000), (HOST, 53), ms(1));
        alone.udp((HOST, 53), (peer(n), 40_000), ms(9));
    }
    assert_eq!(alone.alarms, []);
    for n in 0..139 {
        alone.udp((HOST, 16_384), (peer(n), 16_384), ms(430));
        alone.udp((peer(n), 16_384), (HOST, 16_384), ms(1));
    }
    assert_eq!(alone.alarms, []);
}

#[test]
fn an_answer_from_the_hosts_own_card_is_none() {
    let mut scene = Scene::settled();
    let needed = scene.until_acted_on(HOST, |scene, n| {
        scene.udp((HOST, 1200), (Family::V4.dark(n), 1434));
        (scene.mac, scene.interface) = (Some(Scene::mac_of(HOST)), Some(1));
        scene.udp((Family::V4.dark(n), 1434), (HOST, 1200));
        (scene.mac, scene.interface) = (None, None);
        scene.wait(VERDICT);
    });
    assert_eq!(needed, 3);
    assert_eq!(scene.verdicts(HOST).last(), Some(&Verdict::Contain));
}

#[test]
fn a_name_that_is_looked_for_by_broadcast_asks_nobody_in_particular() {
    let all = Some(Mac([0xff; 6]));
    for (to_card, last, weighs) in [(all, 255, false), (all, 63, false), (None, 255, true), (all, 9, true)] {
        let mut scene = Scene::settled();
        scene.to_card = to_card;
        scene.udp((HOST, 137), (Family::V4.address(CLIENTS, last), 137));
        scene.wait(VERDICT);
        assert_eq!(scene.score(HOST).0 > 0, weighs, "{to_card:?} {last}");
    }
}
