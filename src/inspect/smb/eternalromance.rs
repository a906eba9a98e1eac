//! `smb.eternalromance` (EternalSynergy likewise): a raw write that lands inside an open transaction.
//!
//! A server without MS17-010 looks transactions up by multiplex id, and raw writes to a pipe by handle, in one list.
//! The exploit begins a transaction whose multiplex id is the pipe's handle, leaves it unfinished, and writes to the
//! pipe: the write moves the transaction's buffer. No client has a transaction and a write of one number under way.

use crate::evidence::Detail;
use crate::inspect::smb::transactions::Transactions;
use crate::wire::smb::smb1::{Exchange, WriteAndX};

/// Judges a write.
pub(in crate::inspect) fn inside(open: &Transactions, exchange: Exchange, write: WriteAndX<'_>) -> Option<Detail> {
    let by = |multiplex| open.of(Exchange { multiplex, ..exchange });
    let open = by(write.fid()).or_else(|| by(exchange.multiplex))?;
    Some(Detail::Fields {
        what: "Write AndX 0x2f to handle {} inside an open transaction of multiplex id {}, {} bytes announced",
        values: [write.fid().into(), open.exchange.multiplex.into(), open.total_data, 0],
        source: "MS17-010, CVE-2017-0145; MS-CIFS 2.2.4.43",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::smb::smb1::Block;
    use crate::wire::smb::transaction::Transaction;

    #[test]
    fn a_write_beside_other_transactions_is_ordinary() {
        let mut open = Transactions::default();
        let mut begin = vec![0; 33];
        begin[0] = 16;
        begin[3] = 100;
        let request = Transaction::new_checked(0x25, Block::new_checked(&begin, 32).unwrap()).unwrap();
        let exchange = |multiplex| Exchange { tree: 8, process: 9, user: 10, multiplex };
        open.begin(exchange(0x4000), &request);
        let mut write = vec![0; 27];
        write[0] = 12;
        write[6] = 0x40;
        let write = WriteAndX(Block::new_checked(&write, 32).unwrap());
        assert!(inside(&open, exchange(0x4000), write).is_some());
        assert!(inside(&open, exchange(5), write).is_some());
        assert!(inside(&open, Exchange { user: 11, ..exchange(5) }, write).is_none());
        open.end(exchange(0x4000));
        assert!(inside(&open, exchange(5), write).is_none());
    }
}
