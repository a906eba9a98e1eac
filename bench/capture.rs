//! What a packet costs until the core sees it: reading a capture, and decoding.
//!
//! `cargo bench --bench capture` prints nanoseconds a packet, the best of several rounds. Under
//! `valgrind --tool=callgrind` with `-- --count NAME`, it runs one case once, for counting instructions; the case
//! `nothing` is what the generator alone takes.

#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use firedoor::capture::{FileSource, Read, Source};
use firedoor::wire::decode;
use firedoor::wire::frame::{LinkKind, Meta};

const PACKETS: u32 = 200_000;
const ROUNDS: u32 = 7;

/// SYNs to 445 as a scan sends them, or data segments of 580 bytes.
fn frame(number: u32, payload: usize) -> Vec<u8> {
    let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [10, 0, c & 0x27, d],
        [10, 1 | a & 0x3f, b, c],
        64,
    );
    let mut bytes = Vec::new();
    if payload == 0 {
        let builder = builder.tcp(40_000, 445, number, 1024).syn();
        builder.write(&mut bytes, &[]).unwrap();
        bytes.resize(60, 0);
    } else {
        builder.tcp(40_000, 443, number, 1024).ack(1).write(&mut bytes, &vec![7; payload]).unwrap();
    }
    bytes
}

fn capture(packets: u32, payload: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for field in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(field.to_le_bytes());
    }
    for number in 0..packets {
        let frame = frame(number, payload);
        let length = u32::try_from(frame.len()).unwrap();
        for field in [1_700_000_000 + number / 1_000_000, number % 1_000_000, length, length] {
            file.extend(field.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn read(file: &'static [u8], each: &mut dyn FnMut(Meta, LinkKind, &[u8])) {
    let mut source = FileSource::from_reader("bench".to_owned(), Cursor::new(file)).unwrap();
    while source.read(Duration::ZERO, each).unwrap() != Read::End {}
}

fn only_read(file: &'static [u8]) {
    read(file, &mut |meta, _, bytes| {
        black_box((meta, bytes));
    });
}

fn read_and_decode(file: &'static [u8]) {
    read(file, &mut |meta, link, bytes| {
        let _ = black_box(decode(meta, link, bytes));
    });
}

fn only_decode(frames: &[Vec<u8>]) {
    for frame in frames {
        let meta = Meta { original_length: 60, ..Meta::default() };
        let _ = black_box(decode(black_box(meta), LinkKind::Ethernet, black_box(frame)));
    }
}

fn best(packets: u32, mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e9 / f64::from(packets)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let counted = arguments.iter().position(|argument| argument == "--count").and_then(|at| arguments.get(at + 1));
    // `cargo bench -- --test` only sees that it runs.
    let trial = arguments.iter().any(|argument| argument == "--test");
    let packets = if counted.is_some() || trial { 10_000 } else { PACKETS };
    let syns: &'static [u8] = capture(packets, 0).leak();
    let data: &'static [u8] = capture(packets, 512).leak();
    // Few enough to stay in the cache, as frames in a ring block do.
    let frames: Vec<Vec<u8>> = (0..1000).map(|number| frame(number, 0)).collect();
    let cases: [(&str, &dyn Fn(), u32); 5] = [
        ("decode_syn", &|| only_decode(&frames), 1000),
        ("read_syn", &|| only_read(syns), packets),
        ("read_data", &|| only_read(data), packets),
        ("read_decode_syn", &|| read_and_decode(syns), packets),
        ("read_decode_data", &|| read_and_decode(data), packets),
    ];
    for (name, run, packets) in cases {
        match counted {
            Some(wanted) if wanted == name => run(),
            Some(_) => {}
            None if trial => run(),
            None => println!("{name:>18}: {:6.1} ns a packet", best(packets, run)),
        }
    }
}
