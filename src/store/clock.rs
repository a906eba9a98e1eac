//! Times that were written by another clock.
//!
//! A daemon takes times from the wall clock of its start, carried on by the monotonic clock, so a jump of the wall clock
//! parts it from its successor: ten minutes that the one wrote down may be a year or nothing by the other's clock. The
//! file says by which clock the times in it were written; within one boot of the machine the monotonic clock links the
//! two, and the times that something is still due at are moved over.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::rows::Text;
use super::{Fault, Store};
use crate::sys::clock::Boot;
use crate::time::Timestamp;

/// Clocks that are no further apart are the same: what a time server corrects in passing.
const SAME: Duration = Duration::from_secs(1);

impl Store {
    /// Moves blocks and pardons to the clock that shows `zero` when the monotonic clock of this `boot` is at zero. Gives
    /// by how much that clock is ahead of the one they were written by and whether it is, or `None` if the clock is the
    /// same or nothing links the two: after a reboot the wall clock is all there is.
    ///
    /// What was decided when stays as it was written.
    pub fn follow_clock(&mut self, boot: &Boot, zero: Timestamp) -> Result<Option<(Duration, bool)>, Fault> {
        self.together(|store| {
            let written: Option<(String, Text<Timestamp>)> = store
                .db
                .query_row("SELECT boot, zero FROM clock", [], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let before = written.filter(|(written, _)| *written == boot.0).map(|(_, Text(before))| before);
            let (ahead, behind) = before.map_or_else(Default::default, |at| (zero.since(at), at.since(zero)));
            if before.is_some() && ahead.max(behind) <= SAME {
                return Ok(None);
            }
            store.db.execute("DELETE FROM clock", [])?;
            store.db.execute("INSERT INTO clock (boot, zero) VALUES (?, ?)", params![boot.0, Text(zero)])?;
            if before.is_none() {
                return Ok(None);
            }
            let moved = |at: Timestamp| at + ahead - behind;
            for mut decision in store.acted()? {
                (decision.at, decision.until) = (moved(decision.at), decision.until.map(moved));
                store.put_acted(&decision)?;
            }
            for mut release in store.pardons()? {
                (release.at, release.pardoned_until) = (moved(release.at), release.pardoned_until.map(moved));
                store.put_pardon(&release)?;
            }
            Ok(Some((ahead.max(behind), ahead > behind)))
        })
    }
}
