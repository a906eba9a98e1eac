//! The greylist: a first contact with a host that is no known server passes on its second asking, whether or not a daemon
//! runs, and a scan reaches nobody.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use firedoor::config::model::{Config, GivenServer};
use firedoor::detect::settings::Role;
use firedoor::firewall::KnownServer;
use firedoor::respond::Mode;
use firedoor::wire::frame::Transport;
use firedoor::wire::{Mac, Networks, Services};

use crate::packets::{SYN, TCP, ipv4, ipv6, tcp};
use crate::site::{Gun, Kind, SCANNER, SCANNER6, Shape, Site, config, plan, reached, victim, victim6};

const SMB: Kind = Kind::Syn(445);
/// When TCP asks again.
const SECOND: Duration = Duration::from_millis(1000);

fn greylisting(mode: Mode) -> Config {
    let mut config = config(mode);
    config.greylist.enabled = true;
    config
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

/// Whether one SYN arrives.
fn passes(site: &Site, gun: &mut Gun, from: impl Into<IpAddr>, to: IpAddr, kind: Kind) -> bool {
    let watcher = site.watch();
    gun.fire(from, to, kind);
    let seen = watcher.seen();
    seen.iter().any(|arrival| arrival.to == to && arrival.kind == kind)
}

/// Fires at each of `count` addresses at an even pace, and again after `again`.
fn scan(gun: &mut Gun, count: u32, gap: Duration, again: Option<Duration>) {
    let mut shots: Vec<(Duration, u32)> = (0..count).map(|n| (gap * n, n)).collect();
    if let Some(again) = again {
        shots.extend((0..count).map(|n| (gap * n + again, n)));
    }
    shots.sort_unstable();
    let start = Instant::now();
    for (at, n) in shots {
        if let Some(wait) = (start + at).checked_duration_since(Instant::now()) {
            sleep(wait);
        }
        gun.fire(SCANNER, victim(n), SMB);
    }
}

#[test]
fn a_first_contact_passes_on_its_second_asking_and_is_known_from_then_on() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = loaded(shape, &greylisting(Mode::Enforce)) else { return };
        let mut gun = site.gun();
        for (from, to, contacts) in
            [(IpAddr::from(SCANNER), victim(1), "contacts4"), (SCANNER6.into(), victim6(1), "contacts6")]
        {
            let start = Instant::now();
            let before = count(&mut site, "greylist_dropped");
            assert!(!passes(&site, &mut gun, from, to, SMB), "{shape:?}, {to}: the first waits");
            assert!(!passes(&site, &mut gun, from, to, SMB), "{shape:?}, {to}: too soon");
            assert!(start.elapsed() < Duration::from_millis(650), "this machine is too slow for this test");
            sleep((start + SECOND).saturating_duration_since(Instant::now()));
            assert!(passes(&site, &mut gun, from, to, SMB), "{shape:?}, {to}: the second");
            assert!(passes(&site, &mut gun, from, to, SMB), "{shape:?}, {to}: they know each other");
            assert!(passes(&site, &mut gun, from, to, Kind::Syn(3389)), "{shape:?}, {to}: for every port");
            assert_eq!(count(&mut site, "greylist_dropped") - before, 2, "{shape:?}, {to}");
            assert_eq!(filled(&mut site, contacts), 1);
            let known = site.nft(&format!("list set inet firedoor {contacts}"));
            assert!(known.contains("expires 23h59m"), "{known}");
        }
        // Another port is another first asking, however late.
        assert!(!passes(&site, &mut gun, SCANNER, victim(2), SMB));
        sleep(SECOND);
        assert!(!passes(&site, &mut gun, SCANNER, victim(2), Kind::Syn(139)), "{shape:?}");
        assert!(passes(&site, &mut gun, SCANNER, victim(2), SMB), "{shape:?}");
        assert_eq!(count(&mut site, "fuse_dropped"), 0);
    }
}

#[test]
fn a_real_client_waits_a_second_once() {
    for (shape, far) in [(Shape::Routed, ["10.77.2.2", "fd77:2::2"]), (Shape::Bridged, ["10.77.2.2", "fd77:1::3"])] {
        let Some(mut site) = loaded(shape, &greylisting(Mode::Enforce)) else { return };
        for far in far {
            let at: Vec<SocketAddr> = [445, 22].map(|port| SocketAddr::new(far.parse().unwrap(), port)).to_vec();
            let _listeners =
                at.iter().map(|at| site.victims.run(|| TcpListener::bind(at).unwrap()).unwrap()).collect::<Vec<_>>();
            let connect = |at: &SocketAddr| {
                let start = Instant::now();
                site.scanner.run(|| TcpStream::connect_timeout(at, Duration::from_secs(5)).unwrap()).unwrap();
                start.elapsed()
            };
            let [first, second, other] = [connect(&at[0]), connect(&at[0]), connect(&at[1])];
            eprintln!(
                "{shape:?}, {far}: the first took {first:.3?}, the second {second:.3?}, another port {other:.3?}"
            );
            assert!((900..1500).contains(&first.as_millis()), "{first:?}");
            assert!(second < Duration::from_millis(300) && other < Duration::from_millis(300), "{second:?}, {other:?}");
        }
        assert_eq!(count(&mut site, "greylist_dropped"), 2);
    }
}

#[test]
fn a_scan_reaches_nobody_with_no_daemon_running() {
    let Some(base) = loaded(Shape::Routed, &greylisting(Mode::Enforce)) else { return };
    drop(base);
    let ms = Duration::from_millis;
    for (name, addresses, gap, again, most) in [
        ("8/s, once", 24, ms(125), None, 0),
        ("1,000/s, once", 1000, ms(1), None, 0),
        ("flood, once", 20_000, Duration::ZERO, None, 0),
        ("8/s, twice within 100 ms", 24, ms(125), Some(ms(100)), 0),
        ("1,000/s, twice within 100 ms", 1000, ms(1), Some(ms(100)), 0),
        ("50/s, again after a second", 150, ms(20), Some(SECOND), 0),
        ("1,000/s, again after a second", 1000, ms(1), Some(SECOND), 0),
        // Its first askings are answered before it is past the fuse's burst.
        ("8/s, again after a second", 40, ms(125), Some(SECOND), 6),
    ] {
        let Some(mut site) = loaded(Shape::Routed, &greylisting(Mode::Enforce)) else { return };
        site.firewall = None;
        let (watcher, mut gun) = (site.watch(), site.gun());
        scan(&mut gun, addresses, gap, again);
        let reached = reached(&watcher.seen(), SCANNER);
        eprintln!("{name}: {reached} of {addresses} reached");
        assert!(reached <= most, "{name}: {reached} of {addresses}");
        // What the fuse stops does not fill the sets.
        let waiting = filled(&mut site, "knocked4");
        assert!((10..=20).contains(&waiting), "{name}: {waiting}");
    }
}

#[test]
fn who_runs_into_the_fuse_waits_on_and_is_served_once_it_is_quiet() {
    let Some(site) = loaded(Shape::Routed, &greylisting(Mode::Enforce)) else { return };
    let mut gun = site.gun();
    assert!(!passes(&site, &mut gun, SCANNER, victim(5000), SMB));
    scan(&mut gun, 30, Duration::ZERO, None);
    sleep(SECOND);
    assert!(!passes(&site, &mut gun, SCANNER, victim(5000), SMB));
    // Another card is not concerned.
    let mut other = site.gun();
    other.as_card(Mac([2, 0, 0, 0, 7, 7]));
    let beside = Ipv4Addr::new(10, 77, 1, 9);
    assert!(!passes(&site, &mut other, beside, victim(5001), SMB));
    sleep(SECOND);
    assert!(passes(&site, &mut other, beside, victim(5001), SMB));
    sleep(Duration::from_secs(10));
    assert!(passes(&site, &mut gun, SCANNER, victim(5000), SMB));
}

#[test]
fn known_servers_care_and_whom_nobody_may_delay_pass_at_once() {
    let mut config = greylisting(Mode::Enforce);
    let given = |network: &str, transport, port| GivenServer { network: network.parse().unwrap(), transport, port };
    config.greylist.servers = vec![
        given("10.78.1.0/24", Transport::Tcp, 445),
        given("10.78.1.7", Transport::Tcp, 445),
        given("fd78::1:0/112", Transport::Tcp, 445),
        given("10.78.1.0/24", Transport::Tcp, 8080),
    ];
    config.gateway.care = networks(&["10.78.2.0/24"]);
    config.respond.never_contain = networks(&["10.77.1.30", "10.78.3.1"]);
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
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = loaded(shape, &config) else { return };
        let learnt = [
            (KnownServer::tcp(victim(9).into(), 445), Some(Duration::from_secs(3600))),
            (KnownServer::tcp(victim6(9).into(), 445), Some(Duration::from_secs(3600))),
        ];
        site.firewall(|firewall| firewall.set_servers(&learnt).unwrap());
        let scanner = IpAddr::from(SCANNER);
        let mut gun = site.gun();
        let mut check = |from: IpAddr, to: IpAddr, port: u16, wanted: bool| {
            assert_eq!(passes(&site, &mut gun, from, to, Kind::Syn(port)), wanted, "{shape:?}: {from} to {to}:{port}");
        };
        check(scanner, victim(0x107), 445, true);
        check(scanner, victim(0x108), 22, false);
        check(SCANNER6.into(), victim6(0x1_0005), 445, true);
        check(SCANNER6.into(), victim6(0x2_0005), 445, false);
        check(scanner, victim(0x205), 22, true);
        check(scanner, victim(9), 445, true);
        check(scanner, victim(10), 445, false);
        check(SCANNER6.into(), victim6(9), 445, true);
        // Who may not be blocked is no server by that.
        check(scanner, victim(0x301), 445, false);
        let [exempt, backup] = [30, 31].map(|last| IpAddr::from([10, 77, 1, last]));
        check(exempt, victim(20), 445, true);
        check(backup, victim(21), 445, true);
        check(backup, victim(22), 22, false);
        check([203, 0, 113, 9].into(), victim(23), 445, true);
        // What is not lateral, and what is no SYN, meets nothing of this.
        check(scanner, victim(24), 443, true);
        assert_eq!(site.firewall(|firewall| firewall.servers().unwrap()).len(), 2);
        site.firewall(|firewall| firewall.set_servers(&learnt[1..]).unwrap());
        let left = site.firewall(|firewall| firewall.servers().unwrap());
        assert!(matches!(left[..], [(server, Some(_))] if server == learnt[1].0), "{left:?}");
    }
}

#[test]
fn many_servers_come_and_go() {
    let Some(mut site) = loaded(Shape::Bridged, &greylisting(Mode::Enforce)) else { return };
    let day = Some(Duration::from_secs(86_400));
    let all: Vec<_> = (0..2000).map(|n| (KnownServer::tcp(victim(n).into(), 445), day)).collect();
    site.firewall(|firewall| firewall.set_servers(&all).unwrap());
    assert_eq!((filled(&mut site, "servers4"), filled(&mut site, "frame_servers4")), (2000, 2000));
    let half = &all[1000..];
    site.firewall(|firewall| firewall.set_servers(half).unwrap());
    let left = site.firewall(|firewall| firewall.servers().unwrap());
    assert!(left.iter().map(|(server, _)| server).eq(half.iter().map(|(server, _)| server)));
    assert_eq!(filled(&mut site, "frame_servers4"), 1000);
    // A longer time holds, on every kernel.
    let longer: Vec<_> = half.iter().map(|(server, _)| (*server, Some(Duration::from_secs(10 * 86_400)))).collect();
    site.firewall(|firewall| firewall.set_servers(&longer).unwrap());
    let left = site.firewall(|firewall| firewall.servers().unwrap());
    assert!(left.iter().all(|(_, left)| left.unwrap() > Duration::from_secs(9 * 86_400)));
}

#[test]
fn reloads_keep_what_waits_and_servers_come_back_after_a_deletion() {
    let mut config = greylisting(Mode::Enforce);
    let Some(mut site) = loaded(Shape::Bridged, &config) else { return };
    let hour = Some(Duration::from_secs(3600));
    let learnt = [victim(9), victim6(9)].map(|at| (KnownServer::tcp(at.into(), 445), hour));
    site.firewall(|firewall| firewall.set_servers(&learnt).unwrap());
    let mut gun = site.gun();
    assert!(!passes(&site, &mut gun, SCANNER, victim(1), SMB));
    config.respond.never_contain = networks(&["10.200.0.0/16"]);
    config.greylist.wait = Duration::from_millis(800);
    assert!(site.load(&plan(&config)).loaded);
    assert!(!site.load(&plan(&config)).loaded);
    assert_eq!(["knocked4", "servers4", "frame_servers4"].map(|set| filled(&mut site, set)), [1, 1, 1]);
    sleep(SECOND);
    assert!(passes(&site, &mut gun, SCANNER, victim(1), SMB));

    site.nft("flush ruleset");
    assert!(site.firewall(|firewall| firewall.reassert().unwrap()));
    assert_eq!(filled(&mut site, "servers4"), 1, "at once, with the rules");
    assert_eq!(filled(&mut site, "servers6"), 1, "at once, with the rules");
    site.load(&plan(&config));
    assert_eq!(["knocked4", "servers4", "frame_servers4"].map(|set| filled(&mut site, set)), [0, 1, 1]);
    assert!(passes(&site, &mut gun, SCANNER, victim(9), SMB));

    // Without a daemon, and with the next one, which knows what the kernel holds.
    site.firewall = None;
    assert!(!passes(&site, &mut gun, SCANNER, victim(2), SMB));
    site.load(&plan(&config));
    site.nft("flush set inet firedoor servers4");
    site.load(&plan(&config));
    assert_eq!(site.firewall(|firewall| firewall.servers().unwrap()).len(), 2);
    // Turned off, nothing of it stands in the way.
    config.greylist.enabled = false;
    site.load(&plan(&config));
    assert!(passes(&site, &mut gun, SCANNER, victim(3), SMB));
}

/// Fills a set up to its last place.
fn fill(site: &mut Site, set: &str) {
    let free = 65_536 - filled(site, set);
    let mut script = format!("add element inet firedoor {set} {{\n");
    for n in 0..free {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 99, 0, 0)) + n);
        writeln!(script, "1 . {source} . 10.98.0.1 . 445 timeout 1m,").unwrap();
    }
    script.push('}');
    let mut nft = site.gateway.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
    assert_eq!(filled(site, set), 65_536);
}

#[test]
fn with_full_sets_the_fuse_alone_holds_and_nobody_is_blocked() {
    for set in ["young4", "knocked4"] {
        let Some(mut site) = loaded(Shape::Routed, &greylisting(Mode::Enforce)) else { return };
        let mut gun = site.gun();
        fill(&mut site, set);
        let mut other = site.gun();
        other.as_card(Mac([2, 0, 0, 0, 7, 7]));
        let person = Ipv4Addr::new(10, 77, 1, 9);
        assert!(passes(&site, &mut other, person, victim(5000), SMB), "{set}: a person is not blocked");
        let (watcher, start) = (site.watch(), Instant::now());
        scan(&mut gun, 1000, Duration::ZERO, None);
        let got = reached(&watcher.seen(), SCANNER);
        let most = 10 + usize::try_from(start.elapsed().as_secs()).unwrap();
        assert!((10..=most).contains(&got), "{set}: {got}");
    }
}

#[test]
fn monitor_mode_counts_what_would_wait_and_delays_nobody_it_has_seen_later() {
    let Some(mut site) = loaded(Shape::Routed, &greylisting(Mode::Monitor)) else { return };
    let learnt = [(KnownServer::tcp(victim(9).into(), 445), None)];
    site.firewall(|firewall| firewall.set_servers(&learnt).unwrap());
    let (watcher, mut gun) = (site.watch(), site.gun());
    for _ in 0..3 {
        for n in [1, 2, 3, 9] {
            gun.fire(SCANNER, victim(n), SMB);
        }
    }
    assert_eq!(watcher.seen().len(), 12);
    assert_eq!(count(&mut site, "greylist_would_drop"), 3, "each first contact once, and none of a server");
    assert_eq!(count(&mut site, "greylist_dropped"), 0);
    site.load(&plan(&greylisting(Mode::Enforce)));
    assert!(passes(&site, &mut gun, SCANNER, victim(1), SMB));
    assert!(!passes(&site, &mut gun, SCANNER, victim(4), SMB));
}

#[test]
fn udp_waits_only_where_it_is_named() {
    let snmp = Kind::Udp(5000, 161);
    let mut config = greylisting(Mode::Enforce);
    let Some(mut site) = loaded(Shape::Routed, &config) else { return };
    let mut gun = site.gun();
    assert!(passes(&site, &mut gun, SCANNER, victim(1), snmp));
    config.greylist.ports = Some(Services::new(&[(Transport::Udp, 161)]));
    site.load(&plan(&config));
    assert!(!passes(&site, &mut gun, SCANNER, victim(2), snmp));
    sleep(SECOND);
    assert!(passes(&site, &mut gun, SCANNER, victim(2), snmp));
    assert!(passes(&site, &mut gun, SCANNER, victim(3), SMB), "then TCP does not, as it is not named");
}

#[test]
fn behind_routers_each_address_waits_for_itself() {
    let Some(mut site) = loaded(Shape::Routed, &greylisting(Mode::Enforce)) else { return };
    let (link, card) = (site.link("lan"), site.scanner_card());
    site.firewall(|firewall| firewall.set_forwarders(&[(link, card)]).unwrap());
    let mut gun = site.gun();
    let [worm, person] = [1, 2].map(|last| IpAddr::from([10, 60, 0, last]));
    assert!(!passes(&site, &mut gun, worm, victim(1), SMB));
    assert!(!passes(&site, &mut gun, person, victim(1), SMB));
    for n in 0..30 {
        gun.fire(worm, victim(100 + n), SMB);
    }
    sleep(SECOND);
    assert!(!passes(&site, &mut gun, worm, victim(1), SMB), "it ran into the fuse");
    assert!(passes(&site, &mut gun, person, victim(1), SMB));
}

/// Behind two tags, and in PPPoE.
fn frames(packet: &[u8]) -> [(&'static str, u16, Vec<u8>); 3] {
    let (kind, ppp) = if packet[0] >> 4 == 4 { ([8, 0], [0, 0x21]) } else { ([0x86, 0xdd], [0, 0x57]) };
    let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
    let session = [&[0x11, 0, 0, 1][..], &length, &ppp, packet].concat();
    let tag = |vlan: u8, kind: [u8; 2], rest: &[u8]| [&[0, vlan][..], &kind, rest].concat();
    [
        ("two tags", 0x8100, tag(10, [0x81, 0], &tag(20, kind, packet))),
        ("PPPoE", 0x8864, session.clone()),
        ("PPPoE under a tag", 0x8100, tag(10, [0x88, 0x64], &session)),
    ]
}

#[test]
fn frames_with_a_tag_wait_and_so_do_those_that_only_the_second_table_sees() {
    let mut config = greylisting(Mode::Enforce);
    config.greylist.servers =
        vec![GivenServer { network: "10.78.1.0/24".parse().unwrap(), transport: Transport::Tcp, port: 445 }];
    config.gateway.care = networks(&["fd78::2:0/112"]);
    let Some(mut site) = loaded(Shape::Bridged, &config) else { return };
    let learnt = [victim(9), victim6(9)].map(|at| (KnownServer::tcp(at.into(), 445), None));
    site.firewall(|firewall| firewall.set_servers(&learnt).unwrap());
    let mut gun = site.gun();
    let mut tagged = || {
        let watcher = site.watch();
        let IpAddr::V4(to) = victim(77) else { unreachable!() };
        gun.fire_tagged(10, SCANNER, to, SMB);
        watcher.seen().len()
    };
    assert_eq!(tagged(), 0);
    sleep(SECOND);
    assert_eq!(tagged(), 1);

    let syn = |to: IpAddr, port: u16| {
        let segment = tcp(40_000, port, SYN, b"mark-inside");
        match to {
            IpAddr::V4(to) => ipv4(Ipv4Addr::new(10, 60, 0, 1), to, TCP, 0, &segment),
            IpAddr::V6(to) => ipv6(SCANNER6, to, TCP, &segment),
        }
    };
    for kind in 0..3 {
        let card = Mac([2, 0, 0, 6, 0, u8::try_from(kind).unwrap()]);
        let passes = |to: IpAddr, port: u16| {
            let (watcher, mut gun) = (site.watch(), site.gun());
            let (_, ethertype, content) = &frames(&syn(to, port))[kind];
            gun.as_card(card).fire_raw(*ethertype, content);
            watcher.marked(b"mark-inside") == 1
        };
        let name = frames(&syn(victim(1), 445))[kind].0;
        assert!(!passes(victim(1), 445) && !passes(victim6(1), 445), "{name}");
        assert!(!passes(victim(1), 445), "{name}: too soon");
        sleep(SECOND);
        assert!(!passes(victim(1), 139), "{name}: another port");
        assert!(passes(victim(1), 445) && passes(victim(1), 445) && passes(victim6(1), 445), "{name}");
        assert!(passes(victim(0x105), 445) && !passes(victim(0x106), 22), "{name}: a given server, by port");
        assert!(passes(victim(9), 445) && passes(victim6(9), 445), "{name}: a server that was learnt");
        assert!(passes(victim6(0x2_0003), 22), "{name}: care");
    }
}
