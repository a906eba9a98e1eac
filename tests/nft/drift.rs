//! What others do to the table is noticed and put right, within a second.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use firedoor::firewall::{Acted, Drift, Order, Plan, Reconciled, Watch, What};
use firedoor::respond::{Action, Mode};
use firedoor::suspect::{Place, Who};
use firedoor::time::Timestamp;
use firedoor::wire::frame::Transport;
use firedoor::wire::{Address, Link, Mac};

use crate::site::{Kind, SCANNER, Shape, Site, config, host, plan, victim};

fn scanner() -> Place {
    Place::anywhere(Address::v4(SCANNER.octets()))
}

/// A gateway that contains the scanner and isolates a host of each family.
fn guarded() -> Option<(Site, Watch, Plan)> {
    let mut site = Site::build(Shape::Routed)?;
    let plan = plan(&config(Mode::Enforce));
    let watch = site.firewall(|firewall| firewall.watch().unwrap());
    site.load(&plan);
    site.firewall(|firewall| {
        firewall.act(scanner(), Action::Contain, Some(Duration::from_secs(600))).unwrap();
        firewall.act(host("10.77.1.3"), Action::Isolate, None).unwrap();
        firewall.act(host("fd77:1::3"), Action::Isolate, Some(Duration::from_secs(600))).unwrap();
        firewall.act(host("10.77.1.4"), Action::Contain, None).unwrap();
        firewall.lift(host("10.77.1.4")).unwrap();
    });
    Some((site, watch, plan))
}

/// Waits for drift as a daemon would, puts it right, and says how long that took since `since`.
fn mend(site: &mut Site, watch: &mut Watch, plan: &Plan, since: Instant) -> (Vec<Drift>, Reconciled, Duration) {
    let mut drift = Vec::new();
    while drift.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5), "nothing was noticed");
        std::thread::sleep(Duration::from_millis(1));
        drift = watch.drain().unwrap();
    }
    let done = site.load(plan);
    (drift, done, since.elapsed())
}

fn blocks(site: &Site) -> bool {
    let (watcher, mut gun) = (site.watch(), site.gun());
    gun.fire(SCANNER, victim(1), Kind::Syn(445));
    gun.fire(SCANNER, victim(1), Kind::Syn(80));
    let seen = watcher.seen();
    assert!(seen.iter().any(|arrival| arrival.kind == Kind::Syn(80)));
    seen.len() == 1
}

#[test]
fn our_own_changes_are_no_drift() {
    let Some((mut site, mut watch, plan)) = guarded() else { return };
    assert_eq!(watch.drain().unwrap(), []);
    site.firewall(|firewall| firewall.set_exempt(vec!["10.77.9.0/24".parse().unwrap()]).unwrap());
    site.load(&plan);
    let watched: &dyn AsFd = &watch;
    assert!(std::os::fd::AsRawFd::as_raw_fd(&watched.as_fd()) > 0);
    assert_eq!(watch.drain().unwrap(), []);
    site.nft("add table inet somebody_elses");
    assert_eq!(watch.drain().unwrap(), [], "another table is not our business");
    // What packets add to the sets is reported to nobody.
    let mut gun = site.gun();
    for n in 0..100 {
        gun.fire(SCANNER, victim(n), Kind::Syn(445));
    }
    assert_eq!(watch.drain().unwrap(), []);
}

#[test]
fn whatever_somebody_deletes_is_put_back_within_a_second() {
    let Some((mut site, mut watch, plan)) = guarded() else { return };
    assert!(blocks(&site));
    let by = Some("nft".to_owned());
    let cases: [(&str, What, usize); 8] = [
        ("flush ruleset", What::Table, 3),
        ("delete table inet firedoor", What::Table, 3),
        ("flush table inet firedoor", What::Rules("contain4".to_owned()), 0),
        ("flush chain inet firedoor door", What::Rules("door".to_owned()), 0),
        ("delete element inet firedoor acted4 { lan . 10.77.1.2 }", What::Elements("acted4".to_owned()), 1),
        ("flush map inet firedoor acted4", What::Elements("acted4".to_owned()), 2),
        ("add element inet firedoor exempt4 { 10.77.1.0/24 }", What::Elements("exempt4".to_owned()), 0),
        ("delete element inet firedoor lateral_tcp { 445 }", What::Elements("lateral_tcp".to_owned()), 0),
    ];
    for (command, what, gone) in cases {
        let since = Instant::now();
        site.nft(command);
        let (drift, done, took) = mend(&mut site, &mut watch, &plan, since);
        eprintln!("{command}: put right {took:.1?} after the command was started");
        assert!(
            drift.iter().any(|found| found.what == what && found.by == by && found.process.is_some()),
            "{command}: {drift:?}"
        );
        assert!(took < Duration::from_secs(1), "{command}: {took:?}");
        assert_eq!(done.restored.len(), gone, "{command}: {done:?}");
        assert_eq!(done.acted.len(), 3, "{command}");
        assert!(blocks(&site), "{command}");
        assert_eq!(watch.drain().unwrap(), [], "{command}");
    }
    let acted = site.firewall(|firewall| firewall.acted().unwrap());
    assert!(
        matches!(acted[..], [Acted { expires_in: Some(left), .. }, Acted { expires_in: None, .. }, _]
            if left < Duration::from_secs(600) && left > Duration::from_secs(500)),
        "{acted:?}"
    );
}

#[test]
fn a_storm_of_changes_is_survived() {
    let Some((mut site, mut watch, plan)) = guarded() else { return };
    let elements: Vec<String> = (0..20_000u32).map(|n| std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string()).collect();
    let text = format!(
        "add set inet firedoor acted_by_hand {{ type ipv4_addr; }}\n\
         add element inet firedoor acted_by_hand {{ {} }}\nflush set inet firedoor acted_by_hand\n",
        elements.join(",")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    for _ in 0..10 {
        site.nft(&format!("-f {}", file.path().display()));
    }
    let drift = watch.drain().unwrap();
    assert!(drift.iter().any(|drift| drift.what == What::Lost), "{drift:?}");
    assert!(site.load(&plan).loaded);
    assert!(!site.nft("list table inet firedoor").contains("acted_by_hand"));
    site.nft("flush ruleset");
    let (drift, _, _) = mend(&mut site, &mut watch, &plan, Instant::now());
    assert_eq!(drift[0].what, What::Table);
    assert!(blocks(&site));
}

#[test]
fn an_interface_that_goes_and_comes_back_is_hooked_again() {
    let Some((mut site, _, before)) = guarded() else { return };
    let mut kernel = site.gateway.run(|| firedoor::sys::route::Kernel::open().unwrap()).unwrap();
    let mut planned = || {
        let present: Vec<String> = kernel.links().unwrap().into_iter().map(|link| link.name).collect();
        Plan::new(
            &config(Mode::Enforce),
            &firedoor::wire::Networks::default(),
            &present,
            Timestamp::from_secs(1_800_000_000),
        )
        .unwrap()
    };
    assert_eq!(planned(), before);
    site.scanner.link(|links| links.remove("eth0")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    let without = loop {
        let plan = planned();
        if plan.interfaces() == ["srv"] {
            break plan;
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    };
    let done = site.load(&without);
    assert!(done.loaded && done.restored.is_empty(), "{done:?}");
    assert!(!site.nft("list chain inet firedoor door").contains("lan"));

    site.cable_scanner();
    let done = site.load(&planned());
    assert!(done.loaded && done.restored.is_empty(), "{done:?}");
    assert!(site.nft("list chain inet firedoor door").contains("lan"));
    site.settle();
    assert!(blocks(&site));
}

#[test]
fn a_deleted_table_is_put_back_whole_by_one_transaction() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        let plan = plan(&config(Mode::Enforce));
        site.load(&plan);
        let (lan, card) = (site.link("lan"), Mac([2, 0, 0, 0, 7, 7]));
        let tagged = Link { outer: 12, ..lan };
        let (v4, v6): (Address, Address) = ("10.9.8.7".parse().unwrap(), "fd99::7".parse().unwrap());
        let mut places = vec![
            Place::card(lan, card),
            Place::address(lan, v4),
            Place::address(lan, v6),
            Place { link: lan, source: Who::Network("fd98::".parse().unwrap()) },
            Place::card(tagged, card),
            Place::address(tagged, v4),
            Place::address(tagged, v6),
            Place::anywhere("10.9.8.8".parse().unwrap()),
            Place::anywhere("fd99::8".parse().unwrap()),
        ];
        if shape == Shape::Bridged {
            places.push(Place::card(Link { inner: 20, ..tagged }, card));
        }
        for action in [Action::Contain, Action::Isolate] {
            let order = |(n, place): (usize, &Place)| Order {
                place: *place,
                action,
                timeout: (n % 2 == 0).then_some(Duration::from_millis(500_250)),
                ports: if place.link.outer == 0 {
                    vec![(Transport::Tcp, 8080), (Transport::Udp, 1434)]
                } else {
                    vec![]
                },
            };
            let orders: Vec<Order> = places.iter().enumerate().map(order).collect();
            site.firewall(|firewall| {
                firewall.set_forwarders(&[(lan, Mac([2, 0, 0, 0, 9, 9]))]).unwrap();
                firewall.act_many(&orders).unwrap();
            });
            // What remains of a time differs, and its neighbours' order.
            let sorted = |site: &Site| {
                let text = site.nft("-s list ruleset");
                let mut words: Vec<String> =
                    text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
                words.retain(|word| !(word.starts_with('8') && word.contains('m') && word.ends_with('s')));
                words.sort_unstable();
                words
            };
            let before = sorted(&site);
            for deleted in ["flush ruleset", "delete table inet firedoor", "delete table netdev firedoor"] {
                if deleted.contains("netdev") && shape == Shape::Routed {
                    continue;
                }
                site.nft(deleted);
                site.firewall(|firewall| assert!(firewall.reassert().unwrap()));
                assert_eq!(sorted(&site), before, "{shape:?} {action:?} {deleted}");
                let done = site.load(&plan);
                assert!(done.restored.is_empty(), "{shape:?} {action:?} {deleted}: {done:?}");
                assert!(!site.load(&plan).loaded);
                assert_eq!(done.acted.len(), places.len());
                assert!(done.acted.iter().all(|acted| acted.action == action));
            }
        }
    }
}
