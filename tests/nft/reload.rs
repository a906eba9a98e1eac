//! Reloads and upgrades: nothing is lost, and no packet slips through meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firedoor::firewall::Order;
use firedoor::respond::{Action, Mode};
use firedoor::suspect::Place;
use firedoor::wire::frame::Transport;
use firedoor::wire::{Address, Networks, Services};

use crate::site::{Kind, SCANNER, Shape, Site, config, host, plan, victim};

fn scanner() -> Place {
    Place::anywhere(Address::v4(SCANNER.octets()))
}

#[test]
fn no_packet_of_a_contained_host_slips_through_reloads_and_upgrades() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        let mut config = config(Mode::Enforce);
        site.load(&plan(&config));
        site.firewall(|firewall| firewall.act(scanner(), Action::Contain, None).unwrap());
        site.nft("add chain inet firedoor of_an_older_version");
        site.nft("add set inet firedoor of_an_older_version4 { type ipv4_addr; }");
        site.nft("add map inet firedoor of_an_older_version6 { type ipv6_addr : verdict; }");
        site.nft("add counter inet firedoor of_an_older_version");

        let watcher = site.watch();
        let mut gun = site.gun();
        let stop = Arc::new(AtomicBool::new(false));
        let prober = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut sent = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    gun.fire(SCANNER, victim(1), Kind::Ack(445));
                    gun.fire(SCANNER, victim(2), Kind::Ack(80));
                    sent += 1;
                }
                sent
            })
        };
        let mut slowest = Duration::ZERO;
        for round in 0..40u16 {
            // Each round changes the static sets, the rules and, at times, the hooked interfaces.
            config.respond.never_contain = Networks::new(vec![format!("10.200.{round}.0/24").parse().unwrap()]);
            config.detect.lateral = Services::new(&[(Transport::Tcp, 445), (Transport::Tcp, 1000 + round)]);
            config.gateway.interfaces =
                if round % 3 == 0 { vec!["lan".to_owned()] } else { vec!["lan".to_owned(), "srv".to_owned()] };
            let start = Instant::now();
            let done = site.load(&plan(&config));
            slowest = slowest.max(start.elapsed());
            assert!(done.loaded && done.restored.is_empty(), "{done:?}");
            assert_eq!(done.acted.len(), 1);
            if round % 5 == 0 {
                // Changing one's mind about the host leaves no gap either.
                let action = if round % 2 == 0 { Action::Isolate } else { Action::Contain };
                site.firewall(|firewall| firewall.act(scanner(), action, Some(Duration::from_secs(600))).unwrap());
            }
        }
        stop.store(true, Ordering::Relaxed);
        let sent = prober.join().unwrap();
        let seen = watcher.seen();
        let slipped = seen.iter().filter(|arrival| arrival.kind == Kind::Ack(445)).count();
        let passed = seen.len() - slipped;
        eprintln!(
            "{shape:?}: {sent} packets during 40 reloads, {slipped} slipped through; slowest reload {slowest:.1?}"
        );
        assert!(sent > 1000 && passed > 0);
        assert_eq!(slipped, 0, "{shape:?}: of {sent}");
        assert!(!site.nft("list table inet firedoor").contains("of_an_older_version"));
    }
}

#[test]
fn a_reload_keeps_hosts_contacts_limits_and_counts() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let mut config = config(Mode::Enforce);
    site.load(&plan(&config));
    let hosts: Vec<Order> = (0..100u8)
        .map(|n| Order {
            place: Place::anywhere(Address::v4([10, 50, 0, n])),
            action: if n % 2 == 0 { Action::Contain } else { Action::Isolate },
            timeout: (n % 3 != 0).then_some(Duration::from_secs(3600)),
            ports: Vec::new(),
        })
        .collect();
    site.firewall(|firewall| firewall.act_many(&hosts).unwrap());
    let mut gun = site.gun();
    for n in 0..500 {
        gun.fire(SCANNER, victim(n), Kind::Syn(445));
    }
    let before = site.firewall(|firewall| (firewall.acted().unwrap(), firewall.counters().unwrap()));
    config.respond.never_contain = Networks::new(vec!["10.200.0.0/16".parse().unwrap()]);
    config.fuse.contacts = 2048;
    config.fuse.contact_timeout = Duration::from_secs(7200);
    let done = site.load(&plan(&config));
    assert!(done.loaded && done.restored.is_empty() && done.exempted.is_empty(), "{done:?}");
    let after = site.firewall(|firewall| (firewall.acted().unwrap(), firewall.counters().unwrap()));
    assert_eq!(after.0.len(), 100);
    for (before, after) in before.0.iter().zip(&after.0) {
        assert_eq!((before.place, before.action), (after.place, after.action));
        assert_eq!(before.expires_in.is_some(), after.expires_in.is_some());
    }
    assert!(before.1.count("fuse_dropped").packets >= 489);
    assert_eq!(before.1.counts, after.1.counts);
    for set in ["contacts4", "fuse_cards", "throttled_cards"] {
        let of =
            |counters: &firedoor::firewall::Counters| counters.sets.iter().find(|o| o.set == set).unwrap().elements;
        assert!(of(&before.1) > 0, "{set}");
        assert_eq!(of(&before.1), of(&after.1), "{set}");
    }
    assert_eq!(after.1.sets.iter().find(|o| o.set == "contacts4").unwrap().size, 2048);

    // Nothing changed: nothing is loaded.
    assert!(!site.load(&plan(&config)).loaded);
}

#[test]
fn another_process_takes_over_what_the_kernel_holds() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let plan = plan(&config(Mode::Enforce));
    site.load(&plan);
    site.firewall(|firewall| {
        firewall.act(scanner(), Action::Isolate, Some(Duration::from_secs(600))).unwrap();
        firewall.act(host("fd77:1::2"), Action::Contain, None).unwrap();
    });
    site.firewall = None;
    let done = site.load(&plan);
    assert!(done.loaded && done.restored.is_empty(), "{done:?}");
    assert_eq!(done.acted.len(), 2);
    assert!(site.nft("list chain inet firedoor door").contains("@isolated_raw4 goto asked"), "somebody is isolated");
    assert!(site.firewall(|firewall| firewall.lift(scanner()).unwrap()));
    assert!(!site.nft("list chain inet firedoor door").contains("toward_isolated"), "nobody is isolated any more");
    assert!(site.firewall(|firewall| firewall.remove().unwrap()));
    assert!(!site.firewall(|firewall| firewall.remove().unwrap()));
    assert_eq!(site.nft("list ruleset"), "");
}

#[test]
fn a_change_of_mode_keeps_who_is_acted_on() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    site.load(&plan(&config(Mode::Enforce)));
    site.firewall(|firewall| firewall.act(scanner(), Action::Contain, None).unwrap());
    // Monitor lets pass and counts; going back enforces what is still due.
    for (mode, passes) in [(Mode::Enforce, 0), (Mode::Monitor, 1), (Mode::Enforce, 0)] {
        let done = site.load(&plan(&config(mode)));
        assert_eq!((done.acted.len(), done.restored.len()), (1, 0), "{mode}: {done:?}");
        let (watcher, mut gun) = (site.watch(), site.gun());
        gun.fire(SCANNER, victim(1), Kind::Syn(445));
        assert_eq!(watcher.seen().len(), passes, "{mode}");
    }
}

#[test]
fn a_host_of_an_earlier_version_s_table_stays_contained_wherever_it_is() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    site.nft("add table inet firedoor");
    site.nft("add chain inet firedoor contain4");
    site.nft("add map inet firedoor acted4 { type ipv4_addr : verdict; flags timeout; }");
    site.nft("add set inet firedoor contacts4 { type ipv4_addr . ipv4_addr; flags dynamic,timeout; }");
    site.nft("add element inet firedoor acted4 { 10.77.1.2 timeout 1h : jump contain4 }");
    let done = site.load(&plan(&config(Mode::Enforce)));
    assert_eq!(done.acted.iter().map(|acted| acted.place).collect::<Vec<_>>(), [scanner()]);
    assert!(done.acted[0].expires_in.is_some());
    let (watcher, mut gun) = (site.watch(), site.gun());
    gun.fire(SCANNER, victim(1), Kind::Ack(445));
    gun.fire(SCANNER, victim(1), Kind::Ack(80));
    assert_eq!(watcher.seen().len(), 1);
}

#[test]
fn a_host_that_becomes_exempt_is_let_go() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    site.load(&plan(&config(Mode::Enforce)));
    site.firewall(|firewall| firewall.act(scanner(), Action::Isolate, None).unwrap());
    let done = site.firewall(|firewall| firewall.set_exempt(vec!["10.77.1.0/28".parse().unwrap()]).unwrap());
    assert_eq!((done.exempted, done.acted), (vec![scanner()], vec![]));
    let refused = site.firewall(|firewall| firewall.act(scanner(), Action::Contain, None).unwrap_err());
    assert_eq!(refused.to_string(), "10.77.1.2 is on the never-contain list (10.77.1.0/28): take it off there first");
    let (watcher, mut gun) = (site.watch(), site.gun());
    for n in 0..50 {
        gun.fire(SCANNER, victim(n), Kind::Syn(445));
    }
    assert_eq!(watcher.seen().len(), 50);
}

#[test]
fn an_exempt_host_passes_ahead_of_every_drop() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    let mut config = config(Mode::Enforce);
    config.respond.never_contain = Networks::new(vec!["10.77.1.2".parse().unwrap()]);
    site.load(&plan(&config));
    // Even an element that somebody put there by hand does it no harm.
    for action in ["contain4", "isolate4"] {
        site.nft(&format!("add element inet firedoor acted4 {{ lan . 10.77.1.2 : jump {action} }}"));
        site.load(&plan(&config));
        let (watcher, mut gun) = (site.watch(), site.gun());
        gun.fire(SCANNER, victim(1), Kind::Syn(445));
        gun.fire(SCANNER, victim(1), Kind::Syn(80));
        assert_eq!(watcher.seen().len(), 2, "{action}");
        site.nft("flush map inet firedoor acted4");
    }
}

#[test]
fn the_kernels_refusal_is_reported_in_its_own_words() {
    let Some(mut site) = Site::build(Shape::Routed) else { return };
    site.nft("add table inet firedoor");
    site.nft("add set inet firedoor acted4 { type inet_proto . ipv4_addr; }");
    let error = site.firewall(|firewall| firewall.reconcile(&plan(&config(Mode::Enforce))).unwrap_err());
    let text = error.to_string();
    assert!(text.starts_with("nft refused the ruleset: ") && text.contains("acted4"), "{text}");
    let error = site.firewall(|firewall| firewall.act(scanner(), Action::Contain, None).unwrap_err());
    assert_eq!(error.to_string(), "the ruleset is not loaded: reconcile first");
    site.nft("delete table inet firedoor");
    site.firewall(|firewall| firewall.check(&plan(&config(Mode::Enforce))).unwrap());
    assert_eq!(site.nft("list ruleset"), "", "a check changes nothing");
}
