//! The greylist's part in the daemon: servers are learnt, kept, and given to the kernel and the shards; who waits for whom is
//! counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::config::Config;
use crate::daemon::enforcement::Enforcement;
use crate::daemon::recorder::Recorder;
use crate::detect::Event;
use crate::firewall::KnownServer;
use crate::published::Published;
use crate::published::greylist::{Readiness, ServerView, ServersView, WaitView, WaitsView};
use crate::respond::Mode;
use crate::respond::servers::{LearntServer, Servers, Service, Standing};
use crate::time::Timestamp;
use crate::track::Shared;
use crate::wire::Address;
use crate::wire::frame::Transport;

/// The kernel is given all servers this often, though nothing changed: their times are renewed by that.
const RENEW: Duration = Duration::from_secs(600);

/// How often it is looked up which of them the kernel has, and what is published is made anew.
const LOOK: Duration = Duration::from_secs(5);

/// Services of which it is counted who waits for them.
const MOST_WAITS: usize = 4096;

/// Those that are published.
const SHOWN_WAITS: usize = 512;

/// What is learnt, and what that is used for.
pub(super) struct Greylist {
    servers: Servers,
    waits: HashMap<Service, Waited>,
    since: Timestamp,
    /// When the last server became known.
    last_learnt: Option<Timestamp>,
    /// What is known has changed since the kernel was given it.
    due: bool,
    given: Timestamp,
    looked: Timestamp,
    in_kernel: HashSet<KnownServer>,
    error: Option<String>,
}

#[derive(Default)]
struct Waited {
    times: u64,
    sources: VecDeque<Address>,
    last: Timestamp,
}

fn kernels(service: Service) -> KnownServer {
    KnownServer { address: service.address, tcp: service.tcp, port: service.port }
}

impl Greylist {
    /// With what the history kept.
    pub fn new(kept: Vec<LearntServer>, config: &Config, now: Timestamp) -> Self {
        let mut servers = Servers::new(kept, config.greylist.learning, config.gateway.mode);
        servers.tick(now);
        Greylist {
            servers,
            waits: HashMap::new(),
            since: now,
            last_learnt: None,
            due: true,
            given: Timestamp::ZERO,
            looked: Timestamp::ZERO,
            in_kernel: HashSet::new(),
            error: None,
        }
    }

    /// After a reload. In another mode other first contacts wait: they are counted anew.
    pub fn reconfigure(&mut self, config: &Config, mode_changed: bool, now: Timestamp) {
        self.servers.reconfigure(config.greylist.learning, config.gateway.mode);
        if mode_changed {
            self.waits.clear();
            self.since = now;
        }
        self.due = true;
        self.looked = Timestamp::ZERO;
    }

    /// Takes what a shard reports of waits and servers; `false` if it is about something else.
    pub fn take(&mut self, event: &Event, enforcement: &mut Enforcement) -> bool {
        match *event {
            Event::Waits { source, destination, transport, port, at } => {
                self.waited(Service { address: destination, tcp: transport != Transport::Udp, port }, source, at);
            }
            Event::HoldBack { place, time } => enforcement.hold_back(place, time),
            Event::Served { server, transport, port, client, at } => {
                let service = Service { address: server, tcp: transport != Transport::Udp, port };
                if self.servers.served(service, client, at) {
                    tracing::info!(%service, "a known server from now on: nobody waits for it");
                    (self.last_learnt, self.due) = (Some(at), true);
                }
            }
            Event::Refuses { server, transport, port } => {
                let service = Service { address: server, tcp: transport != Transport::Udp, port };
                if self.servers.refuses(service) {
                    tracing::info!(%service, "refuses its clients: no known server until it answers again");
                    self.due = true;
                }
            }
            _ => return false,
        }
        true
    }

    fn waited(&mut self, service: Service, source: Address, at: Timestamp) {
        if self.waits.len() >= MOST_WAITS && !self.waits.contains_key(&service) {
            // Half go, those that waited least: one look at all for each two thousand.
            let mut times: Vec<(u64, Timestamp)> = self.waits.values().map(|wait| (wait.times, wait.last)).collect();
            let middle = times.len() / 2;
            let (_, limit, _) = times.select_nth_unstable(middle);
            let limit = *limit;
            self.waits.retain(|_, wait| (wait.times, wait.last) > limit);
        }
        let waited = self.waits.entry(service).or_default();
        waited.times += 1;
        waited.last = at;
        waited.sources.retain(|known| *known != source);
        waited.sources.push_front(source);
        waited.sources.truncate(WaitView::SOURCES);
    }

    /// Keeps history, kernel and shards at what is known, and publishes it.
    pub fn tick(
        &mut self,
        now: Timestamp,
        (enforcement, recorder): (&mut Enforcement, &Recorder),
        shared: &Shared,
        published: &Published,
    ) {
        self.due |= self.servers.tick(now);
        if let Some(changes) = self.servers.changes() {
            recorder.keep_servers(changes);
        }
        if self.due || now.since(self.given) >= RENEW {
            self.give(now, enforcement, shared);
        }
        if now.since(self.looked) >= LOOK {
            self.looked = now;
            self.in_kernel = enforcement.servers().into_iter().collect();
            self.publish(now, published);
        }
    }

    /// Gives kernel and shards the known servers.
    fn give(&mut self, now: Timestamp, enforcement: &mut Enforcement, shared: &Shared) {
        (self.due, self.given) = (false, now);
        let known: Vec<(Service, Duration)> = self.servers.known(now).collect();
        // What the kernel lets pass must not seem to wait: the shards know first.
        shared.servers.set(known.iter().map(|(service, _)| (service.address, service.transport(), service.port)));
        let servers: Vec<_> = known.iter().map(|(service, left)| (kernels(*service), Some(*left))).collect();
        let outcome = enforcement.set_servers(&servers);
        if outcome != self.error {
            if let Some(error) = &outcome {
                tracing::error!(
                    "the kernel was not given the known servers, so that first contacts with them wait: {error}"
                );
            }
            self.error = outcome;
        }
        self.due = self.error.is_some();
        self.looked = Timestamp::ZERO;
    }

    fn readiness(&self, views: &[ServerView], now: Timestamp) -> Readiness {
        let known = views.iter().filter(|view| view.standing == Standing::Known).count();
        let learning_since = views.iter().map(|view| view.server.since).min();
        let days = Duration::from_hours(24) * self.servers.learning().days;
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Readiness {
            learning_since,
            known: number(known),
            others: number(views.len() - known),
            last_learnt: self.last_learnt,
            ready: known > 0 && learning_since.is_some_and(|since| now.since(since) >= days),
        }
    }

    fn publish(&self, now: Timestamp, published: &Published) {
        let site = published.site();
        let config = &site.config;
        let learning = self.servers.learning();
        let view = |server: &LearntServer| ServerView {
            standing: server.standing(learning),
            in_kernel: self.in_kernel.contains(&kernels(server.service)),
            server: server.clone(),
        };
        let servers: Vec<ServerView> = self.servers.all().into_iter().map(view).collect();
        let readiness = self.readiness(&servers, now);
        let mut waits: Vec<WaitView> = self
            .waits
            .iter()
            .map(|(service, waited)| WaitView {
                service: *service,
                times: waited.times,
                sources: waited.sources.iter().copied().collect(),
                last: waited.last,
                exempt: format!("\"{service}\""),
            })
            .collect();
        waits.sort_unstable_by_key(|wait| (std::cmp::Reverse(wait.times), wait.service));
        waits.truncate(SHOWN_WAITS);
        let waits = WaitsView {
            at: now,
            since: self.since,
            mode: config.gateway.mode,
            drops: config.greylist.enabled && config.fuse.enabled && config.gateway.mode == Mode::Enforce,
            wait_ms: u64::try_from(config.greylist.wait.as_millis()).unwrap_or(u64::MAX),
            readiness: readiness.clone(),
            waits,
        };
        let servers = ServersView { at: now, readiness, sources: learning.sources, days: learning.days, servers };
        published.set_greylist(servers, waits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_services_those_that_waited_most_stay() {
        let mut greylist = Greylist::new(Vec::new(), &Config::default(), Timestamp::ZERO);
        let service = |n: u32| Service { address: Address::v4((0x0a00_0000 + n).to_be_bytes()), tcp: true, port: 445 };
        let source = |n: u8| Address::v4([10, 9, 9, n]);
        for n in 0..20 {
            greylist.waited(service(0), source(n % 12), Timestamp::from_secs(u64::from(n)));
        }
        for n in 1..20_000 {
            greylist.waited(service(n), source(1), Timestamp::from_secs(u64::from(n)));
        }
        assert!(greylist.waits.len() <= MOST_WAITS);
        let first = &greylist.waits[&service(0)];
        assert_eq!((first.times, first.sources.len(), first.sources[0]), (20, WaitView::SOURCES, source(7)));
    }
}
