//! Both formats in all their layouts, whole, torn and damaged.

use std::io::Write as _;

use super::*;
use crate::time::Timestamp;

/// Everything a source hands over, as (meta, link, bytes), and how it ended.
type Frames = Vec<(Meta, LinkKind, Vec<u8>)>;

fn drain(source: &mut FileSource) -> (Frames, Result<(), CaptureError>) {
    let mut frames = Vec::new();
    loop {
        let batch = source.read(Duration::ZERO, &mut |meta, link, bytes| frames.push((meta, link, bytes.to_vec())));
        match batch {
            Ok(Read::End) => return (frames, Ok(())),
            Ok(Read::Idle) => panic!("a file never idles"),
            Ok(Read::Frames(_)) => {}
            Err(error) => return (frames, Err(error)),
        }
    }
}

fn open(bytes: &[u8]) -> Result<FileSource, CaptureError> {
    FileSource::from_reader("test.pcap".to_owned(), io::Cursor::new(bytes.to_vec()))
}

#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

const BOTH: [Order; 2] = [Order { big: false }, Order { big: true }];

fn pcap_header(order: Order, magic: u32, version: (u16, u16), link: u32) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend(order.u16(version.0));
    file.extend(order.u16(version.1));
    file.extend([0; 8]);
    file.extend(order.u32(262_144));
    file.extend(order.u32(link));
    file
}

fn pcap_record(order: Order, seconds: u32, fraction: u32, frame: &[u8], original: u32) -> Vec<u8> {
    let mut record = order.u32(seconds).to_vec();
    record.extend(order.u32(fraction));
    record.extend(order.u32(u32::try_from(frame.len()).unwrap()));
    record.extend(order.u32(original));
    record.extend(frame);
    record
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(u32::try_from(padded + 12).unwrap());
    let mut block = order.u32(kind).to_vec();
    block.extend(length);
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xff; 8]);
    block(order, SECTION_BLOCK, &body)
}

const SECTION_BLOCK: u32 = 0x0a0d_0d0a;

fn interface(order: Order, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = order.u16(link).to_vec();
    body.extend([0; 2]);
    body.extend(order.u32(snap));
    for (code, value) in options {
        body.extend(order.u16(*code));
        body.extend(order.u16(u16::try_from(value.len()).unwrap()));
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(order, 1, &body)
}

fn enhanced(order: Order, interface: u32, units: u64, frame: &[u8], original: u32) -> Vec<u8> {
    let mut body = order.u32(interface).to_vec();
    body.extend(order.u32((units >> 32) as u32));
    body.extend(order.u32((units & 0xffff_ffff) as u32));
    body.extend(order.u32(u32::try_from(frame.len()).unwrap()));
    body.extend(order.u32(original));
    body.extend(frame);
    block(order, 6, &body)
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_units() {
    for order in BOTH {
        for (magic, fraction, nanos) in [(0xa1b2_c3d4, 123_456, 123_456_000), (0xa1b2_3c4d, 123_456_789, 123_456_789)] {
            let mut file = pcap_header(order, magic, (2, 4), 1);
            file.extend(pcap_record(order, 1_495_095_127, fraction, b"abc", 60));
            file.extend(pcap_record(order, 1_495_095_128, 0, b"", 0));
            let mut source = open(&file).unwrap();
            let (frames, end) = drain(&mut source);
            end.unwrap();
            assert_eq!(frames.len(), 2);
            let (meta, link, bytes) = &frames[0];
            assert_eq!(meta.at, Timestamp::from_nanos(1_495_095_127_000_000_000 + nanos));
            assert_eq!((meta.original_length, *link, bytes.as_slice()), (60, LinkKind::Ethernet, b"abc".as_slice()));
            assert_eq!(source.notices(), []);
            assert_eq!(source.statistics().received(), 2);
        }
    }
}

#[test]
fn old_and_patched_pcap_is_read() {
    for order in BOTH {
        // Version 2.2 swapped the lengths, 2.3 where they stand the wrong way round.
        for minor in [2, 3] {
            let mut file = pcap_header(order, 0xa1b2_c3d4, (2, minor), 1);
            let mut record = order.u32(7).to_vec();
            record.extend(order.u32(0));
            record.extend(order.u32(90));
            record.extend(order.u32(4));
            record.extend(b"abcd");
            file.extend(record);
            let (frames, end) = drain(&mut open(&file).unwrap());
            end.unwrap();
            assert_eq!((frames[0].0.original_length, frames[0].2.as_slice()), (90, b"abcd".as_slice()));
        }
        let mut file = pcap_header(order, 0xa1b2_cd34, (2, 4), 101);
        let mut record = pcap_record(order, 7, 0, b"", 3);
        record[8..12].copy_from_slice(&order.u32(3));
        record.extend([0xee; 8]);
        record.extend(b"abc");
        file.extend(record);
        let (frames, end) = drain(&mut open(&file).unwrap());
        end.unwrap();
        assert_eq!((frames[0].1, frames[0].2.as_slice()), (LinkKind::RawIp, b"abc".as_slice()));
    }
}

#[test]
fn flags_above_the_link_type_are_passed_over() {
    // What some writers put there says that four bytes of FCS follow each frame.
    let file = pcap_header(BOTH[0], 0xa1b2_c3d4, (2, 4), 0x4400_0001);
    assert!(drain(&mut open(&file).unwrap()).0.is_empty());
}

#[test]
fn gzip_is_seen_through() {
    let mut file = pcap_header(BOTH[0], 0xa1b2_c3d4, (2, 4), 1);
    for second in 0..1000_u32 {
        file.extend(pcap_record(BOTH[0], second, 0, &[second.to_be_bytes()[3]; 100], 100));
    }
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&file).unwrap();
    let zipped = zipped.finish().unwrap();
    let (frames, end) = drain(&mut open(&zipped).unwrap());
    end.unwrap();
    assert_eq!(frames.len(), 1000);
    assert_eq!(frames[999].2, [231; 100]);
    // Cut within the compressed stream: what could be unpacked is read.
    let mut source = open(&zipped[..zipped.len() / 2]).unwrap();
    let (frames, end) = drain(&mut source);
    end.unwrap();
    assert!(!frames.is_empty() && frames.len() < 1000);
    assert!(matches!(source.notices()[..], [Notice::Torn { .. }]));
}

#[test]
fn a_torn_tail_yields_every_whole_record_and_a_notice() {
    let mut file = pcap_header(BOTH[0], 0xa1b2_c3d4, (2, 4), 1);
    file.extend(pcap_record(BOTH[0], 1, 0, b"first", 5));
    let second = file.len();
    file.extend(pcap_record(BOTH[0], 2, 0, b"second", 6));
    for length in second..file.len() {
        let mut source = open(&file[..length]).unwrap();
        let (frames, end) = drain(&mut source);
        end.unwrap();
        assert_eq!(frames.len(), 1, "cut at {length}");
        let torn = if length == second { vec![] } else { vec![Notice::Torn { offset: second as u64 }] };
        assert_eq!(source.notices(), torn, "cut at {length}");
    }
}

#[test]
fn every_cut_of_a_pcapng_is_survived() {
    let order = BOTH[1];
    let mut file = section(order);
    file.extend(interface(order, 1, 0, &[]));
    let head = file.len();
    file.extend(enhanced(order, 0, 5_000_000, b"frame", 5));
    file.extend(block(order, 0x0bad, &[7; 100]));
    for length in 12..=file.len() {
        let mut source = open(&file[..length]).unwrap();
        let (frames, end) = drain(&mut source);
        end.unwrap();
        assert_eq!(frames.len(), usize::from(length >= head + 40), "cut at {length}");
    }
}

#[test]
fn hostile_lengths_are_refused_without_the_memory_they_ask_for() {
    let order = BOTH[0];
    let mut file = pcap_header(order, 0xa1b2_c3d4, (2, 4), 1);
    file.extend(pcap_record(order, 1, 0, b"good", 4));
    let bad = file.len() as u64;
    file.extend(order.u32(1));
    file.extend(order.u32(0));
    file.extend(order.u32(0xffff_fff0));
    file.extend(order.u32(60));
    file.extend([0; 100]);
    let mut source = open(&file).unwrap();
    let (frames, end) = drain(&mut source);
    assert_eq!(frames.len(), 1);
    match end {
        Err(CaptureError::Damaged { offset, frames, .. }) => assert_eq!((offset, frames), (bad, 1)),
        other => panic!("{other:?}"),
    }

    let mut file = section(order);
    file.extend(order.u32(6));
    file.extend(order.u32(0x7fff_fff0));
    assert!(matches!(drain(&mut open(&file).unwrap()).1, Err(CaptureError::Damaged { .. })));
}

#[test]
fn pcapng_sections_have_their_own_interfaces_and_byte_order() {
    let mut file = Vec::new();
    for order in BOTH {
        file.extend(section(order));
        file.extend(interface(order, 1, 0, &[(2, b"eth0"), (9, &[9])]));
        file.extend(interface(order, 101, 0, &[(9, &[0x8a]), (14, &i64_bytes(order, 100))]));
        file.extend(block(order, 5, &[0; 12]));
        file.extend(enhanced(order, 1, (3 << 10) + 512, b"second", 60));
        file.extend(enhanced(order, 0, 1_000_000_007, b"first", 5));
    }
    let mut source = open(&file).unwrap();
    let (frames, end) = drain(&mut source);
    end.unwrap();
    let seen: Vec<_> = frames.iter().map(|(meta, link, _)| (meta.interface, *link, meta.at.nanos())).collect();
    let (ethernet, raw) = (LinkKind::Ethernet, LinkKind::RawIp);
    let (binary, decimal) = (103_500_000_000, 1_000_000_007);
    assert_eq!(seen, [(1, raw, binary), (0, ethernet, decimal), (3, raw, binary), (2, ethernet, decimal)]);
}

fn i64_bytes(order: Order, value: i64) -> [u8; 8] {
    if order.big { value.to_be_bytes() } else { value.to_le_bytes() }
}

#[test]
fn simple_and_obsolete_packet_blocks_are_read() {
    for order in BOTH {
        let mut file = section(order);
        file.extend(interface(order, 1, 6, &[]));
        file.extend(interface(order, 113, 0, &[]));
        let mut obsolete = order.u16(1).to_vec();
        obsolete.extend(order.u16(9));
        for field in [0, 2_000_000, 5, 60] {
            obsolete.extend(order.u32(field));
        }
        obsolete.extend(b"cooked");
        file.extend(block(order, 2, &obsolete));
        let mut simple = order.u32(100).to_vec();
        simple.extend(b"simple++");
        file.extend(block(order, 3, &simple));
        let (frames, end) = drain(&mut open(&file).unwrap());
        end.unwrap();
        let at = Timestamp::from_secs(2);
        assert_eq!((frames[0].0.at, frames[0].0.interface, frames[0].2.as_slice()), (at, 1, b"cooke".as_slice()));
        // Without a time of its own it takes the one before.
        assert_eq!(
            (frames[1].0.at, frames[1].0.original_length, frames[1].2.as_slice()),
            (at, 100, b"simple".as_slice())
        );
    }
}

#[test]
fn odd_resolutions_do_not_overflow() {
    for (option, units, nanos) in [
        (6_u8, 1_u64, 1000_u64),
        (9, 7, 7),
        (12, 7999, 7),
        (40, u64::MAX, 0),
        (127, u64::MAX, 0),
        (0, 3, 3_000_000_000),
        (0, u64::MAX, u64::MAX),
        (0x80, 2, 2_000_000_000),
        (0xff, u64::MAX, 0),
        (0x80, u64::MAX, u64::MAX),
    ] {
        let order = BOTH[0];
        let mut file = section(order);
        file.extend(interface(order, 1, 0, &[(9, &[option])]));
        file.extend(enhanced(order, 0, units, b"x", 1));
        let (frames, end) = drain(&mut open(&file).unwrap());
        end.unwrap();
        assert_eq!(frames[0].0.at.nanos(), nanos, "if_tsresol {option:#x} of {units}");
    }
}

#[test]
fn a_link_type_that_is_not_decoded_is_refused_by_number() {
    let file = pcap_header(BOTH[0], 0xa1b2_c3d4, (2, 4), 127);
    let error = open(&file).unwrap_err();
    assert!(error.to_string().contains("127 (IEEE 802.11 with radiotap header)"), "{error}");

    let order = BOTH[0];
    let mut file = section(order);
    file.extend(interface(order, 249, 0, &[]));
    file.extend(enhanced(order, 0, 0, b"usb", 3));
    let (_, end) = drain(&mut open(&file).unwrap());
    assert!(matches!(end, Err(CaptureError::LinkType { number: 249, .. })), "{end:?}");
}

#[test]
fn beside_an_interface_that_is_decoded_others_are_passed_over_and_told() {
    let order = BOTH[0];
    let mut file = section(order);
    file.extend(interface(order, 249, 0, &[]));
    file.extend(interface(order, 1, 0, &[]));
    file.extend(enhanced(order, 0, 0, b"usb", 3));
    file.extend(enhanced(order, 1, 0, b"frame", 5));
    let mut source = open(&file).unwrap();
    let (frames, end) = drain(&mut source);
    end.unwrap();
    assert_eq!(frames.len(), 1);
    assert_eq!(source.notices(), [Notice::SkippedLink { number: 249, name: " (USB)", frames: 1 }]);
}

#[test]
fn what_is_no_capture_is_named_with_its_mend() {
    for (bytes, part) in [
        (&b""[..], "empty"),
        (b"\xa1\xb2", "ends after 2 bytes"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "within the pcap file header"),
        (b"\x28\xb5\x2f\xfd....", "zstd -dc"),
        (b"snoop\0\0\0", "editcap"),
        (b"#!/bin/sh\n", "neither pcap nor pcapng"),
        (b"\x0a\x0d\x0d\x0a\0\0\0\x1cnone", "byte-order magic"),
    ] {
        let error = open(bytes).unwrap_err().to_string();
        assert!(error.contains("test.pcap") && error.contains(part), "{error}");
    }
    let error = FileSource::open(Path::new("/nowhere/x.pcap")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/x.pcap") && error.contains("No such file"), "{error}");
}

#[test]
fn records_larger_than_the_buffer_are_read() {
    let order = BOTH[0];
    let mut file = pcap_header(order, 0xa1b2_c3d4, (2, 4), 1);
    file.extend(pcap_record(order, 1, 0, &vec![5; 600_000], 600_000));
    file.extend(pcap_record(order, 2, 0, b"after", 5));
    let (frames, end) = drain(&mut open(&file).unwrap());
    end.unwrap();
    assert_eq!((frames[0].2.len(), frames[1].2.as_slice()), (600_000, b"after".as_slice()));
}
