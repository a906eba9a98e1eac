//! Frames that a bridge passes on, and in which the address stands further back than usual.

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::ethertype::{SERVICE_VLAN, VLAN};
use crate::rows::{self, row, unless};
use crate::site::{ATTACKER, MOST, Site};

/// Either at most ten destinations get a frame, or nothing says that the door is shut.
#[test]
fn tags_and_sessions_hide_nobody_and_nothing_is_shut_on_paper() {
    let dresses = [
        Dress::Tags(&[(VLAN, 10)]),
        Dress::Tags(&[(VLAN, 0)]),
        Dress::Tags(&[(SERVICE_VLAN, 20), (VLAN, 10)]),
        Dress::Tags(&[(VLAN, 20), (VLAN, 10)]),
        Dress::Tags(&[(VLAN, 0), (VLAN, 10)]),
        Dress::Tags(&[(SERVICE_VLAN, 20), (VLAN, 10), (VLAN, 30)]),
        Dress::Pppoe,
    ];
    let mut rows = Vec::new();
    for dress in dresses {
        for family in if matches!(dress, Dress::Pppoe) { &[Family::Ipv4][..] } else { &[Family::Ipv4, Family::Ipv6] } {
            let family = *family;
            rows.push(row(format!("{dress:?} {family:?}"), move || {
                let site = Site::new(Shape::Bridged, 12);
                let host = site.ground.worm();
                Attack::new(family, 30.0).dressed(dress).run(&site, &host);
                let own = site.ground.office(family, ATTACKER);
                let passed = site.tally.destinations(|packet| packet.source == own && packet.opens(445)).len();
                let claims = site.accused(&[own.to_string(), host.card().to_string()]);
                let claimed = claims.iter().any(|act| act["enforced"] == true);
                unless(passed <= MOST || !claimed, || format!("{passed} of 120 came through, and the door is said to be shut"))?;
                // What cannot be read is said: in `status` or in a metric that names it.
                let said = site.metrics() + &site.command(&["status"]);
                unless(passed <= MOST || said.to_lowercase().contains("tag") || said.to_lowercase().contains("pppoe"), || {
                    format!("{passed} of 120 came through, and nobody says that they cannot be judged")
                })
            }));
        }
    }
    rows::hold(rows);
}
