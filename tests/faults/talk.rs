//! What the clients and servers of a [`load`](crate::load) say to each other, frame by frame.

use std::net::Ipv4Addr;

use firedoor::wire::Mac;

use crate::frames::{checksum, words};

pub const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const DATA: u8 = 0x18;
const FIN: u8 = 0x11;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// One frame of a conversation.
pub struct Step {
    pub side: Side,
    pub flags: u8,
    pub payload: Vec<u8>,
    pub sum: u32,
}

impl Step {
    fn new(side: Side, flags: u8, payload: Vec<u8>) -> Self {
        let sum = words(&payload);
        Step { side, flags, payload, sum }
    }
}

/// A kind of conversation.
pub struct Script {
    pub port: u16,
    pub steps: Vec<Step>,
}

impl Script {
    /// Opened, spoken, closed; what is said longer than a segment is cut.
    fn new(port: u16, said: Vec<(Side, Vec<u8>)>) -> Self {
        let bare = |side, flags| Step::new(side, flags, Vec::new());
        let mut steps = vec![bare(Side::Client, SYN), bare(Side::Server, SYN_ACK), bare(Side::Client, ACK)];
        for (side, text) in said {
            steps.extend(text.chunks(1400).map(|part| Step::new(side, DATA, part.to_vec())));
        }
        steps.extend([bare(Side::Client, FIN), bare(Side::Server, FIN), bare(Side::Client, ACK)]);
        Script { port, steps }
    }

    pub fn page() -> Self {
        let request = b"GET /patients/4711/results HTTP/1.1\r\nHost: records.lab\r\nAccept: text/html\r\n\r\n".to_vec();
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5600\r\n\r\n".to_vec();
        answer.resize(5600, b'.');
        Script::new(80, vec![(Side::Client, request), (Side::Server, answer)])
    }

    pub fn file() -> Self {
        let mut said = Vec::new();
        let mut ask = |number: u64, command: u16, question: Vec<u8>, answer: Vec<u8>| {
            said.push((Side::Client, smb2(command, false, number, &question)));
            said.push((Side::Server, smb2(command, true, number, &answer)));
        };
        // MS-SMB2 2.2.3 to 2.2.20: lengths and offsets as written there, and nothing in the fields between.
        let mut negotiate = vec![36, 0, 1, 0, 1, 0];
        negotiate.resize(36, 0);
        negotiate.extend([0x02, 0x03]);
        let mut negotiated = vec![65, 0, 1, 0, 0x02, 0x03];
        negotiated.resize(65, 0);
        ask(0, 0, negotiate, negotiated);
        let mut session = vec![25, 0, 0, 1];
        session.resize(25, 0);
        ask(1, 1, session, vec![9, 0, 0, 0, 0x48, 0, 0, 0, 0]);
        let path: Vec<u8> = r"\\files\ward".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut tree = vec![9, 0, 0, 0, 72, 0, u8::try_from(path.len()).unwrap(), 0];
        tree.extend(path);
        let mut connected = vec![16, 0, 1, 0];
        connected.resize(16, 0);
        ask(2, 3, tree, connected);
        let mut read = vec![49, 0, 0, 0];
        read.resize(49, 0);
        let mut content = vec![17, 0, 80, 0, 0, 0x10, 0, 0];
        content.resize(16 + 4096, b'.');
        ask(3, 8, read, content);
        Script::new(445, said)
    }

    pub fn desktop() -> Self {
        Script::new(3389, vec![(Side::Client, vec![3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0])])
    }
}

fn smb2(command: u16, answer: bool, number: u64, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xfe, b'S', b'M', b'B', 64, 0, 1, 0, 0, 0, 0, 0];
    message.extend(command.to_le_bytes());
    message.extend([1, 0, u8::from(answer), 0, 0, 0, 0, 0, 0, 0]);
    message.extend(number.to_le_bytes());
    message.resize(64, 0);
    message.extend(body);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], &message].concat()
}

/// A conversation under way.
#[derive(Clone, Copy)]
pub struct Talk {
    pub who: (u8, u8),
    pub ends: [Ipv4Addr; 2],
    pub ports: [u16; 2],
    pub numbers: [u32; 2],
}

/// A frame of a length known when it is built.
pub struct Frame {
    bytes: [u8; 1514],
    length: usize,
}

impl Frame {
    pub fn new() -> Self {
        Frame { bytes: [0; 1514], length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn ip(&mut self, macs: (Mac, Mac), ends: (Ipv4Addr, Ipv4Addr), protocol: u8, payload: usize) {
        self.length = 0;
        self.put(&macs.1.0);
        self.put(&macs.0.0);
        self.put(&[8, 0, 0x45, 0]);
        self.put(&u16::try_from(20 + payload).unwrap().to_be_bytes());
        self.put(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
        self.put(&ends.0.octets());
        self.put(&ends.1.octets());
        let sum = checksum(words(&self.bytes[14..34]));
        self.bytes[24..26].copy_from_slice(&sum);
    }

    pub fn segment(&mut self, macs: (Mac, Mac), talk: &Talk, step: &Step) {
        let (from, to) = if step.side == Side::Client { (0, 1) } else { (1, 0) };
        let ends = (talk.ends[from], talk.ends[to]);
        self.ip(macs, ends, 6, 20 + step.payload.len());
        self.put(&talk.ports[from].to_be_bytes());
        self.put(&talk.ports[to].to_be_bytes());
        self.put(&talk.numbers[from].to_be_bytes());
        self.put(&(if step.flags == SYN { 0 } else { talk.numbers[to] }).to_be_bytes());
        self.put(&[0x50, step.flags, 0xff, 0xff, 0, 0, 0, 0]);
        let length = u32::try_from(20 + step.payload.len()).unwrap();
        let sum = words(&self.bytes[26..54]) + 6 + length + step.sum;
        self.bytes[50..52].copy_from_slice(&checksum(sum));
        self.put(&step.payload);
    }

    pub fn echo(&mut self, macs: (Mac, Mac), ends: (Ipv4Addr, Ipv4Addr), kind: u8, number: u16) {
        self.ip(macs, ends, 1, 64);
        self.put(&[kind, 0, 0, 0, 0x47, 0x11]);
        self.put(&number.to_be_bytes());
        self.put(&[b'p'; 56]);
        let sum = checksum(words(&self.bytes[34..self.length]));
        self.bytes[36..38].copy_from_slice(&sum);
    }

    pub fn name(&mut self, macs: (Mac, Mac), ends: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), answer: bool) {
        let question = b"\x07records\x03lab\0\0\x01\0\x01";
        self.ip(macs, ends, 17, 8 + 12 + question.len());
        self.put(&ports.0.to_be_bytes());
        self.put(&ports.1.to_be_bytes());
        self.put(&u16::try_from(8 + 12 + question.len()).unwrap().to_be_bytes());
        // No checksum: IPv4 allows it.
        self.put(&[0, 0, 0x12, 0x34, if answer { 0x81 } else { 1 }, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        self.put(question);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
