//! An assembler for classic BPF: instructions, labels, and jumps as far as they need to go.
//!
//! Jumps go forward only. A conditional jump reaches 255 instructions; where its label is farther, a plain jump, which
//! reaches anywhere, is put behind it.

use std::collections::HashMap;

use crate::sys::packet::Instruction;

// Classes.
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;
// Modes.
const IMMEDIATE: u16 = 0x00;
const ABSOLUTE: u16 = 0x20;
const INDIRECT: u16 = 0x40;
const MEMORY: u16 = 0x60;
const LENGTH: u16 = 0x80;
/// The operand is X, not the constant.
const BY_X: u16 = 0x08;
const RETURN_A: u16 = 0x10;
const TAX: u16 = 0x00;
const TXA: u16 = 0x80;

/// How much a load takes, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

/// An arithmetic operation on A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    And = 0x50,
    Shl = 0x60,
    Shr = 0x70,
    Xor = 0xa0,
}

/// A condition on A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum If {
    Equal = 0x10,
    Greater = 0x20,
    AtLeast = 0x30,
    AnyBit = 0x40,
}

/// What the kernel knows of a frame besides its bytes (SKF_AD_*, linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Ancillary {
    Protocol = 0,
    PacketType = 4,
    Interface = 8,
    Hardware = 28,
    /// A random number.
    Random = 56,
}

impl Ancillary {
    /// Ancillary loads are absolute loads at offsets that no frame has.
    pub(in crate::capture) const BASE: u32 = 0xffff_f000;
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::capture) struct Label(usize);

enum Item {
    Plain(Instruction),
    /// To `yes` if the condition holds, to the next instruction if not.
    Branch {
        condition: If,
        k: u32,
        yes: Label,
    },
    Goto(Label),
    Place(Label),
}

/// A program under construction.
#[derive(Default)]
pub(in crate::capture) struct Assembler {
    items: Vec<Item>,
    labels: usize,
}

impl Assembler {
    /// A label to be placed later.
    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Places `label` before the next instruction.
    pub fn place(&mut self, label: Label) {
        self.items.push(Item::Place(label));
    }

    fn plain(&mut self, code: u16, k: u32) {
        self.items.push(Item::Plain(Instruction { code, jump_true: 0, jump_false: 0, k }));
    }

    /// A = the frame's bytes at `offset`.
    pub fn load_at(&mut self, size: Size, offset: u32) {
        self.plain(LD | ABSOLUTE | size as u16, offset);
    }

    /// A = the frame's bytes at X + `offset`.
    pub fn load(&mut self, size: Size, offset: u32) {
        self.plain(LD | INDIRECT | size as u16, offset);
    }

    /// A = what the kernel knows.
    pub fn load_ancillary(&mut self, what: Ancillary) {
        self.plain(LD | ABSOLUTE | Size::Word as u16, Ancillary::BASE + what as u32);
    }

    /// A = the frame's length.
    pub fn load_length(&mut self) {
        self.plain(LD | LENGTH, 0);
    }

    /// A = a constant.
    pub fn load_constant(&mut self, k: u32) {
        self.plain(LD | IMMEDIATE, k);
    }

    /// A = a memory cell.
    pub fn load_cell(&mut self, cell: u32) {
        self.plain(LD | MEMORY, cell);
    }

    /// X = a memory cell.
    pub fn load_x_cell(&mut self, cell: u32) {
        self.plain(LDX | MEMORY, cell);
    }

    /// X = a constant.
    pub fn load_x_constant(&mut self, k: u32) {
        self.plain(LDX | IMMEDIATE, k);
    }

    /// A memory cell = A.
    pub fn store(&mut self, cell: u32) {
        self.plain(ST, cell);
    }

    /// A memory cell = X.
    pub fn store_x(&mut self, cell: u32) {
        self.plain(STX, cell);
    }

    /// A = A op a constant.
    pub fn op(&mut self, op: Op, k: u32) {
        self.plain(ALU | op as u16, k);
    }

    /// A = A op X.
    pub fn op_x(&mut self, op: Op) {
        self.plain(ALU | op as u16 | BY_X, 0);
    }

    /// X = A.
    pub fn tax(&mut self) {
        self.plain(MISC | TAX, 0);
    }

    /// A = X.
    pub fn txa(&mut self) {
        self.plain(MISC | TXA, 0);
    }

    /// X = X + a constant; A is lost.
    pub fn advance(&mut self, by: u32) {
        self.txa();
        self.op(Op::Add, by);
        self.tax();
    }

    /// To `yes` if A fulfils the condition, on if not.
    pub fn branch(&mut self, condition: If, k: u32, yes: Label) {
        self.items.push(Item::Branch { condition, k, yes });
    }

    /// To `label`.
    pub fn goto(&mut self, label: Label) {
        self.items.push(Item::Goto(label));
    }

    /// Ends with a constant.
    pub fn give(&mut self, k: u32) {
        self.plain(RET, k);
    }

    /// Ends with A.
    pub fn give_a(&mut self) {
        self.plain(RET | RETURN_A, 0);
    }

    /// To `yes` if A is one of `values`, which are sorted and distinct; on if not.
    pub fn one_of(&mut self, values: &[u32], yes: Label) {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &value in values {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == value => *last = value,
                _ => runs.push((value, value)),
            }
        }
        self.in_one_of(&runs, yes);
    }

    fn in_one_of(&mut self, runs: &[(u32, u32)], yes: Label) {
        const FEW: usize = 6;
        const LEAF: usize = 12;
        if runs.len() <= FEW {
            self.each_of(runs, yes);
            return;
        }
        if runs.len() <= LEAF {
            // One jump to a far label instead of as many as there are values.
            let (near, done) = (self.label(), self.label());
            self.each_of(runs, near);
            self.goto(done);
            self.place(near);
            self.goto(yes);
            self.place(done);
            return;
        }
        // A binary search keeps long port lists cheap.
        let (low, high) = runs.split_at(runs.len() / 2);
        let (upper, done) = (self.label(), self.label());
        self.branch(If::AtLeast, high.first().map_or(u32::MAX, |&(first, _)| first), upper);
        self.in_one_of(low, yes);
        self.goto(done);
        self.place(upper);
        self.in_one_of(high, yes);
        self.place(done);
    }

    fn each_of(&mut self, runs: &[(u32, u32)], yes: Label) {
        for &(first, last) in runs {
            if first == last {
                self.branch(If::Equal, first, yes);
            } else {
                let above = self.label();
                self.branch(If::Greater, last, above);
                self.branch(If::AtLeast, first, yes);
                self.place(above);
            }
        }
    }

    /// A = the value whose key is A, on at the end of this; to `none` if there is none. `values` are sorted by their keys,
    /// which are distinct.
    pub fn look_up(&mut self, values: &[(u32, u32)], none: Label) {
        let found = self.label();
        self.search(values, none, found);
        self.place(found);
    }

    fn search(&mut self, values: &[(u32, u32)], none: Label, found: Label) {
        match values {
            [] => self.goto(none),
            &[(key, value)] => {
                let here = self.label();
                self.branch(If::Equal, key, here);
                self.goto(none);
                self.place(here);
                self.load_constant(value);
                self.goto(found);
            }
            _ => {
                let (low, high) = values.split_at(values.len() / 2);
                let upper = self.label();
                self.branch(If::AtLeast, high.first().map_or(u32::MAX, |&(first, _)| first), upper);
                self.search(low, none, found);
                self.place(upper);
                self.search(high, none, found);
            }
        }
    }

    /// The finished program. It is laid out from its end, so that every jump's distance is known when it is met.
    pub fn finish(self) -> Vec<Instruction> {
        let mut backwards: Vec<Instruction> = Vec::with_capacity(self.items.len());
        let mut places: HashMap<Label, usize> = HashMap::new();
        for item in self.items.into_iter().rev() {
            let here = backwards.len();
            let far = |label| {
                debug_assert!(places.contains_key(&label), "a jump back, or to nowhere");
                u32::try_from(here - places.get(&label).copied().unwrap_or(here)).unwrap_or(u32::MAX)
            };
            match item {
                Item::Plain(instruction) => backwards.push(instruction),
                Item::Place(label) => {
                    places.insert(label, here);
                }
                Item::Goto(label) => match far(label) {
                    // Where the label comes next anyway, falling through is enough.
                    0 => {}
                    k => backwards.push(Instruction { code: JMP, jump_true: 0, jump_false: 0, k }),
                },
                Item::Branch { condition, k, yes } => {
                    let code = JMP | condition as u16;
                    let distance = far(yes);
                    if let Ok(jump_true) = u8::try_from(distance) {
                        backwards.push(Instruction { code, jump_true, jump_false: 0, k });
                    } else {
                        backwards.push(Instruction { code: JMP, jump_true: 0, jump_false: 0, k: distance });
                        backwards.push(Instruction { code, jump_true: 0, jump_false: 1, k });
                    }
                }
            }
        }
        backwards.reverse();
        backwards
    }
}
