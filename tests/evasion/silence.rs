//! A worm that does not answer for its own address, and keeps the gateway's neighbour entry fresh by asking.

use firedoor::lab::plan::{Family, GATEWAY, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::rows::{self, row};
use crate::site::{ATTACKER, Site};

/// It completes handshakes, so it is there.
#[test]
fn silence_is_no_alibi() {
    let rows = [Family::Ipv4, Family::Ipv6].map(|family| {
        row(format!("{family:?}"), move || {
            let site = Site::new(Shape::Routed, 11);
            let (host, attack) = (site.ground.host(), Attack { count: 15, ..Attack::new(family, 1.5) });
            let own = site.ground.office(family, ATTACKER);
            attack.each(&site, |number, ends| {
                if number % 3 == 0 {
                    host.asks(own, site.ground.office(family, GATEWAY));
                }
                host.knock(ends, 445, Dress::Plain);
            });
            host.asks(own, site.ground.office(family, GATEWAY));
            attack.was_contained(&site, &host)
        })
    });
    rows::hold(rows.into());
}
