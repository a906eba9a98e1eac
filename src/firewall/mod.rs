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
mod intents;
mod networks;
mod places;
pub mod ruleset;
mod script;
mod servers;
mod watch;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;

pub use counters::{Count, Counters, Occupancy};
pub use error::Error;
use intents::{Intent, Intents};
use places::{Found, Hooks, Key, Row};
use ruleset::Way;
pub use ruleset::{Existing, Family, Frames, Plan, Variant};
use script::Nft;
pub use servers::KnownServer;
use servers::Servers;
pub use watch::{Drift, Watch, What};

use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::sys::nftables::{self, Change, Set, Table};
use crate::sys::route::Kernel;
use crate::wire::frame::Transport;
use crate::wire::{Link, Mac, Networks};

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

/// The skeleton that was last loaded, and how the kernel showed it then.
#[derive(Debug)]
struct Skeleton {
    plan: Plan,
    variant: Variant,
    exempt: Networks,
    shape: [elements::Shape; 2],
}

impl Skeleton {
    /// The changes that bring the sets of what is watched to what another variant of the same text wants.
    fn redirected(&self, variant: &Variant) -> Vec<Change> {
        if (self.variant.acted, &self.variant.shut) == (variant.acted, &variant.shut) {
            return Vec::new();
        }
        let family = nftables::Family::Inet;
        let (old, new) = (self.plan.dispatch(&self.variant), self.plan.dispatch(variant));
        let (was, is): (HashSet<&Way>, HashSet<&Way>) = (old.iter().collect(), new.iter().collect());
        let removed = old.iter().filter(|way| !is.contains(way));
        let put = new.iter().filter(|way| !was.contains(way));
        removed
            .map(|(set, key)| Change::Remove { family, set, key: key.clone() })
            .chain(put.map(|(set, key)| Change::Put { family, set, key: key.clone(), jump: None, timeout: None }))
            .collect()
    }
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

    /// Makes the kernel's tables what `plan` says and puts back what is missing.
    ///
    /// The first call loads the skeleton in any case and adopts the places that the kernel acts on already; later calls
    /// load it only if the plan or the kernel's tables changed. Loading is one transaction that keeps places, contacts
    /// and limits, also when the mode changes: no packet meets a table without them.
    ///
    /// Places of interfaces that are not hooked are remembered, and put in once they are. Interfaces are known by index
    /// here, so one that was deleted and made anew is another.
    ///
    /// # Errors
    /// The kernel or nft refused; the tables are then what they were.
    pub fn reconcile(&mut self, plan: &Plan) -> Result<Reconciled, Error> {
        let now = Instant::now();
        let first = self.skeleton.is_none();
        let there = self.existing()?;
        let mut found = self.tables.read()?;
        let held = found.places(|place| self.intents.contains(place));
        if first {
            let intent = |held: places::Held| Intent {
                action: held.action,
                until: held.left.map(|left| now + left),
                ports: held.ports,
            };
            for (place, held) in &held {
                self.intents.insert(*place, intent(held.clone()));
            }
        }
        self.intents.expire(now);
        let before = std::mem::take(&mut self.hooks);
        let frames = self.hook(plan)?;
        let exempt = Networks::new(plan.exempt().to_vec());
        let is_exempt = |place: &Place| matches!(place.source, Who::Address(address) if exempt.contains(address));
        // What somebody put in about a host that nobody may drop is taken out below. Nothing has to look it up before that:
        // loading the text for it would rewrite the exempt sets, and the kernel finds nothing in one for a moment then.
        let mut foreign =
            held.iter().filter(|(place, _)| !self.intents.contains(place) && !is_exempt(place)).peekable();
        self.foreign = foreign.peek().is_some();
        self.foreign_isolated = foreign.any(|(_, held)| held.action == Action::Isolate);

        let mut variant = self.wanted(plan);
        variant.frames = frames;
        let loaded = self.differs(plan, &variant)?;
        if loaded {
            let rows = self.missing(plan, &found, now);
            self.load(plan, &there, variant, &rows)?;
        }
        // Elements of an earlier version had other keys, and went with their sets.
        found.rows.retain(|(set, key), _| ruleset::kept(set).is_some_and(|octets| octets as usize == key.len()));

        let mut exempted: Vec<Place> = held.keys().copied().filter(is_exempt).collect();
        exempted.sort_unstable();
        self.intents.retain(|place| !is_exempt(place));
        let restored = self.restore(&found, &exempted, &before, now)?;
        self.restore_forwarders(first)?;
        self.restore_servers(now)?;
        Ok(Reconciled { loaded, restored, exempted, acted: self.acted()? })
    }

    /// Puts the tables back that somebody deleted, with what is acted on and the routers' cards: one transaction, with
    /// nothing read ahead of it, so the door is open for as short as nft takes. `false` if a [`Firewall::reconcile`] has
    /// to do it: nothing was loaded yet, there are more than [`MOST_REASSERTED`] places, or nft cannot be given one of
    /// them as text (ports that are shut behind a VLAN tag).
    ///
    /// Nothing is read behind it either, to be ready for the next deletion: so the [`Firewall::reconcile`] that follows
    /// loads the text once more. The tables may be there in part; then what is in them stays. Contacts and limits that were deleted are lost.
    ///
    /// # Errors
    /// The kernel or nft refused; the tables are then what they were.
    pub fn reassert(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        self.intents.expire(now);
        let Some(skeleton) = &self.skeleton else { return Ok(false) };
        if self.intents.len() > MOST_REASSERTED {
            return Ok(false);
        }
        let plan = skeleton.plan.clone();
        let variant = Variant { frames: skeleton.variant.frames.clone(), ..self.wanted(&plan) };
        let mut rows = HashMap::with_capacity(2 * self.intents.len());
        for (place, intent) in self.intents.iter() {
            places::join(&mut rows, self.hooks.rows(*place, intent, intent.left(now)));
        }
        if rows.keys().any(|(set, _)| !places::is_writable(set)) {
            return Ok(false);
        }
        let forwarders: &[&'static str] =
            if variant.frames.is_empty() { &["forwarders"] } else { &["forwarders", "frame_forwarders"] };
        for (interface, card) in self.forwarders.iter().flatten() {
            for set in forwarders {
                rows.insert((*set, places::card_key(*interface, *card)), Row { jump: None, left: None });
            }
        }
        // One of the two tables may have been deleted alone.
        let mut script = String::new();
        let mut there = Existing::default();
        if !variant.frames.is_empty() {
            script = format!("add table netdev {}\n", ruleset::TABLE);
            there.frames = Some(Frames::default());
        }
        script.push_str(&plan.script(&there, &variant));
        // Writing to a string cannot fail.
        let _ = places::write(&mut script, &rows);
        let process = self.nft.load(&script)?;
        self.ports.add_process(process);
        if let Some(skeleton) = &mut self.skeleton {
            // Nothing compares with a bare shape: the next reconcile loads the text again, over what is there.
            (skeleton.variant, skeleton.shape) = (variant, Default::default());
        }
        Ok(true)
    }

    /// Learns the plan's interfaces by index, and which of them frames can pass that the `inet` table does not see: a
    /// bridge's ports, and trunks that carry VLAN interfaces on VLAN interfaces. Gives the latter's names.
    fn hook(&mut self, plan: &Plan) -> Result<Vec<String>, Error> {
        let links = self.links.links()?;
        let kind = |index: Option<u32>| links.iter().find(|link| Some(link.index) == index)?.kind.as_deref();
        let child = |index: u32| links.iter().filter(move |link| link.parent == Some(index) && link.vlan.is_some());
        let hooked = links.iter().filter(|link| plan.interfaces().contains(&link.name));
        let mut frames = Vec::new();
        for link in hooked {
            self.hooks.interfaces.push(link.index);
            let stacked = child(link.index).any(|vlan| child(vlan.index).next().is_some());
            if kind(link.master) == Some("bridge") || stacked {
                self.hooks.frames.push(link.index);
                frames.push(link.name.clone());
            }
        }
        frames.sort_unstable();
        self.hooks.interfaces.sort_unstable();
        self.hooks.frames.sort_unstable();
        Ok(frames)
    }

    /// Puts back what was put before, and is gone or other than it was; takes out what belongs to `exempted` places, or
    /// to interfaces that are not hooked. Gives the places that somebody else had taken out.
    fn restore(
        &mut self,
        found: &Found,
        exempted: &[Place],
        before: &Hooks,
        now: Instant,
    ) -> Result<Vec<Place>, Error> {
        let mut wanted: HashMap<Key, Row> = HashMap::new();
        let mut restored = Vec::new();
        for (place, intent) in self.intents.iter() {
            let rows = self.hooks.rows(*place, intent, intent.left(now));
            let gone = |(key, row): &(Key, Row)| {
                let (set, octets) = key;
                let known = places::interface(set, octets).is_none_or(|index| before.interfaces.contains(&index));
                places::is_map(set)
                    && known
                    && found.rows.get(key).is_none_or(|there| row.jump != there.jump && !there.outweighs(row))
            };
            if rows.iter().any(gone) {
                restored.push(*place);
            }
            places::join(&mut wanted, rows);
        }
        let differs = |key: &Key, row: &Row| found.rows.get(key).is_none_or(|there| there.jump != row.jump);
        let mut keys: Vec<Key> =
            wanted.iter().filter(|(key, row)| differs(key, row)).map(|(key, _)| key.clone()).collect();
        let unhooked =
            |(set, key): &Key| places::interface(set, key).is_some_and(|index| !self.hooks.interfaces.contains(&index));
        keys.extend(found.rows.keys().filter(|key| unhooked(key)).cloned());
        let nothing = Intent { action: Action::Isolate, until: None, ports: Vec::new() };
        for place in exempted {
            keys.extend(self.hooks.rows(*place, &nothing, None).into_iter().map(|(key, _)| key));
        }
        if !keys.is_empty() {
            self.tables.apply(keys, &wanted, &[])?;
        }
        restored.sort_unstable();
        Ok(restored)
    }

    /// The variant that the intents ask for.
    fn wanted(&self, plan: &Plan) -> Variant {
        let mut variant = Variant { tagged: plan.tagged(), acted: self.foreign, ..Variant::default() };
        if self.foreign_isolated {
            // Whoever put them there by hand put nothing into the sets of the isolated.
            (variant.isolation, variant.everybody) = (true, true);
        }
        self.intents.need(&mut variant);
        variant
    }

    fn differs(&mut self, plan: &Plan, variant: &Variant) -> Result<bool, Error> {
        let Some(skeleton) = &self.skeleton else { return Ok(true) };
        if skeleton.plan != *plan || skeleton.variant != *variant {
            return Ok(true);
        }
        if !elements::dispatches(&mut self.tables.inet, &plan.dispatch(variant))? {
            return Ok(true);
        }
        let shape = self.shape()?;
        // A table that was deleted right behind its loading left nothing to compare with: nothing is never as planned.
        let [inet, _] = &shape;
        Ok(inet.is_bare() || self.skeleton.as_ref().is_none_or(|skeleton| skeleton.shape != shape))
    }

    fn shape(&mut self) -> Result<[elements::Shape; 2], Error> {
        Ok([elements::shape(&mut self.tables.inet)?, elements::shape(&mut self.tables.netdev)?])
    }

    /// What the kernel lacks of what is acted on, as far as nft can be given it as text: loaded with the rules, so that no
    /// packet meets these without those. Nothing where there is too much of it: then it follows right behind.
    fn missing(&self, plan: &Plan, found: &Found, now: Instant) -> HashMap<Key, Row> {
        let mut rows = HashMap::new();
        if self.intents.len() > MOST_REASSERTED {
            return rows;
        }
        let exempt = Networks::new(plan.exempt().to_vec());
        for (place, intent) in self.intents.iter() {
            if !matches!(place.source, Who::Address(address) if exempt.contains(address)) {
                places::join(&mut rows, self.hooks.rows(*place, intent, intent.left(now)));
            }
        }
        rows.retain(|key, _| places::is_writable(key.0) && !found.rows.contains_key(key));
        rows
    }

    fn load(&mut self, plan: &Plan, there: &Existing, variant: Variant, rows: &HashMap<Key, Row>) -> Result<(), Error> {
        let script = |there: &Existing| {
            let mut script = plan.script(there, &variant);
            // Writing to a string cannot fail.
            let _ = places::write(&mut script, rows);
            script
        };
        let done = match self.nft.load(&script(there)) {
            // Before 6.2 a set's size and timeout cannot be changed in place.
            Err(Error::Rejected { .. }) => {
                let mut resized = there.resized.clone();
                resized.extend(RESIZED.map(str::to_owned));
                self.nft.load(&script(&Existing { resized, ..there.clone() }))
            }
            other => other,
        };
        self.ports.add_process(done?);
        let shape = self.shape()?;
        let exempt = Networks::new(plan.exempt().to_vec());
        self.skeleton = Some(Skeleton { plan: plan.clone(), variant, exempt, shape });
        Ok(())
    }

    fn existing(&mut self) -> Result<Existing, Error> {
        let chains = self.tables.inet.chains()?;
        let names = |sets: Vec<Set>| sets.into_iter().map(|set| set.name).collect();
        let split = |sets: Vec<Set>| sets.into_iter().filter(|set| !set.anonymous).partition(|set| set.map);
        let (inet, netdev) = (self.tables.inet.sets()?, self.tables.netdev.sets()?);
        let outdated = |set: &&Set| ruleset::kept(&set.name).is_some_and(|key| key != set.key);
        let resized = inet.iter().chain(&netdev).filter(outdated).map(|set| set.name.clone()).collect();
        let (maps, sets): (Vec<Set>, Vec<Set>) = split(inet);
        let (frame_maps, frame_sets): (Vec<Set>, Vec<Set>) = split(netdev);
        let frame_chains = self.tables.netdev.chains()?;
        let frames = (!frame_chains.is_empty() || !frame_maps.is_empty() || !frame_sets.is_empty()).then(|| Frames {
            chains: frame_chains.into_iter().map(|chain| chain.name).collect(),
            sets: names(frame_sets),
            maps: names(frame_maps),
        });
        Ok(Existing {
            chains: chains.into_iter().map(|chain| chain.name).collect(),
            sets: names(sets),
            maps: names(maps),
            counters: self.tables.inet.counters()?.into_iter().map(|counter| counter.name).collect(),
            resized,
            frames,
        })
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

    /// Makes `servers` the ones that nobody waits for, each for so long; `None` is until it is withdrawn. Little is written
    /// where little changed: what has at least half of its time left stays as it is. They hold while no daemon runs, over reloads,
    /// and are put back after a deletion. Without a greylist in the plan they are only remembered.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn set_servers(&mut self, servers: &[(KnownServer, Option<Duration>)]) -> Result<(), Error> {
        let (now, frames) = (Instant::now(), !self.hooks.frames.is_empty());
        let keys = self.servers.set(servers, frames, now);
        if keys.is_empty() || !self.skeleton.as_ref().is_some_and(|skeleton| skeleton.plan.has_greylist()) {
            return Ok(());
        }
        self.tables.apply(keys, &self.servers.rows(frames, now), &[])?;
        Ok(())
    }

    /// The learnt servers that the kernel holds, each with the time that is left to it.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn servers(&mut self) -> Result<Vec<(KnownServer, Option<Duration>)>, Error> {
        let mut servers: Vec<_> = servers::read(&mut self.tables)?.into_iter().collect();
        servers.sort_unstable();
        Ok(servers)
    }

    fn restore_servers(&mut self, now: Instant) -> Result<(), Error> {
        if self.skeleton.as_ref().is_some_and(|skeleton| skeleton.plan.has_greylist()) {
            self.servers.restore(&mut self.tables, !self.hooks.frames.is_empty(), now)?;
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

/// Most places that are put back together with the skeleton, as text; above it, elements follow by netlink.
pub const MOST_REASSERTED: usize = 4096;

/// Sets whose size or timeout a changed setting changes.
const RESIZED: [&str; 19] = [
    "contacts4",
    "fuse4",
    "throttled4",
    "contacts6",
    "fuse6",
    "throttled6",
    "fuse_cards",
    "throttled_cards",
    "fuse_net6",
    "frame_fuse",
    "frame_throttled",
    "young4",
    "knocked4",
    "young6",
    "knocked6",
    "frame_young4",
    "frame_knocked4",
    "frame_young6",
    "frame_knocked6",
];
