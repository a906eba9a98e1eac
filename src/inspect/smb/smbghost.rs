//! `smb.smbghost`: a compression header that cannot be true.
//!
//! CVE-2020-0796 adds the header's two lengths without looking: a size no server grants, or an offset past the message.
//! The driver at fault knew no chaining, so an exploit may put anything into the flags; where they do say chained, the
//! offset's place holds the first payload's length, which must lie within the message just as well. Negotiating
//! compression, as scanners do, is no exploit, and neither is compressed traffic.

use crate::evidence::Detail;
use crate::wire::smb::transform::{Compression, HEADER};

/// The largest message that any server grants, 8 MiB and its headers (MS-SMB2 3.3.5.4).
const LARGEST: u32 = 0x0080_0110;

/// Judges a client's compression header in a message of `length` bytes.
pub(in crate::inspect) fn impossible(header: &Compression<'_>, length: u32) -> Option<Detail> {
    let (size, offset) = (header.original_size(), header.offset());
    let past = u64::from(offset) + HEADER as u64 > u64::from(length);
    (size > LARGEST || past).then_some(Detail::Fields {
        what: "compression header fc 53 4d 42: original size {}, offset {}, in a message of {} bytes",
        values: [size, offset, length, 0],
        source: "CVE-2020-0796; MS-SMB2 2.2.42",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_impossible_lengths_are_the_exploit() {
        for (size, flags, offset, length, exploit) in [
            (4176_u32, 0_u16, 0_u32, 74_u32, false),
            (0x0080_0110, 0, 0x50, 0x1000, false),
            (0x0080_0111, 0, 0, 0x1000, true),
            (u32::MAX, 0, 0, 0x1000, true),
            (0x1000, 0, 0xffff_ffff, 0x1000, true),
            (0x1000, 1, 0x0ff0, 0x1000, false),
            (0x1000, 0, 0x0ff1, 0x1000, true),
            (0x01b4, 0xffff, 0xffff_ffff, 0x01c6, true),
        ] {
            let mut data = vec![0xfc, b'S', b'M', b'B'];
            data.extend(size.to_le_bytes());
            data.extend([1, 0]);
            data.extend(u16::to_le_bytes(flags));
            data.extend(offset.to_le_bytes());
            let header = Compression::new_checked(&data).unwrap();
            assert_eq!(impossible(&header, length).is_some(), exploit, "{size:#x} {flags:#x} {offset:#x}");
        }
    }
}
