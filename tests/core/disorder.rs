//! Any number of shards, any times, any interleaving: the same decisions, bounded tables, no panic.

use firedoor::detect::{Settings, settings::Capacities};
use firedoor::replay::Lockstep;
use firedoor::respond;
use firedoor::time::Timestamp;
use firedoor::wire::Address;
use firedoor::wire::decode::decode;
use firedoor::wire::frame::{Flags, LinkKind, Meta};
use proptest::prelude::*;

use crate::scene::{Family, HOST, Outcome, Scene, ms, secs, settings};

/// An afternoon with everything in it: servers, failures, a ping sweep, ARP, four worms of three kinds.
fn afternoon(shards: usize) -> String {
    let respond = respond::Settings { mode: respond::Mode::Enforce, ..respond::Settings::default() };
    let mut scene = Scene::driven(Settings::default(), respond, shards).settle();
    for family in [Family::V4, Family::V6] {
        for minute in 0..30u16 {
            for client in 20..60 {
                scene.connect(family.client(client), family.server(1 + (client + minute) % 7), 445);
                if client % 9 == minute % 9 {
                    scene.syn(family.client(client), family.server(100 + minute), 3389);
                }
            }
            scene.who_has_in_vain(family.client(21), family.dark(100 + minute));
            scene.ping(family.client(22), family.dark(minute));
            scene.syn(family.client(10), family.dark(4 * minute), 445);
            for n in 0..8 {
                scene.syn(family.client(11), family.address(60, 8 * minute + n), 22);
            }
            scene.connect(family.client(12), family.server(1 + 5 * minute), 445);
            scene.connect(family.client(12), family.server(2 + 5 * minute), 445);
            scene.wait(secs(60));
        }
    }
    scene.wait(secs(90_000));
    let lines: Vec<_> = scene.decisions().iter().map(|decision| serde_json::to_string(decision).unwrap()).collect();
    lines.join("\n")
}

#[test]
fn the_number_of_shards_changes_no_byte_of_any_decision() {
    let alone = afternoon(1);
    assert!(alone.lines().count() > 10, "{alone}");
    for word in ["contain", "release", "watch"] {
        assert!(alone.contains(&format!("\"decision\":\"{word}\"")), "{word}");
    }
    for shards in [2, 3, 4, 16] {
        assert_eq!(afternoon(shards), alone, "{shards} shards");
    }
}

#[test]
fn the_same_frames_through_real_bytes_are_the_same_evidence() {
    use etherparse::PacketBuilder;
    let mut core = Lockstep::new(Settings::default(), respond::Settings::default(), 1);
    let mut scene = Scene::fresh();
    for n in 0..12u8 {
        let meta = Meta { at: scene.now, interface: 1, original_length: 60, ..Meta::default() };
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(Scene::mac_of(HOST).0, [2, 0, 0, 0, 0, 1])
            .ipv4([10, 0, 1, 7], [10, 0, 3, n], 64)
            .tcp(40_000, 445, 7, 1024)
            .syn()
            .write(&mut bytes, &[])
            .unwrap();
        core.frame(decode(meta, LinkKind::Ethernet, &bytes).unwrap());
        scene.syn(HOST, Family::V4.dark(u16::from(n)), 445);
        core.advance(scene.now + ms(500));
        scene.wait(ms(500));
    }
    let mut decisions: Vec<_> = core.decisions().into_iter().map(std::sync::Arc::unwrap_or_clone).collect();
    let mut played = scene.decisions().to_vec();
    for decision in decisions.iter_mut().chain(&mut played) {
        decision.sender = firedoor::wire::Mac::default();
    }
    assert_eq!(decisions, played);
    assert_eq!(decisions.len(), 2, "a watch, then contained");
}

#[test]
fn a_frame_a_little_out_of_order_changes_nothing() {
    let mut scene = Scene::settled();
    for n in 0..2 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    let now = scene.now;
    scene.now = now - secs(2);
    scene.syn(HOST, Family::V4.dark(2), 445);
    scene.now = now;
    scene.wait(ms(400));
    let contained = scene.about(HOST).next_back().unwrap();
    assert!(contained.at >= now, "time does not run backwards");
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn hostile_times_neither_panic_nor_hang() {
    for times in [
        [0, u64::MAX, 0, u64::MAX, 1],
        [u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0],
        [1, 0, u64::MAX - 1, 5, u64::MAX],
        [u64::MAX / 2, 0, 7, u64::MAX / 2, 9],
    ] {
        let mut scene = Scene::fresh();
        for round in 0..40u16 {
            for &at in &times {
                scene.now = Timestamp::from_nanos(at);
                scene.syn(HOST, Family::V4.dark(round), 445);
                scene.connect(Family::V4.client(8), Family::V4.server(round), 445);
                scene.who_has(HOST, Family::V4.dark(100 + round));
                scene.wait(secs(1));
            }
        }
        for decision in scene.decisions() {
            serde_json::to_string(decision).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Syn(u8, u8, u8),
    Answer(u8, u8, u8),
    Refuse(u8, u8, u8),
    Unreachable(u8, u8, u8),
    Data(u8, u8, u8),
    Ask(u8, u8),
    Ping(u8, u8),
    Pong(u8, u8),
    Udp(u8, u8, u8),
    Flags(u8, u8, u8),
    Wait(u32),
    At(u64),
    Mac(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = || 0u8..24;
    let port = || 0u8..6;
    let step = prop_oneof![
        8 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Syn(a, b, p)),
        4 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Answer(a, b, p)),
        2 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Refuse(a, b, p)),
        2 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Unreachable(a, b, p)),
        3 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Data(a, b, p)),
        2 => (host(), any::<u8>()).prop_map(|(a, b)| Step::Ask(a, b)),
        2 => (host(), any::<u8>()).prop_map(|(a, b)| Step::Ping(a, b)),
        1 => (host(), any::<u8>()).prop_map(|(a, b)| Step::Pong(a, b)),
        1 => (host(), any::<u8>(), port()).prop_map(|(a, b, p)| Step::Udp(a, b, p)),
        1 => (host(), any::<u8>(), any::<u8>()).prop_map(|(a, b, f)| Step::Flags(a, b, f)),
        6 => (0u32..2_000_000_000).prop_map(Step::Wait),
        1 => any::<u64>().prop_map(Step::At),
        1 => (0u8..4).prop_map(Step::Mac),
    ];
    prop::collection::vec(step, 1..400)
}

fn play(steps: &[Step], shards: usize, odd_times: bool) -> Scene {
    let tight = settings(|settings| {
        settings.capacities = Capacities { hosts: 64, contacts: 256, addresses: 256, attempts: 64, streams: 64 };
        settings.decoys = firedoor::wire::Networks::new(vec![Family::V4.address(2, 77).ip().into()]);
    });
    let mut scene = Scene::driven(tight, respond::Settings::default(), shards);
    let port = |index: u8| [445, 22, 3389, 80, 0, 65_535][usize::from(index)];
    let (host, peer) = (|n: u8| Family::V4.client(u16::from(n)), |n: u8| Family::V4.server(u16::from(n)));
    for step in steps {
        match *step {
            Step::Syn(a, b, p) => scene.syn(host(a), peer(b), port(p)),
            Step::Answer(a, b, p) => scene.syn_ack(peer(b), host(a), port(p)),
            Step::Refuse(a, b, p) => scene.rst(peer(b), host(a), port(p)),
            Step::Unreachable(a, b, p) => {
                scene.unreachable(
                    Family::V4.router(),
                    host(a),
                    peer(b),
                    port(p),
                    firedoor::wire::frame::Transport::Tcp,
                );
            }
            Step::Data(a, b, p) => scene.data(host(a), peer(b), port(p)),
            Step::Ask(a, b) => scene.who_has(host(a), host(b)),
            Step::Ping(a, b) => scene.ping(host(a), peer(b)),
            Step::Pong(a, b) => scene.pong(peer(b), host(a)),
            Step::Udp(a, b, p) => scene.udp((host(a), port(p)), (peer(b), port(p))),
            Step::Flags(a, b, f) => scene.tcp((host(a), 445), (peer(b), 445), f, u32::from(f & Flags::PSH)),
            Step::Wait(nanos) => scene.wait(std::time::Duration::from_nanos(u64::from(nanos))),
            Step::At(at) if odd_times => scene.now = Timestamp::from_nanos(at),
            Step::Mac(0) => scene.mac = None,
            Step::Mac(n) => scene.mac = Some(firedoor::wire::Mac([2, 0xee, 0, 0, 0, n])),
            Step::At(_) => {}
        }
    }
    scene.wait(secs(1));
    scene
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_panics_and_every_table_stays_within_its_capacity(steps in steps()) {
        for shards in [1, 3] {
            let scene = play(&steps, shards, true);
            for n in 0..24 {
                let detector = scene.core.detector(Family::V4.client(n)).unwrap();
                prop_assert!(detector.hosts().occupancy().0 <= 64);
                prop_assert!(detector.contacts().occupancy().0 <= 256);
                prop_assert!(detector.deadlines().occupancy().0 <= 64);
                for host in detector.hosts().iter() {
                    prop_assert!(host.evidence.len() <= firedoor::evidence::Alarm::EVIDENCE);
                    prop_assert!(host.score.0 >= 0);
                }
            }
            prop_assert!(scene.core.shared().addresses.occupancy().0 <= 256);
        }
    }

    #[test]
    fn decisions_follow_their_rules(steps in steps()) {
        let scene = play(&steps, 1, false);
        let mut last = Timestamp::ZERO;
        for decision in scene.decisions() {
            prop_assert!(decision.at >= last, "decisions come in the order of their times");
            last = decision.at;
            prop_assert!(decision.evidence.iter().all(|evidence| evidence.at <= decision.at));
            if decision.decision == respond::Verdict::Contain && decision.reason.starts_with("spreads") {
                let signal = decision.evidence.last().unwrap().signal;
                let windows = [firedoor::evidence::Signal::FanoutLateral, firedoor::evidence::Signal::FanoutAny];
                prop_assert!(decision.score >= decision.threshold || windows.contains(&signal), "{decision:?}");
            }
            // What is named explains the score: decay and credit can only have lowered it since.
            let named: i32 = decision.evidence.iter().map(|evidence| evidence.weight.0).sum();
            prop_assert!(decision.evidence.len() == 16 || decision.score.0 <= named, "{decision:?}");
        }
    }
}

#[test]
fn addresses_that_are_nobodys_are_nobody() {
    let mut scene = Scene::settled();
    let nobody = [
        Address::v4([0, 0, 0, 0]),
        Address::v4([255, 255, 255, 255]),
        Address::v4([224, 0, 0, 251]),
        Address::v4([127, 0, 0, 1]),
        "ff02::1".parse().unwrap(),
        "::".parse().unwrap(),
    ];
    for _ in 0..30 {
        for &address in &nobody {
            scene.syn(HOST, address, 445);
            scene.syn(address, HOST, 445);
            scene.who_has(HOST, address);
            scene.ping(HOST, address);
            scene.udp((HOST, 445), (address, 445));
            scene.data(HOST, address, 445);
        }
        scene.syn(HOST, HOST, 445);
        scene.wait(secs(1));
    }
    assert_eq!(scene.decisions(), []);
    assert_eq!(scene.core.counters().first_contacts, 0);
}
