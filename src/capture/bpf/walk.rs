//! The way from a frame's first byte to its transport header, as both kernel programs go it: through tags and labels, IP
//! with its extension headers, and one level of tunnel.

use super::assembler::{Ancillary, Assembler, If, Label, Op, Size};
use super::cells::{NEGATIVE, cell, left, next_ethertype, room};
use super::payload::payload;
use super::tunnels::{Inner, Tunnels, open};
use crate::wire::decode::link::kind;
use crate::wire::decode::tunnel::HEADERS;

/// `skb->pkt_type` of a frame that the gateway sends.
pub(in crate::capture) const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;

/// IPv6 extension headers (or IPv4 AH) followed, one behind the other.
pub(in crate::capture) const EXTENSIONS: usize = 6;

/// Tags and the like followed before IP, and labels of an MPLS stack: outside of tunnels, as many as the decoder follows.
const LAYERS: usize = 4;
const LABELS: usize = 8;

/// The same inside of a tunnel, where more of either is rare, and the program must not become too long.
pub(in crate::capture) const INNER_EXTENSIONS: usize = 2;
const INNER_LAYERS: usize = 1;

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
    /// UDP that no tunnel stands around.
    pub udp: Label,
    /// UDP in a tunnel.
    pub inner_udp: Label,
    pub icmp: Label,
    pub icmpv6: Label,
    pub sctp: Label,
    /// A fragment that no honest sender makes. X is anything.
    pub fragment: Label,
    /// A tunnel whose inside nobody reads: ESP, L2TP. X is anything.
    pub closed: Label,
    /// A tunnel in a tunnel, or one whose inside does not read as what it should be. X is anything.
    pub unread: Label,
    /// Another transport, or an honest later fragment. X is anything.
    pub other_ip: Label,
    /// Too many extension headers to follow. X is anything, as are the cells.
    pub deep: Label,
    /// Neither IP nor ARP. X is anything.
    pub other: Label,
}

/// Emits the walk.
pub(in crate::capture) fn emit(to: &mut Assembler, start: Start, exits: Exits) {
    let (headed, ethernet, protocol) = (to.label(), to.label(), to.label());
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
    to.goto(protocol);
    to.place(ethernet);
    to.load_x_constant(14);
    to.load_at(Size::Half, 12);

    to.place(protocol);
    let tunnels = Tunnels { udp: to.label(), ipv4: to.label(), ipv6: to.label(), gre: to.label() };
    let outer = Level {
        short: None,
        arp: exits.arp,
        other: exits.other,
        nested: exits.other,
        udp: tunnels.udp,
        ipv4: tunnels.ipv4,
        ipv6: tunnels.ipv6,
        gre: tunnels.gre,
    };
    let (four, six) = (to.label(), to.label());
    link(to, outer, four, six);
    network(to, outer, exits, four, six);

    let inner =
        Inner { ethernet: to.label(), ethertype: to.label(), four: to.label(), six: to.label(), short: to.label() };
    open(to, tunnels, inner, exits.udp);
    to.place(inner.ethernet);
    room(to, 14, inner.short);
    next_ethertype(to, 12);
    to.place(inner.ethertype);
    let arp = to.label();
    let level = Level {
        short: Some(inner.short),
        arp,
        other: inner.short,
        nested: exits.deep,
        udp: exits.inner_udp,
        ipv4: exits.unread,
        ipv6: exits.unread,
        gre: exits.unread,
    };
    link(to, level, inner.four, inner.six);
    to.place(arp);
    room(to, 28, inner.short);
    to.goto(exits.arp);
    network(to, level, exits, inner.four, inner.six);

    // What cannot be read is a closed tunnel, or the datagram that it looks like from outside.
    to.place(inner.short);
    to.load_cell(cell::OUTER_NETWORK);
    to.store(cell::NETWORK);
    to.load_cell(cell::OUTER_FAMILY);
    to.store(cell::FAMILY);
    to.load_cell(cell::OUTER_UDP);
    to.branch(If::Equal, 0, exits.unread);
    to.tax();
    to.goto(exits.udp);
}

/// What is different outside and inside of a tunnel.
#[derive(Clone, Copy)]
struct Level {
    /// Where a packet leads that is too short for what it should hold; outside it may end the program.
    short: Option<Label>,
    arp: Label,
    other: Label,
    /// Where more tags lead than are followed.
    nested: Label,
    udp: Label,
    ipv4: Label,
    ipv6: Label,
    gre: Label,
}

/// Through all that may stand before IP, from the ethertype in A, X being what is behind it. Falls through to nowhere.
fn link(to: &mut Assembler, level: Level, four: Label, six: Label) {
    let (mpls, pppoe) = (to.label(), to.label());
    for _ in 0..if level.short.is_some() { INNER_LAYERS } else { LAYERS } {
        named(to, level, four, six);
        let (tag, vn_tag, metadata, fabric, llc, next) =
            (to.label(), to.label(), to.label(), to.label(), to.label(), to.label());
        to.one_of(&[0x8100, 0x88a8, u32::from(kind::OLD_TAG)], tag);
        to.branch(If::Equal, u32::from(kind::PPPOE), pppoe);
        to.one_of(&[u32::from(kind::MPLS), u32::from(kind::MPLS_MULTICAST)], mpls);
        to.branch(If::Equal, u32::from(kind::VN_TAG), vn_tag);
        to.branch(If::Equal, u32::from(kind::CISCO_METADATA), metadata);
        to.branch(If::Equal, u32::from(kind::FABRICPATH), fabric);
        to.branch(If::Greater, u32::from(kind::LAST_LENGTH), level.other);
        to.goto(llc);

        to.place(tag);
        next_ethertype(to, 2);
        to.goto(next);
        to.place(vn_tag);
        next_ethertype(to, 4);
        to.goto(next);
        to.place(fabric);
        next_ethertype(to, 2 + 12);
        to.goto(next);
        to.place(metadata);
        to.load(Size::Byte, 1);
        to.op(Op::Shl, 2);
        to.op_x(Op::Add);
        to.tax();
        next_ethertype(to, 2);
        to.goto(next);
        to.place(llc);
        let (snap, ethernet) = (to.label(), to.label());
        to.load(Size::Word, 0);
        to.branch(If::Equal, 0xaaaa_0300, snap);
        to.goto(level.other);
        to.place(snap);
        to.load(Size::Half, 4);
        to.one_of(&[0, 0xf8], ethernet);
        to.goto(level.other);
        to.place(ethernet);
        next_ethertype(to, 6);
        to.place(next);
    }
    named(to, level, four, six);
    to.goto(level.nested);

    to.place(pppoe);
    let (session, long, four_long, six_long) = (to.label(), to.label(), to.label(), to.label());
    let (four_short, six_short) = (to.label(), to.label());
    to.load(Size::Half, 0);
    to.branch(If::Equal, 0x1100, session);
    to.goto(level.other);
    to.place(session);
    to.load(Size::Byte, 6);
    to.branch(If::Equal, 0x21, four_short);
    to.branch(If::Equal, 0x57, six_short);
    to.branch(If::Equal, 0, long);
    to.goto(level.other);
    to.place(long);
    to.load(Size::Byte, 7);
    to.branch(If::Equal, 0x21, four_long);
    to.branch(If::Equal, 0x57, six_long);
    to.goto(level.other);
    for (label, length, network) in
        [(four_short, 7, four), (six_short, 7, six), (four_long, 8, four), (six_long, 8, six)]
    {
        to.place(label);
        to.advance(length);
        to.goto(network);
    }

    to.place(mpls);
    let bottom = to.label();
    for _ in 0..LABELS {
        to.load(Size::Byte, 2);
        to.branch(If::AnyBit, 1, bottom);
        to.advance(4);
    }
    to.goto(level.other);
    to.place(bottom);
    to.advance(4);
    to.load(Size::Byte, 0);
    to.op(Op::And, 0xf0);
    to.branch(If::Equal, 0x40, four);
    to.branch(If::Equal, 0x60, six);
    to.goto(level.other);
}

/// To where the ethertype in A leads, if it is one of those that the walk is for.
fn named(to: &mut Assembler, level: Level, four: Label, six: Label) {
    to.branch(If::Equal, 0x0800, four);
    to.branch(If::Equal, 0x86dd, six);
    to.branch(If::Equal, 0x0806, level.arp);
}

/// From the network headers to the exits.
fn network(to: &mut Assembler, level: Level, exits: Exits, four: Label, six: Label) {
    let (transport, first) = (to.label(), to.label());
    // Behind these, the transport's header is known to be there as far as the exits read it.
    let (tcp, udp, icmp, icmpv6) = (to.label(), to.label(), to.label(), to.label());
    let ends = Ends { tcp, udp, icmp, icmpv6 };

    let (part, begins) = (to.label(), to.label());
    to.place(four);
    if let Some(short) = level.short {
        let versioned = to.label();
        room(to, 20, short);
        to.load(Size::Byte, 0);
        to.branch(If::Greater, 0x4f, short);
        to.branch(If::AtLeast, 0x45, versioned);
        to.goto(short);
        to.place(versioned);
    }
    to.store_x(cell::NETWORK);
    to.load_constant(4);
    to.store(cell::FAMILY);
    to.load(Size::Half, 6);
    to.branch(If::AnyBit, 0x3fff, part);
    ipv4(to, level);
    if let Some(short) = level.short {
        left(to, 0, short);
        room(to, 0, short);
        to.load_cell(cell::SPARE);
    }
    to.goto(transport);
    to.place(part);
    to.op(Op::And, 0x1fff);
    to.branch(If::Equal, 0, begins);
    to.branch(If::Equal, 1, exits.fragment);
    to.goto(exits.other_ip);
    to.place(begins);
    ipv4(to, level);
    to.goto(first);

    to.place(six);
    if let Some(short) = level.short {
        let versioned = to.label();
        room(to, 40, short);
        to.load(Size::Byte, 0);
        to.op(Op::And, 0xf0);
        to.branch(If::Equal, 0x60, versioned);
        to.goto(short);
        to.place(versioned);
    }
    to.store_x(cell::NETWORK);
    ipv6(to, level);
    to.place(transport);
    for _ in 0..if level.short.is_some() { INNER_EXTENSIONS } else { EXTENSIONS } {
        transports(to, level, exits, ends);
        extension(to, exits, first);
    }
    transports(to, level, exits, ends);
    to.goto(exits.deep);

    to.place(first);
    first_fragment(to, level, exits, ends);
    if let Some(short) = level.short {
        for (label, needed, exit) in
            [(tcp, 20, None), (udp, 8, Some(level.udp)), (icmp, 8, Some(exits.icmp)), (icmpv6, 8, Some(exits.icmpv6))]
        {
            to.place(label);
            left(to, needed, short);
            room(to, needed, short);
            if let Some(exit) = exit {
                to.goto(exit);
                continue;
            }
            let long = to.label();
            payload(to);
            to.load_cell(cell::PAYLOAD);
            to.branch(If::AnyBit, NEGATIVE, short);
            to.load_cell(cell::HEADER);
            to.branch(If::AtLeast, 20, long);
            to.goto(short);
            to.place(long);
            to.goto(exits.tcp);
        }
    } else {
        for (label, exit) in [(tcp, exits.tcp), (udp, level.udp), (icmp, exits.icmp), (icmpv6, exits.icmpv6)] {
            to.place(label);
            to.goto(exit);
        }
    }
}

#[derive(Clone, Copy)]
struct Ends {
    tcp: Label,
    udp: Label,
    icmp: Label,
    icmpv6: Label,
}

/// From the IPv4 header at X to A = protocol, X = the header behind.
fn ipv4(to: &mut Assembler, level: Level) {
    length(to, level, 2, 0);
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
fn ipv6(to: &mut Assembler, level: Level) {
    to.load_constant(6);
    to.store(cell::FAMILY);
    length(to, level, 4, 40);
    to.load(Size::Byte, 6);
    to.store(cell::SPARE);
    to.advance(40);
    to.load_cell(cell::SPARE);
}

/// LEFT = the length field at X + `offset`; where segmentation offload left it empty, what the frame holds behind X
/// and `header`, or the outer packet where a tunnel's is walked.
fn length(to: &mut Assembler, level: Level, offset: u32, header: u32) {
    let (empty, known) = (to.label(), to.label());
    to.load(Size::Half, offset);
    to.branch(If::Equal, 0, empty);
    to.goto(known);
    to.place(empty);
    if level.short.is_some() {
        to.load_cell(cell::OUTER_END);
    } else {
        to.load_length();
    }
    to.op_x(Op::Sub);
    to.op(Op::Sub, header);
    to.place(known);
    to.store(cell::LEFT);
}

/// To where the protocol that A names leads, if it is no extension header.
fn transports(to: &mut Assembler, level: Level, exits: Exits, ends: Ends) {
    to.branch(If::Equal, 6, ends.tcp);
    to.branch(If::Equal, 17, ends.udp);
    to.branch(If::Equal, 1, ends.icmp);
    to.branch(If::Equal, 58, ends.icmpv6);
    to.branch(If::Equal, 4, level.ipv4);
    to.branch(If::Equal, 41, level.ipv6);
    to.branch(If::Equal, 47, level.gre);
    to.branch(If::Equal, 132, exits.sctp);
    to.one_of(&[50, 115], exits.closed);
}

/// On from the header behind the first of several fragments: to the transport, if all of its header is there.
fn first_fragment(to: &mut Assembler, level: Level, exits: Exits, ends: Ends) {
    let (tcp, udp, icmp, icmpv6) = (to.label(), to.label(), to.label(), to.label());
    let tunnels =
        [(4, level.ipv4), (41, level.ipv6), (47, level.gre)].map(|(protocol, exit)| (protocol, exit, to.label()));
    to.branch(If::Equal, 6, tcp);
    to.branch(If::Equal, 17, udp);
    to.branch(If::Equal, 1, icmp);
    to.branch(If::Equal, 58, icmpv6);
    for (protocol, _, label) in tunnels {
        to.branch(If::Equal, protocol, label);
    }
    to.branch(If::Equal, 132, exits.sctp);
    to.one_of(&[50, 115], exits.closed);
    // More extension headers: whether they end here is for user space to see.
    to.one_of(&[0, 43, 44, 51, 60], exits.deep);
    to.goto(exits.other_ip);
    for (label, needed, exit) in [(udp, 8, ends.udp), (icmp, 8, ends.icmp), (icmpv6, 8, ends.icmpv6)] {
        to.place(label);
        left(to, needed, exits.fragment);
        to.goto(exit);
    }
    for (_, exit, label) in tunnels {
        to.place(label);
        left(to, HEADERS, exits.fragment);
        to.goto(exit);
    }
    to.place(tcp);
    left(to, 20, exits.fragment);
    payload(to);
    to.load_cell(cell::PAYLOAD);
    to.branch(If::AnyBit, NEGATIVE, exits.fragment);
    to.goto(ends.tcp);
}

/// Over the extension header at X, whose protocol is A, to the next: A = its protocol.
fn extension(to: &mut Assembler, exits: Exits, first: Label) {
    let (options, fragment, authentication, step) = (to.label(), to.label(), to.label(), to.label());
    to.one_of(&[0, 43, 60], options);
    to.branch(If::Equal, 44, fragment);
    to.branch(If::Equal, 51, authentication);
    to.goto(exits.other_ip);

    to.place(fragment);
    let (later, several) = (to.label(), to.label());
    to.load(Size::Half, 2);
    to.branch(If::AnyBit, 0xfff8, later);
    to.branch(If::AnyBit, 1, several);
    to.load_constant(8);
    to.goto(step);
    to.place(later);
    to.op(Op::And, 0xfff8);
    to.branch(If::Equal, 8, exits.fragment);
    to.goto(exits.other_ip);
    to.place(several);
    to.load_cell(cell::LEFT);
    to.op(Op::Sub, 8);
    to.store(cell::LEFT);
    to.load(Size::Byte, 0);
    to.store(cell::SPARE);
    to.advance(8);
    to.load_cell(cell::SPARE);
    to.goto(first);
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
