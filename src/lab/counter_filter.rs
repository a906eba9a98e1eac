//! Programs for a packet socket that gets only what a measurement is about, so that a flood beside it cannot drown it.
//!
//! They read plain frames as the lab sends them: Ethernet, no VLAN tag, no IP options or extension headers.

use std::net::{IpAddr, Ipv4Addr};

use crate::sys::packet::Instruction;

/// Where things stand in a frame (RFC 791, RFC 8200, RFC 9293).
mod at {
    pub const ETHERTYPE: u32 = 12;
    pub const V4_SOURCE: u32 = 26;
    pub const V4_DESTINATION: u32 = 30;
    pub const V4_PORT: u32 = 36;
    pub const V6_SOURCE: u32 = 22;
    pub const V6_NEXT: u32 = 20;
}

const ARP: u32 = 0x0806;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ICMPV6: u32 = 58;
const WHOLE: u32 = 0xffff;

const fn load(size: u16, offset: u32) -> Instruction {
    Instruction { code: size | 0x20, jump_true: 0, jump_false: 0, k: offset }
}

const fn word(offset: u32) -> Instruction {
    load(0x00, offset)
}

const fn half(offset: u32) -> Instruction {
    load(0x08, offset)
}

const fn byte(offset: u32) -> Instruction {
    load(0x10, offset)
}

/// Goes on if A is `value`, else skips so many instructions.
const fn or_skip(value: u32, skip: u8) -> Instruction {
    Instruction { code: 0x15, jump_true: 0, jump_false: skip, k: value }
}

const fn give(length: u32) -> Instruction {
    Instruction { code: 0x06, jump_true: 0, jump_false: 0, k: length }
}

/// Questions for an address (ARP, ICMPv6), and whatever these sources send. Some thirty sources are the most.
#[must_use]
pub fn from(sources: &[IpAddr]) -> Vec<Instruction> {
    let mut program = vec![half(at::ETHERTYPE), or_skip(ARP, 1), give(WHOLE)];
    program.extend([or_skip(IPV6, 3), byte(at::V6_NEXT), or_skip(ICMPV6, 1), give(WHOLE)]);
    for source in sources {
        match source {
            IpAddr::V4(v4) => program.extend([
                half(at::ETHERTYPE),
                or_skip(IPV4, 3),
                word(at::V4_SOURCE),
                or_skip(v4.to_bits(), 1),
                give(WHOLE),
            ]),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits().to_be_bytes();
                program.extend([half(at::ETHERTYPE), or_skip(IPV6, 9)]);
                for (offset, left, four) in bits.chunks_exact(4).enumerate().filter_map(|(n, four)| {
                    let number = u32::try_from(n).ok()?;
                    Some((at::V6_SOURCE + number * 4, 7 - u8::try_from(n).ok()? * 2, <[u8; 4]>::try_from(four).ok()?))
                }) {
                    program.extend([word(offset), or_skip(u32::from_be_bytes(four), left)]);
                }
                program.push(give(WHOLE));
            }
        }
    }
    program.push(give(0));
    program
}

/// What goes from one address to one port of another.
#[must_use]
pub fn way(from: Ipv4Addr, to: (Ipv4Addr, u16)) -> Vec<Instruction> {
    vec![
        half(at::ETHERTYPE),
        or_skip(IPV4, 7),
        word(at::V4_SOURCE),
        or_skip(from.to_bits(), 5),
        word(at::V4_DESTINATION),
        or_skip(to.0.to_bits(), 3),
        half(at::V4_PORT),
        or_skip(to.1.into(), 1),
        give(WHOLE),
        give(0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Mac;
    use crate::wire::build::{self, End};

    /// Runs a program of the few kinds of instructions that are used here.
    fn takes(program: &[Instruction], frame: &[u8]) -> bool {
        let (mut at, mut a) = (0, 0);
        loop {
            let Instruction { code, jump_true, jump_false, k } = program[at];
            let place = k as usize;
            at += 1;
            match code {
                0x20 => a = u32::from_be_bytes(frame[place..place + 4].try_into().unwrap()),
                0x28 => a = u32::from(u16::from_be_bytes(frame[place..place + 2].try_into().unwrap())),
                0x30 => a = u32::from(frame[place]),
                0x15 => at += usize::from(if a == k { jump_true } else { jump_false }),
                0x06 => return k > 0,
                _ => panic!("{code:#x}"),
            }
        }
    }

    fn end(ip: &str) -> End {
        End { mac: Mac([2, 0, 0, 0, 0, 9]), ip: ip.parse().unwrap() }
    }

    #[test]
    fn only_the_named_sources_and_questions_are_heard() {
        let sources = ["10.66.0.66", "fd66::66", "10.66.0.67"].map(|text| text.parse().unwrap());
        let program = from(&sources);
        let mut frame = [0; build::LONGEST];
        for (source, to, heard) in [
            ("10.66.0.66", "10.66.3.9", true),
            ("10.66.0.67", "10.66.3.9", true),
            ("10.66.0.68", "10.66.3.9", false),
            ("fd66::66", "fd66::9", true),
            ("fd66:0:0:1::66", "fd66::9", false),
            ("fd66::67", "fd66::9", false),
        ] {
            build::syn(&mut frame, end(source), end(to), (50_000, 445), 7).unwrap();
            assert_eq!(takes(&program, &frame), heard, "{source}");
            build::ask(&mut frame, end(source), to.parse().unwrap()).unwrap();
            assert!(takes(&program, &frame), "a question by {source}");
        }
    }

    #[test]
    fn a_way_is_one_source_one_destination_one_port() {
        let program = way("10.66.1.10".parse().unwrap(), ("10.66.3.9".parse().unwrap(), 445));
        let mut frame = [0; build::LONGEST];
        for (source, to, port, heard) in [
            ("10.66.1.10", "10.66.3.9", 445, true),
            ("10.66.1.11", "10.66.3.9", 445, false),
            ("10.66.1.10", "10.66.3.8", 445, false),
            ("10.66.1.10", "10.66.3.9", 80, false),
        ] {
            build::syn(&mut frame, end(source), end(to), (50_000, port), 7).unwrap();
            assert_eq!(takes(&program, &frame), heard, "{source} to {to}:{port}");
        }
    }
}
