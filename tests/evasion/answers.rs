//! Answers that are none: a worm that speaks for its victims, and one that makes the gateway doubt its own sight.

use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::host::Host;
use crate::packet::{Segment, flag, protocol};
use crate::rows::{self, Row, row};
use crate::site::{self, Site};

/// It knows what it asked, so its forged answer acknowledges that; only the path is wrong.
fn that_answers_itself() -> Vec<Row> {
    let mut rows = Vec::new();
    for (exact, family) in [(true, Family::Ipv4), (false, Family::Ipv4), (true, Family::Ipv6)] {
        rows.push(row(format!("{family:?}, the right number acknowledged: {exact}"), move || {
            let site = Site::new(Shape::Routed, 13);
            let (host, attack) = (site.ground.worm(), Attack { count: 12, unlucky: true, ..Attack::new(family, 0.95) });
            attack.each(&site, |_, ends| {
                let (own, sequence) = host.knock_with(host.card(), ends, 445, Dress::Plain, &Segment::default());
                let (port, acknowledged) = if exact { (own, sequence.wrapping_add(1)) } else { (40_000, 1) };
                let answer = Segment {
                    ports: (445, port),
                    flags: flag::SYN | flag::ACK,
                    sequence: 9,
                    acknowledged,
                    ..Segment::default()
                };
                let back = (ends.1, ends.0);
                host.packet(back, protocol::TCP, &answer.bytes(back), Dress::Plain);
            });
            attack.was_contained(&site, &host)
        }));
    }
    rows
}

/// Half-handshakes by one host, whose answers were never sent: "the client went on, so its answers pass elsewhere". Then
/// another worm, whose failures are as good as ever.
fn that_has_made_the_gateway_doubt() -> [Row; 2] {
    [8, 30].map(|pairs| {
        row(format!("{pairs} half-handshakes"), move || {
            let site = Site::new(Shape::Routed, 14);
            let ward = &site.ground.ward;
            site::must(ward, "nft", "add table ip deaf");
            site::must(ward, "nft", "add chain ip deaf in { type filter hook input priority 0; }");
            site::must(ward, "nft", "add rule ip deaf in tcp dport 23 drop");
            let forger = Host::start(&site.ground.forger, "eth0", site.ground.next_hop());
            let name = site.ground.office(Family::Ipv4, 99);
            forger.owns(name);
            forger.asks(name, site.ground.office(Family::Ipv4, 1));
            for victim in site.ground.live(Family::Ipv4).into_iter().take(pairs) {
                let ends = (name, victim);
                let (port, sequence) = forger.knock_with(forger.card(), ends, 23, Dress::Plain, &Segment::default());
                let went_on = Segment {
                    ports: (port, 23),
                    flags: flag::ACK | flag::PSH,
                    sequence: sequence.wrapping_add(1),
                    acknowledged: 1,
                    data: b"twenty bytes of data",
                    ..Segment::default()
                };
                forger.packet(ends, protocol::TCP, &went_on.bytes(ends), Dress::Plain);
                std::thread::sleep(Duration::from_millis(2_400 / pairs as u64));
            }
            let (worm, attack) =
                (site.ground.worm(), Attack { count: 12, unlucky: true, ..Attack::new(Family::Ipv4, 0.95) });
            attack.is_contained(&site, &worm)
        })
    })
}

#[test]
fn a_worm_is_judged_by_answers_that_are_some() {
    let mut rows = that_answers_itself();
    rows.extend(that_has_made_the_gateway_doubt());
    rows::hold(rows);
}
