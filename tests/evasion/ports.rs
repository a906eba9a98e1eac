//! Worms on ports that are no lateral services, and what a contained host still serves.

use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::rows::{self, row, unless};
use crate::site::{self, ATTACKER, Site};

/// What alarmed is what is dropped.
#[test]
fn after_containment_nothing_passes_on_the_port_that_alarmed() {
    let mut rows = Vec::new();
    for (port, family, shape) in [
        (8_080, Family::Ipv4, Shape::Routed),
        (2_375, Family::Ipv4, Shape::Routed),
        (6_379, Family::Ipv6, Shape::Routed),
        (9_100, Family::Ipv4, Shape::Bridged),
        (10_445, Family::Ipv6, Shape::Bridged),
    ] {
        rows.push(row(format!("port {port} {family:?} {shape:?}"), move || {
            let site = Site::new(shape, 17);
            let (host, own) = (site.ground.worm(), site.ground.office(family, ATTACKER));
            let attack = Attack { port, count: 120, ..Attack::new(family, 20.0) };
            attack.run(&site, &host);
            let reached = site.reached(|source| source == own, port).len();
            let contained =
                site::unprotected() || !site.acted_on(&[own.to_string(), host.card().to_string()]).is_empty();
            let open = site.open_to(&host, own, port);
            let toll = format!("{reached} victims reached, contained: {contained}, then {open} of 4 SYNs pass");
            eprintln!("port {port}: {toll}");
            unless(contained && open == 0, || toll)
        }));
    }
    rows::hold(rows);
}

/// Victims fetch the worm's payload from it: from a lateral service of a contained host they get no byte.
#[test]
fn a_contained_host_serves_nothing() {
    let mut rows = Vec::new();
    for (family, shape) in
        [(Family::Ipv4, Shape::Routed), (Family::Ipv6, Shape::Routed), (Family::Ipv4, Shape::Bridged)]
    {
        rows.push(row(format!("{family:?} {shape:?}"), move || {
            let site = Site::new(shape, 18);
            let (host, own) = (site.ground.worm(), site.ground.office(family, ATTACKER));
            host.serves(445);
            let victims: Vec<_> = site.ground.live(family).into_iter().take(3).collect();
            let fetch = || {
                for victim in &victims {
                    // The address that is bound decides which victim asks.
                    site::connect(&site.ground.ward, *victim, own, 445);
                    std::thread::sleep(Duration::from_millis(100));
                }
                site.served(own, 445)
            };
            let before = fetch();
            unless(before > 0, || "it served nothing to begin with".to_owned())?;
            Attack { count: 60, ..Attack::new(family, 50.0) }.is_contained(&site, &host)?;
            let then = site.served(own, 445);
            let after = fetch() - then;
            unless(after == 0, || format!("{after} bytes were served after containment"))
        }));
    }
    rows::hold(rows);
}
