//! What was reported of how hosts speak SMB, so that each fact is reported once within the contact memory.

use std::time::Duration;

use crate::inspect::Condition;
use crate::time::Timestamp;
use crate::track::clock_cache::Key;
use crate::track::{ClockCache, HashKey};
use crate::wire::Address;
use crate::wire::smb::Dialect;

/// A fact about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// It agreed on a dialect.
    Dialect {
        /// Which.
        dialect: Dialect,
        /// As the server; otherwise as the client.
        as_server: bool,
    },
    /// Its answer showed a condition that an engineer must mend.
    Condition(Condition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct About {
    host: Address,
    fact: Fact,
}

impl Key for About {
    fn hash(&self, hash_key: &HashKey) -> u64 {
        let tag = match self.fact {
            Fact::Dialect { dialect, as_server } => (dialect as u64) << 2 | u64::from(as_server) << 1,
            Fact::Condition(condition) => (condition as u64) << 2 | 1,
        };
        hash_key.pair(self.host, self.host, 0x736d_6200 | tag)
    }
}

/// When each fact was last seen.
pub(super) struct SmbFacts {
    seen: ClockCache<About, Option<Timestamp>>,
    memory: Duration,
}

impl SmbFacts {
    /// Facts remembered at once; of the rest, some are reported again.
    const MOST: usize = 16_384;

    /// The most memory that it comes to hold.
    pub const BYTES: usize = ClockCache::<About, Option<Timestamp>>::bytes(Self::MOST);

    /// Nothing was reported yet; what was not seen for `memory` is news again.
    pub fn new(memory: Duration, hash_key: HashKey) -> Self {
        SmbFacts { seen: ClockCache::new(Self::MOST, hash_key), memory }
    }

    /// Notes a fact, and says whether it is news.
    pub fn is_news(&mut self, host: Address, fact: Fact, now: Timestamp) -> bool {
        let Some(seen) = self.seen.entry(About { host, fact }) else { return false };
        let last = seen.replace(now);
        last.is_none_or(|last| now.since(last) > self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_news_once_within_the_memory_and_each_by_itself() {
        let mut facts = SmbFacts::new(Duration::from_secs(100), HashKey::new(1));
        let host = Address::v4([10, 0, 0, 1]);
        let client = Fact::Dialect { dialect: Dialect::NtLm012, as_server: false };
        let server = Fact::Dialect { dialect: Dialect::NtLm012, as_server: true };
        for fact in [client, server, Fact::Condition(Condition::Unpatched), Fact::Condition(Condition::Implanted)] {
            assert!(facts.is_news(host, fact, Timestamp::from_secs(10)), "{fact:?}");
            assert!(!facts.is_news(host, fact, Timestamp::from_secs(110)), "{fact:?}");
            assert!(facts.is_news(host, fact, Timestamp::from_secs(211)), "{fact:?}");
        }
    }
}
