//! One connection's conversation: its protocol, where its two readers stand, and what was learnt of it.
//!
//! [`Reading`] is the follower's [`Reader`]: it asks for the session header, then for just as much of each message as
//! identifies it, then for the parts that matter (a path, the DCE/RPC inside a write), and skips the rest. What the
//! protocols say lies in `smb1`, `smb2` and `rpc` beside this file; here is only how to get from one part to the next.

use crate::evidence::{Detail, Signal};
use crate::inspect::dcerpc::contexts::Contexts;
use crate::inspect::dcerpc::remote_execution::{Carrier, Operation};
use crate::inspect::opening::Opening;
use crate::inspect::report::{Condition, Feature};
use crate::inspect::smb::transactions::Transactions;
use crate::inspect::smb::trees::Trees;
use crate::track::follower::{HEAD, Reader, Side, Step};
use crate::wire::Address;
use crate::wire::smb::dialect::{Dialect, Offers, Signing};
use crate::wire::smb::smb1::Exchange;
use crate::wire::smb::smb2;

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

/// A protocol that is looked into: all that the inspection, and the capture before it, must know of it.
#[derive(Debug)]
pub(super) struct Protocol {
    /// Its well-known TCP ports.
    pub ports: &'static [u16],
    /// How its messages begin.
    pub opening: Opening,
    /// How many bytes of a message show how long it is.
    pub framing: u16,
    /// How DCE/RPC calls are carried.
    pub carrier: Carrier,
    /// Who sends a payload that begins so, if that shows.
    pub sender: fn(&[u8]) -> Option<Side>,
    /// Reads a message's framing.
    pub read: fn(&mut Reading<'_>, Side, &[u8]) -> Step,
    /// Whether a segment that starts so may be the start of a message.
    pub resembles: fn(&Reading<'_>, Side, &[u8]) -> bool,
}

/// A conversation being read.
pub(super) struct Reading<'a> {
    pub protocol: &'static Protocol,
    pub server: Address,
    pub port: u16,
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

    /// On to the next message.
    pub fn end(&mut self, side: Side) -> Step {
        let framing = self.protocol.framing;
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
}

impl Reader for Reading<'_> {
    fn read(&mut self, side: Side, bytes: &[u8]) -> Step {
        match self.cursor(side).state {
            ReadState::Frame => (self.protocol.read)(self, side, bytes),
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
        self.protocol.framing
    }

    fn resembles(&self, side: Side, start: &[u8]) -> bool {
        (self.protocol.resembles)(self, side, start)
    }
}
