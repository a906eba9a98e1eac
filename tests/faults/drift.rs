//! Others change the kernel's table, or an interface goes and comes back.

use std::time::{Duration, Instant};

use firedoor::lab::plan::{GATEWAY, Segment};
use firedoor::published::status::Drift;

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

/// The promise.
const RIGHT: Duration = Duration::from_secs(1);

#[test]
fn whatever_is_taken_out_of_the_table_is_back_within_a_second() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(11, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    site.contain(site.infected(0));
    let mut excused = vec![];
    let contained = Instant::now();
    let element = format!("{{ {} }}", Site::in_office(site.infected(0)));
    let places = site.places_in_kernel();
    let harm: [(&str, &[&str], Drift); 6] = [
        ("flush ruleset", &["flush", "ruleset"], Drift::Table),
        ("delete table", &["delete", "table", "inet", "firedoor"], Drift::Table),
        ("delete element", &["delete", "element", "inet", "firedoor", "acted4", &element], Drift::Element),
        ("flush chain contain4", &["flush", "chain", "inet", "firedoor", "contain4"], Drift::Rule),
        ("flush chain door", &["flush", "chain", "inet", "firedoor", "door"], Drift::Rule),
        ("flush map acted4", &["flush", "map", "inet", "firedoor", "acted4"], Drift::Element),
    ];
    for (name, command, kind) in harm {
        let (before, metric) = (site.repairs(kind), site.metric("firedoor_ruleset_repairs_total", kind.label()));
        let begun = Instant::now();
        site.nft(command);
        site::until(&format!("the repair after {name} is counted"), || site.repairs(kind) > before);
        assert!(site.metric("firedoor_ruleset_repairs_total", kind.label()) > metric);
        assert!(site.in_kernel().contains(&site.infected(0)));
        assert_eq!(site.places_in_kernel(), places, "{name}");
        excused.push((name, begun));
        std::thread::sleep(Duration::from_millis(500).saturating_sub(begun.elapsed()));
    }
    std::thread::sleep(RIGHT);
    let log = forbidden.end();
    let sent = bystanders.undisturbed();
    let mut passed: Vec<Instant> = log.passed().into_iter().filter(|at| *at >= contained).collect();
    for (number, (name, begun)) in excused.iter().enumerate() {
        let next = excused.get(number + 1).map_or_else(Instant::now, |(_, at)| *at);
        let gap: Vec<Duration> =
            passed.extract_if(.., |at| *at >= *begun && *at < next).map(|at| at - *begun).collect();
        let (packets, last) = (gap.len(), gap.last().copied().unwrap_or_default());
        eprintln!("{name}: right again after {last:?} at most, {packets} packets passed meanwhile");
        assert!(last < RIGHT, "{name}: {gap:?}");
    }
    assert!(passed.is_empty(), "packets passed though nobody had touched the table");
    eprintln!("{sent} packets of bystanders, none lost");
}

#[test]
fn an_interface_that_comes_back_is_guarded_again() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(12, 1, |setup| setup);
    let network = &site.scene.network;
    let forbidden = Probe::forbidden(&site, 0);
    site.contain(site.infected(0));
    site.contain(site.clinic());
    let contained = Instant::now();
    let name = Segment::Clinic.interface();
    let index = network.gateway.link(|links| links.index(&name)).unwrap();
    let before = site.repairs(Drift::Device);
    network.gateway.link(|links| links.remove(&name)).unwrap();
    site::until("the loss is reported", || site.repairs(Drift::Device) > before);
    std::thread::sleep(Duration::from_millis(200));

    // As an engineer would bring it back: the device first, then its addresses.
    network.gateway.veth(&name, &network.clinic, "eth0").unwrap();
    let back = Instant::now();
    for machine in [&network.gateway, &network.clinic] {
        let end = if machine.name() == network.gateway.name() { name.as_str() } else { "eth0" };
        machine.link(|links| links.up(end)).unwrap();
    }
    let on_link = |host| network.plan.on_link(Segment::Clinic, host);
    network.gateway.link(|links| links.address(&name, on_link(GATEWAY))).unwrap();
    network.clinic.link(|links| links.address("eth0", on_link(firedoor::lab::plan::CLINICAL))).unwrap();
    let gateway = network.plan.address(Segment::Clinic, GATEWAY);
    network.clinic.link(|links| links.route(network.plan.everywhere(), gateway)).unwrap();
    assert_ne!(network.gateway.link(|links| links.index(&name)).unwrap(), index);

    let probe = Probe::uninvolved(&site);
    let hooked = site::until("the door hooks at it again", || {
        site.nft(&["list", "chain", "inet", "firedoor", "door"]).contains(&name)
    });
    std::thread::sleep(RIGHT);
    let log = probe.end();
    assert!(log.sent() > 50);
    let last = log.passed().last().map_or(Duration::ZERO, |at| at.duration_since(back));
    assert!(last < RIGHT, "the contained client got through {last:?} after the interface came back");
    assert!(site.repairs(Drift::Device) > before + 1);
    let view = site.status().interfaces.into_iter().find(|view| view.name == name).unwrap();
    assert_ne!(view.index, index);
    site::until("packets are captured on it again", || {
        site.status().interfaces.iter().any(|now| now.name == name && now.packets_in > view.packets_in)
            || site.metric("firedoor_interface_blind", &format!("interface=\"{name}\"")) > 0
    });
    assert_eq!(forbidden.end().passed_since(contained), 0, "the other interface was never unguarded");
    eprintln!(
        "interface back: {} packets passed, the last after {last:?}; hooked when asked after {hooked:?}",
        log.passed().len()
    );
}

#[test]
fn a_renamed_interface_stays_protected_and_so_is_whoever_takes_its_name() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(13, 1, |setup| setup);
    let network = &site.scene.network;
    let forbidden = Probe::forbidden(&site, 0);
    site.contain(site.infected(0));
    let contained = Instant::now();
    let name = Segment::Office.interface();
    let ip = |arguments: &[&str]| {
        assert!(network.gateway.command("ip").args(arguments).status().unwrap().success(), "{arguments:?}");
    };
    let door = || site.nft(&["list", "chain", "inet", "firedoor", "door"]);
    let gateway = network.plan.address(Segment::Office, GATEWAY).to_string();
    let counted = site.metric("firedoor_packets_total", &name);

    ip(&["link", "set", &name, "down"]);
    ip(&["link", "set", &name, "name", "renamed0"]);
    let renamed = Instant::now();
    let hooked = site::until("the door hooks at the new name", || door().contains("renamed0"));
    ip(&["link", "set", "renamed0", "up"]);
    assert!(renamed.elapsed() < RIGHT, "{hooked:?}");
    site::until("frames are seen on it", || site.metric("firedoor_packets_total", &name) > counted + 20);
    let status = site.command(&["status"]);
    assert!(status.contains(&format!("{name} (now called renamed0)")), "{status}");
    assert_eq!(site.metric("firedoor_interface_renamed", &name), 1);
    assert!(site.daemon().log_tail().contains("is now called renamed0"), "{}", site.daemon().log_tail());
    assert!(
        network
            .gateway
            .command("ip")
            .args(["-brief", "address"])
            .output()
            .is_ok_and(|out| { String::from_utf8_lossy(&out.stdout).contains(&gateway) })
    );

    // Another device takes the old name: both are protected.
    ip(&["link", "add", &name, "type", "veth", "peer", "name", "other0"]);
    ip(&["link", "set", &name, "up"]);
    site::until("the door hooks at both", || door().contains("renamed0") && door().contains(&name));
    site::until("both are shown", || {
        let shown = site.command(&["status"]);
        shown.contains(&format!("renamed0 (formerly {name})")) && !shown.contains("now called")
    });
    ip(&["link", "delete", &name]);
    ip(&["link", "set", "renamed0", "down"]);
    ip(&["link", "set", "renamed0", "name", &name]);
    let back = Instant::now();
    ip(&["link", "set", &name, "up"]);
    site::until("its name is its own again", || !site.command(&["status"]).contains("renamed0"));
    assert_eq!(site.metric("firedoor_interface_renamed", &name), 0);
    std::thread::sleep(RIGHT);
    let mut passed = forbidden.end().passed();
    passed.retain(|at| *at >= contained);
    // Newer kernels unhook a device with its name; here it is brought up before the daemon can have hooked it again.
    let last = passed.last().map_or(Duration::ZERO, |at| at.duration_since(back));
    assert!(passed.iter().all(|at| *at >= back) && last < RIGHT, "{last:?}");
    eprintln!("hooked at the new name after {hooked:?}; back under the old one, the last packet passed after {last:?}");
}

#[test]
fn whoever_deletes_the_table_again_and_again_is_named_loudly() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let site = Site::new(14, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    site.contain(site.infected(0));
    let begun = Instant::now();
    let mut deletions = 0_u32;
    while begun.elapsed() < Duration::from_secs(4) {
        let delete = ["delete", "table", "inet", "firedoor"];
        let done = site.scene.network.gateway.command("nft").args(delete).output().unwrap();
        deletions += u32::from(done.status.success());
    }
    let over = begun.elapsed();
    std::thread::sleep(RIGHT);
    assert!(site.in_kernel().contains(&site.infected(0)), "the table is back");
    let counted = site.metric("firedoor_table_deletions_total", "");
    assert!(counted >= 3 && counted <= u64::from(deletions), "{counted} of {deletions}");
    let status = site.command(&["status"]);
    assert!(status.contains("by nft (process ") && status.contains("the door is open in between"), "{status}");
    let log = std::fs::read_to_string(site.directory.path().join("log")).unwrap();
    assert!(log.contains("deleted again and again") && log.contains("by nft (process "), "{log}");
    std::thread::sleep(RIGHT);
    let log = forbidden.end();
    let (sent, passed) = (log.sent(), log.passed());
    let during = passed.iter().filter(|at| **at >= begun && **at < begun + over).count();
    assert!(passed.iter().all(|at| *at < begun + over + RIGHT));
    eprintln!(
        "{deletions} deletions in {over:?}, {counted} counted; {during} of the contained host's packets passed meanwhile \
         ({sent} sent in the whole run)"
    );
}
