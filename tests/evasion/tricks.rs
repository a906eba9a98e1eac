//! What comes next: tricks that nobody reported yet, each with what is expected of it.

use std::time::Duration;

use firedoor::lab::plan::{Family, Shape};

use crate::attack::Attack;
use crate::dress::Dress;
use crate::packet::Segment;
use crate::rows::{self, Row, row, unless};
use crate::site::{ATTACKER, INNOCENT, MOST, Site};

/// An IPv4 option with room for nine addresses, and its padding (RFC 791 §3.1).
const RECORD_ROUTE: &[u8] = b"\x07\x27\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Lateral services that every victim has.
const SERVICES: [u16; 5] = [445, 139, 135, 22, 3389];

/// Expected: a SYN is a SYN, whatever else stands in its header, and the fuse and the detector see its port.
#[test]
fn a_syn_with_more_to_it_is_a_syn() {
    // TCP Fast Open with a cookie (RFC 7413), and two bytes of padding.
    const COOKIE: &[u8] = b"\x22\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x01\x01";
    let data = Segment { data: &[b'Z'; 100], ..Segment::default() };
    let fast_open = Segment { data: &[b'Z'; 50], options: COOKIE, ..Segment::default() };
    let from_445 = Segment { ports: (445, 0), ..Segment::default() };
    // ECE and CWR (RFC 3168), PSH, URG.
    let flags = |flags| Segment { flags, ..Segment::default() };
    let mut rows: Vec<Row> = Vec::new();
    for (name, family, dress, more) in [
        ("data", Family::Ipv4, Dress::Plain, data),
        ("fast open", Family::Ipv4, Dress::Plain, fast_open),
        ("from port 445", Family::Ipv4, Dress::Plain, from_445),
        ("ECN", Family::Ipv4, Dress::Plain, flags(0xc0)),
        ("PSH and URG", Family::Ipv6, Dress::Plain, flags(0x28)),
        ("IP options", Family::Ipv4, Dress::Options(&[1; 4]), data),
        ("record route", Family::Ipv4, Dress::Options(RECORD_ROUTE), Segment::default()),
        ("1 extension header", Family::Ipv6, Dress::Extensions(1), Segment::default()),
        ("8 extension headers", Family::Ipv6, Dress::Extensions(8), Segment::default()),
        ("30 extension headers", Family::Ipv6, Dress::Extensions(30), Segment::default()),
    ] {
        rows.push(row(name, move || {
            let site = Site::new(Shape::Routed, 31);
            let (host, attack) = (site.ground.worm(), Attack::new(family, 50.0).dressed(dress));
            attack.run_with(&site, &host, &more);
            attack.was_contained(&site, &host)
        }));
    }
    rows::hold(rows);
}

/// Expected: one card is one suspect in both families, so their contacts add up.
#[test]
fn both_families_of_one_card_add_up() {
    let rows = [Shape::Routed, Shape::Bridged].map(|shape| {
        row(format!("{shape:?}"), move || {
            let site = Site::new(shape, 32);
            let (host, attack) = (site.ground.worm(), Attack::new(Family::Ipv4, 20.0));
            let owns = [Family::Ipv4, Family::Ipv6].map(|family| site.ground.office(family, ATTACKER));
            let others = site.ground.everybody(Family::Ipv6);
            attack.each(&site, |number, ends| {
                // Different victims in each family.
                let ends = if number % 2 == 0 { ends } else { (owns[1], others[number + 120]) };
                host.knock(ends, 445, Dress::Plain);
            });
            let reached = site.reached(|source| owns.contains(&source), 445).len();
            let open = owns.map(|own| site.open_to(&host, own, 445));
            let toll = format!("{reached} victims reached, then {open:?} of 4 SYNs pass");
            unless(reached <= MOST && open == [0, 0], || toll)
        })
    });
    rows::hold(rows.into());
}

/// Expected: first contacts are counted by destination, whichever lateral service each is asked for.
#[test]
fn contacts_over_several_services_add_up() {
    rows::hold(vec![row("445, 139, 135, 22, 3389", || {
        let site = Site::new(Shape::Routed, 33);
        let (host, attack, own) =
            (site.ground.worm(), Attack::new(Family::Ipv4, 20.0), site.ground.office(Family::Ipv4, ATTACKER));
        attack.each(&site, |number, ends| host.knock(ends, SERVICES[number % 5], Dress::Plain));
        let reached: usize = SERVICES.iter().map(|port| site.reached(|source| source == own, *port).len()).sum();
        let open: usize = SERVICES.iter().map(|port| site.open_to(&host, own, *port)).sum();
        unless(reached <= MOST && open == 0, || format!("{reached} victims reached, then {open} of 20 SYNs pass"))
    })]);
}

/// What is never contained is never dropped, whoever sends in its name: so a contained card still gets packets through in an
/// exempt host's name, one way (the threat model says so). Nothing comes back to it: no connection is made, no payload
/// delivered, and the host itself is neither acted on nor held up.
#[test]
fn a_contained_card_connects_to_nobody_in_an_exempt_hosts_name() {
    rows::hold(vec![row("a never-contain host's name", || {
        let ground = crate::site::Ground::build(Shape::Routed, 34);
        let exempt = ground.office(Family::Ipv4, INNOCENT);
        let site = Site::on(ground, |setup| setup.with("networks", "never_contain", vec![format!("{exempt}/32")]));
        // It works, so that the gateway knows whose the address is.
        crate::site::connect(&site.ground.innocent, exempt, site.ground.live(Family::Ipv4)[75], 445);
        let host = site.ground.worm();
        Attack { count: 60, ..Attack::new(Family::Ipv4, 50.0) }.is_contained(&site, &host)?;
        let connected = host.connected().len();
        Attack { count: 100, ..Attack::new(Family::Ipv4, 50.0) }.each(&site, |_, (_, to)| {
            host.knock_with(host.card(), (exempt, to), 445, Dress::Plain, &Segment::default());
        });
        let paid = site.visits.to(|source| source == exempt, 445, 1).len();
        let connected = host.connected().len() - connected;
        let acted_on = site.acted_on(&[exempt.to_string()]);
        unless(acted_on.is_empty(), || format!("the exempt host is acted on: {}", acted_on[0]))?;
        let works =
            crate::site::connect(&site.ground.innocent, exempt, site.ground.live(Family::Ipv4)[74], 445).is_some();
        unless(works, || "the exempt host's own contact was dropped".to_owned())?;
        unless(connected == 0 && paid == 0, || {
            format!("{connected} connections, {paid} payloads in the exempt host's name")
        })
    })]);
}

/// Expected: contained at its tenth dark destination at the latest. It takes five minutes, so only when more rounds are asked
/// for: each contact comes from an address of its own, half a minute after the last.
#[test]
fn a_new_address_for_each_contact_every_thirty_seconds_is_contained() {
    if std::env::var_os("FIREDOOR_EVASION_ROUNDS").is_none() {
        eprintln!("SKIPPED: FIREDOOR_EVASION_ROUNDS asks for no long rounds");
        return;
    }
    rows::hold(vec![row("slow", || {
        let site = Site::new(Shape::Routed, 35);
        let host = site.ground.host();
        let dark = site.ground.dark(Family::Ipv4);
        let mut name = site.ground.office(Family::Ipv4, 101);
        for (number, to) in (0..10).zip(dark) {
            name = site.ground.office(Family::Ipv4, 101 + number);
            host.owns(name);
            host.knock((name, to), 445, Dress::Plain);
            std::thread::sleep(Duration::from_secs(30));
        }
        let open = site.open_to(&host, name, 445);
        unless(open == 0, || format!("{open} of 4 SYNs pass after ten dark destinations"))
    })]);
}
