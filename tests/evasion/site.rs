//! A gateway with a protected office and a ward of victims, the daemon on it, and what an engineer can ask it.
//!
//! ```text
//!  attacker, forger (no kernel speaks for them) ─┬─ switch ── office0 ┐
//!  innocent (an ordinary host) ──────────────────┘                    │ gateway ── ward0 ── ward: live victims, the rest dark
//! ```
//!
//! Both families at once; routed, or one wire through a bridge.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use firedoor::lab::gateway::{Daemon, Setup};
use firedoor::lab::plan::{Family, GATEWAY, Plan, Segment, Shape, WARD};
use firedoor::lab::random::Random;
use firedoor::respond::Mode;
use firedoor::sys::namespace::{self, Namespace};
use firedoor::wire::Mac;
use serde_json::Value;

use crate::dress::Dress;
use crate::host::Host;
use crate::packet::flag;
use crate::tally::{Kind, Packet, Tally};
use crate::visits::Visits;

/// The most victims that a suspect reaches.
pub const MOST: usize = 10;

/// The attacker's and the innocent host's numbers in the office.
pub const ATTACKER: u8 = 66;
pub const INNOCENT: u8 = 10;

/// Where innocent hosts send their logs.
const SYSLOG: u16 = 514;

/// How long what needs no promise may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether namespaces can be made here; says so loudly if not.
pub fn able() -> bool {
    namespace::permitted().inspect_err(|error| eprintln!("SKIPPED: {error}")).is_ok()
}

/// The executable under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firedoor"))
}

/// Runs a command, which must succeed.
pub fn must(machine: &Namespace, program: &str, arguments: &str) -> String {
    let output = machine.command(program).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The network, without its protection.
pub struct Ground {
    pub shape: Shape,
    pub gateway: Namespace,
    pub switch: Namespace,
    pub attacker: Namespace,
    pub forger: Namespace,
    pub innocent: Namespace,
    pub ward: Namespace,
    /// Machines that a scenario adds.
    pub more: Vec<Namespace>,
    plans: [Plan; 2],
    seed: u64,
}

impl Ground {
    /// Builds it; the seed says who lives in the ward: 76 of 253 addresses.
    pub fn build(shape: Shape, seed: u64) -> Self {
        let plans = [Family::Ipv4, Family::Ipv6].map(|family| Plan::new(family, shape, 30, seed));
        let [gateway, switch, attacker, forger, innocent, ward] =
            ["gateway", "switch", "attacker", "forger", "innocent", "ward"].map(|name| Namespace::new(name).unwrap());
        switch.link(|links| links.bridge("switch0")).unwrap();
        switch.link(|links| links.up("switch0")).unwrap();
        let ground = Ground { shape, gateway, switch, attacker, forger, innocent, ward, more: Vec::new(), plans, seed };
        for machine in [&ground.attacker, &ground.forger] {
            machine.set("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        }
        ground.plug_in(&ground.gateway, &Segment::Office.interface(), "uplink");
        ground.plug_in(&ground.attacker, "eth0", "port0");
        ground.plug_in(&ground.forger, "eth0", "port1");
        ground.plug_in(&ground.innocent, "eth0", "port2");
        cable((&ground.ward, "eth0"), (&ground.gateway, &WARD.interface()));
        if shape == Shape::Bridged {
            ground.gateway.link(|links| links.bridge("br0")).unwrap();
            ground.gateway.link(|links| links.up("br0")).unwrap();
            for segment in [Segment::Office, WARD] {
                ground.gateway.link(|links| links.enslave(&segment.interface(), "br0")).unwrap();
            }
        }
        for plan in &ground.plans {
            match shape {
                Shape::Bridged => {
                    let own = plan.on_link(Segment::Server, GATEWAY);
                    ground.gateway.link(|links| links.address("br0", own)).unwrap();
                }
                Shape::Routed => {
                    for segment in [Segment::Office, WARD] {
                        let own = plan.on_link(segment, GATEWAY);
                        ground.gateway.link(|links| links.address(&segment.interface(), own)).unwrap();
                    }
                }
            }
            settle(&ground.innocent, plan, Segment::Office, &[INNOCENT]);
            settle(&ground.ward, plan, WARD, plan.live());
        }
        if shape == Shape::Routed {
            ground.gateway.set("net/ipv4/ip_forward", "1").unwrap();
            ground.gateway.set("net/ipv6/conf/all/forwarding", "1").unwrap();
        }
        ground
    }

    /// Plugs a machine into the office's switch.
    pub fn plug_in(&self, machine: &Namespace, name: &str, port: &str) {
        cable((machine, name), (&self.switch, port));
        self.switch.link(|links| links.enslave(port, "switch0")).unwrap();
    }

    /// The plan of a family's addresses.
    pub fn plan(&self, family: Family) -> &Plan {
        &self.plans[usize::from(family == Family::Ipv6)]
    }

    /// An address in the office.
    pub fn office(&self, family: Family, host: u8) -> IpAddr {
        self.plan(family).address(Segment::Office, host)
    }

    /// An address of the ward.
    pub fn victim(&self, family: Family, host: u8) -> IpAddr {
        self.plan(family).address(WARD, host)
    }

    /// The ward's live addresses, in an order that the seed gives.
    pub fn live(&self, family: Family) -> Vec<IpAddr> {
        let mut hosts = self.plan(family).live().to_vec();
        Random::new(self.seed ^ 0x11fe).shuffle(&mut hosts);
        hosts.into_iter().map(|host| self.victim(family, host)).collect()
    }

    /// The ward's dark addresses, likewise.
    pub fn dark(&self, family: Family) -> Vec<IpAddr> {
        let plan = self.plan(family);
        self.everybody(family).into_iter().filter(|address| !plan.is_live(*address)).collect()
    }

    /// All the ward's addresses, in an order that the seed gives.
    pub fn everybody(&self, family: Family) -> Vec<IpAddr> {
        let mut hosts: Vec<u8> = (GATEWAY + 1..=254).collect();
        Random::new(self.seed ^ 0x7a11).shuffle(&mut hosts);
        hosts.into_iter().map(|host| self.victim(family, host)).collect()
    }

    /// The card that frames to the ward go to, from the office.
    pub fn next_hop(&self) -> Mac {
        let (machine, name) = match self.shape {
            Shape::Routed => (&self.gateway, Segment::Office.interface()),
            Shape::Bridged => (&self.ward, "eth0".to_owned()),
        };
        machine.link(|links| links.mac(&name)).unwrap()
    }

    /// A host in user space on the attacker's machine.
    pub fn host(&self) -> Host {
        Host::start(&self.attacker, "eth0", self.next_hop())
    }

    /// The same with the attacker's own address of each family, which it asks from, and so claims.
    pub fn worm(&self) -> Host {
        let host = self.host();
        for family in [Family::Ipv4, Family::Ipv6] {
            host.owns(self.office(family, ATTACKER));
        }
        host.asks(self.office(Family::Ipv4, ATTACKER), self.office(Family::Ipv4, GATEWAY));
        host
    }
}

/// A cable between two machines, both ends up.
pub fn cable((machine, name): (&Namespace, &str), (other, other_name): (&Namespace, &str)) {
    machine.veth(name, other, other_name).unwrap();
    machine.link(|links| links.up(name)).unwrap();
    other.link(|links| links.up(other_name)).unwrap();
}

/// Gives a machine its addresses and its way out.
pub fn settle(machine: &Namespace, plan: &Plan, segment: Segment, hosts: &[u8]) {
    for &host in hosts {
        machine.link(|links| links.address("eth0", plan.on_link(segment, host))).unwrap();
    }
    if plan.shape() == Shape::Routed {
        machine.link(|links| links.route(plan.everywhere(), plan.address(segment, GATEWAY))).unwrap();
    }
}

/// Connects from an address of a machine; how long it took, if it came about within three seconds.
pub fn connect(machine: &Namespace, from: IpAddr, to: IpAddr, port: u16) -> Option<Duration> {
    let attempt = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = if from.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
            let socket = socket.unwrap();
            socket.bind(SocketAddr::new(from, 0)).unwrap();
            let begun = Instant::now();
            let connecting = socket.connect(SocketAddr::new(to, port));
            let outcome = tokio::time::timeout(Duration::from_secs(3), connecting).await;
            matches!(outcome, Ok(Ok(_))).then(|| begun.elapsed())
        })
    };
    machine.run(attempt).unwrap()
}

/// The network with the daemon on its gateway, enforcing.
pub struct Site {
    daemon: Option<Daemon>,
    pub tally: Tally,
    pub visits: Visits,
    pub directory: tempfile::TempDir,
    pub ground: Ground,
}

impl Site {
    /// Routed or bridged.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Site::on(Ground::build(shape, seed), |setup| setup)
    }

    /// On a network with changes, and with changes to the daemon's setup.
    pub fn on(ground: Ground, change: impl FnOnce(Setup) -> Setup) -> Self {
        let interfaces = vec![Segment::Office.interface(), WARD.interface()];
        let setup = Setup::new(Mode::Enforce, ground.plan(Family::Ipv4)).with("gateway", "interfaces", interfaces);
        let setup = change(setup);
        let (tally, visits) = (Tally::start(&ground.ward, "eth0"), Visits::start(&ground.ward));
        let directory = tempfile::tempdir().unwrap();
        let daemon =
            (!unprotected()).then(|| Daemon::start_on(&ground.gateway, program(), directory.path(), &setup).unwrap());
        let site = Site { daemon, tally, visits, directory, ground };
        site.live_a_little();
        site
    }

    /// Lets every live host send a log line, and the daemon learn who is alive.
    fn live_a_little(&self) {
        for family in [Family::Ipv4, Family::Ipv6] {
            let server = SocketAddr::new(self.ground.office(family, INNOCENT), SYSLOG);
            let _ear = self.ground.innocent.run(|| UdpSocket::bind(server).unwrap()).unwrap();
            let victims = self.ground.live(family);
            let speak = move || {
                for victim in victims {
                    UdpSocket::bind((victim, 0)).unwrap().send_to(b"<14>alive", server).unwrap();
                }
            };
            self.ground.ward.run(speak).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2_200));
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// What the admin API has at a path.
    pub fn ask(&self, path: &str) -> Value {
        match &self.daemon {
            Some(daemon) => daemon.ask(path).unwrap(),
            None => Value::Null,
        }
    }

    /// Runs `firedoor` with these arguments against the daemon.
    pub fn firedoor(&self, arguments: &[&str]) -> Output {
        let mut command = self.ground.gateway.command(program());
        command.arg("--config").arg(self.directory.path().join("firedoor.toml"));
        command.arg("--socket").arg(self.directory.path().join("firedoor.sock"));
        command.args(arguments).output().unwrap()
    }

    /// The same, which must succeed; what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.firedoor(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        let read = || {
            let mut stream = std::net::TcpStream::connect("127.0.0.1:9477").unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\nHost: firedoor\r\n\r\n").unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            page
        };
        self.ground.gateway.run(read).unwrap()
    }

    /// Contained, isolated or held by nobody's order, and named so: an address or a card.
    pub fn acted_on(&self, names: &[String]) -> Vec<Value> {
        let Value::Array(mut acts) = self.ask("/v1/decisions?limit=10000") else { return Vec::new() };
        acts.retain_mut(|act| {
            let decision = act["decision"].as_str().unwrap_or_default().to_owned();
            let fields = act.as_object_mut().unwrap();
            // Evidence and reasons name others as well.
            fields.remove("evidence");
            fields.remove("reason");
            let text = act.to_string();
            let named = names.iter().any(|name| text.contains(&format!("\"{name}\"")));
            matches!(decision.as_str(), "contain" | "isolate" | "hold") && named
        });
        acts
    }

    /// The live victims in whose direction something opened a connection, by these sources.
    pub fn reached(&self, from: impl Fn(IpAddr) -> bool, port: u16) -> Vec<IpAddr> {
        let live = |address: IpAddr| self.ground.plans.iter().any(|plan| plan.is_live(address));
        let opens = |packet: &Packet| from(packet.source) && packet.opens(port) && live(packet.destination);
        self.tally.destinations(opens).into_iter().collect()
    }

    /// The live victims that a datagram to this port reached.
    pub fn reached_by_udp(&self, from: IpAddr, port: u16) -> usize {
        let live = |address: IpAddr| self.ground.plans.iter().any(|plan| plan.is_live(address));
        let wanted = |packet: &Packet| {
            packet.source == from && packet.kind == Kind::Udp && packet.ports.1 == port && live(packet.destination)
        };
        self.tally.destinations(wanted).len()
    }

    /// How many of a few plain SYNs come through from this address: to hosts that it reached before, which no limiter
    /// would stop, and to fresh ones.
    pub fn open_to(&self, host: &Host, from: IpAddr, port: u16) -> usize {
        // What the limiter gives back in this time lets at least one through.
        std::thread::sleep(Duration::from_millis(1_600));
        let family = if from.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        let before = self.reached(|source| source == from, port);
        let fresh = self.ground.live(family).into_iter().filter(|victim| !before.contains(victim));
        let targets: Vec<IpAddr> = before.iter().copied().take(2).chain(fresh).take(4).collect();
        let begun = Instant::now();
        for target in targets {
            host.knock((from, target), port, Dress::Plain);
        }
        std::thread::sleep(Duration::from_millis(300));
        let wanted = |packet: &Packet| packet.source == from && packet.opens(port);
        self.tally.since(begun, wanted)
    }

    /// How many bytes of payload these sources sent that arrived in segments from this port.
    pub fn served(&self, from: IpAddr, port: u16) -> usize {
        let packets = self.tally.packets();
        let served = packets.iter().filter(|packet| {
            packet.source == from
                && packet.ports.0 == port
                && matches!(packet.kind, Kind::Tcp { flags, .. } if flags & flag::PSH != 0)
        });
        served.map(|packet| packet.data).sum()
    }
}

/// For a control run: nothing protects the victims, and every attack shows what it would do.
pub fn unprotected() -> bool {
    std::env::var_os("FIREDOOR_EVASION_UNPROTECTED").is_some()
}
