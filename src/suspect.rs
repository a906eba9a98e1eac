//! Whom evidence is about, and where the kernel can act on it.
//!
//! A host that changes its address is the same host; an address that two devices use is two. So what is scored, limited,
//! blocked and remembered is the [`Suspect`]: on a link where the link layer shows who sends, the card; behind a router,
//! the address on that link (for IPv6 also its /64, at a wider threshold). The kernel acts on [`Place`]s: a suspect has
//! one for its card and one for each address that is shown to be its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::{Address, Link, Mac};

/// What names a suspect on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A card, whatever addresses it uses.
    Card(Mac),
    /// An address behind a router.
    Address(Address),
    /// The /64 around an IPv6 address behind a router; the low 64 bits are zero.
    Network(Address),
}

impl Default for Who {
    fn default() -> Self {
        Who::Address(Address::default())
    }
}

impl Who {
    /// As the history keeps it: a card, an address, or a /64.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Who::Card(card) => card.to_string(),
            Who::Address(address) => address.to_string(),
            Who::Network(network) => format!("{network}/64"),
        }
    }

    /// Reads what [`Who::text`] writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(card) = text.parse() {
            return Some(Who::Card(card));
        }
        match text.strip_suffix("/64") {
            Some(network) => network.parse().ok().map(Who::Network),
            None => text.parse().ok().map(Who::Address),
        }
    }
}

/// A suspect as the history keeps it: its link by name (`-` where that is not known), a space, then who it is there. Indices
/// of interfaces do not outlive a boot, names do.
#[must_use]
pub fn key(link: &str, who: Who) -> String {
    format!("{} {}", if link.is_empty() { "-" } else { link }, who.text())
}

/// Reads what [`key`] writes: the link's name (empty where it is not known), and who.
#[must_use]
pub fn read_key(key: &str) -> Option<(String, Who)> {
    let (link, who) = key.split_once(' ')?;
    Some((if link == "-" { String::new() } else { link.to_owned() }, Who::read(who)?))
}

/// Whom evidence is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suspect {
    /// Where it is.
    pub link: Link,
    /// Who it is there.
    pub who: Who,
}

impl Suspect {
    /// A card on a link.
    #[must_use]
    pub const fn card(link: Link, card: Mac) -> Self {
        Suspect { link, who: Who::Card(card) }
    }

    /// An address behind a router.
    #[must_use]
    pub const fn address(link: Link, address: Address) -> Self {
        Suspect { link, who: Who::Address(address) }
    }
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Card(card) => write!(f, "{card} on {}", self.link),
            Who::Address(address) => write!(f, "{address} on {}", self.link),
            Who::Network(network) => write!(f, "{network}/64 on {}", self.link),
        }
    }
}

/// What the kernel can match of a suspect's packets: the unit of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// On which link; interface 0 is every protected interface, whatever its tags (an order by hand about an address that
    /// was never seen).
    pub link: Link,
    /// Which source there.
    pub source: Who,
}

impl Place {
    /// An address on a link.
    #[must_use]
    pub const fn address(link: Link, address: Address) -> Self {
        Place { link, source: Who::Address(address) }
    }

    /// An address wherever it is.
    #[must_use]
    pub const fn anywhere(address: Address) -> Self {
        Place { link: Link { interface: 0, outer: 0, inner: 0 }, source: Who::Address(address) }
    }

    /// A card on a link.
    #[must_use]
    pub const fn card(link: Link, card: Mac) -> Self {
        Place { link, source: Who::Card(card) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_history_keeps_reads_back() {
        let whos = [
            Who::Card(Mac([2, 0, 0, 0, 0, 9])),
            Who::Address(Address::v4([10, 1, 2, 3])),
            Who::Address("fd00::1".parse().unwrap()),
            Who::Network("fd00:1:2:3::".parse().unwrap()),
        ];
        for who in whos {
            for link in ["", "eth1.20"] {
                assert_eq!(read_key(&key(link, who)), Some((link.to_owned(), who)));
            }
        }
        assert_eq!(read_key("eth1 nonsense"), None);
        assert_eq!(read_key(""), None);
    }
}
