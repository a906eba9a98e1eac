//! The fuse: how many first contacts of a scanner pass, and who passes it freely.

use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use firedoor::config::model::Config;
use firedoor::detect::settings::Role;
use firedoor::respond::Mode;
use firedoor::suspect::Place;
use firedoor::wire::frame::Transport;
use firedoor::wire::{Mac, Networks, Services};

use crate::site::{Gun, Kind, SCANNER, SCANNER6, Shape, Site, config, plan, reached, victim, victim6};

const SYN: Kind = Kind::Syn(445);

/// Scans `count` addresses at an even pace; gives how long it took.
fn scan(gun: &mut Gun, from: impl Into<IpAddr>, to: impl Fn(u32) -> IpAddr, count: u32, gap: Duration) -> Duration {
    let from = from.into();
    let start = Instant::now();
    for n in 0..count {
        if let Some(wait) = (start + gap * n).checked_duration_since(Instant::now()) {
            sleep(wait);
        }
        gun.fire(from, to(n), SYN);
    }
    start.elapsed()
}

/// What the fuse lets through after its burst: one a second.
fn whole(took: Duration) -> usize {
    usize::try_from(took.as_secs()).unwrap()
}

fn networks(list: &[&str]) -> Networks {
    Networks::new(list.iter().map(|text| text.parse().unwrap()).collect())
}

fn loaded(shape: Shape, config: &Config) -> Option<Site> {
    let mut site = Site::build(shape)?;
    site.load(&plan(config));
    Some(site)
}

fn count(site: &mut Site, name: &str) -> u64 {
    site.firewall(|firewall| firewall.counters().unwrap()).count(name).packets
}

fn filled(site: &mut Site, set: &str) -> u32 {
    let counters = site.firewall(|firewall| firewall.counters().unwrap());
    counters.sets.iter().find(|occupancy| occupancy.set == set).unwrap().elements
}

#[test]
fn a_scan_of_any_speed_gets_ten_first_contacts_through_and_one_a_second() {
    for (shape, name, sent, gap) in [
        (Shape::Routed, "8/s", 24, Duration::from_millis(125)),
        (Shape::Routed, "50/s", 100, Duration::from_millis(20)),
        (Shape::Routed, "1,000/s", 1500, Duration::from_millis(1)),
        (Shape::Routed, "flood", 20_000, Duration::ZERO),
        (Shape::Bridged, "50/s, bridged", 50, Duration::from_millis(20)),
    ] {
        let Some(mut site) = loaded(shape, &config(Mode::Enforce)) else { return };
        let (watcher, mut gun) = (site.watch(), site.gun());
        let took = scan(&mut gun, SCANNER, victim, sent, gap);
        let reached = reached(&watcher.seen(), SCANNER);
        eprintln!("{name}: {sent} addresses in {took:.2?}, {reached} reached");
        assert!((10..=10 + whole(took)).contains(&reached), "{name}: {reached} of {sent} in {took:?}");
        assert_eq!(count(&mut site, "fuse_dropped"), u64::from(sent) - reached as u64, "{name}");
    }
}

#[test]
fn ipv6_is_limited_alike() {
    let Some(mut site) = loaded(Shape::Routed, &config(Mode::Enforce)) else { return };
    let (watcher, mut gun) = (site.watch(), site.gun());
    let took = scan(&mut gun, SCANNER6, victim6, 2000, Duration::ZERO);
    let reached = reached(&watcher.seen(), SCANNER6);
    assert!((10..=10 + whole(took)).contains(&reached), "{reached} in {took:?}");
    let throttled = site.firewall(|firewall| firewall.throttled(100).unwrap());
    let scanner = Place::card(site.link("lan"), site.scanner_card());
    assert_eq!(throttled, [(scanner, 2000 - reached as u64)]);
}

#[test]
fn known_contacts_pass_a_blown_fuse() {
    let Some(site) = loaded(Shape::Routed, &config(Mode::Enforce)) else { return };
    let mut gun = site.gun();
    gun.fire(SCANNER, victim(0xff00), SYN);
    scan(&mut gun, SCANNER, victim, 2000, Duration::ZERO);
    let watcher = site.watch();
    for _ in 0..100 {
        gun.fire(SCANNER, victim(0xff00), SYN);
    }
    assert_eq!(watcher.seen().len(), 100);
}

#[test]
fn monitor_mode_drops_nothing_and_counts_what_it_would_have() {
    use firedoor::respond::Action;
    let mut config = config(Mode::Monitor);
    config.detect.protected = networks(&["10.0.0.0/8"]);
    let Some(mut site) = loaded(Shape::Routed, &config) else { return };
    let (contained, isolated) = (Ipv4Addr::new(10, 77, 1, 20), Ipv4Addr::new(10, 77, 1, 21));
    site.firewall(|firewall| {
        firewall.act(Place::anywhere(IpAddr::from(contained).into()), Action::Contain, None).unwrap();
        firewall.act(Place::anywhere(IpAddr::from(isolated).into()), Action::Isolate, None).unwrap();
    });
    let (watcher, mut gun) = (site.watch(), site.gun());
    scan(&mut gun, SCANNER, victim, 500, Duration::ZERO);
    for kind in [Kind::Syn(445), Kind::Syn(80)] {
        gun.fire(contained, victim(1), kind);
        gun.fire(isolated, victim(1), kind);
    }
    assert_eq!(watcher.seen().len(), 504);
    let (watcher, mut gun) = (site.watch_scanner(), site.return_gun());
    // The scanner's machine knows no such neighbour, so the frame is not delivered, but it passes the door.
    gun.fire(victim(1), isolated, Kind::Syn(80));
    drop(watcher.seen());
    let would = count(&mut site, "fuse_would_drop");
    assert!((489..=490).contains(&would), "{would}");
    assert_eq!(count(&mut site, "contain_would_drop"), 1);
    assert_eq!(count(&mut site, "isolate_would_drop"), 3);
    for name in ["contain_dropped", "isolate_dropped", "fuse_dropped", "fuse_shared_dropped"] {
        assert_eq!(count(&mut site, name), 0, "{name}");
    }
}

#[test]
fn exempt_hosts_and_roles_pass_and_outsiders_are_not_our_business() {
    let mut config = config(Mode::Enforce);
    config.respond.never_contain = networks(&["10.77.1.30"]);
    config.detect.roles = vec![Role {
        name: "backup".to_owned(),
        hosts: networks(&["10.77.1.31"]),
        services: Some(Services::new(&[(Transport::Tcp, 445)])),
        smb1: false,
        remote_execution: false,
        owner: "backup team".to_owned(),
        reason: "visits every server".to_owned(),
        until: None,
    }];
    let Some(mut site) = loaded(Shape::Routed, &config) else { return };
    let (exempt, backup) = (Ipv4Addr::new(10, 77, 1, 30), Ipv4Addr::new(10, 77, 1, 31));
    let outsider = Ipv4Addr::new(203, 0, 113, 9);
    let (watcher, mut gun) = (site.watch(), site.gun());
    for source in [exempt, backup, outsider] {
        scan(&mut gun, source, victim, 200, Duration::ZERO);
    }
    let seen = watcher.seen();
    for source in [exempt, backup, outsider] {
        assert_eq!(reached(&seen, source), 200, "{source}");
    }
    assert_eq!(count(&mut site, "exempt_passed"), 400);
    assert_eq!(count(&mut site, "fuse_dropped"), 0);

    // The role is for one service only.
    let watcher = site.watch();
    for n in 0..200 {
        gun.fire(backup, victim(n + 1000), Kind::Syn(22));
    }
    assert!(reached(&watcher.seen(), backup) <= 11);
}

/// Cards with an address each within the protected networks, and one SYN of each to an address of its own.
fn forge(site: &Site, count: u32) {
    let mut gun = site.gun();
    for n in 0..count {
        let [_, b, c, d] = n.to_be_bytes();
        gun.as_card(Mac([2, 9, 9, b, c, d]));
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 0, 0)) + n);
        gun.fire(source, victim(0x4000 + n % 0x4000), SYN);
    }
}

#[test]
fn a_full_fuse_does_not_open_for_a_worm() {
    let mut config = config(Mode::Enforce);
    config.fuse.sources = 64;
    let Some(mut site) = loaded(Shape::Routed, &config) else { return };
    let mut gun = site.gun();
    let watcher = site.watch();
    forge(&site, 500);
    let forged = watcher.seen().len();
    // 64 found a place, ten shared the bucket of the rest.
    assert!((74..=75).contains(&forged), "{forged}");
    assert_eq!(filled(&mut site, "fuse_cards"), 64);

    // The worm comes when there is no place left, and shares what the flood left over.
    let watcher = site.watch();
    let took = scan(&mut gun, SCANNER, victim, 2000, Duration::ZERO);
    let got = reached(&watcher.seen(), SCANNER);
    assert!(got <= 1 + whole(took), "{got}");
    assert!(count(&mut site, "fuse_shared_dropped") >= 2000 + 500 - 75 - 3);
    assert_eq!(count(&mut site, "fuse_dropped"), 0);
}

#[test]
fn full_contacts_do_not_throttle_known_hosts_and_a_flood_is_soon_forgotten() {
    let mut config = config(Mode::Enforce);
    config.fuse.contacts = 64;
    config.fuse.contact_timeout = Duration::from_secs(86_400);
    let Some(mut site) = loaded(Shape::Routed, &config) else { return };
    let mut gun = site.gun();
    let server = victim(0xff00);
    let known = Ipv4Addr::new(10, 77, 1, 40);
    site.gun().as_card(Mac([2, 0, 0, 0, 4, 4])).fire(known, server, SYN);
    forge(&site, 500);
    assert_eq!(filled(&mut site, "contacts4"), 64);

    let watcher = site.watch();
    for _ in 0..200 {
        gun.fire(known, server, SYN);
    }
    assert_eq!(watcher.seen().len(), 200, "a known contact passes while the set is full");

    // A worm is limited as ever, though its contacts find no place.
    let watcher = site.watch();
    let took = scan(&mut gun, SCANNER, victim, 1000, Duration::ZERO);
    let got = reached(&watcher.seen(), SCANNER);
    assert!((10..=10 + whole(took)).contains(&got), "{got}");

    // Half of the places were taken at the bounded pace, for a day; the others for a minute.
    let text = site.nft("list set inet firedoor contacts4");
    let long = text.split(',').filter(|element| element.contains("expires 23h")).count();
    let short = text.split(',').filter(|element| element.contains("timeout 1m")).count();
    assert_eq!((long, short), (32, 32), "{text}");
}
