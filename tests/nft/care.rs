//! An isolated host still finds its way to the care network: ARP, neighbour discovery, real connections.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use firedoor::respond::{Action, Mode};
use firedoor::wire::Networks;

use crate::site::{Shape, Site, config, plan};

const CARE: [&str; 2] = ["10.78.9.9", "fd78::9"];
const OTHER: [&str; 2] = ["10.78.9.8", "fd78::8"];
const SCANNER: [&str; 2] = ["10.77.1.2", "fd77:1::2"];

fn connects(site: &Site, far: SocketAddr) -> bool {
    site.scanner.run(|| TcpStream::connect_timeout(&far, Duration::from_millis(300)).is_ok()).unwrap()
}

/// Everybody forgets everybody's hardware address.
fn forget_neighbours(site: &Site) {
    for ns in [&site.scanner, &site.gateway, &site.victims] {
        for family in ["-4", "-6"] {
            assert!(ns.command("ip").args([family, "neigh", "flush", "all"]).status().unwrap().success());
        }
    }
}

#[test]
fn an_isolated_host_resolves_and_reaches_its_care_network_over_both_families() {
    for shape in [Shape::Routed, Shape::Bridged] {
        let Some(mut site) = Site::build(shape) else { return };
        for address in CARE.into_iter().chain(OTHER) {
            site.victims.link(|links| links.address("eth0", address.parse().unwrap())).unwrap();
        }
        let listeners: Vec<TcpListener> = site
            .victims
            .run(|| ["0.0.0.0:80", "[::]:81"].map(|any| TcpListener::bind(any).unwrap()).into_iter().collect())
            .unwrap();
        let far = |hosts: [&str; 2]| -> [SocketAddr; 2] {
            [SocketAddr::new(hosts[0].parse().unwrap(), 80), SocketAddr::new(hosts[1].parse().unwrap(), 81)]
        };
        if shape == Shape::Bridged {
            for (network, via) in [("10.78.0.0/16", "10.77.2.2"), ("fd78::/64", "fd77:1::3")] {
                site.scanner.link(|links| links.route(network.parse().unwrap(), via.parse().unwrap())).unwrap();
            }
        }
        let mut config = config(Mode::Enforce);
        config.gateway.care = Networks::new(CARE.iter().map(|care| care.parse().unwrap()).collect());
        site.load(&plan(&config));
        for far in far(CARE).into_iter().chain(far(OTHER)) {
            assert!(connects(&site, far), "{shape:?}: {far} before");
        }
        site.firewall(|firewall| {
            for host in SCANNER {
                firewall.act(crate::site::host(host), Action::Isolate, None).unwrap();
            }
        });
        forget_neighbours(&site);
        for far in far(OTHER) {
            assert!(!connects(&site, far), "{shape:?}: {far} while isolated");
        }
        for far in far(CARE) {
            assert!(connects(&site, far), "{shape:?}: {far} while isolated");
        }
        drop(listeners);
    }
}
