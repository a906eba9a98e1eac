//! Facts about which connections are followed, believed and given up.

use super::*;
use crate::track::follower::Reader;
use crate::track::follower::Step;
use crate::track::streams::link::STRANGE;
use crate::track::streams::messages::PATIENCE;
use crate::wire::frame::Flags;

/// Messages are a length octet and so many bytes; what is read is all of it.
#[derive(Debug, Default)]
struct Toy {
    read: [Vec<Vec<u8>>; 2],
    body: [bool; 2],
}

impl Reader for Toy {
    fn read(&mut self, side: Side, bytes: &[u8]) -> Step {
        let body = &mut self.body[side.index()];
        *body = !*body;
        if *body {
            let length = bytes[0];
            return Step::Want { skip: 1, need: u16::from(length), left: u32::from(length) };
        }
        self.read[side.index()].push(bytes.to_vec());
        Step::Want { skip: u32::try_from(bytes.len()).unwrap(), need: 1, left: 0 }
    }

    fn begin(&mut self, side: Side) -> u16 {
        self.body[side.index()] = false;
        1
    }

    fn resembles(&self, _: Side, start: &[u8]) -> bool {
        start.first() == Some(&3)
    }
}

const CLIENT: u16 = 50_000;
const SERVER: u16 = 445;

struct Talk {
    streams: Streams<Toy>,
    at: Timestamp,
    port: u16,
}

impl Talk {
    fn new(capacity: usize) -> Talk {
        Talk { streams: Streams::new(capacity, HashKey::new(1)), at: Timestamp::from_secs(9), port: CLIENT }
    }

    fn say(&mut self, side: Side, flags: u8, numbers: [u32; 2], payload: &[u8]) -> Option<bool> {
        let (client, server) = ((Address::v4([10, 0, 0, 1]), self.port), (Address::v4([10, 0, 0, 2]), SERVER));
        let (from, to) = if side == Side::Client { (client, server) } else { (server, client) };
        let segment = Segment {
            source: from.0,
            destination: to.0,
            source_port: from.1,
            destination_port: to.1,
            flags: Flags(flags),
            sequence: numbers[0],
            acknowledgement: numbers[1],
            payload_length: u32::try_from(payload.len()).unwrap(),
            payload,
        };
        let Tracked { state, mut messages, verified, .. } = self.streams.track(&segment, Some(side), self.at)?;
        messages.read(state);
        Some(verified)
    }

    fn heard(&self, side: Side) -> Vec<u8> {
        self.streams.slots[0].state.read[side.index()].iter().map(|message| message[0]).collect()
    }
}

const ACK: u8 = Flags::ACK;
const SYN_ACK: u8 = Flags::SYN | Flags::ACK;

#[test]
fn a_handshake_verifies_by_the_very_number() {
    let mut talk = Talk::new(4);
    assert_eq!(talk.say(Side::Client, Flags::SYN, [99, 0], &[]), None);
    assert!(talk.streams.is_empty());
    assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(false));
    assert_eq!(talk.say(Side::Client, ACK, [100, 501], &[3, 1, 1, 1]), Some(false));
    assert_eq!(talk.say(Side::Client, ACK, [104, 500], &[]), Some(true));
    assert_eq!(talk.heard(Side::Client), [1]);
}

#[test]
fn a_running_connection_is_verified_when_both_agree() {
    let mut talk = Talk::new(4);
    assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]), Some(false));
    assert_eq!(talk.say(Side::Client, ACK, [104, 500], &[3, 2, 1, 1]), Some(false));
    assert_eq!(talk.say(Side::Server, ACK, [500, 108], &[3, 7, 7, 7]), Some(true));
    assert_eq!((talk.heard(Side::Client), talk.heard(Side::Server)), (vec![1, 2], vec![7]));
}

#[test]
fn a_forged_segment_neither_speaks_nor_verifies() {
    let mut talk = Talk::new(4);
    talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
    assert_eq!(talk.say(Side::Server, ACK, [500, 0x4000_0000], &[]), None);
    assert_eq!(talk.say(Side::Client, ACK, [0x4000_0000, 500], &[3, 9, 9, 9]), None);
    assert_eq!(talk.say(Side::Server, ACK, [500, 104], &[3, 7, 7, 7]), Some(true));
    assert_eq!(talk.heard(Side::Client), [1]);
    assert_eq!(talk.streams.counts().implausible, 2);
}

#[test]
fn many_implausible_segments_are_another_connection() {
    let mut talk = Talk::new(4);
    talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
    talk.say(Side::Server, ACK, [500, 104], &[3, 7, 7, 7]);
    for n in 0..u32::from(STRANGE) - 1 {
        assert_eq!(talk.say(Side::Client, ACK, [0x4000_0000 + 4 * n, 900], &[3, 9, 9, 9]), None);
    }
    assert_eq!(talk.say(Side::Client, ACK, [0x4000_0100, 900], &[3, 4, 4, 4]), Some(false));
    assert_eq!(talk.heard(Side::Client), [4]);
}

#[test]
fn the_same_ports_answered_anew_are_a_new_connection() {
    let mut talk = Talk::new(4);
    talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
    talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]);
    assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(true));
    assert_eq!(talk.say(Side::Server, SYN_ACK, [0x7000_0000, 0x1000_0000], &[]), Some(false));
    assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
    assert_eq!(talk.streams.len(), 1);
}

#[test]
fn a_late_syn_ack_verifies_without_forgetting() {
    let mut talk = Talk::new(4);
    assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[3, 1, 1, 1]), Some(false));
    assert_eq!(talk.say(Side::Server, SYN_ACK, [499, 100], &[]), Some(true));
    talk.say(Side::Server, ACK, [500, 104], &[2, 6, 6]);
    assert_eq!((talk.heard(Side::Client), talk.heard(Side::Server)), (vec![1], vec![6]));
}

#[test]
fn early_segments_wait_for_the_missing_bytes() {
    let mut talk = Talk::new(4);
    talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
    talk.say(Side::Client, ACK, [105, 500], &[3, 3, 3]);
    talk.say(Side::Client, ACK, [102, 500], &[1, 1, 2]);
    assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
    talk.say(Side::Client, ACK, [100, 500], &[3, 1]);
    talk.say(Side::Client, ACK, [108, 500], &[1, 4]);
    assert_eq!(talk.heard(Side::Client), [1, 3]);
    assert_eq!((talk.streams.counts().out_of_order, talk.streams.counts().lost), (2, 0));
}

#[test]
fn what_the_peer_acknowledged_will_not_come_any_more() {
    let mut talk = Talk::new(4);
    talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
    talk.say(Side::Client, ACK, [104, 500], &[3, 8, 8, 8]);
    assert_eq!(talk.heard(Side::Client), Vec::<u8>::new());
    talk.say(Side::Server, ACK, [500, 108], &[]);
    assert_eq!(talk.heard(Side::Client), [8]);
    assert_eq!(talk.streams.counts().lost, 1);
}

#[test]
fn what_does_not_come_in_time_is_given_up() {
    let mut talk = Talk::new(4);
    talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
    talk.say(Side::Client, ACK, [104, 500], &[3, 8, 8, 8]);
    talk.at = talk.at + PATIENCE + PATIENCE;
    talk.say(Side::Client, ACK, [108, 500], &[3, 9, 9, 9]);
    assert_eq!(talk.heard(Side::Client), [8, 9]);
}

#[test]
fn a_full_table_gives_up_closed_then_unverified_then_idle_connections() {
    let mut talk = Talk::new(3);
    let open = |talk: &mut Talk, port: u16, verify: bool| {
        talk.port = port;
        talk.say(Side::Server, SYN_ACK, [499, 100], &[]);
        if verify {
            assert_eq!(talk.say(Side::Client, ACK, [100, 500], &[]), Some(true));
        }
    };
    open(&mut talk, 1, true);
    open(&mut talk, 2, false);
    open(&mut talk, 3, true);
    talk.port = 3;
    talk.say(Side::Client, ACK | Flags::RST, [100, 500], &[]);
    let ports = |talk: &Talk| {
        let mut ports: Vec<u16> = talk.streams.slots.iter().map(|slot| slot.link.client.1).collect();
        ports.sort_unstable();
        ports
    };
    open(&mut talk, 4, true);
    assert_eq!(ports(&talk), [1, 2, 4]);
    open(&mut talk, 5, false);
    assert_eq!(ports(&talk), [1, 4, 5]);
    for port in 6..200 {
        open(&mut talk, port, false);
    }
    assert_eq!(ports(&talk), [1, 4, 199]);
    talk.port = 1;
    talk.say(Side::Client, ACK, [100, 500], &[]);
    open(&mut talk, 200, true);
    open(&mut talk, 201, true);
    assert_eq!(ports(&talk), [1, 200, 201]);
    assert_eq!((talk.streams.len(), talk.streams.capacity()), (3, 3));
    // Numbers 2, 5 to 199, and 4; the closed one is no loss.
    assert_eq!(talk.streams.counts().evicted, 197);
}
