//! Servers, as they are learnt: who answered several clients, over several days.
//!
//! Nobody waits in the greylist for a known server. Known is who answered so many distinct clients, on so many days; in
//! monitor mode the clients are enough, so that the first day of enforce mode delays nobody for whom was known by then.
//! Who answers nobody for a while, or refuses several clients, is withdrawn; whoever only refused is known again with its
//! next answer. Clients under suspicion do not count: a worm makes no servers of its victims.
//!
//! No I/O and no clock. The table is bounded: full, it gives up those with the fewest clients, the longest unseen first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::respond::Mode;
use crate::suspect::Who;
use crate::time::Timestamp;
use crate::wire::Address;
use crate::wire::frame::Transport;

/// What makes a server a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// So many distinct clients were answered,
    pub sources: u32,
    /// on so many days.
    pub days: u32,
    /// Who answers nobody for so long is one no more.
    pub keep: Duration,
}

impl Default for Learning {
    fn default() -> Self {
        Learning { sources: 3, days: 2, keep: Duration::from_hours(14 * 24) }
    }
}

/// One service of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Service {
    /// Where it is.
    pub address: Address,
    /// Over TCP rather than UDP.
    pub tcp: bool,
    /// On which port.
    pub port: u16,
}

impl Service {
    /// Over which transport.
    #[must_use]
    pub const fn transport(self) -> Transport {
        if self.tcp { Transport::Tcp } else { Transport::Udp }
    }
}

impl std::fmt::Display for Service {
    /// As it stands in `greylist.servers`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Service { address, tcp, port } = self;
        let end = if *tcp { "" } else { "/udp" };
        if address.is_v4() { write!(f, "{address}:{port}{end}") } else { write!(f, "[{address}]:{port}{end}") }
    }
}

/// A service, and whom it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearntServer {
    /// The service.
    pub service: Service,
    /// When it first answered.
    pub since: Timestamp,
    /// When it last answered a client that it had not answered on that day.
    pub last: Timestamp,
    /// On how many days it answered.
    pub days: u32,
    /// Distinct clients that it answered, at most [`LearntServer::CLIENTS`].
    pub clients: Vec<Who>,
    /// It had its clients while nothing was dropped: the days are not asked for.
    pub monitored: bool,
    /// It refused several clients since it last answered.
    pub refusing: bool,
}

/// What is there of a server that is about to become known, or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody waits for it.
    Known,
    /// Too few clients or days so far.
    Learning,
    /// It refuses its clients.
    Refusing,
}

impl LearntServer {
    /// Most clients that are remembered of one.
    pub const CLIENTS: usize = 16;

    /// How it stands.
    #[must_use]
    pub fn standing(&self, learning: &Learning) -> Standing {
        let clients = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        if self.refusing {
            Standing::Refusing
        } else if clients >= learning.sources && (self.monitored || self.days >= learning.days) {
            Standing::Known
        } else {
            Standing::Learning
        }
    }
}

fn day(at: Timestamp) -> u64 {
    at.secs() / 86_400
}

/// All that is learnt.
#[derive(Debug, Default)]
pub struct Servers {
    of: HashMap<Service, LearntServer>,
    learning: Learning,
    mode: Mode,
    /// What the history does not have yet.
    changed: BTreeSet<Service>,
}

/// What the history is to be given: records that are new or changed, and services that are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerChanges {
    /// Those to be kept.
    pub kept: Vec<LearntServer>,
    /// Those to be forgotten.
    pub forgotten: Vec<Service>,
}

impl Servers {
    /// Most services that are remembered.
    pub const MOST: usize = 16_384;

    /// With what the history kept.
    #[must_use]
    pub fn new(kept: Vec<LearntServer>, learning: Learning, mode: Mode) -> Self {
        let of = kept.into_iter().take(Self::MOST).map(|server| (server.service, server)).collect();
        Servers { of, learning, mode, changed: BTreeSet::new() }
    }

    /// After a reload.
    pub fn reconfigure(&mut self, learning: Learning, mode: Mode) {
        (self.learning, self.mode) = (learning, mode);
    }

    /// A service answered a client; says whether it became known by that.
    pub fn served(&mut self, service: Service, client: Who, at: Timestamp) -> bool {
        if !self.of.contains_key(&service) && self.of.len() >= Self::MOST && !self.make_room() {
            return false;
        }
        let (learning, monitor) = (self.learning, self.mode == Mode::Monitor);
        let server = self.of.entry(service).or_insert_with(|| LearntServer {
            service,
            since: at,
            last: at,
            days: 1,
            clients: Vec::new(),
            monitored: false,
            refusing: false,
        });
        let before = server.standing(&learning);
        let new = !server.clients.contains(&client) && server.clients.len() < LearntServer::CLIENTS;
        let another_day = day(at) > day(server.last);
        // The history need not have each client of each day.
        if new || another_day || server.refusing {
            self.changed.insert(service);
        }
        if new {
            server.clients.push(client);
        }
        server.days += u32::from(another_day);
        server.last = server.last.max(at);
        server.refusing = false;
        let clients = u32::try_from(server.clients.len()).unwrap_or(u32::MAX);
        server.monitored |= monitor && clients >= learning.sources;
        before != Standing::Known && server.standing(&learning) == Standing::Known
    }

    /// A service refuses several clients; says whether it was known until then.
    pub fn refuses(&mut self, service: Service) -> bool {
        let learning = self.learning;
        let Some(server) = self.of.get_mut(&service) else { return false };
        let known = server.standing(&learning) == Standing::Known;
        server.refusing = true;
        self.changed.insert(service);
        known
    }

    /// Forgets who has answered nobody for too long; says whether one of them was known.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        let (keep, learning) = (self.learning.keep, self.learning);
        let over = |server: &LearntServer| now.since(server.last) > keep;
        let ended: Vec<(Service, bool)> = self
            .of
            .values()
            .filter(|server| over(server))
            .map(|server| (server.service, server.standing(&learning) == Standing::Known))
            .collect();
        for (service, _) in &ended {
            self.forget(*service);
        }
        ended.iter().any(|(_, known)| *known)
    }

    fn forget(&mut self, service: Service) {
        self.of.remove(&service);
        self.changed.insert(service);
    }

    /// Forgets the eighth that proves least; says whether there is room now.
    fn make_room(&mut self) -> bool {
        let mut least: Vec<(usize, Timestamp, Service)> = self
            .of
            .values()
            .filter(|server| server.standing(&self.learning) == Standing::Learning)
            .map(|server| (server.clients.len(), server.last, server.service))
            .collect();
        least.sort_unstable();
        least.iter().take(Self::MOST / 8).for_each(|(.., service)| self.forget(*service));
        self.of.len() < Self::MOST
    }

    /// The known ones, each with how long it stays one if nobody is answered any more.
    pub fn known(&self, now: Timestamp) -> impl Iterator<Item = (Service, Duration)> + '_ {
        let known = self.of.values().filter(|server| server.standing(&self.learning) == Standing::Known);
        known.map(move |server| (server.service, self.learning.keep.saturating_sub(now.since(server.last))))
    }

    /// All of them, in the order of their addresses.
    #[must_use]
    pub fn all(&self) -> Vec<&LearntServer> {
        let mut all: Vec<_> = self.of.values().collect();
        all.sort_unstable_by_key(|server| server.service);
        all
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, service: Service) -> Option<&LearntServer> {
        self.of.get(&service)
    }

    /// What is to be learnt.
    #[must_use]
    pub fn learning(&self) -> &Learning {
        &self.learning
    }

    /// What the history has to be given since the last call.
    pub fn changes(&mut self) -> Option<ServerChanges> {
        if self.changed.is_empty() {
            return None;
        }
        let mut changes = ServerChanges::default();
        for service in std::mem::take(&mut self.changed) {
            match self.of.get(&service) {
                Some(server) => changes.kept.push(server.clone()),
                None => changes.forgotten.push(service),
            }
        }
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_700_481_600 - 1_700_481_600 % 86_400 + 43_200);
    const DAY: Duration = Duration::from_hours(24);

    fn service(n: u8) -> Service {
        Service { address: Address::v4([10, 0, 0, n]), tcp: true, port: 445 }
    }

    fn client(n: u32) -> Who {
        Who::Address(Address::v4((0x0a01_0000 + n).to_be_bytes()))
    }

    fn empty(mode: Mode) -> Servers {
        Servers::new(Vec::new(), Learning::default(), mode)
    }

    fn known(servers: &Servers, now: Timestamp) -> Vec<Service> {
        servers.known(now).map(|(service, _)| service).collect()
    }

    #[test]
    fn a_server_is_known_by_three_clients_on_two_days() {
        let mut servers = empty(Mode::Enforce);
        for n in [1, 1, 2, 2, 3] {
            assert!(!servers.served(service(1), client(n), NOON), "one day is not enough");
        }
        assert!(servers.served(service(1), client(1), NOON + DAY));
        assert_eq!(known(&servers, NOON + DAY), [service(1)]);
        for after in 0..9 {
            assert!(!servers.served(service(2), client(after % 2), NOON + DAY * after), "two clients are not enough");
        }
    }

    #[test]
    fn in_monitor_mode_the_clients_are_enough_and_enforce_mode_keeps_them() {
        let mut servers = empty(Mode::Monitor);
        servers.served(service(1), client(1), NOON);
        servers.served(service(1), client(2), NOON);
        servers.served(service(2), client(2), NOON);
        assert!(servers.served(service(1), client(3), NOON));
        servers.reconfigure(Learning::default(), Mode::Enforce);
        assert_eq!(known(&servers, NOON), [service(1)]);
    }

    #[test]
    fn who_refuses_is_withdrawn_and_known_again_with_its_next_answer_and_who_is_silent_is_forgotten() {
        let mut servers = empty(Mode::Monitor);
        for n in 1..=3 {
            servers.served(service(1), client(n), NOON);
        }
        assert!(servers.refuses(service(1)));
        assert!(!servers.refuses(service(1)), "said once");
        assert_eq!(known(&servers, NOON), []);
        assert!(servers.served(service(1), client(1), NOON + DAY));
        assert!(!servers.tick(NOON + DAY * 15));
        let left = servers.known(NOON + DAY * 15).next().unwrap().1;
        assert_eq!(left, Duration::ZERO);
        assert!(servers.tick(NOON + DAY * 15 + Duration::from_secs(1)));
        assert_eq!(known(&servers, NOON + DAY * 16), []);
    }

    #[test]
    fn what_the_history_is_given_comes_back_the_same() {
        let mut servers = empty(Mode::Monitor);
        for n in 1..=3 {
            servers.served(service(1), client(n), NOON);
        }
        let changes = servers.changes().unwrap();
        assert_eq!(servers.changes(), None);
        servers.served(service(1), client(1), NOON + Duration::from_secs(1));
        assert_eq!(servers.changes(), None, "nothing new that day");
        let text = serde_json::to_string(&changes.kept).unwrap();
        let kept: Vec<LearntServer> = serde_json::from_str(&text).unwrap();
        assert_eq!(known(&Servers::new(kept, Learning::default(), Mode::Enforce), NOON), [service(1)]);
        servers.tick(NOON + DAY * 99);
        assert_eq!(servers.changes().unwrap().forgotten, [service(1)]);
    }

    #[test]
    fn a_full_table_keeps_those_that_are_known() {
        let mut servers = empty(Mode::Monitor);
        for n in 1..=3 {
            servers.served(service(1), client(n), NOON);
        }
        for n in 0..40_000u32 {
            let address = Address::v4((0x0b00_0000 + n).to_be_bytes());
            servers.served(Service { address, tcp: true, port: 445 }, client(1), NOON + Duration::from_secs(n.into()));
        }
        assert!(servers.all().len() <= Servers::MOST);
        assert!(servers.get(service(1)).is_some());
    }
}
