//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each with interfaces of its own.
//!
//! Packets are read from enhanced, simple and the obsolete packet blocks; of options, only an interface's time
//! resolution and offset matter here. All other blocks are passed over, whatever their size.

use super::batch::{Batch, Fault, Notice};
use super::link_type;
use super::window::{LARGEST_RECORD, Window};
use crate::time::Timestamp;
use crate::wire::frame::{Direction, LinkKind, Meta};

/// The block type of a section header, the same in both byte orders; every pcapng file begins with it.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// More interfaces than any real capture; a hostile one could declare one in every twenty bytes.
const INTERFACES: usize = 1 << 16;

/// Nanoseconds from an interface's time units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// Units are coarser than nanoseconds, or the same: multiply.
    Times(u64),
    /// Units are finer: divide.
    Divided(u64),
    /// So many bits are the fraction of a second.
    Binary(u32),
}

impl Resolution {
    /// Option `if_tsresol`: a power of ten, or of two with the highest bit set.
    fn from_option(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 != 0 {
            Resolution::Binary(exponent)
        } else if exponent <= 9 {
            Resolution::Times(10_u64.pow(9 - exponent))
        } else {
            // Past 10^-28 s, sixty-four bits hold no whole nanosecond.
            10_u64.checked_pow(exponent - 9).map_or(Resolution::Times(0), Resolution::Divided)
        }
    }

    fn nanos(self, units: u64) -> u64 {
        match self {
            Resolution::Times(factor) => units.saturating_mul(factor),
            Resolution::Divided(divisor) => units / divisor,
            Resolution::Binary(bits) => {
                u64::try_from((u128::from(units) * 1_000_000_000).checked_shr(bits).unwrap_or(0)).unwrap_or(u64::MAX)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    number: u16,
    link: Option<LinkKind>,
    snap: u32,
    resolution: Resolution,
    /// Seconds to add to every time.
    offset: i64,
    /// Frames passed over for want of a known link type.
    skipped: u64,
}

/// The reader of one pcapng file.
pub(super) struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Where the current section's interfaces begin.
    section: usize,
    /// For simple packet blocks, which carry no time.
    last: Timestamp,
}

/// A packet block's fields in common.
struct Fields<'a> {
    interface: u32,
    /// In units of the interface; `None` where the block carries none.
    time: Option<u64>,
    captured: u32,
    original: u32,
    rest: &'a [u8],
}

impl PcapNg {
    /// Reads the first section header.
    pub fn open(window: &mut Window) -> Result<Self, Fault> {
        let mut reader = PcapNg { big_endian: false, interfaces: Vec::new(), section: 0, last: Timestamp::ZERO };
        if !window.fill(12)? {
            let found = window.bytes().len();
            return Err(Fault::Damaged(format!("it ends after {found} bytes, within the pcapng section header")));
        }
        // Leaves the block where it is: reading starts with it.
        reader.byte_order(window.bytes())?;
        Ok(reader)
    }

    /// What an engineer should know about the file.
    pub fn notices(&self) -> Vec<Notice> {
        let mut skipped = std::collections::BTreeMap::new();
        for interface in self.interfaces.iter().filter(|interface| interface.skipped > 0) {
            *skipped.entry(interface.number).or_insert(0) += interface.skipped;
        }
        skipped
            .into_iter()
            .map(|(number, frames)| Notice::SkippedLink { number, name: link_type::name(number), frames })
            .collect()
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Takes a 32-bit field off the front of `bytes`.
    fn take(&self, bytes: &mut &[u8]) -> Option<u32> {
        let (field, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(self.u32(*field))
    }

    /// Learns the byte order from a section header at the start of `bytes`.
    fn byte_order(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.big_endian = match bytes.get(8..12) {
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            _ => return Err(Fault::Damaged("a pcapng section header without its byte-order magic".to_owned())),
        };
        Ok(())
    }

    /// Hands over the packets of the blocks at hand; reads on first if there is none.
    pub fn read(&mut self, window: &mut Window, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Batch, Fault> {
        let mut count = 0;
        loop {
            let bytes = window.bytes();
            let mut taken = 0;
            let mut wanted = 12;
            let mut passed_over = None;
            let fault = loop {
                let rest = bytes.get(taken..).unwrap_or_default();
                match self.block(rest, each) {
                    Ok(Block::Whole { length, packet }) => {
                        taken += length;
                        count += usize::from(packet);
                    }
                    Ok(Block::Wants(length)) => {
                        wanted = length;
                        break None;
                    }
                    Ok(Block::PassOver(length)) => {
                        passed_over = Some(length);
                        break None;
                    }
                    Err(fault) => break Some(fault),
                }
            };
            window.consume(taken);
            if count > 0 {
                return Ok(Batch::Frames(count));
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            let begins = window.offset();
            let more = match passed_over {
                Some(length) => window.skip(length)?,
                None => window.fill(wanted)?,
            };
            if !more {
                let whole = window.bytes().is_empty() && passed_over.is_none();
                return Ok(if whole { Batch::End } else { Batch::Torn(begins) });
            }
        }
    }

    /// Reads the block at the start of `bytes`.
    fn block(&mut self, bytes: &[u8], each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Block, Fault> {
        let Some([k0, k1, k2, k3, l0, l1, l2, l3]) = bytes.first_chunk::<8>().copied() else {
            return Ok(Block::Wants(12));
        };
        let kind = self.u32([k0, k1, k2, k3]);
        if kind == SECTION {
            if bytes.len() < 12 {
                return Ok(Block::Wants(12));
            }
            self.byte_order(bytes)?;
        }
        let length = self.u32([l0, l1, l2, l3]) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Err(Fault::Damaged(format!("a block of type {kind:#x} claims {length} bytes, which no block has")));
        }
        if !matches!(kind, SECTION | INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
            // Whole blocks of no interest go by like others; a large one is not drawn into memory.
            return Ok(if length <= bytes.len() {
                Block::Whole { length, packet: false }
            } else {
                Block::PassOver(length as u64)
            });
        }
        if length > LARGEST_RECORD {
            return Err(Fault::Damaged(format!("a block claims {length} bytes, the most is {LARGEST_RECORD}")));
        }
        let Some((body, trailer)) = bytes.get(8..length).and_then(<[u8]>::split_last_chunk::<4>) else {
            return Ok(Block::Wants(length));
        };
        let again = self.u32(*trailer) as usize;
        if again != length {
            return Err(Fault::Damaged(format!("a block begins with length {length} and ends with {again}")));
        }
        let packet = match kind {
            SECTION => {
                self.section = self.interfaces.len();
                false
            }
            INTERFACE => {
                self.interface(body)?;
                false
            }
            _ => {
                let fields = self.fields(kind, body);
                let fields =
                    fields.ok_or_else(|| Fault::Damaged("a packet block is too short for itself".to_owned()))?;
                self.packet(&fields, each)?
            }
        };
        Ok(Block::Whole { length, packet })
    }

    /// An interface description block.
    fn interface(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Some(([n0, n1, _, _, s0, s1, s2, s3], mut options)) = body.split_first_chunk::<8>() else {
            return Err(Fault::Damaged("an interface description block is too short for itself".to_owned()));
        };
        if self.interfaces.len() >= INTERFACES {
            return Err(Fault::Damaged(format!("it declares more than {INTERFACES} interfaces")));
        }
        let number = self.u16([*n0, *n1]);
        let mut interface = Interface {
            number,
            link: link_type::kind(number),
            snap: self.u32([*s0, *s1, *s2, *s3]),
            resolution: Resolution::Times(1000),
            offset: 0,
            skipped: 0,
        };
        while let Some(([c0, c1, l0, l1], rest)) = options.split_first_chunk::<4>() {
            let (code, length) = (self.u16([*c0, *c1]), usize::from(self.u16([*l0, *l1])));
            let value = rest.get(..length).unwrap_or_default();
            match (code, value) {
                (0, _) => break,
                (9, [resolution]) => interface.resolution = Resolution::from_option(*resolution),
                (14, value) => {
                    if let Ok(value) = <[u8; 8]>::try_from(value) {
                        interface.offset =
                            if self.big_endian { i64::from_be_bytes(value) } else { i64::from_le_bytes(value) };
                    }
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The fields of a packet block of any kind.
    fn fields<'a>(&self, kind: u32, mut body: &'a [u8]) -> Option<Fields<'a>> {
        if kind == SIMPLE_PACKET {
            let original = self.take(&mut body)?;
            let snap = self.interfaces.get(self.section).map_or(0, |interface| interface.snap);
            let snap = if snap == 0 { u32::MAX } else { snap };
            let captured = original.min(snap).min(u32::try_from(body.len()).unwrap_or(u32::MAX));
            return Some(Fields { interface: 0, time: None, captured, original, rest: body });
        }
        let mut interface = self.take(&mut body)?;
        if kind == OBSOLETE_PACKET {
            // Sixteen bits of interface, then sixteen of drops, each in the section's byte order.
            interface = if self.big_endian { interface >> 16 } else { interface & 0xffff };
        }
        let (high, low) = (self.take(&mut body)?, self.take(&mut body)?);
        let (captured, original) = (self.take(&mut body)?, self.take(&mut body)?);
        let time = Some(u64::from(high) << 32 | u64::from(low));
        Some(Fields { interface, time, captured, original, rest: body })
    }

    /// Hands one packet over; false if its link type is not decoded.
    fn packet(&mut self, fields: &Fields<'_>, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<bool, Fault> {
        let index = self.section + fields.interface as usize;
        let Some(interface) = self.interfaces.get_mut(index) else {
            let number = fields.interface;
            return Err(Fault::Damaged(format!(
                "a packet names interface {number}, which the section does not declare"
            )));
        };
        let Some(frame) = fields.rest.get(..fields.captured as usize) else {
            let (claimed, held) = (fields.captured, fields.rest.len());
            return Err(Fault::Damaged(format!("a packet claims {claimed} bytes in a block that has room for {held}")));
        };
        if let Some(units) = fields.time {
            let shift = interface.offset.saturating_mul(1_000_000_000);
            let nanos = interface.resolution.nanos(units).saturating_add_signed(shift);
            self.last = Timestamp::from_nanos(nanos);
        }
        let Some(link) = interface.link else {
            interface.skipped += 1;
            let number = interface.number;
            // A file without any interface that can be decoded is refused, as a pcap of that link type is.
            return if self.interfaces.iter().any(|interface| interface.link.is_some()) {
                Ok(false)
            } else {
                Err(Fault::LinkType(number))
            };
        };
        let meta = Meta {
            at: self.last,
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            direction: Direction::In,
            vlan: None,
            inner_vlan: None,
            original_length: fields.original.max(fields.captured),
        };
        each(meta, link, frame);
        Ok(true)
    }
}

/// What stands at the front of the window.
enum Block {
    /// A whole block; `packet` if a frame was handed over.
    Whole { length: usize, packet: bool },
    /// So many bytes are needed to read it.
    Wants(usize),
    /// A block of no interest, of so many bytes, not all of which are at hand.
    PassOver(u64),
}
