//! A forged flood over the wire: a million sources at whatever rate the machine sends, and a real worm among them.
//!
//! The promise is a minute of it, against an optimised daemon. Here it lasts `FIREDOOR_FLOOD_SECONDS` (10 unless set), at
//! most 20,000 a second where nothing is optimised. Counted from outside the daemon: its memory from /proc, what reached the victims by a process of its own, what the gateway stopped by the
//! listeners on its wires ([`Log::stopped`](crate::prober::Log::stopped)).

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firedoor::lab::counter::Counter;
use firedoor::lab::listener;
use firedoor::lab::plan::{Segment, WARD};
use firedoor::lab::random::Random;
use firedoor::lab::session::{Service, Session};
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::{Decision, Verdict};
use firedoor::store::Store;
use firedoor::sys::inject::{self, Injector};
use firedoor::sys::namespace::Error;
use firedoor::wire::build::End;
use firedoor::wire::{Address, Mac};

use crate::frames::Knock;
use crate::prober::{Log, Probe};
use crate::site::{self, Site};
use crate::vitals::{self, Traffic, Vitals};

/// Distinct sources.
const SOURCES: usize = 1_000_000;

/// Every eighth frame is from one of so many, so that each of these scans as a worm would.
const OBSTINATE: usize = 2_000;

/// The services it knocks at.
const DOORS: [u16; 6] = [445, 139, 135, 3389, 22, 1433];

/// What a daemon that was not optimised takes, in packets a second.
const UNOPTIMISED: f64 = 20_000.0;

/// The ward's dark addresses below this one are left to the worm, so that the gateway's questions for them can be told
/// from those that the flood causes.
const LANE: u8 = 100;

/// Every source once: two of four in 10/8, one in the other private networks, one anywhere; among them are the addresses
/// of the site's own segments, but for `spared` and the worm's lane.
fn sources(site: &Site, spared: Ipv4Addr, seed: u64) -> Vec<Ipv4Addr> {
    let mut random = Random::new(seed);
    let (own, hers): (Vec<Ipv4Addr>, Vec<Ipv4Addr>) = (0..4)
        .flat_map(|segment| (1..255).map(move |host| Ipv4Addr::new(10, 66, segment, host)))
        .partition(|source| *source != spared && !in_lane(site, (*source).into()));
    let mut known: HashSet<Ipv4Addr> = own.iter().chain(&hers).copied().collect();
    let mut list = own;
    while list.len() < SOURCES {
        let bits = u32::try_from(random.next() >> 32).unwrap();
        let source = Ipv4Addr::from_bits(match list.len() % 4 {
            0 | 1 => 0x0a00_0000 | bits & 0x00ff_ffff,
            2 if bits & 1 == 0 => 0xac10_0000 | bits >> 1 & 0x000f_ffff,
            2 => 0xc0a8_0000 | bits >> 1 & 0xffff,
            _ => bits,
        });
        // What no host may send from, the kernel drops as it comes in: no test of anything.
        let [first, ..] = source.octets();
        if !matches!(first, 0 | 127 | 224..) && known.insert(source) {
            list.push(source);
        }
    }
    random.shuffle(&mut list);
    list
}

fn in_lane(site: &Site, address: IpAddr) -> bool {
    let plan = &site.scene.network.plan;
    plan.host(address).is_some_and(|host| host < LANE) && !plan.is_live(address)
}

/// A flood under way; it ends by itself.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Flood {
    /// Infected host `number` sends from all sources in turn, for so long.
    fn start(site: &Site, number: u8, sources: Vec<Ipv4Addr>, length: Duration) -> Self {
        let network = &site.scene.network;
        let machine = &network.infected[usize::from(number)];
        let next_hop: Mac = network.gateway.link(|links| links.mac(&Segment::Office.interface())).unwrap();
        let own = machine.link(|links| links.mac("eth0")).unwrap();
        let interface = machine.link(|links| links.index("eth0")).unwrap();
        let plan = network.plan.clone();
        let aims: Vec<Ipv4Addr> = (2..=254)
            .filter(|host| *host >= LANE || plan.live().contains(host))
            .filter_map(|host| match plan.address(WARD, host) {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            })
            .collect();
        let ends = (End { mac: own, ip: sources[0].into() }, End { mac: next_hop, ip: aims[0].into() });
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = machine.spawn(move || {
            let injector = Injector::open(interface).unwrap();
            let mut random = Random::new(5);
            let mut batch = vec![Knock::new(ends.0, ends.1); inject::BATCH];
            let begun = Instant::now();
            let (mut turn, mut again) = (sources.iter().cycle(), sources[..OBSTINATE].iter().cycle());
            while begun.elapsed() < length && !ended.load(Ordering::Relaxed) {
                for (number, knock) in batch.iter_mut().enumerate() {
                    let turn = if number % 8 == 0 { &mut again } else { &mut turn };
                    let source = turn.next().unwrap();
                    let bits = random.next();
                    let aim = aims[usize::try_from(bits % aims.len() as u64).unwrap()];
                    let door = DOORS[usize::try_from((bits >> 16) % DOORS.len() as u64).unwrap()];
                    let port = 1024 + u16::try_from((bits >> 32) % 64_000).unwrap();
                    knock.aim(*source, aim, (port, door));
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
        Flood { stop, sent, thread: thread.unwrap() }
    }

    fn runs(&self) -> bool {
        !self.thread.is_finished()
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

/// What a way went through: nothing that came into the gateway may have been stopped there.
fn unstopped(name: &str, log: &Log) {
    let (stopped, lost) = (log.stopped(), log.lost().len());
    eprintln!(
        "{name}: {} sent, {} came into the gateway, {} of them stopped there; {lost} lost in all",
        log.sent(),
        log.entered(),
        stopped.len()
    );
    assert_eq!(log.overheard(), 0, "{name}: a listener lost frames, so nothing is proved");
    assert!(log.entered() > 0, "{name}: nothing came into the gateway");
    assert!(stopped.is_empty(), "{name}: the gateway stopped {} packets", stopped.len());
}

#[test]
fn a_million_forged_sources_on_the_wire_hide_no_worm_harm_nobody_and_stay_within_memory() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let length = Duration::from_secs(vitals::figure("FIREDOOR_FLOOD_SECONDS", 10));
    let mut site = Site::new(71, 4, |setup| setup);
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    let host = site.infected(0);
    let IpAddr::V4(spared) = host else { panic!("IPv4") };
    let network = &site.scene.network;
    let counter = Counter::start_for(site::program(), &network.wards[0], network.plan.network(WARD), &[host]).unwrap();
    site.scene.counter = counter;

    let network = &site.scene.network;
    let mut sessions = vec![Session::start(&network.clinic, "clinic", site.server(), Service::SQL).unwrap()];
    for number in [2, 3] {
        sessions.push(Session::start(&network.infected[number], "office", site.server(), Service::HTTP).unwrap());
    }
    let (uninvolved, clinical) = (Probe::uninvolved(&site), Probe::clinical(&site, 0));
    std::thread::sleep(Duration::from_millis(500));
    let pid = site.daemon().pid();
    let before = Vitals::of(pid);
    let (carried, squeezed) = (Traffic::through(&site), vitals::backlog_drops());
    let begun = Instant::now();
    let flood = Flood::start(&site, 1, sources(&site, spared, 71), length);

    std::thread::sleep(length / 6);
    let worm = Worm::release(&site.scene.network, 0, Order::new(Kind::Wannacry, 71)).unwrap();
    let loose = Instant::now();
    let (mut most, mut contained) = (before.resident, None);
    while flood.runs() {
        most = most.max(Vitals::of(pid).resident);
        if contained.is_none() && !site.decisions(host, Verdict::Contain).is_empty() {
            contained = Some(loose.elapsed());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let worm_stats = worm.end().unwrap();
    let sent = flood.end();
    let took = begun.elapsed();
    let carried = Traffic::through(&site).since(&carried);
    let after = Vitals::of(pid);
    most = most.max(after.resident);
    std::thread::sleep(Duration::from_secs(1));

    let status = site.status();
    let rate = |count: u64| count as f64 / took.as_secs_f64();
    let reached = site.scene.first_contacts(&site.scene.counter.arrivals(), host);
    let reached: Vec<_> = reached
        .iter()
        .filter(|address| in_lane(&site, **address) || site.scene.network.plan.is_live(**address))
        .collect();
    eprintln!(
        "{SOURCES} sources for {took:.1?}: {sent} frames sent ({:.0}/s), {} came into the gateway ({:.0}/s), {} left it \
         towards the ward; {} lost in full queues of the machine",
        rate(sent),
        carried.office_in,
        rate(carried.office_in),
        carried.ward_out,
        vitals::backlog_drops() - squeezed,
    );
    for interface in &status.interfaces {
        eprintln!("{}: {} packets lost by the ring, {:?}", interface.name, interface.kernel_drops, interface.blind);
    }
    eprintln!("fuse: {:?}; tables {:?}; sets {:?}", status.fuse, status.tables, status.sets);
    eprintln!(
        "memory: {} MB before, {} MB at most, {} MB after; {} MB is the bound; descriptors {} and {}",
        before.resident >> 20,
        most >> 20,
        after.resident >> 20,
        status.memory.bound >> 20,
        before.descriptors,
        after.descriptors
    );
    let ticks = after.ticks - before.ticks;
    eprintln!(
        "the daemon used {:.1} s of processor time, {:.0} ns a packet that came in",
        ticks as f64 / 100.0,
        ticks as f64 * 1e7 / carried.all_in as f64
    );
    eprintln!(
        "the worm tried {} addresses, was contained after {contained:?}, and {} of its first contacts reached the ward",
        worm_stats.destinations,
        reached.len()
    );
    for session in &sessions {
        eprintln!("{:?}", session.stats());
    }
    site::until("the history has it all", || site.status().store.waiting == 0);
    let acts = Store::open_to_read(&site.directory.path().join("history.db")).unwrap().recent(1_000_000).unwrap();
    let acted_on = |act: &Decision| matches!(act.decision, Verdict::Contain | Verdict::Isolate | Verdict::Hold);
    let innocent: Vec<_> = acts.iter().filter(|act| acted_on(act) && act.host != Address::from(host)).collect();
    eprintln!("{} others contained, isolated or held; {} decisions in the history", innocent.len(), acts.len());
    let in_kernel = site.in_kernel();
    unstopped("the uninvolved client to 445", &uninvolved.end());
    unstopped("the worm's host to 80", &clinical.end());

    assert!(innocent.is_empty(), "{} innocents, among them {:#?}", innocent.len(), &innocent[..innocent.len().min(3)]);
    assert_eq!(in_kernel, [host]);
    assert!(acts.len() < 500, "a flood fills the history: {}", acts.len());
    assert!(contained.is_some(), "the worm was not contained");
    // What the ring lost the daemon has not seen; then it is the kernel's fuse that holds the worm, at one a second more.
    let unseen: u64 = status.interfaces.iter().map(|interface| interface.kernel_drops).sum();
    let blind = if unseen == 0 { 0 } else { usize::try_from(contained.unwrap().as_secs()).unwrap() + 1 };
    assert!(reached.len() <= 10 + blind, "{unseen} frames lost by the ring: {reached:?}");
    // One more destination is the server that the host's own clinical work goes to.
    let destinations = site.decisions(host, Verdict::Contain)[0].destinations;
    assert!(destinations <= 11, "{destinations}");
    assert!(most <= status.memory.bound, "{most} bytes, and {} is the bound", status.memory.bound);
    assert_eq!(after.descriptors, before.descriptors);
    for session in &sessions {
        assert_eq!(session.stats().broken, None);
    }
}
