//! Who is alive, asked without a SYN; then only these are asked for more.

use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::{self, Segment, flag, protocol};
use crate::rows::{self, row, unless};
use crate::site::{ATTACKER, MOST, Site};

/// How it asks.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// A segment with these flags to port 445.
    Flags(u8),
    /// An ICMP timestamp request (RFC 792).
    Timestamp,
}

/// A sweep at 50/s over half a network; after it the worm asks those whom it found, slowly enough for every window. All are
/// answered, so whoever did not count the sweep has nothing against it.
fn found_out(questions: &[(&'static str, Question)], families: &[Family]) {
    let mut rows = Vec::new();
    for &(name, question) in questions {
        for &family in families {
            rows.push(row(format!("{name} {family:?}"), move || {
                let site = Site::new(Shape::Routed, 15);
                let (host, attack) = (site.ground.worm(), Attack { count: 126, ..Attack::new(family, 50.0) });
                attack.each(&site, |number, ends| match question {
                    Question::Flags(flags) => {
                        let port = 30_000 + u16::try_from(number).unwrap();
                        let segment = Segment { ports: (port, 445), flags, sequence: 1_000, ..Segment::default() };
                        host.packet(ends, protocol::TCP, &segment.bytes(ends), Dress::Plain);
                    }
                    Question::Timestamp => {
                        let message = packet::icmp(13, u16::try_from(number).unwrap(), &[0; 12]);
                        host.packet(ends, protocol::ICMP, &message, Dress::Plain);
                    }
                });
                let own = site.ground.office(family, ATTACKER);
                let found = host.alive();
                let mut asked: Vec<_> = site.ground.live(family).into_iter().filter(|victim| found.contains(victim)).collect();
                // What answers nothing finds nobody; then it guesses.
                asked.extend(site.ground.live(family));
                for victim in asked.iter().take(7) {
                    host.knock((own, *victim), 445, Dress::Plain);
                    std::thread::sleep(Duration::from_millis(1_150));
                }
                let reached = site.reached(|source| source == own, 445).len();
                let open = site.open_to(&host, own, 445);
                let found = found.iter().filter(|address| site.ground.live(family).contains(address)).count();
                let toll = format!("found {found} hosts, reached {reached} by SYN, then {open} of 4 SYNs pass");
                eprintln!("{name}: {toll}");
                unless(reached <= MOST && open == 0, || toll)
            }));
        }
    }
    rows::hold(rows);
}

const SILENT: [(&str, Question); 5] = [
    ("ack", Question::Flags(flag::ACK)),
    ("null", Question::Flags(0)),
    ("fin", Question::Flags(flag::FIN)),
    ("xmas", Question::Flags(flag::FIN | flag::PSH | flag::URG)),
    ("syn-ack", Question::Flags(flag::SYN | flag::ACK)),
];

#[test]
fn what_elicits_an_answer_is_a_first_contact() {
    found_out(&SILENT, &[Family::Ipv4]);
}

#[test]
fn what_elicits_an_answer_is_a_first_contact_in_ipv6() {
    found_out(&SILENT[..2], &[Family::Ipv6]);
}

#[test]
fn a_timestamp_request_asks_who_is_alive() {
    found_out(&[("timestamp", Question::Timestamp)], &[Family::Ipv4]);
}

#[test]
fn flags_that_no_stack_sends_blind_nobody() {
    let odd = [("syn|fin", Question::Flags(flag::SYN | flag::FIN)), ("syn|rst", Question::Flags(flag::SYN | flag::RST))];
    found_out(&odd, &[Family::Ipv4]);
}

/// A contained host's sweeps towards lateral services come to nothing either: containment drops whatever goes there.
#[test]
fn a_contained_host_finds_nobody() {
    rows::hold(vec![row("ack after containment", || {
        let site = Site::new(Shape::Routed, 16);
        let (host, own) = (site.ground.worm(), site.ground.office(Family::Ipv4, ATTACKER));
        Attack { count: 60, ..Attack::new(Family::Ipv4, 50.0) }.is_contained(&site, &host)?;
        let before = site.tally.packets().iter().filter(|packet| packet.source == own).count();
        let sweep = Attack { count: 100, ..Attack::new(Family::Ipv4, 50.0) };
        sweep.each(&site, |_, ends| {
            let segment = Segment { ports: (31_000, 445), flags: flag::ACK, sequence: 1, ..Segment::default() };
            host.packet(ends, protocol::TCP, &segment.bytes(ends), Dress::Plain);
        });
        let after = site.tally.packets().iter().filter(|packet| packet.source == own).count();
        unless(before == after, || format!("{} packets passed", after - before))
    })]);
}
