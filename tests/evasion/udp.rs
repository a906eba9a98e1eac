//! Datagrams: worms that need no handshake.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::{self, protocol};
use crate::rows::{self, Row, row, unless};
use crate::site::{ATTACKER, MOST, Site};

/// A datagram worm (Slammer's size) on a lateral port.
#[test]
fn a_datagram_to_a_lateral_service_is_a_first_contact() {
    let mut rows: Vec<Row> = Vec::new();
    for (port, family, shape, pace) in [
        (1_434, Family::Ipv4, Shape::Routed, 8.0),
        (1_434, Family::Ipv4, Shape::Routed, 50.0),
        (1_434, Family::Ipv4, Shape::Bridged, 1_000.0),
        (161, Family::Ipv4, Shape::Routed, 1_000.0),
        (161, Family::Ipv6, Shape::Routed, 50.0),
        (137, Family::Ipv4, Shape::Bridged, 50.0),
    ] {
        for seed in rows::seeds() {
            rows.push(row(format!("UDP {port} {family:?} {shape:?} {pace}/s seed {seed}"), move || {
                let site = Site::new(shape, seed);
                let (host, own) = (site.ground.worm(), site.ground.office(family, ATTACKER));
                Attack { port, ..Attack::new(family, pace) }.each(&site, |number, ends| {
                    let from = 20_000 + u16::try_from(number).unwrap();
                    host.packet(ends, protocol::UDP, &packet::udp(ends, (from, port), &[4; 376]), Dress::Plain);
                });
                let reached = site.reached_by_udp(own, port);
                unless(reached <= MOST, || format!("{reached} victims reached"))
            }));
        }
    }
    rows::hold(rows);
}

/// 400 addresses in ten seconds on a port that is no service: noticed, and dropped if that is what was decided.
#[test]
fn datagrams_to_hundreds_of_addresses_are_noticed() {
    rows::hold(vec![row("UDP 6892", || {
        let site = Site::new(Shape::Routed, 19);
        let (host, own) = (site.ground.worm(), site.ground.office(Family::Ipv4, ATTACKER));
        let send = |to: IpAddr| {
            let ends = (own, to);
            host.packet(ends, protocol::UDP, &packet::udp(ends, (20_001, 6_892), b"hello"), Dress::Plain);
        };
        let begun = Instant::now();
        let ward = site.ground.everybody(Family::Ipv4);
        for number in 0..400_u32 {
            let to = match ward.get(usize::try_from(number).unwrap() * 2) {
                Some(to) if number < 100 => *to,
                _ => IpAddr::from([
                    10,
                    66,
                    3 + u8::try_from(number / 200).unwrap() * 4,
                    u8::try_from(number % 200 + 2).unwrap(),
                ]),
            };
            std::thread::sleep(Duration::from_millis(25 * u64::from(number)).saturating_sub(begun.elapsed()));
            send(to);
        }
        std::thread::sleep(Duration::from_millis(800));
        let names = [own.to_string(), host.card().to_string()];
        let text = site.ask("/v1/decisions?limit=10000").to_string();
        let noticed = names.iter().any(|name| text.contains(&format!("\"{name}\"")));
        unless(noticed, || "nobody noticed".to_owned())?;
        if !site.acted_on(&names).is_empty() {
            let then = Instant::now();
            for victim in site.ground.live(Family::Ipv4).into_iter().take(5) {
                send(victim);
            }
            std::thread::sleep(Duration::from_millis(300));
            let passed = site.tally.since(then, |packet| packet.source == own && packet.ports.1 == 6_892);
            unless(passed == 0, || format!("contained, and {passed} of 5 datagrams pass"))?;
        }
        Ok(())
    })]);
}
