//! What this process put into the kernel, and what of the text that needs.
//!
//! Each change costs the same however many places there are: what all of them together need is counted along.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::elements;
use super::ruleset::{MOST_SHUT, Variant};
use crate::respond::Action;
use crate::suspect::{Place, Who};
use crate::wire::frame::Transport;

/// What this process last put into the kernel for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) action: Action,
    /// When the kernel lets go of it by itself; `None` is never.
    pub(super) until: Option<Instant>,
    pub(super) ports: Vec<(Transport, u16)>,
}

impl Intent {
    /// What is left of its time.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| elements::left(until, now))
    }
}

/// How many places need what.
#[derive(Debug, Default)]
struct Needs {
    isolated: usize,
    isolated_cards: usize,
    isolated_networks: usize,
    tagged: usize,
    networks: usize,
    ports: BTreeMap<u16, usize>,
}

impl Needs {
    fn count(&mut self, place: &Place, intent: &Intent, count: impl Fn(&mut usize)) {
        if intent.action == Action::Isolate {
            count(&mut self.isolated);
            match place.source {
                Who::Card(_) => count(&mut self.isolated_cards),
                Who::Network(_) => count(&mut self.isolated_networks),
                Who::Address(_) => {}
            }
        }
        if place.link.outer != 0 {
            count(&mut self.tagged);
        }
        if matches!(place.source, Who::Network(_)) {
            count(&mut self.networks);
        }
        for (_, port) in &intent.ports {
            let of = self.ports.entry(*port).or_default();
            count(of);
            if *of == 0 {
                self.ports.remove(port);
            }
        }
    }
}

/// The intents by place.
#[derive(Debug, Default)]
pub(super) struct Intents {
    all: HashMap<Place, Intent>,
    by_source: HashMap<Who, HashSet<Place>>,
    ends: BTreeSet<(Instant, Place)>,
    needs: Needs,
}

impl Intents {
    /// Puts one in; gives the one that was there.
    pub(super) fn insert(&mut self, place: Place, intent: Intent) -> Option<Intent> {
        let before = self.remove(&place);
        self.needs.count(&place, &intent, |count| *count += 1);
        self.by_source.entry(place.source).or_default().insert(place);
        self.ends.extend(intent.until.map(|until| (until, place)));
        self.all.insert(place, intent);
        before
    }

    pub(super) fn remove(&mut self, place: &Place) -> Option<Intent> {
        let intent = self.all.remove(place)?;
        self.needs.count(place, &intent, |count| *count = count.saturating_sub(1));
        if let Some(places) = self.by_source.get_mut(&place.source) {
            places.remove(place);
            if places.is_empty() {
                self.by_source.remove(&place.source);
            }
        }
        if let Some(until) = intent.until {
            self.ends.remove(&(until, *place));
        }
        Some(intent)
    }

    /// Takes out those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((until, place)) = self.ends.first().copied()
            && until <= now
        {
            self.ends.remove(&(until, place));
            self.remove(&place);
        }
    }

    /// Keeps those that `keep` says.
    pub(super) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        let gone: Vec<Place> = self.all.keys().filter(|place| !keep(place)).copied().collect();
        for place in &gone {
            self.remove(place);
        }
    }

    pub(super) fn contains(&self, place: &Place) -> bool {
        self.all.contains_key(place)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &Intent)> {
        self.all.iter()
    }

    /// Those about a source, wherever it is.
    pub(super) fn of(&self, source: Who) -> impl Iterator<Item = (&Place, &Intent)> {
        self.by_source.get(&source).into_iter().flatten().filter_map(|place| self.all.get_key_value(place))
    }

    /// Adds what they need to a variant.
    pub(super) fn need(&self, variant: &mut Variant) {
        let needs = &self.needs;
        variant.acted |= !self.all.is_empty();
        variant.isolation |= needs.isolated > 0;
        variant.cards |= needs.isolated_cards > 0;
        variant.everybody |= needs.isolated_networks > 0 || needs.ports.len() > MOST_SHUT;
        variant.tagged |= needs.tagged > 0;
        variant.networks |= needs.networks > 0;
        if needs.ports.len() <= MOST_SHUT {
            variant.shut.extend(needs.ports.keys());
        }
        variant.everybody |= variant.isolation && variant.tagged;
    }
}
