//! Who is alive, asked without a SYN; then only these are asked for more.

use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::{self, Segment, flag, protocol};
use crate::rows::{self, Row, row, unless};
use crate::site::{ATTACKER, MOST, Site};

/// How it asks.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// A segment with these flags to this port: where nobody listens, every live host's kernel answers with a RST.
    Flags(u8, u16),
    /// An ICMP timestamp request (RFC 792).
    Timestamp,
}

/// A sweep at 50/s over half a network; after it the worm asks those whom it found, slowly enough for every window. All are
/// answered, so whoever did not count the sweep has nothing against it.
fn found_out(questions: &[(&'static str, Question)], family: Family) -> Vec<Row> {
    let sweep = |&(name, question): &(&'static str, Question)| {
        row(format!("{name} {family:?}"), move || {
            let site = Site::new(Shape::Routed, 15);
            let (host, attack) = (site.ground.worm(), Attack { count: 126, ..Attack::new(family, 50.0) });
            attack.each(&site, |number, ends| match question {
                Question::Flags(flags, to) => {
                    let port = 30_000 + u16::try_from(number).unwrap();
                    let segment = Segment { ports: (port, to), flags, sequence: 1_000, ..Segment::default() };
                    host.packet(ends, protocol::TCP, &segment.bytes(ends), Dress::Plain);
                }
                Question::Timestamp => {
                    let message = packet::icmp(13, u16::try_from(number).unwrap(), &[0; 12]);
                    host.packet(ends, protocol::ICMP, &message, Dress::Plain);
                }
            });
            let own = site.ground.office(family, ATTACKER);
            let found = host.alive();
            let mut asked: Vec<_> =
                site.ground.live(family).into_iter().filter(|victim| found.contains(victim)).collect();
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
        })
    };
    questions.iter().map(sweep).collect()
}

/// A lateral service that nobody in the ward has.
const VNC: u16 = 5_900;
/// No service at all.
const NOTHING: u16 = 81;

const SWEEPS: [(&str, Question); 9] = [
    ("ack", Question::Flags(flag::ACK, VNC)),
    ("null", Question::Flags(0, VNC)),
    ("fin", Question::Flags(flag::FIN, VNC)),
    ("xmas", Question::Flags(flag::FIN | flag::PSH | flag::URG, VNC)),
    ("syn-ack", Question::Flags(flag::SYN | flag::ACK, 445)),
    ("ack to no service", Question::Flags(flag::ACK, NOTHING)),
    ("timestamp", Question::Timestamp),
    // No stack sends these; whoever does not know what to make of them shall not be blinded.
    ("syn|fin", Question::Flags(flag::SYN | flag::FIN, 445)),
    ("syn|rst", Question::Flags(flag::SYN | flag::RST, 445)),
];

#[test]
fn what_elicits_an_answer_is_a_first_contact() {
    let mut rows = found_out(&SWEEPS, Family::Ipv4);
    rows.extend(found_out(&SWEEPS[..2], Family::Ipv6));
    rows::hold(rows);
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
