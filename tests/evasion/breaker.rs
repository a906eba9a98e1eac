//! One host with many names disarms nobody's protection.

use std::collections::HashSet;
use std::time::Duration;

use firedoor::lab::plan::{Family, Segment, Shape, WARD};

use crate::dress::Dress;
use crate::host::Host;
use crate::packet::Segment as Tcp;
use crate::rows::{self, row, unless};
use crate::site::{Ground, MOST, Site};
use crate::tally::Tally;

/// With the breaker as it is shipped: a host with many aliases spreads from all of them, then a worm in the next zone does.
#[test]
fn many_names_of_one_host_trip_nothing_for_the_next_zones_worm() {
    let rows = [6, 60].map(|aliases: u8| {
        row(format!("{aliases} aliases"), move || {
            let ground = Ground::build(Shape::Routed, 22);
            // Live hosts in the office, for the second worm.
            for host in 20..60 {
                let own = ground.plan(Family::Ipv4).on_link(Segment::Office, host);
                ground.innocent.link(|links| links.address("eth0", own)).unwrap();
            }
            let site = Site::on(ground, |setup| {
                setup.with("breaker", "most_at_once", 200).with("breaker", "most_percent_of_zone", 50).with(
                    "breaker",
                    "most_a_minute",
                    60,
                )
            });
            let (ground, host) = (&site.ground, site.ground.host());
            let dark = ground.dark(Family::Ipv4);
            for number in 0..aliases {
                host.owns(ground.office(Family::Ipv4, 101 + number));
            }
            for number in 0..240_usize {
                let name = ground.office(Family::Ipv4, 101 + u8::try_from(number % usize::from(aliases)).unwrap());
                host.knock((name, dark[number % dark.len()]), 445, Dress::Plain);
                std::thread::sleep(Duration::from_millis(25));
            }
            std::thread::sleep(Duration::from_secs(1));

            let heard = Tally::start(&ground.innocent, "eth0");
            let next_hop = ground.gateway.link(|links| links.mac(&WARD.interface())).unwrap();
            let (worm, own) = (Host::start(&ground.ward, "eth0", next_hop), ground.live(Family::Ipv4)[5]);
            for turn in 0..64_u8 {
                let victim = ground.office(Family::Ipv4, 2 + turn * 3 % 61);
                worm.knock_with(worm.card(), (own, victim), 445, Dress::Plain, &Tcp::default());
                std::thread::sleep(Duration::from_millis(125));
            }
            std::thread::sleep(Duration::from_millis(500));
            let live = |address: &std::net::IpAddr| (20..60).any(|host| *address == ground.office(Family::Ipv4, host));
            let reached: HashSet<_> = heard
                .destinations(|packet| packet.source == own && packet.opens(445))
                .into_iter()
                .filter(live)
                .collect();
            let acts = site.acted_on(&[own.to_string(), worm.card().to_string()]);
            let contained = acts.iter().any(|act| act["decision"] == "contain" || act["decision"] == "isolate");
            unless(reached.len() <= MOST && contained, || {
                format!(
                    "the next zone's worm reached {} of 40, contained: {contained}; {}",
                    reached.len(),
                    site.ask("/v1/status")["breaker"]
                )
            })
        })
    });
    rows::hold(rows.into());
}
