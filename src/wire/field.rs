//! Numbers at named places of a message, little-endian as SMB and (nearly all) DCE/RPC write them.
//!
//! Contract: nothing here panics. A field that lies wholly or partly past the end of the bytes reads as zero; views
//! check the length of their fixed part once, in `new_checked`, so that zero there is a value and not a lack.

use std::ops::Range;

/// A field's byte range within its view.
pub(crate) type Field = Range<usize>;

/// The bytes of `field`, if they are all there.
pub(crate) fn bytes<const N: usize>(data: &[u8], field: &Field) -> Option<[u8; N]> {
    data.get(field.clone())?.try_into().ok()
}

/// One octet.
pub(crate) fn octet(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or_default()
}

/// A 16-bit number, little-endian.
pub(crate) fn le16(data: &[u8], field: &Field) -> u16 {
    bytes(data, field).map(u16::from_le_bytes).unwrap_or_default()
}

/// A 32-bit number, little-endian.
pub(crate) fn le32(data: &[u8], field: &Field) -> u32 {
    bytes(data, field).map(u32::from_le_bytes).unwrap_or_default()
}

/// A 64-bit number, little-endian.
pub(crate) fn le64(data: &[u8], field: &Field) -> u64 {
    bytes(data, field).map(u64::from_le_bytes).unwrap_or_default()
}

/// The range of `length` bytes at `at`.
pub(crate) const fn span(at: usize, length: usize) -> Field {
    at..at + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_past_the_end_reads_as_zero() {
        let data = [1, 2, 3];
        assert_eq!(le16(&data, &(0..2)), 0x0201);
        assert_eq!(le16(&data, &(2..4)), 0);
        assert_eq!(le32(&data, &(0..4)), 0);
        assert_eq!(le64(&data, &span(9, 8)), 0);
        assert_eq!(octet(&data, 3), 0);
    }
}
