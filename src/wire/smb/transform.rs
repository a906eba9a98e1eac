//! The compression transform header (MS-SMB2 2.2.42).
//!
//! Contract: `new_checked` refuses what is shorter than the header or is not `FC 53 4D 42`; after it nothing panics.

use crate::wire::field::{Field, le16, le32};
use crate::wire::smb::Protocol;

/// Bytes of the header.
pub const HEADER: usize = 16;

mod field {
    use super::Field;

    pub const ORIGINAL_SIZE: Field = 4..8;
    pub const ALGORITHM: Field = 8..10;
    pub const OFFSET: Field = 12..16;
}

/// A compression header.
#[derive(Clone, Copy, Debug)]
pub struct Compression<'a> {
    data: &'a [u8],
}

impl<'a> Compression<'a> {
    /// Refuses what is too short or another protocol.
    #[must_use]
    pub fn new_checked(data: &'a [u8]) -> Option<Compression<'a>> {
        (data.len() >= HEADER && Protocol::of(data) == Some(Protocol::Compressed)).then_some(Compression { data })
    }

    /// Bytes of the compressed part once it is decompressed.
    #[must_use]
    pub fn original_size(&self) -> u32 {
        le32(self.data, &field::ORIGINAL_SIZE)
    }

    /// Which algorithm.
    #[must_use]
    pub fn algorithm(&self) -> u16 {
        le16(self.data, &field::ALGORITHM)
    }

    /// From the header's end to the compressed data, before which stands what was left uncompressed; in a chained
    /// message, the length of the first payload.
    #[must_use]
    pub fn offset(&self) -> u32 {
        le32(self.data, &field::OFFSET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_specification_says() {
        let data = [0xfc, b'S', b'M', b'B', 1, 0, 0, 2, 3, 0, 1, 0, 5, 0, 0, 6];
        let header = Compression::new_checked(&data).unwrap();
        assert_eq!((header.original_size(), header.algorithm()), (0x0200_0001, 3));
        assert_eq!(header.offset(), 0x0600_0005);
        assert!(Compression::new_checked(&data[..15]).is_none());
    }
}
