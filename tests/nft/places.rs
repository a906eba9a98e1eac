//! Places: what holds for one link or card touches no other.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use firedoor::firewall::Order;
use firedoor::respond::{Action, Mode};
use firedoor::suspect::{Place, Who};
use firedoor::wire::frame::Transport;
use firedoor::wire::{Address, Link, Mac};

use crate::packets::{self, ACK, ipv4};
use crate::site::{Gun, Kind, SCANNER, SCANNER6, Shape, Site, config, plan, reached, victim, victim6};

const TWIN: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 50);
const OTHER_CARD: Mac = Mac([2, 0, 0, 0, 7, 7]);

fn guarded(shape: Shape) -> Option<Site> {
    let mut site = Site::build(shape)?;
    site.load(&plan(&config(Mode::Enforce)));
    Some(site)
}

fn act(site: &mut Site, place: Place, action: Action) {
    site.firewall(|firewall| firewall.act(place, action, Some(Duration::from_secs(600))).unwrap());
}

fn passes(site: &Site, fire: impl FnOnce(&mut Gun)) -> usize {
    let (watcher, mut gun) = (site.watch(), site.gun());
    fire(&mut gun);
    watcher.seen().len()
}

#[test]
fn the_same_address_on_two_interfaces_is_two_hosts() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = guarded(shape) else { return };
        let place = Place::address(site.link("lan"), Address::v4(TWIN.octets()));
        for action in [Action::Contain, Action::Isolate] {
            act(&mut site, place, action);
            let here = passes(&site, |gun| gun.fire(TWIN, victim(1), Kind::Syn(445)));
            let (watcher, mut gun) = (site.watch_scanner(), site.return_gun());
            gun.fire(TWIN, SCANNER, Kind::Syn(445));
            assert_eq!((here, watcher.seen().len()), (0, 1), "{shape:?} {action}");
        }
        let acted = site.firewall(|firewall| firewall.acted().unwrap());
        assert_eq!(acted.iter().map(|acted| acted.place).collect::<Vec<_>>(), [place]);
    }
}

#[test]
fn the_same_address_under_two_tags_is_two_hosts() {
    let Some(mut site) = guarded(Shape::Bridged) else { return };
    let lan = site.link("lan");
    let tagged = |vlan: u16| Place::address(Link { outer: vlan, ..lan }, Address::v4(TWIN.octets()));
    let to = Ipv4Addr::new(10, 78, 0, 9);
    let through = |site: &Site| {
        let count = |fire: &dyn Fn(&mut Gun)| passes(site, |gun| fire(gun));
        [
            count(&|gun| gun.fire_tagged(10, TWIN, to, Kind::Ack(445))),
            count(&|gun| gun.fire_tagged(20, TWIN, to, Kind::Ack(445))),
            count(&|gun| gun.fire(TWIN, to, Kind::Ack(445))),
        ]
    };
    act(&mut site, tagged(10), Action::Contain);
    assert_eq!(through(&site), [0, 1, 1]);
    act(&mut site, tagged(20), Action::Isolate);
    assert_eq!(through(&site), [0, 0, 1]);
    site.firewall(|firewall| firewall.lift(tagged(10)).unwrap());
    assert_eq!(through(&site), [1, 0, 1]);
    act(&mut site, Place::address(lan, Address::v4(TWIN.octets())), Action::Contain);
    assert_eq!(through(&site), [1, 0, 0]);
    // Wherever it is: under any tag and none.
    act(&mut site, Place::anywhere(Address::v4(TWIN.octets())), Action::Contain);
    assert_eq!(through(&site), [0, 0, 0]);
    // A card under a tag.
    site.firewall(|firewall| {
        for acted in firewall.acted().unwrap() {
            firewall.lift(acted.place).unwrap();
        }
    });
    assert_eq!(through(&site), [1, 1, 1]);
    let card = site.scanner_card();
    act(&mut site, Place::card(Link { outer: 10, ..lan }, card), Action::Contain);
    assert_eq!(through(&site), [0, 1, 1]);
}

#[test]
fn a_card_is_acted_on_whatever_it_calls_itself() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = guarded(shape) else { return };
        let card = Place::card(site.link("lan"), site.scanner_card());
        act(&mut site, card, Action::Contain);
        let through = |gun: &mut Gun| {
            for n in 1..20 {
                gun.fire(Ipv4Addr::new(10, 77, 1, 100 + n), victim(1), Kind::Ack(445));
                let from = Ipv6Addr::from(u128::from(SCANNER6) + 100 + u128::from(n));
                gun.fire(from, victim6(1), Kind::Ack(445));
            }
        };
        assert_eq!(passes(&site, through), 0, "{shape:?}");
        assert_eq!(passes(&site, |gun| gun.fire(SCANNER, victim(1), Kind::Ack(80))), 1, "{shape:?}");
        let other = |gun: &mut Gun| gun.as_card(OTHER_CARD).fire(SCANNER, victim(1), Kind::Ack(445));
        assert_eq!(passes(&site, other), 1, "{shape:?}");
        act(&mut site, card, Action::Isolate);
        assert_eq!(passes(&site, |gun| gun.fire(SCANNER, victim(1), Kind::Ack(80))), 0, "{shape:?}");
        site.firewall(|firewall| assert!(firewall.lift(card).unwrap()));
        assert_eq!(passes(&site, |gun| gun.fire(SCANNER, victim(1), Kind::Ack(445))), 1, "{shape:?}");
    }
}

#[test]
fn an_exempt_address_passes_though_its_card_is_acted_on() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let mut config = config(Mode::Enforce);
    config.respond.never_contain = firedoor::wire::Networks::new(vec!["10.77.1.50".parse().unwrap()]);
    site.load(&plan(&config));
    let card = Place::card(site.link("lan"), site.scanner_card());
    for action in [Action::Contain, Action::Isolate] {
        act(&mut site, card, action);
        assert_eq!(passes(&site, |gun| gun.fire(TWIN, victim(1), Kind::Ack(445))), 1, "{action}");
        assert_eq!(passes(&site, |gun| gun.fire(SCANNER, victim(1), Kind::Ack(445))), 0, "{action}");
    }
}

#[test]
fn a_contained_place_loses_what_it_alarmed_on_and_serves_nothing_lateral() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = guarded(shape) else { return };
        let link = site.link("lan");
        let places = [
            Place::card(link, site.scanner_card()),
            Place::address(link, Address::v4(SCANNER.octets())),
            Place::anywhere(Address::v4(SCANNER.octets())),
        ];
        for place in places {
            let order = Order {
                place,
                action: Action::Contain,
                timeout: None,
                ports: vec![(Transport::Tcp, 10_445), (Transport::Udp, 6892)],
            };
            site.firewall(|firewall| firewall.act_many(&[order]).unwrap());
            let shut = |gun: &mut Gun| {
                gun.fire(SCANNER, victim(1), Kind::Syn(10_445));
                gun.fire(SCANNER, victim(1), Kind::Ack(10_445));
                gun.fire(SCANNER, victim(1), Kind::Udp(5000, 6892));
                // Its own SMB: the payload leaves from port 445.
                let served = packets::tcp(445, 40_000, ACK, b"payload");
                gun.fire_ip(&ipv4(SCANNER, Ipv4Addr::new(10, 78, 0, 1), packets::TCP, 0, &served));
            };
            assert_eq!(passes(&site, shut), 0, "{shape:?} {place:?}");
            let open = |gun: &mut Gun| {
                gun.fire(SCANNER, victim(1), Kind::Ack(10_446));
                gun.fire(SCANNER, victim(1), Kind::Udp(10_445, 6893));
                gun.as_card(OTHER_CARD).fire(TWIN, victim(1), Kind::Ack(10_445));
            };
            assert_eq!(passes(&site, open), 3, "{shape:?} {place:?}");
            site.firewall(|firewall| firewall.lift(place).unwrap());
            assert_eq!(passes(&site, shut), 4, "{shape:?} {place:?}");
        }
    }
}

#[test]
fn a_network_behind_a_router_is_acted_on_as_a_whole() {
    let Some(mut site) = guarded(Shape::Routed) else { return };
    let place = Place { link: site.link("lan"), source: Who::Network("fd99:1::".parse().unwrap()) };
    act(&mut site, place, Action::Contain);
    let from = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let inside = |gun: &mut Gun| {
        gun.fire(from("fd99:1::7"), victim6(1), Kind::Ack(445));
        gun.fire(from("fd99:1:0:0:ffff::"), victim6(1), Kind::Ack(445));
    };
    assert_eq!(passes(&site, inside), 0);
    assert_eq!(passes(&site, |gun| gun.fire(from("fd99:1:0:1::7"), victim6(1), Kind::Ack(445))), 1);
    let acted = site.firewall(|firewall| firewall.acted().unwrap());
    assert_eq!(acted.iter().map(|acted| acted.place).collect::<Vec<_>>(), [place]);
    site.firewall(|firewall| firewall.lift(place).unwrap());
    assert_eq!(passes(&site, inside), 2);
}

#[test]
fn a_card_has_ten_first_contacts_whatever_it_calls_itself() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(site) = guarded(shape) else { return };
        let rotating = |gun: &mut Gun| {
            for n in 0..100u8 {
                gun.fire(Ipv4Addr::new(10, 77, 1, 100 + n / 2), victim(u32::from(n)), Kind::Syn(445));
                let from = Ipv6Addr::from(u128::from(SCANNER6) + 100 + u128::from(n / 2));
                gun.fire(from, victim6(u32::from(n)), Kind::Syn(445));
            }
        };
        let got = passes(&site, rotating);
        assert!((10..=12).contains(&got), "{shape:?}: {got}");
        // Sixty others have theirs all the same.
        let others = |gun: &mut Gun| {
            for n in 0..60u8 {
                let card = Mac([2, 0, 0, 1, 0, n]);
                gun.as_card(card).fire(Ipv4Addr::new(10, 77, 1, 160 + n), victim(500), Kind::Syn(445));
            }
        };
        assert_eq!(passes(&site, others), 60, "{shape:?}");
    }
}

#[test]
fn behind_a_router_each_address_has_its_own_limit_and_its_network_twice_that() {
    let Some(mut site) = guarded(Shape::Routed) else { return };
    let (link, card) = (site.link("lan"), site.scanner_card());
    site.firewall(|firewall| firewall.set_forwarders(&[(link, card)]).unwrap());
    let behind = |gun: &mut Gun| {
        for host in 0..20u8 {
            for n in 0..2 {
                gun.fire(Ipv4Addr::new(10, 200, 0, host), victim(u32::from(host) * 100 + n), Kind::Syn(445));
            }
        }
    };
    assert_eq!(passes(&site, behind), 40);
    let worm = Ipv4Addr::new(10, 200, 1, 1);
    let scan = |gun: &mut Gun| (0..100).for_each(|n| gun.fire(worm, victim(n), Kind::Syn(445)));
    assert!((10..=11).contains(&passes(&site, scan)));
    let rotating = |gun: &mut Gun| {
        for n in 0..100u32 {
            let from = Ipv6Addr::from(0xfd99_0001_0000_0000_0000_0000_0000_0000_u128 + u128::from(n));
            gun.fire(from, victim6(n), Kind::Syn(445));
        }
    };
    let got = passes(&site, rotating);
    assert!((20..=22).contains(&got), "{got}");
    let throttled = site.firewall(|firewall| firewall.throttled(100).unwrap());
    assert!(
        throttled.iter().any(|(place, _)| *place == Place::address(link, Address::v4(worm.octets()))),
        "{throttled:?}"
    );

    // Who forwards is known to the kernel: it outlives the daemon, and a flush.
    site.firewall = None;
    site.load(&plan(&config(Mode::Enforce)));
    assert!(site.nft("list set inet firedoor forwarders").contains(&card.to_string()));
    site.nft("flush ruleset");
    site.load(&plan(&config(Mode::Enforce)));
    assert!(site.nft("list set inet firedoor forwarders").contains(&card.to_string()));
}

#[test]
fn who_forges_an_address_empties_his_own_bucket() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(site) = guarded(shape) else { return };
        let forged = |gun: &mut Gun| {
            gun.as_card(OTHER_CARD);
            (0..500).for_each(|n| gun.fire(SCANNER, victim(1000 + n), Kind::Syn(445)));
        };
        let got = passes(&site, forged);
        assert!((10..=12).contains(&got), "{shape:?}: {got}");
        let own = |gun: &mut Gun| (0..10).for_each(|n| gun.fire(SCANNER, victim(n), Kind::Syn(445)));
        let (watcher, mut gun) = (site.watch(), site.gun());
        own(&mut gun);
        assert_eq!(reached(&watcher.seen(), SCANNER), 10, "{shape:?}");
    }
}

#[test]
fn a_place_waits_for_its_interface() {
    let Some(mut site) = guarded(Shape::Routed) else { return };
    let place = Place::address(site.link("lan"), Address::v4(SCANNER.octets()));
    let mut only = config(Mode::Enforce);
    only.gateway.interfaces = vec!["srv".to_owned()];
    site.load(&plan(&only));
    act(&mut site, place, Action::Contain);
    assert!(site.firewall(|firewall| firewall.acted().unwrap()).is_empty());
    site.load(&plan(&config(Mode::Enforce)));
    assert_eq!(passes(&site, |gun| gun.fire(SCANNER, victim(1), Kind::Ack(445))), 0);
}

#[test]
fn the_first_containment_loads_no_text() {
    let Some(mut site) = guarded(Shape::Routed) else { return };
    let handle = |site: &Site| site.nft("-a list chain inet firedoor door");
    let before = handle(&site);
    let place = Place::card(site.link("lan"), site.scanner_card());
    act(&mut site, place, Action::Contain);
    site.firewall(|firewall| firewall.lift(place).unwrap());
    assert_eq!(handle(&site), before);
}
