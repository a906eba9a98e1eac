//! What the machine knows of the network around it: interfaces, own addresses, next hops, DNS and DHCP servers.
//!
//! Read for advice only, never for a decision: what cannot be read is left out. The parsers take text, so that they
//! can be tested without a machine.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use crate::sys::route::Kernel;

/// No file read here is larger in earnest.
const LARGEST: u64 = 1 << 20;
/// More next hops than this are a provider's routing table, and no list to paste.
const MOST_NEXT_HOPS: usize = 64;

/// One network interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Its addresses, each with the prefix of its network.
    pub addresses: Vec<IpNetwork>,
}

/// The network around this machine, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Routers it forwards to.
    pub next_hops: BTreeSet<IpAddr>,
    /// DNS servers it asks.
    pub dns: BTreeSet<IpAddr>,
    /// DHCP servers that lent it an address, or that it relays to.
    pub dhcp: BTreeSet<IpAddr>,
}

impl HostNetwork {
    /// Reads those of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let interfaces = pnet::datalink::interfaces().into_iter().map(|interface| Interface {
            up: interface.is_up(),
            loopback: interface.is_loopback(),
            name: interface.name,
            // pnet brings an older ipnetwork of its own.
            addresses: interface.ips.iter().filter_map(|n| IpNetwork::new(n.ip(), n.prefix()).ok()).collect(),
        });
        let mut dns = name_servers(&text("/etc/resolv.conf"));
        dns.extend(name_servers(&text("/run/systemd/resolve/resolv.conf")));
        let mut dhcp = relayed_to(&text("/etc/default/isc-dhcp-relay"));
        for directory in ["/run/systemd/netif/leases", "/var/lib/dhcp", "/var/lib/NetworkManager"] {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let leases = entries.map(|entry| entry.path()).filter(|path| {
                directory.ends_with("leases") || path.extension().is_some_and(|e| e == "lease" || e == "leases")
            });
            dhcp.extend(leases.take(64).flat_map(|path| lenders(&text(path))));
        }
        HostNetwork { interfaces: interfaces.collect(), next_hops: next_hops(), dns, dhcp }
    }

    /// This machine's own addresses, loopback and link-local ones aside.
    pub fn own(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.interfaces.iter().flat_map(|interface| &interface.addresses).map(IpNetwork::ip).filter(|ip| is_host(*ip))
    }
}

fn text(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // Half a file is better than none: this is advice.
        let _ = file.take(LARGEST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_host(ip: IpAddr) -> bool {
    let link_local = matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local());
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

/// Routers that routes lead through. Link-local ones are no hosts that a decision is ever made against.
fn next_hops() -> BTreeSet<IpAddr> {
    let routes = Kernel::open().and_then(|mut kernel| kernel.routes()).unwrap_or_default();
    routes.next_hops.into_iter().map(|(ip, _)| ip).filter(|ip| is_host(*ip)).take(MOST_NEXT_HOPS).collect()
}

/// resolv.conf(5).
fn name_servers(conf: &str) -> BTreeSet<IpAddr> {
    let lines = conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.trim().parse().ok()).filter(|ip| is_host(*ip)).collect()
}

/// Leases of systemd-networkd and `NetworkManager` (`SERVER_ADDRESS=`), and of dhclient.
fn lenders(lease: &str) -> BTreeSet<IpAddr> {
    let lines = lease.lines().filter_map(|line| {
        let line = line.trim().trim_end_matches(';');
        line.strip_prefix("SERVER_ADDRESS=").or_else(|| line.strip_prefix("option dhcp-server-identifier "))
    });
    lines.filter_map(|rest| rest.trim().parse().ok()).filter(|ip| is_host(*ip)).collect()
}

/// `/etc/default/isc-dhcp-relay`: `SERVERS="a b"`.
fn relayed_to(defaults: &str) -> BTreeSet<IpAddr> {
    let lists = defaults.lines().filter_map(|line| line.trim().strip_prefix("SERVERS="));
    let words = lists.flat_map(|list| list.split(|c: char| c == '"' || c == '\'' || c.is_whitespace()));
    words.filter_map(|word| word.parse().ok()).filter(|ip| is_host(*ip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn name_servers_are_read_without_the_local_stub() {
        let conf = "# x\nnameserver 127.0.0.53\nnameserver 10.1.0.53\n  nameserver fd00::53\nsearch example.org\n";
        assert_eq!(name_servers(conf), set(&["10.1.0.53", "fd00::53"]));
    }

    #[test]
    fn dhcp_servers_are_read_from_leases_and_the_relay() {
        assert_eq!(lenders("# made by networkd\nADDRESS=10.1.0.9\nSERVER_ADDRESS=10.1.0.2\n"), set(&["10.1.0.2"]));
        assert_eq!(lenders("lease {\n  option dhcp-server-identifier 10.1.0.3;\n}\n"), set(&["10.1.0.3"]));
        assert_eq!(relayed_to("SERVERS=\"10.2.0.1 10.2.0.2\"\nOPTIONS=\"\"\n"), set(&["10.2.0.1", "10.2.0.2"]));
    }

    #[test]
    fn nonsense_gives_nothing() {
        for text in ["", "\n\n", "a b c d e f", "nameserver", "SERVERS=", "SERVER_ADDRESS=x", "\0\u{fffd}"] {
            assert!(name_servers(text).is_empty());
            assert!(lenders(text).is_empty() && relayed_to(text).is_empty());
        }
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let here = HostNetwork::of_this_machine();
        assert!(here.interfaces.iter().any(|interface| interface.loopback), "{here:?}");
        assert!(here.own().all(|ip| !ip.is_loopback()));
    }
}
