//! Link types by libpcap's numbers (<https://www.tcpdump.org/linktypes.html>).

use crate::wire::frame::LinkKind;

/// How frames of this link type are laid out; `None` if they are not decoded.
pub(super) fn kind(number: u16) -> Option<LinkKind> {
    Some(match number {
        0 => LinkKind::Null,
        1 => LinkKind::Ethernet,
        // 12 and 14 are DLT_RAW of some systems, written by programs that did not translate it.
        12 | 14 | 101 | 228 | 229 => LinkKind::RawIp,
        108 => LinkKind::Loop,
        113 => LinkKind::LinuxSll,
        276 => LinkKind::LinuxSll2,
        _ => return None,
    })
}

/// The name of a common link type that is not decoded, ready to stand behind its number; empty for others.
pub(super) fn name(number: u16) -> &'static str {
    match number {
        6 => " (Token Ring)",
        8 => " (SLIP)",
        9 | 50 => " (PPP)",
        10 => " (FDDI)",
        104 => " (Cisco HDLC)",
        105 => " (IEEE 802.11)",
        107 => " (Frame Relay)",
        119 => " (IEEE 802.11 with Prism header)",
        127 => " (IEEE 802.11 with radiotap header)",
        163 => " (IEEE 802.11 with AVS header)",
        187 | 201 | 251 => " (Bluetooth)",
        189 | 220 | 249 => " (USB)",
        192 => " (PPI)",
        195 | 230 => " (IEEE 802.15.4)",
        227 => " (CAN)",
        239 => " (Linux netfilter log)",
        253 => " (Linux netlink)",
        _ => "",
    }
}

/// Bounds the number in a file header to its sixteen bits; above them stand flags and the length of the FCS.
#[expect(clippy::cast_possible_truncation, reason = "the upper half holds flags")]
pub(super) fn number(field: u32) -> u16 {
    field as u16
}
