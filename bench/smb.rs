//! What a packet of SMB traffic costs before and after inspection.
//!
//! `cargo bench --bench smb` prints nanoseconds a packet, the best of several rounds, the cases interleaved. Under
//! `valgrind --tool=callgrind` with `-- --count CASE TRAFFIC` it runs one case once, for counting instructions: `decode`
//! decodes the frames, `inspect` also gives the inspector what it wants. The difference is what inspection costs.
//!
//! Traffic: `small`, requests and answers of one segment, as servers of office files see them; `bulk`, files read and
//! written 64 KiB a message, of which live only every 45th segment reaches user space; `smb1`, the same small traffic in
//! SMB1 transactions; `rpc`, calls over pipes; `other`, TLS-like data that is none of the inspector's business.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark")]

#[path = "../tests/smb/message.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod message;

use std::hint::black_box;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use firedoor::inspect::Inspector;
use firedoor::time::Timestamp;
use firedoor::track::HashKey;
use firedoor::wire::decode;
use firedoor::wire::frame::{LinkKind, Meta, Packet};

use message::{
    IDS, SRVSVC, SVCCTL, bind, request, smb1, smb1_negotiate, smb1_negotiated, smb1_setup_and_tree, smb2,
    smb2_transceive_body, smb2_tree_answer, smb2_tree_body, smb2_write_body, smb311_negotiated, transaction,
};

const ROUNDS: u32 = 9;
const CONNECTIONS: u32 = 200;
const SEGMENT: usize = 1460;

/// The frames of many connections, interleaved as a busy gateway sees them.
struct Traffic {
    name: &'static str,
    frames: Vec<Vec<u8>>,
}

/// One connection being written.
struct Connection {
    number: u32,
    port: u16,
    next: [u32; 2],
    frames: Vec<Vec<u8>>,
}

impl Connection {
    fn new(number: u32, port: u16) -> Connection {
        let mut connection = Connection { number, port, next: [1000, 2000], frames: Vec::new() };
        connection.frame(0, true, false, &[]);
        connection.frame(1, true, true, &[]);
        connection
    }

    /// One frame: by the client (0) or the server (1).
    fn frame(&mut self, by: usize, syn: bool, ack: bool, payload: &[u8]) {
        let [_, b, c, d] = self.number.to_be_bytes();
        let (client, server) = ([10, b, c, d], [10, 200, 0, d % 8]);
        let client_port = 40_000 + u16::try_from(self.number % 20_000).unwrap();
        let (from, to) = if by == 0 { (client, server) } else { (server, client) };
        let (from_port, to_port) = if by == 0 { (client_port, self.port) } else { (self.port, client_port) };
        let mut builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(from, to, 64).tcp(
            from_port,
            to_port,
            self.next[by],
            64_000,
        );
        if syn {
            builder = builder.syn();
        }
        if ack {
            builder = builder.ack(self.next[1 - by]);
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        self.next[by] += u32::try_from(payload.len()).unwrap() + u32::from(syn);
        self.frames.push(bytes);
    }

    fn say(&mut self, by: usize, message: &[u8]) {
        for part in message.chunks(SEGMENT) {
            self.frame(by, false, true, part);
        }
    }
}

fn traffic(name: &'static str, port: u16, talk: impl Fn(&mut Connection)) -> Traffic {
    let connections = (0..CONNECTIONS).map(|number| {
        let mut connection = Connection::new(number, port);
        talk(&mut connection);
        connection.frames
    });
    let mut all: Vec<_> = connections.map(Vec::into_iter).collect();
    let mut frames = Vec::new();
    while !all.is_empty() {
        all.retain_mut(|rest| rest.next().map(|frame| frames.push(frame)).is_some());
    }
    Traffic { name, frames }
}

fn tree(connection: &mut Connection, path: &str, kind: u8) {
    connection.say(1, &smb311_negotiated(false));
    connection.say(0, &smb2(3, false, 1, 0, &smb2_tree_body(path)));
    connection.say(1, &smb2_tree_answer(1, 5, kind));
}

fn all() -> Vec<Traffic> {
    vec![
        traffic("small", 445, |connection| {
            tree(connection, r"\\files\ward", 1);
            for message in 2..102 {
                connection.say(0, &smb2(5, false, message, 5, &[0; 200]));
                connection.say(1, &smb2(5, true, message, 5, &[0; 150]));
            }
        }),
        traffic("bulk", 445, |connection| {
            tree(connection, r"\\files\ward", 1);
            for message in 2..7 {
                connection.say(0, &smb2(9, false, message, 5, &smb2_write_body(7, &[0x61; 65_000])));
                connection.say(1, &smb2(9, true, message, 5, &[0; 16]));
            }
        }),
        traffic("smb1", 139, |connection| {
            connection.say(0, &smb1_negotiate(&["NT LM 0.12"]));
            connection.say(1, &smb1_negotiated(0));
            connection.say(0, &smb1_setup_and_tree(r"\\files\ward"));
            for _ in 0..100 {
                connection.say(0, &transaction(0x32, IDS, &[5], 0, &[0; 60]));
                connection.say(1, &smb1(0x32, true, IDS, &[0; 20], &[0; 100]));
            }
        }),
        traffic("rpc", 445, |connection| {
            tree(connection, r"\\files\IPC$", 2);
            connection.say(0, &smb2(9, false, 2, 5, &smb2_write_body(7, &bind(11, &[(0, SRVSVC), (1, SVCCTL)]))));
            for message in 3..103 {
                connection.say(0, &smb2(11, false, message, 5, &smb2_transceive_body(7, &request(0, 15, 100))));
                connection.say(1, &smb2(11, true, message, 5, &[0; 200]));
            }
        }),
        traffic("other", 443, |connection| {
            for _ in 0..100 {
                connection.say(0, &[0x17; 300]);
                connection.say(1, &[0x17; 1000]);
            }
        }),
    ]
}

fn run(case: &str, traffic: &Traffic, inspector: &mut Inspector) {
    let mut at = Timestamp::from_secs(1_000_000);
    for frame in &traffic.frames {
        at = at + Duration::from_micros(10);
        let meta = Meta { original_length: u32::try_from(frame.len()).unwrap(), at, ..Meta::default() };
        let Ok(frame) = decode(black_box(meta), LinkKind::Ethernet, black_box(frame)) else { continue };
        if case == "inspect"
            && let Packet::Tcp(segment) = &frame.packet
            && inspector.wants(segment)
        {
            inspector.segment(segment, at, &mut |report| {
                black_box(report);
            });
        }
        black_box(frame);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let counted = arguments.iter().position(|argument| argument == "--count");
    let counted = counted.and_then(|at| Some((arguments.get(at + 1)?, arguments.get(at + 2)?)));
    if let Some((case, name)) = counted {
        let all = all();
        let traffic = all.iter().find(|traffic| traffic.name == name).unwrap();
        run(case, traffic, &mut Inspector::new(16_384, HashKey::new(1)));
        println!("{} packets", traffic.frames.len());
        return;
    }
    println!("{:>8} {:>9} {:>12} {:>13}", "traffic", "packets", "decode ns", "inspect ns");
    for traffic in all() {
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (case, best) in ["decode", "inspect"].into_iter().zip(&mut best) {
                let mut inspector = Inspector::new(16_384, HashKey::new(1));
                let start = Instant::now();
                run(case, &traffic, &mut inspector);
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        let packets = traffic.frames.len();
        let [decode, inspect] = best.map(|seconds| seconds * 1e9 / f64::from(u32::try_from(packets).unwrap()));
        println!("{:>8} {packets:>9} {decode:>12.1} {inspect:>13.1}", traffic.name);
    }
}
