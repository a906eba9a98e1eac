//! The socket filter: what of a busy gateway's traffic reaches this process at all.

use super::bpf::assembler::{Ancillary, Assembler, If, Label, Op, Size};
use super::bpf::cells::{self, cell};
use super::bpf::payload;
use super::bpf::walk::{self, Exits, OUTGOING, Start};
use super::busy::{self, Busy};
use super::capture_policy::{CONTROL, CapturePolicy, SMALL, SMALL_BROADCAST};
use crate::inspect::protocol::{openings, openings_anywhere};
use crate::sys::packet::Instruction;
use crate::wire::frame::{Direction, Flags, Opaque};

/// What is copied of a frame at most: any header the core reads, and a good part of a message behind it.
pub const SNAP: u32 = 2048;

/// A tunnel's packet that cannot be read passes if its frame is no longer: it holds a connection's beginning, no bulk.
const SMALL_TUNNEL: u32 = 256;

/// The kernel takes no longer program (BPF_MAXINSNS).
const LONGEST: usize = 4096;

/// The filter for a socket that hears all interfaces: only frames on those of these indices, and of them only what
/// `policy` takes; with `only`, of one direction.
///
/// Returns the length to copy, 0 for none. Two kinds are sampled: datagrams and bare acknowledgements in `busy` buckets, one in [`busy::ONE_IN`],
/// and tunnels whose inside cannot be read, one in [`Opaque::ONE_IN`]. Frames whose headers nest too deeply to follow
/// pass, for user space to judge. A frame that is cut within what the program reads does not (the kernel ends it with 0).
#[must_use]
pub fn program(policy: &CapturePolicy, interfaces: &[u32], only: Option<Direction>, busy: &Busy) -> Vec<Instruction> {
    let program = assemble(policy, interfaces, only, busy);
    // Lists of ports can be so long that they leave no room: then busy flows are copied whole.
    if program.len() <= LONGEST { program } else { assemble(policy, interfaces, only, &Busy::default()) }
}

fn assemble(policy: &CapturePolicy, interfaces: &[u32], only: Option<Direction>, busy: &Busy) -> Vec<Instruction> {
    let mut to = Assembler::default();
    let (pass, drop, here) = (to.label(), to.label(), to.label());
    let mut interfaces = interfaces.to_vec();
    interfaces.sort_unstable();
    interfaces.dedup();
    to.load_ancillary(Ancillary::Interface);
    to.one_of(&interfaces, here);
    to.goto(drop);
    to.place(here);
    if let Some(direction) = only {
        let (out, right) = (to.label(), to.label());
        to.load_ancillary(Ancillary::PacketType);
        to.branch(If::Equal, OUTGOING, out);
        to.goto(if direction == Direction::In { right } else { drop });
        to.place(out);
        to.goto(if direction == Direction::In { drop } else { right });
        to.place(right);
    }

    let exits = Exits {
        arp: to.label(),
        tcp: to.label(),
        udp: to.label(),
        inner_udp: to.label(),
        icmp: to.label(),
        icmpv6: to.label(),
        sctp: to.label(),
        fragment: to.label(),
        closed: to.label(),
        unread: to.label(),
        other_ip: drop,
        deep: pass,
        other: drop,
    };
    walk::emit(&mut to, Start::Link, exits);
    to.place(exits.arp);
    to.load(Size::Half, 6);
    // Requests and replies.
    to.one_of(&[1, 2], pass);
    to.goto(drop);
    to.place(exits.tcp);
    let flow = to.label();
    tcp(&mut to, policy, flow, pass, drop);
    udp(&mut to, exits, policy, flow, pass, drop);
    to.place(flow);
    sampled(&mut to, busy, pass, drop);
    to.place(exits.icmp);
    icmp(&mut to, pass, drop);
    to.place(exits.icmpv6);
    icmpv6(&mut to, pass, drop);
    tunnels(&mut to, exits, pass, drop);
    to.place(exits.fragment);
    incoming(&mut to, pass, drop);
    to.place(pass);
    to.give(SNAP);
    to.place(drop);
    to.give(0);
    to.finish()
}

/// `flow` is for what is sampled where its flow is busy, with the transport header's place in its cell.
fn tcp(to: &mut Assembler, policy: &CapturePolicy, flow: Label, pass: Label, drop: Label) {
    let (control, inspected, small, anywhere) = (to.label(), to.label(), to.label(), to.label());
    let (acknowledged, bare) = (to.label(), to.label());
    to.load(Size::Byte, 13);
    to.branch(If::AnyBit, u32::from(CONTROL), control);
    to.branch(If::AnyBit, u32::from(Flags::ACK), acknowledged);
    // No connection has such segments (RFC 9293 §3.10.7.4): a probe.
    to.goto(control);

    // Data.
    to.place(acknowledged);
    // What the gateway sends or forwards was looked at where it came in.
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    payload::payload(to);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Equal, 0, bare);
    // Below zero: the header claims more than the packet.
    to.branch(If::AnyBit, 0x8000_0000, drop);
    to.load(Size::Half, 0);
    to.one_of(&policy.inspected_tcp(), inspected);
    to.load(Size::Half, 2);
    to.one_of(&policy.inspected_tcp(), inspected);
    // Nothing at all may be the end of a handshake, which shows that the client is where it says.
    to.place(bare);
    to.load(Size::Half, 2);
    to.one_of(&policy.lateral_tcp(), small);
    to.goto(anywhere);
    to.place(small);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Equal, 0, flow);
    to.branch(If::Greater, SMALL, anywhere);
    to.goto(pass);

    to.place(inspected);
    let large = to.label();
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Greater, SMALL, large);
    to.goto(pass);
    to.place(large);
    for opening in openings() {
        payload::begins(to, opening, pass);
        to.load_x_cell(cell::TRANSPORT);
    }
    to.goto(drop);

    to.place(anywhere);
    if policy.inspects() {
        for opening in openings_anywhere() {
            payload::begins(to, opening, pass);
            to.load_x_cell(cell::TRANSPORT);
        }
    }
    to.goto(drop);

    to.place(control);
    let out = to.label();
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, out);
    to.goto(pass);
    to.place(out);
    to.load(Size::Byte, 13);
    to.branch(If::AnyBit, u32::from(Flags::RST), pass);
    to.op(Op::And, u32::from(Flags::SYN | Flags::ACK));
    to.branch(If::Equal, u32::from(Flags::SYN | Flags::ACK), pass);
    to.goto(drop);
}

fn udp(to: &mut Assembler, exits: Exits, policy: &CapturePolicy, flow: Label, pass: Label, drop: Label) {
    /// Whether a tunnel stands around the datagram, so that the frame's addresses are another's.
    const INNER: u32 = cell::FREE + 5;
    let ports = policy.lateral_udp();
    let (many, six, ethernet, both) = (to.label(), to.label(), to.label(), to.label());
    to.place(exits.inner_udp);
    to.load_constant(1);
    to.store(INNER);
    to.goto(both);
    to.place(exits.udp);
    to.load_constant(0);
    to.store(INNER);
    to.place(both);
    to.load(Size::Half, 0);
    to.one_of(&ports, pass);
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    to.load(Size::Half, 2);
    to.one_of(&ports, pass);

    let by_address = to.label();
    to.store_x(cell::TRANSPORT);
    to.load_cell(INNER);
    to.branch(If::Equal, 1, by_address);
    to.load_ancillary(Ancillary::Hardware);
    to.branch(If::Equal, u32::from(libc::ARPHRD_ETHER), ethernet);
    to.branch(If::Equal, u32::from(libc::ARPHRD_LOOPBACK), ethernet);
    to.place(by_address);
    to.load_x_cell(cell::NETWORK);
    to.load_cell(cell::FAMILY);
    to.branch(If::Equal, 6, six);
    to.load(Size::Byte, 16);
    to.branch(If::AtLeast, 0xe0, many);
    to.goto(flow);
    to.place(six);
    to.load(Size::Byte, 24);
    to.branch(If::Equal, 0xff, many);
    to.goto(flow);
    to.place(ethernet);
    to.load_at(Size::Byte, 0);
    to.branch(If::AnyBit, 1, many);
    to.goto(flow);

    // A broadcast or multicast shows that its sender is alive.
    to.place(many);
    to.load_length();
    to.branch(If::Greater, SMALL_BROADCAST, drop);
    to.goto(pass);
}

/// All of a flow to `pass` but if it is busy, a sample if it is. The transport header is at what its cell says.
fn sampled(to: &mut Assembler, busy: &Busy, pass: Label, drop: Label) {
    let words = busy.words();
    if !words.is_empty() {
        const BUCKET: u32 = cell::FREE;
        const WORD: u32 = cell::FREE + 1;
        let sampled = to.label();
        to.load_x_cell(cell::TRANSPORT);
        busy::emit_bucket(to);
        to.store(BUCKET);
        to.op(Op::Shr, 5);
        to.look_up(&words, pass);
        to.store(WORD);
        to.load_cell(BUCKET);
        to.op(Op::And, 31);
        to.tax();
        to.load_cell(WORD);
        to.op_x(Op::Shr);
        to.branch(If::AnyBit, 1, sampled);
        to.goto(pass);
        to.place(sampled);
        sample(to, busy::ONE_IN, pass, drop);
    }
    to.goto(pass);
}

/// One in `one_in` to `pass`, a power of two; the others to `drop`.
fn sample(to: &mut Assembler, one_in: u32, pass: Label, drop: Label) {
    to.load_ancillary(Ancillary::Random);
    to.branch(If::AnyBit, one_in - 1, drop);
    to.goto(pass);
}

/// What nobody looks into: the beginning of an association, small packets of what cannot be read, and a sample.
fn tunnels(to: &mut Assembler, exits: Exits, pass: Label, drop: Label) {
    let (sampled, small, sctp) = (to.label(), to.label(), to.label());
    to.place(exits.sctp);
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    cells::room(to, 13, sampled);
    to.load(Size::Byte, 12);
    to.branch(If::Equal, 1, sctp);
    to.goto(sampled);
    to.place(sctp);
    to.goto(pass);

    to.place(exits.unread);
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    to.load_length();
    to.branch(If::Greater, SMALL_TUNNEL, sampled);
    to.goto(small);
    to.place(small);
    to.goto(pass);

    to.place(exits.closed);
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    to.place(sampled);
    sample(to, Opaque::ONE_IN, pass, drop);
}

fn icmp(to: &mut Assembler, pass: Label, drop: Label) {
    let (unreachable, request) = (to.label(), to.label());
    to.load(Size::Byte, 0);
    // Echo, timestamp, address mask.
    to.one_of(&[8, 13, 17], request);
    to.branch(If::Equal, 3, unreachable);
    // Their replies, time exceeded, parameter problem.
    to.one_of(&[0, 11, 12, 14, 18], pass);
    to.goto(drop);
    to.place(unreachable);
    to.load(Size::Byte, 1);
    // "Fragmentation needed" is no failed attempt.
    to.branch(If::Equal, 4, drop);
    to.goto(pass);
    to.place(request);
    incoming(to, pass, drop);
}

fn icmpv6(to: &mut Assembler, pass: Label, drop: Label) {
    let (neighbour, request) = (to.label(), to.label());
    to.load(Size::Byte, 0);
    // Echo, node information.
    to.one_of(&[128, 139], request);
    to.one_of(&[135, 136], neighbour);
    // Their replies, unreachable, time exceeded, parameter problem.
    to.one_of(&[1, 3, 4, 129, 140], pass);
    to.goto(drop);
    to.place(neighbour);
    // Neighbour discovery never crosses a router (RFC 4861 §7.1).
    to.load_x_cell(cell::NETWORK);
    to.load(Size::Byte, 7);
    to.branch(If::Equal, 255, pass);
    to.goto(drop);
    to.place(request);
    incoming(to, pass, drop);
}

fn incoming(to: &mut Assembler, pass: Label, drop: Label) {
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    to.goto(pass);
}
