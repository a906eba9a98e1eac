//! What a contained and an isolated host can still do.

use std::time::Duration;

use firedoor::firewall::Acted;
use firedoor::respond::{Action, Mode};
use firedoor::suspect::Place;
use firedoor::wire::Address;

use crate::site::{Kind, SCANNER, Shape, Site, config, plan, reached, victim};

fn scanner() -> Place {
    Place::anywhere(Address::v4(SCANNER.octets()))
}

#[test]
fn a_contained_host_loses_the_lateral_services_and_nothing_else() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        site.load(&plan(&config(Mode::Enforce)));
        site.firewall(|firewall| firewall.act(scanner(), Action::Contain, Some(Duration::from_secs(60))).unwrap());
        let watcher = site.watch();
        let mut gun = site.gun();
        for kind in [Kind::Syn(445), Kind::Ack(445), Kind::Syn(22), Kind::Syn(80), Kind::Ack(80), Kind::Udp(5000, 53)] {
            gun.fire(SCANNER, victim(7), kind);
        }
        let seen: Vec<Kind> = watcher.seen().into_iter().map(|arrival| arrival.kind).collect();
        assert_eq!(seen, [Kind::Syn(80), Kind::Ack(80), Kind::Udp(5000, 53)], "{shape:?}");
        let dropped = site.firewall(|firewall| firewall.counters().unwrap()).count("contain_dropped");
        assert_eq!(dropped.packets, 3, "{shape:?}");
        let acted = site.firewall(|firewall| firewall.acted().unwrap());
        assert!(
            matches!(acted[..], [Acted { place, action: Action::Contain, expires_in: Some(left) }]
                if place == scanner() && left <= Duration::from_secs(60) && left > Duration::from_secs(50)),
            "{acted:?}"
        );
        assert!(site.firewall(|firewall| firewall.lift(scanner()).unwrap()));
        assert!(!site.firewall(|firewall| firewall.lift(scanner()).unwrap()));
        let watcher = site.watch();
        gun.fire(SCANNER, victim(7), Kind::Syn(445));
        assert_eq!(watcher.seen().len(), 1, "{shape:?}");
    }
}

#[test]
fn an_isolated_host_keeps_its_care_network_both_ways_and_nothing_else() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        let mut config = config(Mode::Enforce);
        config.gateway.care = firedoor::wire::Networks::new(vec!["10.78.9.0/24".parse().unwrap()]);
        site.load(&plan(&config));
        site.firewall(|firewall| firewall.act(scanner(), Action::Isolate, None).unwrap());
        let (care, other) = (victim(0x0901), victim(7));

        let (watcher, mut gun) = (site.watch(), site.gun());
        for to in [care, other] {
            for kind in [Kind::Syn(80), Kind::Syn(445), Kind::Udp(5000, 53)] {
                gun.fire(SCANNER, to, kind);
            }
        }
        gun.fire(SCANNER, other, Kind::Udp(68, 67));
        let seen = watcher.seen();
        assert!(seen.iter().all(|a| a.to == care || a.kind == Kind::Udp(68, 67)), "{shape:?} {seen:?}");
        assert_eq!(seen.len(), 4, "{shape:?} {seen:?}");

        let (watcher, mut gun) = (site.watch_scanner(), site.return_gun());
        for from in [care, other] {
            for kind in [Kind::Syn(80), Kind::Ack(40_000), Kind::Udp(53, 5000)] {
                gun.fire(from, SCANNER, kind);
            }
        }
        gun.fire(other, SCANNER, Kind::Udp(67, 68));
        let seen = watcher.seen();
        assert!(seen.iter().all(|a| a.from == care || a.kind == Kind::Udp(67, 68)), "{shape:?} {seen:?}");
        assert_eq!(seen.len(), 4, "{shape:?} {seen:?}");
        let acted = site.firewall(|firewall| firewall.acted().unwrap());
        assert_eq!(acted, [Acted { place: scanner(), action: Action::Isolate, expires_in: None }]);
    }
}

#[test]
fn a_vlan_tag_hides_nobody_on_a_bridged_trunk() {
    let Some(mut site) = Site::build(Shape::Bridged) else { return };
    site.load(&plan(&config(Mode::Enforce)));
    site.firewall(|firewall| firewall.act(scanner(), Action::Contain, None).unwrap());
    let (watcher, mut gun) = (site.watch(), site.gun());
    for kind in [Kind::Syn(445), Kind::Ack(445), Kind::Syn(80)] {
        gun.fire_tagged(12, SCANNER, "10.78.0.7".parse().unwrap(), kind);
    }
    let other = "10.77.1.9".parse().unwrap();
    for n in 0..50u8 {
        gun.fire_tagged(12, other, std::net::Ipv4Addr::new(10, 78, 1, n), Kind::Syn(445));
    }
    let seen = watcher.seen();
    assert_eq!(seen.iter().filter(|arrival| arrival.from == SCANNER).count(), 1, "{seen:?}");
    assert_eq!(reached(&seen, other), 10, "and the fuse counts tagged packets too");
}
