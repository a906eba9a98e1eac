//! What a detector reports to the responder, and the directives it takes in return.

use std::time::Duration;

use crate::detect::counters::Unverified;
use crate::evidence::{Alarm, Attachment, Reached};
use crate::inspect::Condition;
use crate::suspect::{Place, Suspect, Who};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::smb::Dialect;
use crate::wire::{Address, Link, Mac};

/// What a detector reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host deserves a decision.
    Alarm(Box<Alarm>),
    /// A suspect that is acted on still tries new destinations.
    Active {
        /// The suspect.
        suspect: Suspect,
        /// When it tried.
        at: Timestamp,
    },
    /// A card that is acted on has one more address that is shown to be its own.
    Named {
        /// The card.
        suspect: Suspect,
        /// The address.
        address: Address,
        /// When that was seen.
        at: Timestamp,
    },
    /// An address of a card that is acted on belongs to another card now.
    Lost {
        /// The card that had it.
        suspect: Suspect,
        /// The address.
        address: Address,
        /// Whose it is now.
        to: Mac,
        /// When that was seen.
        at: Timestamp,
    },
    /// What was an address by itself has turned out to be a card's.
    Identified {
        /// The address as it was known.
        from: Suspect,
        /// The card.
        to: Suspect,
        /// The address.
        address: Address,
        /// When that was seen.
        at: Timestamp,
    },
    /// An address was seen whose card is not proved: its link should be asked who has it.
    Unproved {
        /// The address.
        address: Address,
        /// To whom it sent.
        peer: Address,
        /// Where its frames come from.
        attachment: Attachment,
    },
    /// A card forwards for others: somebody behind it completed a handshake through it. Or it does not after all: that
    /// somebody was the card itself.
    Forwards {
        /// Where.
        link: Link,
        /// The card.
        card: Mac,
        /// Whether it forwards.
        does: bool,
    },
    /// A host was heard agreeing on an SMB dialect, for the first time within the contact memory.
    SmbNegotiated {
        /// The host.
        host: Address,
        /// As the server; otherwise as the client.
        as_server: bool,
        /// The dialect.
        dialect: Dialect,
        /// The server requires signing.
        signing: bool,
        /// A cipher was agreed on.
        encryption: bool,
    },
    /// The greylist has a first contact wait, or would have.
    Waits {
        /// Who asked.
        source: Address,
        /// Whom.
        destination: Address,
        /// Over what.
        transport: Transport,
        /// On which port.
        port: u16,
        /// When.
        at: Timestamp,
    },
    /// Several first contacts of a suspect wait at once: its second askings are to be held back for a while.
    HoldBack {
        /// Where its first contacts are limited: its card, or its address behind a router.
        place: Place,
        /// For how long.
        time: Duration,
    },
    /// A host answered a client that it has not answered today, on a service that greylists may hold.
    Served {
        /// The server.
        server: Address,
        /// Over what.
        transport: Transport,
        /// On which port.
        port: u16,
        /// The client.
        client: Who,
        /// When.
        at: Timestamp,
    },
    /// A known server refuses several clients.
    Refuses {
        /// The server.
        server: Address,
        /// Over what.
        transport: Transport,
        /// On which port.
        port: u16,
    },
    /// A server's answer gave away a condition that an engineer must mend, for the first time within the contact memory.
    SmbCondition {
        /// The server.
        server: Address,
        /// What its answer shows.
        condition: Condition,
    },
}

/// What a detector is directed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// This suspect is acted on: notice that it still tries, weigh only what is not shut yet.
    Acted {
        /// The suspect.
        suspect: Suspect,
        /// Its addresses, the principal one first.
        addresses: Vec<Address>,
    },
    /// A card on a link has proved that an address is its own (the kernel's neighbour table, an answer seen elsewhere).
    Owns {
        /// The link.
        link: Link,
        /// The card.
        card: Mac,
        /// The address.
        address: Address,
    },
    /// This suspect is no longer acted on; its score starts from zero.
    Released {
        /// The suspect.
        suspect: Suspect,
    },
    /// What was reported of this suspect rests on frames that it did not send, as far as its link knows: it is forgotten.
    Spoofed {
        /// The suspect.
        suspect: Suspect,
        /// Why.
        reason: Unverified,
    },
    /// So many hosts are contained or isolated now (cooperative containment).
    Contained {
        /// How many.
        hosts: u32,
    },
    /// An alarmed host lately reached these (infection chains).
    Exposed {
        /// The alarmed host.
        from: Address,
        /// Whom it reached, on which port.
        reached: Vec<Reached>,
        /// Since when.
        at: Timestamp,
    },
}
