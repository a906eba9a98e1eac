//! The daemon dies, hangs, comes back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use firedoor::api::host::{HostView, HostsView};
use firedoor::lab::random::Random;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::Verdict;
use firedoor::store::Store;
use firedoor::wire::Address;

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

#[test]
fn a_kill_lifts_no_block_and_the_next_daemon_takes_over() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(1, 1, |setup| setup);
    let sessions = site.scene.work().unwrap();
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    let decided = site.contain_by_worm(0);
    let contained = Instant::now();
    let (mut starts, mut listed) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        site.kill();
        std::thread::sleep(Duration::from_millis(300));
        starts.push(site.start());
        let host = site.infected(0);
        let acted = || -> Option<HostView> {
            let list: HostsView = site.daemon().ask("/v1/hosts?acted=true").unwrap();
            list.hosts.into_iter().find(|view| view.address == Address::from(host))
        };
        listed.push(site::until("the host is listed", || acted().is_some()));
        let view = acted().unwrap();
        assert_eq!((view.verdict, view.step, view.enforced), (Some(Verdict::Contain), decided.step, true));
        let left = view.until.expect("it ends by itself").since(decided.until.unwrap());
        assert!(left < Duration::from_secs(1), "the term is what it was: {:?} and {:?}", view.until, decided.until);
        let why = site.why(host);
        let known = why.history.iter().find(|act| act.decision == Verdict::Contain).expect("its decision is known");
        assert_eq!(known.evidence, decided.evidence);
        assert_eq!(known.at, decided.at);
        assert_eq!(why.evidence, decided.evidence, "what the block rests on");
        assert_eq!((why.next.unwrap().step, why.host.unwrap().attachment.mac), (decided.step + 1, decided.sender));
        let text = site.command(&["why", &host.to_string()]);
        assert!(text.contains("Evidence") && !text.contains("if 0"), "{text}");
        assert_eq!(site.status().hosts.contained, 1);
    }
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0, "packets of a contained host passed");
    let sent = bystanders.undisturbed();
    for stats in sessions.iter().map(firedoor::lab::session::Session::stats) {
        assert!(stats.is_undisturbed(), "{stats:?}");
    }
    eprintln!(
        "3 kills: {} forbidden packets, none passed; {sent} others, none lost; ready again after {starts:?}, listed after \
         {listed:?}",
        log.lost_since(contained)
    );
}

#[test]
fn what_an_engineer_released_stays_released_over_kills() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(5, 1, |setup| setup);
    let host = site.infected(0);
    site.contain_by_worm(0);
    site.command(&["release", &host.to_string(), "--reason", "false alarm"]);
    let pardon = site.why(host).pardoned_until.expect("it is pardoned");
    for seed in 0..2 {
        site.kill();
        site.start();
        let known = site.why(host).pardoned_until.expect("it is still pardoned");
        assert!(pardon.since(known) < Duration::from_secs(1) && known.since(pardon) < Duration::from_secs(1));
        let worm = Worm::release(&site.scene.network, 0, Order { rate: 50.0, ..Order::new(Kind::Fast, seed) }).unwrap();
        site::until("the worm is noticed", || {
            let watched = site.decisions(host, Verdict::Watch);
            watched.iter().any(|act| act.reason.contains("an engineer released the host"))
        });
        worm.end().unwrap();
        assert_eq!(site.decisions(host, Verdict::Contain).len(), 1, "the one that was released");
        assert!(site.in_kernel().is_empty());
    }
    // An engineer's own order ends it, and that is remembered as well.
    site.contain(host);
    site.kill();
    site.start();
    assert_eq!(site.why(host).pardoned_until, None);
    assert_eq!(site.in_kernel(), [host]);
}

#[test]
fn whatever_the_kernel_acts_on_is_in_the_history_at_whichever_moment_the_daemon_dies() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(2, 1, |setup| setup);
    let mut random = Random::new(2);
    let mut acknowledged: Vec<IpAddr> = Vec::new();
    let (mut known, mut rounds) = (0, 0);
    for round in 0..10_u8 {
        let socket = site.daemon().socket();
        let orders = std::thread::spawn(move || {
            let mut done = Vec::new();
            for number in 0..200 {
                let host = IpAddr::from([10, 77, round, number]);
                let body = format!("{{\"target\":\"{host}\",\"reason\":\"drill\"}}");
                match site::post(&socket, "/v1/contain", &body) {
                    Some((200, _)) => done.push(host),
                    _ => break,
                }
            }
            done
        });
        std::thread::sleep(Duration::from_millis(random.below(120)));
        site.kill();
        acknowledged.extend(orders.join().unwrap());

        let kernel = site.in_kernel();
        let store = Store::open_to_read(&site.directory.path().join("history.db")).unwrap();
        let remembered: Vec<IpAddr> = store.acted().unwrap().iter().map(|case| case.host.ip()).collect();
        for host in &kernel {
            assert!(remembered.contains(host), "round {round}: {host} is in the kernel and not in the history");
            let acts = store.of(Address::from(*host), 10).unwrap();
            assert!(acts.iter().any(|act| act.decision == Verdict::Contain), "{host}: {acts:?}");
        }
        drop(store);
        for host in &acknowledged {
            assert!(kernel.contains(host), "round {round}: {host} was acknowledged and is not in the kernel");
        }
        site.start();
        let after = site.in_kernel();
        assert!(kernel.iter().all(|host| after.contains(host)), "a restart lifts nothing");
        assert!(remembered.iter().all(|host| after.contains(host)), "what was recorded is carried out");
        known = after.len();
        rounds += 1;
    }
    assert!(known > 0 && !acknowledged.is_empty());
    eprintln!("{rounds} kills among orders: {} acknowledged, {known} in kernel and history", acknowledged.len());
}

#[test]
fn a_hanging_daemon_leaves_blocks_and_fuse_at_work() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(3, 2, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    site.contain(site.infected(0));
    let contained = Instant::now();

    site::signal(site.daemon().pid(), "STOP");
    let hung = Instant::now();
    let worm = Worm::release(&site.scene.network, 1, Order { rate: 200.0, ..Order::new(Kind::Fast, 3) }).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let arrivals = site.scene.counter.arrivals();
    let reached = site.scene.first_contacts(&arrivals, site.infected(1)).len();
    let seconds = usize::try_from(hung.elapsed().as_secs()).unwrap();
    let worm_stats = worm.worm_stats();
    site::signal(site.daemon().pid(), "CONT");

    assert!(worm_stats.destinations > 100, "{worm_stats:?}");
    // The probe towards the victim is one first contact of its own, the bystander's another.
    assert!((1..=10 + seconds + 1).contains(&reached), "{reached} first contacts in {seconds} s of a hang");
    site::until("the new scanner is contained once the daemon runs again", || {
        !site.decisions(site.infected(1), Verdict::Contain).is_empty()
    });
    worm.end().unwrap();
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0);
    let sent = bystanders.undisturbed();
    eprintln!(
        "a hang of {seconds} s: {reached} first contacts of {}, {sent} others undisturbed",
        worm_stats.destinations
    );
}

#[test]
fn ten_thousand_hosts_are_taken_over_at_a_start() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let mut site = Site::new(4, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    site.contain(site.infected(0));
    let contained = Instant::now();
    for third in 0..40 {
        let body = format!("{{\"target\":\"10.88.{third}.0/24\",\"reason\":\"drill\"}}");
        let (status, answer) = site::post(&site.daemon().socket(), "/v1/contain", &body).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let (before, places) = (site.in_kernel(), site.places_in_kernel());
    assert!(before.len() > 10_000, "{}", before.len());
    let ordered = contained.elapsed();
    site::until("the history has it all", || site.status().store.waiting == 0);
    site.kill();
    let took = site.start();
    assert_eq!(site.in_kernel(), before);
    assert_eq!(site.places_in_kernel(), places, "on each interface as before");
    assert_eq!(usize::try_from(site.status().hosts.contained).unwrap(), before.len());
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0);
    bystanders.undisturbed();
    eprintln!("{} hosts: ordered in {ordered:?}, taken over and ready {took:?} after the start", before.len());
    // The promise is a second for an optimised program; this one is not.
    let most = if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_secs(1) };
    assert!(took < most, "{took:?}");
}
