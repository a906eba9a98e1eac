//! How often links are asked before anything is reported of an address.

use std::collections::HashMap;
use std::time::Duration;

use crate::evidence::Attachment;
use crate::time::Timestamp;
use crate::wire::{Address, Link, Mac};

/// Links asked early, before anything is reported of an address: a bounded number a second, each card about each address
/// once in a while.
#[derive(Debug, Default)]
pub(super) struct Pace {
    lately: HashMap<(Address, Link, Mac), Timestamp>,
    second: u64,
    count: u32,
}

impl Pace {
    /// Questions a second, at most.
    const A_SECOND: u32 = 200;
    /// Addresses remembered at once.
    const MOST: usize = 4096;
    /// The same address is asked for again after this.
    pub const AGAIN: Duration = Duration::from_secs(30);
    /// The same where two cards want it.
    pub const DISPUTED: Duration = Duration::from_secs(1);

    /// Whether this address, which `attachment` sent from, may be asked for now; notes that it is.
    pub fn may(&mut self, address: Address, attachment: Attachment, again: Duration, now: Timestamp) -> bool {
        let what = (address, attachment.link(), attachment.mac);
        if self.second != now.secs() {
            (self.second, self.count) = (now.secs(), 0);
        }
        if self.count >= Self::A_SECOND || self.lately.get(&what).is_some_and(|at| now.since(*at) < again) {
            return false;
        }
        if self.lately.len() >= Self::MOST {
            self.lately.retain(|_, at| now.since(*at) < Self::AGAIN);
            if self.lately.len() >= Self::MOST {
                return false;
            }
        }
        self.count += 1;
        self.lately.insert(what, now);
        true
    }
}
