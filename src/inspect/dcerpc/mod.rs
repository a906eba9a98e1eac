//! DCE/RPC over TCP, and inside of SMB's pipes: contexts, calls, and the ports that port 135 names.

pub(in crate::inspect) mod contexts;
pub mod remote_execution;

use crate::inspect::conversation::{Cursor, Indicator, Protocol, ReadState, Reading};
use crate::inspect::dcerpc::remote_execution::{Carrier, Interface, Operation};
use crate::inspect::opening::{Field, Opening, Test, Width};
use crate::track::follower::{HEAD, Side, Step};
use crate::wire::dcerpc::{Context, ENDPOINT_OVERLAP, Header, Kind, endpoints};

/// The endpoint mapper.
pub(super) const MAPPER: u16 = 135;

/// How far an answer of port 135 is looked through for ports. Four towers, or an activation's bindings, lie within it.
const ANSWER: u16 = 2048;

/// DCE/RPC over TCP, on port 135 and on those that it names.
pub(super) static PROTOCOL: Protocol = Protocol {
    ports: &[MAPPER],
    // C706 §12.6.3.1: version 5.0 or 5.1, a packet type, flags, and the data representation, little-endian everywhere but
    // on a few old machines.
    opening: Opening {
        length: 8,
        fields: &[
            Field { at: 4, width: Width::Word, test: Test::OneOf(&[0x0000_0000, 0x1000_0000]) },
            Field { at: 0, width: Width::Half, test: Test::OneOf(&[0x0500, 0x0501]) },
            Field { at: 2, width: Width::Byte, test: Test::AtMost(19) },
        ],
        anywhere: true,
        // Response, fault, bind_ack, bind_nak, alter_context_resp, shutdown.
        servers: Some(Field { at: 2, width: Width::Byte, test: Test::OneOf(&[2, 3, 12, 13, 15, 17]) }),
    },
    framing: 16,
    carrier: Carrier::Tcp,
    sender,
    read: |reading, side, bytes| reading.rpc_frame(side, bytes),
    resembles: |_, side, start| is_pdu_of(side, start),
};

/// By the packet type, where only one side sends it.
fn sender(payload: &[u8]) -> Option<Side> {
    match (is_pdu_of(Side::Client, payload), is_pdu_of(Side::Server, payload)) {
        (true, false) => Some(Side::Client),
        (false, true) => Some(Side::Server),
        _ => None,
    }
}

/// Whether a segment starts with a DCE/RPC PDU that this side may send.
fn is_pdu_of(side: Side, start: &[u8]) -> bool {
    Header::new_checked(start).is_some_and(|header| match side {
        Side::Client => !header.kind().is_servers(),
        Side::Server => !header.kind().is_clients(),
    })
}

impl Reading<'_> {
    /// A PDU's header where DCE/RPC runs over TCP by itself.
    fn rpc_frame(&mut self, side: Side, bytes: &[u8]) -> Step {
        let Some(header) = Header::new_checked(bytes) else { return Step::Lost };
        self.cursor(side).left = header.length().into();
        match (side, header.kind()) {
            (Side::Client, Kind::Request | Kind::Bind | Kind::Alter) => {
                let most = if header.kind() == Kind::Request { Header::REQUEST } else { Header::BIND };
                self.more(side, bytes.len(), most, ReadState::Pdu { pipe: 0 }).unwrap_or_else(|| self.end(side))
            }
            (Side::Server, Kind::Response) if self.port == MAPPER => {
                self.go(side, Header::REQUEST, HEAD, ReadState::Answer { budget: ANSWER })
            }
            _ => self.end(side),
        }
    }

    /// A PDU of a client, with as much as a request or a bind needs.
    pub(in crate::inspect) fn pdu(&mut self, side: Side, bytes: &[u8], pipe: u64) -> Step {
        let Some(header) = Header::new_checked(bytes) else { return self.finish(side) };
        self.cursor(side).pdu = header.length().into();
        match header.kind() {
            Kind::Bind | Kind::Alter => {
                if header.kind() == Kind::Bind {
                    self.conversation.contexts.rebind(pipe);
                    self.indicate(Indicator::Associated);
                }
                let (contexts, little_endian) = (header.contexts(), header.is_little_endian());
                if contexts > 0 && bytes.len() >= Header::BIND {
                    let state = ReadState::Context { pipe, contexts, little_endian };
                    return self.go(side, Header::BIND, Context::LENGTH, state);
                }
            }
            Kind::Request => {
                if let Some((context, opnum)) = header.call()
                    && header.is_first()
                    && let Some(interface) = self.conversation.contexts.interface(pipe, context)
                    && let Some(operation) = Operation::of(interface, opnum)
                {
                    self.indicate(Indicator::Call(operation));
                }
            }
            _ => {}
        }
        self.pdu_end(side, pipe)
    }

    /// Done with a PDU. Over TCP it is the message; a write to a pipe may hold several.
    fn pdu_end(&mut self, side: Side, pipe: u64) -> Step {
        let Cursor { left, pdu, .. } = *self.cursor(side);
        if pipe != 0 && pdu > 0 && left as usize > pdu as usize + Header::REQUEST {
            self.go(side, pdu as usize, Header::BIND, ReadState::Pdu { pipe })
        } else {
            self.finish(side)
        }
    }

    /// One presentation context of a bind.
    pub(in crate::inspect) fn context(
        &mut self,
        side: Side,
        bytes: &[u8],
        pipe: u64,
        contexts: u8,
        little_endian: bool,
    ) -> Step {
        let Some(context) = Context::new_checked(bytes, little_endian) else { return self.finish(side) };
        self.conversation.contexts.name(pipe, context.id, Interface::of(context.interface));
        let within = context.stride < self.cursor(side).pdu;
        if contexts > 1 && within {
            let state = ReadState::Context { pipe, contexts: contexts - 1, little_endian };
            self.go(side, context.stride as usize, Context::LENGTH, state)
        } else {
            self.pdu_end(side, pipe)
        }
    }

    /// A window of an answer on port 135.
    pub(in crate::inspect) fn answer(&mut self, side: Side, bytes: &[u8], budget: u16) -> Step {
        // A hostile answer could name thousands of ports.
        for port in endpoints(bytes).take(8) {
            self.indicate(Indicator::Endpoint(port));
        }
        let on = bytes.len().saturating_sub(ENDPOINT_OVERLAP);
        let left = budget.saturating_sub(u16::try_from(on).unwrap_or(u16::MAX));
        if bytes.len() == HEAD && left > 0 {
            self.go(side, on, HEAD, ReadState::Answer { budget: left })
        } else {
            self.finish(side)
        }
    }
}
