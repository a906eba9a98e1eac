//! The skeleton: chains, sets and counters as they were last loaded.

use std::collections::HashSet;

use super::elements;
use super::ruleset::{Plan, Variant, Way};
use crate::sys::nftables::{self, Change};
use crate::wire::Networks;

/// The skeleton that was last loaded, and how the kernel showed it then.
#[derive(Debug)]
pub(super) struct Skeleton {
    pub plan: Plan,
    pub variant: Variant,
    pub exempt: Networks,
    pub shape: [elements::Shape; 2],
}

impl Skeleton {
    /// The changes that bring the sets of what is watched to what another variant of the same text wants.
    pub fn redirected(&self, variant: &Variant) -> Vec<Change> {
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
