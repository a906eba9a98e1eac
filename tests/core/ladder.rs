//! The ladder: how long, what next, and when a host is let go.

use firedoor::respond::{self, By, Mode, Verdict};

use crate::scene::{Family, HOST, Outcome, Scene, ms, secs};

fn enforcing() -> Scene {
    let respond = respond::Settings { mode: Mode::Enforce, ..respond::Settings::default() };
    Scene::driven(firedoor::detect::Settings::default(), respond, 1).settle()
}

fn burst(scene: &mut Scene, first: u16) {
    for n in first..first + 3 {
        scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
    }
}

#[test]
fn a_quiet_host_is_released_after_ten_minutes_to_the_moment() {
    let mut scene = enforcing();
    burst(&mut scene, 0);
    let contained = scene.about(HOST).next_back().unwrap().clone();
    assert_eq!(contained.decision, Verdict::Contain);
    assert_eq!(contained.step, 1);
    assert_eq!(contained.until, Some(contained.at + secs(600)));
    assert!(contained.enforced);
    scene.wait(secs(3600));
    let released = scene.about(HOST).next_back().unwrap();
    assert_eq!((released.decision, released.at), (Verdict::Release, contained.at + secs(600)));
    assert_eq!(scene.score(HOST).0, 0);
}

#[test]
fn a_host_that_scans_on_climbs_to_isolation_until_released() {
    let mut scene = enforcing();
    burst(&mut scene, 0);
    for next in 3..1000 {
        scene.wait(secs(100));
        scene.syn(HOST, Family::V4.address(9, next), 445);
    }
    let steps: Vec<_> = scene.about(HOST).map(|decision| (decision.decision, decision.step)).collect();
    let expected = [
        (Verdict::Watch, 0),
        (Verdict::Contain, 1),
        (Verdict::Contain, 2),
        (Verdict::Isolate, 3),
        (Verdict::Isolate, 4),
    ];
    assert_eq!(steps, expected);
    assert_eq!(scene.about(HOST).next_back().unwrap().until, None, "until released");
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn a_repeat_within_a_week_is_a_step_further() {
    let mut scene = enforcing();
    burst(&mut scene, 0);
    scene.wait(secs(2 * 86_400));
    assert!(!scene.is_acted_on(HOST));
    scene.lives(Family::V4.address(VACANT, 250));
    scene.wait(secs(601));
    burst(&mut scene, 10);
    assert_eq!(scene.about(HOST).next_back().unwrap().step, 2);
    scene.wait(secs(3 * 86_400));
    assert!(!scene.is_acted_on(HOST));
    scene.wait(secs(8 * 86_400));
    scene.lives(Family::V4.address(VACANT, 250));
    scene.wait(secs(601));
    burst(&mut scene, 20);
    assert_eq!(scene.about(HOST).next_back().unwrap().step, 1, "after a week all is forgotten");
}

#[test]
fn a_worm_that_goes_round_in_circles_is_no_quiet_host() {
    // It has a list of forty hosts, and tries them over and over.
    let mut scene = enforcing();
    let mut round = 0u16;
    while scene.now.secs() < 1_700_000_000 + 600 + 3600 {
        scene.syn(HOST, Family::V4.dark(round % 40), 445);
        round += 1;
        scene.wait(ms(500));
    }
    assert!(scene.is_acted_on(HOST));
    assert!(!scene.verdicts(HOST).contains(&Verdict::Release), "{:?}", scene.verdicts(HOST));
}

#[test]
fn a_worm_that_knocks_on_its_old_doors_after_a_release_is_contained_again() {
    for list in [3, 12] {
        let mut scene = enforcing();
        for n in 0..list {
            scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
        }
        scene.wait(secs(1200));
        assert!(!scene.is_acted_on(HOST));
        for n in 0..list {
            scene.contact(HOST, Family::V4.dark(n), 445, Outcome::Silent);
        }
        assert!(scene.is_acted_on(HOST), "a list of {list}");
        assert_eq!(scene.about(HOST).next_back().unwrap().step, 2);
    }
}

#[test]
fn a_contained_host_that_only_retries_its_own_servers_is_released() {
    let mut scene = enforcing();
    for n in 1..=12 {
        scene.connect(HOST, Family::V4.server(n), 445);
        scene.wait(secs(60));
    }
    burst(&mut scene, 0);
    assert!(scene.is_acted_on(HOST));
    for _ in 0..20 {
        for n in 1..=12 {
            scene.syn(HOST, Family::V4.server(n), 445);
        }
        scene.wait(secs(60));
    }
    assert!(!scene.is_acted_on(HOST));
    assert_eq!(scene.verdicts(HOST), [Verdict::Watch, Verdict::Contain, Verdict::Release]);
}

#[test]
fn an_engineers_release_protects_for_an_hour() {
    let mut scene = enforcing();
    burst(&mut scene, 0);
    let now = scene.now;
    let by = By::Operator("ana".to_owned());
    scene.order(|responder, effects| responder.order_release(HOST, "a new scanner", &by, now, effects)).unwrap();
    for n in 0..4 {
        burst(&mut scene, 10 + 10 * n);
        scene.wait(secs(700));
        assert!(!scene.is_acted_on(HOST));
    }
    assert!(scene.about(HOST).next_back().unwrap().reason.contains("an engineer released the host"));
    scene.wait(secs(900));
    burst(&mut scene, 60);
    assert!(scene.is_acted_on(HOST));
}

#[test]
fn one_zones_worms_hold_no_decision_in_another_zone() {
    let mut scene = enforcing();
    // More names in one zone than a minute allows.
    for n in 1..=80u16 {
        for target in 0..3 {
            scene.syn(Family::V4.address(100, n), Family::V4.dark(3 * n + target), 445);
        }
    }
    for target in 0..3 {
        scene.syn(Family::V4.address(101, 1), Family::V4.dark(245 + target), 445);
    }
    scene.wait(secs(1));
    let verdict = |wanted| scene.decisions().iter().filter(|decision| decision.decision == wanted).count();
    let (contained, held) = (verdict(Verdict::Contain), verdict(Verdict::Hold));
    assert!(contained <= 31 && held > 30, "{contained} contained, and {held} held in the zone itself");
    assert!(scene.is_acted_on(Family::V4.address(101, 1)), "the other zone's is contained");
}

#[test]
fn a_tripped_breaker_holds_and_rearms() {
    let mut scene = enforcing();
    // More hosts than a minute allows, each a worm of its own.
    for n in 1..=80u16 {
        for target in 0..3 {
            scene.syn(Family::V4.address(100 + u8::try_from(n % 40).unwrap(), n), Family::V4.dark(3 * n + target), 445);
        }
    }
    scene.wait(secs(1));
    let verdict = |wanted| scene.decisions().iter().filter(|decision| decision.decision == wanted).count();
    assert_eq!((verdict(Verdict::Contain), verdict(Verdict::Hold)), (60, 20));
    let held = scene.decisions().iter().find(|decision| decision.decision == Verdict::Hold).unwrap();
    assert!(held.reason.contains("breaker tripped: 60 decisions within a minute"), "{}", held.reason);
    scene.wait(secs(601));
    burst(&mut scene, 0);
    assert!(scene.is_acted_on(HOST));
}

use crate::scene::VACANT;
