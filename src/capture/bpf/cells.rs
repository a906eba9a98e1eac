//! What the parts of the walk share: memory cells, and how far a packet reaches.

use super::assembler::{Assembler, If, Label, Op, Size};

/// Memory cells that hold good at every exit but [`Exits::deep`] and [`Exits::other`].
pub(in crate::capture) mod cell {
    /// Offset of the network header; of a tunnel's packet, of the inner one.
    pub const NETWORK: u32 = 0;
    /// 4 or 6, at the exits behind IP.
    pub const FAMILY: u32 = 1;
    /// Bytes of IP payload on the wire from the transport header on, at the exits behind IP.
    pub const LEFT: u32 = 2;
    /// For the walk's own use.
    pub(in crate::capture::bpf) const SPARE: u32 = 3;
    /// After [`super::payload`]: offset of the TCP header, its length, and that of what follows on the wire.
    pub const TRANSPORT: u32 = 4;
    pub const HEADER: u32 = 5;
    pub const PAYLOAD: u32 = 6;
    /// The outer packet of a tunnel: its network header, its family, and its UDP header, or 0 if it has none.
    pub(in crate::capture::bpf) const OUTER_NETWORK: u32 = 7;
    pub(in crate::capture::bpf) const OUTER_FAMILY: u32 = 8;
    pub(in crate::capture::bpf) const OUTER_UDP: u32 = 9;
    /// The first cell that is the program's own once the walk is over.
    pub const FREE: u32 = 10;
    /// While the walk lasts: where the outer packet of a tunnel ends.
    pub(in crate::capture::bpf) const OUTER_END: u32 = FREE + 1;
}

pub(super) const NEGATIVE: u32 = 0x8000_0000;

/// A = the ethertype at X + `offset`, X = what is behind it.
pub(super) fn next_ethertype(to: &mut Assembler, offset: u32) {
    to.load(Size::Half, offset);
    to.store(cell::SPARE);
    to.advance(offset + 2);
    to.load_cell(cell::SPARE);
}

/// On if the frame holds `needed` bytes from X on, to `short` if not. A is lost.
pub(in crate::capture) fn room(to: &mut Assembler, needed: u32, short: Label) {
    let enough = to.label();
    to.load_length();
    to.op_x(Op::Sub);
    to.branch(If::AnyBit, NEGATIVE, short);
    to.branch(If::AtLeast, needed, enough);
    to.goto(short);
    to.place(enough);
}

/// On if LEFT is `needed` at least, to `short` if not. A is lost.
pub(super) fn left(to: &mut Assembler, needed: u32, short: Label) {
    let enough = to.label();
    to.load_cell(cell::LEFT);
    to.branch(If::AnyBit, NEGATIVE, short);
    to.branch(If::AtLeast, needed, enough);
    to.goto(short);
    to.place(enough);
}
