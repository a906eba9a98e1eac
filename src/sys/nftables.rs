//! nftables over nfnetlink: reading what a table holds, and changing set elements in one transaction.
//!
//! Only tables of family `inet`. Rules, chains and sets are written by `nft -f -` (see [`crate::firewall`]); elements
//! come and go here, at microseconds each. Numbers on the wire are in network order (`linux/netfilter/nf_tables.h`).
//!
//! Timeouts: an element put without one stays until it is removed. Kernels before 6.12 keep the old timeout when an
//! element is put again, so a changed timeout is a [`Change::Remove`] and a [`Change::Put`] in one call: packets see
//! the one or the other, never neither.

use std::ops::ControlFlow;
use std::time::Duration;

use super::netlink::{ACK, Attribute, Attributes, CREATE, Error, Message, Outgoing, Protocol, REQUEST, Socket};

/// The notification group of rulesets (`NFNLGRP_NFTABLES`).
pub const GROUP: u32 = 7;

const SUBSYSTEM: u16 = 10 << 8;
const INET: u8 = 1;
const GENMSG: usize = 4;
/// Elements of one message: a nested list must stay under 64 KiB, and an IPv6 verdict element takes about 90 octets.
const ELEMENTS_A_MESSAGE: usize = 500;

/// nfnetlink message types, without the subsystem.
pub mod kind {
    /// `NFT_MSG_NEWTABLE`
    pub const NEW_TABLE: u8 = 0;
    /// `NFT_MSG_DELTABLE`
    pub const DELETE_TABLE: u8 = 2;
    /// `NFT_MSG_NEWCHAIN`
    pub const NEW_CHAIN: u8 = 3;
    /// `NFT_MSG_GETCHAIN`
    pub const GET_CHAIN: u8 = 4;
    /// `NFT_MSG_DELCHAIN`
    pub const DELETE_CHAIN: u8 = 5;
    /// `NFT_MSG_NEWRULE`
    pub const NEW_RULE: u8 = 6;
    /// `NFT_MSG_GETRULE`
    pub const GET_RULE: u8 = 7;
    /// `NFT_MSG_DELRULE`
    pub const DELETE_RULE: u8 = 8;
    /// `NFT_MSG_NEWSET`
    pub const NEW_SET: u8 = 9;
    /// `NFT_MSG_GETSET`
    pub const GET_SET: u8 = 10;
    /// `NFT_MSG_DELSET`
    pub const DELETE_SET: u8 = 11;
    /// `NFT_MSG_NEWSETELEM`
    pub const NEW_ELEMENT: u8 = 12;
    /// `NFT_MSG_GETSETELEM`
    pub const GET_ELEMENT: u8 = 13;
    /// `NFT_MSG_DELSETELEM`
    pub const DELETE_ELEMENT: u8 = 14;
    /// `NFT_MSG_NEWGEN`
    pub const NEW_GENERATION: u8 = 15;
    /// `NFT_MSG_NEWOBJ`
    pub const NEW_OBJECT: u8 = 18;
    /// `NFT_MSG_GETOBJ`
    pub const GET_OBJECT: u8 = 19;
    /// `NFT_MSG_DELOBJ`
    pub const DELETE_OBJECT: u8 = 20;
}

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FAMILY_UNSPECIFIED: u8 = 0;
const JUMP: u32 = (-3i32).cast_unsigned();

/// A chain as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its comment, if it has one.
    pub comment: Option<String>,
    /// The interfaces it is hooked at, for an ingress chain.
    pub devices: Vec<String>,
}

/// A set or map as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Most elements it may hold; 0 is no bound.
    pub size: u32,
    /// Elements in it now; `None` on kernels (before 6.16) that do not say.
    pub count: Option<u32>,
    /// An anonymous set, part of a rule.
    pub anonymous: bool,
    /// A map, not a set: nft has its own word for it.
    pub map: bool,
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// Packets counted.
    pub packets: u64,
    /// Octets counted.
    pub bytes: u64,
}

/// An element as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The key's octets.
    pub key: &'a [u8],
    /// The chain its verdict jumps to, in a verdict map.
    pub jump: Option<&'a str>,
    /// When it goes by itself; `None` is never.
    pub expires_in: Option<Duration>,
    /// It closes an interval.
    pub interval_end: bool,
    /// Packets that its own counter counted, where the set's elements count.
    pub packets: Option<u64>,
}

/// One change of a set's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an element; adding one that is there is no error, unless it jumps elsewhere.
    Put {
        /// The set or map.
        set: &'static str,
        /// The key's octets.
        key: Vec<u8>,
        /// The chain to jump to, for a verdict map.
        jump: Option<&'static str>,
        /// When it goes by itself; `None` is never.
        timeout: Option<Duration>,
    },
    /// Takes an element out; it must be there.
    Remove {
        /// The set or map.
        set: &'static str,
        /// The key's octets.
        key: Vec<u8>,
    },
}

impl Change {
    fn set(&self) -> &'static str {
        match self {
            Change::Put { set, .. } | Change::Remove { set, .. } => set,
        }
    }

    fn message(&self) -> (u8, &'static str) {
        match self {
            Change::Put { set, .. } => (kind::NEW_ELEMENT, set),
            Change::Remove { set, .. } => (kind::DELETE_ELEMENT, set),
        }
    }
}

/// A connection to nftables, for one table.
#[derive(Debug)]
pub struct Table {
    socket: Socket,
    name: &'static str,
}

impl Table {
    /// Opens a socket; the table need not exist.
    pub fn open(name: &'static str) -> Result<Self, Error> {
        Ok(Table { socket: Socket::open(Protocol::Netfilter)?, name })
    }

    /// The port that marks this connection's changes in notifications.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The table's chains; none if there is no such table.
    pub fn chains(&mut self) -> Result<Vec<Chain>, Error> {
        let name = self.name;
        self.list("list chains", kind::GET_CHAIN, |_| {}, move |attributes| read_chain(name, attributes))
    }

    /// The table's sets and maps; none if there is no such table.
    pub fn sets(&mut self) -> Result<Vec<Set>, Error> {
        let name = self.name;
        self.list(
            "list sets",
            kind::GET_SET,
            |out| out.text(SET_TABLE, name),
            move |attributes| read_set(name, attributes),
        )
    }

    /// The table's named counters; none if there is no such table.
    pub fn counters(&mut self) -> Result<Vec<Counter>, Error> {
        let name = self.name;
        self.list(
            "list counters",
            kind::GET_OBJECT,
            |out| out.text(OBJECT_TABLE, name),
            move |attributes| read_counter(name, attributes),
        )
    }

    /// The table's rules, as (chain, octets of the expressions). The octets compare equal for equal rules.
    pub fn rules(&mut self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let name = self.name;
        self.list(
            "list rules",
            kind::GET_RULE,
            |out| out.text(RULE_TABLE, name),
            move |attributes| {
                if attributes.get(RULE_TABLE)?.text()? != name {
                    return None;
                }
                let chain = attributes.get(RULE_CHAIN)?.text()?.to_owned();
                Some((chain, attributes.get(RULE_EXPRESSIONS)?.value.to_vec()))
            },
        )
    }

    fn list<T>(
        &mut self,
        what: &'static str,
        get: u8,
        filter: impl Fn(&mut Outgoing),
        read: impl Fn(&Attributes<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        let request = |out: &mut Outgoing| {
            out.raw(&[INET, 0, 0, 0]);
            filter(out);
        };
        let result = self.socket.dump(what, SUBSYSTEM | u16::from(get), request, &mut found, Vec::clear, |found, m| {
            found.extend(read(&Attributes::after(m.body, GENMSG)));
            ControlFlow::Continue(())
        });
        match result {
            Err(error) if error.refused() == Some(libc::ENOENT) => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    /// Reads a set's elements into a list, at most `most` of them; the flag tells whether that was all.
    /// No elements if there is no such set.
    pub fn elements<T>(
        &mut self,
        set: &str,
        most: usize,
        read: impl Fn(Element<'_>) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Error> {
        let name = self.name;
        let mut state = (Vec::new(), true);
        // A list stopped early leaves its rest in the socket, so such a list gets a socket of its own.
        let mut own;
        let socket = if most == usize::MAX {
            &mut self.socket
        } else {
            own = Socket::open(Protocol::Netfilter)?;
            &mut own
        };
        let request = |out: &mut Outgoing| {
            out.raw(&[INET, 0, 0, 0]);
            out.text(LIST_TABLE, name);
            out.text(LIST_SET, set);
        };
        let result = socket.dump(
            "list elements",
            SUBSYSTEM | u16::from(kind::GET_ELEMENT),
            request,
            &mut state,
            |state| *state = (Vec::new(), true),
            |(found, whole), message| {
                for element in elements(message.body) {
                    if found.len() >= most {
                        *whole = false;
                        return ControlFlow::Break(());
                    }
                    found.extend(read(element));
                }
                ControlFlow::Continue(())
            },
        );
        match result {
            Err(error) if error.refused() == Some(libc::ENOENT) => Ok((Vec::new(), true)),
            Err(error) => Err(error),
            Ok(()) => Ok(state),
        }
    }

    /// Looks one element up.
    pub fn element<T>(
        &mut self,
        set: &str,
        key: &[u8],
        read: impl Fn(Element<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let sequence = self.socket.next_sequence();
        let mut out = Outgoing::default();
        out.message(SUBSYSTEM | u16::from(kind::GET_ELEMENT), REQUEST | ACK, sequence, |out| {
            out.raw(&[INET, 0, 0, 0]);
            out.text(LIST_TABLE, self.name);
            out.text(LIST_SET, set);
            out.nest(LIST_ELEMENTS, |out| {
                out.nest(LIST_ITEM, |out| out.nest(ELEMENT_KEY, |out| out.attribute(DATA_VALUE, key)));
            });
        });
        let mut found = None;
        let result = self.socket.transact("look an element up", &out, sequence, sequence, |message| {
            found = elements(message.body).find_map(&read);
        });
        match result {
            Err(error) if error.refused() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    /// Carries changes out, in order, as one transaction: all or nothing, and no packet sees it half done. Elements that
    /// go into or out of one set in a row share a message. About two thousand changes fit a default send buffer.
    pub fn change(&mut self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let groups: Vec<&[Change]> = changes
            .chunk_by(|a, b| a.message() == b.message())
            .flat_map(|group| group.chunks(ELEMENTS_A_MESSAGE))
            .collect();
        self.batch("change elements", groups.len(), |table, index, sequence, flags, out| {
            let Some(group) = groups.get(index) else { return };
            let Some((message, _)) = group.first().map(Change::message) else { return };
            out.message(SUBSYSTEM | u16::from(message), flags | CREATE, sequence, |out| {
                out.raw(&[INET, 0, 0, 0]);
                out.text(LIST_TABLE, table);
                out.text(LIST_SET, group.first().map_or("", Change::set));
                out.nest(LIST_ELEMENTS, |out| {
                    for change in *group {
                        out.nest(LIST_ITEM, |out| write_element(out, change));
                    }
                });
            });
        })
    }

    /// Deletes the table and all it holds; `false` if there was none.
    pub fn delete(&mut self) -> Result<bool, Error> {
        let result = self.batch("delete the table", 1, |table, _, sequence, flags, out| {
            out.message(SUBSYSTEM | u16::from(kind::DELETE_TABLE), flags, sequence, |out| {
                out.raw(&[INET, 0, 0, 0]);
                out.text(1, table);
            });
        });
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.refused() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn batch(
        &mut self,
        what: &'static str,
        messages: usize,
        write: impl Fn(&str, usize, u32, u16, &mut Outgoing),
    ) -> Result<(), Error> {
        let bracket = |out: &mut Outgoing| out.raw(&[FAMILY_UNSPECIFIED, 0, 0, 10]);
        let mut out = Outgoing::default();
        let first = self.socket.next_sequence();
        out.message(BATCH_BEGIN, REQUEST, first, bracket);
        let mut last = first;
        for index in 0..messages {
            last = self.socket.next_sequence();
            let flags = if index + 1 == messages { REQUEST | ACK } else { REQUEST };
            write(self.name, index, last, flags, &mut out);
        }
        out.message(BATCH_END, REQUEST, self.socket.next_sequence(), bracket);
        self.socket.transact(what, &out, first, last, |_| {})
    }
}

fn write_element(out: &mut Outgoing, change: &Change) {
    match change {
        Change::Put { key, jump, timeout, .. } => {
            out.nest(ELEMENT_KEY, |out| out.attribute(DATA_VALUE, key));
            if let Some(chain) = jump {
                out.nest(ELEMENT_DATA, |out| {
                    out.nest(DATA_VERDICT, |out| {
                        out.be32(VERDICT_CODE, JUMP);
                        out.text(VERDICT_CHAIN, chain);
                    });
                });
            }
            if let Some(timeout) = timeout {
                // The kernel takes 0 for "the set's default", which is never.
                let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
                out.be64(ELEMENT_TIMEOUT, millis);
            }
        }
        Change::Remove { key, .. } => out.nest(ELEMENT_KEY, |out| out.attribute(DATA_VALUE, key)),
    }
}

/// The elements that one message carries, whichever set they belong to.
pub fn elements(body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    Attributes::after(body, GENMSG)
        .get(LIST_ELEMENTS)
        .map(|list| list.nested())
        .into_iter()
        .flatten()
        .filter(|item| item.kind == LIST_ITEM)
        .filter_map(|item| read_element(&item.nested()))
}

fn read_element<'a>(attributes: &Attributes<'a>) -> Option<Element<'a>> {
    let value = |a: Attribute<'_>| a.be64();
    let millis = attributes.get(ELEMENT_EXPIRATION).and_then(value);
    let verdict = attributes.get(ELEMENT_DATA).and_then(|data| data.nested().get(DATA_VERDICT));
    Some(Element {
        key: attributes.get(ELEMENT_KEY)?.nested().get(DATA_VALUE)?.value,
        jump: verdict.and_then(|verdict| verdict.nested().get(VERDICT_CHAIN)).and_then(|chain| chain.text()),
        expires_in: millis.map(Duration::from_millis),
        interval_end: attributes.get(ELEMENT_FLAGS).and_then(|a| a.be32()).is_some_and(|flags| flags & 1 != 0),
        packets: attributes
            .get(ELEMENT_EXPRESSION)
            .filter(|expression| expression.nested().get(EXPRESSION_NAME).and_then(|a| a.text()) == Some("counter"))
            .and_then(|expression| expression.nested().get(EXPRESSION_DATA))
            .and_then(|data| data.nested().get(COUNTER_PACKETS))
            .and_then(|packets| packets.be64()),
    })
}

fn read_chain(table: &str, attributes: &Attributes<'_>) -> Option<Chain> {
    if attributes.get(CHAIN_TABLE)?.text()? != table {
        return None;
    }
    let hook = attributes.get(CHAIN_HOOK).map(|hook| hook.nested());
    let mut devices: Vec<String> = hook
        .as_ref()
        .and_then(|hook| hook.get(HOOK_DEVICES))
        .map(|list| list.nested().filter_map(|device| device.text().map(str::to_owned)).collect())
        .unwrap_or_default();
    if devices.is_empty()
        && let Some(device) = hook.as_ref().and_then(|hook| hook.get(HOOK_DEVICE)).and_then(|device| device.text())
    {
        devices.push(device.to_owned());
    }
    Some(Chain {
        name: attributes.get(CHAIN_NAME)?.text()?.to_owned(),
        comment: attributes.get(CHAIN_USERDATA).and_then(|data| comment(data.value)),
        devices,
    })
}

/// libnftnl's user data: (type, length, value); type 0 is the comment.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
        data = rest.get(usize::from(*length)..)?;
    }
    None
}

fn read_set(table: &str, attributes: &Attributes<'_>) -> Option<Set> {
    if attributes.get(SET_TABLE)?.text()? != table {
        return None;
    }
    let description = attributes.get(SET_DESCRIPTION).map(|d| d.nested());
    let flags = attributes.get(SET_FLAGS).and_then(|a| a.be32()).unwrap_or(0);
    let size = description.and_then(|d| d.get(DESCRIPTION_SIZE)).and_then(|a| a.be32());
    Some(Set {
        name: attributes.get(SET_NAME)?.text()?.to_owned(),
        size: size.unwrap_or(0),
        count: attributes.get(SET_COUNT).and_then(|a| a.be32()),
        anonymous: flags & SET_ANONYMOUS != 0,
        map: flags & SET_MAP != 0,
    })
}

fn read_counter(table: &str, attributes: &Attributes<'_>) -> Option<Counter> {
    if attributes.get(OBJECT_TABLE)?.text()? != table || attributes.get(OBJECT_TYPE)?.be32()? != OBJECT_IS_COUNTER {
        return None;
    }
    let data = attributes.get(OBJECT_DATA)?.nested();
    Some(Counter {
        name: attributes.get(OBJECT_NAME)?.text()?.to_owned(),
        packets: data.get(COUNTER_PACKETS)?.be64()?,
        bytes: data.get(COUNTER_BYTES)?.be64()?,
    })
}

/// What a list's message tells of a table's chains, sets and counters; for tests of the reader.
#[must_use]
pub fn listed(table: &str, body: &[u8]) -> (Option<Chain>, Option<Set>, Option<Counter>) {
    let attributes = Attributes::after(body, GENMSG);
    (read_chain(table, &attributes), read_set(table, &attributes), read_counter(table, &attributes))
}

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
        let by = attributes.get(GENERATION_BY_NAME).and_then(|a| a.text()).map(str::to_owned);
        return Some(Notice::Committed { by });
    }
    if message.body.first() != Some(&INET) || attributes.get(1)?.text()? != table {
        return None;
    }
    let name = |at: u16| attributes.get(at).and_then(|a| a.text()).unwrap_or_default().to_owned();
    Some(match kind {
        kind::NEW_TABLE => Notice::Table { gone: false },
        kind::DELETE_TABLE => Notice::Table { gone: true },
        kind::NEW_CHAIN | kind::DELETE_CHAIN => Notice::Chain(name(CHAIN_NAME)),
        kind::NEW_RULE | kind::DELETE_RULE => Notice::Rule(name(RULE_CHAIN)),
        kind::NEW_SET | kind::DELETE_SET => Notice::Set(name(SET_NAME)),
        kind::NEW_ELEMENT => Notice::Elements { set: name(LIST_SET), gone: false },
        kind::DELETE_ELEMENT => Notice::Elements { set: name(LIST_SET), gone: true },
        kind::NEW_OBJECT | kind::DELETE_OBJECT => Notice::Object(name(OBJECT_NAME)),
        _ => return None,
    })
}

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_USERDATA: u16 = 12;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_ANONYMOUS: u32 = 1;
const SET_MAP: u32 = 8;
const SET_DESCRIPTION: u16 = 9;
const SET_COUNT: u16 = 20;
const DESCRIPTION_SIZE: u16 = 1;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ITEM: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_EXPRESSION: u16 = 7;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const OBJECT_IS_COUNTER: u32 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const GENERATION_BY_NAME: u16 = 3;
