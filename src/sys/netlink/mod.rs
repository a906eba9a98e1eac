//! Netlink: sockets, and the one wire format that nfnetlink and rtnetlink share.
//!
//! Messages are built with [`Outgoing`] and read with [`messages`] and [`Attributes`]. Reading a list is linear in its
//! length.
//!
//! A request is answered by the kernel before `send` returns, so nothing here blocks: an answer that is not there is an
//! error. Not for use by two threads at once.

mod wire;

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::SocketAddr;
use thiserror::Error;

pub use wire::{Attribute, Attributes, Message, Outgoing, messages};
use wire::{HEADER, native_u32};

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`
pub const ACK: u16 = 0x04;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;

const MULTI_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
const TYPE_OVERRUN: u16 = 4;
const ERROR_ATTRIBUTE_TEXT: u16 = 1;
const BUFFER: usize = 64 << 10;
const DUMP_ATTEMPTS: u32 = 8;

/// What went wrong between us and the kernel.
#[derive(Debug, Error)]
pub enum Error {
    /// A system call failed.
    #[error("netlink: {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel refused a request.
    #[error("the kernel refused to {what}: {source}{}", if .detail.is_empty() { String::new() } else { format!(" ({})", .detail) })]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The errno.
        source: std::io::Error,
        /// The kernel's own words, where it gives some.
        detail: String,
    },
    /// The kernel had more to say than the socket could hold; what was lost must be read anew.
    #[error("netlink: notifications were lost (socket buffer overrun)")]
    Overrun,
    /// An answer did not have the expected form.
    #[error("netlink: the kernel's answer to {0} could not be read")]
    Malformed(&'static str),
    /// A list changed each time it was read.
    #[error("netlink: {0} kept changing while it was read; try again")]
    Unsettled(&'static str),
}

impl Error {
    /// The errno of a refusal.
    #[must_use]
    pub fn refused(&self) -> Option<i32> {
        match self {
            Error::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { what, source }
    }
}

/// What a reply socket makes of one message.
#[derive(Debug)]
enum Reply<'a> {
    Data(Message<'a>),
    Done,
    Acknowledged,
    Failed(std::io::Error, String),
    Overrun,
}

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes, neighbours.
    Route,
    /// `NETLINK_NETFILTER`: nftables.
    Netfilter,
}

/// A netlink socket. Non-blocking.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens and binds a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        let protocol = match protocol {
            Protocol::Route => netlink_sys::constants::NETLINK_ROUTE,
            Protocol::Netfilter => netlink_sys::constants::NETLINK_NETFILTER,
        };
        let mut inner = netlink_sys::Socket::new(protocol).map_err(Error::io("opening a socket"))?;
        let address = inner.bind_auto().map_err(Error::io("binding a socket"))?;
        inner.set_non_blocking(true).map_err(Error::io("making a socket non-blocking"))?;
        // Old kernels know neither; both only shape error messages.
        let _ = inner.set_ext_ack(true);
        let _ = inner.set_cap_ack(true);
        Ok(Socket { inner, port: address.port_number(), sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// The socket's port: the kernel marks with it the notifications that this socket's requests cause.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Asks for notifications of a multicast group.
    pub fn join(&mut self, group: u32) -> Result<(), Error> {
        self.inner.add_membership(group).map_err(Error::io("joining a notification group"))
    }

    /// Asks for a larger receive buffer, so that bursts of notifications fit. The kernel may give less.
    pub fn receive_buffer(&mut self, bytes: u32) {
        // Less room means an overrun, which the reader survives.
        let _ = self.inner.set_rx_buf_sz(bytes);
    }

    /// Lets the kernel check what a dump is filtered by, and filter in the kernel.
    pub fn strict(&mut self) -> Result<(), Error> {
        self.inner.set_netlink_get_strict_chk(true).map_err(Error::io("asking for strict dumps"))
    }

    /// The next sequence number.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends what was built.
    pub fn send(&mut self, out: &Outgoing) -> Result<(), Error> {
        self.inner.send_to(out.as_bytes(), &SocketAddr::new(0, 0), 0).map_err(Error::io("sending a request"))?;
        Ok(())
    }

    /// One datagram, or `None` if there is none now.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, Error> {
        self.buffer.clear();
        loop {
            match self.inner.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(Some(&self.buffer)),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Err(Error::Overrun),
                Err(source) => return Err(Error::Io { what: "receiving an answer", source }),
            }
        }
    }

    /// Sends a request whose messages carry the sequence numbers `first..=last`, and waits for the acknowledgement of
    /// `last`; any of them may be refused. Data messages on the way go to `each`.
    pub fn transact(
        &mut self,
        what: &'static str,
        out: &Outgoing,
        first: u32,
        last: u32,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Error> {
        self.drain()?;
        self.send(out)?;
        let mut refusal = None;
        loop {
            let Some(datagram) = self.receive()? else {
                // Of a batch that was refused only the messages at fault are reported.
                return Err(refusal.unwrap_or(Error::Malformed(what)));
            };
            for message in messages(datagram) {
                if message.sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                match reply(message) {
                    Reply::Data(message) => each(message),
                    Reply::Acknowledged if message.sequence == last => return refusal.map_or(Ok(()), Err),
                    Reply::Done | Reply::Acknowledged => {}
                    Reply::Overrun => return Err(Error::Overrun),
                    Reply::Failed(source, detail) => {
                        let at_end = message.sequence == last;
                        refusal.get_or_insert(Error::Refused { what, source, detail });
                        if at_end {
                            return refusal.map_or(Ok(()), Err);
                        }
                    }
                }
            }
        }
    }

    /// Reads a list. `request` writes the request's body; `each` sees every entry and may stop early, after which the
    /// socket is good for nothing more.
    ///
    /// When the list changed under the reading, it is read again from the start after `restart` was called.
    pub fn dump<S>(
        &mut self,
        what: &'static str,
        kind: u16,
        request: impl Fn(&mut Outgoing),
        state: &mut S,
        restart: impl Fn(&mut S),
        mut each: impl FnMut(&mut S, Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for _ in 0..DUMP_ATTEMPTS {
            self.drain()?;
            restart(state);
            let sequence = self.next_sequence();
            let mut out = Outgoing::default();
            out.message(kind, REQUEST | DUMP, sequence, &request);
            self.send(&out)?;
            match self.dump_once(what, sequence, |message| each(state, message))? {
                Settled::Whole => return Ok(()),
                Settled::Changed => {}
            }
        }
        Err(Error::Unsettled(what))
    }

    fn dump_once(
        &mut self,
        what: &'static str,
        sequence: u32,
        mut each: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<Settled, Error> {
        let mut settled = Settled::Whole;
        loop {
            let Some(datagram) = self.receive()? else { return Err(Error::Malformed(what)) };
            for message in messages(datagram) {
                if message.sequence != sequence {
                    continue;
                }
                if message.flags & MULTI_INTERRUPTED != 0 {
                    settled = Settled::Changed;
                }
                match reply(message) {
                    Reply::Data(message) => {
                        if each(message).is_break() {
                            return Ok(Settled::Whole);
                        }
                    }
                    Reply::Done | Reply::Acknowledged => return Ok(settled),
                    Reply::Overrun => return Err(Error::Overrun),
                    Reply::Failed(source, _) if source.raw_os_error() == Some(libc::EINTR) => {
                        return Ok(Settled::Changed);
                    }
                    Reply::Failed(source, detail) => return Err(Error::Refused { what, source, detail }),
                }
            }
        }
    }

    /// Throws away what an earlier request left unread.
    fn drain(&mut self) -> Result<(), Error> {
        loop {
            match self.receive() {
                Ok(Some(_)) | Err(Error::Overrun) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

enum Settled {
    Whole,
    Changed,
}

fn reply(message: Message<'_>) -> Reply<'_> {
    match message.kind {
        TYPE_ERROR => match native_u32(message.body, 0).map(u32::cast_signed) {
            Some(0) => Reply::Acknowledged,
            code => {
                let errno = code.and_then(i32::checked_neg).unwrap_or(libc::EBADMSG);
                Reply::Failed(std::io::Error::from_raw_os_error(errno), error_text(message))
            }
        },
        TYPE_DONE => match native_u32(message.body, 0).map(u32::cast_signed) {
            Some(code) if code < 0 => {
                let errno = code.checked_neg().unwrap_or(libc::EBADMSG);
                Reply::Failed(std::io::Error::from_raw_os_error(errno), String::new())
            }
            _ => Reply::Done,
        },
        TYPE_OVERRUN => Reply::Overrun,
        _ => Reply::Data(message),
    }
}

/// The kernel's words in an error message (`NLMSGERR_ATTR_MSG`), where it gives some.
fn error_text(message: Message<'_>) -> String {
    if message.flags & ACK_ATTRIBUTES == 0 {
        return String::new();
    }
    let request = if message.flags & CAPPED != 0 {
        HEADER
    } else {
        native_u32(message.body, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(HEADER)
    };
    Attributes::after(message.body, 4usize.saturating_add(request))
        .get(ERROR_ATTRIBUTE_TEXT)
        .and_then(|attribute| attribute.text())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_come_with_the_refusal() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let sequence = socket.next_sequence();
        let mut out = Outgoing::default();
        // RTM_GETLINK of an interface that does not exist.
        out.message(18, REQUEST | ACK, sequence, |out| {
            out.raw(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0]);
        });
        let error = socket.transact("ask for a link", &out, sequence, sequence, |_| {}).unwrap_err();
        assert_eq!(error.refused(), Some(libc::ENODEV), "{error}");
        assert!(error.to_string().starts_with("the kernel refused to ask for a link"), "{error}");
    }

    proptest::proptest! {
        /// Every reader passes over what it cannot read; the fuzz target `netlink_reply` continues from here.
        #[test]
        fn no_datagram_is_too_odd(kind: u16, mut body: Vec<u8>, nested: Vec<(u8, Vec<u8>)>) {
            let mut out = Outgoing::default();
            out.message(kind, 0, 1, |out| {
                body.truncate(16);
                out.raw(&body);
                for (kind, value) in &nested {
                    out.nest(u16::from(*kind % 24), |out| out.attribute(1, value));
                }
            });
            for message in messages(out.as_bytes()) {
                let _ = crate::sys::nftables::elements(message.body).count();
                let _ = crate::sys::nftables::notice("firedoor", &message);
                let _ = crate::sys::nftables::listed("firedoor", message.body);
                let _ = crate::sys::route::change(&message);
                let _ = crate::sys::route::routes(message.body);
            }
        }
    }
}
