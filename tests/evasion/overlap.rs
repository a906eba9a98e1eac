//! The same private address twice: on two VLANs of one port, and on two interfaces. Two suspects, two fates.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Segment, Shape};
use firedoor::sys::namespace::Namespace;
use firedoor::wire::Mac;

use crate::dress::Dress;
use crate::host::Host;
use crate::packet::ethertype::{SERVICE_VLAN, VLAN};
use crate::rows::{self, Finding, row, unless};
use crate::site::{self, Ground, MOST, Site};
use crate::tally::{Packet, Tally};

/// The address that two devices have, and the server of one of them.
const SHARED: [u8; 4] = [192, 168, 1, 10];
const SERVER: [u8; 4] = [192, 168, 1, 50];

/// Where a device sits: a machine, and its VLAN tags.
#[derive(Clone, Copy)]
struct Seat<'a> {
    machine: &'a Namespace,
    tags: &'static [(u16, u16)],
}

impl Seat<'_> {
    fn card(self) -> Mac {
        self.machine.link(|links| links.mac("eth0")).unwrap()
    }

    /// A host that sits here, and speaks to that seat.
    fn host(self, to: Seat<'_>) -> Host {
        Host::tagged(self.machine, "eth0", to.card(), self.tags)
    }
}

/// A worm on one link and a clinical device on the other: the worm is contained, and the device works on.
fn apart((worm, victims): (Seat<'_>, Seat<'_>), (client, server): (Seat<'_>, Seat<'_>)) -> Finding {
    let tally = Tally::start(victims.machine, "eth0");
    let (shared, there) = (IpAddr::from(SHARED), IpAddr::from(SERVER));
    let serving = server.host(client);
    serving.owns(there);
    serving.serves(445);
    let device = client.host(server);
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
    let worm = worm.host(victims);
    worm.owns(shared);
    worm.asks(shared, [192, 168, 1, 60].into());
    let strike = |host| worm.knock((shared, [192, 168, 1, host].into()), 445, Dress::Plain);
    for host in 60..150 {
        strike(host);
        std::thread::sleep(Duration::from_millis(30));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let wanted = |packet: &Packet| packet.source == shared && packet.destination != there && packet.opens(445);
    let reached = tally.destinations(wanted).len();
    let begun = Instant::now();
    (200..204).for_each(strike);
    std::thread::sleep(Duration::from_millis(300));
    let open = tally.since(begun, wanted);
    let after = work();
    unless(reached <= MOST && open == 0 && before == 10 && after == 10, || {
        format!(
            "the worm reached {reached}, then {open} of 4 SYNs pass; the other device completed {before} of 10 connections \
             before and {after} of 10 after"
        )
    })
}

#[test]
fn the_same_address_on_two_vlans_has_two_fates() {
    const STACKS: [[&[(u16, u16)]; 2]; 5] = [
        [&[(VLAN, 20)], &[(VLAN, 10)]],
        [&[(VLAN, 20)], &[]],
        [&[], &[(VLAN, 10)]],
        [&[(SERVICE_VLAN, 100), (VLAN, 20)], &[(SERVICE_VLAN, 100), (VLAN, 10)]],
        [&[(SERVICE_VLAN, 100), (VLAN, 20)], &[(SERVICE_VLAN, 200), (VLAN, 20)]],
    ];
    let rows = STACKS.map(|[worm_in, device_in]| {
        row(format!("the worm in {worm_in:x?}, the device in {device_in:x?}"), move || {
            let site = Site::new(Shape::Bridged, 23);
            let seat = |machine, tags| Seat { machine, tags };
            let (ground, ward) = (&site.ground, &site.ground.ward);
            apart(
                (seat(&ground.attacker, worm_in), seat(ward, worm_in)),
                (seat(&ground.forger, device_in), seat(ward, device_in)),
            )
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
        let seat = |machine| Seat { machine, tags: &[] };
        let ground = &site.ground;
        apart((seat(&ground.attacker), seat(&ground.ward)), (seat(&ground.more[0]), seat(&ground.more[1])))
    })]);
}
