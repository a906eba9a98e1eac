//! Frames over veth pairs, through a real kernel: what arrives, at which ring, and what is said of it.

use std::time::{Duration, Instant};

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};
use firedoor::capture::{CapturePolicy, Pnet, Read, Ring, Source, fanout};
use firedoor::config::model::{Capture, Config, Gateway};
use firedoor::sys::clock::Clock;
use firedoor::sys::namespace::{self, Namespace};
use firedoor::wire::frame::{Direction, LinkKind, Meta, Packet, Transport};
use firedoor::wire::{Frame, Services, decode};
use pnet::datalink::{self, Channel, DataLinkSender};

/// A gateway with two interfaces, `left` and `right`, each with a wire to another machine.
pub struct Scene {
    pub gateway: Namespace,
    pub left: Namespace,
    pub right: Namespace,
}

impl Scene {
    /// `None`, said loudly, where namespaces cannot be made.
    pub fn build() -> Option<Self> {
        if let Err(error) = namespace::permitted() {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        let [gateway, left, right] = ["gateway", "left", "right"].map(|name| Namespace::new(name).unwrap());
        // Only what a test sends should cross the wires.
        for machine in [&gateway, &left, &right] {
            machine.set("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        }
        let scene = Scene { gateway, left, right };
        scene.connect("left");
        scene.connect("right");
        Some(scene)
    }

    /// (Again) joins the gateway's interface `name` to `eth0` of the machine of that name.
    pub fn connect(&self, name: &str) {
        let machine = if name == "left" { &self.left } else { &self.right };
        self.gateway.veth(name, machine, "eth0").unwrap();
        self.gateway.link(|links| links.up(name)).unwrap();
        machine.link(|links| links.up("eth0")).unwrap();
    }

    pub fn wire(&self, name: &str) -> Wire {
        let machine = if name == "left" { &self.left } else { &self.right };
        machine.run(|| Wire::open("eth0")).unwrap()
    }

    pub fn rings(&self, config: &Config) -> Vec<Ring> {
        self.gateway.run(|| Ring::open_all(config, Clock::start())).unwrap().unwrap()
    }
}

/// The far end of a wire.
pub struct Wire {
    sender: Box<dyn DataLinkSender>,
    sent: u32,
}

impl Wire {
    fn open(name: &str) -> Self {
        // A wire carries nothing until the kernel has noticed that both its ends are up.
        let begun = Instant::now();
        let interface = loop {
            let found = datalink::interfaces().into_iter().find(|interface| interface.name == name).unwrap();
            if found.is_running() {
                break found;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{name} has no carrier");
            std::thread::sleep(Duration::from_millis(5));
        };
        std::thread::sleep(Duration::from_millis(20));
        match datalink::channel(&interface, datalink::Config::default()).unwrap() {
            Channel::Ethernet(sender, _) => Wire { sender, sent: 0 },
            _ => panic!("no Ethernet channel"),
        }
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.sender.send_to(frame, None).unwrap().unwrap();
        self.sent += 1;
        if self.sent.is_multiple_of(50) {
            // The kernel's backlog behind a veth takes 1,000 frames, and a busy machine may be late to work it off.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub fn config(shards: usize, interfaces: &[&str]) -> Config {
    let mut config = Config::default();
    let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
    config.gateway = Gateway { interfaces, ..config.gateway };
    config.capture = Capture { shards, ring_bytes: 1 << 20, ..config.capture };
    config.detect.lateral =
        Services::new(&[(Transport::Tcp, 22), (Transport::Tcp, 445), (Transport::Tcp, 3389), (Transport::Udp, 1434)]);
    config
}

/// Takes a frame and the number of its source.
type Each<'a> = &'a mut dyn FnMut(usize, Meta, LinkKind, &[u8]);

/// Reads while `send` runs and until nothing comes for a while; gives `each` the number of the source too.
pub fn receive<S: Source>(sources: &mut [S], send: impl FnOnce() + Send, each: Each<'_>) -> usize {
    std::thread::scope(|scope| {
        let sender = scope.spawn(send);
        let (mut count, mut quiet) = (0, Instant::now());
        while quiet.elapsed() < Duration::from_millis(300) {
            for (at, source) in sources.iter_mut().enumerate() {
                let read = source.read(Duration::from_millis(5), &mut |meta, link, bytes| each(at, meta, link, bytes));
                match read.unwrap() {
                    Read::Frames(frames) => {
                        count += frames;
                        quiet = Instant::now();
                    }
                    Read::Idle => {}
                    Read::End => panic!("a live source has no end"),
                }
            }
            if !sender.is_finished() {
                quiet = Instant::now();
            }
        }
        sender.join().unwrap();
        count
    })
}

/// The sender of every test frame is numbered by its hardware address.
fn ethernet(number: u32) -> PacketBuilderStep<etherparse::Ethernet2Header> {
    let [a, b, c, d] = number.to_be_bytes();
    PacketBuilder::ethernet2([2, 1, a, b, c, d], [2, 0, 0, 0, 0, 9])
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[8], frame[9], frame[10], frame[11]])
}

const HOST: [u8; 4] = [10, 0, 0, 1];
const PEER: [u8; 4] = [10, 0, 0, 2];
const HOST6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PEER6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// A TCP segment of one family or the other.
fn segment(at: u32, six: bool, ports: (u16, u16), flags: &str, payload: &[u8]) -> Vec<u8> {
    let step = if six { ethernet(at).ipv6(HOST6, PEER6, 64) } else { ethernet(at).ipv4(HOST, PEER, 64) };
    let mut step = step.tcp(ports.0, ports.1, 1000, 1024);
    for flag in flags.chars() {
        step = match flag {
            'S' => step.syn(),
            'A' => step.ack(1),
            'R' => step.rst(),
            'F' => step.fin(),
            _ => step.psh(),
        };
    }
    let mut frame = Vec::new();
    step.write(&mut frame, payload).unwrap();
    frame
}

/// Frames of every kind, each numbered by its place.
fn every_kind() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let bulk = vec![7; 1400];
    let message = |magic: &[u8]| [&[0, 0, 0x10, 0][..], magic, &vec![7; 1200]].concat();
    let rpc = [&[5, 0, 0, 3, 0x10, 0, 0, 0][..], &[7; 900]].concat();
    for six in [false, true] {
        for (ports, flags, payload) in [
            ((40_000, 445), "S", &[][..]),
            ((445, 40_000), "SA", &[]),
            ((40_000, 80), "S", &[]),
            ((80, 40_000), "RA", &[]),
            ((80, 40_000), "FA", &bulk),
            ((40_000, 445), "A", &[]),
            ((40_000, 22), "PA", b"SSH-2.0-x"),
            ((22, 40_000), "PA", b"SSH-2.0-x"),
            ((40_000, 3389), "PA", &bulk),
            ((40_000, 80), "PA", b"GET / HTTP/1.1"),
            ((40_000, 445), "PA", &message(b"\xffSMB")),
            ((445, 40_000), "PA", &message(b"\xfeSMB")),
            ((139, 40_000), "PA", &message(b"\xfcSMB")),
            ((40_000, 445), "A", &bulk),
            ((445, 40_000), "PA", &bulk[..512]),
            ((445, 40_000), "PA", &bulk[..513]),
            ((49_700, 50_000), "PA", &rpc),
            ((49_700, 50_000), "PA", &bulk),
        ] {
            frames.push(segment(u32::try_from(frames.len()).unwrap(), six, ports, flags, payload));
        }
        for (ports, length) in [((40_000, 1434), 700), ((1434, 40_000), 700), ((40_000, 53), 30)] {
            let at = u32::try_from(frames.len()).unwrap();
            let step = if six { ethernet(at).ipv6(HOST6, PEER6, 64) } else { ethernet(at).ipv4(HOST, PEER, 64) };
            let mut frame = Vec::new();
            step.udp(ports.0, ports.1).write(&mut frame, &vec![7; length]).unwrap();
            frames.push(frame);
        }
    }
    // Broadcasts: a short one is a sign of life, a long one is not worth it.
    for length in [100, 1000] {
        let mut frame = frames[20].clone();
        frame.truncate(42);
        frame[..6].fill(0xff);
        frame.resize(42 + length, 7);
        frame[16..18].copy_from_slice(&u16::try_from(28 + length).unwrap().to_be_bytes());
        frames.push(frame);
    }
    for (kind, code) in [(8, 0), (0, 0), (3, 1), (3, 4), (11, 0), (5, 0), (13, 0)] {
        let mut frame = Vec::new();
        let inner = &segment(0, false, (40_000, 445), "S", &[])[14..];
        ethernet(0).ipv4(HOST, PEER, 64).icmpv4_raw(kind, code, [0; 4]).write(&mut frame, inner).unwrap();
        frames.push(frame);
    }
    for (kind, hops) in [(128, 64), (129, 64), (1, 64), (2, 64), (3, 64), (135, 255), (136, 255), (136, 64), (133, 255)]
    {
        let mut frame = Vec::new();
        let inner = if kind < 4 { segment(0, true, (40_000, 445), "S", &[])[14..].to_vec() } else { PEER6.to_vec() };
        ethernet(0).ipv6(HOST6, PEER6, hops).icmpv6_raw(kind, 0, [0; 4]).write(&mut frame, &inner).unwrap();
        frames.push(frame);
    }
    for operation in [1, 2, 8] {
        let mut frame = segment(0, false, (1, 2), "S", &[])[..12].to_vec();
        frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        frames.push(frame);
    }
    // Fragments: only the first has ports.
    for fragment in [0x2000_u16, 0x0010] {
        let mut frame = segment(0, false, (40_000, 445), "S", &[9; 64]);
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frames.push(frame);
    }
    // And those that no honest sender makes.
    for (fragment, length) in [(0x2000_u16, 16), (0x0001, 40)] {
        let mut frame = segment(0, false, (40_000, 445), "S", &[9; 64]);
        frame.truncate(14 + 20 + length);
        frame[16..18].copy_from_slice(&u16::try_from(20 + length).unwrap().to_be_bytes());
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frames.push(frame);
    }
    // Probes without a SYN.
    for flags in [0_u8, 0x29, 0x08, 0x03, 0x06] {
        let mut frame = segment(0, false, (40_000, 80), "A", &[]);
        frame[14 + 20 + 13] = flags;
        frames.push(frame);
    }
    around(&mut frames);
    // Extension headers: one, and more than the program follows.
    for headers in [1, 7] {
        let mut frame = segment(0, true, (40_000, 445), "S", &[]);
        frame[20] = 60;
        for header in 0..headers {
            let next = if header == 0 { 6 } else { 60 };
            frame.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        }
        let length = u16::try_from(frame.len() - 54).unwrap();
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frames.push(frame);
    }
    frames.push([&[0xff; 12][..], &[0x88, 0xcc], &[0; 50]].concat());
    for (at, frame) in frames.iter_mut().enumerate() {
        frame[8..12].copy_from_slice(&u32::try_from(at).unwrap().to_be_bytes());
    }
    frames
}

/// A SYN and a segment that is of no interest, behind and inside of what may stand around them.
fn around(frames: &mut Vec<Vec<u8>>) {
    for flags in ["S", "A"] {
        let whole = segment(0, false, (40_000, 80), flags, &[]);
        let (ethernet, packet) = whole.split_at(14);
        for head in [
            &[0x88, 0x64, 0x11, 0, 0, 1, 0, 42, 0, 0x21][..],
            &[0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64],
            &[0, 48, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
            &[0x89, 0x26, 0, 0, 0, 1, 8, 0],
            &[0x89, 0x09, 1, 1, 0, 1, 0, 16, 8, 0],
            &[0x89, 0x03, 0, 1, 2, 0, 0, 0, 0, 9, 2, 1, 0, 0, 0, 0, 8, 0],
        ] {
            frames.push([&ethernet[..12], head, packet].concat());
        }
        let mut tunnelled = |protocol: u8, payload: &[&[u8]]| {
            let mut frame = Vec::new();
            carried(&mut frame, ethernet, protocol, &payload.concat());
            frames.push(frame);
        };
        tunnelled(4, &[packet]);
        tunnelled(47, &[&[0xb0, 0, 8, 0], &[0; 12], packet]);
        tunnelled(47, &[&[0x10, 0, 0x88, 0xbe], &[0; 12], &whole]);
        tunnelled(17, &[&[0, 9, 0x12, 0xb5, 0, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 7, 0], &whole]);
        tunnelled(132, &[&[0; 12], &[1], &[0; 19]]);
    }
}

/// An IPv4 packet between other hosts with this payload.
fn carried(frame: &mut Vec<u8>, ethernet: &[u8], protocol: u8, payload: &[u8]) {
    frame.extend(ethernet);
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 9, 9, 1, 10, 9, 9, 2]);
    frame.extend(payload);
}

fn decoded(meta: Meta, frame: &[u8]) -> Option<Frame<'_>> {
    decode(Meta { original_length: u32::try_from(frame.len()).unwrap(), ..meta }, LinkKind::Ethernet, frame).ok()
}

#[test]
fn the_kernel_lets_through_what_the_predicate_takes() {
    let Some(scene) = Scene::build() else { return };
    let config = config(1, &["left"]);
    what_the_predicate_takes_arrives(&scene, &config, &mut scene.rings(&config));
}

#[test]
fn pnet_receives_what_the_ring_does() {
    let Some(scene) = Scene::build() else { return };
    let config = config(1, &["left"]);
    let pnet = scene.gateway.run(|| Pnet::open(&config, Clock::start())).unwrap().unwrap();
    what_the_predicate_takes_arrives(&scene, &config, &mut [pnet]);
}

fn what_the_predicate_takes_arrives<S: Source>(scene: &Scene, config: &Config, rings: &mut [S]) {
    let policy = CapturePolicy::new(&config.detect.lateral, true);
    let (mut wire, mut other) = (scene.wire("left"), scene.wire("right"));
    let frames = every_kind();
    let send = || {
        for frame in &frames {
            wire.send(frame);
            // On an interface that is not protected.
            other.send(frame);
        }
    };
    let mut arrived = Vec::new();
    let index = scene.gateway.link(|links| links.index("left")).unwrap();
    receive(rings, send, &mut |_, meta, link, bytes| {
        assert_eq!((meta.interface, meta.direction, meta.vlan, link), (index, Direction::In, None, LinkKind::Ethernet));
        let sent = &frames[number(bytes) as usize];
        assert_eq!(meta.original_length as usize, sent.len());
        assert_eq!(bytes, &sent[..bytes.len()]);
        arrived.push(number(bytes));
    });
    let taken = |frame: &Vec<u8>| decoded(Meta::default(), frame).is_some_and(|frame| policy.takes(&frame));
    // Seven extension headers are more than the program follows: it passes them, and the predicate decides.
    let expected: Vec<u32> = (0..).zip(&frames).filter(|(_, frame)| taken(frame)).map(|(at, _)| at).collect();
    assert_eq!(arrived, expected);
    assert!(expected.len() > 30 && expected.len() < frames.len() - 15, "{} of {}", expected.len(), frames.len());
    let statistics = rings[0].statistics();
    assert_eq!((statistics.received(), statistics.dropped()), (expected.len() as u64, 0));
    assert!(statistics.interfaces[0].up);
}

#[test]
fn a_stream_is_sampled_and_a_sweep_beside_it_arrives_whole() {
    let Some(scene) = Scene::build() else { return };
    let mut rings = scene.rings(&config(1, &["left"]));
    let mut wire = scene.wire("left");
    let datagram = |to: u32, port: u16, length: usize| {
        let [_, b, c, d] = to.to_be_bytes();
        let mut frame = Vec::new();
        ethernet(0).ipv4(HOST, [10, b | 1, c, d], 64).udp(40_000, port).write(&mut frame, &vec![7; length]).unwrap();
        frame
    };
    let stream = datagram(7, 5004, 160);
    // The stream is known by what it brought in a second.
    receive(&mut rings, || (0..2000).for_each(|_| wire.send(&stream)), &mut |_, _, _, _| {});
    std::thread::sleep(Duration::from_millis(1100));
    receive(&mut rings, || wire.send(&stream), &mut |_, _, _, _| {});
    let (mut streamed, mut swept) = (0, 0);
    let send = || {
        for to in 0..400 {
            wire.send(&datagram(1000 + to, 6892, 20));
            (0..16).for_each(|_| wire.send(&stream));
        }
    };
    receive(&mut rings, send, &mut |_, meta, link, bytes| {
        if let Ok(Frame { packet: Packet::Udp(datagram), .. }) = decode(meta, link, bytes) {
            *(if datagram.destination_port == 5004 { &mut streamed } else { &mut swept }) += 1;
        }
    });
    // One datagram in 64 of 6,400, and of the sweep at most one in the stream's bucket is missing.
    assert!(swept >= 399, "{swept} of 400");
    assert!((30..250).contains(&streamed), "{streamed} of 6400");
}

#[test]
fn each_suspect_has_one_ring_whatever_interface_and_tag() {
    const SHARDS: usize = 4;
    let Some(scene) = Scene::build() else { return };
    let config = config(SHARDS, &["left", "right"]);
    let mut rings = scene.rings(&config);
    let (mut left, mut right) = (scene.wire("left"), scene.wire("right"));
    let send = || {
        for host in 0..200_u32 {
            // Each in a network of its own: a ring takes whole networks.
            let [.., network] = host.to_be_bytes();
            let (host, peer) = ([10, 1, network, 7], [10, 2, network, 9]);
            let mut frame = Vec::new();
            ethernet(0).ipv4(host, peer, 64).tcp(40_000, 445, 1, 1024).syn().write(&mut frame, &[]).unwrap();
            left.send(&frame);
            // Tagged by 802.1Q, as on a trunk.
            let id = VlanId::try_new(10).unwrap();
            frame.clear();
            ethernet(0)
                .single_vlan(id)
                .ipv4(host, peer, 64)
                .tcp(40_001, 22, 1, 9)
                .syn()
                .write(&mut frame, &[])
                .unwrap();
            left.send(&frame);
            // Two tags: the kernel strips one.
            frame.clear();
            ethernet(0)
                .double_vlan(id, id)
                .ipv4(host, peer, 64)
                .tcp(40_001, 22, 1, 9)
                .syn()
                .write(&mut frame, &[])
                .unwrap();
            left.send(&frame);
            frame.clear();
            ethernet(0).ipv4(peer, host, 64).tcp(445, 40_000, 1, 1024).syn().ack(2).write(&mut frame, &[]).unwrap();
            right.send(&frame);
            frame.clear();
            let error = ethernet(0).ipv4([10, 9, 9, 9], host, 64).icmpv4_raw(3, 1, [0; 4]);
            let mut inner = Vec::new();
            PacketBuilder::ipv4(host, peer, 64).tcp(40_000, 445, 1, 1024).write(&mut inner, &[]).unwrap();
            error.write(&mut frame, &inner).unwrap();
            right.send(&frame);
            let six = |address: [u8; 4]| [&HOST6[..12], &address].concat().try_into().unwrap();
            frame.clear();
            ethernet(0).ipv6(six(peer), six(host), 64).icmpv6_raw(129, 0, [0; 4]).write(&mut frame, b"echo").unwrap();
            right.send(&frame);
        }
    };
    let mut tagged = 0;
    let mut shares = [0; SHARDS];
    let arrived = receive(&mut rings, send, &mut |shard, meta, link, bytes| {
        let frame = decode(meta, link, bytes).unwrap();
        assert_eq!(fanout::shard_of(&frame, &config.detect.lateral, SHARDS), shard, "{frame:?}");
        tagged += u32::from(meta.vlan == Some(10));
        shares[shard] += 1;
    });
    assert_eq!(arrived, 1200);
    assert_eq!(tagged, 400, "the ring gives the tag that the kernel stripped");
    assert!(shares.iter().all(|&share| share > 100), "{shares:?}");
}

#[test]
fn of_what_the_gateway_sends_only_questions_and_answers_come_up() {
    let Some(scene) = Scene::build() else { return };
    what_the_gateway_sends(&scene, |config| scene.rings(config));
}

#[test]
fn pnet_distinguishes_the_two_directions() {
    let Some(scene) = Scene::build() else { return };
    what_the_gateway_sends(&scene, |config| {
        vec![scene.gateway.run(|| Pnet::open(config, Clock::start())).unwrap().unwrap()]
    });
}

fn what_the_gateway_sends<S: Source>(scene: &Scene, open: impl FnOnce(&Config) -> Vec<S>) {
    let network = |text: &str| text.parse().unwrap();
    scene.gateway.link(|links| links.address("left", network("10.5.0.1/24"))).unwrap();
    scene.left.link(|links| links.address("eth0", network("10.5.0.2/24"))).unwrap();
    let mut rings = open(&config(1, &["left"]));
    // The gateway asks for an address that nobody has; refuses a connection; and serves one.
    let _ = scene.gateway.run(|| {
        let socket = std::net::UdpSocket::bind("10.5.0.1:0").unwrap();
        socket.send_to(b"x", "10.5.0.77:9").unwrap();
    });
    let listener = scene.gateway.run(|| std::net::TcpListener::bind("10.5.0.1:445").unwrap()).unwrap();
    scene
        .left
        .run(|| {
            assert!(std::net::TcpStream::connect("10.5.0.1:3389").is_err());
            std::net::TcpStream::connect("10.5.0.1:445").unwrap();
        })
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let _ = std::io::Write::write_all(&mut stream, &[7; 100]);
    drop(stream);
    let mut out = Vec::new();
    receive(&mut rings, || {}, &mut |_, meta, link, bytes| {
        let frame = decode(meta, link, bytes).unwrap();
        if meta.direction == Direction::Out {
            out.push(match frame.packet {
                Packet::Arp(arp) if arp.request => "arp request",
                Packet::Arp(_) => "arp reply",
                Packet::Tcp(segment) if segment.flags.is_syn_ack() => "syn-ack",
                Packet::Tcp(segment) if segment.flags.is_rst() => "rst",
                other => panic!("{other:?}"),
            });
        }
    });
    for kind in ["arp request", "arp reply", "syn-ack", "rst"] {
        assert!(out.contains(&kind), "{kind} in {out:?}");
    }
}

#[test]
fn an_interface_that_goes_and_comes_back_is_taken_up_again() {
    let Some(scene) = Scene::build() else { return };
    let mut rings = scene.rings(&config(2, &["left", "right", "absent"]));
    let syn = segment(0, false, (40_000, 445), "S", &[]);
    let count = |rings: &mut Vec<Ring>| receive(rings, || {}, &mut |_, _, _, _| {});
    let settle = |rings: &mut Vec<Ring>| {
        std::thread::sleep(Duration::from_millis(1100));
        count(rings);
    };
    scene.wire("left").send(&syn);
    assert_eq!(count(&mut rings), 1);

    scene.gateway.link(|links| links.down("left")).unwrap();
    settle(&mut rings);
    let left = rings[0].statistics().interfaces[0].clone();
    assert_eq!((left.up, left.outages), (false, 1));
    scene.gateway.link(|links| links.up("left")).unwrap();
    scene.wire("left").send(&syn);
    assert_eq!(count(&mut rings), 1, "up again, it needs nothing");
    settle(&mut rings);

    scene.gateway.link(|links| links.remove("left")).unwrap();
    settle(&mut rings);
    let left = rings[0].statistics().interfaces[0].clone();
    assert_eq!((left.up, left.index), (false, 0));
    scene.wire("right").send(&syn);
    assert_eq!(count(&mut rings), 1, "the other continues");
    scene.connect("left");
    settle(&mut rings);
    scene.wire("left").send(&syn);
    assert_eq!(count(&mut rings), 1, "made anew, it is found by its name");
    let statistics = rings[0].statistics();
    assert_eq!(statistics.interfaces[0].outages, 2);
    assert_eq!((statistics.interfaces[2].name.as_str(), statistics.interfaces[2].index), ("absent", 0));
}

#[test]
fn pnet_takes_an_interface_up_again() {
    let Some(scene) = Scene::build() else { return };
    let open = || Pnet::open(&config(1, &["left", "right", "absent"]), Clock::start());
    let mut sources = [scene.gateway.run(open).unwrap().unwrap()];
    let syn = segment(0, false, (40_000, 445), "S", &[]);
    // A second and more: its next look at the interfaces falls into it. It looks in the thread that reads.
    let mut count = |send: &mut (dyn FnMut() + Send)| {
        scene
            .gateway
            .run(|| {
                let settle = || {
                    std::thread::sleep(Duration::from_millis(1100));
                };
                let before = receive(&mut sources, settle, &mut |_, _, _, _| {});
                let after = receive(&mut sources, send, &mut |_, _, _, _| {});
                (before, after, sources[0].statistics().interfaces[0].clone())
            })
            .unwrap()
    };
    assert_eq!(count(&mut || scene.wire("left").send(&syn)).1, 1);
    scene.gateway.link(|links| links.down("left")).unwrap();
    let (_, others, left) = count(&mut || scene.wire("right").send(&syn));
    assert_eq!((others, left.up, left.outages), (1, false, 1), "the other continues");
    scene.gateway.link(|links| links.up("left")).unwrap();
    assert_eq!(count(&mut || scene.wire("left").send(&syn)).1, 1);
    scene.gateway.link(|links| links.remove("left")).unwrap();
    assert_eq!(count(&mut || {}).2.index, 0);
    scene.connect("left");
    assert_eq!(count(&mut || scene.wire("left").send(&syn)).1, 1);
}

#[test]
fn what_a_full_ring_loses_is_counted() {
    const SENT: u64 = 3000;
    let Some(scene) = Scene::build() else { return };
    let mut config = config(1, &["left"]);
    config.capture.ring_bytes = 0;
    let mut rings = scene.rings(&config);
    let mut wire = scene.wire("left");
    let syn = segment(0, false, (40_000, 445), "S", &[]);
    for _ in 0..SENT {
        wire.send(&syn);
    }
    receive(&mut rings, || {}, &mut |_, _, _, _| {});
    let statistics = rings[0].statistics();
    assert!(statistics.dropped() > 0 && statistics.interfaces[0].freezes > 0, "{statistics:?}");
    assert_eq!(statistics.received() + statistics.dropped(), SENT, "{statistics:?}");
    // And it continues.
    assert_eq!(receive(&mut rings, || wire.send(&syn), &mut |_, _, _, _| {}), 1);
}

#[test]
fn times_are_those_of_the_daemons_clock_and_in_order() {
    let Some(scene) = Scene::build() else { return };
    let clock = Clock::start();
    let config = config(1, &["left", "right"]);
    let mut rings = scene.gateway.run(|| Ring::open_all(&config, clock)).unwrap().unwrap();
    let (mut left, mut right) = (scene.wire("left"), scene.wire("right"));
    let send = || {
        for at in 0..500 {
            let wire = if at % 2 == 0 { &mut left } else { &mut right };
            wire.send(&segment(at, false, (40_000, 445), "S", &[]));
        }
    };
    let (mut last, mut expected) = (clock.now(), 0);
    receive(&mut rings, send, &mut |_, meta, _, bytes| {
        assert_eq!(number(bytes), expected, "one ring keeps the order among interfaces");
        assert!(meta.at >= last && meta.at <= clock.now(), "{last} {}", meta.at);
        (last, expected) = (meta.at, expected + 1);
    });
    assert_eq!(expected, 500);
}

#[test]
fn no_interface_or_none_of_a_known_kind_is_said_so() {
    let Some(scene) = Scene::build() else { return };
    let error = scene.gateway.run(|| Ring::open_all(&config(1, &["wan7"]), Clock::start())).unwrap().unwrap_err();
    assert!(error.to_string().contains("wan7"), "{error}");
}
