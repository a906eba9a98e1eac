//! Word of what others do to our table: a flush of the ruleset, a firewalld reload, a deleted chain, set or element.
//!
//! The kernel reports every change with the netlink port that asked for it, so our own are recognised without
//! guessing. A [`Watch`] only says that something happened; [`Firewall::reconcile`](super::Firewall::reconcile) puts
//! it right. Elements that expire, or that packets add, are not reported.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ruleset::TABLE;
use crate::sys::netlink::{Error, Protocol, Socket, messages};
use crate::sys::nftables::{self, Notice};

/// A port is ours for so long after its last use by a process that has ended. Its number may then be another's.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Most things noted of transactions whose end was not reported yet.
const OPEN: usize = 1024;

/// The netlink ports that our own changes come from: the sockets of this process, and the nft processes it started.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    passing: Arc<Mutex<VecDeque<(u32, Instant)>>>,
    lasting: Arc<Mutex<Vec<u32>>>,
}

impl Ports {
    /// A socket of this process.
    pub(super) fn add(&self, port: u32) {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner).push(port);
    }

    /// A process that has ended: nft binds to its own process id.
    pub(super) fn add_process(&self, process: u32) {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while passing.front().is_some_and(|(_, since)| now.duration_since(*since) > REMEMBERED) {
            passing.pop_front();
        }
        passing.push_back((process, now));
    }

    fn are_ours(&self, port: u32) -> bool {
        let lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.contains(&port) || passing.iter().any(|(p, since)| *p == port && since.elapsed() < REMEMBERED)
    }
}

/// What somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The whole table was deleted (a flush of the ruleset deletes it too).
    Table,
    /// A chain.
    Chain(String),
    /// Rules of a chain.
    Rules(String),
    /// A set or map.
    Set(String),
    /// Elements of a set or map.
    Elements(String),
    /// A named counter.
    Counter(String),
    /// Nobody knows: notifications were lost.
    Lost,
}

/// A change of our table that was not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// What was changed.
    pub what: What,
    /// The command that did it (`nft`, `firewalld` …), where the kernel says.
    pub by: Option<String>,
    /// Its process id, where the kernel says.
    pub process: Option<u32>,
}

/// Notices changes of our table by others. Its descriptor is readable when there is something to [`Watch::drain`],
/// our own changes included.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    ours: Ports,
    open: Vec<(u32, What)>,
}

impl Watch {
    pub(super) fn open(ours: Ports) -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Netfilter)?;
        socket.receive_buffer(1 << 20);
        socket.join(nftables::GROUP)?;
        Ok(Watch { socket, ours, open: Vec::new() })
    }

    /// What others changed since the last call; each thing once, whatever was done to it. Waits for nothing.
    ///
    /// # Errors
    /// The socket failed; lost notifications are no error but [`What::Lost`].
    pub fn drain(&mut self) -> Result<Vec<Drift>, Error> {
        let mut found = Vec::new();
        loop {
            let datagram = match self.socket.receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                Err(Error::Overrun) => {
                    self.open.clear();
                    found.push(Drift { what: What::Lost, by: None, process: None });
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages(datagram) {
                let Some(notice) = nftables::notice(TABLE, &message) else { continue };
                if self.ours.are_ours(message.port) {
                    continue;
                }
                match what(notice) {
                    Ok(what) => {
                        // A flush reports everything that goes; once for each thing is enough.
                        let known = self.open.iter().any(|(port, w)| *port == message.port && *w == what);
                        if !known && self.open.len() < OPEN {
                            self.open.push((message.port, what));
                        }
                    }
                    Err((by, process)) => {
                        let port = message.port;
                        let ended = self.open.extract_if(.., |(p, _)| *p == port);
                        found.extend(ended.map(|(_, what)| Drift { what, by: by.clone(), process }));
                    }
                }
            }
        }
        if found.iter().any(|drift| drift.what == What::Table) {
            found.retain(|drift| matches!(drift.what, What::Table | What::Lost));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// What a notice says was changed; an error is the end of a transaction, and who made it.
fn what(notice: Notice) -> Result<What, (Option<String>, Option<u32>)> {
    Ok(match notice {
        Notice::Table { .. } => What::Table,
        Notice::Chain(name) => What::Chain(name),
        Notice::Rule(chain) => What::Rules(chain),
        Notice::Set(name) => What::Set(name),
        Notice::Elements { set, .. } => What::Elements(set),
        Notice::Object(name) => What::Counter(name),
        Notice::Committed { by, process } => return Err((by, process)),
    })
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
