//! Infection chains and cooperation: what one worm's containment means for the others.

use firedoor::detect::Signal;
use firedoor::respond::Action;
use firedoor::wire::Address;

use crate::scene::{FAMILIES, Family, HOST, Outcome, Scene, ms, secs};

/// `host` scans dark addresses of its own until it is contained; its number of first contacts.
fn scan(scene: &mut Scene, host: Address, segment_offset: u16) -> u16 {
    scene.until_acted_on(host, |scene, n| {
        scene.contact(host, Family::V4.address(3, segment_offset + n), 445, Outcome::Silent);
    })
}

#[test]
fn a_host_that_an_alarmed_one_reached_and_that_opens_doors_itself_alarms_at_half() {
    for family in FAMILIES {
        let mut scene = Scene::settled();
        let (first, second, third) = (family.client(7), family.server(30), family.client(9));
        scene.connect(first, second, 445);
        for n in 0..3 {
            scene.contact(first, family.dark(n), 445, Outcome::Silent);
        }
        assert!(scene.is_acted_on(first));
        let threshold = |scene: &Scene, host| {
            let detector = scene.core.detector(host).unwrap();
            detector.threshold_of(detector.host(host).unwrap()).0
        };
        // Another port than the one it was reached on is no chain.
        scene.contact(second, family.server(60), 3389, Outcome::Answered);
        assert_eq!(threshold(&scene, second), 7920, "one host is contained");
        scene.contact(second, family.server(61), 445, Outcome::Answered);
        assert_eq!(threshold(&scene, second), 5000, "the floor");
        assert!(!scene.is_acted_on(second));
        scene.contact(second, family.dark(20), 445, Outcome::Silent);
        assert!(scene.is_acted_on(second), "{family:?}");
        let decision = scene.about(second).next_back().unwrap();
        assert!(decision.evidence.iter().any(|evidence| evidence.signal == Signal::Chain), "{decision:?}");
        // Who was not reached needs what two contained hosts leave of the threshold.
        scene.contact(third, family.dark(30), 445, Outcome::Silent);
        assert_eq!(threshold(&scene, third), 5940);
    }
}

#[test]
fn an_exposed_host_opens_half_as_many_doors() {
    let mut scene = Scene::settled();
    let second = Family::V4.client(30);
    scene.connect(HOST, second, 445);
    for n in 0..3 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    let needed = scene.until_acted_on(second, |scene, n| {
        scene.connect(second, Family::V4.server(n + 1), 445);
        scene.wait(ms(100));
    });
    assert!(needed <= 5, "{needed}");
}

#[test]
fn exposure_is_forgotten() {
    let mut scene = Scene::settled();
    let second = Family::V4.client(30);
    scene.connect(HOST, second, 445);
    for n in 0..3 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
    // One new file server within the hour: the host is chained, and stays so only for as long as it is exposed.
    scene.connect(second, Family::V4.server(9), 445);
    scene.wait(secs(3601));
    for n in 10..19 {
        scene.connect(second, Family::V4.server(n), 445);
    }
    assert!(!scene.is_acted_on(second));
}

#[test]
fn each_contained_host_lowers_everyones_threshold() {
    let mut scene = Scene::settled();
    let mut needed = Vec::new();
    for worm in 0..6u16 {
        // In a segment of its own, so that the breaker has no say.
        let [_, segment] = (60 + worm).to_be_bytes();
        needed.push(scan(&mut scene, Family::V4.address(segment, 7), 20 * worm));
    }
    // 9.9, 7.92, 5.94, then the floor of 5.
    assert_eq!(needed, [3, 3, 2, 2, 2, 2]);
    // When all are released, it is as before.
    scene.wait(secs(700));
    assert_eq!(scan(&mut scene, Family::V4.client(40), 200), 3);
}

#[test]
fn cooperation_counts_what_firedoor_found_and_not_what_engineers_ordered() {
    use firedoor::respond::By;
    use firedoor::respond::Ordered;
    let mut scene = Scene::settled();
    for n in 0..20 {
        let order = Ordered {
            known: None,
            host: Family::V4.address(80, n),
            action: Action::Contain,
            duration: None,
            reason: "maintenance",
        };
        let now = scene.now;
        let by = By::Operator("ana".to_owned());
        scene.order(|responder, effects| responder.order_act(&order, by, now, effects)).unwrap();
    }
    assert_eq!(scan(&mut scene, HOST, 0), 3);
}
