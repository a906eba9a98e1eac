//! What is allowed, and yet will hurt: advice on a configuration that can be used.
//!
//! Each piece of advice says what follows from the setting and what to write instead. The figures it compares with are
//! measured ones: what benign hosts do, see the constants.

use std::ops::Range;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::diagnostic::Problem;
use super::host_network::HostNetwork;
use super::model::{Config, Greylist};
use super::quantity::ShowDuration;
use super::value::{Places, suggestion};
use super::value_kind::show_network;
use crate::detect::settings::{Role, Window};
use crate::respond::Mode;
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Networks, Services};

/// Most distinct lateral destinations of any of 86 benign hosts, in any window up to 600 s.
const BENIGN_LATERAL: u32 = 2;
/// Most distinct destinations on any port over the same hosts, within so many seconds.
const BENIGN_ANY: [(u64, u32); 4] = [(600, 131), (60, 70), (10, 59), (1, 24)];
/// TCP repeats a SYN after one second (RFC 6298); this leaves room for timers that are early.
const BEFORE_SECOND_SYN: Duration = Duration::from_millis(900);
/// A role that ends this soon is warned about.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Collects advice on one configuration.
struct Advice<'a> {
    config: &'a Config,
    places: &'a Places,
    problems: Vec<Problem>,
}

/// Advice that the file alone gives; with `now`, also on roles that have ended.
pub(super) fn of_the_file(config: &Config, places: &Places, now: Option<Timestamp>) -> Vec<Problem> {
    let mut advice = Advice { config, places, problems: Vec::new() };
    advice.gateway();
    advice.networks();
    advice.roles(now);
    advice.thresholds();
    advice.shell();
    advice.problems
}

/// Advice that the machine around gives.
pub(super) fn of_the_machine(config: &Config, places: &Places, around: &HostNetwork) -> Vec<Problem> {
    let mut advice = Advice { config, places, problems: Vec::new() };
    advice.interfaces(around);
    advice.own_addresses(around);
    advice.neighbours(around);
    advice.problems
}

/// What `around` has that ought to be in never-contain, with what it is: own addresses, next hops, DNS, DHCP.
pub(super) fn missing(config: &Config, around: &HostNetwork) -> Vec<(IpNetwork, &'static str)> {
    let mut missing: Vec<(IpNetwork, &str)> = Vec::new();
    let kinds = [
        (around.own().collect::<Vec<_>>(), "this gateway"),
        (around.next_hops.iter().copied().collect(), "next hop"),
        (around.dns.iter().copied().collect(), "DNS server"),
        (around.dhcp.iter().copied().collect(), "DHCP server"),
    ];
    for (addresses, what) in kinds {
        for ip in addresses {
            let address = Address::from(ip);
            let matters = config.detect.protected.contains(address);
            let known = config.respond.never_contain.contains(address) || missing.iter().any(|(n, _)| n.ip() == ip);
            if matters && !known {
                missing.push((IpNetwork::from(ip), what));
            }
        }
    }
    missing
}

impl Advice<'_> {
    fn place(&self, key: &str) -> Option<Range<usize>> {
        // A key that was left out is shown at its section.
        self.places.get(key).or_else(|| self.places.get(key.split('.').next().unwrap_or(key))).cloned()
    }

    fn advise(&mut self, key: &str, message: impl Into<String>, label: &str, help: impl Into<String>) {
        let place = self.place(key);
        self.problems.push(Problem::new(message).at(place).label(label).help(help));
    }

    fn gateway(&mut self) {
        let config = self.config;
        if config.gateway.interfaces.is_empty() {
            let help = "name the interfaces where your hosts come in, as `ip -brief link` shows them";
            self.advise("gateway.interfaces", "no interface is watched: `firedoor run` will not start", "none", help);
        }
        if config.gateway.care.is_empty() {
            let help = "name the networks that patch, disinfect and treat: an isolated host reaches nothing else";
            self.advise("gateway.care", "isolation will cut a host off from everything", "empty", help);
        }
        for (at, network) in covers(&config.gateway.care, &config.detect.protected) {
            let message = format!("isolation isolates from nothing in {}", show_network(network));
            let help = "name single servers or their networks";
            self.advise(&format!("gateway.care[{at}]"), message, "covers a whole protected network", help);
        }
        if config.gateway.mode == Mode::Enforce && !config.fuse.enabled {
            let help = "write enabled = true";
            self.advise("fuse.enabled", "nothing limits a new worm while the daemon is down", "off", help);
        }
        self.greylist();
        if config.gateway.mode == Mode::Enforce && config.observe.history.is_none() {
            let help = "write history = \"/var/lib/firedoor/history.db\"";
            self.advise("observe.history", "a restart forgets the ladder and who decided what", "off", help);
        }
    }

    fn greylist(&mut self) {
        let config = self.config;
        let Greylist { enabled, wait, ports, learning: _, servers } = &config.greylist;
        if !enabled {
            return;
        }
        if !config.fuse.enabled {
            let help = "write enabled = true in [fuse]: the greylist knows contacts by it, and is bounded by it";
            self.advise("greylist.enabled", "without the fuse there is no greylist", "not in force", help);
        }
        if config.gateway.mode == Mode::Enforce {
            let message = "the detector still takes a first contact that waits for one that nobody answers";
            let help =
                "write enabled = false, or mode = \"monitor\": an honest host that asks nine others is contained";
            self.advise("greylist.enabled", message, "on in enforce mode", help);
        }
        if servers.is_empty() && config.gateway.care.is_empty() {
            let help = "name those that many use: servers = [\"10.1.0.20:445\"]";
            let message = "no server is named, so that each first contact with one waits a second, once a day";
            self.advise("greylist.servers", message, "empty", help);
        }
        if *wait > BEFORE_SECOND_SYN {
            let message = "TCP's second SYN comes before the wait is over, so that people wait three seconds";
            self.advise("greylist.wait", message, "longer than 900 ms", "write wait = \"700ms\"");
        }
        let lateral = &config.detect.lateral;
        let is_lateral = |transport, port| match transport {
            Transport::Udp => lateral.has_udp(port),
            _ => lateral.has_tcp(port),
        };
        for (at, (transport, port)) in ports.iter().flat_map(Services::written).enumerate() {
            if !is_lateral(*transport, *port) {
                let message = format!("port {port} is not lateral, so that nobody waits for it");
                let help = "add it to services.lateral";
                self.advise(&format!("greylist.ports[{at}]"), message, "without effect", help);
            }
        }
        for (at, server) in servers.iter().enumerate() {
            if !is_lateral(server.transport, server.port) {
                let message = format!("port {} is not lateral: nobody waits for it anyway", server.port);
                let key = format!("greylist.servers[{at}]");
                self.advise(&key, message, "without effect", "take it out, or correct the port");
            }
        }
        let given = Networks::new(servers.iter().map(|server| server.network).collect());
        for (at, network) in covers(&given, &config.detect.protected) {
            let message = format!("nobody waits for any host in {}", show_network(network));
            let help = "name the servers, not the network that they are in";
            self.advise(&format!("greylist.servers[{at}]"), message, "covers a whole protected network", help);
        }
    }

    fn networks(&mut self) {
        let config = self.config;
        for (at, network) in config.detect.protected.written().iter().enumerate() {
            if network.prefix() == 0 {
                let help = "name your own networks: hosts of the whole Internet would be watched and contained";
                let key = format!("networks.protected[{at}]");
                self.advise(&key, "the whole Internet is protected", "every address", help);
            }
        }
        if config.respond.never_contain.is_empty() {
            let help = "name next hops, DNS, DHCP, domain controllers and the clinical systems that must not fail";
            self.advise("networks.never_contain", "nothing is safe from a false alarm", "empty", help);
        }
        for (at, network) in covers(&config.respond.never_contain, &config.detect.protected) {
            let message = format!("no host in {} can ever be contained", show_network(network));
            let help = "name the single hosts that must not fail";
            self.advise(&format!("networks.never_contain[{at}]"), message, "covers a whole protected network", help);
        }
        for (at, decoy) in config.detect.decoys.written().iter().enumerate() {
            if overlaps(&config.respond.never_contain, *decoy) {
                let message = format!("the decoy {} is on the never-contain list", show_network(*decoy));
                let help = "a decoy is an address without a host: take it from one of the lists";
                self.advise(&format!("networks.decoys[{at}]"), message, "in both lists", help);
            }
        }
        let lateral = &config.detect.lateral;
        if !lateral.has_tcp(445) {
            let help = "add 445: it is what WannaCry, NotPetya and their kin spread over";
            self.advise("services.lateral", "SMB is not watched", "445 is missing", help);
        }
    }

    fn roles(&mut self, now: Option<Timestamp>) {
        for (at, role) in self.config.detect.roles.iter().enumerate() {
            let Role { name, owner, reason, until, .. } = role;
            let key = |field: &str| format!("role[{at}].{field}");
            for (field, missing) in [("owner", owner.is_empty()), ("reason", reason.is_empty())] {
                if missing {
                    let help = format!("write {field} = \"…\": somebody will have to answer for it");
                    self.advise(&format!("role[{at}]"), format!("role `{name}` has no {field}"), "exempted", help);
                }
            }
            match (until, now) {
                (None, _) => {
                    let help = "write until = 2027-12-31, or the day its need will be reviewed";
                    self.advise(&format!("role[{at}]"), format!("role `{name}` never ends"), "exempted for good", help);
                }
                (Some(until), Some(now)) if *until <= now => {
                    let help = "renew it, or take it out: its hosts are judged like all others now";
                    self.advise(&key("until"), format!("role `{name}` has ended"), "in the past", help);
                }
                (Some(until), Some(now)) if until.since(now) < SOON => {
                    let days = until.since(now).as_secs() / 86_400;
                    let help = "renew it in time: then its hosts will be judged like all others";
                    self.advise(&key("until"), format!("role `{name}` ends soon"), &format!("in {days} days"), help);
                }
                _ => {}
            }
            match &role.services {
                None => {
                    let help = "name the ports it needs: a worm on one of its hosts would not be seen";
                    self.advise(&key("ports"), format!("role `{name}` exempts every port"), "a blank cheque", help);
                }
                Some(services) if services.written().is_empty() && !role.smb1 && !role.remote_execution => {
                    self.advise(&key("ports"), format!("role `{name}` exempts nothing"), "no port", "name its ports");
                }
                Some(_) => {}
            }
            if role.hosts.is_empty() {
                self.advise(&key("hosts"), format!("nobody has the role `{name}`"), "no host", "name its hosts");
            }
            for (entry, network) in covers(&role.hosts, &self.config.detect.protected) {
                let message = format!("role `{name}` exempts all of {}", show_network(network));
                let help = "name the hosts that do this work";
                let label = "covers a whole protected network";
                self.advise(&format!("role[{at}].hosts[{entry}]"), message, label, help);
            }
        }
    }

    fn thresholds(&mut self) {
        let detect = &self.config.detect;
        if detect.threshold.0 <= detect.weights.failure.0.saturating_mul(2) {
            let failures = detect.threshold.nats() / detect.weights.failure.nats();
            let help = "raise detect.threshold or lower detect.weights.failure: benign hosts open 2 in ten minutes";
            let label = format!("reached after {} failed first contacts", failures.ceil());
            self.advise("detect.threshold", "a benign host can reach the threshold", &label, help);
        }
        if detect.lateral_windows.is_empty() {
            let help = "a worm whose every contact is answered is seen by nothing else";
            self.advise("detect.lateral_windows", "fan-out on lateral services is not watched", "empty", help);
        }
        self.windows("detect.lateral_windows", &detect.lateral_windows, |_| BENIGN_LATERAL);
        self.windows("detect.any_windows", &detect.any_windows, |length| {
            BENIGN_ANY.iter().find(|(seconds, _)| length.as_secs() >= *seconds).map_or(0, |(_, most)| *most)
        });
        if let Some(longest) = detect.lateral_windows.iter().chain(&detect.any_windows).map(|w| w.length).max()
            && longest > detect.contact_memory
        {
            let help = format!("write contact_memory = \"{}\" or more", ShowDuration(longest));
            let message = "a window is longer than the contact memory, so that routine contacts count again within it";
            self.advise("detect.contact_memory", message, "shorter than the longest window", help);
        }
    }

    fn windows(&mut self, key: &str, windows: &[Window], benign: impl Fn(Duration) -> u32) {
        for (at, window) in windows.iter().enumerate() {
            let most = benign(window.length);
            if window.limit <= most {
                let message = format!("benign hosts reach this: {most} within {}", ShowDuration(window.length));
                let help = format!("write at least {}, or run `firedoor tune` on your own traffic", most + 1);
                self.advise(&format!("{key}[{at}].contacts"), message, "a false alarm by itself", help);
            }
        }
        for (at, (shorter, longer)) in windows.iter().zip(windows.iter().skip(1)).enumerate() {
            if longer.limit <= shorter.limit {
                let message = format!("the window of {} can never be the first", ShowDuration(shorter.length));
                let help = "a longer window needs a higher threshold; or leave the shorter one out";
                let key = format!("{key}[{}].contacts", at + 1);
                self.advise(&key, message, "not above the window before", help);
            }
        }
    }

    fn shell(&mut self) {
        let config = self.config;
        if let Some(at) = config.observe.metrics.filter(|at| !at.ip().is_loopback()) {
            let help =
                "write \"127.0.0.1:9477\" and let a reverse proxy or an agent carry it, or let a firewall guard it";
            let message = format!("/metrics on {at} can be read by anyone who reaches it");
            self.advise("observe.metrics", message, "not loopback", help);
        }
        let (keep, repeat) = (config.observe.history_keep, config.respond.repeat_within);
        if config.observe.history.is_some() && keep < repeat {
            let help = format!("write history_keep = \"{}\" or more", ShowDuration(repeat));
            let message = "a restart forgets repeats that respond.repeat_within still counts";
            self.advise("observe.history_keep", message, "shorter", help);
        }
        for (key, on) in [("landlock", config.privileges.landlock), ("seccomp", config.privileges.seccomp)] {
            if !on {
                let help = format!("write {key} = true, or leave it out");
                self.advise(&format!("privileges.{key}"), format!("the daemon is not confined by {key}"), "off", help);
            }
        }
    }

    fn interfaces(&mut self, around: &HostNetwork) {
        let names: Vec<&str> = around.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        for (at, name) in self.config.gateway.interfaces.iter().enumerate() {
            let key = format!("gateway.interfaces[{at}]");
            let Some(interface) = around.interfaces.iter().find(|interface| interface.name == *name) else {
                let help = match suggestion(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near}? here are: {}", names.join(", ")),
                    None => format!("here are: {}", names.join(", ")),
                };
                self.advise(&key, format!("there is no interface {name} on this machine"), "not here", help);
                continue;
            };
            if interface.loopback {
                let help = "name the interface where your hosts come in";
                self.advise(&key, format!("{name} is the loopback: no host is behind it"), "loopback", help);
            } else if !interface.up {
                let help = format!("ip link set {name} up");
                self.advise(&key, format!("interface {name} is down"), "nothing comes in here", help);
            }
        }
    }

    fn own_addresses(&mut self, around: &HostNetwork) {
        let own: Vec<_> = around.own().map(Address::from).collect();
        for (at, decoy) in self.config.detect.decoys.written().iter().enumerate() {
            let one = Networks::new(vec![*decoy]);
            if let Some(address) = own.iter().find(|address| one.contains(**address)) {
                let message = format!("the decoy {} is this gateway itself", show_network(*decoy));
                let help = "everybody has business with the gateway: take an address without a host";
                self.advise(&format!("networks.decoys[{at}]"), message, &format!("holds {address}"), help);
            }
        }
        let never = &self.config.respond.never_contain;
        let exempted = own.iter().any(|address| never.contains(*address));
        if self.config.gateway.mode == Mode::Enforce && !own.is_empty() && !exempted {
            let help = "it is exempted by itself; list it all the same, so that whoever reads this file knows";
            let label = "no address of this gateway";
            self.advise("networks.never_contain", "enforcing without this gateway on the list", label, help);
        }
    }

    fn neighbours(&mut self, around: &HostNetwork) {
        let missing = missing(self.config, around);
        let others: Vec<_> = missing.iter().filter(|(_, what)| *what != "this gateway").collect();
        if !others.is_empty() {
            let list: Vec<String> = others.iter().map(|(n, what)| format!("{} ({what})", show_network(*n))).collect();
            let message = "what the network depends on could be contained".to_owned();
            let help = format!("add {}; the lines to paste are proposed below", list.join(", "));
            self.advise("networks.never_contain", message, "not on the list", help);
        }
    }
}

/// The entries of `list` that hold a whole entry of `protected`, which is given with their place.
fn covers(list: &Networks, protected: &Networks) -> Vec<(usize, IpNetwork)> {
    let whole = |outer: IpNetwork| {
        protected.written().iter().copied().find(|inner| {
            outer.is_ipv4() == inner.is_ipv4() && outer.prefix() <= inner.prefix() && outer.contains(inner.network())
        })
    };
    list.written().iter().enumerate().filter_map(|(at, outer)| whole(*outer).map(|inner| (at, inner))).collect()
}

fn overlaps(list: &Networks, network: IpNetwork) -> bool {
    list.written().iter().any(|other| {
        other.is_ipv4() == network.is_ipv4() && (other.contains(network.network()) || network.contains(other.network()))
    })
}
