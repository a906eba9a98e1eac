//! A storm of alarms: forged sources that the gateway must believe, for its own routes lead to them, each of which scans.
//!
//! Nothing distinguishes these from a trust whose hosts all fall ill at once. So the breaker stops the decisions; what must hold is
//! that the daemon keeps working: it answers, obeys, mends its table, and shows a picture that is not old.
//!
//! For `FIREDOOR_STORM_SECONDS` (8 unless set), at most 20,000 packets a second where nothing is optimised.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firedoor::lab::listener;
use firedoor::lab::plan::{Segment, WARD};
use firedoor::lab::session::{Service, Session};
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::published::status::Drift;
use firedoor::respond::Verdict;
use firedoor::sys::inject::{self, Injector};
use firedoor::wire::build::End;

use crate::frames::Knock;
use crate::prober::Probe;
use crate::site::{self, Site};
use crate::vitals::{self, Vitals};

/// How long the daemon may take to answer, to obey and to mend, on two cores that are busy with the storm.
const PROMPT: Duration = Duration::from_secs(2);

/// What a daemon that was not optimised takes, in packets a second.
const UNOPTIMISED: f64 = 20_000.0;

/// Each source knocks at so many doors of the ward, one after the other.
const KNOCKS: u32 = 10;

#[test]
fn a_storm_of_alarms_leaves_a_daemon_that_answers_obeys_and_mends() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let length = Duration::from_secs(vitals::figure("FIREDOOR_STORM_SECONDS", 8));
    let site = Site::new(73, 3, |setup| {
        setup.with("breaker", "most_at_once", 200).with("breaker", "most_a_minute", 60).with(
            "tables",
            "most_held",
            1024,
        )
    });
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    let network = &site.scene.network;
    let router = site.infected(1).to_string();
    let gateway = &network.gateway;
    let route = ["route", "add", "10.128.0.0/9", "via", router.as_str()];
    assert!(gateway.command("ip").args(route).status().unwrap().success());
    let session = Session::start(&network.clinic, "clinic", site.server(), Service::SQL).unwrap();
    let bystander = Probe::uninvolved(&site);
    // The dark addresses are known to be dark by now, and the route to be there.
    std::thread::sleep(Duration::from_secs(3));

    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let machine = &network.infected[1];
    let next_hop = gateway.link(|links| links.mac(&Segment::Office.interface())).unwrap();
    let own = machine.link(|links| links.mac("eth0")).unwrap();
    let interface = machine.link(|links| links.index("eth0")).unwrap();
    let plan = network.plan.clone();
    let dark: Vec<Ipv4Addr> = (2..=254)
        .filter_map(|host| match plan.address(WARD, host) {
            IpAddr::V4(v4) if !plan.is_live(v4.into()) => Some(v4),
            _ => None,
        })
        .collect();
    let (ended, count) = (Arc::clone(&stop), Arc::clone(&sent));
    let storm = machine.spawn(move || {
        let injector = Injector::open(interface).unwrap();
        let begun = Instant::now();
        let ends = (End { mac: own, ip: dark[0].into() }, End { mac: next_hop, ip: dark[0].into() });
        let mut batch = vec![Knock::new(ends.0, ends.1); inject::BATCH];
        let mut number = 0_u32;
        while !ended.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(120) {
            for knock in &mut batch {
                let source = Ipv4Addr::from_bits(0x0a80_0000 | ((number / KNOCKS) & 0x007f_ffff));
                let aim = dark[usize::try_from(number).unwrap() % dark.len()];
                knock.aim(source, aim, (40_000, 445));
                number = number.wrapping_add(1);
            }
            let frames: Vec<&[u8]> = batch.iter().map(Knock::frame).collect();
            let mut rest = frames.as_slice();
            while !rest.is_empty() {
                let gone = injector.send(rest).unwrap();
                rest = &rest[gone..];
            }
            let sent = count.fetch_add(inject::BATCH as u64, Ordering::Relaxed);
            if cfg!(debug_assertions) {
                let due = Duration::from_secs(1).mul_f64(sent as f64 / UNOPTIMISED);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
    });
    let begun = Instant::now();
    let pid = site.daemon().pid();
    let mut slowest = Duration::ZERO;
    let mut oldest = Duration::ZERO;
    let mut timed = |site: &Site| {
        let asked = Instant::now();
        let status = site.status();
        slowest = slowest.max(asked.elapsed());
        let uptime = status.at.since(status.started);
        (status, uptime, slowest)
    };
    let mut last: Option<(Duration, Instant)> = None;
    let mut rounds = 0_u32;
    let ordered: IpAddr = site.infected(2);
    while begun.elapsed() < length {
        let (_, uptime, _) = timed(&site);
        match last {
            Some((before, at)) if before == uptime => oldest = oldest.max(at.elapsed()),
            _ => last = Some((uptime, Instant::now())),
        }
        std::thread::sleep(Duration::from_millis(100));
        rounds += 1;
        if rounds == 20 {
            // An engineer acts, and somebody flushes the table, in the middle of it.
            let asked = Instant::now();
            site.contain(ordered);
            assert!(asked.elapsed() < PROMPT, "an order took {:?}", asked.elapsed());
            site.nft(&["flush", "ruleset"]);
            let mended = || site.nft(&["list", "tables"]).contains("firedoor") && site.in_kernel().contains(&ordered);
            let took = site::until("the table is put right", mended);
            assert!(took < PROMPT, "the table was put right after {took:?}");
            eprintln!(
                "in the storm an order took {:?}, with the table mended {took:?} after its flush",
                asked.elapsed()
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    storm.unwrap().join().unwrap().unwrap();
    let (status, _, slowest) = timed(&site);
    eprintln!(
        "{} packets in {length:?}: {} decisions held, {} contained, breaker {:?}; queue drops {}; history {:?}",
        sent.load(Ordering::Relaxed),
        status.hosts.held,
        status.hosts.contained,
        status.breaker,
        site.metric("firedoor_control_queue_drops_total", ""),
        status.store,
    );
    eprintln!(
        "the slowest answer took {slowest:?}, the oldest picture was {oldest:?} old; {} of {} MB",
        Vitals::of(pid).resident >> 20,
        status.memory.bound >> 20
    );
    assert!(slowest < PROMPT, "an answer took {slowest:?}");
    assert!(oldest < PROMPT + Duration::from_secs(1), "the picture was {oldest:?} old");
    assert!(status.hosts.held > 0 && status.hosts.held <= 1024, "{:?}", status.hosts);
    assert!(status.hosts.contained <= 62, "no more than the breaker admits in a minute: {:?}", status.hosts);
    assert!(Vitals::of(pid).resident <= status.memory.bound);
    assert!(site.repairs(Drift::Table) >= 1);
    assert!(status.store.written < 6000, "the storm fills the history: {:?}", status.store);

    // The engineer clears it up, and the next worm is contained as ever.
    site.command(&["held", "drop", "--all"]);
    site.command(&["release", "--all", "--reason", "a forged storm"]);
    site.command(&["rearm"]);
    assert_eq!(site.status().hosts.held, 0);
    let host = site.infected(0);
    let worm = Worm::release(&site.scene.network, 0, Order::new(Kind::Wannacry, 73)).unwrap();
    site::until("the next worm is contained", || !site.decisions(host, Verdict::Contain).is_empty());
    worm.end().unwrap();
    bystander.all_passed();
    assert!(session.stats().is_undisturbed(), "{:?}", session.stats());
}
