//! `smb.eternalblue`: the confusion of two kinds of transaction, and the groom that precedes it.
//!
//! A first request of NT Transact may announce more than 65,535 bytes, one of Trans2 cannot. A server without MS17-010
//! judges a transaction by its *last* secondary, so the exploit begins an NT Transact with a larger list and continues
//! it with Trans2 secondaries. No client has a reason to. (A large NT Transact continued by its own secondaries, a long
//! security descriptor for instance, is ordinary.)
//!
//! The groom fills the server's memory with connections that open with `00 00 FF F7 FE 53 4D 42` and zeros: an SMB2
//! message of 65,527 bytes whose header cannot be one. One such connection is a curiosity; several to one server within
//! a minute are the groom.

use std::time::Duration;

use crate::evidence::Detail;
use crate::inspect::smb::transactions::Open;
use crate::wire::smb::transaction::{Family, Transaction};

/// So many groom connections between two hosts, and it is the exploit; it opens a dozen or more.
pub(in crate::inspect) const GROOM: u8 = 3;
/// Within this time.
pub(in crate::inspect) const GROOM_WITHIN: Duration = Duration::from_secs(60);
/// What a groom's first message announces at least.
const GROOM_LENGTH: u32 = 0x8000;

/// Judges a secondary against the transaction it continues.
pub(in crate::inspect) fn confused(open: &Open, secondary: &Transaction<'_>) -> Option<Detail> {
    let confused = secondary.is_secondary()
        && secondary.family() == Family::Transaction2
        && open.family == Family::NtTransact
        && open.total_data > 0xffff;
    confused.then_some(Detail::Fields {
        what: "Trans2 secondary 0x33 continues NT Transact 0xa0 of {} bytes (multiplex id {})",
        values: [open.total_data, open.exchange.multiplex.into(), 0, 0],
        source: "MS17-010, CVE-2017-0144; MS-CIFS 2.2.4.47, 2.2.4.62",
    })
}

/// Judges a client's very first message that bears SMB2's mark but no SMB2 header; `length` is what it announces.
pub(in crate::inspect) fn is_groom(length: u32, start: &[u8]) -> bool {
    let zero = |at: std::ops::Range<usize>| start.get(at).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    length >= GROOM_LENGTH && zero(4..6) && zero(12..20)
}

/// The evidence of so many groom connections.
pub(in crate::inspect) fn groom(connections: u8) -> Detail {
    Detail::Fields {
        what: "{} connections within a minute that open with 00 00 ff f7 fe 53 4d 42 and zeros",
        values: [connections.into(), 0, 0, 0],
        source: "MS17-010, CVE-2017-0144; MS-SMB2 2.2.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::smb::transactions::Transactions;
    use crate::wire::smb::smb1::{Block, Exchange};

    /// An NT Transact that announces `total` bytes and carries ten.
    fn begun(total: u32) -> Option<Open> {
        let mut data = vec![0; 41];
        data[0] = 20;
        data[8..12].copy_from_slice(&total.to_le_bytes());
        data[28] = 10;
        let mut transactions = Transactions::default();
        let request = Transaction::new_checked(0xa0, Block::new_checked(&data, 32).unwrap()).unwrap();
        transactions.begin(Exchange::default(), &request);
        transactions.of(Exchange::default())
    }

    #[test]
    fn a_large_transaction_continued_by_the_wrong_kind_is_the_exploit() {
        let data = [18; 64];
        let secondary = |command| Transaction::new_checked(command, Block::new_checked(&data, 32).unwrap()).unwrap();
        assert!(confused(&begun(0x1_03d0).unwrap(), &secondary(0x33)).is_some());
        assert!(confused(&begun(0xffff).unwrap(), &secondary(0x33)).is_none());
        assert!(confused(&begun(0x1_03d0).unwrap(), &secondary(0xa1)).is_none());
        assert!(begun(10).is_none(), "complete in its first request");
    }

    #[test]
    fn a_groom_announces_much_and_has_no_header() {
        let mut start = vec![0; 36];
        start[..4].copy_from_slice(b"\xfeSMB");
        assert!(is_groom(0xfff7, &start));
        assert!(!is_groom(0x80, &start));
        start[4] = 64;
        assert!(!is_groom(0xfff7, &start));
    }
}
