//! Three machines: a scanner, the gateway, and a network behind it where every frame that arrives is noted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etherparse::{IpHeaders, NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};
use firedoor::config::model::Config;
use firedoor::firewall::{Firewall, Plan};
use firedoor::respond::Mode;
use firedoor::suspect::Place;
use firedoor::sys::namespace::{self, Namespace};
use firedoor::sys::packet::{Geometry, Ring, Socket};
use firedoor::sys::route::Kernel;
use firedoor::time::Timestamp;
use firedoor::wire::{Link, Mac};
use pnet::datalink::{self, Channel, DataLinkSender, NetworkInterface};

/// The worm's address, and its gateway's.
pub const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
pub const SCANNER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 2);

/// The `n`-th address behind the gateway.
pub fn victim(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 78, 0, 0)) + n).into()
}

pub fn victim6(n: u32) -> IpAddr {
    Ipv6Addr::from(u128::from(Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 0)) + u128::from(n)).into()
}

/// A host, wherever it is.
pub fn host(address: &str) -> Place {
    Place::anywhere(address.parse().unwrap())
}

/// How the gateway joins its two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Routed,
    Bridged,
}

pub struct Site {
    pub scanner: Namespace,
    pub gateway: Namespace,
    pub victims: Namespace,
    pub firewall: Option<Firewall>,
    shape: Shape,
}

impl Site {
    /// `None`, said loudly, where namespaces cannot be made.
    pub fn build(shape: Shape) -> Option<Site> {
        if let Err(error) = namespace::permitted() {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        let [scanner, gateway, victims] = ["scanner", "gateway", "victims"].map(|name| Namespace::new(name).unwrap());
        victims.veth("eth0", &gateway, "srv").unwrap();
        let site = Site { scanner, gateway, victims, firewall: None, shape };
        match shape {
            Shape::Routed => {
                dress(&site.gateway, "srv", &["10.77.2.1/24", "fd77:2::1/64"]);
                dress(&site.victims, "eth0", &["10.77.2.2/24", "fd77:2::2/64"]);
                site.gateway.set("net/ipv4/ip_forward", "1").unwrap();
                site.gateway.set("net/ipv6/conf/all/forwarding", "1").unwrap();
                for link in ["all", "default", "srv"] {
                    site.gateway.set(&format!("net/ipv4/conf/{link}/rp_filter"), "0").unwrap();
                }
                route(&site.gateway, &[("10.78.0.0/16", "10.77.2.2"), ("fd78::/64", "fd77:2::2")]);
                route(&site.victims, &[("0.0.0.0/0", "10.77.2.1"), ("::/0", "fd77:2::1")]);
            }
            Shape::Bridged => {
                site.gateway.link(|links| links.bridge("br0")).unwrap();
                site.gateway.link(|links| links.enslave("srv", "br0")).unwrap();
                dress(&site.gateway, "srv", &[]);
                dress(&site.gateway, "br0", &[]);
                dress(&site.victims, "eth0", &["10.77.2.2/16", "fd77:1::3/32"]);
            }
        }
        site.cable_scanner();
        site.settle();
        Some(site)
    }

    /// Waits until a datagram of each family crosses: links come up and neighbours are found in their own time.
    pub fn settle(&self) {
        let far = match self.shape {
            Shape::Routed => ["10.77.2.2:9", "[fd77:2::2]:9"],
            Shape::Bridged => ["10.77.2.2:9", "[fd77:1::3]:9"],
        };
        for (far, any) in far.into_iter().zip(["0.0.0.0:0", "[::]:0"]) {
            let listener = self.victims.run(|| UdpSocket::bind(far).unwrap()).unwrap();
            listener.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let caller = self.scanner.run(|| UdpSocket::bind(any).unwrap()).unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            while {
                caller.send_to(b"?", far).ok();
                listener.recv(&mut [0; 8]).is_err()
            } {
                assert!(Instant::now() < deadline, "{far} cannot be reached");
            }
        }
    }

    /// Joins the scanner to the gateway's `lan`, for the first time or again.
    pub fn cable_scanner(&self) {
        self.scanner.veth("eth0", &self.gateway, "lan").unwrap();
        match self.shape {
            Shape::Routed => {
                dress(&self.gateway, "lan", &["10.77.1.1/24", "fd77:1::1/64"]);
                dress(&self.scanner, "eth0", &["10.77.1.2/24", "fd77:1::2/64"]);
                route(&self.scanner, &[("0.0.0.0/0", "10.77.1.1"), ("::/0", "fd77:1::1")]);
            }
            Shape::Bridged => {
                self.gateway.link(|links| links.enslave("lan", "br0")).unwrap();
                dress(&self.gateway, "lan", &[]);
                dress(&self.scanner, "eth0", &["10.77.1.2/16", "fd77:1::2/32"]);
            }
        }
    }

    /// Works with the firewall inside the gateway.
    pub fn firewall<T: Send>(&mut self, work: impl FnOnce(&mut Firewall) -> T + Send) -> T {
        let firewall = &mut self.firewall;
        self.gateway.run(|| work(firewall.get_or_insert_with(|| Firewall::open().unwrap()))).unwrap()
    }

    /// Loads the plan.
    pub fn load(&mut self, plan: &Plan) -> firedoor::firewall::Reconciled {
        self.firewall(|firewall| firewall.reconcile(plan).unwrap())
    }

    /// Runs nft by hand inside the gateway; gives what it prints.
    pub fn nft(&self, arguments: &str) -> String {
        let output = self.gateway.command("nft").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A link of the gateway's, without tags.
    pub fn link(&self, name: &str) -> Link {
        let links = self.gateway.run(|| Kernel::open().unwrap().links().unwrap()).unwrap();
        Link::untagged(links.into_iter().find(|link| link.name == name).unwrap().index)
    }

    /// The worm's card.
    pub fn scanner_card(&self) -> Mac {
        self.scanner.link(|links| links.mac("eth0")).unwrap()
    }

    /// The hardware address that frames for the far side are sent to, in each direction.
    fn next_hop(&self, from_scanner: bool) -> Mac {
        let (ns, link) = match (self.shape, from_scanner) {
            (Shape::Routed, true) => (&self.gateway, "lan"),
            (Shape::Routed, false) => (&self.gateway, "srv"),
            (Shape::Bridged, true) => (&self.victims, "eth0"),
            (Shape::Bridged, false) => (&self.scanner, "eth0"),
        };
        ns.link(|links| links.mac(link)).unwrap()
    }

    /// A sender on the scanner's cable.
    pub fn gun(&self) -> Gun {
        Gun::open(&self.scanner, self.next_hop(true))
    }

    /// A sender on the victims' cable, towards the scanner.
    pub fn return_gun(&self) -> Gun {
        Gun::open(&self.victims, self.next_hop(false))
    }

    /// Notes what arrives at the victims.
    pub fn watch(&self) -> Watcher {
        Watcher::open(&self.victims)
    }

    /// Notes what arrives at the scanner.
    pub fn watch_scanner(&self) -> Watcher {
        Watcher::open(&self.scanner)
    }
}

fn dress(ns: &Namespace, link: &str, addresses: &[&str]) {
    for address in addresses {
        ns.link(|links| links.address(link, address.parse().unwrap())).unwrap();
    }
    ns.link(|links| links.up(link)).unwrap();
}

fn route(ns: &Namespace, routes: &[(&str, &str)]) {
    for (network, via) in routes {
        ns.link(|links| links.route(network.parse().unwrap(), via.parse().unwrap())).unwrap();
    }
}

/// A configuration for these machines.
pub fn config(mode: Mode) -> Config {
    let mut config = Config::default();
    config.gateway.mode = mode;
    config.gateway.interfaces = vec!["lan".to_owned(), "srv".to_owned()];
    config
}

pub fn plan(config: &Config) -> Plan {
    Plan::new(
        config,
        &firedoor::wire::Networks::default(),
        &["lan".to_owned(), "srv".to_owned()],
        Timestamp::from_secs(1_800_000_000),
    )
    .unwrap()
}

fn cable() -> NetworkInterface {
    datalink::interfaces().into_iter().find(|interface| interface.name == "eth0").unwrap()
}

fn channel() -> Box<dyn DataLinkSender> {
    match datalink::channel(&cable(), datalink::Config::default()).unwrap() {
        Channel::Ethernet(sender, _) => sender,
        _ => panic!("veth is Ethernet"),
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Syn(u16),
    Ack(u16),
    Udp(u16, u16),
}

/// Sends frames of our own making.
pub struct Gun {
    sender: Box<dyn DataLinkSender>,
    own: [u8; 6],
    next_hop: Mac,
}

impl Gun {
    fn open(ns: &Namespace, next_hop: Mac) -> Gun {
        let (sender, own) = ns.run(|| (channel(), cable().mac.unwrap().octets())).unwrap();
        Gun { sender, own, next_hop }
    }

    /// Sends as another card from now on.
    pub fn as_card(&mut self, card: Mac) -> &mut Self {
        self.own = card.0;
        self
    }

    /// Sends a frame of the given type and content.
    pub fn fire_raw(&mut self, ethertype: u16, content: &[u8]) {
        let mut frame = [self.next_hop.0, self.own].concat();
        frame.extend(ethertype.to_be_bytes());
        frame.extend(content);
        self.sender.send_to(&frame, None).unwrap().unwrap();
    }

    pub fn fire(&mut self, from: impl Into<IpAddr>, to: impl Into<IpAddr>, kind: Kind) {
        let link = PacketBuilder::ethernet2(self.own, self.next_hop.0);
        self.send(
            match (from.into(), to.into()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
                (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
                _ => panic!("one family a packet"),
            },
            kind,
        );
    }

    /// With an IPv4 or IPv6 packet.
    pub fn fire_ip(&mut self, packet: &[u8]) {
        self.fire_raw(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, packet);
    }

    /// With an 802.1Q tag.
    pub fn fire_tagged(&mut self, vlan: u16, from: Ipv4Addr, to: Ipv4Addr, kind: Kind) {
        let link = PacketBuilder::ethernet2(self.own, self.next_hop.0).single_vlan(vlan.try_into().unwrap());
        self.send(link.ipv4(from.octets(), to.octets(), 64), kind);
    }

    fn send(&mut self, ip: PacketBuilderStep<IpHeaders>, kind: Kind) {
        let mut frame = Vec::with_capacity(80);
        match kind {
            Kind::Syn(port) => ip.tcp(40_000, port, 1, 1024).syn().write(&mut frame, &[]).unwrap(),
            Kind::Ack(port) => ip.tcp(40_000, port, 2, 1024).ack(1).write(&mut frame, &[1]).unwrap(),
            Kind::Udp(source, port) => ip.udp(source, port).write(&mut frame, &[0; 8]).unwrap(),
        }
        self.sender.send_to(&frame, None).unwrap().unwrap();
    }
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: Instant,
    pub from: IpAddr,
    pub to: IpAddr,
    pub kind: Kind,
}

/// What arrived: as far as it was read, and every frame's octets.
type Heard = (Vec<Arrival>, Vec<Vec<u8>>);

/// Notes TCP and UDP frames that arrive, until asked what it saw.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Heard, namespace::Error>>,
}

impl Watcher {
    fn open(ns: &Namespace) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, opened) = mpsc::channel();
        let stopping = Arc::clone(&stop);
        let thread = ns
            .spawn(move || {
                let socket = Socket::open().unwrap();
                let geometry = Geometry { block_bytes: 1 << 18, blocks: 32, timeout: Duration::from_millis(5) };
                let mut ring = Ring::new(socket, geometry).unwrap();
                ring.socket().bind(cable().index).unwrap();
                ready.send(()).unwrap();
                let (mut seen, mut frames) = (Vec::new(), Vec::new());
                let mut quiet = 0;
                // After the word to stop, what is still queued is read; on a busy machine the kernel may hand a block over
                // late.
                while !(stopping.load(Ordering::Relaxed) && quiet > 2) {
                    quiet += 1;
                    while let Some(mut block) = ring.block() {
                        quiet = 0;
                        while let Some(frame) = block.next_frame() {
                            if !frame.outgoing {
                                seen.extend(read(frame.bytes));
                                frames.push(frame.bytes.to_vec());
                            }
                        }
                    }
                    ring.wait(Duration::from_millis(20)).unwrap();
                }
                assert_eq!(ring.socket().take_counts().unwrap().drops, 0, "the test's own ear is deaf");
                (seen, frames)
            })
            .unwrap();
        opened.recv().unwrap();
        Watcher { stop, thread }
    }

    pub fn seen(self) -> Vec<Arrival> {
        self.all().0
    }

    /// How many frames arrived that hold `mark` somewhere.
    pub fn marked(self, mark: &[u8]) -> usize {
        self.all().1.iter().filter(|frame| frame.windows(mark.len()).any(|part| part == mark)).count()
    }

    fn all(self) -> Heard {
        std::thread::sleep(Duration::from_millis(60));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap()
    }
}

fn read(frame: &[u8]) -> Option<Arrival> {
    let at = Instant::now();
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (from, to) = match packet.net? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return None,
    };
    let kind = match packet.transport? {
        TransportSlice::Tcp(tcp) if tcp.syn() && !tcp.ack() => Kind::Syn(tcp.destination_port()),
        TransportSlice::Tcp(tcp) if !tcp.rst() => Kind::Ack(tcp.destination_port()),
        TransportSlice::Udp(udp) => Kind::Udp(udp.source_port(), udp.destination_port()),
        _ => return None,
    };
    Some(Arrival { at, from, to, kind })
}

/// How many different destinations were reached by a SYN from `source`.
pub fn reached(seen: &[Arrival], source: impl Into<IpAddr>) -> usize {
    let source = source.into();
    let mut to: Vec<IpAddr> = seen
        .iter()
        .filter(|arrival| arrival.from == source && matches!(arrival.kind, Kind::Syn(_)))
        .map(|arrival| arrival.to)
        .collect();
    to.sort_unstable();
    to.dedup();
    to.len()
}
