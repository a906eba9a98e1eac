//! What the kernel reports of changes to a table.

use super::super::netlink::{Attributes, Message};
use super::uapi::{GENMSG, INET, NETDEV, SUBSYSTEM, chain, elements, generation, kind, object, rule, set};

/// The notification group of rulesets (`NFNLGRP_NFTABLES`).
pub const GROUP: u32 = 7;

/// A notification, as far as it concerns one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The table itself came or went.
    Table {
        /// It is gone.
        gone: bool,
    },
    /// A chain was made, changed or deleted.
    Chain(String),
    /// A rule was made or deleted in this chain.
    Rule(String),
    /// A set was made, changed or deleted.
    Set(String),
    /// Elements of this set were put or removed.
    Elements {
        /// The set.
        set: String,
        /// Removed, not put.
        gone: bool,
    },
    /// A named counter was made or deleted.
    Object(String),
    /// A transaction of any table ended: the notices before it, from the same port, were its doing.
    Committed {
        /// The command's name, where the kernel says.
        by: Option<String>,
        /// Its process id, where the kernel says.
        process: Option<u32>,
    },
}

/// Reads a notification; `None` if it concerns other tables, or nothing known. The sender's port is in the message.
#[must_use]
pub fn notice(table: &str, message: &Message<'_>) -> Option<Notice> {
    if message.kind & 0xff00 != SUBSYSTEM {
        return None;
    }
    let attributes = Attributes::after(message.body, GENMSG);
    let [kind, _] = message.kind.to_le_bytes();
    if kind == kind::NEW_GENERATION {
        let by = attributes.get(generation::BY_NAME).and_then(|a| a.text()).map(str::to_owned);
        let process = attributes.get(generation::BY_PROCESS).and_then(|a| a.be32());
        return Some(Notice::Committed { by, process });
    }
    if !matches!(message.body.first(), Some(&INET | &NETDEV)) || attributes.get(1)?.text()? != table {
        return None;
    }
    let name = |at: u16| attributes.get(at).and_then(|a| a.text()).unwrap_or_default().to_owned();
    Some(match kind {
        kind::NEW_TABLE => Notice::Table { gone: false },
        kind::DELETE_TABLE => Notice::Table { gone: true },
        kind::NEW_CHAIN | kind::DELETE_CHAIN => Notice::Chain(name(chain::NAME)),
        kind::NEW_RULE | kind::DELETE_RULE => Notice::Rule(name(rule::CHAIN)),
        kind::NEW_SET | kind::DELETE_SET => Notice::Set(name(set::NAME)),
        kind::NEW_ELEMENT => Notice::Elements { set: name(elements::SET), gone: false },
        kind::DELETE_ELEMENT => Notice::Elements { set: name(elements::SET), gone: true },
        kind::NEW_OBJECT | kind::DELETE_OBJECT => Notice::Object(name(object::NAME)),
        _ => return None,
    })
}
