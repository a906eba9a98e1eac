//! DESIGN.md's table: what each kind of evidence weighs, and after how many pieces it contains alone.

use firedoor::detect::{Settings, Signal};
use firedoor::respond::Verdict;
use firedoor::wire::Address;

use crate::scene::{FAMILIES, Family, Outcome, Scene, secs, settings};

struct Row {
    what: &'static str,
    signal: Signal,
    /// Weight in thousandths of a nat.
    weight: i32,
    contains_at: u16,
    attempt: fn(&mut Scene, Family, Address, u16),
}

/// Two seconds apart: too far for the windows of 10 and 60 seconds, near enough to leave decay no part.
fn pause(scene: &mut Scene) {
    scene.wait(secs(5));
}

const ROWS: [Row; 13] = [
    Row {
        what: "refused by a host that is alive",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.server(n + 1), 445, Outcome::Refused),
    },
    Row {
        what: "unreachable, though alive lately",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.server(n + 1), 445, Outcome::Unreachable),
    },
    Row {
        what: "silent, though alive lately",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.server(n + 1), 445, Outcome::Silent),
    },
    Row {
        what: "silent, in a segment nobody knows",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.address(99, n + 1), 445, Outcome::Silent),
    },
    Row {
        what: "silent, on a lateral service outside",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| {
            let [.., last] = n.to_be_bytes();
            let outside = match family {
                Family::V4 => Address::v4([203, 0, 113, last]),
                Family::V6 => Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
            };
            scene.contact(host, outside, 22, Outcome::Silent);
        },
    },
    Row {
        what: "dark address, silent",
        signal: Signal::Dark,
        weight: 3300,
        contains_at: 3,
        attempt: |scene, family, host, n| scene.contact(host, family.dark(n), 445, Outcome::Silent),
    },
    Row {
        what: "dark address, unreachable",
        signal: Signal::Dark,
        weight: 3300,
        contains_at: 3,
        attempt: |scene, family, host, n| scene.contact(host, family.dark(n), 3389, Outcome::Unreachable),
    },
    Row {
        what: "an address thought dark that refuses is none",
        signal: Signal::FailureFirstContact,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.dark(n), 445, Outcome::Refused),
    },
    Row {
        what: "another port, refused inside",
        signal: Signal::FailureOther,
        weight: 366,
        contains_at: 28,
        attempt: |scene, family, host, n| scene.contact(host, family.server(n + 1), 8080, Outcome::Refused),
    },
    Row {
        what: "another port of a dark address, silent",
        signal: Signal::Dark,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| scene.contact(host, family.dark(n), 8080, Outcome::Silent),
    },
    Row {
        what: "echo request to a dark address, silent",
        signal: Signal::EchoSweep,
        weight: 1100,
        contains_at: 9,
        attempt: |scene, family, host, n| {
            scene.ping(host, family.dark(n));
            scene.wait(crate::scene::VERDICT);
        },
    },
    Row {
        what: "decoy, bare SYN",
        signal: Signal::DecoyTouch,
        weight: 5000,
        contains_at: 2,
        attempt: |scene, family, host, n| scene.syn(host, family.server(201 + n), 445),
    },
    Row {
        what: "decoy, completed handshake",
        signal: Signal::Decoy,
        weight: 9900,
        contains_at: 1,
        attempt: |scene, family, host, n| scene.connect(host, family.server(201 + n), 445),
    },
];

fn baited() -> Settings {
    settings(|settings| {
        let decoys = (201..=240).flat_map(|n| FAMILIES.map(|family| family.server(n).ip().into()));
        settings.decoys = firedoor::wire::Networks::new(decoys.collect());
        // Decay has its own tests; here sums shall be exact.
        settings.decay = secs(1_000_000_000);
    })
}

#[test]
fn each_row_of_the_table_contains_alone_at_its_number() {
    for family in FAMILIES {
        for row in &ROWS {
            let mut scene = Scene::with(baited()).settle();
            let host = family.client(7);
            let needed = scene.until_acted_on(host, |scene, n| {
                (row.attempt)(scene, family, host, n);
                pause(scene);
            });
            assert_eq!(needed, row.contains_at, "{family:?}: {}", row.what);
            let decision = scene.about(host).next_back().unwrap();
            assert_eq!(decision.decision, Verdict::Contain, "{family:?}: {}", row.what);
            let last = decision.evidence.last().unwrap();
            assert_eq!((last.signal, last.weight.0), (row.signal, row.weight), "{family:?}: {}", row.what);
        }
    }
}

#[test]
fn half_way_there_the_host_is_watched() {
    let mut scene = Scene::settled();
    for n in 0..4 {
        scene.contact(HOST, Family::V4.server(n + 1), 445, Outcome::Refused);
    }
    assert_eq!(scene.verdicts(HOST), []);
    scene.contact(HOST, Family::V4.server(5), 445, Outcome::Refused);
    assert_eq!(scene.verdicts(HOST), [Verdict::Watch]);
    scene.contact(HOST, Family::V4.server(6), 445, Outcome::Refused);
    assert_eq!(scene.verdicts(HOST), [Verdict::Watch], "once is enough");
}

#[test]
fn other_ports_outside_the_protected_networks_weigh_nothing() {
    let mut scene = Scene::settled();
    for n in 0..100 {
        scene.contact(HOST, Address::v4([198, 51, 100, n]), 443, Outcome::Silent);
        pause(&mut scene);
    }
    assert_eq!(scene.score(HOST).0, 0);
    assert_eq!(scene.verdicts(HOST), []);
}

#[test]
fn an_answer_of_a_known_server_speaks_for_the_host_and_buys_no_credit() {
    let mut scene = Scene::settled();
    let server = |n| Family::V4.server(n);
    for n in 1..=20 {
        for client in 100..104 {
            scene.connect(Family::V4.client(client), server(n), 445);
            scene.wait(secs(60));
        }
    }
    // An honest past of ten servers does not weigh against what comes.
    for n in 1..=10 {
        scene.connect(HOST, server(n), 445);
        scene.wait(secs(30));
    }
    assert_eq!(scene.score(HOST).0, 0);
    scene.contact(HOST, Family::V4.dark(1), 445, Outcome::Silent);
    scene.contact(HOST, Family::V4.dark(2), 445, Outcome::Silent);
    let before = scene.score(HOST).0;
    assert!((6500..=6600).contains(&before), "{before}");
    scene.connect(HOST, server(11), 445);
    assert_eq!(before - scene.score(HOST).0, 1390);
    // Nobody else uses this one.
    scene.connect(HOST, server(50), 445);
    assert_eq!(before - scene.score(HOST).0, 1390);
}

#[test]
fn an_answer_that_is_given_a_weight_is_recorded_as_an_answer_and_not_as_a_failure() {
    let mut scene =
        Scene::with(settings(|settings| settings.weights.answered = firedoor::detect::Score(3000))).settle();
    for (n, port) in (1..=6).zip([445, 8080, 445, 8080, 445, 8080]) {
        scene.connect(HOST, Family::V4.server(n), port);
    }
    let decision = scene.about(HOST).next_back().unwrap();
    let labels: Vec<_> =
        decision.evidence.iter().map(|evidence| (evidence.signal.label(), evidence.weight.0)).collect();
    assert!(!labels.is_empty() && labels.iter().all(|(label, _)| *label == "answered.other"), "{labels:?}");
    assert_eq!((labels[0].1, labels[1].1), (3000, 1000), "a third off the lateral services");
}

#[test]
fn the_score_is_the_sum_of_the_evidence_that_explains_it() {
    let mut scene = Scene::with(baited()).settle();
    scene.contact(HOST, Family::V4.dark(1), 445, Outcome::Silent);
    for n in 1..=6 {
        scene.contact(HOST, Family::V4.server(n), 445, Outcome::Refused);
    }
    let decision = scene.about(HOST).next_back().unwrap();
    assert_eq!(decision.decision, Verdict::Contain);
    let sum: i32 = decision.evidence.iter().map(|evidence| evidence.weight.0).sum();
    assert_eq!(decision.score.0, sum);
    assert_eq!(sum, 3300 + 6 * 1100);
    assert_eq!(decision.destinations, 7);
}

#[test]
fn a_nat_is_forgotten_in_ten_minutes() {
    let mut scene = Scene::settled();
    scene.contact(HOST, Family::V4.dark(1), 445, Outcome::Silent);
    scene.wait(secs(60));
    assert_eq!(scene.score(HOST).0, 3300, "decay sets in after a minute");
    scene.wait(secs(600));
    assert!((2290..=2310).contains(&scene.score(HOST).0), "{:?}", scene.score(HOST));
    // One failure an hour is no worm.
    for n in 1..=100 {
        scene.contact(HOST, Family::V4.server(n), 445, Outcome::Refused);
        scene.wait(secs(3600));
    }
    assert!(!scene.is_acted_on(HOST));
}

use crate::scene::HOST;
