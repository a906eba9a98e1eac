//! The same private address twice: on two VLANs of one port, and on two interfaces. Two suspects, two fates.

use std::net::IpAddr;
use std::time::Duration;

use firedoor::lab::plan::{Segment, Shape};
use firedoor::sys::namespace::Namespace;
use firedoor::wire::Mac;

use crate::dress::Dress;
use crate::host::Host;
use crate::rows::{self, Finding, row, unless};
use crate::site::{self, Ground, MOST, Site};
use crate::tally::Tally;

/// The address that two devices have, and the server of one of them.
const SHARED: [u8; 4] = [192, 168, 1, 10];
const SERVER: [u8; 4] = [192, 168, 1, 50];

/// Where a device sits: a machine, an interface there, and the card at the far end.
type Seat<'a> = (&'a Namespace, &'a str);

/// A worm on one link and a clinical device on the other: the worm is contained, and the device works on.
fn apart(site: &Site, (worm, victims): (Seat<'_>, Seat<'_>), (client, server): (Seat<'_>, Seat<'_>)) -> Finding {
    let tally = Tally::start(victims.0, victims.1);
    let card = |seat: Seat<'_>| -> Mac { seat.0.link(|links| links.mac(seat.1)).unwrap() };
    let (shared, there) = (IpAddr::from(SHARED), IpAddr::from(SERVER));
    let serving = Host::start(server.0, server.1, card(client));
    serving.owns(there);
    serving.serves(445);
    let device = Host::start(client.0, client.1, card(server));
    device.owns(shared);
    device.asks(shared, there);
    let work = || {
        let before = device.handshakes();
        for _ in 0..10 {
            device.knock((shared, there), 445, Dress::Plain);
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_millis(200));
        device.handshakes() - before
    };
    let before = work();
    let worm = Host::start(worm.0, worm.1, card(victims));
    worm.owns(shared);
    worm.asks(shared, there);
    for turn in 0..90 {
        worm.knock((shared, [192, 168, 1, 60 + turn].into()), 445, Dress::Plain);
        std::thread::sleep(Duration::from_millis(30));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let reached = tally.destinations(|packet| packet.source == shared && packet.opens(445)).len();
    let begun = std::time::Instant::now();
    for turn in 0..4 {
        worm.knock((shared, [192, 168, 1, 200 + turn].into()), 445, Dress::Plain);
    }
    std::thread::sleep(Duration::from_millis(300));
    let open = tally.since(begun, |packet| packet.source == shared && packet.opens(445));
    let after = work();
    let _ = site;
    unless(reached <= MOST && open == 0 && before == 10 && after == 10, || {
        format!(
            "the worm reached {reached}, then {open} of 4 SYNs pass; the other device completed {before} of 10 connections \
             before and {after} of 10 after"
        )
    })
}

/// A VLAN's interface on a machine's card.
fn vlan(machine: &Namespace, number: u16) -> String {
    let name = format!("eth0.{number}");
    site::must(machine, "ip", &format!("link add link eth0 name {name} type vlan id {number}"));
    machine.link(|links| links.up(&name)).unwrap();
    name
}

#[test]
fn the_same_address_on_two_vlans_has_two_fates() {
    // A VLAN of 0 is the untagged network.
    let rows = [(20, 10), (20, 0), (0, 10)].map(|(worm_in, device_in)| {
        row(format!("the worm in VLAN {worm_in}, the device in VLAN {device_in}"), move || {
            let site = Site::new(Shape::Bridged, 23);
            let ground = &site.ground;
            let on = |machine: &Namespace, number| if number == 0 { "eth0".to_owned() } else { vlan(machine, number) };
            let (worm, victims) = (on(&ground.attacker, worm_in), on(&ground.ward, worm_in));
            let (device, server) = (on(&ground.forger, device_in), on(&ground.ward, device_in));
            apart(&site, ((&ground.attacker, &worm), (&ground.ward, &victims)), ((&ground.forger, &device), (&ground.ward, &server)))
        })
    });
    rows::hold(rows.into());
}

/// Two bridges of one gateway, as two tenants have them.
#[test]
fn the_same_address_on_two_interfaces_has_two_fates() {
    rows::hold(vec![row("two bridges", || {
        let mut ground = Ground::build(Shape::Bridged, 24);
        let [client, server] = ["client", "server"].map(|name| Namespace::new(name).unwrap());
        let gateway = &ground.gateway;
        gateway.link(|links| links.bridge("br1")).unwrap();
        gateway.link(|links| links.up("br1")).unwrap();
        let (left, right) = (Segment::Clinic.interface(), Segment::Server.interface());
        for (machine, name) in [(&client, &left), (&server, &right)] {
            site::cable((machine, "eth0"), (gateway, name));
            gateway.link(|links| links.enslave(name, "br1")).unwrap();
        }
        ground.more.extend([client, server]);
        let all = [Segment::Office, Segment::Ward(0), Segment::Clinic, Segment::Server].map(Segment::interface);
        let site = Site::on(ground, |setup| setup.with("gateway", "interfaces", all.to_vec()));
        let ground = &site.ground;
        apart(&site, ((&ground.attacker, "eth0"), (&ground.ward, "eth0")), ((&ground.more[0], "eth0"), (&ground.more[1], "eth0")))
    })]);
}
