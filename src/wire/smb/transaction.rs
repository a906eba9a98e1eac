//! SMB1's three transactions and their secondaries (MS-CIFS 2.2.4.33, 2.2.4.46, 2.2.4.62): how many bytes they announce,
//! how many they carry, and their setup words.
//!
//! Contract: [`Transaction::new_checked`] refuses a block whose words are cut or too few; after it nothing panics.

use crate::wire::field::{le16, le32, octet};
use crate::wire::smb::smb1::{Block, command};

/// Subcommands of `SMB_COM_TRANSACTION` on named pipes (MS-CIFS 2.2.2.1, table of transaction codes).
pub mod pipe {
    /// `TRANS_PEEK_NMPIPE`.
    pub const PEEK: u16 = 0x0023;
    /// `TRANS_TRANSACT_NMPIPE`.
    pub const TRANSACT: u16 = 0x0026;
}

/// Functions of `SMB_COM_NT_TRANSACT` (MS-CIFS 2.2.2.2).
pub mod function {
    /// `NT_TRANSACT_RENAME`: reserved and never implemented by a client.
    pub const RENAME: u16 = 0x0005;
}

/// Which family a part belongs to: a server keeps one handler for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 0x25 and 0x26.
    Transaction,
    /// 0x32 and 0x33.
    Transaction2,
    /// 0xa0 and 0xa1.
    NtTransact,
}

impl Family {
    /// By command; the flag says whether it is a secondary.
    #[must_use]
    pub const fn of(command: u8) -> Option<(Family, bool)> {
        Some(match command {
            command::TRANSACTION => (Family::Transaction, false),
            command::TRANSACTION_SECONDARY => (Family::Transaction, true),
            command::TRANSACTION2 => (Family::Transaction2, false),
            command::TRANSACTION2_SECONDARY => (Family::Transaction2, true),
            command::NT_TRANSACT => (Family::NtTransact, false),
            command::NT_TRANSACT_SECONDARY => (Family::NtTransact, true),
            _ => return None,
        })
    }
}

/// A request, first or secondary.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    data: &'a [u8],
    family: Family,
    secondary: bool,
}

impl<'a> Transaction<'a> {
    /// The longest that [`Transaction::new_checked`] looks at, from the word count: 19 words of an NT transaction.
    pub const LENGTH: usize = 1 + 38;

    /// Refuses what is no transaction request, or has fewer words than its command must have.
    #[must_use]
    pub fn new_checked(command: u8, block: Block<'a>) -> Option<Transaction<'a>> {
        let (family, secondary) = Family::of(command)?;
        let least: u8 = match (family, secondary) {
            (Family::Transaction | Family::Transaction2, false) => 14,
            (Family::Transaction | Family::Transaction2, true) => 8,
            (Family::NtTransact, false) => 19,
            (Family::NtTransact, true) => 18,
        };
        let whole = block.data().len() > 2 * usize::from(least);
        (block.word_count() >= least && whole).then_some(Transaction { data: block.data(), family, secondary })
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it continues an earlier request.
    #[must_use]
    pub fn is_secondary(&self) -> bool {
        self.secondary
    }

    fn short(&self) -> bool {
        self.family != Family::NtTransact
    }

    fn count(&self, short: usize, long: usize) -> u32 {
        if self.short() { u32::from(le16(self.data, &(short..short + 2))) } else { le32(self.data, &(long..long + 4)) }
    }

    /// Parameter bytes of the whole transaction.
    #[must_use]
    pub fn total_parameters(&self) -> u32 {
        self.count(1, 4)
    }

    /// Data bytes of the whole transaction.
    #[must_use]
    pub fn total_data(&self) -> u32 {
        self.count(3, 8)
    }

    /// Parameter bytes in this message.
    #[must_use]
    pub fn parameters(&self) -> u32 {
        if self.secondary { self.count(5, 12) } else { self.count(19, 20) }
    }

    /// Data bytes in this message.
    #[must_use]
    pub fn data(&self) -> u32 {
        if self.secondary { self.count(11, 24) } else { self.count(23, 28) }
    }

    /// Where the data starts, from the SMB header.
    #[must_use]
    pub fn data_offset(&self) -> u32 {
        if self.secondary { self.count(13, 28) } else { self.count(25, 32) }
    }

    /// Setup words; none in a secondary.
    #[must_use]
    pub fn setup_count(&self) -> u8 {
        match (self.secondary, self.short()) {
            (true, _) => 0,
            (false, true) => octet(self.data, 27),
            (false, false) => octet(self.data, 36),
        }
    }

    /// Setup word `index` of a Trans or Trans2 request; `None` where the request has no such word.
    #[must_use]
    pub fn setup(&self, index: u8) -> Option<u16> {
        let at = 29 + 2 * usize::from(index);
        let present = self.short() && index < self.setup_count() && self.data.len() >= at + 2;
        present.then(|| le16(self.data, &(at..at + 2)))
    }

    /// Function of an NT transaction's first request.
    #[must_use]
    pub fn function(&self) -> Option<u16> {
        (self.family == Family::NtTransact && !self.secondary).then(|| le16(self.data, &(37..39)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_design() {
        // DESIGN.md counts from the SMB header; the word count stands at 32.
        let mut data = vec![0; 40];
        data[0] = 0x10;
        data[59 - 32] = 2;
        data[61 - 32] = 0x23;
        data[63 - 32] = 7;
        let peek = Transaction::new_checked(0x25, Block::new_checked(&data, 32).unwrap()).unwrap();
        assert_eq!((peek.setup_count(), peek.setup(0), peek.setup(1), peek.setup(2)), (2, Some(0x23), Some(7), None));

        let mut data = vec![0; 40];
        data[0] = 20;
        data[40 - 32..44 - 32].copy_from_slice(&0x0001_03d0_u32.to_le_bytes());
        data[69 - 32] = 5;
        let rename = Transaction::new_checked(0xa0, Block::new_checked(&data, 32).unwrap()).unwrap();
        assert_eq!((rename.total_data(), rename.function()), (0x1_03d0, Some(5)));
    }

    #[test]
    fn cut_or_short_blocks_are_refused() {
        let data = [14; 28];
        assert!(Transaction::new_checked(0x32, Block::new_checked(&data, 32).unwrap()).is_none());
        assert!(Transaction::new_checked(0x72, Block::new_checked(&[20; 60], 32).unwrap()).is_none());
        assert!(Transaction::new_checked(0xa0, Block::new_checked(&[18; 60], 32).unwrap()).is_none());
        assert!(Transaction::new_checked(0xa1, Block::new_checked(&[18; 60], 32).unwrap()).is_some());
    }
}
