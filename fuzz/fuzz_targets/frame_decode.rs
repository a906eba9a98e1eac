//! Any bytes under any link header, tag stripped or not: decoded or refused, never a panic, and judged by the twins of the
//! kernel's programs. The first byte chooses the link type and the tag.
#![no_main]

use std::sync::LazyLock;

use firedoor::capture::{CapturePolicy, busy, fanout};
use firedoor::wire::{FrameCounts, Services, decode};
use firedoor::wire::frame::{LinkKind, Meta, Packet, Transport};
use libfuzzer_sys::fuzz_target;

const LINKS: [LinkKind; 6] = [
    LinkKind::Ethernet,
    LinkKind::RawIp,
    LinkKind::Null,
    LinkKind::Loop,
    LinkKind::LinuxSll,
    LinkKind::LinuxSll2,
];

static POLICY: LazyLock<CapturePolicy> =
    LazyLock::new(|| CapturePolicy::new(&Services::new(&[(Transport::Tcp, 445), (Transport::Udp, 1434)]), true));

fuzz_target!(|bytes: &[u8]| {
    let Some(([which, length], frame)) = bytes.split_first_chunk::<2>() else { return };
    let link = LINKS[usize::from(*which & 0x0f) % LINKS.len()];
    let vlan = match which >> 6 {
        0 | 1 => None,
        2 => Some(0),
        _ => Some(7),
    };
    let meta = Meta { original_length: u32::from(*length) << 4, vlan, ..Meta::default() };
    let decoded = decode(meta, link, frame);
    let mut counts = FrameCounts::default();
    counts.count(decoded.as_ref().map_err(|reason| *reason));
    assert_eq!(counts.frames(), 1);
    let Ok(frame) = decoded else { return };
    assert_ne!(frame.meta.vlan, Some(0));
    assert!(frame.meta.inner_vlan.is_none() || frame.meta.vlan.is_some());
    let _ = POLICY.takes(&frame);
    assert!(fanout::shard_of(&frame, POLICY.lateral(), 4) < 4);
    match frame.packet {
        Packet::Tcp(segment) => assert!(segment.payload.len() <= segment.payload_length as usize),
        Packet::Udp(_) => assert!(busy::bucket(&frame).is_some_and(|bucket| usize::from(bucket) < busy::BUCKETS)),
        _ => {}
    }
});
