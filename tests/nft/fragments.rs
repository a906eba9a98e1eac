//! Fragments that hide ports or flags, and those that do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use firedoor::respond::{Action, Mode};

use crate::packets::{MORE, SYN, TCP, UDP, fragment6, ipv4, ipv6, tcp, udp};
use crate::site::{SCANNER, SCANNER6, Shape, Site, config, plan, victim, victim6};

/// Ends every packet of ours.
const MARK: &[u8] = b"firedoor's mark!";

fn to() -> (Ipv4Addr, Ipv6Addr) {
    match (victim(1), victim6(1)) {
        (IpAddr::V4(v4), IpAddr::V6(v6)) => (v4, v6),
        _ => unreachable!(),
    }
}

/// With the mark behind what is cut, outside the packet, so that even eight octets are known again.
fn sealed(packet: Vec<u8>) -> Vec<u8> {
    [packet, MARK.to_vec()].concat()
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let segment = tcp(40_000, 445, SYN, &[]);
    let mut long = segment.clone();
    long[12] = 0xa0;
    long.extend([1; 20]);
    let (v4, v6) = to();
    let four = |fragment, payload: &[u8]| sealed(ipv4(SCANNER, v4, TCP, fragment, payload));
    let six = |next, payload: &[u8]| sealed(ipv6(SCANNER6, v6, next, payload));
    vec![
        ("8 octets", four(MORE, &segment[..8])),
        ("16 octets", four(MORE, &segment[..16])),
        ("24 of 40 octets of header", four(MORE, &long[..24])),
        ("offset 1", four(1, &segment[8..])),
        ("offset 1, more", four(MORE | 1, &[0; 48])),
        ("IPv6, 8 octets", six(44, &fragment6(TCP, 0, true, &segment[..8]))),
        ("IPv6, 16 octets", six(44, &fragment6(TCP, 0, true, &segment[..16]))),
        ("IPv6, 24 of 40", six(44, &fragment6(TCP, 0, true, &long[..24]))),
        ("IPv6, offset 1", six(44, &fragment6(TCP, 8, false, &segment[8..]))),
        (
            "IPv6, options ahead",
            six(60, &[&[44, 0, 1, 4, 0, 0, 0, 0][..], &fragment6(TCP, 0, true, &segment[..8])].concat()),
        ),
        ("IPv6, options behind", six(44, &fragment6(60, 0, true, &[TCP, 0, 1, 4, 0, 0, 0, 0]))),
        ("IPv6, UDP without ports", six(44, &fragment6(UDP, 0, true, &[]))),
    ]
}

fn honest() -> Vec<(&'static str, Vec<u8>)> {
    let datagram = udp(5000, 5001, &[7; 1472]);
    let segment = tcp(40_000, 80, SYN, &[7; 1440]);
    let (v4, v6) = to();
    vec![
        ("UDP, first", sealed(ipv4(SCANNER, v4, UDP, MORE, &datagram[..1000]))),
        ("UDP, offset 1 of 8 octets", sealed(ipv4(SCANNER, v4, UDP, 1, &datagram[8..400]))),
        ("UDP, last", sealed(ipv4(SCANNER, v4, UDP, 125, &datagram[1000..]))),
        ("TCP, first", sealed(ipv4(SCANNER, v4, TCP, MORE, &segment[..1000]))),
        ("TCP, last", sealed(ipv4(SCANNER, v4, TCP, 125, &segment[1000..]))),
        ("IPIP, first", sealed(ipv4(SCANNER, v4, 4, MORE, &ipv4(SCANNER, v4, UDP, 0, &datagram)[..1400]))),
        ("IPIP, last", sealed(ipv4(SCANNER, v4, 4, 175, &[7; 100]))),
        ("ICMP", sealed(ipv4(SCANNER, v4, 1, MORE, &[8, 0, 0, 0, 0, 0, 0, 0]))),
        ("IPv6 UDP, first", sealed(ipv6(SCANNER6, v6, 44, &fragment6(UDP, 0, true, &datagram[..1000])))),
        ("IPv6 UDP, last", sealed(ipv6(SCANNER6, v6, 44, &fragment6(UDP, 1000, false, &datagram[1000..])))),
        ("IPv6 TCP, first", sealed(ipv6(SCANNER6, v6, 44, &fragment6(TCP, 0, true, &segment[..1000])))),
    ]
}

/// Routers cut what stands behind the packet's end off, so there the packets themselves are counted.
fn arrives(site: &Site, packet: &[u8]) -> usize {
    let (watcher, mut gun) = (site.watch(), site.gun());
    gun.fire_ip(packet);
    // The identification of ours, or IPv6's.
    watcher.marked(if packet[0] >> 4 == 4 { &[0x12, 0x34] } else { &[0, 0, 0, 7] })
}

#[test]
fn what_hides_a_port_is_dropped_and_what_does_not_passes() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        site.load(&plan(&config(Mode::Enforce)));
        for (what, packet) in hostile() {
            assert_eq!(arrives(&site, &packet), 0, "{shape:?}: {what}");
        }
        let dropped = site.firewall(|firewall| firewall.counters().unwrap()).count("fragment_dropped").packets;
        assert_eq!(dropped, hostile().len() as u64, "{shape:?}");
        for (what, packet) in honest() {
            assert_eq!(arrives(&site, &packet), 1, "{shape:?}: {what}");
        }
    }
}

#[test]
fn a_contained_host_gets_no_lateral_port_through_in_fragments() {
    let Some(mut site) = Site::build(Shape::Bridged) else { return };
    site.load(&plan(&config(Mode::Enforce)));
    site.firewall(|firewall| firewall.act(crate::site::host("10.77.1.2"), Action::Contain, None).unwrap());
    for (what, packet) in hostile() {
        assert_eq!(arrives(&site, &packet), 0, "{what}");
    }
    let first = ipv4(SCANNER, to().0, TCP, MORE, &tcp(40_000, 445, 16, &[7; 100]));
    assert_eq!(arrives(&site, &first), 0);
}

#[test]
fn monitor_mode_and_exempt_sources_let_them_pass() {
    let Some(mut site) = Site::build(Shape::Bridged) else { return };
    site.load(&plan(&config(Mode::Monitor)));
    for (what, packet) in hostile() {
        assert_eq!(arrives(&site, &packet), 1, "{what}");
    }
    let would = site.firewall(|firewall| firewall.counters().unwrap()).count("fragment_would_drop").packets;
    assert_eq!(would, hostile().len() as u64);
    let mut config = config(Mode::Enforce);
    config.respond.never_contain =
        firedoor::wire::Networks::new(["10.77.1.2", "fd77:1::2"].map(|a| a.parse().unwrap()).to_vec());
    site.load(&plan(&config));
    for (what, packet) in hostile() {
        assert_eq!(arrives(&site, &packet), 1, "{what}");
    }
}
