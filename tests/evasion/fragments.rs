//! Headers cut into fragments (RFC 1858, RFC 3128), and honest fragments, which pass.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::Segment;
use crate::rows::{self, Row, row, unless};
use crate::site::{INNOCENT, Site};

const BOTH: [Shape; 2] = [Shape::Routed, Shape::Bridged];

/// A worm that speaks in this dress is contained within its first contacts.
fn contained(family: Family, dresses: &[Dress], paces: &[f64]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for shape in BOTH {
        for &dress in dresses {
            for pace in rows::paces(paces) {
                for seed in rows::seeds() {
                    rows.push(row(format!("{family:?} {dress:?} {shape:?} {pace}/s seed {seed}"), move || {
                        let site = Site::new(shape, seed);
                        Attack::new(family, pace).dressed(dress).is_contained(&site, &site.ground.worm())
                    }));
                }
            }
        }
    }
    rows
}

/// Whichever fragment comes first: what is reassembled is the same. (A Linux of today throws such IPv6 packets away, RFC 7112;
/// others do not.)
#[test]
fn a_header_cut_in_two_gets_nowhere() {
    let mut rows = contained(Family::Ipv4, &[Dress::Split(8), Dress::Split(16), Dress::Reversed(8)], &[50.0]);
    rows.extend(contained(Family::Ipv4, &[Dress::Split(8)], &[8.0, 1_000.0]));
    rows.extend(contained(Family::Ipv6, &[Dress::Split(8), Dress::Split(16), Dress::SplitBehindOptions(8)], &[50.0]));
    rows::hold(rows);
}

/// An atomic fragment is an ordinary packet (RFC 6946): it passes, and it counts.
#[test]
fn an_atomic_fragment_counts_as_the_packet_that_it_is() {
    rows::hold(contained(Family::Ipv6, &[Dress::Atomic], &[8.0, 50.0]));
}

/// The first fragment holds the whole header, so it is no trick, and its SYN counts like any other. Without data a SYN of 20
/// bytes is whole before the cut, so these carry some.
#[test]
fn a_first_fragment_with_a_whole_header_counts() {
    let mut rows: Vec<Row> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        for dress in [Dress::Split(24), Dress::Reversed(24), Dress::Overlapping(24)] {
            rows.push(row(format!("{family:?} {dress:?}"), move || {
                let site = Site::new(Shape::Routed, 3);
                let (host, attack) = (site.ground.worm(), Attack::new(family, 50.0).dressed(dress));
                attack.run_with(&site, &host, &Segment { data: &[7; 40], ..Segment::default() });
                attack.was_contained(&site, &host)
            }));
        }
    }
    rows::hold(rows);
}

#[test]
fn a_contained_host_gets_none_through() {
    let families = [
        (Family::Ipv4, Dress::Split(8)),
        (Family::Ipv4, Dress::Split(16)),
        (Family::Ipv6, Dress::Split(8)),
        (Family::Ipv6, Dress::Atomic),
    ];
    let rows = families.into_iter().map(|(family, dress)| {
        row(format!("{family:?} {dress:?}"), move || {
            let site = Site::new(Shape::Routed, 5);
            let host = site.ground.worm();
            Attack { count: 40, ..Attack::new(family, 50.0) }.is_contained(&site, &host)?;
            let before = host.connected().len();
            Attack { count: 60, ..Attack::new(family, 50.0) }.dressed(dress).run(&site, &host);
            let after = host.connected().len();
            unless(after == before, || format!("{} handshakes after it was contained", after - before))
        })
    });
    rows::hold(rows.collect());
}

/// A datagram of 4,000 bytes comes whole, and an echo of as many is answered.
#[test]
fn honest_fragments_pass() {
    let mut rows: Vec<Row> = Vec::new();
    for shape in BOTH {
        for family in [Family::Ipv4, Family::Ipv6] {
            rows.push(row(format!("{family:?} {shape:?}"), move || {
                let site = Site::new(shape, 4);
                let (innocent, ward) = (&site.ground.innocent, &site.ground.ward);
                let (from, to) = (site.ground.office(family, INNOCENT), site.ground.live(family)[0]);
                let ear = ward.run(|| UdpSocket::bind((to, 5_555)).unwrap()).unwrap();
                ear.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                let mut whole = 0;
                for _ in 0..5 {
                    innocent
                        .run(|| UdpSocket::bind((from, 0)).unwrap().send_to(&[7; 4_000], (to, 5_555)).unwrap())
                        .unwrap();
                    let mut buffer = [0; 8_000];
                    whole += usize::from(ear.recv(&mut buffer).is_ok_and(|length| length == 4_000));
                }
                let answered = echo(&site, to);
                unless(whole == 5 && answered, || {
                    format!("{whole} of 5 datagrams came whole, echo answered: {answered}")
                })
            }));
        }
    }
    rows::hold(rows);
}

fn echo(site: &Site, to: IpAddr) -> bool {
    let output = site
        .ground
        .innocent
        .command("ping")
        .args(["-c", "3", "-i", "0.2", "-W", "3", "-s", "4000", &to.to_string()])
        .output();
    String::from_utf8_lossy(&output.unwrap().stdout).contains("3 received")
}
