//! Reconciling: what the kernel's tables hold, made what the plan and the intents say.

use std::collections::HashMap;
use std::time::Instant;

use super::elements;
use super::error::Error;
use super::intents::Intent;
use super::places::{self, Found, Hooks, Key, Row};
use super::ruleset::{self, Existing, Frames, Plan, Variant};
use super::skeleton::Skeleton;
use super::{Firewall, Reconciled};
use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::sys::nftables::Set;
use crate::wire::Networks;

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

impl Firewall {
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

    /// Puts the tables back that somebody deleted, with what is acted on, the routers' cards and the servers: one transaction, with
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
        if plan.has_greylist() {
            let servers = self.servers.rows(false, now);
            if servers.len() <= MOST_REASSERTED {
                rows.extend(servers);
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
    pub(super) fn wanted(&self, plan: &Plan) -> Variant {
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

    pub(super) fn load(
        &mut self,
        plan: &Plan,
        there: &Existing,
        variant: Variant,
        rows: &HashMap<Key, Row>,
    ) -> Result<(), Error> {
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

    pub(super) fn existing(&mut self) -> Result<Existing, Error> {
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
}
