//! What a packet attempts.

use crate::track::{Class, Opening};
use crate::wire::Address;
use crate::wire::frame::Transport;

/// A packet opens something, or asks for somebody.
#[derive(Clone, Copy)]
pub(super) struct ContactAttempt {
    /// Who sent it, as the packet says.
    pub host: Address,
    /// To whom.
    pub peer: Address,
    /// On which port; 0 where there is none.
    pub port: u16,
    /// Which kind of contact.
    pub class: Class,
    /// By which transport.
    pub transport: Transport,
    /// What its answer must acknowledge.
    pub opening: Opening,
    /// The connection was found running: its attempt and the answer were not seen, but the client talks.
    pub running: bool,
}

impl ContactAttempt {
    /// One whose answer proves itself by nothing.
    pub fn new(host: Address, peer: Address, (transport, port): (Transport, u16), class: Class) -> Self {
        ContactAttempt { host, peer, port, class, transport, opening: Opening::default(), running: false }
    }

    /// The same, opened so.
    pub fn opened(self, opening: Opening) -> Self {
        ContactAttempt { opening, ..self }
    }

    /// Whether it goes to a lateral service.
    pub fn is_lateral(self) -> bool {
        matches!(self.class, Class::Lateral | Class::LateralUdp)
    }

    /// Whether it is a connection or a datagram, and so has a port.
    pub fn has_port(self) -> bool {
        matches!(self.transport, Transport::Tcp | Transport::Udp)
    }
}
