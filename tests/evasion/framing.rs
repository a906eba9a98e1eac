//! Somebody does in another's name, or makes another do, what would get that one contained.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Family, GATEWAY, Segment as Part, Shape, WARD};
use firedoor::lab::random::Random;
use firedoor::wire::Mac;

use crate::dress::Dress;
use crate::host::Host;
use crate::packet::{Segment, flag, protocol};
use crate::rows::{self, Finding, Row, row, unless};
use crate::site::{self, Ground, INNOCENT, Site};

/// Where the forger sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SameLink,
    OtherInterface,
}

/// Nobody has decided anything about the innocent host.
fn unharmed(site: &Site, family: Family) -> Finding {
    let card = site.ground.innocent.link(|links| links.mac("eth0")).unwrap();
    let acted_on = site.acted_on(&[site.ground.office(family, INNOCENT).to_string(), card.to_string()]);
    unless(acted_on.is_empty(), || format!("it was acted on: {}", acted_on[0]))
}

/// Forged SYNs in a server's name, 20 a second, must neither delay the server's own first contacts (a SYN that is dropped
/// comes again after a second) nor get it contained.
fn own_contacts_are_undisturbed(place: Place, shape: Shape, family: Family, rp_filter: &str, seed: u64) -> Finding {
    let ground = Ground::build(shape, seed);
    for name in ["all".to_owned(), Part::Office.interface(), WARD.interface()] {
        ground.gateway.set(&format!("net/ipv4/conf/{name}/rp_filter"), rp_filter).unwrap();
    }
    let site = Site::on(ground, |setup| setup);
    let server = site.ground.office(family, INNOCENT);
    // It works already, so that it is known.
    let known = site.ground.live(family)[75];
    site::connect(&site.ground.innocent, server, known, 445);
    let forger = match place {
        Place::SameLink => Host::start(&site.ground.forger, "eth0", site.ground.next_hop()),
        Place::OtherInterface => {
            let next_hop = match shape {
                Shape::Routed => site.ground.gateway.link(|links| links.mac(&WARD.interface())).unwrap(),
                Shape::Bridged => site.ground.innocent.link(|links| links.mac("eth0")).unwrap(),
            };
            Host::start(&site.ground.ward, "eth0", next_hop)
        }
    };
    let (stop, mut random) = (AtomicBool::new(false), Random::new(seed));
    let mut slow = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = random.next();
                let to = match family {
                    Family::Ipv4 => std::net::IpAddr::from([
                        10,
                        100 + (number >> 16) as u8 % 100,
                        (number >> 8) as u8,
                        number as u8,
                    ]),
                    Family::Ipv6 => site.ground.victim(family, number as u8 | 1),
                };
                forger.knock((server, to), 445, Dress::Plain);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        std::thread::sleep(Duration::from_secs(4));
        for victim in site.ground.live(family).into_iter().take(6) {
            let took = site::connect(&site.ground.innocent, server, victim, 445);
            if took.is_none_or(|took| took > Duration::from_millis(900)) {
                slow.push(took);
            }
            std::thread::sleep(Duration::from_millis(1_200));
        }
        stop.store(true, Ordering::Relaxed);
    });
    unharmed(&site, family)?;
    unless(slow.is_empty(), || format!("{} of 6 of its own first contacts were held up: {slow:?}", slow.len()))
}

#[test]
fn forged_syns_hold_up_nobody_and_frame_nobody() {
    let mut rows: Vec<Row> = Vec::new();
    for (place, shape, family, rp_filter) in [
        (Place::SameLink, Shape::Routed, Family::Ipv4, "1"),
        (Place::SameLink, Shape::Routed, Family::Ipv4, "2"),
        (Place::OtherInterface, Shape::Routed, Family::Ipv4, "1"),
        (Place::OtherInterface, Shape::Routed, Family::Ipv4, "2"),
        (Place::SameLink, Shape::Routed, Family::Ipv6, "1"),
        (Place::SameLink, Shape::Bridged, Family::Ipv4, "0"),
    ] {
        for seed in rows::seeds() {
            rows.push(row(format!("{place:?} {shape:?} {family:?} rp_filter {rp_filter} seed {seed}"), move || {
                own_contacts_are_undisturbed(place, shape, family, rp_filter, seed)
            }));
        }
    }
    rows::hold_alone(rows);
}

/// Packets from dark addresses of its own link make a server ask for them.
#[test]
fn a_server_that_is_made_to_ask_is_not_contained() {
    let mut rows: Vec<Row> = Vec::new();
    for place in [Place::SameLink, Place::OtherInterface] {
        for family in [Family::Ipv4, Family::Ipv6] {
            for seed in rows::seeds() {
                rows.push(row(format!("{place:?} {family:?} seed {seed}"), move || {
                    let site = Site::new(Shape::Routed, seed);
                    let (ground, server) = (&site.ground, site.ground.office(family, INNOCENT));
                    site::connect(&ground.innocent, server, ground.live(family)[0], 445);
                    let (forger, own) = match place {
                        Place::SameLink => {
                            let card = ground.innocent.link(|links| links.mac("eth0")).unwrap();
                            (Host::start(&ground.forger, "eth0", card), ground.office(family, 99))
                        }
                        Place::OtherInterface => {
                            let card = ground.gateway.link(|links| links.mac(&WARD.interface())).unwrap();
                            (Host::start(&ground.ward, "eth0", card), ground.live(family)[5])
                        }
                    };
                    let from = |ends: (std::net::IpAddr, std::net::IpAddr), port| {
                        let ack = Segment {
                            ports: (5_555, port),
                            flags: flag::ACK,
                            sequence: 1,
                            acknowledged: 1,
                            ..Segment::default()
                        };
                        forger.packet(ends, protocol::TCP, &ack.bytes(ends), Dress::Plain);
                    };
                    let dark: Vec<_> =
                        (150 + seed as u8 % 40..).take(12).map(|host| ground.office(family, host)).collect();
                    if place == Place::OtherInterface {
                        // The gateway asks for them itself, and learns that they are dark.
                        for dark in &dark {
                            from((own, *dark), 80);
                        }
                        std::thread::sleep(Duration::from_millis(1_200));
                    }
                    for _ in 0..5 {
                        for dark in &dark {
                            from((*dark, server), 139);
                        }
                        std::thread::sleep(Duration::from_millis(1_300));
                    }
                    unharmed(&site, family)?;
                    let begun = Instant::now();
                    let worked = site::connect(&ground.innocent, server, ground.live(family)[1], 445).is_some();
                    unless(worked, || format!("it could not connect for {:?}", begun.elapsed()))
                }));
            }
        }
    }
    rows::hold(rows);
}

/// A neighbour takes a working host's address with a card of its own, answers for it, and scans: the worst that it may
/// bring about is what it could without a gateway. The host itself works on once it answers for its address again.
#[test]
fn whoever_takes_an_address_over_gets_its_owner_cut_off_for_no_longer_than_that() {
    let rows = rows::seeds().map(|seed| {
        row(format!("seed {seed}"), move || {
            let site = Site::new(Shape::Routed, seed);
            let ground = &site.ground;
            let server = ground.office(Family::Ipv4, INNOCENT);
            let work = |victim| site::connect(&ground.innocent, server, ground.live(Family::Ipv4)[victim], 445);
            unless(work(70).is_some(), || "it cannot work at all".to_owned())?;
            let forger = Host::start(&ground.forger, "eth0", ground.next_hop());
            forger.owns_by(server, Mac([2, 0, 0, 0, 66, 66]));
            forger.asks(server, ground.office(Family::Ipv4, GATEWAY));
            for victim in ground.live(Family::Ipv4).into_iter().take(30) {
                forger.knock((server, victim), 445, Dress::Plain);
                std::thread::sleep(Duration::from_millis(20));
            }
            forger.disowns(server);
            std::thread::sleep(Duration::from_millis(1_500));
            // It speaks, as every host does when it notices that its address is used.
            let _ = work(71);
            std::thread::sleep(Duration::from_millis(1_000));
            unless(work(72).is_some(), || {
                format!(
                    "its own contacts are dropped; it is acted on: {:?}",
                    site.acted_on(&[server.to_string()]).first()
                )
            })
        })
    });
    rows::hold(rows.collect());
}
