//! The way from a frame's first byte to its transport header, as both kernel programs go it.

use super::assembler::{Ancillary, Assembler, If, Label, Op, Size};
use crate::capture::interest::dce_rpc;

/// Memory cells that hold good at every exit but [`Exits::deep`] and [`Exits::other`].
pub(in crate::capture) mod cell {
    /// Offset of the network header.
    pub const NETWORK: u32 = 0;
    /// 4 or 6, at the exits behind IP.
    pub const FAMILY: u32 = 1;
    /// Bytes of IP payload on the wire from the transport header on, at the exits behind IP.
    pub const LEFT: u32 = 2;
    /// For the walk's own use.
    pub(super) const SPARE: u32 = 3;
    /// After [`super::payload`]: offset of the TCP header, its length, and that of what follows on the wire.
    pub const TRANSPORT: u32 = 4;
    pub const HEADER: u32 = 5;
    pub const PAYLOAD: u32 = 6;
    /// The first cell that is the program's own once the walk is over.
    pub const FREE: u32 = 7;
}

/// `skb->pkt_type` of a frame that the gateway sends.
pub(in crate::capture) const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;

/// IPv6 extension headers (or IPv4 AH) followed, one behind the other.
pub(in crate::capture) const EXTENSIONS: usize = 6;

/// Where the frame's first byte stands for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Start {
    /// At the link header: a socket filter.
    Link,
    /// At the network header for frames that come in, at the link header for those that go out: a fan-out program,
    /// which runs before the socket puts the link header back.
    Network,
}

/// Where the walk ends, X being the offset of the header named.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture) struct Exits {
    pub arp: Label,
    pub tcp: Label,
    pub udp: Label,
    pub icmp: Label,
    pub icmpv6: Label,
    /// Another transport, or a later fragment. X is anything.
    pub other_ip: Label,
    /// Too many tags or extension headers to follow. X is anything, as are the cells.
    pub deep: Label,
    /// Neither IP nor ARP. X is anything.
    pub other: Label,
}

/// Emits the walk.
pub(in crate::capture) fn emit(to: &mut Assembler, start: Start, exits: Exits) {
    let (headed, ethernet, protocol, untagged) = (to.label(), to.label(), to.label(), to.label());
    let (four, six, transport) = (to.label(), to.label(), to.label());
    if start == Start::Network {
        to.load_x_constant(0);
        to.load_ancillary(Ancillary::PacketType);
        to.branch(If::Equal, OUTGOING, headed);
        to.load_ancillary(Ancillary::Protocol);
        to.goto(protocol);
    }
    to.place(headed);
    to.load_ancillary(Ancillary::Hardware);
    to.branch(If::Equal, u32::from(libc::ARPHRD_ETHER), ethernet);
    to.branch(If::Equal, u32::from(libc::ARPHRD_LOOPBACK), ethernet);
    // Tunnels and the like: IP from the first byte on.
    to.load_x_constant(0);
    to.load_ancillary(Ancillary::Protocol);
    to.goto(untagged);
    to.place(ethernet);
    to.load_x_constant(14);
    to.load_at(Size::Half, 12);

    to.place(protocol);
    let tagged = to.label();
    tags(to, tagged);
    to.goto(untagged);
    to.place(tagged);
    to.load(Size::Half, 2);
    to.store(cell::SPARE);
    to.advance(4);
    to.load_cell(cell::SPARE);
    tags(to, exits.deep);

    to.place(untagged);
    to.store_x(cell::NETWORK);
    to.branch(If::Equal, 0x0800, four);
    to.branch(If::Equal, 0x86dd, six);
    to.branch(If::Equal, 0x0806, exits.arp);
    to.goto(exits.other);

    to.place(four);
    ipv4(to, exits);
    to.goto(transport);
    to.place(six);
    ipv6(to);
    to.place(transport);
    for _ in 0..EXTENSIONS {
        transports(to, exits);
        extension(to, exits);
    }
    transports(to, exits);
    to.goto(exits.deep);
}

/// To `yes` if A is the ethertype of a VLAN tag.
fn tags(to: &mut Assembler, yes: Label) {
    to.one_of(&[0x8100, 0x88a8, 0x9100], yes);
}

/// From the header at X to A = protocol, X = the header behind.
fn ipv4(to: &mut Assembler, exits: Exits) {
    to.load_constant(4);
    to.store(cell::FAMILY);
    to.load(Size::Half, 6);
    to.branch(If::AnyBit, 0x1fff, exits.other_ip);
    length(to, 2, 0);
    to.load(Size::Byte, 9);
    to.store(cell::SPARE);
    to.load(Size::Byte, 0);
    to.op(Op::And, 0x0f);
    to.op(Op::Shl, 2);
    to.tax();
    to.load_cell(cell::LEFT);
    to.op_x(Op::Sub);
    to.store(cell::LEFT);
    to.load_cell(cell::NETWORK);
    to.op_x(Op::Add);
    to.tax();
    to.load_cell(cell::SPARE);
}

/// The same for IPv6.
fn ipv6(to: &mut Assembler) {
    to.load_constant(6);
    to.store(cell::FAMILY);
    length(to, 4, 40);
    to.load(Size::Byte, 6);
    to.store(cell::SPARE);
    to.advance(40);
    to.load_cell(cell::SPARE);
}

/// LEFT = the length field at X + `offset`; where segmentation offload left it empty, what the frame holds behind X
/// and `header`.
fn length(to: &mut Assembler, offset: u32, header: u32) {
    let (empty, known) = (to.label(), to.label());
    to.load(Size::Half, offset);
    to.branch(If::Equal, 0, empty);
    to.goto(known);
    to.place(empty);
    to.load_length();
    to.op_x(Op::Sub);
    to.op(Op::Sub, header);
    to.place(known);
    to.store(cell::LEFT);
}

/// To the exit of the transport that A names.
fn transports(to: &mut Assembler, exits: Exits) {
    to.branch(If::Equal, 6, exits.tcp);
    to.branch(If::Equal, 17, exits.udp);
    to.branch(If::Equal, 1, exits.icmp);
    to.branch(If::Equal, 58, exits.icmpv6);
}

/// Over the extension header at X, whose protocol is A, to the next: A = its protocol.
fn extension(to: &mut Assembler, exits: Exits) {
    let (options, fragment, authentication, step) = (to.label(), to.label(), to.label(), to.label());
    to.one_of(&[0, 43, 60], options);
    to.branch(If::Equal, 44, fragment);
    to.branch(If::Equal, 51, authentication);
    to.goto(exits.other_ip);

    to.place(fragment);
    to.load(Size::Half, 2);
    to.branch(If::AnyBit, 0xfff8, exits.other_ip);
    to.load_constant(8);
    to.goto(step);
    to.place(authentication);
    to.load(Size::Byte, 1);
    to.op(Op::Add, 2);
    to.op(Op::Shl, 2);
    to.goto(step);
    to.place(options);
    to.load(Size::Byte, 1);
    to.op(Op::Add, 1);
    to.op(Op::Shl, 3);

    // A = this header's length.
    to.place(step);
    to.store(cell::FREE);
    to.load(Size::Byte, 0);
    to.store(cell::SPARE);
    to.load_cell(cell::FREE);
    to.op_x(Op::Add);
    to.load_x_cell(cell::FREE);
    to.store(cell::FREE);
    to.load_cell(cell::LEFT);
    to.op_x(Op::Sub);
    to.store(cell::LEFT);
    to.load_x_cell(cell::FREE);
    to.load_cell(cell::SPARE);
}

/// From a TCP header at X: its length and that of the payload to their cells. X stays; a payload length below zero
/// wraps around.
pub(in crate::capture) fn payload(to: &mut Assembler) {
    to.store_x(cell::TRANSPORT);
    to.load(Size::Byte, 12);
    to.op(Op::Shr, 4);
    to.op(Op::Shl, 2);
    to.store(cell::HEADER);
    to.load_x_cell(cell::HEADER);
    to.load_cell(cell::LEFT);
    to.op_x(Op::Sub);
    to.store(cell::PAYLOAD);
    to.load_x_cell(cell::TRANSPORT);
}

/// To `yes`, with A = the packet type, if the payload behind the TCP header at X, of at least [`dce_rpc::LENGTH`], is
/// the beginning of DCE/RPC; on if not. X is anything then.
pub(in crate::capture) fn begins_rpc(to: &mut Assembler, yes: Label) {
    let (represented, versioned, no) = (to.label(), to.label(), to.label());
    to.load_cell(cell::HEADER);
    to.op_x(Op::Add);
    to.tax();
    to.load(Size::Word, 4);
    to.one_of(&dce_rpc::REPRESENTATIONS, represented);
    to.goto(no);
    to.place(represented);
    to.load(Size::Half, 0);
    to.one_of(&dce_rpc::VERSIONS, versioned);
    to.goto(no);
    to.place(versioned);
    to.load(Size::Byte, 2);
    to.branch(If::Greater, u32::from(dce_rpc::LAST_TYPE), no);
    to.goto(yes);
    to.place(no);
}
