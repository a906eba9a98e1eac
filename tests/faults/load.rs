//! A ward's ordinary day, many times as fast: made by one seeded sender that plays both sides of every conversation.
//!
//! 120 office clients work with 20 servers: pages over HTTP, files over SMB 2 (negotiation, session, tree, read), name
//! service, pings; each client now and then meets a server that it has not met before, over SMB or remote desktop, and
//! two of them look for a printer that is switched off. Beside it somebody forges: bare SYNs to the ward from random
//! addresses. None of the clients and servers has a machine: their frames leave through the packet sockets of one
//! machine on each segment, and the gateway knows their hardware addresses. Conversations run in step, sixty-four at
//! a time, so that each frame follows the one it answers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Segment, WARD};
use firedoor::lab::random::Random;
use firedoor::sys::inject::{self, Injector};
use firedoor::sys::namespace::Error;
use firedoor::wire::Mac;
use firedoor::wire::build::End;

use crate::frames::Knock;
use crate::site::Site;
use crate::talk::{Frame, SYN, Script, Side, Talk};

const CLIENTS: u8 = 120;
const SERVERS: u8 = 20;
/// The first client's and the first server's host number.
const FIRST: u8 = 110;

/// A new contact comes about this often, all clients together.
const NEW_CONTACT: Duration = Duration::from_millis(900);
/// Forged SYNs to every thousand packets.
const FORGED: u64 = 20;

fn office(number: u8) -> (Mac, Ipv4Addr) {
    (Mac([2, 0x0f, 0, 0, 0, number]), Ipv4Addr::new(10, 66, 0, FIRST + number))
}

fn server(number: u8) -> (Mac, Ipv4Addr) {
    (Mac([2, 0x0e, 0, 0, 0, number]), Ipv4Addr::new(10, 66, 2, FIRST + number))
}

/// The sender at work; dropping it ends it.
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Where frames leave, and their next hop.
struct Gate {
    injector: Injector,
    next_hop: Mac,
}

impl Gate {
    fn open(site: &Site, machine: &firedoor::sys::namespace::Namespace, segment: Segment) -> Self {
        let interface = machine.link(|links| links.index("eth0")).unwrap();
        let injector = machine.run(|| Injector::open(interface).unwrap()).unwrap();
        let next_hop = site.scene.network.gateway.link(|links| links.mac(&segment.interface())).unwrap();
        Gate { injector, next_hop }
    }

    fn send(&self, frames: &[&[u8]]) {
        let mut rest = frames;
        while !rest.is_empty() {
            let gone = self.injector.send(rest).unwrap();
            rest = &rest[gone..];
        }
    }
}

/// Everything the sender's thread owns.
struct Sender {
    office: Gate,
    server: Gate,
    forger: Gate,
    forged: Vec<Knock>,
    ward: Vec<Ipv4Addr>,
    random: Random,
    frames: Vec<Frame>,
    ports: [u16; CLIENTS as usize],
    turn: u64,
    met: u32,
    met_at: Instant,
}

impl Sender {
    fn talk(&mut self, client: u8, other: u8, port: u16) -> Talk {
        let own = &mut self.ports[usize::from(client)];
        *own = if *own >= 60_000 { 20_000 } else { *own + 1 };
        let ports = [*own, port];
        let bits = self.random.next();
        Talk {
            who: (client, other),
            ends: [office(client).1, server(other).1],
            ports,
            numbers: [u32::try_from(bits >> 32).unwrap(), u32::try_from(bits & 0xffff_ffff).unwrap()],
        }
    }

    /// Lets conversations of one kind run in step. Gives how many frames that were.
    fn converse(&mut self, script: &Script, talks: &mut [Talk], answered: bool) -> u64 {
        let mut count = 0;
        for step in &script.steps {
            if !answered && (step.side == Side::Server || step.flags != SYN) {
                continue;
            }
            let gate = if step.side == Side::Client { &self.office } else { &self.server };
            for (frame, talk) in self.frames.iter_mut().zip(talks.iter_mut()) {
                let own = if step.side == Side::Client { office(talk.who.0).0 } else { server(talk.who.1).0 };
                frame.segment((own, gate.next_hop), talk, step);
                let moved = u32::try_from(step.payload.len()).unwrap() + u32::from(step.flags & 3 != 0);
                let side = usize::from(step.side == Side::Server);
                talk.numbers[side] = talk.numbers[side].wrapping_add(moved);
            }
            let ready: Vec<&[u8]> = self.frames.iter().take(talks.len()).map(Frame::bytes).collect();
            gate.send(&ready);
            count += talks.len() as u64;
        }
        count
    }

    /// Pings and name service.
    fn chat(&mut self) -> u64 {
        let each = 8_u64;
        let picks: Vec<(u8, u8)> = (0..each).map(|_| (self.client(), self.client() % 2)).collect();
        for (side, gate) in [(Side::Client, &self.office), (Side::Server, &self.server)] {
            for (at, (client, host)) in picks.iter().enumerate() {
                let ((own, from), (peer, to)) = (office(*client), server(*host));
                let number = u16::try_from(self.turn & 0xffff).unwrap();
                let answer = side == Side::Server;
                let (mac, ends) = if answer { (peer, (to, from)) } else { (own, (from, to)) };
                let ports = if answer { (53, 5353 + u16::from(*client)) } else { (5353 + u16::from(*client), 53) };
                self.frames[at * 2].echo((mac, gate.next_hop), ends, if answer { 0 } else { 8 }, number);
                self.frames[at * 2 + 1].name((mac, gate.next_hop), ends, ports, answer);
            }
            let ready: Vec<&[u8]> = self.frames.iter().take(picks.len() * 2).map(Frame::bytes).collect();
            gate.send(&ready);
        }
        each * 4
    }

    fn client(&mut self) -> u8 {
        u8::try_from(self.random.below(CLIENTS.into())).unwrap()
    }

    /// Somebody meets somebody new, when it is time.
    fn meet(&mut self, file: &Script, desktop: &Script) -> u64 {
        if self.met_at.elapsed() < NEW_CONTACT {
            return 0;
        }
        self.met_at = Instant::now();
        let client = u8::try_from(self.met % u32::from(CLIENTS)).unwrap();
        let round = self.met / u32::from(CLIENTS);
        self.met += 1;
        // The fourth to the last server, one a round, first over SMB and then over remote desktop.
        let known = u32::from(SERVERS) - 4;
        let other = 4 + u8::try_from((u32::from(client) + round) % known).unwrap();
        let script = if round.is_multiple_of(2) { file } else { desktop };
        let mut talks = [self.talk(client, other, script.port)];
        let mut count = self.converse(script, &mut talks, true);
        if client < 2 {
            // A printer that is switched off.
            let mut talks = [self.talk(client, SERVERS + 5, 9100)];
            count += self.converse(desktop, &mut talks, false);
        }
        count
    }

    fn forge(&mut self, count: u64) -> u64 {
        let count = usize::try_from(count).unwrap().min(self.forged.len());
        for knock in self.forged.iter_mut().take(count) {
            let bits = self.random.next();
            let source = Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(bits & 0x00ff_ffff).unwrap());
            let aim = self.ward[usize::try_from((bits >> 24) % self.ward.len() as u64).unwrap()];
            knock.aim(source, aim, (1024 + u16::try_from(bits >> 40 & 0x7fff).unwrap(), 445));
        }
        let ready: Vec<&[u8]> = self.forged.iter().take(count).map(Knock::frame).collect();
        self.forger.send(&ready);
        count as u64
    }

    /// One round of everything; gives how many frames that were.
    fn round(&mut self, scripts: &[Script; 3]) -> u64 {
        self.turn += 1;
        let [page, file, desktop] = scripts;
        let script = if self.turn.is_multiple_of(3) { file } else { page };
        // Each client has a file server of its own; pages come from the first two.
        let clients: Vec<u8> = (0..inject::BATCH).map(|_| self.client()).collect();
        let mut talks: Vec<Talk> = clients
            .into_iter()
            .map(|client| self.talk(client, if script.port == 445 { client % 4 } else { client % 2 }, script.port))
            .collect();
        let mut count = self.converse(script, &mut talks, true);
        count += self.chat();
        count += self.meet(file, desktop);
        count + self.forge(count * FORGED / 1000)
    }
}

impl Load {
    /// Starts sending, so many packets a second as long as the machine can. The forger is the infected host of this
    /// number.
    pub fn start(site: &Site, rate: u64, forger: u8, seed: u64) -> Self {
        introduce(site);
        let network = &site.scene.network;
        let forging = &network.infected[usize::from(forger)];
        let own = forging.link(|links| links.mac("eth0")).unwrap();
        let forger = Gate::open(site, forging, Segment::Office);
        let ward: Vec<Ipv4Addr> = (2..=254)
            .filter_map(|host| match network.plan.address(WARD, host) {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            })
            .collect();
        let (from, to) = (office(0).1, ward[0]);
        let knock = Knock::new(End { mac: own, ip: from.into() }, End { mac: forger.next_hop, ip: to.into() });
        let mut sender = Sender {
            // The clients share a switch port with the forger, and the servers their segment with the real server.
            office: Gate::open(site, forging, Segment::Office),
            server: Gate::open(site, &network.server, Segment::Server),
            forger,
            forged: vec![knock; inject::BATCH],
            ward,
            random: Random::new(seed),
            frames: (0..inject::BATCH).map(|_| Frame::new()).collect(),
            ports: [20_000; CLIENTS as usize],
            turn: 0,
            met: 0,
            met_at: Instant::now(),
        };
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, total) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = forging.spawn(move || {
            let scripts = [Script::page(), Script::file(), Script::desktop()];
            let mut due = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                let count = sender.round(&scripts);
                total.fetch_add(count, Ordering::Relaxed);
                due += Duration::from_secs(1).mul_f64(count as f64 / rate as f64);
                let now = Instant::now();
                if let Some(early) = due.checked_duration_since(now) {
                    std::thread::sleep(early);
                } else if now - due > Duration::from_millis(200) {
                    // A busy machine: what was missed is not made up for.
                    due = now;
                }
            }
        });
        Load { stop, sent, thread: Some(thread.unwrap()) }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // How it ended matters to nobody who does not look at what was sent.
            let _ = thread.join();
        }
    }
}

/// Tells the gateway where clients and servers are, for they have no machine that could.
fn introduce(site: &Site) {
    let mut batch = String::new();
    for (count, who, segment) in [
        (CLIENTS, office as fn(u8) -> (Mac, Ipv4Addr), Segment::Office),
        (SERVERS, server as fn(u8) -> (Mac, Ipv4Addr), Segment::Server),
    ] {
        for (mac, address) in (0..count).map(who) {
            let interface = segment.interface();
            writeln!(batch, "neigh replace {address} lladdr {mac} dev {interface} nud permanent").unwrap();
        }
    }
    let mut child = site
        .scene
        .network
        .gateway
        .command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
