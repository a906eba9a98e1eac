//! `smb.eternalchampion`: an NT Transact rename and its secondary in one breath.
//!
//! The race needs the secondary to arrive while the first request is still being worked on, so the two follow each other
//! without waiting for the server. `NT_TRANSACT_RENAME` itself was reserved and never sent by a client.

use crate::evidence::Detail;
use crate::wire::smb::smb1::Exchange;
use crate::wire::smb::transaction::{Family, Transaction, function};

/// Whether a request is the rename that such a secondary may follow.
pub(in crate::inspect) fn is_rename(request: &Transaction<'_>) -> bool {
    request.function() == Some(function::RENAME)
}

/// Judges the message right after a rename.
pub(in crate::inspect) fn follows(rename: Exchange, exchange: Exchange, next: &Transaction<'_>) -> Option<Detail> {
    let secondary = next.is_secondary() && next.family() == Family::NtTransact;
    (secondary && exchange == rename).then_some(Detail::Fields {
        what: "NT Transact 0xa0 function {} (rename, never implemented) with its secondary 0xa1 right behind it",
        values: [function::RENAME.into(), 0, 0, 0],
        source: "MS17-010, CVE-2017-0146; MS-CIFS 2.2.7.5",
    })
}
