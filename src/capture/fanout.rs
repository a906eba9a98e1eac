//! The fan-out program: every frame goes to the shard of the network (/24 or /64) of the host whose behaviour it shows.
//!
//! That host, the suspect, is the source of an attempt (SYN, any other segment without ACK that is no RST, ARP request,
//! solicitation, echo request, datagram, fragment, closed tunnel) and the destination of an answer to one (SYN-ACK, RST,
//! ARP reply, advertisement, echo reply; of an ICMP error the source of the packet it embeds). For other segments and datagrams the port decides: who talks to a lateral service, or
//! to SMB, is the client; where no port does, DCE/RPC's packet type shows which side speaks. A hash over addresses and ports, as kernels offer it, would split a scanner's state over all shards.

use super::bpf::assembler::{Assembler, If, Label, Op, Size};
use super::bpf::cells::cell;
use super::bpf::payload;
use super::bpf::walk::{self, Exits, Start};
use super::capture_policy::{CapturePolicy, ports};
use crate::inspect::opening::Test;
use crate::inspect::protocol::{inspected_ports, is_inspected, openings_anywhere};
use crate::sys::packet::Instruction;
use crate::wire::frame::{Flags, Packet, Transport};
use crate::wire::{Address, Frame, Services};

/// 2^32 divided by the golden ratio: multiplying by it spreads neighbouring addresses (Knuth, TAOCP 3, §6.4).
const SPREAD: u32 = 0x9e37_79b1;

/// The program for a fan-out group: its result modulo the group's size is the shard. Frames of no interest, and those
/// whose headers nest too deeply, go anywhere.
#[must_use]
pub fn program(policy: &CapturePolicy) -> Vec<Instruction> {
    let mut to = Assembler::default();
    let to = &mut to;
    let (source, destination, anywhere) = (to.label(), to.label(), to.label());
    let (network, hash) = (to.label(), to.label());
    let exits = Exits {
        arp: to.label(),
        tcp: to.label(),
        udp: to.label(),
        inner_udp: to.label(),
        icmp: to.label(),
        icmpv6: to.label(),
        sctp: source,
        fragment: source,
        closed: source,
        unread: source,
        other_ip: anywhere,
        deep: anywhere,
        other: anywhere,
    };
    walk::emit(to, Start::Network, exits);

    to.place(exits.tcp);
    let (answer, ported) = (to.label(), to.label());
    to.load(Size::Byte, 13);
    to.branch(If::AnyBit, u32::from(Flags::ACK), answer);
    // Without ACK: a RST, or else a probe.
    to.branch(If::AnyBit, u32::from(Flags::SYN), source);
    to.branch(If::AnyBit, u32::from(Flags::RST), destination);
    to.goto(source);
    to.place(answer);
    to.branch(If::AnyBit, u32::from(Flags::SYN | Flags::RST), destination);
    to.place(ported);
    let mut services = ports(policy.lateral(), Transport::Tcp);
    services.extend(inspected_ports().map(u32::from));
    services.sort_unstable();
    services.dedup();
    by_port(to, &services, source, destination);
    payload::payload(to);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::AnyBit, 0x8000_0000, source);
    for opening in openings_anywhere() {
        let Some(servers) = &opening.servers else { continue };
        let (begins, client) = (to.label(), to.label());
        payload::begins(to, opening, begins);
        to.load_x_cell(cell::TRANSPORT);
        to.goto(client);
        to.place(begins);
        payload::load_field(to, servers);
        match servers.test {
            Test::OneOf(values) => to.one_of(values, destination),
            Test::AtMost(most) => {
                to.branch(If::Greater, most, source);
                to.goto(destination);
            }
        }
        to.goto(source);
        to.place(client);
    }
    to.goto(source);

    to.place(exits.inner_udp);
    to.place(exits.udp);
    by_port(to, &ports(policy.lateral(), Transport::Udp), source, destination);
    to.goto(source);

    let embedded = to.label();
    to.place(exits.icmp);
    to.load(Size::Byte, 0);
    to.one_of(&[0, 14, 18], destination);
    to.one_of(&[3, 11, 12], embedded);
    to.goto(source);
    to.place(embedded);
    to.load(Size::Word, 8 + 12);
    to.goto(network);

    let embedded = to.label();
    to.place(exits.icmpv6);
    to.load(Size::Byte, 0);
    to.one_of(&[129, 136, 140], destination);
    to.one_of(&[1, 3, 4], embedded);
    to.goto(source);
    to.place(embedded);
    payload::fold_network(to, 8 + 8);
    to.goto(hash);

    let reply = to.label();
    to.place(exits.arp);
    to.load(Size::Half, 6);
    to.branch(If::Equal, 2, reply);
    to.load(Size::Word, 14);
    to.goto(network);
    to.place(reply);
    to.load(Size::Word, 24);
    to.goto(network);

    for (side, four, six) in [(source, 12, 8), (destination, 16, 24)] {
        let wide = to.label();
        to.place(side);
        to.load_x_cell(cell::NETWORK);
        to.load_cell(cell::FAMILY);
        to.branch(If::Equal, 6, wide);
        to.load(Size::Word, four);
        to.goto(network);
        to.place(wide);
        payload::fold_network(to, six);
        to.goto(hash);
    }
    to.place(network);
    to.op(Op::Shr, 8);
    to.place(hash);
    to.op(Op::Mul, SPREAD);
    to.op(Op::Shr, 16);
    to.give_a();
    to.place(anywhere);
    to.give(0);
    std::mem::take(to).finish()
}

/// To `source` or `destination`, whichever talks to one of `services`; on if neither does.
fn by_port(to: &mut Assembler, services: &[u32], source: Label, destination: Label) {
    to.load(Size::Half, 2);
    to.one_of(services, source);
    to.load(Size::Half, 0);
    to.one_of(services, destination);
}

/// The shard, of `shards`, that takes `frame`: the program's twin for frames of interest.
#[must_use]
pub fn shard_of(frame: &Frame<'_>, lateral: &Services, shards: usize) -> usize {
    shard_of_address(suspect(frame, lateral), shards)
}

/// The shard that owns `host`: its /24 or /64 decides, so that the addresses of one card, and of a network behind a router,
/// are counted together.
#[must_use]
pub fn shard_of_address(host: Address, shards: usize) -> usize {
    let bits = host.bits();
    // The cast keeps each word's 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "takes the low word on purpose")]
    let word = |shift: u32| (bits >> shift) as u32;
    let folded = if host.is_v4() { word(0) >> 8 } else { word(64) ^ word(96) };
    (folded.wrapping_mul(SPREAD) >> 16) as usize % shards.max(1)
}

/// The host whose behaviour the frame shows.
fn suspect(frame: &Frame<'_>, lateral: &Services) -> Address {
    match &frame.packet {
        Packet::Tcp(segment) => {
            let serves = |port| lateral.has_tcp(port) || is_inspected(port);
            let from_server = || {
                let opening = openings_anywhere().find(|opening| opening.begins(segment.payload));
                opening.and_then(|opening| opening.servers).is_some_and(|servers| servers.holds(segment.payload))
            };
            let flags = segment.flags;
            if !flags.is_ack() {
                // A RST answers; anything else without ACK is a probe.
                if flags.is_rst() && !flags.opens() { segment.destination } else { segment.source }
            } else if flags.0 & (Flags::SYN | Flags::RST) != 0 {
                segment.destination
            } else if serves(segment.destination_port) {
                segment.source
            } else if serves(segment.source_port) || from_server() {
                segment.destination
            } else {
                segment.source
            }
        }
        Packet::Udp(datagram) => {
            if lateral.has_udp(datagram.source_port) && !lateral.has_udp(datagram.destination_port) {
                datagram.destination
            } else {
                datagram.source
            }
        }
        Packet::Echo(echo) => {
            if echo.request {
                echo.source
            } else {
                echo.destination
            }
        }
        Packet::IcmpError(error) => error.source,
        Packet::Arp(arp) => {
            if arp.request {
                arp.sender
            } else {
                arp.target
            }
        }
        Packet::Neighbour(neighbour) => {
            if neighbour.solicitation {
                neighbour.source
            } else {
                neighbour.destination
            }
        }
        Packet::Fragment(fragment) => fragment.source,
        Packet::Tunnel(opaque) => opaque.source,
        Packet::OtherIp { source, .. } => *source,
        Packet::NonIp => Address::default(),
    }
}
