//! Facts about what the kernel reports, in namespaces of our own.

use std::time::{Duration, Instant};

use super::*;
use crate::sys::namespace::{self, Namespace};

fn pair() -> Option<[Namespace; 2]> {
    if let Err(error) = namespace::permitted() {
        eprintln!("SKIPPED, namespaces cannot be made here: {error}");
        return None;
    }
    let [left, right] = ["left", "right"].map(|name| Namespace::new(name).unwrap());
    left.veth("eth0", &right, "eth0").unwrap();
    for (ns, addresses) in [(&left, ["10.66.0.1/24", "fd66::1/64"]), (&right, ["10.66.0.2/24", "fd66::2/64"])] {
        for address in addresses {
            ns.link(|links| links.address("eth0", address.parse().unwrap())).unwrap();
        }
        ns.link(|links| links.up("eth0")).unwrap();
    }
    Some([left, right])
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn interfaces_addresses_and_routes_are_found() {
    let Some([left, _right]) = pair() else { return };
    left.link(|links| links.route("10.67.0.0/16".parse().unwrap(), "10.66.0.2".parse().unwrap())).unwrap();
    left.link(|links| links.route("::/0".parse().unwrap(), "fd66::2".parse().unwrap())).unwrap();
    left.link(|links| links.bridge("br0")).unwrap();
    let mut kernel = left.run(|| Kernel::open().unwrap()).unwrap();

    let links = kernel.links().unwrap();
    let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
    assert!(eth0.up && eth0.mac.is_some() && eth0.master.is_none(), "{eth0:?}");
    assert_eq!(eth0.kind.as_deref(), Some("veth"));
    left.link(|links| links.enslave("eth0", "br0")).unwrap();
    let links = kernel.links().unwrap();
    let bridge = links.iter().find(|link| link.name == "br0").unwrap().index;
    assert_eq!(links.iter().find(|link| link.name == "eth0").unwrap().master, Some(bridge));

    let own: Vec<String> = kernel.addresses().unwrap().iter().map(|own| own.network.to_string()).collect();
    for address in ["127.0.0.1/8", "10.66.0.1/24", "fd66::1/64"] {
        assert!(own.iter().any(|o| o == address), "{address} in {own:?}");
    }
    let routes = kernel.routes().unwrap();
    let hops: Vec<String> = routes.next_hops.iter().map(|(hop, _)| hop.to_string()).collect();
    assert_eq!(hops, ["10.66.0.2", "fd66::2"]);
    assert!(routes.attached.contains(&("10.66.0.0/24".parse().unwrap(), eth0.index)), "{routes:?}");
    let paths = kernel.paths().unwrap();
    for network in ["10.67.0.0/16", "10.66.0.0/24", "::/0"] {
        assert!(paths.contains(&(254, network.parse().unwrap(), eth0.index)), "{network} in {paths:?}");
    }
}

#[test]
fn a_neighbour_that_answers_is_alive_and_one_that_does_not_is_dead() {
    let Some([left, _right]) = pair() else { return };
    let mut kernel = left.run(|| Kernel::open().unwrap()).unwrap();
    let mut changes = left.run(|| Changes::open(true).unwrap()).unwrap();
    left.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        for address in ["10.66.0.2:9", "10.66.0.99:9"] {
            socket.send_to(b"?", address).unwrap();
        }
    })
    .unwrap();
    let liveness = |kernel: &mut Kernel, address: &str| {
        let address: Address = address.parse().unwrap();
        kernel.neighbours().unwrap().into_iter().find(|n| n.address == address).map(|n| n.liveness)
    };
    assert_eq!(liveness(&mut kernel, "10.66.0.99"), Some(Liveness::Asked));
    until("the live neighbour", || (liveness(&mut kernel, "10.66.0.2") == Some(Liveness::Alive)).then_some(()));
    until("the dead neighbour", || (liveness(&mut kernel, "10.66.0.99") == Some(Liveness::Dead)).then_some(()));
    let reported = changes.drain().unwrap();
    assert!(
        reported.iter().any(|change| matches!(change, Change::Neighbour(n)
            if n.liveness == Liveness::Dead && n.address == "10.66.0.99".parse().unwrap())),
        "{reported:?}"
    );
}

#[test]
fn an_interface_that_goes_and_a_new_address_are_reported() {
    let Some([left, right]) = pair() else { return };
    let mut changes = left.run(|| Changes::open(false).unwrap()).unwrap();
    let new: IpNetwork = "10.66.0.77/24".parse().unwrap();
    left.link(|links| links.address("eth0", new)).unwrap();
    let reported = changes.drain().unwrap();
    assert!(reported.iter().any(|c| matches!(c, Change::Address(own) if own.network == new)), "{reported:?}");
    left.link(|links| links.route("10.67.0.0/16".parse().unwrap(), "10.66.0.2".parse().unwrap())).unwrap();
    assert!(changes.drain().unwrap().contains(&Change::Route));
    right.link(|links| links.remove("eth0")).unwrap();
    until("the interface to go", || {
        let reported = changes.drain().unwrap();
        reported.iter().any(|c| matches!(c, Change::LinkGone(link) if link.name == "eth0")).then_some(())
    });
}

#[test]
fn a_lost_change_is_reported_as_such() {
    let Some([left, _right]) = pair() else { return };
    let mut changes = left
        .run(|| {
            let mut changes = Changes::open(false).unwrap();
            changes.socket.receive_buffer(4096);
            changes
        })
        .unwrap();
    for _ in 0..50 {
        left.link(|links| links.down("eth0")).unwrap();
        left.link(|links| links.up("eth0")).unwrap();
    }
    assert!(changes.drain().unwrap().contains(&Change::Lost));
    // An interface without addresses, and so without routes: its news fit the little room.
    left.link(|links| links.bridge("br0")).unwrap();
    let reported = changes.drain().unwrap();
    assert!(reported.iter().any(|c| matches!(c, Change::Link(link) if link.name == "br0")), "{reported:?}");
}
