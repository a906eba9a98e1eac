//! Sources whose second askings wait longer: several of their first contacts wait at once, which is how a scan begins.
//!
//! They stand for a while among those that the fuse limits, whose second askings do not pass (docs/greylist.md, rule 7). An
//! element of the daemon's has no counter, which distinguishes it from one of the fuse's.

use std::time::Duration;

use super::places;
use super::{Error, Firewall};
use crate::suspect::{Place, Who};
use crate::sys::nftables::{Change, Family};

impl Firewall {
    /// Holds back the second askings of `place`, a card or an address on an interface whatever its tags, for `time`. What the
    /// fuse limits stays limited for as long as it does.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn hold_back(&mut self, place: Place, time: Duration) -> Result<(), Error> {
        if !self.skeleton.as_ref().is_some_and(|skeleton| skeleton.plan.has_greylist()) {
            return Ok(());
        }
        let interface = place.link.interface;
        let rows = match place.source {
            Who::Card(card) => {
                let key = places::card_key(interface, card);
                let frames = (!self.hooks.frames.is_empty()).then(|| ("frame_throttled", key.clone()));
                [Some(("throttled_cards", key)), frames]
            }
            Who::Address(address) | Who::Network(address) => {
                let set = if address.is_v4() { "throttled4" } else { "throttled6" };
                [Some((set, places::source_on(interface, address))), None]
            }
        };
        for (set, key) in rows.into_iter().flatten() {
            let family = if set == "frame_throttled" { Family::Netdev } else { Family::Inet };
            let table = if family == Family::Netdev { &mut self.tables.netdev } else { &mut self.tables.inet };
            // Whom the fuse limits is held back for as long as it does; of our own times the longer one holds.
            let there = table.element(set, &key, |element| Some((element.packets, element.expires_in)))?;
            if there.is_some_and(|(packets, left)| packets.is_some() || left.is_some_and(|left| left >= time)) {
                continue;
            }
            let mut changes = Vec::with_capacity(2);
            if there.is_some() {
                changes.push(Change::Remove { family, set, key: key.clone() });
            }
            changes.push(Change::Put { family, set, key, jump: None, timeout: Some(time) });
            match self.tables.inet.change(&changes) {
                // The fuse was faster, or the kernel's own expiry.
                Err(error) if matches!(error.refused(), Some(libc::EEXIST | libc::ENOENT)) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }
}
