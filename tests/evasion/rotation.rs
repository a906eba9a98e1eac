//! One card that calls itself something else every few contacts; and many devices that are what they say.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use firedoor::lab::plan::{Family, GATEWAY, Shape};
use firedoor::lab::random::Random;
use firedoor::sys::namespace::Namespace;
use firedoor::wire::Mac;

use crate::attack::Attack;
use crate::dress::Dress;
use crate::host::Host;
use crate::rows::{self, Finding, Row, row, unless};
use crate::site::{self, Ground, MOST, Site};

/// So many names in the office: aliases, or temporary addresses (RFC 8981).
fn names(ground: &Ground, family: Family, count: usize) -> Vec<IpAddr> {
    let mut random = Random::new(5);
    let temporary = |prefix: IpAddr, random: &mut Random| {
        let IpAddr::V6(prefix) = prefix else { panic!("IPv6") };
        IpAddr::from(Ipv6Addr::from(prefix.to_bits() >> 64 << 64 | u128::from(random.next() | 1 << 40)))
    };
    match family {
        Family::Ipv4 => (0..count).map(|n| ground.office(family, 101 + u8::try_from(n % 150).unwrap())).collect(),
        Family::Ipv6 => (0..count).map(|_| temporary(ground.office(family, 1), &mut random)).collect(),
    }
}

#[test]
fn a_new_address_every_few_contacts_is_the_same_card() {
    let mut rows: Vec<Row> = Vec::new();
    for (shape, family, each, pace) in [
        (Shape::Routed, Family::Ipv4, 2, 8.0),
        (Shape::Routed, Family::Ipv4, 2, 50.0),
        (Shape::Routed, Family::Ipv4, 8, 50.0),
        (Shape::Bridged, Family::Ipv4, 2, 50.0),
        (Shape::Routed, Family::Ipv6, 2, 8.0),
        (Shape::Routed, Family::Ipv6, 2, 50.0),
        (Shape::Routed, Family::Ipv6, 8, 50.0),
        (Shape::Bridged, Family::Ipv6, 2, 50.0),
        (Shape::Routed, Family::Ipv4, 2, 1_000.0),
        (Shape::Routed, Family::Ipv6, 2, 1_000.0),
    ] {
        for seed in rows::seeds() {
            rows.push(row(
                format!("{family:?} {shape:?}, {each} contacts an address, {pace}/s, seed {seed}"),
                move || {
                    let site = Site::new(shape, seed);
                    let (host, base) = (site.ground.host(), Attack::new(family, pace));
                    let attack = Attack { names: names(&site.ground, family, base.count / each), each, ..base };
                    for &name in &attack.names {
                        host.owns(name);
                    }
                    attack.is_contained(&site, &host)
                },
            ));
        }
    }
    rows::hold(rows);
}

/// Devices that each connect to a few victims of their own; how many of these connections came about.
fn work(count: u8, connect: impl Fn(u8, usize) -> bool) -> usize {
    (0..count).map(|number| (0..2).filter(|&turn| connect(number, usize::from(number) * 2 + turn)).count()).sum()
}

/// Sixty devices, one of which is a worm: it is contained, and the others work on.
fn judged_one_by_one(
    site: &Site,
    worm: IpAddr,
    strike: impl Fn(IpAddr),
    others: impl Fn(u8, usize) -> bool,
) -> Finding {
    // The others have business from the beginning, each with one host.
    let early = (0..59).filter(|&number| others(number, usize::from(number))).count();
    for victim in site.ground.everybody(Family::Ipv4).into_iter().take(80) {
        strike(victim);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    let reached = site.reached(|source| source == worm, 445).len();
    let late = work(59, |number, turn| others(number, turn + 1));
    let victim = site.ground.live(Family::Ipv4)[70];
    let before = site.reached(|source| source == worm, 445);
    strike(victim);
    strike(before.first().copied().unwrap_or(victim));
    std::thread::sleep(Duration::from_millis(300));
    let after = site.reached(|source| source == worm, 445);
    let shut = before.len() == after.len();
    unless(reached <= MOST && shut && early == 59 && late == 118, || {
        format!(
            "the worm reached {reached}, its door is shut: {shut}; others: {early} of 59 connections before, {late} of 118 after"
        )
    })
}

/// Each of the others asks one or two servers, which are few, as in life.
fn server(ground: &Ground, turn: usize) -> IpAddr {
    ground.live(Family::Ipv4)[turn % 4]
}

#[test]
fn sixty_devices_behind_a_router_are_judged_one_by_one() {
    rows::hold(vec![row("routed", || {
        let mut ground = Ground::build(Shape::Routed, 6);
        let [router, branch] = ["router", "branch"].map(|name| Namespace::new(name).unwrap());
        ground.plug_in(&router, "eth0", "port9");
        site::cable((&router, "eth1"), (&branch, "eth0"));
        router.set("net/ipv4/ip_forward", "1").unwrap();
        router.link(|links| links.address("eth0", "10.66.0.5/24".parse().unwrap())).unwrap();
        router.link(|links| links.address("eth1", "10.66.8.1/24".parse().unwrap())).unwrap();
        router.link(|links| links.route("0.0.0.0/0".parse().unwrap(), ground.office(Family::Ipv4, GATEWAY))).unwrap();
        for host in 2..=61 {
            branch.link(|links| links.address("eth0", format!("10.66.8.{host}/24").parse().unwrap())).unwrap();
        }
        branch.link(|links| links.route("0.0.0.0/0".parse().unwrap(), [10, 66, 8, 1].into())).unwrap();
        ground.gateway.link(|links| links.route("10.66.8.0/24".parse().unwrap(), [10, 66, 0, 5].into())).unwrap();
        // The worm is the 60th; it does not wait for answers.
        let next_hop = router.link(|links| links.mac("eth1")).unwrap();
        ground.more.extend([router, branch]);
        let site = Site::on(ground, |setup| setup);
        let (branch, worm) = (&site.ground.more[1], IpAddr::from([10, 66, 8, 61]));
        let host = Host::start(branch, "eth0", next_hop);
        judged_one_by_one(
            &site,
            worm,
            |victim| host.knock((worm, victim), 445, Dress::Plain),
            |number, turn| {
                site::connect(branch, [10, 66, 8, 2 + number].into(), server(&site.ground, turn), 445).is_some()
            },
        )
    })]);
}

#[test]
fn sixty_devices_on_a_link_are_judged_one_by_one() {
    let rows = [Shape::Routed, Shape::Bridged].map(|shape| {
        row(format!("{shape:?}"), move || {
            let site = Site::new(shape, 7);
            let host = site.ground.host();
            let (address, card) = (
                |number: u8| site.ground.office(Family::Ipv4, 101 + number),
                |number: u8| Mac([2, 0, 0, 7, 0, number]),
            );
            for number in 0..60 {
                host.owns_by(address(number), card(number));
                host.asks(address(number), site.ground.office(Family::Ipv4, GATEWAY));
            }
            let worm = address(59);
            judged_one_by_one(
                &site,
                worm,
                |victim| host.knock((worm, victim), 445, Dress::Plain),
                |number, turn| {
                    let (from, to) = (address(number), server(&site.ground, turn));
                    let came = || !site.visits.to(|source| source == from, 445, 1).is_empty();
                    host.knock((from, to), 445, Dress::Plain);
                    let begun = std::time::Instant::now();
                    while begun.elapsed() < Duration::from_secs(3) {
                        if came() && site.visits.to(|source| source == from, 445, 1).contains(&to) {
                            return true;
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    false
                },
            )
        })
    });
    rows::hold(rows.into());
}

/// A new card with each address, on the same wire. Nothing at this gateway shows that they are one device, so each card
/// has its own few contacts: the documented limit. What is asked for here is that no *card* gets more than its share.
#[test]
fn a_new_card_with_each_address_gets_no_more_than_its_share() {
    rows::hold(vec![row("20 cards", || {
        let site = Site::new(Shape::Routed, 8);
        let host = site.ground.host();
        let all = site.ground.everybody(Family::Ipv4);
        for number in 0..20_u8 {
            let address = site.ground.office(Family::Ipv4, 101 + number);
            host.owns_by(address, Mac([2, 0, 0, 8, 0, number]));
            for victim in all.iter().skip(usize::from(number) * 12).take(12) {
                host.knock((address, *victim), 445, Dress::Plain);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        for number in 0..20_u8 {
            let address = site.ground.office(Family::Ipv4, 101 + number);
            let reached = site.reached(|source| source == address, 445).len();
            unless(reached <= MOST, || format!("{address} reached {reached}"))?;
        }
        Ok(())
    })]);
}
