//! Conversations turned into segments, and what the inspector finds in them.

use std::time::Duration;

use firedoor::evidence::Signal;
use firedoor::inspect::{Finding, Inspector, Report};
use firedoor::time::Timestamp;
use firedoor::track::HashKey;
use firedoor::wire::Address;
use firedoor::wire::frame::{Flags, Segment};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Client,
    Server,
}

/// What is said, in order.
pub type Script = Vec<(By, Vec<u8>)>;

/// One segment, owned.
#[derive(Clone, Debug)]
pub struct Sent {
    pub by: By,
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub length: u32,
    pub payload: Vec<u8>,
}

/// Between whom.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub client: Address,
    pub server: Address,
    pub client_port: u16,
    pub port: u16,
}

pub fn ends(port: u16) -> Ends {
    Ends { client: Address::v4([10, 0, 0, 1]), server: Address::v4([10, 0, 0, 2]), client_port: 50_000, port }
}

pub const SYN_ACK: u8 = Flags::SYN | Flags::ACK;
pub const ACK: u8 = Flags::ACK;

/// Sequence numbers of the first bytes, close to the wrap.
const START: [u32; 2] = [u32::MAX - 40, u32::MAX - 90];

/// The handshake of a connection.
pub fn handshake() -> Vec<Sent> {
    let sent = |by, flags, sequence, acknowledgement| Sent {
        by,
        flags,
        sequence,
        acknowledgement,
        length: 0,
        payload: Vec::new(),
    };
    let [client, server] = START;
    vec![
        sent(By::Client, Flags::SYN, client.wrapping_sub(1), 0),
        sent(By::Server, SYN_ACK, server.wrapping_sub(1), client),
        sent(By::Client, ACK, client, server),
    ]
}

/// A script as one segment a message, or cut where `cut` says how long the next segment is to be.
pub fn segments(script: &Script, mut cut: impl FnMut() -> usize) -> Vec<Sent> {
    let mut next = START;
    let mut sent = Vec::new();
    for (by, message) in merged(script) {
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (payload, tail) = rest.split_at(cut().clamp(1, rest.len()));
            rest = tail;
            let (mine, theirs) = if by == By::Client { (0, 1) } else { (1, 0) };
            let length = u32::try_from(payload.len()).unwrap();
            let (sequence, acknowledgement) = (next[mine], next[theirs]);
            sent.push(Sent { by, flags: ACK, sequence, acknowledgement, length, payload: payload.to_vec() });
            next[mine] = next[mine].wrapping_add(length);
        }
    }
    sent
}

/// Messages of one speaker in a row, as one stretch of stream.
fn merged(script: &Script) -> Script {
    let mut stretches: Script = Vec::new();
    for (by, message) in script {
        match stretches.last_mut() {
            Some((last, bytes)) if last == by => bytes.extend(message),
            _ => stretches.push((*by, message.clone())),
        }
    }
    stretches
}

/// An inspector and a clock.
pub struct Stage {
    pub inspector: Inspector,
    pub at: Timestamp,
    pub reports: Vec<Report>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage {
            inspector: Inspector::new(64, HashKey::new(7)),
            at: Timestamp::from_secs(1_000_000),
            reports: Vec::new(),
        }
    }

    pub fn give(&mut self, ends: Ends, sent: &[Sent]) {
        for one in sent {
            self.at = self.at + Duration::from_micros(100);
            let (from, to) = ((ends.client, ends.client_port), (ends.server, ends.port));
            let (from, to) = if one.by == By::Client { (from, to) } else { (to, from) };
            let segment = Segment {
                source: from.0,
                destination: to.0,
                source_port: from.1,
                destination_port: to.1,
                flags: Flags(one.flags),
                sequence: one.sequence,
                acknowledgement: one.acknowledgement,
                payload_length: one.length,
                payload: &one.payload,
            };
            if self.inspector.wants(&segment) {
                self.inspector.segment(&segment, self.at, &mut |report| self.reports.push(report));
            }
        }
    }

    /// A whole connection, with its handshake.
    pub fn play(&mut self, ends: Ends, script: &Script) -> &mut Stage {
        self.give(ends, &handshake());
        self.give(ends, &segments(script, || 1460));
        self
    }

    pub fn wait(&mut self, time: Duration) -> &mut Stage {
        self.at = self.at + time;
        self
    }

    pub fn findings(&self) -> Vec<Finding> {
        let finding = |report: &Report| if let Report::Finding(finding) = report { Some(*finding) } else { None };
        self.reports.iter().filter_map(finding).collect()
    }

    /// Verified findings, SMB1's mere use aside.
    pub fn signals(&self) -> Vec<Signal> {
        let findings = self.findings();
        let telling = findings.iter().filter(|finding| finding.verified && finding.signal != Signal::Smb1);
        telling.map(|finding| finding.signal).collect()
    }
}

/// What a connection to port 445 shows.
pub fn signals_of(script: &Script) -> Vec<Signal> {
    Stage::new().play(ends(445), script).signals()
}
