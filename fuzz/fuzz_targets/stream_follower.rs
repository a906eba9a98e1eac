//! One stream, cut, reordered and repeated as the input says, reads the same as in one piece; and any segments at all
//! are survived by the whole inspection, with its tables bounded.
//!
//! The input's first byte chooses the port. Then come records: a control byte (sender, SYN-ACK, displaced, cut by the
//! capture, FIN), a displacement, a length, so many bytes.
#![no_main]

use firedoor::inspect::Inspector;
use firedoor::time::Timestamp;
use firedoor::track::HashKey;
use firedoor::track::follower::{Fed, Follower, HEAD, Piece, Reader, Side, Step};
use firedoor::wire::Address;
use firedoor::wire::frame::{Flags, Segment};
use libfuzzer_sys::fuzz_target;

const PORTS: [u16; 4] = [445, 139, 135, 49_700];
const CLIENTS: u16 = 8;
const CAPACITY: usize = 4;

/// Messages of two octets of length and as many bytes, of which the first `length % 300` and a middle part are read.
#[derive(Default)]
struct Toy {
    length: u32,
    stage: u8,
    read: Vec<Vec<u8>>,
}

impl Reader for Toy {
    fn read(&mut self, _: Side, bytes: &[u8]) -> Step {
        self.read.push(bytes.to_vec());
        let size = u32::try_from(bytes.len()).unwrap();
        self.stage += 1;
        match (self.stage, bytes) {
            (1, [high, low]) => {
                self.length = u32::from(u16::from_be_bytes([*high, *low]));
                if self.length == 0 {
                    self.stage = 0;
                    return Step::Want { skip: 2, need: 2, left: 0 };
                }
                let need = u16::try_from((self.length % 300).clamp(1, 200)).unwrap();
                Step::Want { skip: 2, need, left: self.length }
            }
            (2, _) if self.length > 2 * size => {
                Step::Want { skip: size, need: size.try_into().unwrap(), left: self.length - size }
            }
            (2, _) => {
                self.stage = 0;
                Step::Want { skip: self.length, need: 2, left: 0 }
            }
            _ => {
                self.stage = 0;
                Step::Want { skip: self.length - size, need: 2, left: 0 }
            }
        }
    }

    fn begin(&mut self, _: Side) -> u16 {
        self.stage = 0;
        2
    }

    fn resembles(&self, _: Side, _: &[u8]) -> bool {
        false
    }
}

fn read(stream: &[u8], cuts: &[u8]) -> Vec<Vec<u8>> {
    let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
    let start = u32::MAX - 100;
    follower.start(Side::Client, start, &mut toy);
    let mut at = 0;
    let mut cuts = cuts.iter().cycle();
    while at < stream.len() {
        let size = cuts.next().map_or(stream.len(), |cut| usize::from(*cut) + 1).min(stream.len() - at);
        let bytes = &stream[at..at + size];
        let sequence = start.wrapping_add(u32::try_from(at).unwrap());
        let piece = Piece { sequence, length: u32::try_from(size).unwrap(), bytes };
        for _ in 0..=size % 2 {
            assert_eq!(follower.feed(Side::Client, &mut head, piece, &mut toy), Fed::Taken);
        }
        at += size;
    }
    toy.read
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, records)) = bytes.split_first() else { return };
    let (cuts, stream) = records.split_at(records.len().min(8));
    assert_eq!(read(stream, cuts), read(stream, &[]));

    let mut inspector = Inspector::new(CAPACITY, HashKey::new(1));
    let mut at = Timestamp::from_secs(1000);
    let mut next = [[5000_u32, 9000]; CLIENTS as usize];
    let mut rest = records;
    while let [control, displaced, length, tail @ ..] = rest {
        let (payload, further) = tail.split_at(tail.len().min(usize::from(*length) << (control >> 7)));
        rest = further;
        let client = u16::from(*displaced) % CLIENTS * u16::from(control & 0x40 != 0);
        let by_client = control & 1 != 0;
        let next = &mut next[usize::from(client)];
        let (mine, theirs) = if by_client { (0, 1) } else { (1, 0) };
        let shift = if control & 2 != 0 { u32::from(*displaced).wrapping_sub(100) } else { 0 };
        let lost = if control & 4 != 0 { u32::from(*displaced) } else { 0 };
        let mut flags = Flags::ACK;
        if control & 0x38 == 0x08 {
            flags |= Flags::SYN;
        } else if control & 0x38 == 0x10 {
            flags |= Flags::FIN;
        } else if control & 0x38 == 0x18 {
            flags |= Flags::RST;
        }
        let payload_length = u32::try_from(payload.len()).unwrap() + lost;
        let server = (Address::v4([10, 0, 0, 2]), PORTS[usize::from(which) % PORTS.len()]);
        let client = (Address::v4([10, 0, 1, 1]), 50_000 + client);
        let (from, to) = if by_client { (client, server) } else { (server, client) };
        let segment = Segment {
            source: from.0,
            destination: to.0,
            source_port: from.1,
            destination_port: to.1,
            flags: Flags(flags),
            sequence: next[mine].wrapping_add(shift),
            acknowledgement: next[theirs],
            payload_length,
            payload,
        };
        if shift == 0 {
            next[mine] = next[mine].wrapping_add(payload_length);
        }
        at = at + std::time::Duration::from_millis(u64::from(*displaced));
        if inspector.wants(&segment) {
            inspector.segment(&segment, at, &mut |_| {});
        }
        assert!(inspector.connections() <= CAPACITY);
    }
});
