//! A sensor that loses sight says so, with the remedy, and blames nobody for what it did not see.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firedoor::lab::listener;
use firedoor::lab::plan::{Segment, WARD};
use firedoor::lab::session::{Service, Session};
use firedoor::published::status::Blindness;
use firedoor::sys::namespace::Namespace;
use pnet::datalink::{self, Channel};

use crate::forged::{Card, Forger};
use crate::prober::Probe;
use crate::site::{self, Site};

/// The way in which an interface is blind, as the status says.
fn blindness(site: &Site, interface: &str) -> Option<Blindness> {
    let view = site.status().interfaces.into_iter().find(|view| view.name == interface)?;
    Some(view.blind?.reason)
}

/// Waits until the daemon has looked at an interface, and finds it well.
fn is_well(site: &Site, interface: &str) {
    site::until("the interface is well", || {
        site.status().interfaces.iter().any(|view| view.name == interface && view.blind.is_none())
    });
}

#[test]
fn a_ring_that_loses_packets_is_reported_and_nobody_is_blamed_for_the_silence() {
    if !site::able() {
        return;
    }
    let _turn = site::alone();
    let site = Site::new(71, 4, |setup| setup.with("capture", "ring_size", "256KiB"));
    let office = Segment::Office.interface();
    let network = &site.scene.network;
    // Those whose names are used are known before: they work.
    let mut sessions = vec![Session::start(&network.clinic, "clinic", site.server(), Service::SQL).unwrap()];
    for number in [2, 3] {
        sessions.push(Session::start(&network.infected[number], "office", site.server(), Service::HTTP).unwrap());
    }
    let bystander = Probe::uninvolved(&site);
    std::thread::sleep(Duration::from_secs(1));
    is_well(&site, &office);

    // While it hangs, more arrives than its ring can hold.
    site::signal(site.daemon().pid(), "STOP");
    let flood = Forger::start(&site, 1, Card::Own, vec![site.clinic(), site.infected(2), site.infected(3)]);
    std::thread::sleep(Duration::from_secs(6));
    site::signal(site.daemon().pid(), "CONT");
    let after = site::until("the losses are reported", || blindness(&site, &office) == Some(Blindness::Drops));
    let sent = flood.end();
    site::until("the metric shows it too", || {
        site.metric("firedoor_interface_blind", &format!("interface=\"{office}\"")) > 0
            && site.metric("firedoor_kernel_drops_total", "") > 0
    });
    let status = site.command(&["status"]);
    assert!(status.contains(Blindness::Drops.remedy()), "{status}");
    let acted_on = site.acted_on();
    let reported: Vec<_> = acted_on.iter().map(|act| (act.host.to_string(), &act.decision, &act.reason)).collect();
    assert!(reported.is_empty(), "{reported:#?}");
    for session in &sessions {
        assert!(session.stats().is_undisturbed(), "{:?}", session.stats());
    }
    bystander.all_passed();
    eprintln!("{sent} packets while it hung: the losses were reported {after:?} after it ran again");
}

#[test]
fn an_interface_that_is_down_is_reported_until_it_is_up() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(72, 1, |setup| setup);
    let clinic = Segment::Clinic.interface();
    let gateway = &site.scene.network.gateway;
    is_well(&site, &clinic);
    let set = |state| {
        let done = gateway.command("ip").args(["link", "set", clinic.as_str(), state]).status().unwrap();
        assert!(done.success());
    };
    set("down");
    site::until("it is reported", || blindness(&site, &clinic) == Some(Blindness::Missing));
    let status = site.command(&["status"]);
    assert!(status.contains(Blindness::Missing.remedy()), "{status}");
    let act = site.contain_by_worm(0);
    assert!(act.destinations <= 10, "the others see on: {act:?}");
    set("up");
    is_well(&site, &clinic);
}

#[test]
fn answers_that_go_another_way_are_reported() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    // A path, not a host: that is only believed of as many clients as a single machine cannot make up.
    let site = Site::new(73, 12, |setup| setup);
    let network = &site.scene.network;
    for _ in 0..25 {
        listener::speak(network, 1).unwrap();
    }
    // Cables that nobody drew: the ward's answers to these hosts do not pass the gateway.
    let ward = &network.wards[0];
    let shell = |machine: &Namespace, line: &str| {
        assert!(machine.command("sh").args(["-ec", line]).status().unwrap().success(), "{line}");
    };
    for (number, host) in (0_u8..).zip(&network.infected) {
        let (address, far) = (site.infected(number), format!("cable{number}"));
        host.veth("cable", ward, &far).unwrap();
        host.link(|links| links.up("cable")).unwrap();
        ward.link(|links| links.up(&far)).unwrap();
        shell(host, "for each in all cable; do echo 0 > /proc/sys/net/ipv4/conf/$each/rp_filter; done");
        let card = host.link(|links| links.mac("cable")).unwrap();
        shell(ward, &format!("ip neigh add {address} lladdr {card} dev {far}; ip route add {address} dev {far}"));
    }

    let live: Vec<IpAddr> = (0..12).map(|number| site.victim(number)).collect();
    for (first, host) in network.infected.iter().enumerate() {
        let called: Vec<IpAddr> = live.iter().cycle().skip(first).take(8).copied().collect();
        let talked = host
            .run(move || {
                let talk = |victim: &IpAddr| {
                    let to = SocketAddr::new(*victim, 3389);
                    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
                    stream.write_all(b"as if nothing were the matter")
                };
                called.iter().filter(|victim| talk(victim).is_ok()).count()
            })
            .unwrap();
        assert_eq!(talked, 8, "the cable carries the answers");
    }
    site::until("it is reported", || blindness(&site, &Segment::Office.interface()) == Some(Blindness::OneWay));
    let status = site.command(&["status"]);
    assert!(status.contains(Blindness::OneWay.remedy()), "{status}");
    assert!(site.metric("firedoor_interface_blind", "reason=\"one_way\"") > 0);
    assert!(site.acted_on().is_empty(), "{:#?}", site.acted_on());
}

/// One connection to the server, which answers.
fn call(site: &Site, machine: &Namespace) {
    let server = SocketAddr::new(site.server(), 80);
    machine.run(|| TcpStream::connect_timeout(&server, Duration::from_secs(2)).unwrap()).unwrap();
}

/// So long nothing of interest comes before that is reported.
const A_MINUTE: Duration = Duration::from_secs(60);

#[test]
fn an_interface_that_fell_silent_and_one_where_nothing_is_of_interest_are_reported_until_that_is_over() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(74, 1, |setup| setup);
    let network = &site.scene.network;
    let (office, clinic) = (Segment::Office.interface(), Segment::Clinic.interface());
    for (machine, interface) in [(&network.infected[0], &office), (&network.clinic, &clinic)] {
        call(&site, machine);
        is_well(&site, interface);
    }

    // From here on the clinic's cable carries nothing, and the office's only what is encrypted on the link (MACsec):
    // its switch was set up for that, and the gateway was not.
    let next_hop = network.gateway.link(|links| links.mac(&office)).unwrap();
    let own = network.infected[0].link(|links| links.mac("eth0")).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let sender = network.infected[0].spawn(move || {
        let interface = datalink::interfaces().into_iter().find(|each| each.name == "eth0").unwrap();
        let Channel::Ethernet(mut sender, _) = datalink::channel(&interface, datalink::Config::default()).unwrap()
        else {
            panic!("eth0 is no Ethernet interface")
        };
        let mut frame = [next_hop.0, own.0].concat();
        frame.extend([0x88, 0xe5]);
        frame.resize(200, 0x5a);
        let mut sent = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            sent += u64::from(matches!(sender.send_to(&frame, None), Some(Ok(()))));
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    });
    let since = Instant::now();
    while since.elapsed() + Duration::from_secs(2) < A_MINUTE {
        assert_eq!((blindness(&site, &office), blindness(&site, &clinic)), (None, None), "after {:?}", since.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    let both = (Some(Blindness::NothingMatches), Some(Blindness::Silent));
    site::until("both are reported", || (blindness(&site, &office), blindness(&site, &clinic)) == both);
    let after = since.elapsed();

    let status = site.command(&["status"]);
    for reason in [Blindness::NothingMatches, Blindness::Silent] {
        assert!(status.contains(reason.remedy()), "{status}");
    }
    let gauge = |interface: &str, reason: Blindness| {
        site.metric("firedoor_interface_blind", &format!("interface=\"{interface}\",reason=\"{}\"", reason.label()))
    };
    assert_eq!((gauge(&office, Blindness::NothingMatches), gauge(&clinic, Blindness::Silent)), (1, 1));
    assert_eq!((gauge(&office, Blindness::Silent), gauge(&clinic, Blindness::NothingMatches)), (0, 0));
    for seeing in [Segment::Server, WARD] {
        assert_ne!(blindness(&site, &seeing.interface()), Some(Blindness::NothingMatches), "{seeing:?}");
    }

    over.store(true, Ordering::Relaxed);
    let sent = sender.unwrap().join().unwrap().unwrap();
    for (machine, interface) in [(&network.infected[0], &office), (&network.clinic, &clinic)] {
        call(&site, machine);
        is_well(&site, interface);
        assert_eq!(site.metric("firedoor_interface_blind", &format!("interface=\"{interface}\"")), 0);
    }
    assert!(site.acted_on().is_empty(), "{:#?}", site.acted_on());
    eprintln!("silence, and {sent} frames of no interest, were reported after {after:?}");
}
