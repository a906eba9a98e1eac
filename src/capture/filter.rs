//! The socket filter: what of a busy gateway's traffic reaches this process at all.

use super::bpf::assembler::{Ancillary, Assembler, If, Label, Op, Size};
use super::bpf::walk::{self, Exits, OUTGOING, Start, cell};
use super::interest::{CONTROL, Interest, SMALL, SMALL_BROADCAST, SMB, dce_rpc};
use crate::sys::packet::Instruction;
use crate::wire::frame::{Direction, Flags};

/// What is copied of a frame at most: any header the core reads, and a good part of a message behind it.
pub const SNAP: u32 = 2048;

/// The filter for a socket that hears all interfaces: only frames on those of these indices, and of them only what
/// `interest` takes; with `only`, of one direction.
///
/// Returns the length to copy, 0 for none. Frames whose headers nest too deeply to follow pass, for user space to
/// judge. A frame that is cut within what the program reads does not (the kernel ends it with 0).
#[must_use]
pub fn program(interest: &Interest, interfaces: &[u32], only: Option<Direction>) -> Vec<Instruction> {
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
        icmp: to.label(),
        icmpv6: to.label(),
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
    tcp(&mut to, interest, pass, drop);
    to.place(exits.udp);
    udp(&mut to, interest, pass, drop);
    to.place(exits.icmp);
    icmp(&mut to, pass, drop);
    to.place(exits.icmpv6);
    icmpv6(&mut to, pass, drop);
    to.place(pass);
    to.give(SNAP);
    to.place(drop);
    to.give(0);
    to.finish()
}

fn tcp(to: &mut Assembler, interest: &Interest, pass: Label, drop: Label) {
    let (control, inspected, small, rpc) = (to.label(), to.label(), to.label(), to.label());
    to.load(Size::Byte, 13);
    to.branch(If::AnyBit, u32::from(CONTROL), control);

    // Data. What the gateway sends or forwards was looked at where it came in.
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    walk::payload(to);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Equal, 0, drop);
    // Below zero: the header claims more than the packet.
    to.branch(If::AnyBit, 0x8000_0000, drop);
    to.load(Size::Half, 0);
    to.one_of(&interest.inspected_tcp(), inspected);
    to.load(Size::Half, 2);
    to.one_of(&interest.inspected_tcp(), inspected);
    to.one_of(&interest.lateral_tcp(), small);
    to.goto(rpc);
    to.place(small);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Greater, SMALL, rpc);
    to.goto(pass);

    to.place(inspected);
    let large = to.label();
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Greater, SMALL, large);
    to.goto(pass);
    to.place(large);
    to.load_cell(cell::HEADER);
    to.op_x(Op::Add);
    to.tax();
    to.load(Size::Word, 4);
    to.one_of(&SMB, pass);
    to.load_x_cell(cell::TRANSPORT);

    to.place(rpc);
    if interest.inspects() {
        let (long, kind) = (to.label(), to.label());
        to.load_cell(cell::PAYLOAD);
        to.branch(If::AtLeast, dce_rpc::LENGTH, long);
        to.goto(drop);
        to.place(long);
        walk::begins_rpc(to, kind);
        to.goto(drop);
        to.place(kind);
        to.goto(pass);
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

fn udp(to: &mut Assembler, interest: &Interest, pass: Label, drop: Label) {
    let ports = interest.lateral_udp();
    let (many, six, ethernet) = (to.label(), to.label(), to.label());
    to.load(Size::Half, 0);
    to.one_of(&ports, pass);
    to.load_ancillary(Ancillary::PacketType);
    to.branch(If::Equal, OUTGOING, drop);
    to.load(Size::Half, 2);
    to.one_of(&ports, pass);

    // A broadcast or multicast shows that its sender is alive.
    to.load_length();
    to.branch(If::Greater, SMALL_BROADCAST, drop);
    to.load_ancillary(Ancillary::Hardware);
    to.branch(If::Equal, u32::from(libc::ARPHRD_ETHER), ethernet);
    to.branch(If::Equal, u32::from(libc::ARPHRD_LOOPBACK), ethernet);
    to.load_x_cell(cell::NETWORK);
    to.load_cell(cell::FAMILY);
    to.branch(If::Equal, 6, six);
    to.load(Size::Byte, 16);
    to.branch(If::AtLeast, 0xe0, pass);
    to.goto(drop);
    to.place(six);
    to.load(Size::Byte, 24);
    to.branch(If::Equal, 0xff, pass);
    to.goto(drop);
    to.place(ethernet);
    to.load_at(Size::Byte, 0);
    to.branch(If::AnyBit, 1, many);
    to.goto(drop);
    to.place(many);
    to.goto(pass);
}

fn icmp(to: &mut Assembler, pass: Label, drop: Label) {
    let (unreachable, request) = (to.label(), to.label());
    to.load(Size::Byte, 0);
    to.branch(If::Equal, 8, request);
    to.branch(If::Equal, 3, unreachable);
    // Echo reply, time exceeded.
    to.one_of(&[0, 11], pass);
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
    to.branch(If::Equal, 128, request);
    to.one_of(&[135, 136], neighbour);
    // Unreachable, time exceeded, echo reply.
    to.one_of(&[1, 3, 129], pass);
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
