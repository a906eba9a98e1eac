//! The kernel's firewall: ruleset text, elements, reconciliation.
//!
//! A [`Firewall`] keeps table `inet firedoor` of the calling thread's network namespace as its [`Plan`] says, and puts
//! hosts into it. The skeleton (chains, sets, counters) goes in as text, by one `nft -f -` an engineer can read; hosts
//! go in as elements, by netlink, in microseconds. Calls block for that long; none waits for anything else.
//!
//! What is dropped lives in the kernel with its timeouts, and goes on when this process ends. A [`Firewall`] also
//! remembers what it put there, so that a flush by somebody else is put right by the next [`Firewall::reconcile`].

mod counters;
mod elements;
mod error;
mod networks;
pub mod ruleset;
mod script;
mod watch;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;

pub use counters::{Count, Counters, Occupancy};
pub use error::Error;
pub use ruleset::{Existing, Family, Plan};
use script::Nft;
pub use watch::{Drift, Watch, What};

use crate::detect::settings::Networks;
use crate::respond::Verdict;
use crate::sys::nftables::{Set, Table};
use crate::wire::Address;

/// A host that the kernel acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted {
    /// The host.
    pub host: Address,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// When the kernel lets go of it by itself; `None` is never.
    pub expires_in: Option<Duration>,
}

/// A host to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The host.
    pub host: Address,
    /// Contain or isolate.
    pub verdict: Verdict,
    /// For how long; `None` is until lifted.
    pub timeout: Option<Duration>,
}

/// What a [`Firewall::reconcile`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// The skeleton was missing or not as planned, and was loaded.
    pub loaded: bool,
    /// Hosts that had been put into the kernel, were gone before their time, and were put back.
    pub restored: Vec<Address>,
    /// Hosts that were lifted because they are on the never-contain list now.
    pub exempted: Vec<Address>,
    /// Whom the kernel acts on now.
    pub acted: Vec<Acted>,
}

/// What this process last put into the kernel for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Intent {
    verdict: Verdict,
    until: Option<Instant>,
}

impl Intent {
    fn holds(self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    fn order(self, host: Address, now: Instant) -> Order {
        let timeout = self.until.map(|until| until.saturating_duration_since(now));
        Order { host, verdict: self.verdict, timeout }
    }
}

/// The skeleton that was last loaded, and how the kernel showed it then.
#[derive(Debug)]
struct Skeleton {
    plan: Plan,
    isolation: bool,
    exempt: Networks,
    shape: elements::Shape,
}

/// The kernel's table, kept as planned. One for a process.
#[derive(Debug)]
pub struct Firewall {
    table: Table,
    nft: Nft,
    skeleton: Option<Skeleton>,
    intents: HashMap<Address, Intent>,
    ports: watch::Ports,
}

impl Firewall {
    /// Opens the netlink socket and finds nft. Changes nothing.
    ///
    /// # Errors
    /// No nft, or no netlink.
    pub fn open() -> Result<Self, Error> {
        let (table, nft, ports) = (Table::open(ruleset::TABLE)?, Nft::find()?, watch::Ports::default());
        ports.add(table.port());
        Ok(Firewall { table, nft, skeleton: None, intents: HashMap::new(), ports })
    }

    /// Listens for what others do to the table. Open it before the first [`Firewall::reconcile`], to miss nothing.
    ///
    /// # Errors
    /// No netlink.
    pub fn watch(&self) -> Result<Watch, Error> {
        Ok(Watch::open(self.ports.clone())?)
    }

    /// Has nft and the kernel check the plan's ruleset; changes nothing.
    ///
    /// # Errors
    /// Their first complaint.
    pub fn check(&mut self, plan: &Plan) -> Result<(), Error> {
        let there = self.existing()?;
        self.nft.check(&plan.script(&there, true))
    }

    /// Makes the kernel's table what `plan` says and puts back what is missing.
    ///
    /// The first call loads the skeleton in any case and adopts the hosts that the kernel acts on already; later calls
    /// load it only if the plan or the kernel's table changed. Loading is one transaction that keeps contained hosts,
    /// contacts and limits, also when the mode changes: no packet meets a table without them.
    ///
    /// # Errors
    /// The kernel or nft refused; the table is then what it was.
    pub fn reconcile(&mut self, plan: &Plan) -> Result<Reconciled, Error> {
        let now = Instant::now();
        let first = self.skeleton.is_none();
        let there = self.existing()?;
        let mut acted = elements::acted(&mut self.table)?;
        if first {
            self.intents = acted.iter().map(|acted| (acted.host, intent(acted, now))).collect();
        }
        self.intents.retain(|_, intent| intent.holds(now));

        let isolation = self.isolating(now) || acted.iter().any(|acted| acted.verdict == Verdict::Isolate);
        let loaded = self.differs(plan, isolation)?;
        if loaded {
            self.load(plan, &there, isolation)?;
        }
        let exempt = Networks::new(plan.exempt().to_vec());
        let exempted: Vec<Address> =
            acted.iter().map(|acted| acted.host).filter(|host| exempt.contains(*host)).collect();
        self.intents.retain(|host, _| !exempt.contains(*host));
        for host in &exempted {
            elements::lift(&mut self.table, *host)?;
        }
        acted.retain(|acted| !exempt.contains(acted.host));

        let restored = self.restore(&mut acted, now)?;
        Ok(Reconciled { loaded, restored, exempted, acted })
    }

    /// Puts back what was put before, and is gone or weaker than it was.
    fn restore(&mut self, acted: &mut Vec<Acted>, now: Instant) -> Result<Vec<Address>, Error> {
        let there: HashMap<Address, Verdict> = acted.iter().map(|acted| (acted.host, acted.verdict)).collect();
        let mut orders: Vec<Order> = self
            .intents
            .iter()
            .filter(|(host, intent)| there.get(host) != Some(&intent.verdict))
            .map(|(host, intent)| intent.order(*host, now))
            .collect();
        orders.sort_unstable_by_key(|order| order.host);
        elements::put(&mut self.table, &orders, &there)?;
        acted.retain(|acted| orders.binary_search_by_key(&acted.host, |order| order.host).is_err());
        acted.extend(orders.iter().map(|o| Acted { host: o.host, verdict: o.verdict, expires_in: o.timeout }));
        acted.sort_unstable_by_key(|acted| acted.host);
        Ok(orders.iter().map(|order| order.host).collect())
    }

    fn isolating(&self, now: Instant) -> bool {
        self.intents.values().any(|intent| intent.verdict == Verdict::Isolate && intent.holds(now))
    }

    fn differs(&mut self, plan: &Plan, isolation: bool) -> Result<bool, Error> {
        let Some(skeleton) = &self.skeleton else { return Ok(true) };
        if skeleton.plan != *plan || skeleton.isolation != isolation {
            return Ok(true);
        }
        let shape = elements::shape(&mut self.table)?;
        // A table that was deleted right behind its loading left nothing to compare with: nothing is never as planned.
        Ok(shape.is_bare() || shape != skeleton.shape)
    }

    fn load(&mut self, plan: &Plan, there: &Existing, isolation: bool) -> Result<(), Error> {
        let done = match self.nft.load(&plan.script(there, isolation)) {
            // Before 6.2 a set's size and timeout cannot be changed in place.
            Err(Error::Rejected { .. }) => {
                let resized = ["contacts4", "fuse4", "throttled4", "contacts6", "fuse6", "throttled6"];
                let there = Existing { resized: resized.map(str::to_owned).to_vec(), ..there.clone() };
                self.nft.load(&plan.script(&there, isolation))
            }
            other => other,
        };
        self.ports.add_process(done?);
        let shape = elements::shape(&mut self.table)?;
        let exempt = Networks::new(plan.exempt().to_vec());
        self.skeleton = Some(Skeleton { plan: plan.clone(), isolation, exempt, shape });
        Ok(())
    }

    fn existing(&mut self) -> Result<Existing, Error> {
        let chains = self.table.chains()?;
        let (maps, sets) = self.table.sets()?.into_iter().filter(|set| !set.anonymous).partition(|set| set.map);
        let names = |sets: Vec<Set>| sets.into_iter().map(|set| set.name).collect();
        Ok(Existing {
            chains: chains.into_iter().map(|chain| chain.name).collect(),
            sets: names(sets),
            maps: names(maps),
            counters: self.table.counters()?.into_iter().map(|counter| counter.name).collect(),
            resized: Vec::new(),
        })
    }

    /// Acts on a host, or changes what is done about it and for how long. In monitor mode the kernel counts what it
    /// would drop.
    ///
    /// # Errors
    /// The host is exempt, the verdict is neither contain nor isolate, nothing is loaded, or the kernel refused.
    pub fn act(&mut self, host: Address, verdict: Verdict, timeout: Option<Duration>) -> Result<(), Error> {
        self.act_many(&[Order { host, verdict, timeout }])
    }

    /// Acts on many hosts: checked first as a whole, then put in by transactions of up to a thousand elements.
    ///
    /// # Errors
    /// As for [`Firewall::act`]; after a refusal by the kernel the first transactions may stand.
    pub fn act_many(&mut self, orders: &[Order]) -> Result<(), Error> {
        let Some(skeleton) = &self.skeleton else { return Err(Error::NotLoaded) };
        for order in orders {
            if !matches!(order.verdict, Verdict::Contain | Verdict::Isolate) {
                return Err(Error::NotAnAction(order.verdict));
            }
            if let Some(entry) = skeleton.exempt.entry(order.host) {
                return Err(Error::Exempt { host: order.host, entry });
            }
        }
        // Of several orders for one host the last counts.
        let mut last: HashMap<Address, Order> = HashMap::with_capacity(orders.len());
        last.extend(orders.iter().map(|order| (order.host, *order)));
        let orders: Vec<Order> = last.into_values().collect();
        elements::replace(&mut self.table, &orders)?;
        let now = Instant::now();
        let mut isolation_concerned = false;
        for order in &orders {
            let until = order.timeout.map(|timeout| now + timeout);
            let before = self.intents.insert(order.host, Intent { verdict: order.verdict, until });
            isolation_concerned |=
                order.verdict == Verdict::Isolate || before.is_some_and(|before| before.verdict == Verdict::Isolate);
        }
        if isolation_concerned { self.follow_isolation() } else { Ok(()) }
    }

    /// Lets go of a host; `false` if the kernel did not act on it.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn lift(&mut self, host: Address) -> Result<bool, Error> {
        let there = elements::lift(&mut self.table, host)?;
        self.intents.remove(&host);
        if there == Some(Verdict::Isolate) {
            self.follow_isolation()?;
        }
        Ok(there.is_some())
    }

    /// Loads the rules for destinations when the first host is isolated, and takes them out behind the last.
    fn follow_isolation(&mut self) -> Result<(), Error> {
        let isolation = self.isolating(Instant::now());
        match &self.skeleton {
            Some(skeleton) if skeleton.isolation != isolation => {
                let plan = skeleton.plan.clone();
                let there = self.existing()?;
                self.load(&plan, &there, isolation)
            }
            _ => Ok(()),
        }
    }

    /// Replaces the hosts and networks that nothing may drop, and lifts those among them that are acted on now.
    ///
    /// # Errors
    /// Nothing is loaded, or the kernel refused.
    pub fn set_exempt(&mut self, exempt: Vec<IpNetwork>) -> Result<Reconciled, Error> {
        let Some(skeleton) = &self.skeleton else { return Err(Error::NotLoaded) };
        let mut plan = skeleton.plan.clone();
        plan.set_exempt(exempt);
        self.reconcile(&plan)
    }

    /// Whom the kernel acts on now.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn acted(&mut self) -> Result<Vec<Acted>, Error> {
        let mut acted = elements::acted(&mut self.table)?;
        acted.sort_unstable_by_key(|acted| acted.host);
        Ok(acted)
    }

    /// The sources that the fuse limited within the last ten seconds, with the packets it counted against each since
    /// then; at most `most` of each family.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn throttled(&mut self, most: usize) -> Result<Vec<(Address, u64)>, Error> {
        let mut found = Vec::new();
        for set in ["throttled4", "throttled6"] {
            found.extend(elements::throttled(&mut self.table, set, most)?);
        }
        Ok(found)
    }

    /// Reads every counter and how full each set is. Costs the same however full they are, on kernels from 6.16; on
    /// older ones up to 65,536 elements of a set are counted one by one.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        Ok(Counters::read(&mut self.table)?)
    }

    /// Deletes the table: nothing is dropped any more. `false` if there was none.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn remove(&mut self) -> Result<bool, Error> {
        let there = self.table.delete()?;
        self.skeleton = None;
        self.intents.clear();
        Ok(there)
    }
}

fn intent(acted: &Acted, now: Instant) -> Intent {
    Intent { verdict: acted.verdict, until: acted.expires_in.map(|left| now + left) }
}
