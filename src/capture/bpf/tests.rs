//! The kernel programs against their twins, over made-up frames of every kind.

use proptest::prelude::*;
use proptest::sample::select;

use super::assembler::{Assembler, If, Size};
use super::interpreter::{Skb, run};
use super::walk::OUTGOING;
use crate::capture::busy::{self, Busy};
use crate::capture::{CapturePolicy, fanout, filter};
use crate::detect::settings::LATERAL_TCP;
use crate::wire::frame::{Direction, LinkKind, Meta, Packet, Transport};
use crate::wire::{Frame, Services, decode};

const INTERFACE: u32 = 7;

/// A frame to be: what matters to the programs, in numbers that are often interesting ones.
#[derive(Clone, Debug)]
struct Recipe {
    out: bool,
    raw: bool,
    /// What stands before IP, from outside.
    layers: Vec<Layer>,
    /// The tunnel around all this.
    tunnel: Option<Shape>,
    to_many: bool,
    six: bool,
    /// Protocol numbers of extension headers; of these, IPv4 knows AH alone.
    extensions: Vec<u8>,
    fragment: u16,
    /// A fragment ends after so many bytes.
    cut: usize,
    hops: u8,
    addresses: ([u8; 16], [u8; 16]),
    body: Body,
    options: usize,
    padding: usize,
    /// Some senders leave the IP length empty.
    no_length: bool,
}

#[derive(Clone, Copy, Debug)]
enum Layer {
    Tag(u16, u16),
    VnTag,
    Metadata(u8),
    FabricPath,
    Snap(bool),
    /// The rest only before IP.
    Mpls(u8),
    Pppoe(bool),
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// IP in IP.
    Ip,
    /// GRE with these flags, and whether Ethernet is inside.
    Gre(u8, bool),
    Erspan(u8, bool),
    Vxlan(u16),
    Geneve(u8),
    /// With authentication and origin indication; of IPv6 alone.
    Teredo(bool, bool),
}

#[derive(Clone, Debug)]
enum Body {
    Tcp { ports: (u16, u16), flags: u8, options: usize, payload: Vec<u8> },
    Udp { ports: (u16, u16), payload: usize },
    Icmp { kind: u8, code: u8, embedded: [u8; 32] },
    Arp { operation: u16, sender: [u8; 4], target: [u8; 4] },
    Other(u8),
}

impl Recipe {
    fn bytes(&self) -> Vec<u8> {
        let arp = matches!(self.body, Body::Arp { .. });
        let mut bytes = Vec::new();
        if !self.raw {
            bytes.extend([if self.to_many { 0xff } else { 2 }, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
            for layer in &self.layers {
                match *layer {
                    Layer::Tag(kind, id) => bytes.extend([kind.to_be_bytes(), id.to_be_bytes()].concat()),
                    Layer::VnTag => bytes.extend([0x89, 0x26, 1, 2, 3, 4]),
                    Layer::Metadata(words) => {
                        bytes.extend([0x89, 0x09, 1, words]);
                        bytes.resize(bytes.len() + usize::from(words) * 4, 7);
                    }
                    Layer::FabricPath => {
                        bytes.extend([0x89, 0x03, 0, 1, if self.to_many { 0xff } else { 2 }, 0, 0, 0, 0, 2]);
                        bytes.extend([2, 0, 0, 0, 0, 1]);
                    }
                    Layer::Snap(bridged) => bytes.extend([0, 99, 0xaa, 0xaa, 3, 0, 0, if bridged { 0xf8 } else { 0 }]),
                    Layer::Mpls(labels) => {
                        bytes.extend([0x88, 0x47]);
                        (1..=labels).for_each(|label| bytes.extend([0, 1, u8::from(label == labels), 64]));
                    }
                    Layer::Pppoe(compressed) => {
                        bytes.extend([0x88, 0x64, 0x11, 0, 0, 1, 0, 99]);
                        bytes.extend(if compressed { &[][..] } else { &[0] });
                        bytes.push(if self.tunnel.map_or(self.six, |_| false) { 0x57 } else { 0x21 });
                    }
                }
            }
            if !matches!(self.layers.last(), Some(Layer::Mpls(_) | Layer::Pppoe(_))) {
                bytes.extend(if arp && self.tunnel.is_none() { [0x08, 0x06] } else { self.ethertype() });
            }
        }
        if let Some(shape) = self.tunnel {
            let mut inside = Vec::new();
            self.content(&mut inside);
            bytes.extend(self.tunnelled(shape, &inside));
        } else {
            self.content(&mut bytes);
        }
        bytes.resize(bytes.len() + self.padding, 0);
        bytes
    }

    /// The inside of the link, or of the tunnel.
    fn content(&self, bytes: &mut Vec<u8>) {
        if let Body::Arp { operation, sender, target } = self.body {
            bytes.extend([0, 1, 8, 0, 6, 4]);
            bytes.extend(operation.to_be_bytes());
            bytes.extend([2, 0, 0, 0, 0, 1]);
            bytes.extend(sender);
            bytes.extend([0; 6]);
            bytes.extend(target);
        } else {
            self.ip(bytes);
        }
    }

    /// Of the outermost IP, which is IPv4 around every tunnel.
    fn ethertype(&self) -> [u8; 2] {
        if self.six && self.tunnel.is_none() { [0x86, 0xdd] } else { [0x08, 0x00] }
    }

    /// An IPv4 packet with the tunnel's headers and this inside.
    fn tunnelled(&self, shape: Shape, inside: &[u8]) -> Vec<u8> {
        let arp = matches!(self.body, Body::Arp { .. });
        let ethertype: [u8; 2] = match (arp, self.six) {
            (true, _) => [0x08, 0x06],
            (_, true) => [0x86, 0xdd],
            _ => [0x08, 0x00],
        };
        let framed = [&[2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3], &ethertype[..], inside].concat();
        let udp = |port: u16, header: &[u8], inside: &[u8]| {
            (17, [&[0xc3, 0x50], &port.to_be_bytes()[..], &[0; 4], header, inside].concat())
        };
        let (protocol, payload) = match shape {
            Shape::Ip => (if self.six { 41 } else { 4 }, inside.to_vec()),
            Shape::Gre(flags, bridged) => {
                let options = [0x80, 0x20, 0x10].into_iter().filter(|bit| flags & bit != 0).count();
                let kind = if bridged { [0x65, 0x58] } else { ethertype };
                let head = [&[flags, 0], &kind[..], &vec![9; options * 4]].concat();
                (47, [&head[..], if bridged { &framed } else { inside }].concat())
            }
            Shape::Erspan(1, _) => (47, [&[0, 0, 0x88, 0xbe], &framed[..]].concat()),
            Shape::Erspan(2, _) => (47, [&[0x10, 0, 0x88, 0xbe], &[0; 4 + 8][..], &framed].concat()),
            Shape::Erspan(_, long) => {
                let last = [u8::from(long)];
                let rest = vec![3; if long { 8 } else { 0 }];
                (47, [&[0x10, 0, 0x22, 0xeb], &[0; 4 + 11][..], &last, &rest, &framed].concat())
            }
            Shape::Vxlan(port) => udp(port, &[8, 0, 0, 0, 0, 0, 7, 0], &framed),
            Shape::Geneve(words) => {
                let head = [&[words, 0, 0x65, 0x58, 0, 0, 7, 0][..], &vec![5; usize::from(words) * 4]].concat();
                udp(6081, &head, &framed)
            }
            Shape::Teredo(authenticated, origin) => {
                let head = [
                    if authenticated { &[0, 1, 1, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0][..] } else { &[] },
                    if origin { &[0, 0, 1, 2, 3, 4, 5, 6][..] } else { &[] },
                ]
                .concat();
                udp(3544, &head, inside)
            }
        };
        let length = u16::try_from(20 + payload.len()).unwrap();
        let mut bytes = vec![0x45, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 9, 9, 1, 10, 9, 9, 2]);
        bytes.extend(payload);
        bytes
    }

    fn ip(&self, bytes: &mut Vec<u8>) {
        let (last, transport) = self.transport();
        let mut payload = Vec::new();
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .copied()
            .filter(|&kind| self.six || kind == 51)
            .take(if self.six { 9 } else { 1 })
            .collect();
        for (at, kind) in extensions.iter().enumerate() {
            let next = extensions.get(at + 1).copied().unwrap_or(last);
            payload.extend(match kind {
                44 => [&[next, 0][..], &self.fragment.to_be_bytes(), &[0, 0, 0, 1]].concat(),
                51 => [&[next, 1, 0, 0][..], &[0; 8]].concat(),
                _ => [&[next, 1][..], &[0; 14]].concat(),
            });
        }
        payload.extend(transport.iter().take(if self.is_cut() { self.cut } else { usize::MAX }));
        let first = extensions.first().copied().unwrap_or(last);
        let (source, destination) = self.addresses;
        if self.six {
            let length = if self.no_length { 0 } else { u16::try_from(payload.len()).unwrap() };
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([first, self.hops]);
            bytes.extend(source);
            bytes.extend(destination);
        } else {
            let header = 20 + 4 * self.options;
            let length = if self.no_length { 0 } else { u16::try_from(header + payload.len()).unwrap() };
            bytes.extend([0x40 | u8::try_from(header / 4).unwrap(), 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0]);
            bytes.extend(self.fragment.to_be_bytes());
            bytes.extend([self.hops, first, 0, 0]);
            bytes.extend(&source[12..]);
            bytes.extend(&destination[12..]);
            bytes.resize(bytes.len() + header - 20, 1);
        }
        bytes.extend(payload);
    }

    fn transport(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let protocol = match &self.body {
            Body::Tcp { ports, flags, options, payload } => {
                bytes.extend(ports.0.to_be_bytes());
                bytes.extend(ports.1.to_be_bytes());
                bytes.extend([0; 8]);
                bytes.extend([u8::try_from(5 + options).unwrap() << 4, *flags, 0, 0, 0, 0, 0, 0]);
                bytes.resize(bytes.len() + options * 4, 1);
                bytes.extend(payload);
                6
            }
            Body::Udp { ports, payload } => {
                bytes.extend(ports.0.to_be_bytes());
                bytes.extend(ports.1.to_be_bytes());
                bytes.extend([0; 4]);
                bytes.resize(bytes.len() + payload, 7);
                17
            }
            Body::Icmp { kind, code, embedded } => {
                bytes.extend([*kind, *code, 0, 0, 0, 0, 0, 0]);
                if self.six {
                    bytes.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
                    bytes.extend(embedded);
                } else {
                    bytes.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
                    bytes.extend(&embedded[..8]);
                }
                bytes.extend([0; 8]);
                if self.six { 58 } else { 1 }
            }
            Body::Arp { .. } => unreachable!("ARP is not IP"),
            Body::Other(protocol) => {
                bytes.extend([0; 24]);
                *protocol
            }
        };
        (protocol, bytes)
    }

    /// Headers that the programs follow as far as the decoder does.
    fn is_plain(&self) -> bool {
        self.extensions.len() < self.followed()
            && !self.no_length
            && !self.is_first_behind_extensions()
            && (self.tunnel.is_none() || self.fragment == 0)
    }

    /// Errors and neighbour discovery that are cut are refused, which the programs do not see.
    fn is_cut(&self) -> bool {
        self.fragment != 0 && !matches!(self.body, Body::Icmp { .. })
    }

    /// How many extension headers the programs follow.
    fn followed(&self) -> usize {
        if self.tunnel.is_some() { super::walk::INNER_EXTENSIONS } else { super::walk::EXTENSIONS }
    }

    /// A first fragment with more headers behind that which says so: passed for user space to judge.
    fn is_first_behind_extensions(&self) -> bool {
        let several = if self.six { self.fragment & 1 == 1 } else { self.fragment & 0x2000 != 0 };
        several && !self.extensions.is_empty()
    }
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(&[22, 135, 139, 445, 1433, 3389, 49_700, 137, 1434, 80, 40_000][..]), any::<u16>()]
}

/// SMB1, SMB2, compressed SMB, DCE/RPC of a client and of a server, and three that are nothing.
const BEGINNINGS: &[&[u8]] = &[
    b"\0\0\x10\0\xffSMB",
    b"\0\0\0\0\xfeSMB",
    b"\0\0\0\0\xfcSMB",
    b"\x05\0\x0b\x03\x10\0\0\0",
    b"\x05\x01\x0c\x03\0\0\0\0",
    b"\x05\0\x14\x03\x10\0\0\0",
    b"\0\0\0\0\xfbSMB",
    b"",
];

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![Just(0_usize), 1..20_usize, 500..530_usize, 1000..1400_usize];
    let magic = select(BEGINNINGS);
    (length, magic).prop_map(|(length, magic)| {
        let mut payload = magic.to_vec();
        payload.resize(length, 9);
        payload
    })
}

fn body() -> impl Strategy<Value = Body> {
    let flags = prop_oneof![select(&[0x02_u8, 0x12, 0x04, 0x14, 0x10, 0x18, 0x11, 0x03, 0xc2][..]), any::<u8>()];
    let kind = prop_oneof![
        select(&[0_u8, 1, 2, 3, 4, 8, 11, 12, 13, 14, 17, 18, 128, 129, 133, 135, 135, 136, 136, 139, 140][..]),
        any::<u8>()
    ];
    prop_oneof![
        6 => ((port(), port()), flags, 0..11_usize, payload())
            .prop_map(|(ports, flags, options, payload)| Body::Tcp { ports, flags, options, payload }),
        2 => ((port(), port()), prop_oneof![0..64_usize, 540..600_usize]).prop_map(|(ports, payload)| Body::Udp { ports, payload }),
        3 => (kind, 0..6_u8, any::<[u8; 32]>()).prop_map(|(kind, code, embedded)| Body::Icmp { kind, code, embedded }),
        1 => (1..4_u16, any::<[u8; 4]>(), any::<[u8; 4]>())
            .prop_map(|(operation, sender, target)| Body::Arp { operation, sender, target }),
        1 => select(&[4_u8, 41, 47, 50, 89, 132][..]).prop_map(Body::Other),
    ]
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let extension = select(&[0_u8, 43, 44, 51, 60][..]);
    let extensions = prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(extension, 1..9)];
    let fragment =
        prop_oneof![5 => Just(0_u16), 2 => select(&[0x2000_u16, 0x2001, 1, 2, 8, 9, 16][..]), 1 => any::<u16>()];
    let cut = prop_oneof![2 => Just(usize::MAX), 1 => (1..5_usize).prop_map(|units| units * 8)];
    let layer = prop_oneof![
        3 => (select(&[0x8100_u16, 0x88a8, 0x9100][..]), any::<u16>()).prop_map(|(kind, id)| Layer::Tag(kind, id)),
        1 => Just(Layer::VnTag),
        1 => (0..4_u8).prop_map(Layer::Metadata),
        1 => Just(Layer::FabricPath),
        1 => any::<bool>().prop_map(Layer::Snap),
        1 => (1..9_u8).prop_map(Layer::Mpls),
        1 => any::<bool>().prop_map(Layer::Pppoe),
    ];
    let layers = prop_oneof![3 => Just(Vec::new()), 2 => proptest::collection::vec(layer, 1..4)];
    let shape = prop_oneof![
        2 => Just(Shape::Ip),
        2 => (select(&[0_u8, 0x80, 0x20, 0x10, 0xa0, 0xb0, 0x40][..]), any::<bool>())
            .prop_map(|(flags, bridged)| Shape::Gre(flags, bridged)),
        1 => (1..4_u8, any::<bool>()).prop_map(|(kind, long)| Shape::Erspan(kind, long)),
        2 => select(&[4789_u16, 8472][..]).prop_map(Shape::Vxlan),
        1 => (0..4_u8).prop_map(Shape::Geneve),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(authenticated, origin)| Shape::Teredo(authenticated, origin)),
    ];
    let tunnel = prop_oneof![3 => Just(None), 1 => shape.prop_map(Some)];
    let address = prop_oneof![
        any::<[u8; 16]>(),
        Just([0xff; 16]),
        any::<u8>().prop_map(|last| {
            let mut address = [0xfd; 16];
            (address[12], address[15]) = (10, last);
            address
        })
    ];
    let link = (any::<bool>(), proptest::bool::weighted(0.1), (layers, tunnel), any::<bool>());
    let network =
        (any::<bool>(), extensions, (fragment, cut), prop_oneof![Just(255_u8), Just(64)], (address.clone(), address));
    let rest = (0..11_usize, prop_oneof![Just(0_usize), 0..50_usize], proptest::bool::weighted(0.1));
    (link, network, body(), rest).prop_map(|(link, network, body, rest)| Recipe {
        out: link.0,
        raw: link.1 && !matches!(body, Body::Arp { .. }),
        tunnel: tunnel_for(link.2.1, network.0, &body),
        layers: if link.1 { Vec::new() } else { ordered(link.2.0, &body) },
        to_many: link.3,
        six: network.0,
        extensions: network.1,
        fragment: network.2.0,
        cut: network.2.1,
        hops: network.3,
        addresses: network.4,
        body,
        options: rest.0,
        padding: rest.1,
        no_length: rest.2,
    })
}

fn is_group(address: crate::wire::Address) -> bool {
    let bytes = address.bits().to_be_bytes();
    if address.is_v4() { bytes[12] >= 0xe0 } else { bytes[0] == 0xff }
}

/// Only what may carry the body: ARP needs Ethernet, Teredo IPv6.
fn tunnel_for(shape: Option<Shape>, six: bool, body: &Body) -> Option<Shape> {
    let arp = matches!(body, Body::Arp { .. });
    shape.filter(|shape| match shape {
        Shape::Ip => !arp,
        Shape::Teredo(..) => six && !arp,
        Shape::Gre(_, bridged) => *bridged || !arp,
        Shape::Erspan(..) | Shape::Vxlan(_) | Shape::Geneve(_) => true,
    })
}

/// What only IP may follow goes last, and once.
fn ordered(mut layers: Vec<Layer>, body: &Body) -> Vec<Layer> {
    let last = layers.iter().position(|layer| matches!(layer, Layer::Mpls(_) | Layer::Pppoe(_)));
    if let Some(last) = last {
        layers.truncate(last + usize::from(!matches!(body, Body::Arp { .. })));
    }
    layers
}

fn policy() -> CapturePolicy {
    let mut list = LATERAL_TCP.map(|port| (Transport::Tcp, port)).to_vec();
    list.extend([(Transport::Udp, 1434), (Transport::Udp, 137)]);
    CapturePolicy::new(&Services::new(&list), true)
}

fn skb<'a>(recipe: &Recipe, bytes: &'a [u8]) -> Skb<'a> {
    Skb {
        bytes,
        interface: INTERFACE,
        packet_type: if recipe.out { OUTGOING } else { 0 },
        hardware: if recipe.raw { 65_534 } else { 1 },
        protocol: if recipe.raw {
            u32::from(u16::from_be_bytes(recipe.ethertype()))
        } else {
            // The kernel's word for 802.2 where a length stands (ETH_P_802_2).
            match u32::from(u16::from_be_bytes([bytes[12], bytes[13]])) {
                ..=1500 => 4,
                ethertype => ethertype,
            }
        },
        random: 0,
    }
}

fn decoded<'a>(recipe: &Recipe, bytes: &'a [u8]) -> Option<Frame<'a>> {
    let direction = if recipe.out { Direction::Out } else { Direction::In };
    let meta = Meta { direction, original_length: u32::try_from(bytes.len()).unwrap(), ..Meta::default() };
    decode(meta, if recipe.raw { LinkKind::RawIp } else { LinkKind::Ethernet }, bytes).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn the_filter_passes_what_is_of_interest_and_of_plain_frames_nothing_else(recipe in recipe()) {
        let policy = policy();
        let bytes = recipe.bytes();
        let passes = run(&filter::program(&policy, &[INTERFACE, 99], None, &Busy::default()), &skb(&recipe, &bytes)) > 0;
        let takes = decoded(&recipe, &bytes).map(|frame| policy.takes(&frame));
        match takes {
            Some(true) => prop_assert!(passes, "lost"),
            Some(false) if recipe.is_plain() => prop_assert!(!passes, "let through"),
            _ => {}
        }
    }

    #[test]
    fn the_fan_out_program_and_its_twin_choose_the_same_shard(recipe in recipe(), shards in 2..9_usize) {
        let policy = policy();
        let bytes = recipe.bytes();
        let Some(frame) = decoded(&recipe, &bytes) else { return Ok(()) };
        if !policy.takes(&frame)
            || recipe.is_first_behind_extensions()
            || (recipe.tunnel.is_some() && recipe.no_length)
            || recipe.extensions.len() > recipe.followed()
        {
            return Ok(());
        }
        // The program runs before the link header of a frame that comes in is put back.
        let mut seen = skb(&recipe, &bytes);
        if !recipe.out && !recipe.raw {
            seen.bytes = &bytes[14..];
        }
        let result = run(&fanout::program(&policy), &seen) as usize % shards;
        prop_assert_eq!(result, fanout::shard_of(&frame, policy.lateral(), shards), "{:?}", frame.packet);
    }

    #[test]
    fn of_a_busy_flow_only_a_sample_passes_and_of_others_all(recipe in recipe(), random: u32) {
        let policy = policy();
        let bytes = recipe.bytes();
        let Some(frame) = decoded(&recipe, &bytes).filter(|frame| policy.takes(frame)) else { return Ok(()) };
        let Some(flow) = busy::bucket(&frame) else { return Ok(()) };
        let (destination, ports) = match frame.packet {
            Packet::Udp(datagram) => (datagram.destination, [datagram.source_port, datagram.destination_port]),
            Packet::Tcp(segment) => (crate::wire::Address::v4([10; 4]), [segment.source_port; 2]),
            _ => unreachable!("nothing else is sampled"),
        };
        let udp = matches!(frame.packet, Packet::Udp(_));
        let lateral = [137, 1434];
        if !recipe.is_plain()
            || (udp && recipe.to_many)
            || is_group(destination)
            || (udp && ports.iter().any(|port| lateral.contains(port)))
        {
            return Ok(());
        }
        let (this, others) = (Busy::of([flow]), Busy::of((0..8192).filter(|&other| other != flow)));
        let skb = Skb { random, ..skb(&recipe, &bytes) };
        let passes = |busy| run(&filter::program(&policy, &[INTERFACE], None, busy), &skb) > 0;
        prop_assert_eq!(passes(&this), random % busy::ONE_IN == 0);
        prop_assert!(passes(&others));
    }

    #[test]
    fn no_bytes_stop_either_program(bytes in proptest::collection::vec(any::<u8>(), 0..120), protocol: u16, out: bool) {
        let policy = policy();
        let packet_type = if out { OUTGOING } else { 0 };
        let skb = Skb { bytes: &bytes, interface: INTERFACE, packet_type, hardware: 1, protocol: u32::from(protocol), random: 0 };
        run(&filter::program(&policy, &[INTERFACE], None, &Busy::default()), &skb);
        run(&fanout::program(&policy), &skb);
    }

    #[test]
    fn a_list_of_any_length_is_searched_right(mut values in proptest::collection::vec(0..3000_u32, 0..700), wanted in 0..3000_u32) {
        values.sort_unstable();
        values.dedup();
        let mut to = Assembler::default();
        let yes = to.label();
        to.load_at(Size::Word, 0);
        to.one_of(&values, yes);
        to.give(0);
        to.place(yes);
        to.give(1);
        let bytes = wanted.to_be_bytes();
        let found = run(&to.finish(), &Skb { bytes: &bytes, ..Skb::default() }) == 1;
        prop_assert_eq!(found, values.contains(&wanted));
    }
}

#[test]
fn jumps_reach_any_distance() {
    for distance in [0, 1, 254, 255, 256, 1000] {
        for value in [0, 5] {
            let mut to = Assembler::default();
            let far = to.label();
            to.load_constant(value);
            to.branch(If::Equal, 5, far);
            for _ in 0..distance {
                to.load_constant(1);
            }
            to.give(10);
            to.place(far);
            to.give(20);
            assert_eq!(run(&to.finish(), &Skb::default()), if value == 5 { 20 } else { 10 }, "over {distance}");
        }
    }
}

#[test]
fn frames_on_other_interfaces_or_of_the_other_direction_do_not_pass() {
    let syn = Recipe {
        out: false,
        raw: false,
        layers: Vec::new(),
        tunnel: None,
        to_many: false,
        six: false,
        extensions: Vec::new(),
        fragment: 0,
        cut: usize::MAX,
        hops: 64,
        addresses: ([10; 16], [11; 16]),
        body: Body::Tcp { ports: (40_000, 445), flags: 2, options: 0, payload: Vec::new() },
        options: 0,
        padding: 0,
        no_length: false,
    };
    let bytes = syn.bytes();
    let skb = skb(&syn, &bytes);
    assert!(run(&filter::program(&policy(), &[1, INTERFACE], None, &Busy::default()), &skb) > 0);
    assert_eq!(run(&filter::program(&policy(), &[1, 2], None, &Busy::default()), &skb), 0);
    assert_eq!(run(&filter::program(&policy(), &[], None, &Busy::default()), &skb), 0);
    assert!(run(&filter::program(&policy(), &[INTERFACE], Some(Direction::In), &Busy::default()), &skb) > 0);
    assert_eq!(run(&filter::program(&policy(), &[INTERFACE], Some(Direction::Out), &Busy::default()), &skb), 0);
}

#[test]
fn networks_are_spread_evenly_and_all_their_hosts_together() {
    for shards in [2, 3, 4, 8] {
        let mut counts = vec![0; shards];
        for host in 0..4096_u32 {
            let [_, _, a, b] = host.to_be_bytes();
            let shard = |last| fanout::shard_of_address(crate::wire::Address::v4([10, a, b, last]), shards);
            counts[shard(1)] += 1;
            assert!((2..=254).all(|last| shard(last) == shard(1)));
            let segment = u16::from_be_bytes([a, b]);
            let six = |last| {
                crate::wire::Address::v6([0xfd, 0, 0, 0, 0, 0, 0, (segment & 0xff) as u8, 0, 0, 0, 0, 0, 0, 0, last])
            };
            assert_eq!(fanout::shard_of_address(six(1), shards), fanout::shard_of_address(six(200), shards));
        }
        let fair = 4096 / shards;
        assert!(counts.iter().all(|&count| count > fair * 9 / 10 && count < fair * 11 / 10), "{counts:?}");
    }
}

#[test]
fn long_lists_of_lateral_ports_still_make_programs_the_kernel_takes() {
    let ports: Vec<_> =
        (1..1024).chain((0..500).map(|port| 2000 + port * 7)).map(|port| (Transport::Tcp, port)).collect();
    let policy = CapturePolicy::new(&Services::new(&ports), true);
    for length in [filter::program(&policy, &[1], None, &Busy::default()).len(), fanout::program(&policy).len()] {
        assert!(length <= 4096, "{length}");
    }
}

/// The generator is worth its name only if every kind of frame comes out of it.
#[test]
fn the_recipes_make_every_kind_of_packet() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut seen, mut taken) = (std::collections::BTreeMap::new(), 0);
    for _ in 0..3000 {
        let recipe = recipe().new_tree(&mut runner).unwrap().current();
        let bytes = recipe.bytes();
        let kind = match decoded(&recipe, &bytes).map(|frame| (policy().takes(&frame), frame.packet)) {
            None => "undecoded",
            Some((takes, packet)) => {
                taken += usize::from(takes);
                match packet {
                    Packet::Tcp(_) => "tcp",
                    Packet::Udp(_) => "udp",
                    Packet::Echo(_) => "echo",
                    Packet::IcmpError(_) => "icmp error",
                    Packet::Arp(_) => "arp",
                    Packet::Neighbour(_) => "neighbour",
                    Packet::Fragment(_) => "fragment",
                    Packet::Tunnel(_) => "tunnel",
                    Packet::OtherIp { .. } => "other ip",
                    Packet::NonIp => "non ip",
                }
            }
        };
        *seen.entry(kind).or_insert(0) += 1;
    }
    for kind in ["tcp", "udp", "echo", "icmp error", "arp", "neighbour", "fragment", "tunnel", "other ip"] {
        assert!(seen.get(kind).is_some_and(|&count| count > 10), "{kind}: {seen:?}");
    }
    assert!(taken > 500 && taken < 2500, "{taken} of 3000 of interest");
}
