//! Never-contain: retroactive, by command and by reload, and ahead of every drop in the kernel.

use std::time::{Duration, Instant};

use firedoor::respond::Verdict;

use crate::prober::{Bystanders, Probe};
use crate::reload::edit;
use crate::site::{self, Site};

#[test]
fn whoever_is_put_on_the_list_is_let_go_at_once_and_stays_free() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(31, 1, |setup| setup);
    let host = site.infected(0);
    let name = host.to_string();
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    let pause = || std::thread::sleep(Duration::from_millis(300));

    site.contain(host);
    let first = (Instant::now(), {
        pause();
        Instant::now()
    });
    site.command(&["never-contain", "add", &name, "--reason", "a ventilator"]);
    let free = Instant::now();
    assert!(site.in_kernel().is_empty());
    let why = site.why(host);
    assert!(why.summary.contains("never-contain"), "{}", why.summary);
    assert!(why.next.is_none() && why.exemptions.iter().any(firedoor::api::host::Exemption::forbids));
    assert!(site.command(&["why", &name]).contains("a ventilator"));
    assert!(!site.firedoor(&["contain", &name, "--reason", "drill"]).status.success(), "nobody may");

    // Even an element that somebody else puts into the map drops nothing.
    let element = format!("{{ {} : jump contain4 }}", Site::in_office(host));
    site.nft(&["add", "element", "inet", "firedoor", "acted4", &element]);
    pause();
    let worm = firedoor::lab::worm::Order {
        rate: 50.0,
        ..firedoor::lab::worm::Order::new(firedoor::lab::worm::Kind::Wannacry, 31)
    };
    let worm = firedoor::lab::worm::Worm::release(&site.scene.network, 0, worm).unwrap();
    site::until("the worm would be contained", || {
        site.decisions(host, Verdict::Watch).iter().any(|act| act.reason.contains("nothing is dropped"))
    });
    worm.end().unwrap();
    assert_eq!(site.decisions(host, Verdict::Contain).len(), 1, "only the order before");
    let free = (free, Instant::now());

    site.command(&["never-contain", "remove", &name]);
    site.contain(host);
    let second = (Instant::now(), {
        pause();
        Instant::now()
    });
    edit(&site, "networks", "never_contain", vec!["10.66.0.64/28".to_owned()]);
    site.command(&["reload"]);
    let free_again = Instant::now();
    assert!(site.in_kernel().is_empty(), "a reload is retroactive");
    assert!(site.why(host).summary.contains("never-contain"));
    assert!(site.decisions(host, Verdict::Release).len() >= 2);
    pause();

    let log = forbidden.end();
    let within = |times: Vec<Instant>, (from, to): (Instant, Instant)| {
        times.iter().filter(|at| **at >= from && **at < to).count()
    };
    assert_eq!(within(log.passed(), first), 0);
    assert_eq!(within(log.passed(), second), 0);
    assert_eq!(within(log.lost(), free), 0, "a host on the list was dropped");
    assert_eq!(log.lost_since(free_again), 0, "a host on the list was dropped");
    assert!(within(log.lost(), first) > 50 && within(log.passed(), free) > 50, "the prober saw both");
    bystanders.undisturbed();
}
