//! A contained device changes its address, and an address changes its device.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use firedoor::lab::session::{Service, Session};
use firedoor::respond::Verdict;
use firedoor::sys::namespace::Namespace;
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
    // Its card is shut, so nothing passes from the first packet on; the address itself is once the card answers for it.
    let covers = || site.acted_on().into_iter().find(|act| act.addresses().contains(&Address::from(new)));
    let took = site::until("the new address is contained", || covers().is_some());
    let contained = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let act = covers().unwrap();
    assert_eq!(act.decision, Verdict::Contain);
    assert!(act.reason.contains(&format!("the same device also uses {new}")), "{}", act.reason);
    assert_eq!(act.until, decided.until, "for as long as the first decision lasts");
    assert_eq!((act.host, act.card), (decided.host, decided.card));
    assert!(act.card.is_some(), "{act:?}");
    assert_eq!(site.in_kernel(), [site.infected(0), new]);
    let log = probe.end();
    assert!(log.entered() > 0 && !log.stopped().is_empty(), "it was sent, and stopped at the gateway");
    assert!(log.stopped().iter().any(|at| *at >= contained));
    assert_eq!(log.passed().len(), 0, "not one packet");
    forbidden.end();
    bystanders.undisturbed();
    eprintln!("a new address was contained after {took:?}, and none of its packets passed");
}

#[test]
fn a_block_ends_when_its_address_is_another_devices() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(82, 2, |setup| setup);
    let address = site.infected(0);
    let network: ipnetwork::IpNetwork = format!("{address}/24").parse().unwrap();
    let decided = site.contain_by_worm(0);
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
        site.in_kernel().is_empty()
    });
    let holder = new.link(|links| links.mac("eth0")).unwrap();
    let belongs = format!("{address} belongs to {holder} now; the card itself stays shut");
    let act = site.decisions(address, Verdict::Contain).into_iter().find(|act| act.reason.contains(&belongs));
    let act = act.unwrap_or_else(|| panic!("{:#?}", site.acted_on()));
    assert_eq!((act.card, act.until), (decided.card, decided.until), "the device itself stays contained");
    assert!(site.nft(&["list", "map", "inet", "firedoor", "cards"]).contains(&decided.card.unwrap().to_string()));
    // What its former holder may not do, it may: talk to a lateral service.
    reach(new, site.victim(0)).unwrap();
    // And a restart does not bring the block of its address back.
    site.kill();
    site.start();
    assert!(site.in_kernel().is_empty());
    assert!(site.nft(&["list", "map", "inet", "firedoor", "cards"]).contains(&decided.card.unwrap().to_string()));
    let new = &site.scene.network.infected[1];
    reach(new, site.victim(1)).unwrap();
    for session in &work {
        assert!(session.stats().is_undisturbed(), "{:?}", session.stats());
    }
    eprintln!("an address with a new owner was released after {took:?}");
}

/// A connection to a lateral service of the ward.
fn reach(machine: &Namespace, victim: IpAddr) -> std::io::Result<TcpStream> {
    let service = SocketAddr::new(victim, 445);
    machine.run(move || TcpStream::connect_timeout(&service, Duration::from_secs(2))).unwrap()
}
