//! What a forwarded packet costs with the table in its way: small segments and datagrams from one namespace through a gateway
//! into another.
//!
//! `cargo bench --bench door` prints nanoseconds a packet, generator included, the best of many short rounds, the
//! variants taking turns; quote the differences and ratios of one run, never one absolute time. Needs root and nft.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark has nobody to hand an error to"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use firedoor::config::Config;
use firedoor::firewall::{Firewall, Order, Plan};
use firedoor::respond::{Action, Mode};
use firedoor::suspect::Place;
use firedoor::sys::namespace::{self, Namespace};
use firedoor::sys::route::Kernel;
use firedoor::time::Timestamp;
use firedoor::wire::{Address, Link, Mac};
use pnet::datalink::{self, Channel, DataLinkSender};

/// A round is shorter than a time slice, so that the best of many is one that nothing else ran in.
const PACKETS: u32 = 200;
const ROUNDS: u32 = 10;
/// Times a round is repeated before the next variant's turn.
const REPEATS: u32 = 300;
/// The kernel takes a deleted table's elements apart in the background.
const SETTLE: Duration = Duration::from_millis(100);

/// Where the packet goes: to the web, as most do; a datagram to nowhere in particular; and to a lateral service, which is
/// asked about while somebody is contained.
const PORTS: [(&str, u16); 3] = [("TCP", 80), ("UDP", 5000), ("TCP", 445)];

/// What stands in the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// No table: forwarding alone.
    None,
    /// The table, nobody acted on.
    Quiet,
    /// The table, 10,000 others contained.
    Contained,
    /// The same, and one of them isolated.
    Isolated,
    /// The same, and a card isolated too.
    Card,
}

const DOORS: [Door; 5] = [Door::None, Door::Quiet, Door::Contained, Door::Isolated, Door::Card];

/// Left, gateway, right; the sender's end, and the gateway's firewall.
struct Road {
    gateway: Namespace,
    _ends: [Namespace; 2],
    sender: Box<dyn DataLinkSender>,
    frames: [Vec<u8>; PORTS.len()],
    link: Link,
    firewall: Firewall,
    plan: Plan,
}

impl Road {
    fn build() -> Road {
        let [left, gateway, right] = ["left", "gateway", "right"].map(|name| Namespace::new(name).unwrap());
        left.veth("eth0", &gateway, "in").unwrap();
        right.veth("eth0", &gateway, "out").unwrap();
        let dress = |ns: &Namespace, link: &str, address: &str| {
            ns.link(|links| links.address(link, address.parse().unwrap())).unwrap();
            ns.link(|links| links.up(link)).unwrap();
        };
        dress(&left, "eth0", "10.1.0.2/24");
        dress(&gateway, "in", "10.1.0.1/24");
        dress(&gateway, "out", "10.2.0.1/24");
        dress(&right, "eth0", "10.2.0.2/24");
        gateway.set("net/ipv4/ip_forward", "1").unwrap();
        let near = gateway.link(|links| links.mac("in")).unwrap();
        let far = right.link(|links| links.mac("eth0")).unwrap();
        // An address the far end does not have: it drops the packet without an answer.
        gateway.link(|links| links.neighbour("out", Ipv4Addr::new(10, 2, 0, 9).into(), far)).unwrap();
        let (sender, own) = left
            .run(|| {
                let link = datalink::interfaces().into_iter().find(|link| link.name == "eth0").unwrap();
                match datalink::channel(&link, datalink::Config::default()).unwrap() {
                    Channel::Ethernet(sender, _) => (sender, link.mac.unwrap().octets()),
                    _ => panic!("veth is Ethernet"),
                }
            })
            .unwrap();
        let frames = PORTS.map(|(transport, port)| {
            let mut frame = Vec::new();
            let packet = PacketBuilder::ethernet2(own, near.0).ipv4([10, 1, 0, 2], [10, 2, 0, 9], 64);
            if transport == "TCP" {
                packet.tcp(40_000, port, 1, 1024).ack(1).write(&mut frame, &[]).unwrap();
            } else {
                packet.udp(40_000, port).write(&mut frame, &[0; 12]).unwrap();
            }
            frame
        });
        let links = gateway.run(|| Kernel::open().unwrap().links().unwrap()).unwrap();
        let link = Link::untagged(links.iter().find(|link| link.name == "in").unwrap().index);
        let mut config = Config::default();
        config.gateway.mode = Mode::Enforce;
        config.gateway.interfaces = vec!["in".to_owned(), "out".to_owned()];
        let plan = Plan::new(
            &config,
            &firedoor::wire::Networks::default(),
            &config.gateway.interfaces,
            Timestamp::from_secs(1_800_000_000),
        )
        .unwrap();
        let firewall = gateway.run(|| Firewall::open().unwrap()).unwrap();
        Road { gateway, _ends: [left, right], sender, frames, link, firewall, plan }
    }

    fn set(&mut self, door: Door) {
        let (firewall, plan, link) = (&mut self.firewall, &self.plan, self.link);
        let others = |action: Action, count: u16| -> Vec<Order> {
            (0..count)
                .map(u16::to_be_bytes)
                .map(|[c, d]| Order {
                    place: Place::address(link, Address::v4([10, 9, c, d])),
                    action,
                    timeout: None,
                    ports: Vec::new(),
                })
                .collect()
        };
        self.gateway
            .run(|| {
                firewall.remove().unwrap();
                if door == Door::None {
                    return;
                }
                firewall.reconcile(plan).unwrap();
                if door != Door::Quiet {
                    firewall.act_many(&others(Action::Contain, 10_000)).unwrap();
                }
                if matches!(door, Door::Isolated | Door::Card) {
                    firewall.act_many(&others(Action::Isolate, 1)).unwrap();
                }
                if door == Door::Card {
                    firewall.act(Place::card(link, Mac([2, 0, 0, 0, 0, 9])), Action::Isolate, None).unwrap();
                }
            })
            .unwrap();
    }

    fn round(&mut self, frame: usize, packets: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..packets {
            self.sender.send_to(&self.frames[frame], None).unwrap().unwrap();
        }
        start.elapsed()
    }
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--test");
    if let Err(error) = namespace::permitted() {
        eprintln!("SKIPPED: {error}");
        return;
    }
    let mut road = Road::build();
    let (rounds, packets) = if once { (1, 100) } else { (ROUNDS, PACKETS) };
    let mut best = [[Duration::MAX; PORTS.len()]; DOORS.len()];
    for _ in 0..rounds {
        for (door, best) in DOORS.into_iter().zip(&mut best) {
            road.set(door);
            std::thread::sleep(SETTLE);
            for _ in 0..REPEATS {
                for (frame, best) in best.iter_mut().enumerate() {
                    *best = road.round(frame, packets).min(*best);
                }
            }
        }
    }
    let nanos = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(packets);
    let [without, ..] = best;
    for (door, best) in DOORS.into_iter().zip(best) {
        for (((transport, port), best), without) in PORTS.into_iter().zip(best).zip(without) {
            let (time, more) = (nanos(best), nanos(best) - nanos(without));
            println!(
                "{:<10} {transport} to port {port:<4} {time:7.0} ns a packet, {more:+6.0} ns",
                format!("{door:?}")
            );
        }
    }
}
