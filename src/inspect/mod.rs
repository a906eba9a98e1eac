//! SMB and DCE/RPC evidence: the exploit, not only the scan.
//!
//! [`Inspector`] is one shard's. It takes TCP segments and the time and reports what it finds in them; weights, roles and
//! alarms are the detector's. Connections, pairs of hosts and named ports live in tables of fixed capacity; in steady
//! state a segment allocates nothing.
//!
//! Limits: encrypted SMB3 is opaque and is only counted. A peer that splits one DCE/RPC header over two writes to a pipe
//! hides that call. What the capture cut off or lost cannot be read, but costs no more than the messages it belonged to.

mod conversation;
pub mod dcerpc;
pub mod opening;
mod pairs;
pub mod protocol;
mod report;
mod smb;

use std::time::Duration;

use crate::evidence::{Detail, Signal};
use crate::inspect::conversation::{Conversation, Indicator, Protocol, Reading};
use crate::inspect::dcerpc::MAPPER;
use crate::inspect::pairs::{Pair, PairFinding};
use crate::inspect::protocol::{begins_anywhere, is_inspected, of_server, sender_of};
use crate::time::Timestamp;
use crate::track::follower::Side;
use crate::track::streams::{Counts, Tracked};
use crate::track::{ClockCache, HashKey, Streams};
use crate::wire::Address;
use crate::wire::frame::Segment;

pub use report::{Condition, Feature, Finding, Negotiated, Report};

/// Ports named by an endpoint mapper that are remembered.
const ENDPOINTS: usize = 4096;
/// A named port is forgotten when it was not named or used for so long.
const ENDPOINT_MEMORY: Duration = Duration::from_secs(3600);

/// Where Windows begins to give out ports to DCE/RPC (before Vista; since, at 49152).
const FIRST_DYNAMIC: u16 = 1024;

/// A named port: when it was last named or used.
#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    at: Timestamp,
}

/// The SMB and DCE/RPC inspection of one shard.
#[derive(Debug)]
pub struct Inspector {
    streams: Streams<Conversation>,
    memory: Memory,
}

/// What outlives a connection.
#[derive(Debug)]
struct Memory {
    pairs: ClockCache<(Address, Address), Pair>,
    endpoints: ClockCache<(Address, u16), Endpoint>,
    /// Every port that was ever named anywhere, so that most segments are dismissed by one bit.
    named: Box<[u64; 1024]>,
}

/// A segment's connection, for judging what it shows.
#[derive(Clone, Copy)]
struct Connection {
    client: Address,
    server: Address,
    port: u16,
    protocol: &'static Protocol,
    verified: bool,
    at: Timestamp,
}

impl Inspector {
    /// One that follows at most `streams` connections and remembers as many pairs of hosts.
    #[must_use]
    pub fn new(streams: usize, hash_key: HashKey) -> Inspector {
        Inspector {
            streams: Streams::new(streams, hash_key),
            memory: Memory {
                pairs: ClockCache::new(streams, hash_key),
                endpoints: ClockCache::new(ENDPOINTS, hash_key),
                named: Box::new([0; 1024]),
            },
        }
    }

    /// The most memory that one for `streams` connections comes to hold.
    #[must_use]
    pub const fn bytes(streams: usize) -> usize {
        Streams::<Conversation>::bytes(streams)
            + ClockCache::<(Address, Address), Pair>::bytes(streams)
            + ClockCache::<(Address, u16), Endpoint>::bytes(ENDPOINTS)
            + size_of::<[u64; 1024]>()
    }

    /// Whether a segment is to be given to [`Inspector::segment`]: it belongs to port 139, 445 or 135, to a port that
    /// an endpoint mapper named, or starts like DCE/RPC; or it is the SYN-ACK of a server on which the client lately
    /// asked the mapper, whose answer may have been sealed. Cheap: a few comparisons and two bits for most segments.
    #[must_use]
    pub fn wants(&self, segment: &Segment<'_>) -> bool {
        let (from, to) = (segment.source_port, segment.destination_port);
        is_inspected(from)
            || is_inspected(to)
            || self.memory.is_named(segment.destination, to)
            || self.memory.is_named(segment.source, from)
            || begins_anywhere(segment.payload)
            || segment.flags.is_syn_ack() && from >= FIRST_DYNAMIC && self.memory.asked_mapper(segment)
    }

    /// Reads a segment of either direction, and reports what it shows.
    pub fn segment(&mut self, segment: &Segment<'_>, at: Timestamp, report: &mut dyn FnMut(Report)) {
        let memory = &mut self.memory;
        let mut sender = sender_of(segment);
        if sender.is_none() {
            if memory.knows(segment.destination, segment.destination_port, at) {
                sender = Some(Side::Client);
            } else if memory.knows(segment.source, segment.source_port, at) {
                sender = Some(Side::Server);
            }
        }
        let Some(tracked) = self.streams.track(segment, sender, at) else { return };
        let Tracked { client, server, port, verified, newly_verified, state, mut messages, .. } = tracked;
        let protocol = of_server(port);
        let connection = Connection { client, server, port, protocol, verified, at };
        if newly_verified {
            for indicator in std::mem::take(&mut state.waiting).into_iter().flatten() {
                memory.interpret(&connection, indicator, report);
            }
        }
        let mut found = |conversation: &mut Conversation, indicator: Indicator| {
            if !verified && indicator.needs_verification() {
                if conversation.wait(indicator)
                    && let Indicator::Exploit(signal, detail) = indicator
                {
                    report(Report::Finding(connection.finding(signal, detail, false)));
                }
                return;
            }
            memory.interpret(&connection, indicator, report);
        };
        messages.read(&mut Reading { protocol, server, port, conversation: state, found: &mut found });
    }

    /// Connections that are followed now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.streams.len()
    }

    /// How many connections may be followed.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.streams.capacity()
    }

    /// What the follower counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.streams.counts()
    }
}

impl Indicator {
    /// Whether it says something about the client that a forger could put into its mouth.
    fn needs_verification(&self) -> bool {
        matches!(
            self,
            Indicator::Exploit(..) | Indicator::Groom | Indicator::Smb1(_) | Indicator::AdminShare | Indicator::Call(_)
        )
    }
}

impl Connection {
    fn finding(&self, signal: Signal, detail: Detail, new_peer: bool) -> Finding {
        let Connection { client, server, port, verified, .. } = *self;
        Finding { host: client, peer: server, port, signal, detail, verified, new_peer }
    }
}

impl Memory {
    fn is_named(&self, server: Address, port: u16) -> bool {
        let word = self.named.get(usize::from(port >> 6)).copied().unwrap_or_default();
        word >> (port & 63) & 1 == 1 && self.endpoints.get(&(server, port)).is_some()
    }

    /// Whether the client of a SYN-ACK has asked its server's endpoint mapper.
    fn asked_mapper(&self, answer: &Segment<'_>) -> bool {
        self.pairs.get(&(answer.destination, answer.source)).is_some_and(Pair::has_asked_mapper)
    }

    /// Whether a port was named of this server, lately.
    fn knows(&self, server: Address, port: u16, at: Timestamp) -> bool {
        self.is_named(server, port)
            && self.endpoints.get(&(server, port)).is_some_and(|endpoint| at.since(endpoint.at) < ENDPOINT_MEMORY)
    }

    /// Notes a named port; whether it is news.
    fn name(&mut self, server: Address, port: u16, at: Timestamp) -> bool {
        if is_inspected(port) {
            return false;
        }
        let news = !self.knows(server, port, at);
        if let Some(word) = self.named.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
        if let Some(endpoint) = self.endpoints.entry((server, port)) {
            endpoint.at = at;
        }
        news
    }

    /// Says what a sign means.
    fn interpret(&mut self, connection: &Connection, indicator: Indicator, report: &mut dyn FnMut(Report)) {
        let Connection { client, server, at, .. } = *connection;
        let finding = match indicator {
            Indicator::Negotiated(agreed) => {
                report(Report::Negotiated(Negotiated {
                    client,
                    server,
                    dialect: agreed.dialect,
                    signing: agreed.signing,
                    encryption: agreed.encryption,
                    compression: agreed.compression,
                }));
                return;
            }
            Indicator::Used(feature) => {
                report(Report::Used { client, server, feature });
                return;
            }
            Indicator::Condition(condition) => {
                report(Report::Condition { server, condition });
                return;
            }
            Indicator::Endpoint(port) => {
                if self.name(server, port, at) {
                    report(Report::Named { server, port });
                }
                return;
            }
            Indicator::Associated => {
                if connection.port == MAPPER
                    && let Some(pair) = self.pairs.entry((client, server))
                {
                    pair.asked_mapper();
                }
                if !is_inspected(connection.port) && self.name(server, connection.port, at) {
                    report(Report::Named { server, port: connection.port });
                }
                return;
            }
            Indicator::AdminShare
            | Indicator::Exploit(..)
            | Indicator::Groom
            | Indicator::Smb1(_)
            | Indicator::Call(_) => {
                let Some(pair) = self.pairs.entry((client, server)) else { return };
                match indicator {
                    Indicator::AdminShare => {
                        pair.connected_admin_share(at);
                        None
                    }
                    Indicator::Groom => pair.groomed(at),
                    Indicator::Call(operation) => pair.called(operation, connection.protocol.carrier, at),
                    Indicator::Smb1(detail) => pair.spoke_smb1(detail, at),
                    Indicator::Exploit(signal, detail) => pair.exploited(signal, detail, at),
                    _ => None,
                }
            }
        };
        if let Some(PairFinding { signal, detail, new_peer }) = finding {
            report(Report::Finding(connection.finding(signal, detail, new_peer)));
        }
    }
}
