//! Into the tunnels that are followed: VXLAN, GENEVE, Teredo, IP in IP, GRE.

use super::assembler::{Assembler, If, Label, Op, Size};
use super::cells::{cell, room};
use crate::wire::decode::link::kind;
use crate::wire::decode::tunnel::port;

/// Where the outer walk ends that may be a tunnel's.
#[derive(Clone, Copy)]
pub(super) struct Tunnels {
    pub udp: Label,
    pub ipv4: Label,
    pub ipv6: Label,
    pub gre: Label,
}

/// Where the inner walk begins.
#[derive(Clone, Copy)]
pub(super) struct Inner {
    /// At an Ethernet header.
    pub ethernet: Label,
    /// Behind the ethertype in A.
    pub ethertype: Label,
    pub four: Label,
    pub six: Label,
    pub short: Label,
}

/// Into the tunnels, from their first header at X; `udp` is for datagrams that are none.
pub(super) fn open(to: &mut Assembler, tunnels: Tunnels, inner: Inner, udp: Label) {
    let (vxlan, geneve, teredo) = (to.label(), to.label(), to.label());
    to.place(tunnels.udp);
    to.load(Size::Half, 2);
    to.one_of(&port::VXLAN.map(u32::from), vxlan);
    to.branch(If::Equal, u32::from(port::GENEVE), geneve);
    to.branch(If::Equal, u32::from(port::TEREDO), teredo);
    to.load(Size::Half, 0);
    to.branch(If::Equal, u32::from(port::TEREDO), teredo);
    to.goto(udp);

    to.place(vxlan);
    let valid = to.label();
    enter(to, true);
    room(to, 16, inner.short);
    to.load(Size::Byte, 8);
    to.branch(If::AnyBit, 0x08, valid);
    to.goto(inner.short);
    to.place(valid);
    to.advance(16);
    to.goto(inner.ethernet);

    to.place(geneve);
    enter(to, true);
    room(to, 16, inner.short);
    to.load(Size::Half, 10);
    to.store(cell::SPARE);
    to.load(Size::Byte, 8);
    to.branch(If::AnyBit, 0xc0, inner.short);
    to.op(Op::Shl, 2);
    to.op(Op::Add, 16);
    to.op_x(Op::Add);
    to.tax();
    to.load_cell(cell::SPARE);
    to.branch(If::Equal, u32::from(kind::BRIDGED), inner.ethernet);
    to.goto(inner.ethertype);

    to.place(teredo);
    let (authenticated, origin, packet) = (to.label(), to.label(), to.label());
    let (behind, plain) = (to.label(), to.label());
    enter(to, true);
    room(to, 8 + 40, inner.short);
    to.advance(8);
    to.load(Size::Half, 0);
    to.branch(If::Equal, 1, authenticated);
    to.goto(behind);
    to.place(authenticated);
    to.load(Size::Byte, 2);
    to.store(cell::SPARE);
    to.load(Size::Byte, 3);
    to.op(Op::Add, 13);
    to.op_x(Op::Add);
    to.load_x_cell(cell::SPARE);
    to.op_x(Op::Add);
    to.tax();
    room(to, 40, inner.short);
    to.place(behind);
    to.load(Size::Half, 0);
    to.branch(If::Equal, 0, origin);
    to.goto(plain);
    to.place(origin);
    to.advance(8);
    room(to, 40, inner.short);
    to.place(plain);
    to.load(Size::Byte, 0);
    to.op(Op::And, 0xf0);
    to.branch(If::Equal, 0x60, packet);
    to.goto(inner.short);
    to.place(packet);
    to.goto(inner.six);

    for (label, network) in [(tunnels.ipv4, inner.four), (tunnels.ipv6, inner.six)] {
        to.place(label);
        enter(to, false);
        to.goto(network);
    }
    to.place(tunnels.gre);
    gre(to, inner);
}

/// Notes the outer packet, of which X is the header behind IP.
fn enter(to: &mut Assembler, udp: bool) {
    to.load_cell(cell::LEFT);
    to.op_x(Op::Add);
    to.store(cell::OUTER_END);
    to.load_cell(cell::NETWORK);
    to.store(cell::OUTER_NETWORK);
    to.load_cell(cell::FAMILY);
    to.store(cell::OUTER_FAMILY);
    if udp {
        to.store_x(cell::OUTER_UDP);
    } else {
        to.load_constant(0);
        to.store(cell::OUTER_UDP);
    }
}

fn gre(to: &mut Assembler, inner: Inner) {
    let (second, third, long) = (to.label(), to.label(), to.label());
    enter(to, false);
    room(to, 4, inner.short);
    to.load(Size::Half, 0);
    to.branch(If::AnyBit, 0x4007, inner.short);
    to.store_x(cell::TRANSPORT);
    to.load(Size::Half, 2);
    to.store(cell::SPARE);
    // Checksum, key and sequence number take four bytes each.
    to.load_constant(4);
    to.store(cell::HEADER);
    for shift in [13, 11, 10] {
        to.load_x_cell(cell::TRANSPORT);
        to.load(Size::Half, 0);
        to.op(Op::Shr, shift);
        to.op(Op::And, 4);
        to.load_x_cell(cell::HEADER);
        to.op_x(Op::Add);
        to.store(cell::HEADER);
    }
    to.load_x_cell(cell::TRANSPORT);
    to.load(Size::Half, 0);
    to.op(Op::And, 0x1000);
    to.store(cell::PAYLOAD);
    to.load_cell(cell::HEADER);
    to.op_x(Op::Add);
    to.tax();
    to.load_cell(cell::SPARE);
    to.branch(If::Equal, u32::from(kind::BRIDGED), inner.ethernet);
    to.branch(If::Equal, u32::from(kind::ERSPAN), second);
    to.branch(If::Equal, u32::from(kind::ERSPAN_III), third);
    to.goto(inner.ethertype);
    to.place(second);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::Equal, 0, inner.ethernet);
    to.advance(8);
    to.goto(inner.ethernet);
    to.place(third);
    room(to, 12, inner.short);
    to.load(Size::Byte, 11);
    to.branch(If::AnyBit, 1, long);
    to.advance(12);
    to.goto(inner.ethernet);
    to.place(long);
    to.advance(20);
    to.goto(inner.ethernet);
}
