//! The kernel's firewall: ruleset text, elements, reconciliation.
//!
//! A [`Firewall`] keeps tables `inet firedoor` and `netdev firedoor` of the calling thread's network namespace as its
//! [`Plan`] says, and puts places into them. The skeleton (chains, sets, counters) goes in as text, by one `nft -f -` an
//! engineer can read; places go in as elements, by netlink, in microseconds. Calls block for that long; none waits for
//! anything else.
//!
//! What is dropped lives in the kernel with its timeouts, and stays when this process ends. A [`Firewall`] also
//! remembers what it put there, so that a flush by somebody else is put right by the next [`Firewall::reconcile`].
//!
//! Text is loaded again, in one transaction that keeps every element, when the settings or the interfaces change, and
//! with the first and behind the last place that needs rules which every packet pays for: an isolated one, one with a
//! VLAN tag, a /64.

mod counters;
mod elements;
mod error;
mod hold_back;
mod intents;
mod networks;
mod places;
mod reconcile;
pub mod ruleset;
mod script;
mod servers;
mod skeleton;
mod watch;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;

pub use counters::{Count, Counters, Occupancy};
pub use error::Error;
use intents::{Intent, Intents};
use places::{Found, Hooks, Key};
pub use ruleset::{Existing, Family, Frames, Plan, Variant};
use script::Nft;
pub use servers::KnownServer;
use servers::Servers;
use skeleton::Skeleton;
pub use watch::{Drift, Watch, What};

use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::sys::nftables::{self, Change, Table};
use crate::sys::route::Kernel;
use crate::wire::frame::Transport;
use crate::wire::{Link, Mac};

/// A place that the kernel acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted {
    /// The place.
    pub place: Place,
    /// Contain or isolate.
    pub action: Action,
    /// When the kernel lets go of it by itself; `None` is never.
    pub expires_in: Option<Duration>,
}

/// A place to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The place.
    pub place: Place,
    /// Contain or isolate.
    pub action: Action,
    /// For how long; `None` is until lifted.
    pub timeout: Option<Duration>,
    /// Services that are shut for it beyond the lateral ones: by destination port, over TCP and UDP.
    pub ports: Vec<(Transport, u16)>,
}

/// What a [`Firewall::reconcile`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// The skeleton was missing or not as planned, and was loaded.
    pub loaded: bool,
    /// Places that had been put into the kernel, were gone before their time, and were put back.
    pub restored: Vec<Place>,
    /// Places that were lifted because they are on the never-contain list now.
    pub exempted: Vec<Place>,
    /// Where the kernel acts now.
    pub acted: Vec<Acted>,
}

/// The kernel's tables, kept as planned. One for a process.
#[derive(Debug)]
pub struct Firewall {
    tables: elements::Tables,
    links: Kernel,
    nft: Nft,
    skeleton: Option<Skeleton>,
    hooks: Hooks,
    intents: Intents,
    /// Cards that forward for others; `None` until they are set, or read from the kernel.
    forwarders: Option<HashSet<(u32, Mac)>>,
    servers: Servers,
    /// The kernel acts on places that are not intents: somebody put them there by hand.
    foreign: bool,
    /// Some of those are isolated.
    foreign_isolated: bool,
    ports: watch::Ports,
}

impl Firewall {
    /// Opens the netlink sockets and finds nft. Changes nothing.
    ///
    /// # Errors
    /// No nft, or no netlink.
    pub fn open() -> Result<Self, Error> {
        let inet = Table::open(ruleset::TABLE, nftables::Family::Inet)?;
        let netdev = Table::open(ruleset::TABLE, nftables::Family::Netdev)?;
        let ports = watch::Ports::default();
        ports.add(inet.port());
        ports.add(netdev.port());
        Ok(Firewall {
            tables: elements::Tables { inet, netdev },
            links: Kernel::open()?,
            nft: Nft::find()?,
            skeleton: None,
            hooks: Hooks::default(),
            intents: Intents::default(),
            forwarders: None,
            servers: Servers::default(),
            foreign: false,
            foreign_isolated: false,
            ports,
        })
    }

    /// Listens for what others do to the tables. Open it before the first [`Firewall::reconcile`], to miss nothing.
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
        let frames = plan.interfaces().to_vec();
        let all =
            Variant { isolation: true, everybody: true, tagged: true, networks: true, frames, ..Variant::default() };
        self.nft.check(&plan.script(&there, &all))?;
        self.nft.check(&plan.script(&there, &Variant { cards: true, everybody: false, tagged: false, ..all }))
    }

    /// Whether the kernel can match a place's packets at all. It cannot match an address behind two VLAN tags, and a card
    /// behind two only where such frames pass: at a bridge's ports and at trunks with stacked VLAN interfaces.
    #[must_use]
    pub fn reaches(&self, place: Place) -> bool {
        self.hooks.reach(place)
    }

    /// Acts on a place, or changes what is done about it and for how long, with no ports of its own. In monitor mode the kernel counts what it
    /// would drop.
    ///
    /// # Errors
    /// The place is exempt or cannot be matched, nothing is loaded, or the kernel refused.
    pub fn act(&mut self, place: Place, action: Action, timeout: Option<Duration>) -> Result<(), Error> {
        self.act_many(&[Order { place, action, timeout, ports: Vec::new() }])
    }

    /// Acts on many places: checked first as a whole, then put in by transactions of up to eight hundred elements.
    ///
    /// # Errors
    /// As for [`Firewall::act`]; after a refusal by the kernel the first transactions may stand.
    pub fn act_many(&mut self, orders: &[Order]) -> Result<(), Error> {
        let Some(skeleton) = &self.skeleton else { return Err(Error::NotLoaded) };
        for order in orders {
            if let Who::Address(host) = order.place.source
                && let Some(entry) = skeleton.exempt.entry(host)
            {
                return Err(Error::Exempt { host, entry });
            }
            if !self.reaches(order.place) {
                return Err(Error::Unreachable { place: order.place });
            }
        }
        let now = Instant::now();
        self.intents.expire(now);
        let mut keys = Vec::with_capacity(orders.len());
        let mut sources = HashSet::with_capacity(orders.len());
        let mut undo = Vec::with_capacity(orders.len());
        // Of several orders for one place the last counts.
        for order in orders {
            let mut ports: Vec<_> =
                order.ports.iter().copied().filter(|(t, _)| matches!(t, Transport::Tcp | Transport::Udp)).collect();
            ports.sort_unstable();
            ports.dedup();
            let intent = Intent { action: order.action, until: order.timeout.map(|timeout| now + timeout), ports };
            keys.extend(self.keys(order.place, &intent));
            sources.insert(order.place.source);
            let before = self.intents.insert(order.place, intent);
            if let Some(before) = &before {
                keys.extend(self.keys(order.place, before));
            }
            undo.push((order.place, before));
        }
        if let Err(error) = self.put(keys, &sources, now) {
            // What was refused is no intent.
            for (place, before) in undo.into_iter().rev() {
                match before {
                    Some(before) => self.intents.insert(place, before),
                    None => self.intents.remove(&place),
                };
            }
            return Err(error);
        }
        self.follow()
    }

    /// Every key that a place with this intent has.
    fn keys(&self, place: Place, intent: &Intent) -> impl Iterator<Item = Key> + use<> {
        self.hooks.rows(place, intent, None).into_iter().map(|(key, _)| key)
    }

    /// Makes `keys` what the intents of these sources want, and has packets asked about that the intents concern.
    fn put(&mut self, keys: Vec<Key>, sources: &HashSet<Who>, now: Instant) -> Result<Found, Error> {
        let mut wanted = HashMap::with_capacity(keys.len());
        for (place, intent) in sources.iter().flat_map(|source| self.intents.of(*source)) {
            places::join(&mut wanted, self.hooks.rows(*place, intent, intent.left(now)));
        }
        let Some(skeleton) = &self.skeleton else { return Err(Error::NotLoaded) };
        let mut variant = skeleton.variant.clone();
        let Variant { acted, shut, .. } = self.wanted(&skeleton.plan);
        variant.acted |= acted;
        // Ports that are shut no more go with `follow`, behind the elements; here there is room for both.
        variant.shut.extend(shut);
        while variant.shut.len() > ruleset::MOST_SHUT {
            variant.shut.pop_last();
        }
        let changes = skeleton.redirected(&variant);
        let found = self.tables.apply(keys, &wanted, &changes)?;
        if let Some(skeleton) = &mut self.skeleton {
            skeleton.variant = variant;
        }
        Ok(found)
    }

    /// Lets go of a place; `false` if the kernel did not act on it.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn lift(&mut self, place: Place) -> Result<bool, Error> {
        let now = Instant::now();
        self.intents.expire(now);
        let before = self.intents.remove(&place);
        let nothing = Intent { action: Action::Isolate, until: None, ports: Vec::new() };
        let mut keys: Vec<Key> = self.keys(place, &nothing).collect();
        if let Some(before) = &before {
            keys.extend(self.keys(place, before));
        }
        let found = match self.put(keys, &HashSet::from([place.source]), now) {
            Ok(found) => found,
            Err(error) => {
                if let Some(before) = before {
                    self.intents.insert(place, before);
                }
                return Err(error);
            }
        };
        self.follow()?;
        Ok(found.rows.keys().any(|(set, _)| places::is_map(set)))
    }

    /// Loads the rules that the first place of a kind needs, and takes them out behind the last.
    fn follow(&mut self) -> Result<(), Error> {
        let Some(skeleton) = &self.skeleton else { return Ok(()) };
        let plan = skeleton.plan.clone();
        let wanted = Variant { frames: skeleton.variant.frames.clone(), ..self.wanted(&plan) };
        let at = &skeleton.variant;
        let rules = |v: &Variant| (v.isolation, v.cards, v.everybody, v.tagged, v.networks);
        if rules(at) != rules(&wanted) {
            let there = self.existing()?;
            return self.load(&plan, &there, wanted, &HashMap::new());
        }
        let changes = skeleton.redirected(&wanted);
        self.tables.inet.change(&changes)?;
        if let Some(skeleton) = &mut self.skeleton {
            skeleton.variant = wanted;
        }
        Ok(())
    }

    /// Replaces the cards that forward for others: the first contacts of what they forward are limited by address,
    /// everybody else's by card. Tags do not matter here. Kept in the kernel.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn set_forwarders(&mut self, forwarders: &[(Link, Mac)]) -> Result<(), Error> {
        self.forwarders = Some(forwarders.iter().map(|(link, card)| (link.interface, *card)).collect());
        if self.skeleton.is_some() { self.restore_forwarders(false) } else { Ok(()) }
    }

    /// Makes the kernel's sets of forwarders what was set; takes over what is there if nothing was.
    fn restore_forwarders(&mut self, first: bool) -> Result<(), Error> {
        let there = elements::keys(&mut self.tables.inet, "forwarders")?;
        if first && self.forwarders.is_none() {
            let read = |key: &Vec<u8>| match places::read_untagged(key)? {
                Place { link, source: Who::Card(card) } => Some((link.interface, card)),
                Place { .. } => None,
            };
            self.forwarders = Some(there.iter().filter_map(read).collect());
        }
        let wanted: HashSet<Vec<u8>> =
            self.forwarders.iter().flatten().map(|(interface, card)| places::card_key(*interface, *card)).collect();
        let mut sets = vec![("forwarders", nftables::Family::Inet, there)];
        if !self.hooks.frames.is_empty() {
            let set = "frame_forwarders";
            sets.push((set, nftables::Family::Netdev, elements::keys(&mut self.tables.netdev, set)?));
        }
        for (set, family, there) in sets {
            let there: HashSet<Vec<u8>> = there.into_iter().collect();
            let mut changes: Vec<Change> =
                there.difference(&wanted).map(|key| Change::Remove { family, set, key: key.clone() }).collect();
            let put = |key: &Vec<u8>| Change::Put { family, set, key: key.clone(), jump: None, timeout: None };
            changes.extend(wanted.difference(&there).map(put));
            for changes in changes.chunks(elements::CHANGES_A_TRANSACTION) {
                self.tables.inet.change(changes)?;
            }
        }
        Ok(())
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

    /// Where the kernel acts now. A place that holds everywhere is one, however many interfaces there are.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn acted(&mut self) -> Result<Vec<Acted>, Error> {
        let places = self.tables.read()?.places(|place| self.intents.contains(place));
        let mut acted: Vec<Acted> = places
            .into_iter()
            .map(|(place, held)| Acted { place, action: held.action, expires_in: held.left })
            .collect();
        acted.sort_unstable_by_key(|acted| acted.place);
        Ok(acted)
    }

    /// The sources that the fuse limited within the last ten seconds, with the packets it counted against each since
    /// then: a card, or an address behind a router. At most `most` of each kind.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn throttled(&mut self, most: usize) -> Result<Vec<(Place, u64)>, Error> {
        let mut found = Vec::new();
        for set in ["throttled_cards", "throttled4", "throttled6"] {
            found.extend(elements::throttled(&mut self.tables.inet, set, most)?);
        }
        // What a card sends behind a second tag has a bucket of its own, and is the same card's.
        for (place, packets) in elements::throttled(&mut self.tables.netdev, "frame_throttled", most)? {
            match found.iter_mut().find(|(known, _)| *known == place) {
                Some((_, known)) => *known += packets,
                None => found.push((place, packets)),
            }
        }
        Ok(found)
    }

    /// Reads every counter and how full each set is. Costs the same however full they are, on kernels from 6.16; on
    /// older ones up to 65,536 elements of a set are counted one by one.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        Ok(Counters::read(&mut self.tables)?)
    }

    /// Deletes the tables: nothing is dropped any more. `false` if there was none.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn remove(&mut self) -> Result<bool, Error> {
        let there = self.tables.inet.delete()?;
        self.tables.netdev.delete()?;
        self.skeleton = None;
        self.intents = Intents::default();
        self.servers = Servers::default();
        Ok(there)
    }
}
