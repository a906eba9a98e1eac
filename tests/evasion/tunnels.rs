//! A worm inside a tunnel, from a protected host to an end behind the gateway.

use std::net::IpAddr;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::{Dress, Tunnel};
use crate::packet::{Segment, flag, protocol};
use crate::rows::{self, Row, row, unless};
use crate::site::{ATTACKER, MOST, Site};

#[test]
fn a_plain_tunnel_hides_no_first_contacts() {
    let mut rows: Vec<Row> = Vec::new();
    for tunnel in [Tunnel::Ipip, Tunnel::Gre, Tunnel::SixInFour, Tunnel::Vxlan] {
        for (shape, pace) in [(Shape::Routed, 50.0), (Shape::Bridged, 50.0), (Shape::Routed, 1_000.0)] {
            rows.push(row(format!("{tunnel:?} {shape:?} {pace}/s"), move || {
                let site = Site::new(shape, 20);
                let host = site.ground.worm();
                let outer = (site.ground.office(Family::Ipv4, ATTACKER), site.ground.live(Family::Ipv4)[0]);
                let inner = |number: usize| -> (IpAddr, IpAddr) {
                    let number = u8::try_from(number % 250).unwrap();
                    if tunnel == Tunnel::SixInFour {
                        ("fd66::66".parse().unwrap(), format!("fd99::{number:x}").parse().unwrap())
                    } else {
                        ([10, 50, 0, 1].into(), [10, 200, 0, number].into())
                    }
                };
                Attack::new(Family::Ipv4, pace).each(&site, |number, _| {
                    let ends = inner(number);
                    let syn = Segment {
                        ports: (30_000 + u16::try_from(number).unwrap(), 445),
                        flags: flag::SYN,
                        ..Segment::default()
                    };
                    // It comes from the attacker's outer address, which owns the card.
                    host.packet(ends, protocol::TCP, &syn.bytes(ends), Dress::Inside(tunnel, outer));
                });
                let passed = site.tally.destinations(|packet| packet.inside && packet.opens(445)).len();
                unless(passed <= MOST, || format!("{passed} inner destinations passed"))
            }));
        }
    }
    rows::hold(rows);
}

/// What is not looked into is named, by kind, when a protected host begins to use it.
#[test]
fn a_protocol_that_is_not_looked_into_is_named() {
    rows::hold(vec![row("SCTP", || {
        let site = Site::new(Shape::Routed, 21);
        let host = site.ground.worm();
        Attack::new(Family::Ipv4, 50.0).each(&site, |_, ends| {
            // An INIT chunk (RFC 9260 §3.3.2); the checksum is nobody's business here.
            let init = [&[0x75, 0x30, 0x01, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20][..], &[1; 16]].concat();
            host.packet(ends, protocol::SCTP, &init, Dress::Plain);
        });
        let said = (site.metrics() + &site.command(&["status"])).to_lowercase();
        unless(said.contains("sctp"), || "neither the metrics nor the status name SCTP".to_owned())
    })]);
}
