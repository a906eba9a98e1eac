//! [`Measure`]: a capture through the core, and how far each host went in it.
//!
//! A window's count is read at each first contact, the only moment at which it rises; a score after each frame that
//! brought evidence to one of its two hosts, and after each verdict on silence. Bounded: [`MOST_HOSTS`] hosts, and
//! [`MOST_SERVICES`] services of each; what went unmeasured is counted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::detect::settings::Window;
use crate::evidence::{Grade, Score, Signal};
use crate::replay::{Lockstep, Summary};
use crate::respond::{Decision, Verdict, servers};
use crate::suspect::Who;
use crate::time::Timestamp;
use crate::track::host::{ANY_WINDOWS, LATERAL_WINDOWS};
use crate::wire::frame::{Packet, Transport};
use crate::wire::{Address, Frame};

/// Hosts measured at most.
pub const MOST_HOSTS: usize = 262_144;
/// Services noted of each host.
pub const MOST_SERVICES: usize = 16;
/// Longer silence between two packets was not captured, as far as the capture shows.
const GAP: Duration = Duration::from_mins(15);
/// Windows of both classes at most.
const WINDOWS: usize = LATERAL_WINDOWS + ANY_WINDOWS;

/// A service that a host opened first contacts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// TCP or UDP.
    pub transport: Transport,
    /// The destination port.
    pub port: u16,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.port, if self.transport == Transport::Udp { "udp" } else { "tcp" })
    }
}

impl Serialize for Service {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How far one host went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peak {
    counts: [u32; WINDOWS],
    /// Its highest score.
    pub score: Score,
    /// Its first contacts.
    pub contacts: u64,
    /// The services of its first contacts, with how many each; at most [`MOST_SERVICES`].
    pub services: Vec<(Service, u64)>,
    /// There were more services than are noted.
    pub more_services: bool,
    /// SMB1 with new peers was among its evidence.
    pub smb1: bool,
    /// Remote execution on new peers was.
    pub remote_execution: bool,
}

impl Peak {
    /// Most first contacts within the window of this number: the lateral ones first, then those of any port.
    #[must_use]
    pub fn count(&self, window: usize) -> u32 {
        self.counts.get(window).copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn of(counts: &[u32], score: Score, services: &[(Service, u64)]) -> Self {
        let mut peak = Peak { score, services: services.to_vec(), ..Peak::default() };
        peak.counts.iter_mut().zip(counts).for_each(|(count, given)| *count = *given);
        peak
    }

    fn note(&mut self, service: Service) {
        if let Some((_, times)) = self.services.iter_mut().find(|(known, _)| *known == service) {
            *times += 1;
        } else if self.services.len() < MOST_SERVICES {
            self.services.push((service, 1));
        } else {
            self.more_services = true;
        }
    }
}

/// A host that the core would have acted on, or would have but for the breaker or an exemption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarmed {
    /// The host.
    pub host: Address,
    /// What was decided first.
    pub decision: Verdict,
    /// When.
    pub at: Timestamp,
    /// What the alarm rested on.
    pub grade: Grade,
    /// The signal that tipped it.
    pub signal: Option<Signal>,
    /// Distinct destinations by then.
    pub destinations: u32,
    /// Why, in a sentence.
    pub reason: String,
}

/// What the captures came to.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Each host of the protected networks that opened a first contact.
    pub hosts: HashMap<Address, Peak>,
    /// Whom the core would have acted on.
    pub alarmed: BTreeMap<Address, Alarmed>,
    /// Hosts that nothing is ever done about: exempt ones.
    pub exempt: BTreeSet<Address>,
    /// Packets, spans and what else a replay sums up.
    pub summary: Summary,
    /// The time that was captured: the spans without their long silences.
    pub covered: Duration,
    /// First contacts of hosts beyond [`MOST_HOSTS`].
    pub unmeasured: u64,
    /// The clients of each service that answered somebody.
    pub servers: BTreeMap<servers::Service, BTreeSet<Who>>,
}

/// A measurement under way.
pub struct Measure {
    config: Config,
    core: Lockstep,
    found: Measured,
    windows: Vec<Window>,
    lateral: usize,
    /// Verdicts on silence to come, in the order of their times.
    verdicts: VecDeque<(Timestamp, Address)>,
    first_contacts: u64,
    evidence: u64,
}

impl Measure {
    /// With the configuration of the gateway that the captures are from. Nothing is dropped, so no fuse either.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.detect.fuse = None;
        config.detect.believe_claims = true;
        config.detect.learns_servers = true;
        let lateral = config.detect.lateral_windows.len();
        let windows = config.detect.lateral_windows.iter().chain(&config.detect.any_windows).copied().collect();
        Measure {
            core: Lockstep::new(config.detect.clone(), config.respond.clone(), 1),
            config,
            found: Measured::default(),
            windows,
            lateral,
            verdicts: VecDeque::new(),
            first_contacts: 0,
            evidence: 0,
        }
    }

    /// The time of the latest frame.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// The next capture is another story: its times do not follow. What was measured stays.
    pub fn begin_anew(&mut self) {
        self.conclude();
        self.core = Lockstep::new(self.config.detect.clone(), self.config.respond.clone(), 1);
    }

    fn conclude(&mut self) {
        let last = self.core.now() + self.config.detect.answer_timeout;
        self.settle(last);
        for server in self.core.servers().all() {
            self.found.servers.entry(server.service).or_default().extend(server.clients.iter().copied());
        }
        let part = self.core.summary();
        let sum = &mut self.found.summary;
        sum.hosts += part.hosts;
        sum.contained += part.contained;
        sum.isolated += part.isolated;
        sum.watched += part.watched;
        sum.seconds += part.seconds;
        self.verdicts.clear();
    }

    /// Takes one frame.
    pub fn frame(&mut self, frame: Frame<'_>) {
        self.found.summary.packets += 1;
        let before = self.core.now();
        self.settle(frame.meta.at);
        self.core.frame(frame);
        if self.core.now() < before {
            // The core saw that the capture was put together from parts, and began afresh.
            self.verdicts.clear();
        }
        self.cover(before);
        self.look(&frame);
    }

    /// Takes a frame that could not be decoded: only its time counts.
    pub fn undecoded(&mut self, at: Timestamp) {
        self.found.summary.packets += 1;
        self.found.summary.undecoded += 1;
        let at = at.max(self.core.now());
        let before = self.core.now();
        self.settle(at);
        self.core.advance(at);
        self.cover(before);
        self.decisions();
    }

    fn cover(&mut self, before: Timestamp) {
        let step = self.core.now().since(before);
        if before != Timestamp::ZERO && step <= GAP {
            self.found.covered += step;
        }
    }

    /// Lets verdicts on silence come, one moment after the other, and reads what each did to its host.
    fn settle(&mut self, until: Timestamp) {
        while let Some(&(due, host)) = self.verdicts.front()
            && due <= until
        {
            self.verdicts.pop_front();
            self.core.advance(due);
            self.read_score(host);
            self.decisions();
        }
    }

    fn look(&mut self, frame: &Frame<'_>) {
        if let Some((from, to, service)) = parties(frame)
            && let Some(detector) = self.core.detector(from)
        {
            let counters = detector.counters();
            let first_contacts = counters.first_contacts;
            let evidence = counters.evidence.iter().sum::<u64>();
            if first_contacts != self.first_contacts {
                self.first_contacts = first_contacts;
                self.read_windows(from, service);
                let timeout = self.config.detect.answer_timeout;
                self.verdicts.push_back((self.core.now() + timeout, from));
            }
            if evidence != self.evidence {
                self.evidence = evidence;
                self.read_score(from);
                self.read_score(to);
            }
        }
        self.decisions();
    }

    fn read_windows(&mut self, host: Address, service: Option<Service>) {
        let Some(known) = self.core.detector(host).and_then(|detector| detector.host(host)) else { return };
        let now = self.core.now();
        let room = self.found.hosts.len() < MOST_HOSTS;
        let peak = match self.found.hosts.entry(host) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if room => {
                if self.core.responder().exemption(host).is_some() {
                    self.found.exempt.insert(host);
                }
                entry.insert(Peak::default())
            }
            Entry::Vacant(_) => {
                self.found.unmeasured += 1;
                return;
            }
        };
        peak.contacts += 1;
        if let Some(service) = service {
            peak.note(service);
        }
        for (at, (most, window)) in peak.counts.iter_mut().zip(&self.windows).enumerate() {
            let count = match at.checked_sub(self.lateral) {
                None => known.lateral.within(window.length, now),
                Some(any) => known.any.get(any).map_or(0, |bins| bins.within(window.length, now)),
            };
            *most = count.max(*most);
        }
    }

    fn read_score(&mut self, host: Address) {
        let Some(detector) = self.core.detector(host) else { return };
        let Some(known) = detector.host(host) else { return };
        let score = known.score_now(self.core.now(), detector.settings().decay);
        if let Some(peak) = self.found.hosts.get_mut(&host) {
            peak.score = peak.score.max(score);
            for evidence in &known.evidence {
                peak.smb1 |= evidence.signal == Signal::Smb1;
                peak.remote_execution |= evidence.signal == Signal::RemoteExecution;
            }
        }
    }

    fn decisions(&mut self) {
        if !self.core.has_decisions() {
            return;
        }
        for decision in self.core.decisions() {
            let Decision { host, at, decision: verdict, grade, destinations, ref reason, ref evidence, .. } = *decision;
            // A watch of that grade is an alarm of a host that is exempt.
            if let Some(grade) = grade.filter(|grade| *grade >= Grade::Scan) {
                let signal = evidence.last().map(|evidence| evidence.signal);
                let reason = reason.clone();
                let alarmed = Alarmed { host, decision: verdict, at, grade, signal, destinations, reason };
                let known = self.found.alarmed.entry(host).or_insert(alarmed);
                known.grade = known.grade.max(grade);
            }
        }
    }

    /// What was measured.
    #[must_use]
    pub fn finish(mut self) -> Measured {
        self.conclude();
        self.found
    }
}

/// Who sent a frame to whom, and the service it would open a contact on.
fn parties(frame: &Frame<'_>) -> Option<(Address, Address, Option<Service>)> {
    Some(match &frame.packet {
        Packet::Tcp(segment) => {
            let service = Service { transport: Transport::Tcp, port: segment.destination_port };
            (segment.source, segment.destination, Some(service))
        }
        Packet::Udp(datagram) => {
            let service = Service { transport: Transport::Udp, port: datagram.destination_port };
            (datagram.source, datagram.destination, Some(service))
        }
        Packet::Echo(echo) => (echo.source, echo.destination, None),
        Packet::Arp(arp) => (arp.sender, arp.target, None),
        Packet::Neighbour(neighbour) => (neighbour.source, neighbour.target, None),
        Packet::IcmpError(error) => (error.source, error.destination, None),
        Packet::Fragment(_) | Packet::Tunnel(_) | Packet::OtherIp { .. } | Packet::NonIp => return None,
    })
}
