//! What is inside tunnels, behind second tags and in PPPoE.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use firedoor::respond::{Action, Mode};
use firedoor::suspect::Place;
use firedoor::wire::{Link, Mac};

use crate::packets::{ACK, SYN, TCP, UDP, ethernet, ipv4, ipv6, tcp, udp};
use crate::site::{Gun, SCANNER, SCANNER6, Shape, Site, config, plan, victim, victim6};

const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 250, 1);
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 60, 0, 1);

fn four(n: u32) -> Ipv4Addr {
    match victim(n) {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => unreachable!(),
    }
}

fn six(n: u32) -> Ipv6Addr {
    match victim6(n) {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(_) => unreachable!(),
    }
}

fn inner4(n: u32, port: u16, flags: u8) -> Vec<u8> {
    ipv4(INSIDE, four(n), TCP, 0, &tcp(40_000, port, flags, b"mark-inside"))
}

fn inner6(n: u32, port: u16, flags: u8) -> Vec<u8> {
    ipv6(SCANNER6, six(n), TCP, &tcp(40_000, port, flags, b"mark-inside"))
}

/// Each kind of tunnel, around a segment to the `n`-th victim.
fn tunnels(n: u32, port: u16, flags: u8) -> Vec<(&'static str, Vec<u8>)> {
    let (v4, v6) = (inner4(n, port, flags), inner6(n, port, flags));
    let behind = |head: &[u8], inner: &[u8]| [head, inner].concat();
    let out = |protocol, payload: &[u8]| ipv4(SCANNER, FAR, protocol, 0, payload);
    let over_udp = |port, head: &[u8], inner: &[u8]| out(UDP, &udp(5000, port, &behind(head, inner)));
    let mut options = inner4(n, port, flags);
    options[0] = 0x46;
    options.splice(20..20, [1, 1, 1, 0]);
    vec![
        ("IPIP", out(4, &v4)),
        ("IPIP, inner options", out(4, &options)),
        ("6in4", out(41, &v6)),
        ("4in6", ipv6(SCANNER6, six(250), 4, &v4)),
        ("6in6", ipv6(SCANNER6, six(250), 41, &v6)),
        ("GRE", out(47, &behind(&[0, 0, 8, 0], &v4))),
        ("GRE, IPv6", out(47, &behind(&[0, 0, 0x86, 0xdd], &v6))),
        ("GRE, key", out(47, &behind(&[0x20, 0, 8, 0, 0, 0, 0, 1], &v4))),
        ("GRE, key and number", out(47, &behind(&[0x30, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 2], &v4))),
        ("GRE, Ethernet", out(47, &behind(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &ethernet(0x0800, &v4)))),
        ("VXLAN", over_udp(4789, &[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0800, &v4))),
        ("VXLAN, old port, IPv6", over_udp(8472, &[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x86dd, &v6))),
        ("Geneve", over_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0], &ethernet(0x0800, &v4))),
        ("Teredo", over_udp(3544, &[], &v6)),
        ("Teredo, origin", over_udp(3544, &[0, 0, 1, 2, 3, 4, 5, 6], &v6)),
    ]
}

fn passed(site: &Site, card: Mac, packets: impl Iterator<Item = Vec<u8>>) -> usize {
    let (watcher, mut gun) = (site.watch(), site.gun());
    gun.as_card(card);
    packets.for_each(|packet| gun.fire_ip(&packet));
    watcher.marked(b"mark-inside")
}

fn card(n: usize) -> Mac {
    Mac([2, 0, 0, 3, 0, u8::try_from(n).unwrap()])
}

#[test]
fn a_scan_inside_a_tunnel_gets_ten_first_contacts() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        site.load(&plan(&config(Mode::Enforce)));
        for (kind, (name, _)) in tunnels(0, 445, SYN).into_iter().enumerate() {
            let of = |port: u16, flags: u8| (0..40).map(move |n| tunnels(n, port, flags).swap_remove(kind).1);
            let got = passed(&site, card(kind), of(445, SYN));
            assert!((10..=12).contains(&got), "{shape:?}, {name}: {got}");
            if !name.contains("options") {
                assert_eq!(passed(&site, card(100 + kind), of(445, ACK)), 40, "{shape:?}, {name}");
                assert_eq!(passed(&site, card(100 + kind), of(443, SYN)), 40, "{shape:?}, {name}");
            }
        }
        // A router's tunnels are its business.
        let link = site.link("lan");
        site.firewall(|firewall| firewall.set_forwarders(&[(link, card(200))]).unwrap());
        let ipip = (0..40).map(|n| tunnels(n, 445, SYN).swap_remove(0).1);
        assert_eq!(passed(&site, card(200), ipip), 40, "{shape:?}");
    }
}

#[test]
fn an_exempt_host_runs_tunnels_and_a_contained_one_none() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let mut config = config(Mode::Enforce);
    config.respond.never_contain =
        firedoor::wire::Networks::new(["10.77.1.2", "fd77:1::2"].map(|a| a.parse().unwrap()).to_vec());
    site.load(&plan(&config));
    for (kind, (name, _)) in tunnels(0, 445, SYN).into_iter().enumerate() {
        let all = (0..40).map(|n| tunnels(n, 445, SYN).swap_remove(kind).1);
        assert_eq!(passed(&site, card(kind), all), 40, "{name}");
    }
    config.respond.never_contain = firedoor::wire::Networks::new(Vec::new());
    site.load(&plan(&config));
    let place = Place::card(site.link("lan"), card(1));
    site.firewall(|firewall| firewall.act(place, Action::Contain, None).unwrap());
    for (name, packet) in tunnels(0, 80, ACK) {
        assert_eq!(passed(&site, card(1), [packet].into_iter()), 0, "{name}");
    }
    let sctp = ipv4(SCANNER, FAR, 132, 0, b"mark-inside");
    assert_eq!(passed(&site, card(1), [sctp].into_iter()), 0);
    let dropped = site.firewall(|firewall| firewall.counters().unwrap()).count("tunnel_dropped").packets;
    assert_eq!(dropped, tunnels(0, 80, ACK).len() as u64 + 1);
}

/// Two tags, three, PPPoE, PPPoE under a tag; for each family. Openings in them are limited.
fn frames(packet: &[u8]) -> Vec<(&'static str, u16, Vec<u8>)> {
    let (kind, ppp) = if packet[0] >> 4 == 4 { ([8, 0], [0, 0x21]) } else { ([0x86, 0xdd], [0, 0x57]) };
    let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
    let session = [&[0x11, 0, 0, 1][..], &length, &ppp, packet].concat();
    let tag = |vlan: u8, kind: [u8; 2], rest: &[u8]| [&[0, vlan][..], &kind, rest].concat();
    vec![
        ("two tags", 0x8100, tag(10, [0x81, 0], &tag(20, kind, packet))),
        ("two tags, provider's", 0x88a8, tag(10, [0x81, 0], &tag(20, kind, packet))),
        ("three tags", 0x8100, tag(10, [0x81, 0], &tag(20, [0x88, 0xa8], &tag(30, kind, packet)))),
        ("PPPoE", 0x8864, session.clone()),
        ("PPPoE under a tag", 0x8100, tag(10, [0x88, 0x64], &session)),
    ]
}

fn framed(site: &Site, card: Mac, count: u32, frame: impl Fn(u32) -> (u16, Vec<u8>)) -> usize {
    let (watcher, mut gun): (_, Gun) = (site.watch(), site.gun());
    gun.as_card(card);
    for n in 0..count {
        let (kind, content) = frame(n);
        gun.fire_raw(kind, &content);
    }
    watcher.marked(b"mark-inside")
}

#[test]
fn what_is_behind_two_tags_or_in_pppoe_is_limited_and_shut_for_a_card_that_is_acted_on() {
    let Some(mut site) = Site::build(Shape::Bridged) else { return };
    let mut config = config(Mode::Enforce);
    site.load(&plan(&config));
    let link = site.link("lan");
    for (family, inner) in [("IPv4", inner4 as fn(u32, u16, u8) -> Vec<u8>), ("IPv6", inner6)] {
        for kind in 0..5 {
            let id = kind + if family == "IPv4" { 0 } else { 10 };
            let of = |port: u16, flags: u8| {
                move |n: u32| {
                    let (_, ethertype, content) = frames(&inner(n, port, flags)).swap_remove(kind);
                    (ethertype, content)
                }
            };
            let name = frames(&inner(0, 445, SYN)).swap_remove(kind).0;
            let got = framed(&site, card(id), 40, of(445, SYN));
            assert!((10..=12).contains(&got), "{family}, {name}: {got}");
            assert_eq!(framed(&site, card(20 + id), 40, of(443, SYN)), 40, "{family}, {name}");
            assert_eq!(framed(&site, card(20 + id), 40, of(445, ACK)), 40, "{family}, {name}");
            site.firewall(|firewall| firewall.act(Place::card(link, card(40 + id)), Action::Contain, None).unwrap());
            assert_eq!(framed(&site, card(40 + id), 5, of(443, ACK)), 0, "{family}, {name}");
        }
    }
    let dropped = site.firewall(|firewall| firewall.counters().unwrap()).count("encapsulated_dropped").packets;
    assert_eq!(dropped, 2 * 5 * 5);
    assert!(site.firewall(|firewall| firewall.counters().unwrap()).count("fuse_dropped").packets >= 10 * 28);

    // Labels hide where the packet starts: shut for whom the kernel acts on, and nobody else's business.
    for (kind, tags) in [(0x8847, 0), (0x8848, 0), (0x8847, 1)] {
        let labelled = move |n: u32| {
            let packet = [&[0, 1, 0, 64, 0, 2, 1, 64][..], &inner4(n, 445, SYN)].concat();
            let [high, low] = u16::to_be_bytes(kind);
            if tags == 0 { (kind, packet) } else { (0x8100, [&[0, 10, high, low][..], &packet].concat()) }
        };
        assert_eq!(framed(&site, card(40), 5, labelled), 0, "{kind:#x}");
        assert_eq!(framed(&site, card(60), 40, labelled), 40, "{kind:#x}");
    }

    // A card on a link with two tags, and not the same card elsewhere.
    let double = Link { outer: 10, inner: 20, ..link };
    let two = |vlan: u8| {
        move |n: u32| {
            let (_, kind, mut content) = frames(&inner4(n, 443, ACK)).swap_remove(0);
            content[5] = vlan;
            (kind, content)
        }
    };
    site.firewall(|firewall| firewall.act(Place::card(double, card(90)), Action::Contain, None).unwrap());
    assert_eq!(framed(&site, card(90), 5, two(20)), 0);
    assert_eq!(framed(&site, card(90), 5, two(21)), 5);
    assert_eq!(framed(&site, card(91), 5, two(20)), 5);
    let acted = site.firewall(|firewall| firewall.acted().unwrap());
    assert!(acted.iter().any(|acted| acted.place == Place::card(double, card(90)) && acted.action == Action::Contain));
    // An address there cannot be matched, and it is said.
    let address = Place::address(double, "10.60.0.1".parse().unwrap());
    site.firewall(|firewall| {
        assert!(!firewall.reaches(address));
        assert!(firewall.act(address, Action::Contain, None).is_err());
    });

    // A priority tag in front is no tag of the link.
    let tagged = Link { outer: 20, inner: 0, ..link };
    site.firewall(|firewall| firewall.act(Place::card(tagged, card(95)), Action::Contain, None).unwrap());
    let behind_priority = |n: u32| {
        let (_, kind, mut content) = frames(&inner4(n, 443, ACK)).swap_remove(0);
        content[1] = 0;
        (kind, content)
    };
    assert_eq!(framed(&site, card(95), 5, behind_priority), 0);
    assert_eq!(framed(&site, card(96), 5, behind_priority), 5);

    // Whom a card has met is no first contact of its, however often it opens one.
    for kind in 0..5 {
        for inner in [inner4 as fn(u32, u16, u8) -> Vec<u8>, inner6] {
            let again = |n: u32| {
                let (_, ethertype, content) = frames(&inner(n % 4, 445, SYN)).swap_remove(kind);
                (ethertype, content)
            };
            let id = 100 + 2 * kind + usize::from(inner(0, 445, SYN)[0] >> 4 == 6);
            assert_eq!(framed(&site, card(id), 60, again), 60);
        }
    }

    // Exempt sources pass, inside too, whoever's card it is.
    config.respond.never_contain = firedoor::wire::Networks::new(vec!["10.60.0.0/24".parse().unwrap()]);
    site.load(&plan(&config));
    assert_eq!(framed(&site, card(90), 5, two(20)), 5);
    // And a bridge without them has no second table.
    site.firewall(|firewall| assert!(firewall.remove().unwrap()));
    assert_eq!(site.nft("list ruleset"), "");
}
