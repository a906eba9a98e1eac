//! The core beside a kernel that greylists: who waits, who is contained for it, and whom a worm reaches.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

use firedoor::detect::settings::Greylist;
use firedoor::detect::{self, Signal};
use firedoor::respond::Verdict;
use firedoor::time::Timestamp;
use firedoor::track::buckets::{Bucket, Fuse};
use firedoor::wire::frame::{Flags, Transport};
use firedoor::wire::{Address, Networks, Services};

use crate::scene::{FAMILIES, Family, HOST, Scene, VACANT, ms, secs, settings};

const FUSE: Fuse = Fuse { burst: 10, per_second: 1 };

/// Settings with the greylist as it is in enforce mode.
pub fn greylisting(drops: bool) -> detect::Settings {
    settings(|settings| {
        settings.fuse = drops.then_some(FUSE);
        settings.learns_servers = true;
        settings.greylist = Some(Greylist {
            drops,
            wait: ms(700),
            services: Services::new(&detect::settings::LATERAL_TCP.map(|port| (Transport::Tcp, port))),
            given: Vec::new(),
            care: Networks::default(),
            exempt: Networks::default(),
        });
    })
}

/// How somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// `connect()`, given up after so many milliseconds: repeated after 1, 3 and 7 s.
    Connect(u64),
    /// Each SYN once.
    Once,
    /// Each SYN again after so many milliseconds.
    Twice(u64),
}

/// A kernel with the rules of docs/greylist.md, for one source.
#[derive(Default)]
pub struct Kernel {
    bucket: Bucket,
    knocked: HashMap<Address, Timestamp>,
    met: BTreeSet<Address>,
    limited: Option<Timestamp>,
}

impl Kernel {
    /// Whether a SYN passes. `held` says that the core has second askings held back.
    pub fn passes(&mut self, to: Address, held: bool, now: Timestamp) -> bool {
        if self.met.contains(&to) {
            return true;
        }
        match self.knocked.get(&to).filter(|at| now.since(**at) < secs(60)) {
            Some(at) => {
                let limited = self.limited.is_some_and(|at| now.since(at) < secs(10));
                if now.since(*at) < ms(700) || limited || held {
                    return false;
                }
                self.met.insert(to);
                true
            }
            None if self.bucket.is_empty(FUSE, now) => {
                self.limited = Some(now);
                false
            }
            None => {
                self.knocked.insert(to, now);
                false
            }
        }
    }
}

/// Whether the core has second askings of `host` held back.
pub fn is_held_back(scene: &Scene, host: Address) -> bool {
    scene.core.detector(host).and_then(|core| core.host(host)).is_some_and(|host| scene.now < host.held_until)
}

/// SplitMix64 (Steele et al. 2014).
fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whom a worm at `HOST` reaches of the living among 254 addresses, `pace` milliseconds apart, and when it is contained, in
/// milliseconds.
fn outbreak(seed: u64, pace: u64, asks: Asks, most: u64) -> (usize, Option<u64>) {
    let mut scene = Scene::with(greylisting(true)).settle();
    let lives = |n: u64| mixed(n << 8 ^ seed << 40) % 100 < 30;
    let target = |n: u64| Family::V4.address(VACANT, u16::try_from((n * 89 + seed * 31) % 249 + 1).unwrap());
    let alive: BTreeSet<Address> = (0..249).filter(|n| lives(*n)).map(target).collect();
    for host in &alive {
        scene.lives(*host);
    }
    scene.wait(secs(1));
    let start = scene.now;
    let (mut kernel, mut reached, mut contained) = (Kernel::default(), BTreeSet::new(), None);
    let mut due = BinaryHeap::new();
    for n in 0..most {
        let at = n * pace;
        let again: &[u64] = match asks {
            Asks::Connect(_) => &[0, 1000, 3000, 7000, 15_000],
            Asks::Once => &[0],
            Asks::Twice(after) => &[0, after],
        };
        let patience = if let Asks::Connect(patience) = asks { patience } else { u64::MAX };
        // In the order of their times; a first asking goes ahead of repeats at the same moment.
        due.extend(
            again.iter().filter(|after| **after < patience).map(|after| std::cmp::Reverse((at + after, *after, n))),
        );
    }
    while let Some(std::cmp::Reverse((at, _, n))) = due.pop() {
        if at > 240_000 {
            break;
        }
        let to = target(n);
        if reached.contains(&to) {
            continue;
        }
        scene.wait((start + ms(at)).since(scene.now));
        scene.tcp((HOST, 40_000), (to, 445), Flags::SYN, 0);
        if contained.is_none() && scene.is_acted_on(HOST) {
            contained = Some(at);
        }
        let held = is_held_back(&scene, HOST);
        if contained.is_none() && kernel.passes(to, held, scene.now) && alive.contains(&to) {
            scene.syn_ack(to, HOST, 445);
            reached.insert(to);
        }
    }
    (reached.len(), contained)
}

#[test]
fn at_wannacrys_pace_a_worm_is_contained_within_its_first_second_and_reaches_nobody() {
    for asks in [Asks::Connect(1000), Asks::Connect(21_000), Asks::Once, Asks::Twice(100), Asks::Twice(1000)] {
        for seed in 1..=25 {
            let (reached, contained) = outbreak(seed, 125, asks, 200);
            assert_eq!(reached, 0, "{asks:?}, seed {seed}");
            assert!(contained.is_some_and(|at| at < 1000), "{asks:?}, seed {seed}: {contained:?}");
        }
    }
}

#[test]
fn from_three_a_second_on_a_worm_reaches_nobody_however_it_asks() {
    for pace in [333, 250, 100, 20, 1] {
        for asks in [Asks::Connect(1000), Asks::Connect(21_000), Asks::Once, Asks::Twice(100), Asks::Twice(1000)] {
            for seed in 1..=25 {
                let (reached, contained) = outbreak(seed, pace, asks, 240);
                assert_eq!(reached, 0, "every {pace} ms, {asks:?}, seed {seed}: contained {contained:?}");
                assert!(contained.is_some_and(|at| at < 4000), "every {pace} ms, {asks:?}, seed {seed}: {contained:?}");
            }
        }
    }
}

#[test]
fn below_that_it_reaches_few_and_who_asks_once_nobody() {
    for pace in [1000, 500, 2000] {
        for asks in [Asks::Connect(1000), Asks::Connect(21_000), Asks::Once, Asks::Twice(1000)] {
            let mut all = Vec::new();
            for seed in 1..=25 {
                let (reached, contained) = outbreak(seed, pace, asks, 100);
                assert!(
                    contained.is_some_and(|at| at < 30_000),
                    "every {pace} ms, {asks:?}, seed {seed}: {contained:?}"
                );
                all.push(reached);
            }
            let most = all.iter().max().copied().unwrap_or_default();
            println!(
                "every {pace} ms, {asks:?}: {} reached in 25 outbreaks, at most {most}",
                all.iter().sum::<usize>()
            );
            if matches!(asks, Asks::Once | Asks::Connect(1000)) {
                assert_eq!(most, 0, "every {pace} ms, {asks:?}");
            }
            // Three dark addresses contain; at a contact in two seconds a few of the living come between.
            assert!(
                all.iter().sum::<usize>() <= 30 && most <= if pace > 1000 { 5 } else { 3 },
                "every {pace} ms, {asks:?}: {all:?}"
            );
        }
    }
}

/// An honest client's first contact as the kernel has it: dropped, repeated after a second, answered.
fn waits_and_is_answered(scene: &mut Scene, from: Address, to: &[Address], port: u16) {
    for to in to {
        scene.syn(from, *to, port);
    }
    scene.wait(secs(1));
    for to in to {
        scene.syn(from, *to, port);
        scene.syn_ack(*to, from, port);
        scene.data(from, *to, port);
    }
}

#[test]
fn an_honest_first_contact_that_waits_is_no_evidence() {
    for family in FAMILIES {
        let mut scene = Scene::with(greylisting(true)).settle();
        let from = family.client(7);
        for n in 1..=20 {
            waits_and_is_answered(&mut scene, from, &[family.server(n)], 445);
            scene.wait(secs(60));
        }
        assert_eq!((scene.score(from).0, scene.verdicts(from)), (0, vec![]), "{family:?}");
        let counters = scene.core.counters();
        let outcome = |outcome| counters.outcomes[outcome as usize];
        assert_eq!([outcome(detect::counters::Outcome::Waits), outcome(detect::counters::Outcome::Answered)], [20, 20]);
    }
}

#[test]
fn six_sessions_opened_at_once_are_an_administrators_and_leave_nothing() {
    let mut scene = Scene::with(greylisting(true)).settle();
    let hosts: Vec<Address> = (1..=6).map(|n| Family::V4.server(n)).collect();
    for to in &hosts {
        scene.syn(HOST, *to, 3389);
    }
    for after in [1000, 2000] {
        scene.wait(ms(after));
        for to in &hosts {
            scene.syn(HOST, *to, 3389);
        }
    }
    // Held back at the second asking, through at the third.
    for to in &hosts {
        scene.syn_ack(*to, HOST, 3389);
    }
    assert_eq!(scene.score(HOST).0, 0);
    assert!(!scene.verdicts(HOST).contains(&Verdict::Contain));
}

#[test]
fn who_asks_a_dark_address_once_is_found_after_five_seconds_and_who_repeats_after_his_second_asking() {
    let mut scene = Scene::with(greylisting(true)).settle();
    scene.syn(HOST, Family::V4.dark(1), 445);
    scene.wait(ms(4900));
    assert_eq!(scene.score(HOST).0, 0, "nobody was asked yet");
    scene.wait(ms(200));
    assert_eq!(scene.score(HOST).0, 3300);
    let other = Family::V4.client(8);
    scene.syn(other, Family::V4.dark(2), 445);
    scene.wait(ms(1000));
    scene.syn(other, Family::V4.dark(2), 445);
    assert_eq!(scene.score(other).0, 0);
    scene.wait(ms(400));
    assert_eq!(scene.score(other).0, 3300);
    for n in 3..=4 {
        scene.syn(other, Family::V4.dark(n), 445);
        scene.wait(secs(30));
    }
    assert_eq!(scene.verdicts(other).last(), Some(&Verdict::Contain));
    assert_eq!(scene.last_signal(other), Some(Signal::GreylistOnce));
}

#[test]
fn nobody_waits_for_a_known_server_and_nobody_without_the_greylist() {
    let mut scene = Scene::with(greylisting(true)).settle();
    let server = (Family::V4.server(1), Transport::Tcp, 445);
    scene.core.shared().servers.set(std::iter::once(server));
    let outcome = |scene: &Scene, outcome| scene.core.counters().outcomes[outcome as usize];
    scene.syn(HOST, Family::V4.server(1), 445);
    scene.syn(Family::V4.client(8), Family::V4.server(1), 139);
    scene.wait(ms(400));
    assert_eq!(outcome(&scene, detect::counters::Outcome::Waits), 1, "on another port it is no server");
    assert_eq!(outcome(&scene, detect::counters::Outcome::Silent), 1, "it was asked, and did not answer");
    let mut scene = Scene::with(greylisting(false)).settle();
    scene.contact(HOST, Family::V4.server(1), 445, crate::scene::Outcome::Silent);
    assert_eq!(outcome(&scene, detect::counters::Outcome::Silent), 1, "monitor mode drops nothing");
}
