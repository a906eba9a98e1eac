//! Frames that a bridge passes on, and in which the address stands further back than usual.

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::host::Host;
use crate::packet::ethertype::{SERVICE_VLAN, VLAN};
use crate::rows::{self, Finding, row, unless};
use crate::site::{self, ATTACKER, MOST, Site};

/// Either at most ten destinations get a frame, or nothing says that the door is shut and something says that it cannot be.
/// The worm answers questions for its address with the same tags.
fn nothing_is_shut_on_paper(family: Family, tags: &'static [(u16, u16)], dress: Dress) -> Finding {
    let site = Site::new(Shape::Bridged, 12);
    let host = Host::tagged(&site.ground.attacker, "eth0", site.ground.next_hop(), tags);
    let own = site.ground.office(family, ATTACKER);
    host.owns(own);
    host.asks(own, site.ground.live(family)[0]);
    Attack::new(family, 30.0).dressed(dress).run(&site, &host);
    let passed = site.tally.destinations(|packet| packet.source == own && packet.opens(445)).len();
    if site::unprotected() {
        return Err(format!("{passed} of 120 came through"));
    }
    let claims = site.acted_on(&[own.to_string(), host.card().to_string()]);
    let claimed = claims.iter().any(|act| act["enforced"] == true);
    unless(passed <= MOST || !claimed, || format!("{passed} of 120 came through, and the door is said to be shut"))?;
    let said = site.metrics() + &site.command(&["status"]);
    let lines = said.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let named = lines
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
        .any(|word| ["tag", "tags", "tagged", "qinq", "pppoe"].contains(&word.to_lowercase().as_str()));
    unless(passed <= MOST || named, || format!("{passed} of 120 came through, and neither status nor metrics say why"))
}

#[test]
fn tags_and_sessions_hide_nobody_and_nothing_is_shut_on_paper() {
    const STACKS: [&[(u16, u16)]; 6] = [
        &[(VLAN, 10)],
        &[(VLAN, 0)],
        &[(SERVICE_VLAN, 20), (VLAN, 10)],
        &[(VLAN, 20), (VLAN, 10)],
        &[(VLAN, 0), (VLAN, 10)],
        &[(SERVICE_VLAN, 20), (VLAN, 10), (VLAN, 30)],
    ];
    let mut rows = vec![row("PPPoE", || nothing_is_shut_on_paper(Family::Ipv4, &[], Dress::Pppoe))];
    for tags in STACKS {
        for family in [Family::Ipv4, Family::Ipv6] {
            rows.push(row(format!("{tags:x?} {family:?}"), move || {
                nothing_is_shut_on_paper(family, tags, Dress::Plain)
            }));
        }
    }
    rows::hold(rows);
}
