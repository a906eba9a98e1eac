//! nftables over nfnetlink: reading what a table holds, and changing set elements in one transaction.
//!
//! Tables of families `inet` and `netdev`. Rules, chains and sets are written by `nft -f -` (see [`crate::firewall`]); elements
//! come and go here, at microseconds each. Numbers on the wire are in network order (`linux/netfilter/nf_tables.h`).
//!
//! Timeouts: an element put without one stays until it is removed. Kernels before 6.12 keep the old timeout when an
//! element is put again, so a changed timeout is a [`Change::Remove`] and a [`Change::Put`] in one call: packets see
//! the one or the other, never neither.

mod list;
mod notice;
mod uapi;

use std::ops::ControlFlow;
use std::time::Duration;

use super::netlink::{ACK, Attributes, CREATE, Error, Outgoing, Protocol, REQUEST, Socket};
pub use list::{Chain, Counter, Element, Set, elements, listed};
use list::{read_chain, read_counter, read_set};
pub use notice::{GROUP, Notice, notice};
use uapi::{GENMSG, INET, NETDEV, SUBSYSTEM, data, element, elements, kind, object, rule, set, verdict};

/// Elements of one message: a nested list must stay under 64 KiB, and an IPv6 verdict element takes about 90 octets.
const ELEMENTS_A_MESSAGE: usize = 500;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FAMILY_UNSPECIFIED: u8 = 0;

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6: an ingress chain of it sees nothing else.
    Inet,
    /// Every frame of an interface.
    Netdev,
}

impl Family {
    const fn code(self) -> u8 {
        match self {
            Family::Inet => INET,
            Family::Netdev => NETDEV,
        }
    }
}

/// One change of a set's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an element; adding one that is there is no error, unless it jumps elsewhere.
    Put {
        /// The family of the table that holds the set; the table's name is that of the connection.
        family: Family,
        /// The set or map.
        set: &'static str,
        /// The key's octets.
        key: Vec<u8>,
        /// The chain that packets jump to, for a verdict map.
        jump: Option<&'static str>,
        /// When it goes by itself; `None` is never.
        timeout: Option<Duration>,
    },
    /// Takes an element out; it must be there.
    Remove {
        /// The family of the table that holds the set.
        family: Family,
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

    fn message(&self) -> (u8, Family, &'static str) {
        match self {
            Change::Put { family, set, .. } => (kind::NEW_ELEMENT, *family, set),
            Change::Remove { family, set, .. } => (kind::DELETE_ELEMENT, *family, set),
        }
    }
}

/// A connection to nftables, for one table.
#[derive(Debug)]
pub struct Table {
    socket: Socket,
    name: &'static str,
    family: Family,
}

impl Table {
    /// Opens a socket; the table need not exist.
    pub fn open(name: &'static str, family: Family) -> Result<Self, Error> {
        Ok(Table { socket: Socket::open(Protocol::Netfilter)?, name, family })
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
            |out| out.text(set::TABLE, name),
            move |attributes| read_set(name, attributes),
        )
    }

    /// The table's named counters; none if there is no such table.
    pub fn counters(&mut self) -> Result<Vec<Counter>, Error> {
        let name = self.name;
        self.list(
            "list counters",
            kind::GET_OBJECT,
            |out| out.text(object::TABLE, name),
            move |attributes| read_counter(name, attributes),
        )
    }

    /// The table's rules, as (chain, octets of the expressions). The octets compare equal for equal rules.
    pub fn rules(&mut self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let name = self.name;
        self.list(
            "list rules",
            kind::GET_RULE,
            |out| out.text(rule::TABLE, name),
            move |attributes| {
                if attributes.get(rule::TABLE)?.text()? != name {
                    return None;
                }
                let chain = attributes.get(rule::CHAIN)?.text()?.to_owned();
                Some((chain, attributes.get(rule::EXPRESSIONS)?.value.to_vec()))
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
        let family = self.family.code();
        let request = |out: &mut Outgoing| {
            out.raw(&[family, 0, 0, 0]);
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

    /// Reads a set's elements into a list, at most `most` of them; the flag says whether that was all.
    /// No elements if there is no such set.
    pub fn elements<T>(
        &mut self,
        set: &str,
        most: usize,
        read: impl Fn(Element<'_>) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Error> {
        let (name, family) = (self.name, self.family.code());
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
            out.raw(&[family, 0, 0, 0]);
            out.text(elements::TABLE, name);
            out.text(elements::SET, set);
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
            out.raw(&[self.family.code(), 0, 0, 0]);
            out.text(elements::TABLE, self.name);
            out.text(elements::SET, set);
            out.nest(elements::ELEMENTS, |out| {
                out.nest(elements::ITEM, |out| out.nest(element::KEY, |out| out.attribute(data::VALUE, key)));
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
            let Some((message, family, _)) = group.first().map(Change::message) else { return };
            out.message(SUBSYSTEM | u16::from(message), flags | CREATE, sequence, |out| {
                out.raw(&[family.code(), 0, 0, 0]);
                out.text(elements::TABLE, table);
                out.text(elements::SET, group.first().map_or("", Change::set));
                out.nest(elements::ELEMENTS, |out| {
                    for change in *group {
                        out.nest(elements::ITEM, |out| write_element(out, change));
                    }
                });
            });
        })
    }

    /// Deletes the table and all it holds; `false` if there was none.
    pub fn delete(&mut self) -> Result<bool, Error> {
        let family = self.family.code();
        let result = self.batch("delete the table", 1, |table, _, sequence, flags, out| {
            out.message(SUBSYSTEM | u16::from(kind::DELETE_TABLE), flags, sequence, |out| {
                out.raw(&[family, 0, 0, 0]);
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
            out.nest(element::KEY, |out| out.attribute(data::VALUE, key));
            if let Some(chain) = jump {
                out.nest(element::DATA, |out| {
                    out.nest(data::VERDICT, |out| {
                        out.be32(verdict::CODE, verdict::JUMP);
                        out.text(verdict::CHAIN, chain);
                    });
                });
            }
            if let Some(timeout) = timeout {
                // The kernel takes 0 for "the set's default", which is never.
                let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
                out.be64(element::TIMEOUT, millis);
            }
        }
        Change::Remove { key, .. } => out.nest(element::KEY, |out| out.attribute(data::VALUE, key)),
    }
}
