//! What stands behind the walk: the payload of TCP, and addresses folded into one word.

use super::assembler::{Assembler, If, Label, Op, Size};
use super::cells::cell;
use crate::inspect::opening::{Field, Opening, Test, Width};

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

/// To `yes`, with X at the payload, if what stands behind the TCP header at X begins so; on if not. X is anything then.
pub(in crate::capture) fn begins(to: &mut Assembler, opening: &Opening, yes: Label) {
    let (long, no) = (to.label(), to.label());
    to.load_cell(cell::PAYLOAD);
    to.branch(If::AtLeast, u32::try_from(opening.length).unwrap_or(u32::MAX), long);
    to.goto(no);
    to.place(long);
    to.load_cell(cell::HEADER);
    to.op_x(Op::Add);
    to.tax();
    for field in opening.fields {
        let holds = to.label();
        load_field(to, field);
        match field.test {
            Test::OneOf(values) => to.one_of(values, holds),
            Test::AtMost(most) => {
                to.branch(If::Greater, most, no);
                to.goto(holds);
            }
        }
        to.goto(no);
        to.place(holds);
    }
    to.goto(yes);
    to.place(no);
}

/// A = a field of the payload at X.
pub(in crate::capture) fn load_field(to: &mut Assembler, field: &Field) {
    let size = match field.width {
        Width::Byte => Size::Byte,
        Width::Half => Size::Half,
        Width::Word => Size::Word,
    };
    to.load(size, u32::try_from(field.at).unwrap_or(u32::MAX));
}

/// A = the two words of the /64 of an IPv6 address at X + `offset`, folded by exclusive or.
pub(in crate::capture) fn fold_network(to: &mut Assembler, offset: u32) {
    to.load(Size::Word, offset);
    to.store(cell::FREE);
    to.load(Size::Word, offset + 4);
    to.load_x_cell(cell::FREE);
    to.op_x(Op::Xor);
}

/// A = the four words of an IPv6 address at X + `offset`, folded by exclusive or.
pub(in crate::capture) fn fold(to: &mut Assembler, offset: u32) {
    const WORDS: [u32; 3] = [cell::FREE, cell::FREE + 1, cell::FREE + 2];
    for (cell, word) in WORDS.into_iter().zip(0..) {
        to.load(Size::Word, offset + 4 * word);
        to.store(cell);
    }
    to.load(Size::Word, offset + 12);
    for cell in WORDS {
        to.load_x_cell(cell);
        to.op_x(Op::Xor);
    }
}
