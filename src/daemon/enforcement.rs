//! [`Enforcement`]: what the kernel is to drop, put there and kept there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::repair_log::RepairLog;
use crate::firewall::{self, Firewall, Plan, Watch, What};
use crate::published::Published;
use crate::published::status::Drift;
use crate::respond::{Block, Effect, Responder};
use crate::suspect::{Place, Who};
use crate::sys::clock::Clock;
use crate::sys::netlink;
use crate::time::Timestamp;
use crate::wire::{Address, Link, Mac};

/// The kernel lets go of a host so long after the responder would have: it is the daemon's death that this is for.
const SLACK: Duration = Duration::from_secs(5);

/// The kernel's table is checked this often, even if nobody reported a change.
const RECONCILE: Duration = Duration::from_secs(30);

/// Most cards that are known to forward for others.
const MOST_FORWARDERS: usize = 4096;

/// The kernel's tables, and what became of them.
pub(super) struct Enforcement {
    clock: Clock,
    firewall: Firewall,
    /// Why the table is not in place.
    error: Option<String>,
    /// When the table was last checked.
    reconciled: Timestamp,
    counters: firewall::Counters,
    log: RepairLog,
    /// Cards that forward for others.
    forwarders: BTreeSet<(Link, Mac)>,
}

impl Enforcement {
    /// Puts the table right by this plan, before the first packet is looked at; gives what was found there.
    ///
    /// # Errors
    /// No nft, no netlink, or the kernel refuses.
    pub fn open(plan: &Plan, clock: Clock) -> Result<(Self, firewall::Reconciled), firewall::Error> {
        let mut firewall = Firewall::open()?;
        let found = firewall.reconcile(plan)?;
        let enforcement = Enforcement {
            clock,
            firewall,
            error: None,
            reconciled: clock.now(),
            counters: firewall::Counters::default(),
            log: RepairLog::default(),
            forwarders: BTreeSet::new(),
        };
        Ok((enforcement, found))
    }

    /// Listens for what others do to the table.
    ///
    /// # Errors
    /// No netlink.
    pub fn watch(&self) -> Result<Watch, firewall::Error> {
        self.firewall.watch()
    }

    /// Has the kernel check a plan; changes nothing.
    ///
    /// # Errors
    /// Its first complaint.
    pub fn check(&mut self, plan: &Plan) -> Result<(), firewall::Error> {
        self.firewall.check(plan)
    }

    /// Has the kernel hold back the second askings of a source for a while.
    pub fn hold_back(&mut self, place: Place, time: Duration) {
        if let Err(error) = self.firewall.hold_back(place, time) {
            tracing::error!("the kernel does not hold back what {place:?} asks again: {error}");
        }
    }

    /// Makes `servers` the ones that nobody waits for; gives what went wrong.
    pub fn set_servers(&mut self, servers: &[(firewall::KnownServer, Option<Duration>)]) -> Option<String> {
        self.firewall.set_servers(servers).err().map(|error| error.to_string())
    }

    /// The servers that the kernel knows; none where it cannot be asked.
    pub fn servers(&mut self) -> Vec<firewall::KnownServer> {
        self.firewall.servers().unwrap_or_default().into_iter().map(|(server, _)| server).collect()
    }

    /// Why the table is not in place, if it is not.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether the kernel can match packets from this place.
    pub fn reaches(&self, place: Place) -> bool {
        self.firewall.reaches(place)
    }

    /// What was put right so far.
    pub fn log(&self) -> &RepairLog {
        &self.log
    }

    /// Counts a repair that was made elsewhere.
    pub fn repaired(&mut self, kind: Drift) {
        self.log.repaired(kind, self.clock.now());
    }

    /// The kernel's counters, as last read.
    pub fn counters(&self) -> &firewall::Counters {
        &self.counters
    }

    /// Reads the kernel's counters; the last ones stay where they cannot be read.
    pub fn read_counters(&mut self) {
        if let Ok(counters) = self.firewall.counters() {
            self.counters = counters;
        }
    }

    /// The places whose first contacts the fuse limits now, at most `most` in each family. While the table is not in
    /// place there is nothing to read; that is reported elsewhere.
    pub fn throttled(&mut self, most: usize) -> Vec<(Place, u64)> {
        self.firewall.throttled(most).unwrap_or_default()
    }

    /// Has the kernel act on many hosts at once, for each transaction costs it a millisecond: an order for a network, a
    /// start that finds ten thousand. Gives on how many, counted from the first; those behind a host that is let go wait
    /// for their turn, and if one is refused each is acted on by itself.
    pub fn act_together(&mut self, effects: &[Effect], responder: &Responder) -> usize {
        let blocks: Vec<&Block> = effects
            .iter()
            .take_while(|effect| !matches!(effect, Effect::Lift { .. }))
            .filter_map(|effect| match effect {
                Effect::Enforce(block) => Some(block),
                _ => None,
            })
            .collect();
        let orders: Vec<firewall::Order> = blocks.iter().flat_map(|block| self.orders_of(block, responder)).collect();
        if blocks.len() > 1 && self.firewall.act_many(&orders).is_ok() { blocks.len() } else { 0 }
    }

    /// Has the kernel act on a host.
    pub fn act(&mut self, block: &Block, responder: &Responder) {
        let orders = self.orders_of(block, responder);
        if let Err(error) = self.firewall.act_many(&orders) {
            tracing::error!(host = %block.host(), verdict = %block.action, "the kernel does not act on it: {error}");
            self.error = Some(error.to_string());
        }
    }

    /// Has the kernel let go of a host.
    pub fn lift(&mut self, host: Address, places: &[Place]) {
        for place in places {
            if let Err(error) = self.firewall.lift(*place) {
                tracing::error!(%host, "the kernel does not let go of it: {error}");
                self.error = Some(error.to_string());
            }
        }
    }

    /// A block as the kernel is given it: place by place.
    fn orders_of(&self, block: &Block, responder: &Responder) -> Vec<firewall::Order> {
        let now = self.clock.now();
        let timeout = block.decision.until.map(|until| until.since(now) + SLACK);
        let order = |place: &Place| firewall::Order {
            place: *place,
            action: block.action,
            timeout,
            ports: block.decision.ports.clone(),
        };
        let may = |place: &&Place| match place.source {
            Who::Address(address) => responder.exemption(address).is_none(),
            Who::Card(_) | Who::Network(_) => true,
        };
        block.decision.places().iter().filter(may).filter(|place| self.firewall.reaches(**place)).map(order).collect()
    }

    /// No block on paper: of whom the kernel cannot match, the record says that he is not shut, and why.
    pub fn mark_unmatched(&self, effects: &mut [Effect], responder: &mut Responder) {
        for effect in effects {
            if let Effect::Record(decision) = effect
                && decision.action().is_some()
            {
                let unmatched = !decision.places().iter().any(|place| self.firewall.reaches(*place));
                responder.set_unmatched(decision.suspect, unmatched);
                if unmatched {
                    Arc::make_mut(decision).set_unmatched();
                }
            } else if let Effect::Enforce(block) = effect {
                let unmatched = !block.decision.places().iter().any(|place| self.firewall.reaches(*place));
                responder.set_unmatched(block.suspect(), unmatched);
            }
        }
    }

    /// Whether the table is due for a check: one failed, or the last was long ago.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.error.is_some() || now.since(self.reconciled) >= RECONCILE
    }

    /// Makes the table due for a check.
    pub fn make_due(&mut self) {
        self.reconciled = Timestamp::ZERO;
    }

    /// Puts the kernel's table right by the plan in force.
    pub fn reconcile(&mut self, plan: Result<Plan, firewall::Error>, published: &Published) {
        self.reconciled = self.clock.now();
        let outcome = plan.and_then(|plan| {
            published.set_ruleset(plan.text(true));
            self.firewall.reconcile(&plan)
        });
        match outcome {
            Ok(done) => {
                if self.error.take().is_some() {
                    tracing::info!("the kernel's table is in place again");
                }
                if !done.restored.is_empty() {
                    tracing::warn!(
                        hosts = done.restored.len(),
                        "hosts were missing from the kernel, and were put back"
                    );
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.error.as_deref() != Some(&text) {
                    tracing::error!("the kernel's table is not in place: {text}");
                }
                self.error = Some(text);
            }
        }
    }

    /// Somebody changed the kernel's table: counts it, and puts a deleted one back at once, for the door is open until
    /// then. Gives whether the table is to be reconciled right now; `None` where nothing was changed.
    pub fn drifted(&mut self, found: Result<Vec<firewall::Drift>, netlink::Error>) -> Option<bool> {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!("changes of the kernel's table cannot be watched: {error}");
                self.error = Some(error.to_string());
                return None;
            }
        };
        if found.is_empty() {
            return None;
        }
        let deleted = found.iter().any(|drift| drift.what == What::Table);
        let back = deleted && self.put_back();
        for drift in &found {
            let by = drift.by.as_deref().unwrap_or("somebody");
            let process = drift.process.unwrap_or(0);
            if drift.what == What::Table {
                self.log.deleted(drift, self.clock.now());
            }
            let kind = match &drift.what {
                What::Table | What::Lost => Drift::Table,
                What::Chain(_) | What::Rules(_) | What::Set(_) | What::Counter(_) => Drift::Rule,
                What::Elements(_) => Drift::Element,
            };
            tracing::warn!(
                by,
                process,
                kind = kind.label(),
                "the kernel's table was changed ({:?}): putting it right",
                drift.what
            );
            self.repaired(kind);
        }
        Some(!back)
    }

    /// Puts a deleted table back at once; whether that is done, and nothing is left to check in haste.
    fn put_back(&mut self) -> bool {
        match self.firewall.reassert() {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!("the deleted table could not be put back at once: {error}");
                false
            }
        }
    }

    /// A card forwards for others, or not: whoever is behind it is judged, and limited by the fuse, by address.
    pub fn forwards(&mut self, link: Link, card: Mac, does: bool) {
        let new = if does {
            self.forwarders.len() < MOST_FORWARDERS && self.forwarders.insert((link, card))
        } else {
            self.forwarders.remove(&(link, card))
        };
        if new {
            let forwarders: Vec<_> = self.forwarders.iter().copied().collect();
            if let Err(error) = self.firewall.set_forwarders(&forwarders) {
                tracing::error!(%link, %card, "the kernel was not given a router's card: {error}");
            }
        }
    }
}
