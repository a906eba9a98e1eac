//! Any bytes under any link header: decoded or refused, never a panic. The first byte chooses the link type.
#![no_main]

use firedoor::wire::decode;
use firedoor::wire::frame::{LinkKind, Meta, Packet};
use libfuzzer_sys::fuzz_target;

const LINKS: [LinkKind; 6] = [
    LinkKind::Ethernet,
    LinkKind::RawIp,
    LinkKind::Null,
    LinkKind::Loop,
    LinkKind::LinuxSll,
    LinkKind::LinuxSll2,
];

fuzz_target!(|bytes: &[u8]| {
    let Some(([which, length], frame)) = bytes.split_first_chunk::<2>() else { return };
    let link = LINKS[usize::from(*which) % LINKS.len()];
    let meta = Meta { original_length: u32::from(*length) << 4, ..Meta::default() };
    if let Ok(frame) = decode(meta, link, frame) {
        if let Packet::Tcp(segment) = frame.packet {
            assert!(segment.payload.len() <= segment.payload_length as usize);
        }
    }
});
