//! The pcap format (draft-ietf-opsawg-pcap): a file header, then records of sixteen bytes and a frame.

use super::batch::{Batch, Fault};
use super::link_type;
use super::window::{LARGEST_RECORD, Window};
use crate::time::Timestamp;
use crate::wire::frame::{Direction, LinkKind, Meta};

/// What the magic number states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    big_endian: bool,
    /// Nanoseconds in the unit of a record's second time field.
    unit: u32,
    /// Length of a record's header.
    header: usize,
}

/// Recognises a pcap file by its first four bytes.
pub(super) fn layout(magic: [u8; 4]) -> Option<Layout> {
    let (big_endian, magic) = match u32::from_be_bytes(magic) {
        number @ (0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34) => (true, number),
        number => (false, number.swap_bytes()),
    };
    let (unit, header) = match magic {
        0xa1b2_c3d4 => (1000, 16),
        0xa1b2_3c4d => (1, 16),
        // Kuznetsov's patched libpcap added interface, protocol and packet type to each record.
        0xa1b2_cd34 => (1000, 24),
        _ => return None,
    };
    Some(Layout { big_endian, unit, header })
}

impl Layout {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The reader of one pcap file.
pub(super) struct Pcap {
    layout: Layout,
    link: LinkKind,
    minor: u16,
}

const FILE_HEADER: usize = 24;

impl Pcap {
    /// Reads the file header.
    pub fn open(window: &mut Window, layout: Layout) -> Result<Self, Fault> {
        window.fill(FILE_HEADER)?;
        let Some(header) = window.bytes().first_chunk::<FILE_HEADER>() else {
            let found = window.bytes().len();
            return Err(Fault::Damaged(format!("it ends after {found} bytes, within the pcap file header of 24")));
        };
        // Magic, major, minor, zone, accuracy, snap length, link type.
        let [_, _, _, _, a, b, c, d, _, _, _, _, _, _, _, _, _, _, _, _, link @ ..] = *header;
        let (major, minor) = (layout.u16([a, b]), layout.u16([c, d]));
        if major != 2 {
            return Err(Fault::Damaged(format!("it says it is pcap version {major}.{minor}; only version 2 is known")));
        }
        let number = link_type::number(layout.u32(link));
        let link = link_type::kind(number).ok_or(Fault::LinkType(number))?;
        window.consume(FILE_HEADER);
        Ok(Pcap { layout, link, minor })
    }

    /// Hands over the records at hand; reads on first if there is none.
    pub fn read(&mut self, window: &mut Window, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Batch, Fault> {
        let layout = self.layout;
        loop {
            let bytes = window.bytes();
            let mut rest = bytes;
            let mut count = 0;
            // What the next record needs: its header first, then what the header states.
            let mut wanted = layout.header;
            while let Some(header) = rest.first_chunk::<16>() {
                let record = self.record(header);
                if record.captured > LARGEST_RECORD {
                    if count > 0 {
                        break;
                    }
                    let length = record.captured;
                    return Err(Fault::Damaged(format!(
                        "a record claims {length} bytes, the most is {LARGEST_RECORD}"
                    )));
                }
                let end = layout.header + record.captured;
                let Some(frame) = rest.get(layout.header..end) else {
                    wanted = end;
                    break;
                };
                let meta = Meta {
                    at: record.at,
                    interface: 0,
                    direction: Direction::In,
                    vlan: None,
                    inner_vlan: None,
                    original_length: record.original,
                };
                each(meta, self.link, frame);
                count += 1;
                rest = rest.get(end..).unwrap_or_default();
            }
            if count > 0 {
                let taken = bytes.len() - rest.len();
                window.consume(taken);
                return Ok(Batch::Frames(count));
            }
            if !window.fill(wanted)? {
                return Ok(if window.bytes().is_empty() { Batch::End } else { Batch::Torn(window.offset()) });
            }
        }
    }

    #[inline]
    fn record(&self, header: &[u8; 16]) -> Record {
        let [s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = *header;
        let layout = self.layout;
        let seconds = u64::from(layout.u32([s0, s1, s2, s3]));
        let fraction = u64::from(layout.u32([f0, f1, f2, f3])) * u64::from(layout.unit);
        let (mut captured, mut original) = (layout.u32([c0, c1, c2, c3]), layout.u32([o0, o1, o2, o3]));
        // Before version 2.4 the two lengths stood the other way round, at 2.3 only with some writers.
        if self.minor < 3 || (self.minor == 3 && captured > original) {
            std::mem::swap(&mut captured, &mut original);
        }
        Record {
            at: Timestamp::from_nanos(seconds * 1_000_000_000 + fraction),
            captured: captured as usize,
            original: original.max(captured),
        }
    }
}

struct Record {
    at: Timestamp,
    captured: usize,
    original: u32,
}
