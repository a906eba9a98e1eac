//! Classic BPF as the kernel runs it, for tests. It insists on more than the kernel's checker: a cell that is read
//! before it was written, or a program that does not end, is a failed test.

use super::assembler::Ancillary;
use crate::sys::packet::Instruction;

/// A frame as a program sees it.
#[derive(Clone, Debug, Default)]
pub(in crate::capture) struct Skb<'a> {
    pub bytes: &'a [u8],
    pub interface: u32,
    pub packet_type: u32,
    pub hardware: u32,
    pub protocol: u32,
    /// What the kernel would draw.
    pub random: u32,
}

/// The program's result.
pub(in crate::capture) fn run(program: &[Instruction], skb: &Skb<'_>) -> u32 {
    assert!(program.len() <= 4096, "the kernel takes no more");
    let (mut a, mut x) = (0_u32, 0_u32);
    let mut cells = [None; 16];
    let mut at = 0;
    let load = |offset: u64, size: u16| -> Option<u32> {
        let length = match size {
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        let start = usize::try_from(offset).ok()?;
        let bytes = skb.bytes.get(start..start.checked_add(length)?)?;
        Some(bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    };
    loop {
        let Instruction { code, jump_true, jump_false, k } = program[at];
        at += 1;
        match code & 0x07 {
            0x00 => {
                a = match code & 0xe0 {
                    0x00 => k,
                    0x20 if k >= Ancillary::BASE => match k - Ancillary::BASE {
                        0 => skb.protocol,
                        4 => skb.packet_type,
                        8 => skb.interface,
                        28 => skb.hardware,
                        56 => skb.random,
                        other => panic!("ancillary {other}"),
                    },
                    0x20 => match load(u64::from(k), code & 0x18) {
                        Some(value) => value,
                        None => return 0,
                    },
                    0x40 => match load(u64::from(k) + u64::from(x), code & 0x18) {
                        Some(value) => value,
                        None => return 0,
                    },
                    0x60 => cells[k as usize].expect("a cell is written before it is read"),
                    0x80 => u32::try_from(skb.bytes.len()).unwrap(),
                    other => panic!("load mode {other:#x}"),
                }
            }
            0x01 => {
                x = match code & 0xe0 {
                    0x00 => k,
                    0x60 => cells[k as usize].expect("a cell is written before it is read"),
                    other => panic!("load mode {other:#x}"),
                }
            }
            0x02 => cells[k as usize] = Some(a),
            0x03 => cells[k as usize] = Some(x),
            0x04 => {
                let by = if code & 0x08 != 0 { x } else { k };
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(by),
                    0x10 => a.wrapping_sub(by),
                    0x20 => a.wrapping_mul(by),
                    0x50 => a & by,
                    0x60 => a << by,
                    0x70 => a >> by,
                    0xa0 => a ^ by,
                    other => panic!("operation {other:#x}"),
                }
            }
            0x05 => {
                let holds = match code & 0xf0 {
                    0x00 => {
                        at += k as usize;
                        continue;
                    }
                    0x10 => a == k,
                    0x20 => a > k,
                    0x30 => a >= k,
                    0x40 => a & k != 0,
                    other => panic!("condition {other:#x}"),
                };
                at += usize::from(if holds { jump_true } else { jump_false });
            }
            0x06 => return if code & 0x18 == 0x10 { a } else { k },
            _ => match code & 0xf8 {
                0x00 => x = a,
                _ => a = x,
            },
        }
    }
}
