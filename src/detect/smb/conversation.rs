//! One connection's conversation: where its two readers stand, and what was learnt of it.
//!
//! [`Reading`] is the follower's [`Reader`]: it asks for the session header, then for just as much of each message as
//! identifies it, then for the parts that matter (a path, the DCE/RPC inside a write), and skips the rest. What the
//! protocols say lies in `smb1`, `smb2` and `rpc` beside this file; here is only how to get from one part to the next.

use crate::detect::remote_execution::Operation;
use crate::detect::smb::contexts::Contexts;
use crate::detect::smb::report::{Condition, Feature};
use crate::detect::smb::service::{Service, is_pdu_of};
use crate::detect::smb::transactions::Transactions;
use crate::detect::smb::trees::Trees;
use crate::detect::smb::{eternalblue, smbghost};
use crate::evidence::{Detail, Signal};
use crate::track::follower::{HEAD, Reader, Side, Step};
use crate::wire::Address;
use crate::wire::smb::dialect::{Dialect, Offers, Signing};
use crate::wire::smb::session::{self, Framing, Kind};
use crate::wire::smb::smb1::{self, Exchange};
use crate::wire::smb::transform::Compression;
use crate::wire::smb::{Protocol, smb2, transform};

/// What a message showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indicator {
    /// Exploit-grade.
    Exploit(Signal, Detail),
    /// A connection of EternalBlue's groom.
    Groom,
    /// SMB1: offered without an alternative, or agreed on.
    Smb1(Detail),
    /// A tree connect to an administrative share.
    AdminShare,
    /// A call that makes the server run something.
    Call(&'static Operation),
    /// The server named a port of its own.
    Endpoint(u16),
    /// A DCE/RPC association was opened.
    Associated,
    /// A dialect was agreed on.
    Negotiated(Negotiation),
    /// The connection made use of something.
    Used(Feature),
    /// The server gave its condition away.
    Condition(Condition),
}

/// A negotiation's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Negotiation {
    pub dialect: Dialect,
    pub signing: Signing,
    pub encryption: bool,
    pub compression: bool,
}

/// What the bytes that a reader waits for are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadState {
    /// A session header, or a DCE/RPC header where there is none.
    #[default]
    Frame,
    /// The start of a message, or of a command in an SMB2 chain.
    Start,
    /// The start again, with the first command's block.
    Smb1,
    /// A further block of an AndX chain.
    Chain {
        /// Its command.
        command: u8,
        /// Where it stands in the message.
        at: u16,
        /// The message's exchange.
        exchange: Exchange,
        /// The message's strings are UTF-16.
        unicode: bool,
    },
    /// An SMB2 command again, with its body.
    Smb2,
    /// The path of an SMB2 tree connect.
    Path {
        /// The message id.
        message: u64,
    },
    /// A negotiate context of an SMB2 negotiate response.
    NegotiateContext {
        /// How many follow, this one included.
        contexts: u16,
    },
    /// A DCE/RPC PDU.
    Pdu {
        /// The pipe it came through; 0 over TCP.
        pipe: u64,
    },
    /// A presentation context of a bind.
    Context {
        /// The pipe it came through; 0 over TCP.
        pipe: u64,
        /// How many follow, this one included.
        contexts: u8,
        /// The PDU's byte order.
        little_endian: bool,
    },
    /// Somewhere in an answer of the endpoint mapper.
    Answer {
        /// How many more bytes of it are looked at.
        budget: u16,
    },
}

/// Where one direction's reader stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub state: ReadState,
    /// From here to the message's end.
    pub left: u32,
    /// From here to the next command of an SMB2 chain; 0 where there is none.
    pub next: u32,
    /// From here to the end of the DCE/RPC PDU that is being read.
    pub pdu: u32,
}

/// What was learnt of a connection.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub cursors: [Cursor; 2],
    pub offers: Offers,
    pub transactions: Transactions,
    pub trees: Trees,
    pub contexts: Contexts,
    /// The client's last message, if it was an NT Transact rename.
    pub rename: Option<Exchange>,
    /// Multiplex ids of a probe and of a knock that wait for their answers.
    pub probed: Option<u16>,
    pub knocked: Option<u16>,
    /// The server gave out handle 0.
    pub zero_given_out: bool,
    /// A negotiation's outcome that is still being read.
    pub agreed: Option<Negotiation>,
    /// SMB's dialect is known.
    pub negotiated: bool,
    /// The client has sent a message before.
    pub begun: bool,
    pub encrypted: bool,
    pub compressed: bool,
    /// Exploit-grade signs that wait for the connection to be verified.
    pub waiting: [Option<Indicator>; 3],
}

impl Conversation {
    /// Keeps a sign until the connection is verified; false where it is kept already or there is no room.
    pub fn wait(&mut self, indicator: Indicator) -> bool {
        let same = |kept: &Indicator| match (kept, &indicator) {
            (Indicator::Exploit(one, _), Indicator::Exploit(other, _)) => one == other,
            (one, other) => one == other,
        };
        if self.waiting.iter().flatten().any(same) {
            return false;
        }
        let free = self.waiting.iter_mut().find(|waiting| waiting.is_none());
        free.map(|free| *free = Some(indicator)).is_some()
    }
}

/// A conversation being read.
pub(super) struct Reading<'a> {
    pub service: Service,
    pub server: Address,
    pub conversation: &'a mut Conversation,
    pub found: &'a mut dyn FnMut(&mut Conversation, Indicator),
}

impl Reading<'_> {
    pub fn indicate(&mut self, indicator: Indicator) {
        (self.found)(self.conversation, indicator);
    }

    pub fn cursor(&mut self, side: Side) -> &mut Cursor {
        let [client, server] = &mut self.conversation.cursors;
        if side == Side::Client { client } else { server }
    }

    /// Where a message's framing starts, so many bytes are wanted.
    fn framing(&self) -> u16 {
        match self.service {
            Service::NetBios | Service::Direct => 4,
            Service::Mapper | Service::Rpc => 16,
        }
    }

    /// On to the next message.
    pub fn end(&mut self, side: Side) -> Step {
        let framing = self.framing();
        let cursor = self.cursor(side);
        let skip = cursor.left;
        *cursor = Cursor::default();
        Step::Want { skip, need: framing, left: 0 }
    }

    /// Done with this command: on to the next one of its chain, or to the next message.
    pub fn finish(&mut self, side: Side) -> Step {
        let next = self.cursor(side).next;
        if next == 0 {
            return self.end(side);
        }
        self.cursor(side).next = 0;
        self.go(side, next as usize, smb2::Header::START, ReadState::Start)
    }

    /// On to a part of this message `skip` bytes ahead, of which at most `most` bytes are wanted.
    pub fn go(&mut self, side: Side, skip: usize, most: usize, state: ReadState) -> Step {
        let cursor = self.cursor(side);
        if cursor.next > 0 && skip >= cursor.next as usize {
            return self.finish(side);
        }
        let Some(skip) = u32::try_from(skip).ok().filter(|skip| *skip < cursor.left) else { return self.end(side) };
        cursor.left -= skip;
        cursor.next = cursor.next.saturating_sub(skip);
        cursor.pdu = cursor.pdu.saturating_sub(skip);
        cursor.state = state;
        let need = most.min(HEAD).min(cursor.left as usize);
        Step::Want { skip, need: u16::try_from(need).unwrap_or_default(), left: cursor.left }
    }

    /// More of what was just read, if the message has more; `None` where `have` is all there is, or enough.
    pub fn more(&mut self, side: Side, have: usize, most: usize, state: ReadState) -> Option<Step> {
        let left = self.cursor(side).left as usize;
        (have < most.min(left).min(HEAD)).then(|| self.go(side, 0, most, state))
    }

    fn frame(&mut self, side: Side, bytes: &[u8]) -> Step {
        let framing = match self.service {
            Service::NetBios => Framing::NetBios,
            Service::Direct => Framing::Direct,
            Service::Mapper | Service::Rpc => return self.rpc_frame(side, bytes),
        };
        let Some(header) = session::Header::new_checked(bytes, framing) else { return Step::Lost };
        self.cursor(side).left = session::FRAMING + header.length;
        if header.kind == Kind::Message && header.length > 0 {
            self.go(side, session::HEADER, smb2::Header::START, ReadState::Start)
        } else {
            self.end(side)
        }
    }

    fn start(&mut self, side: Side, bytes: &[u8]) -> Step {
        let first = side == Side::Client && !std::mem::replace(&mut self.conversation.begun, true);
        if let Some(agreed) = self.conversation.agreed.take_if(|_| side == Side::Server) {
            // Its contexts were lost.
            self.indicate(Indicator::Negotiated(agreed));
        }
        match Protocol::of(bytes) {
            Some(Protocol::Smb1) => self.smb1(side, bytes),
            Some(Protocol::Smb2) if smb2::Header::new_checked(bytes).is_some() => self.smb2(side, bytes),
            Some(Protocol::Smb2) => {
                let length = self.cursor(side).left;
                if first && eternalblue::is_groom(length, bytes) {
                    self.indicate(Indicator::Groom);
                }
                self.end(side)
            }
            Some(Protocol::Encrypted) => {
                if !std::mem::replace(&mut self.conversation.encrypted, true) {
                    self.indicate(Indicator::Used(Feature::Encryption));
                }
                self.end(side)
            }
            Some(Protocol::Compressed) => self.compressed(side, bytes),
            None => Step::Lost,
        }
    }

    fn compressed(&mut self, side: Side, bytes: &[u8]) -> Step {
        if let Some(header) = Compression::new_checked(bytes) {
            let length = self.cursor(side).left;
            let exploit = smbghost::impossible(&header, length).filter(|_| side == Side::Client);
            if let Some(detail) = exploit {
                self.indicate(Indicator::Exploit(Signal::SmbGhost, detail));
            } else if !std::mem::replace(&mut self.conversation.compressed, true) {
                self.indicate(Indicator::Used(Feature::Compression));
            }
        }
        self.end(side)
    }
}

impl Reader for Reading<'_> {
    fn read(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.cursor(side).state {
            ReadState::Frame => self.frame(side, bytes),
            ReadState::Start => self.start(side, bytes),
            ReadState::Smb1 => self.smb1(side, bytes),
            ReadState::Chain { command, at, exchange, unicode } => {
                self.smb1_chain(side, bytes, command, at, exchange, unicode)
            }
            ReadState::Smb2 => self.smb2(side, bytes),
            ReadState::Path { message } => self.smb2_path(side, bytes, message),
            ReadState::NegotiateContext { contexts } => self.smb2_negotiated(side, bytes, contexts),
            ReadState::Pdu { pipe } => self.pdu(side, bytes, pipe),
            ReadState::Context { pipe, contexts, little_endian } => {
                self.context(side, bytes, pipe, contexts, little_endian)
            }
            ReadState::Answer { budget } => self.answer(side, bytes, budget),
        }
    }

    fn begin(&mut self, side: Side) -> u16 {
        *self.cursor(side) = Cursor::default();
        self.framing()
    }

    fn resembles(&self, side: Side, start: &[u8]) -> bool {
        let framing = match self.service {
            Service::NetBios => Framing::NetBios,
            Service::Direct => Framing::Direct,
            Service::Mapper | Service::Rpc => return is_pdu_of(side, start),
        };
        let Some(header) = session::Header::new_checked(start, framing) else { return false };
        let message = start.get(session::HEADER..).unwrap_or_default();
        let fits = |least: usize| header.kind == Kind::Message && header.length as usize >= least;
        match Protocol::of(message) {
            Some(Protocol::Smb1) => {
                fits(smb1::HEADER + 3)
                    && smb1::Header::new_checked(message).is_some_and(|it| it.is_reply() == (side == Side::Server))
            }
            Some(Protocol::Smb2) => {
                // Or EternalBlue's groom, which is no message but must be seen.
                smb2::Header::new_checked(message).map_or_else(
                    || side == Side::Client && eternalblue::is_groom(header.length, message),
                    |it| fits(smb2::HEADER) && it.is_response() == (side == Side::Server),
                )
            }
            Some(Protocol::Encrypted) => fits(52),
            Some(Protocol::Compressed) => fits(transform::HEADER) && message.len() >= transform::HEADER,
            None => header.kind == Kind::Request && header.length == 68 && side == Side::Client,
        }
    }
}
