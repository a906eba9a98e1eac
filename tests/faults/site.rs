//! What every scenario starts from: a live network, the daemon on its gateway, and the ways an engineer has to it.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use firedoor::api::host::WhyView;
use firedoor::lab::gateway::{Daemon, Setup};
use firedoor::lab::plan::{CLINICAL, Family, INFECTED, Plan, Segment, Shape, WARD};
use firedoor::lab::scene::Scene;
use firedoor::lab::worm::{Kind, Order, Worm};
use firedoor::published::status::Drift;
use firedoor::published::status::Status;
use firedoor::respond::{Decision, Mode, Verdict};
use firedoor::sys::namespace;
use firedoor::wire::Address;

/// How long a scenario waits for what needs no promise, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the hosts of the ward listen on here.
const PORTS: [u16; 2] = [445, 3389];

/// The executable under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firedoor"))
}

/// Whether namespaces can be made here; says so loudly if not.
pub fn able() -> bool {
    namespace::permitted().inspect_err(|error| eprintln!("SKIPPED: {error}")).is_ok()
}

static TURN: RwLock<()> = RwLock::new(());

/// For a scenario that bears company.
pub fn together() -> RwLockReadGuard<'static, ()> {
    // A scenario that failed has left nothing behind that the next one could trip over.
    TURN.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// For a scenario that floods, or measures to the millisecond.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until `holds`, and says how long that took.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "within {PATIENCE:?} it did not come about that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// Sends a signal to a process of ours, by the shell's own `kill`.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
}

/// A network with the daemon on its gateway, enforcing.
pub struct Site {
    daemon: Option<Daemon>,
    pub setup: Setup,
    pub directory: tempfile::TempDir,
    pub scene: Scene,
}

impl Site {
    /// With so many infected hosts; `change` sets what the scenario needs otherwise.
    pub fn new(seed: u64, infected: u8, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::within(tempfile::tempdir().unwrap(), seed, infected, change)
    }

    /// The same on another family, or behind a bridge instead of a router.
    pub fn shaped(family: Family, shape: Shape, seed: u64, infected: u8) -> Self {
        Self::of(tempfile::tempdir().unwrap(), Plan::new(family, shape, 12, seed), infected, |setup| setup)
    }

    /// With the daemon's files in this directory.
    pub fn within(directory: tempfile::TempDir, seed: u64, infected: u8, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::of(directory, Plan::new(Family::Ipv4, Shape::Routed, 12, seed), infected, change)
    }

    /// On this plan.
    pub fn planned(plan: Plan, infected: u8, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::of(tempfile::tempdir().unwrap(), plan, infected, change)
    }

    fn of(directory: tempfile::TempDir, plan: Plan, infected: u8, change: impl FnOnce(Setup) -> Setup) -> Self {
        let setup = change(Setup::new(Mode::Enforce, &plan));
        let scene = Scene::build(program(), plan, infected, &PORTS).unwrap();
        let mut site = Site { daemon: None, setup, directory, scene };
        site.start();
        site
    }

    /// Starts the daemon; says how long it took until it was ready.
    pub fn start(&mut self) -> Duration {
        let begun = Instant::now();
        let daemon = Daemon::start(program(), &self.scene.network, self.directory.path(), &self.setup).unwrap();
        self.daemon = Some(daemon);
        begun.elapsed()
    }

    /// The running daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.take().expect("the daemon runs").kill();
    }

    /// Ends the daemon the polite way.
    pub fn stop(&mut self) {
        self.daemon.take().expect("the daemon runs").stop().unwrap();
    }

    /// An infected host's address.
    pub fn infected(&self, number: u8) -> IpAddr {
        self.scene.network.plan.address(Segment::Office, INFECTED + number)
    }

    /// The uninvolved client's address.
    pub fn clinic(&self) -> IpAddr {
        self.scene.network.plan.address(Segment::Clinic, CLINICAL)
    }

    /// The server's address.
    pub fn server(&self) -> IpAddr {
        self.scene.network.plan.address(Segment::Server, CLINICAL)
    }

    /// A live host of the ward.
    pub fn victim(&self, number: usize) -> IpAddr {
        let plan = &self.scene.network.plan;
        plan.address(WARD, plan.live()[number])
    }

    /// The daemon's picture of itself.
    pub fn status(&self) -> Status {
        self.daemon().ask("/v1/status").unwrap()
    }

    /// Everything about an address.
    pub fn why(&self, address: IpAddr) -> WhyView {
        self.daemon().ask(&format!("/v1/why/{address}")).unwrap()
    }

    /// Decisions of a kind about a host, oldest first.
    pub fn decisions(&self, host: IpAddr, verdict: Verdict) -> Vec<Decision> {
        let mut found = self.daemon().decisions().unwrap();
        found.retain(|act| act.host == Address::from(host) && act.decision == verdict);
        found
    }

    /// Everybody who was contained, isolated or held, by nobody's order.
    pub fn acted_on(&self) -> Vec<Decision> {
        let mut found: Vec<Decision> = self.daemon().ask("/v1/decisions?limit=10000").unwrap();
        found.retain(|act| matches!(act.decision, Verdict::Contain | Verdict::Isolate | Verdict::Hold));
        found
    }

    /// How often drift of a kind was put right.
    pub fn repairs(&self, kind: Drift) -> u64 {
        self.status().firewall.repairs.iter().find(|repairs| repairs.kind == kind).map_or(0, |repairs| repairs.count)
    }

    /// Lets a worm loose on an infected host until it is contained; what it did before is on the record.
    pub fn contain_by_worm(&self, number: u8) -> Decision {
        let order = Order { rate: 20.0, ..Order::new(Kind::Wannacry, 1) };
        let worm = Worm::release(&self.scene.network, number, order).unwrap();
        let host = self.infected(number);
        until("the worm is contained", || !self.decisions(host, Verdict::Contain).is_empty());
        worm.end().unwrap();
        self.decisions(host, Verdict::Contain).remove(0)
    }

    /// Runs `firedoor` with these arguments against the daemon.
    pub fn firedoor(&self, arguments: &[&str]) -> Output {
        self.scene
            .network
            .gateway
            .command(program())
            .arg("--config")
            .arg(self.directory.path().join("firedoor.toml"))
            .arg("--socket")
            .arg(self.directory.path().join("firedoor.sock"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs `firedoor`, which must succeed; gives what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.firedoor(arguments);
        assert!(
            output.status.success(),
            "firedoor {arguments:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.daemon().log_tail()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Contains a host by an engineer's order.
    pub fn contain(&self, host: IpAddr) {
        self.command(&["contain", &host.to_string(), "--reason", "drill"]);
    }

    /// Runs nft on the gateway, as somebody else would; gives what it printed.
    pub fn nft(&self, arguments: &[&str]) -> String {
        let output = self.scene.network.gateway.command("nft").args(arguments).output().unwrap();
        assert!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Where the kernel acts on IPv4 addresses, as nft shows it: interface and address of each element of `acted4`. Each
    /// is there once.
    pub fn places_in_kernel(&self) -> Vec<(String, IpAddr)> {
        let text = self.nft(&["list", "map", "inet", "firedoor", "acted4"]);
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
        let element = |words: &[&str]| match *words {
            [interface, ".", address] => Some((interface.trim_matches('"').to_owned(), address.parse().ok()?)),
            _ => None,
        };
        let mut found: Vec<(String, IpAddr)> = words.windows(3).filter_map(element).collect();
        found.sort_unstable();
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
        found
    }

    /// Whom the kernel acts on (IPv4), wherever that is: each host once.
    pub fn in_kernel(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = self.places_in_kernel().into_iter().map(|(_, address)| address).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// A host of the office as `acted4` has it, to be given to nft.
    pub fn in_office(host: IpAddr) -> String {
        format!("\"{}\" . {host}", Segment::Office.interface())
    }

    /// One of the daemon's metrics of whole numbers: the sum over the samples whose labels hold `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        let page = self.metrics();
        let samples = page.lines().filter(|line| line.contains(labels)).filter_map(|line| sample(line, name));
        samples.filter_map(|value| value.parse::<u64>().ok()).sum()
    }

    /// One of the daemon's metrics that is a moment, in whole seconds.
    pub fn moment(&self, name: &str) -> i64 {
        let page = self.metrics();
        let value = page.lines().find_map(|line| sample(line, name)).unwrap_or_else(|| panic!("no {name}: {page}"));
        value.split('.').next().unwrap().parse().unwrap_or_else(|_| panic!("{name} is {value}"))
    }

    fn metrics(&self) -> String {
        self.scene
            .network
            .gateway
            .run(|| {
                let mut stream = TcpStream::connect("127.0.0.1:9477").unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                write!(stream, "GET /metrics HTTP/1.0\r\nHost: firedoor\r\n\r\n").unwrap();
                let mut page = String::new();
                stream.read_to_string(&mut page).unwrap();
                page
            })
            .unwrap()
    }
}

/// The value in a line of the metrics page, if it is a sample of this metric.
fn sample<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.starts_with(['{', ' ']).then(|| line.rsplit(' ').next())?
}

/// Posts an order to a daemon's admin socket; `None` if it is not there, or went away before it answered.
pub fn post(socket: &Path, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "POST {path} HTTP/1.0\r\nHost: firedoor\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}
