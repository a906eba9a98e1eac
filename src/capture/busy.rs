//! Busy flows, of whose UDP datagrams and bare acknowledgements the kernel's filter copies a sample.
//!
//! The core wants each UDP flow's first datagram, whatever its port, and the acknowledgement that ends a handshake with a
//! lateral service. A gateway carries telephony, video and the acknowledgements of file transfers by the tens of
//! thousands a second, and a classic BPF program remembers nothing. So the reader remembers for it: flows fall
//! into [`BUCKETS`] buckets by addresses and ports, and once a second the buckets in which too much arrived become busy.
//! The filter passes one datagram in [`ONE_IN`] of those and all of every other: a flow is seen whole until it turns out
//! to be a stream, a new one is seen at once unless it falls into a busy bucket.
//!
//! What that cannot see is the share of new flows that equals the share of busy buckets: one stream hides 1 flow of
//! 8,192, a thousand two-way calls hide about every fifth. A replay sees all.

use super::bpf::assembler::{Assembler, If, Op, Size};
use super::bpf::cells::cell;
use super::bpf::payload;
use super::capture_policy::CONTROL;
use crate::wire::decode::tunnel::port;
use crate::wire::frame::{Flags, LinkKind, Meta, Packet};
use crate::wire::{Address, Frame, decode};

/// Buckets that flows fall into.
pub const BUCKETS: usize = 1 << BITS;
const BITS: u32 = 13;

/// Of a busy bucket's datagrams, one in so many is passed.
pub const ONE_IN: u32 = 64;

/// A bucket is busy from so many datagrams a second on. Telephony sends 50; who asks a name server sends a few.
const BUSY: u32 = 16;

/// What all other buckets may bring together, a second; above it, fewer datagrams make a bucket busy.
const BUDGET: u32 = 16_000;

/// Seconds after which a busy bucket is looked at again.
const REVIEW: u8 = 10;

/// 2^32 divided by the golden ratio, as in the fan-out program.
const SPREAD: u32 = 0x9e37_79b1;

/// A set of buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    words: [u32; BUCKETS / 32],
}

impl Default for Busy {
    fn default() -> Self {
        Busy { words: [0; BUCKETS / 32] }
    }
}

impl Busy {
    /// How many buckets are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether a bucket is in it.
    #[must_use]
    pub fn contains(&self, bucket: u16) -> bool {
        self.words.get(usize::from(bucket / 32)).is_some_and(|word| word >> (bucket % 32) & 1 == 1)
    }

    #[cfg(test)]
    pub(super) fn of(buckets: impl IntoIterator<Item = u16>) -> Self {
        let mut busy = Busy::default();
        buckets.into_iter().for_each(|bucket| busy.set(usize::from(bucket), true));
        busy
    }

    fn set(&mut self, bucket: usize, busy: bool) {
        if let Some(word) = self.words.get_mut(bucket / 32) {
            let bit = 1 << (bucket % 32);
            *word = if busy { *word | bit } else { *word & !bit };
        }
    }

    /// Words that are not zero, by their number.
    pub(super) fn words(&self) -> Vec<(u32, u32)> {
        (0..).zip(self.words).filter(|(_, word)| *word != 0).collect()
    }
}

/// The bucket of a datagram or a bare acknowledgement; `None` for anything else, which is never sampled.
#[must_use]
pub fn bucket(frame: &Frame<'_>) -> Option<u16> {
    let (source, destination, source_port, destination_port) = match &frame.packet {
        Packet::Udp(datagram) => {
            (datagram.source, datagram.destination, datagram.source_port, datagram.destination_port)
        }
        Packet::Tcp(segment) if segment.payload_length == 0 && is_bare(segment.flags.0) => {
            (segment.source, segment.destination, segment.source_port, segment.destination_port)
        }
        _ => return None,
    };
    Some(flow(folded(source), folded(destination), source_port, destination_port))
}

/// Flags that say nothing but which bytes arrived.
const fn is_bare(flags: u8) -> bool {
    flags & (CONTROL | Flags::ACK) == Flags::ACK
}

fn folded(address: Address) -> u32 {
    let bits = address.bits();
    #[expect(clippy::cast_possible_truncation, reason = "takes the low word on purpose")]
    let word = |shift: u32| (bits >> shift) as u32;
    if address.is_v4() { word(0) } else { word(0) ^ word(32) ^ word(64) ^ word(96) }
}

fn flow(source: u32, destination: u32, source_port: u16, destination_port: u16) -> u16 {
    let ports = u32::from(source_port) << 16 | u32::from(destination_port);
    let mixed = source.wrapping_mul(SPREAD).wrapping_add(destination).wrapping_mul(SPREAD);
    u16::try_from(mixed.wrapping_add(ports).wrapping_mul(SPREAD) >> (32 - BITS)).unwrap_or_default()
}

/// [`bucket`] in the kernel: A = the bucket of the datagram whose UDP header is at X.
pub(super) fn emit_bucket(to: &mut Assembler) {
    const PORTS: u32 = cell::FREE + 3;
    const MIXED: u32 = cell::FREE + 4;
    let (six, mixed) = (to.label(), to.label());
    to.load(Size::Word, 0);
    to.store(PORTS);
    to.load_x_cell(cell::NETWORK);
    to.load_cell(cell::FAMILY);
    to.branch(If::Equal, 6, six);
    to.load(Size::Word, 12);
    to.op(Op::Mul, SPREAD);
    to.store(MIXED);
    to.load(Size::Word, 16);
    to.goto(mixed);
    to.place(six);
    payload::fold(to, 8);
    to.op(Op::Mul, SPREAD);
    to.store(MIXED);
    to.load_x_cell(cell::NETWORK);
    payload::fold(to, 24);
    to.place(mixed);
    to.load_x_cell(MIXED);
    to.op_x(Op::Add);
    to.op(Op::Mul, SPREAD);
    to.load_x_cell(PORTS);
    to.op_x(Op::Add);
    to.op(Op::Mul, SPREAD);
    to.op(Op::Shr, 32 - BITS);
}

/// Finds the busy flows among what a ring delivers.
#[derive(Debug)]
pub struct Meter {
    buckets: Vec<Bucket>,
    busy: Busy,
    any: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Datagrams since the last turn.
    count: u32,
    /// Of a busy bucket: sampled datagrams since it was last looked at, and turns until it is again.
    sampled: u32,
    review: u8,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { buckets: vec![Bucket::default(); BUCKETS], busy: Busy::default(), any: false }
    }
}

impl Meter {
    /// The buckets that are busy now.
    #[must_use]
    pub fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Counts a frame, if it is of a kind that is sampled.
    pub fn count(&mut self, meta: Meta, link: LinkKind, bytes: &[u8]) {
        if let Some(bucket) = bucket_of(meta, link, bytes)
            && let Some(bucket) = self.buckets.get_mut(usize::from(bucket))
        {
            bucket.count = bucket.count.saturating_add(1);
            self.any = true;
        }
    }

    /// Judges what was counted over `seconds`; gives whether other buckets are busy than before.
    pub fn turn(&mut self, seconds: u32) -> bool {
        if !self.any && self.busy.count() == 0 {
            return false;
        }
        self.any = false;
        let seconds = seconds.max(1);
        let mut least = BUSY;
        while least > 2 && self.rest(least * seconds) > BUDGET.saturating_mul(seconds) {
            least /= 2;
        }
        let before = self.busy.clone();
        for (number, bucket) in self.buckets.iter_mut().enumerate() {
            let count = std::mem::take(&mut bucket.count);
            if bucket.review == 0 {
                if count >= least * seconds {
                    (bucket.review, bucket.sampled) = (REVIEW, 0);
                    self.busy.set(number, true);
                }
                continue;
            }
            bucket.sampled = bucket.sampled.saturating_add(count);
            bucket.review -= 1;
            if bucket.review == 0 {
                // What was sampled stands for a rate of less than half of what makes a bucket busy.
                if bucket.sampled.saturating_mul(ONE_IN) < BUSY / 2 * u32::from(REVIEW) {
                    self.busy.set(number, false);
                } else {
                    (bucket.review, bucket.sampled) = (REVIEW, 0);
                }
            }
        }
        self.busy != before
    }

    /// What the buckets brought that would not be busy from `least` datagrams on.
    fn rest(&self, least: u32) -> u32 {
        let calm = self.buckets.iter().filter(|bucket| bucket.review == 0 && bucket.count < least);
        calm.fold(0, |sum: u32, bucket| sum.saturating_add(bucket.count))
    }
}

/// The bucket of a frame, as [`bucket`] gives it. Plain frames are not decoded for it a second time.
fn bucket_of(meta: Meta, link: LinkKind, bytes: &[u8]) -> Option<u16> {
    if link == LinkKind::Ethernet {
        match bytes.get(12..)? {
            [0x08, 0, 0x45, _, high, low, _, _, flags, offset, _, 6, _, _, rest @ ..] if is_whole(*flags, *offset) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l, _, _, _, _, _, _, _, _, words, flags, ..] = rest else {
                    return None;
                };
                let header = 20 + u16::from(words >> 4) * 4;
                if !is_bare(*flags) || u16::from_be_bytes([*high, *low]) != header {
                    return None;
                }
                let (source, destination) =
                    (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
                let ports = (u16::from_be_bytes([*i, *j]), u16::from_be_bytes([*k, *l]));
                return Some(flow(source, destination, ports.0, ports.1));
            }
            [0x08, 0, 0x45, _, _, _, _, _, flags, low, _, 17, _, _, a, b, c, d, e, f, g, h, i, j, k, l, ..]
                if is_whole(*flags, *low) =>
            {
                let (source_port, destination_port) = (u16::from_be_bytes([*i, *j]), u16::from_be_bytes([*k, *l]));
                if !is_tunnel(source_port, destination_port) {
                    let (source, destination) =
                        (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
                    return Some(flow(source, destination, source_port, destination_port));
                }
            }
            [0x08, 0x06, ..] | [0x86, 0xdd, _, _, _, _, _, _, 58, ..] => return None,
            // Too long for a header alone.
            [0x86, 0xdd, _, _, _, _, high, low, 6, ..] if u16::from_be_bytes([*high, *low]) > 60 => return None,
            _ => {}
        }
    }
    bucket(&decode(meta, link, bytes).ok()?)
}

/// By the flags and offset of an IPv4 header.
fn is_whole(high: u8, low: u8) -> bool {
    u16::from_be_bytes([high, low]) << 2 == 0
}

fn is_tunnel(source: u16, destination: u16) -> bool {
    source == port::TEREDO
        || destination == port::TEREDO
        || destination == port::GENEVE
        || port::VXLAN.contains(&destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Datagram;

    fn bucket(datagram: &Datagram) -> u16 {
        let Datagram { source, destination, source_port, destination_port } = *datagram;
        flow(folded(source), folded(destination), source_port, destination_port)
    }

    #[test]
    fn the_acknowledgements_of_a_transfer_are_sampled_and_its_data_is_not_counted() {
        let segment = |six: bool, payload: usize| {
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]);
            let builder = if six {
                builder.ipv6([0xfd; 16], [0xfe; 16], 9)
            } else {
                builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
            };
            let builder = builder.tcp(40_000, 445, 1, 9).ack(1).options_raw(&[1; 12]).unwrap();
            let mut bytes = Vec::new();
            builder.write(&mut bytes, &vec![7; payload]).unwrap();
            bytes
        };
        for six in [false, true] {
            let mut meter = Meter::default();
            let (bare, data) = (segment(six, 0), segment(six, 20));
            for _ in 0..100 {
                meter.count(Meta::default(), LinkKind::Ethernet, &data);
            }
            assert!(!meter.turn(1));
            for _ in 0..100 {
                meter.count(Meta::default(), LinkKind::Ethernet, &bare);
            }
            assert!(meter.turn(1));
            let frame = decode(Meta::default(), LinkKind::Ethernet, &bare).unwrap();
            assert!(meter.busy().contains(super::bucket(&frame).unwrap()), "{six}");
        }
    }

    fn datagram(number: u32, port: u16) -> Datagram {
        let [a, b, c, d] = number.to_be_bytes();
        let (source, destination) = (Address::v4([10, 0, 0, 1]), Address::v4([10_u8.wrapping_add(a), b, c, d]));
        Datagram { source, destination, source_port: 40_000, destination_port: port }
    }

    fn feed(meter: &mut Meter, datagram: &Datagram, times: u32) {
        let [source, destination] = [datagram.source, datagram.destination].map(|address| {
            let [.., a, b, c, d] = address.bits().to_be_bytes();
            [a, b, c, d]
        });
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(source, destination, 64)
            .udp(datagram.source_port, datagram.destination_port)
            .write(&mut bytes, &[0; 40])
            .unwrap();
        for _ in 0..times {
            meter.count(Meta::default(), LinkKind::Ethernet, &bytes);
        }
    }

    #[test]
    fn a_stream_is_sampled_after_a_second_and_a_sweep_beside_it_is_seen_whole() {
        let mut meter = Meter::default();
        let stream = datagram(1, 5004);
        feed(&mut meter, &stream, 50_000);
        assert!(meter.turn(1));
        assert!(meter.busy().contains(bucket(&stream)));
        assert_eq!(meter.busy().count(), 1);
        let seen = (0..1088).filter(|&n| !meter.busy().contains(bucket(&datagram(1000 + n, 6892)))).count();
        assert!(seen >= 1086, "{seen}");
    }

    #[test]
    fn among_a_thousand_calls_most_new_flows_are_seen() {
        let mut meter = Meter::default();
        for call in 0..2000 {
            feed(&mut meter, &datagram(call * 977, 10_000), 50);
        }
        meter.turn(1);
        let seen = (0..1088).filter(|&n| !meter.busy().contains(bucket(&datagram(0x10_0000 + n, 6892)))).count();
        assert!(seen > 1088 * 7 / 10, "{seen}");
    }

    #[test]
    fn a_bucket_is_busy_until_its_stream_ends_and_stays_so_while_it_lasts() {
        let mut meter = Meter::default();
        let stream = datagram(1, 5004);
        feed(&mut meter, &stream, 50);
        meter.turn(1);
        for _ in 0..30 {
            // One in 64 of fifty a second.
            feed(&mut meter, &stream, 1);
            assert!(!meter.turn(1));
        }
        let changed = (0..20).filter(|_| meter.turn(1)).count();
        assert_eq!((changed, meter.busy().count()), (1, 0));
    }

    #[test]
    fn many_small_flows_together_become_busy_sooner() {
        let mut meter = Meter::default();
        for flow in 0..5000 {
            feed(&mut meter, &datagram(flow * 31, 53), 9);
        }
        meter.turn(1);
        let busy = meter.busy().count();
        assert!(busy > 1000, "{busy}");
        assert!(meter.rest(u32::MAX) == 0);
    }

    #[test]
    fn a_datagram_counts_in_the_same_bucket_however_it_is_wrapped() {
        let plain = datagram(7, 9000);
        let mut meter = Meter::default();
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .single_vlan(etherparse::VlanId::try_new(5).unwrap())
            .ipv4([10, 0, 0, 1], [10, 0, 0, 7], 64)
            .udp(40_000, 9000)
            .write(&mut bytes, &[0; 40])
            .unwrap();
        for _ in 0..20 {
            meter.count(Meta::default(), LinkKind::Ethernet, &bytes);
        }
        meter.turn(1);
        assert!(meter.busy().contains(bucket(&plain)));
    }
}
