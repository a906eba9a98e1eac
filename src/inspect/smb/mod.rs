//! SMB over TCP and over NetBIOS sessions: its row in the table of protocols, and how its messages are recognised.
//!
//! What SMB1 and SMB2 say lies in `smb1` and `smb2`; each exploit has a file.

mod doublepulsar;
pub(in crate::inspect) mod eternalblue;
mod eternalchampion;
mod eternalromance;
mod ms17010_probe;
mod smb1;
mod smb2;
mod smbghost;
pub(in crate::inspect) mod transactions;
pub(in crate::inspect) mod trees;
mod wannacry_tree;

use crate::evidence::Signal;
use crate::inspect::conversation::{Indicator, Protocol, ReadState, Reading};
use crate::inspect::dcerpc::remote_execution::Carrier;
use crate::inspect::opening::{Field, Opening, Test, Width};
use crate::inspect::report::Feature;
use crate::track::follower::{Side, Step};
use crate::wire::smb::session::{self, Framing, Kind};
use crate::wire::smb::transform::{self, Compression};
use crate::wire::smb::{Protocol as Version, smb1 as v1, smb2 as v2};

/// SMB over a NetBIOS session (RFC 1001).
const NETBIOS: u16 = 139;
/// SMB over TCP.
const DIRECT: u16 = 445;

/// SMB.
pub(super) static PROTOCOL: Protocol = Protocol {
    ports: &[NETBIOS, DIRECT],
    opening: Opening {
        length: 8,
        // Behind four bytes of NetBIOS or direct TCP header: compressed, encrypted, SMB2, SMB1.
        fields: &[Field {
            at: 4,
            width: Width::Word,
            test: Test::OneOf(&[0xfc53_4d42, 0xfd53_4d42, 0xfe53_4d42, 0xff53_4d42]),
        }],
        anywhere: false,
        servers: None,
    },
    framing: 4,
    carrier: Carrier::Pipe,
    sender,
    read: |reading, side, bytes| reading.smb_frame(side, bytes),
    resembles: |reading, side, start| reading.smb_resembles(side, start),
};

/// Where both ports are SMB's, as NetBIOS has it, the message shows who answers.
fn sender(payload: &[u8]) -> Option<Side> {
    let message = payload.get(4..).unwrap_or_default();
    let answers = match Version::of(message)? {
        Version::Smb1 => v1::Header::new_checked(message)?.is_reply(),
        Version::Smb2 => v2::Header::new_checked(message)?.is_response(),
        Version::Encrypted | Version::Compressed => return None,
    };
    Some(if answers { Side::Server } else { Side::Client })
}

impl Reading<'_> {
    fn smb_framing(&self) -> Framing {
        if self.port == NETBIOS { Framing::NetBios } else { Framing::Direct }
    }

    fn smb_frame(&mut self, side: Side, bytes: &[u8]) -> Step {
        let Some(header) = session::Header::new_checked(bytes, self.smb_framing()) else { return Step::Lost };
        self.cursor(side).left = session::FRAMING + header.length;
        if header.kind == Kind::Message && header.length > 0 {
            self.go(side, session::HEADER, v2::Header::START, ReadState::Start)
        } else {
            self.end(side)
        }
    }

    pub(in crate::inspect) fn start(&mut self, side: Side, bytes: &[u8]) -> Step {
        let first = side == Side::Client && !std::mem::replace(&mut self.conversation.begun, true);
        if let Some(agreed) = self.conversation.agreed.take_if(|_| side == Side::Server) {
            // Its contexts were lost.
            self.indicate(Indicator::Negotiated(agreed));
        }
        match Version::of(bytes) {
            Some(Version::Smb1) => self.smb1(side, bytes),
            Some(Version::Smb2) if v2::Header::new_checked(bytes).is_some() => self.smb2(side, bytes),
            Some(Version::Smb2) => {
                let length = self.cursor(side).left;
                if first && eternalblue::is_groom(length, bytes) {
                    self.indicate(Indicator::Groom);
                }
                self.end(side)
            }
            Some(Version::Encrypted) => {
                if !std::mem::replace(&mut self.conversation.encrypted, true) {
                    self.indicate(Indicator::Used(Feature::Encryption));
                }
                self.end(side)
            }
            Some(Version::Compressed) => self.compressed(side, bytes),
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

    fn smb_resembles(&self, side: Side, start: &[u8]) -> bool {
        let Some(header) = session::Header::new_checked(start, self.smb_framing()) else { return false };
        let message = start.get(session::HEADER..).unwrap_or_default();
        let fits = |least: usize| header.kind == Kind::Message && header.length as usize >= least;
        match Version::of(message) {
            Some(Version::Smb1) => {
                fits(v1::HEADER + 3)
                    && v1::Header::new_checked(message).is_some_and(|it| it.is_reply() == (side == Side::Server))
            }
            Some(Version::Smb2) => {
                // Or EternalBlue's groom, which is no message but must be seen.
                v2::Header::new_checked(message).map_or_else(
                    || side == Side::Client && eternalblue::is_groom(header.length, message),
                    |it| fits(v2::HEADER) && it.is_response() == (side == Side::Server),
                )
            }
            Some(Version::Encrypted) => fits(52),
            Some(Version::Compressed) => fits(transform::HEADER) && message.len() >= transform::HEADER,
            None => header.kind == Kind::Request && header.length == 68 && side == Side::Client,
        }
    }
}
