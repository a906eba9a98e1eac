//! Forged sources: nobody is contained for what somebody else sent in his name.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use firedoor::lab::listener;
use firedoor::lab::plan::{Family, Segment, Shape, WARD};
use firedoor::lab::random::Random;
use firedoor::lab::session::{Service, Session};
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::respond::Verdict;
use firedoor::sys::namespace::Error;
use firedoor::wire::build::{self, End};
use firedoor::wire::{Address, Mac};
use pnet::datalink::{self, Channel};

use crate::prober::Probe;
use crate::site::{self, Site};

/// Whose hardware address the forger writes.
#[derive(Clone, Copy, Debug)]
pub enum Card {
    /// Its own.
    Own,
    /// A new one with each packet.
    Random,
}

/// Forges sources until it is ended.
pub struct Forger {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Forger {
    /// Sends bare SYNs to the ward's 445 from `sources` by turns, and from as many random ones, about 4,000 a second.
    pub fn start(site: &Site, number: u8, card: Card, sources: Vec<IpAddr>) -> Self {
        let network = &site.scene.network;
        let machine = &network.infected[usize::from(number)];
        let next_hop = network.gateway.link(|links| links.mac(&Segment::Office.interface())).unwrap();
        let own = machine.link(|links| links.mac("eth0")).unwrap();
        let plan = network.plan.clone();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = machine.spawn(move || {
            let interface = datalink::interfaces().into_iter().find(|each| each.name == "eth0").unwrap();
            let Channel::Ethernet(mut sender, _) = datalink::channel(&interface, datalink::Config::default()).unwrap()
            else {
                panic!("eth0 is no Ethernet interface")
            };
            let mut random = Random::new(8);
            let mut frame = [0; build::LONGEST];
            while !ended.load(Ordering::Relaxed) {
                for turn in 0..4_u64 {
                    let source = if turn % 2 == 0 {
                        sources[usize::try_from(random.below(sources.len() as u64)).unwrap()]
                    } else {
                        let bits = u32::try_from(random.below(1 << 24)).unwrap();
                        std::net::Ipv4Addr::from(0x0a00_0000 | bits).into()
                    };
                    let mac = match card {
                        Card::Own => own,
                        Card::Random => {
                            let [.., a, b, c, d] = random.next().to_be_bytes();
                            Mac([2, 1, a, b, c, d])
                        }
                    };
                    let target = plan.address(WARD, u8::try_from(2 + random.below(250)).unwrap());
                    let ends = (End { mac, ip: source }, End { mac: next_hop, ip: target });
                    let port = 1024 + u16::try_from(random.below(60_000)).unwrap();
                    let length = build::syn(&mut frame, ends.0, ends.1, (port, 445), 1).unwrap();
                    if let Some(Ok(())) = sender.send_to(&frame[..length], None) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Forger { stop, sent, thread: thread.unwrap() }
    }

    /// Stops it; gives how many packets it sent.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap();
        self.sent.load(Ordering::Relaxed)
    }
}

fn only_the_worm_is_contained(card: Card, forger: u8) {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let site = Site::new(61, 4, |setup| setup);
    for _ in 0..25 {
        listener::speak(&site.scene.network, 1).unwrap();
    }
    // Those whose names are used are known before: they work.
    let network = &site.scene.network;
    let mut sessions = vec![Session::start(&network.clinic, "clinic", site.server(), Service::SQL).unwrap()];
    for number in [2, 3] {
        sessions.push(Session::start(&network.infected[number], "office", site.server(), Service::HTTP).unwrap());
    }
    let bystander = Probe::uninvolved(&site);
    std::thread::sleep(Duration::from_millis(500));
    let others = vec![site.clinic(), site.server(), site.infected(2), site.infected(3), site.victim(1), site.victim(2)];
    let flood = Forger::start(&site, forger, card, others);
    std::thread::sleep(Duration::from_millis(500));
    let worm = Worm::release(&site.scene.network, 0, Order::new(Kind::Wannacry, 61)).unwrap();
    let host = site.infected(0);
    site::until("the worm among them is contained", || !site.decisions(host, Verdict::Contain).is_empty());
    let decided = site.decisions(host, Verdict::Contain).remove(0);
    std::thread::sleep(Duration::from_secs(2));
    worm.end().unwrap();
    let sent = flood.end();
    let acted_on = site.acted_on();
    let innocent: Vec<_> = acted_on.iter().filter(|act| act.host != Address::from(host)).collect();
    assert!(innocent.is_empty(), "{card:?}: {innocent:#?}");
    assert!(decided.destinations <= 10, "{decided:?}");
    for session in &sessions {
        assert!(session.stats().is_undisturbed(), "{:?}", session.stats());
    }
    assert!(site.metric("firedoor_unverified_evidence_total", "") > 0, "what weighs nothing is counted");
    bystander.all_passed();
    let arrivals = site.scene.counter.arrivals();
    let plan = &site.scene.network.plan;
    let reached: std::collections::HashSet<_> = arrivals
        .iter()
        .filter(|arrival| arrival.source == host && plan.is_live(arrival.destination))
        .map(|arrival| arrival.destination)
        .collect();
    eprintln!(
        "{card:?}: {sent} forged packets; the worm was contained at its first contact number {}, having reached {} live \
         hosts",
        decided.destinations,
        reached.len()
    );
}

#[test]
fn a_flood_in_other_peoples_names_by_one_card_contains_only_the_worm() {
    only_the_worm_is_contained(Card::Own, 1);
}

#[test]
fn a_flood_by_a_thousand_cards_contains_only_the_worm() {
    only_the_worm_is_contained(Card::Random, 1);
}

/// Sends so many bare SYNs from a machine's card in the name of `source` to different addresses of the ward, 50 a second.
fn forge(site: &Site, number: u8, source: IpAddr, mac: Option<Mac>, count: u8) {
    let network = &site.scene.network;
    let machine = &network.infected[usize::from(number)];
    let own = machine.link(|links| links.mac("eth0")).unwrap();
    let next_hop = match network.plan.shape() {
        Shape::Routed => network.gateway.link(|links| links.mac(&Segment::Office.interface())).unwrap(),
        Shape::Bridged => network.wards[0].link(|links| links.mac("eth0")).unwrap(),
    };
    let plan = network.plan.clone();
    let work = move || {
        let interface = datalink::interfaces().into_iter().find(|each| each.name == "eth0").unwrap();
        let Channel::Ethernet(mut sender, _) = datalink::channel(&interface, datalink::Config::default()).unwrap()
        else {
            panic!("eth0 is no Ethernet interface")
        };
        let mut frame = [0; build::LONGEST];
        for host in 0..count {
            let from = End { mac: mac.unwrap_or(own), ip: source };
            let to = End { mac: next_hop, ip: plan.address(WARD, 100 + host) };
            let length = build::syn(&mut frame, from, to, (50_000 + u16::from(host), 445), 1).unwrap();
            sender.send_to(&frame[..length], None).unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    machine.spawn(work).unwrap().join().unwrap().unwrap();
}

/// Nothing was done to `host`, and a record says why.
fn recorded(site: &Site, host: IpAddr, what: &str) {
    let found = || site.decisions(host, Verdict::Watch).iter().any(|act| act.reason.contains(what));
    site::until("a record says why nothing was done", || found() || !site.acted_on().is_empty());
    assert!(site.acted_on().is_empty(), "{:#?}", site.acted_on());
}

/// The host itself is judged for what it does itself, at once, and nobody else with it.
fn only_what_it_did_itself_contains(site: &Site, number: u8) {
    let decided = site.contain_by_worm(number);
    assert!(decided.destinations <= 10, "{decided:?}");
    let host = Address::from(site.infected(number));
    let innocent: Vec<_> = site.acted_on().into_iter().filter(|act| act.host != host).collect();
    assert!(innocent.is_empty(), "{innocent:#?}");
}

/// Nobody has ever heard of the neighbour; the forger is there first, and no faster than a host may be.
fn a_neighbour_who_was_never_seen_is_safe(shape: Shape) {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::shaped(Family::Ipv4, shape, 67, 4);
    let (silent, other) = (site.infected(3), site.infected(2));
    let absent = site.scene.network.plan.address(Segment::Office, 201);
    forge(&site, 1, silent, None, 20);
    recorded(&site, silent, "answers for the address, and the frames came from");
    // With a card of its own for each name, as nobody would who is clumsy.
    forge(&site, 1, other, Some(Mac([2, 7, 7, 7, 7, 7])), 20);
    recorded(&site, other, "answers for the address, and the frames came from 02:07:07:07:07:07");
    forge(&site, 1, absent, Some(Mac([2, 7, 7, 7, 7, 8])), 20);
    recorded(&site, absent, "nobody on its link answers");
    assert!(site.metric("firedoor_address_probes_total", "finding=\"elsewhere\"") >= 2);
    assert!(site.metric("firedoor_address_probes_total", "finding=\"nobody\"") >= 1);
    only_what_it_did_itself_contains(&site, 3);
}

#[test]
fn a_neighbour_who_was_never_seen_is_safe_behind_a_router() {
    a_neighbour_who_was_never_seen_is_safe(Shape::Routed);
}

#[test]
fn a_neighbour_who_was_never_seen_is_safe_behind_a_bridge() {
    a_neighbour_who_was_never_seen_is_safe(Shape::Bridged);
}

#[test]
fn a_neighbour_who_was_never_seen_is_safe_in_ipv6() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::shaped(Family::Ipv6, Shape::Routed, 67, 4);
    let (silent, absent) = (site.infected(3), site.scene.network.plan.address(Segment::Office, 201));
    // The gateway soon asks for him itself, to report that nobody is there (ICMPv6): then his own answer protects him.
    forge(&site, 1, silent, None, 20);
    forge(&site, 1, absent, Some(Mac([2, 7, 7, 7, 7, 8])), 20);
    std::thread::sleep(Duration::from_secs(2));
    assert!(site.acted_on().is_empty(), "{:#?}", site.acted_on());
    assert!(site.metric("firedoor_unverified_evidence_total", "reason=\"mac\"") > 0);
    only_what_it_did_itself_contains(&site, 3);
}

#[test]
fn a_contained_host_does_not_take_a_neighbour_with_it() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(68, 4, |setup| setup);
    let worm = site.infected(0);
    site.contain_by_worm(0);
    // From the contained card, in the name of a neighbour who was never seen: the decision must not follow it there.
    forge(&site, 0, site.infected(3), None, 20);
    site::until("the neighbour was asked for", || {
        site.metric("firedoor_address_probes_total", "finding=\"elsewhere\"") > 0
    });
    std::thread::sleep(Duration::from_millis(500));
    let innocent: Vec<_> = site.acted_on().into_iter().filter(|act| act.host != Address::from(worm)).collect();
    assert!(innocent.is_empty(), "{innocent:#?}");
    assert_eq!(site.in_kernel(), [worm]);
    site::until("a record says why nothing was done about the neighbour", || {
        let acts = site.decisions(site.infected(3), Verdict::Watch);
        acts.iter().any(|act| act.reason.contains("answers for the address, and the frames came from"))
    });
    // The neighbour itself works on.
    let (neighbour, victim) = (&site.scene.network.infected[3], SocketAddr::new(site.victim(0), 445));
    neighbour.run(move || TcpStream::connect_timeout(&victim, Duration::from_secs(2)).unwrap()).unwrap();
}

#[test]
fn a_forger_does_not_lift_a_block() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(69, 3, |setup| setup);
    let worm = site.infected(0);
    site.contain_by_worm(0);
    // Another card in the contained host's name is no other device: the host still answers for its address.
    for round in 0..5 {
        forge(&site, 1, worm, (round % 2 == 0).then_some(Mac([2, 7, 7, 7, 7, 9])), 20);
    }
    assert_eq!(site.in_kernel(), [worm]);
    assert!(site.decisions(worm, Verdict::Release).is_empty());
}
