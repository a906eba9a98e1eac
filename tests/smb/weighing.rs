//! What the core makes of what the inspection finds: an administrator's day, and SMB1 while a worm is about.

use std::time::Duration;

use firedoor::replay::Lockstep;
use firedoor::respond::Verdict;
use firedoor::time::Timestamp;
use firedoor::wire::frame::{Flags, Frame, Meta, Packet, Segment};
use firedoor::wire::{Address, Mac};
use firedoor::{detect, respond};

use crate::execution::{CREATE, admin_share, calls};
use crate::message::{smb1_negotiate, smb1_negotiated};
use crate::talk::By::{Client, Server};
use crate::talk::*;

struct Site {
    core: Lockstep,
    at: Timestamp,
    verdicts: Vec<(Address, Verdict)>,
    port: u16,
}

impl Site {
    fn new() -> Self {
        let core = Lockstep::new(detect::Settings::default(), respond::Settings::default(), 1);
        Site { core, at: Timestamp::from_secs(1_700_000_000), verdicts: Vec::new(), port: 49_152 }
    }

    fn wait(&mut self, time: Duration) {
        self.at = self.at + time;
        self.core.advance(self.at);
        self.verdicts.extend(self.core.decisions().into_iter().map(|decision| (decision.host, decision.decision)));
    }

    /// A connection to 445, from a fresh port.
    fn play(&mut self, client: Address, server: Address, script: &Script) {
        self.port += 1;
        let sent = handshake().into_iter().chain(segments(script, || 1460));
        for one in sent {
            let (from, to) = ((client, self.port), (server, 445));
            let (from, to) = if one.by == Client { (from, to) } else { (to, from) };
            self.core.frame(Frame {
                meta: Meta { at: self.at, ..Meta::default() },
                mac_source: Some(card(from.0)),
                mac_destination: None,
                encapsulation: firedoor::wire::frame::Encapsulation::None,
                tunnel: None,
                unread: None,
                packet: Packet::Tcp(Segment {
                    source: from.0,
                    destination: to.0,
                    source_port: from.1,
                    destination_port: to.1,
                    flags: Flags(one.flags),
                    sequence: one.sequence,
                    acknowledgement: one.acknowledgement,
                    payload_length: one.length,
                    payload: &one.payload,
                }),
            });
            self.wait(Duration::from_millis(1));
        }
    }

    /// `host` tries addresses at which nobody answers, until it is acted on.
    fn worm(&mut self, host: Address, segment: u8) {
        for n in 1..=20 {
            self.port += 1;
            let segment = Segment {
                source: host,
                destination: Address::v4([10, 0, segment, n]),
                source_port: self.port,
                destination_port: 445,
                flags: Flags(Flags::SYN),
                sequence: 7,
                acknowledgement: 0,
                payload_length: 0,
                payload: &[],
            };
            self.core.frame(Frame {
                meta: Meta { at: self.at, ..Meta::default() },
                mac_source: Some(card(host)),
                mac_destination: None,
                encapsulation: firedoor::wire::frame::Encapsulation::None,
                tunnel: None,
                unread: None,
                packet: Packet::Tcp(segment),
            });
            self.wait(Duration::from_millis(400));
            if self.of(host).contains(&Verdict::Contain) {
                return;
            }
        }
        panic!("{host} is no worm");
    }

    fn of(&self, host: Address) -> Vec<Verdict> {
        self.verdicts.iter().filter(|(about, _)| *about == host).map(|(_, verdict)| *verdict).collect()
    }
}

fn card(host: Address) -> Mac {
    let [.., a, b, c, d] = host.bits().to_be_bytes();
    Mac([2, 4, a, b, c, d])
}

const ADMIN: Address = Address::v4([10, 0, 1, 9]);

fn server(n: u8) -> Address {
    Address::v4([10, 0, 2, n])
}

fn smb1() -> Script {
    vec![(Client, smb1_negotiate(&["NT LM 0.12"])), (Server, smb1_negotiated(0))]
}

fn execution() -> Script {
    [admin_share(), calls(&[CREATE])].concat()
}

#[test]
fn an_administrator_who_works_on_one_host_all_day_is_watched_at_most() {
    for (times, pause) in [(2, 1_200), (10, 700), (40, 1_800), (24, 3_600)] {
        let mut site = Site::new();
        for _ in 0..times {
            site.play(ADMIN, server(1), &execution());
            site.wait(Duration::from_secs(pause));
        }
        assert_eq!(site.of(ADMIN), [Verdict::Watch], "{times} times, every {pause} s");
    }
}

#[test]
fn the_second_host_that_runs_something_contains() {
    let mut site = Site::new();
    site.play(ADMIN, server(1), &execution());
    site.wait(Duration::from_secs(30));
    site.play(ADMIN, server(2), &execution());
    assert_eq!(site.of(ADMIN), [Verdict::Watch, Verdict::Contain]);
}

#[test]
fn an_outbreak_elsewhere_makes_neither_an_administrator_nor_smb1_a_worm() {
    for contained in [0, 2, 3] {
        let mut site = Site::new();
        for worm in 0..contained {
            site.worm(Address::v4([10, 0, 60 + worm, 7]), 80 + worm);
        }
        site.play(ADMIN, server(1), &execution());
        assert_eq!(site.of(ADMIN), [Verdict::Watch], "{contained} contained");
        // Old devices that all speak SMB1.
        let old = Address::v4([10, 0, 1, 8]);
        for n in 1..=4 {
            site.play(old, server(20 + n), &smb1());
            site.wait(Duration::from_secs(20));
            assert!(!site.of(old).contains(&Verdict::Contain), "{contained} contained, peer {n}");
        }
        site.play(old, server(25), &smb1());
        assert!(site.of(old).contains(&Verdict::Contain), "{contained} contained: the fifth peer");
    }
}
