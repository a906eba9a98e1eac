//! What a segment's ports and first bytes say: which service, and who is the client.

use crate::track::follower::Side;
use crate::wire::dcerpc;
use crate::wire::frame::Segment;
use crate::wire::smb::{Protocol, smb1, smb2};

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// SMB over a NetBIOS session.
    NetBios,
    /// SMB over TCP.
    Direct,
    /// DCE/RPC over TCP: the endpoint mapper.
    Mapper,
    /// DCE/RPC over TCP, on a port of its own.
    Rpc,
}

/// What a well-known port carries.
pub(super) fn service_of(port: u16) -> Option<Service> {
    match port {
        445 => Some(Service::Direct),
        139 => Some(Service::NetBios),
        135 => Some(Service::Mapper),
        _ => None,
    }
}

/// Who sends: by the ports, or where they do not decide, by what the payload starts with.
pub(super) fn sender_of(segment: &Segment<'_>) -> Option<Side> {
    match (service_of(segment.source_port), service_of(segment.destination_port)) {
        (None, Some(_)) => Some(Side::Client),
        (Some(_), None) => Some(Side::Server),
        (Some(_), Some(_)) => {
            let message = segment.payload.get(4..).unwrap_or_default();
            let answers = match Protocol::of(message)? {
                Protocol::Smb1 => smb1::Header::new_checked(message)?.is_reply(),
                Protocol::Smb2 => smb2::Header::new_checked(message)?.is_response(),
                Protocol::Encrypted | Protocol::Compressed => return None,
            };
            Some(if answers { Side::Server } else { Side::Client })
        }
        (None, None) if !starts_like_rpc(segment.payload) => None,
        (None, None) => match (is_pdu_of(Side::Client, segment.payload), is_pdu_of(Side::Server, segment.payload)) {
            (true, false) => Some(Side::Client),
            (false, true) => Some(Side::Server),
            _ => None,
        },
    }
}

/// Version 5.0 or 5.1 and a sane representation: what every connection-oriented DCE/RPC PDU starts with.
pub(super) fn starts_like_rpc(payload: &[u8]) -> bool {
    matches!(payload, [5, 0 | 1, 0..=19, _, 0x10 | 0, 0, 0, 0, ..])
}

/// Whether a segment starts with a DCE/RPC PDU that this side may send.
pub(super) fn is_pdu_of(side: Side, start: &[u8]) -> bool {
    dcerpc::Header::new_checked(start).is_some_and(|header| match side {
        Side::Client => !header.kind().is_servers(),
        Side::Server => !header.kind().is_clients(),
    })
}
