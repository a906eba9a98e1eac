//! A contained device changes its address, and an address changes its device.

use std::net::IpAddr;
use std::time::Duration;

use firedoor::lab::session::{Service, Session};
use firedoor::respond::Verdict;
use firedoor::wire::Address;

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

#[test]
fn a_decision_follows_the_device_to_its_new_address() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(81, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    let decided = site.contain_by_worm(0);
    let new = IpAddr::from([10, 66, 0, 99]);
    let network: ipnetwork::IpNetwork = "10.66.0.99/24".parse().unwrap();
    let probe = Probe::from_address(&site, 0, new);
    site.scene.network.infected[0].link(|links| links.address("eth0", network)).unwrap();
    let took = site::until("the new address is contained", || !site.decisions(new, Verdict::Contain).is_empty());
    let contained = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let act = site.decisions(new, Verdict::Contain).remove(0);
    assert!(act.reason.contains("the same device"), "{}", act.reason);
    assert_eq!(act.until, decided.until, "for as long as the first decision lasts");
    assert_eq!(act.host, Address::from(new));
    let log = probe.end();
    assert_eq!(log.passed_since(contained), 0);
    let early = log.passed().len();
    forbidden.end();
    bystanders.undisturbed();
    eprintln!("a new address was contained after {took:?}; {early} packets of it passed");
}

#[test]
fn a_block_ends_when_its_address_is_another_devices() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(82, 2, |setup| setup);
    let address = site.infected(0);
    let network: ipnetwork::IpNetwork = format!("{address}/24").parse().unwrap();
    site.contain_by_worm(0);
    assert_eq!(site.in_kernel(), [address]);
    // The lease goes to another device, which works as its owner would: with the server.
    let [old, new] = [0, 1].map(|number: usize| &site.scene.network.infected[number]);
    old.link(|links| links.down("eth0")).unwrap();
    new.link(|links| links.address("eth0", network)).unwrap();
    let (gateway, source) = ("10.66.0.1", address.to_string());
    let route = ["route", "replace", "default", "via", gateway, "src", source.as_str()];
    assert!(new.command("ip").args(route).status().unwrap().success());
    let mut work = Vec::new();
    let took = site::until("the address is released", || {
        work.push(Session::start(new, "the next device", site.server(), Service::HTTP).unwrap());
        std::thread::sleep(Duration::from_millis(500));
        !site.decisions(address, Verdict::Release).is_empty()
    });
    let act = site.decisions(address, Verdict::Release).remove(0);
    assert!(act.reason.contains("belongs to another device now"), "{}", act.reason);
    assert!(site.in_kernel().is_empty());
    for session in &work {
        assert!(session.course().is_undisturbed(), "{:?}", session.course());
    }
    eprintln!("an address with a new owner was released after {took:?}");
}
