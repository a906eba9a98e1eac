//! Any bytes as an SMB1 message: header, chain of blocks, transactions, dialects and paths read without a panic, and a
//! chain always ends.
#![no_main]

use firedoor::wire::smb::dialect::Offers;
use firedoor::wire::smb::smb1::{Block, Header, NegotiateResponse, TreeConnect, WriteAndX, opened_fid};
use firedoor::wire::smb::text::Path;
use firedoor::wire::smb::transaction::Transaction;
use libfuzzer_sys::fuzz_target;

fn block(command: u8, block: Block<'_>) {
    let offers = Offers::new(block.bytes());
    assert!(usize::from(offers.count()) <= Offers::MOST);
    let _ = offers.picked(NegotiateResponse(block).dialect_index());
    let _ = NegotiateResponse(block).signing();
    for unicode in [false, true] {
        let _ = Path::new(TreeConnect(block).path(unicode), unicode).share();
    }
    let write = WriteAndX(block);
    let _ = (write.fid(), write.mode(), write.length(), write.data_offset(), opened_fid(command, block));
    if let Some(request) = Transaction::new_checked(command, block) {
        assert!(request.setup(request.setup_count()).is_none());
        let _ = (request.total_parameters(), request.total_data(), request.parameters(), request.data());
        let _ = (request.data_offset(), request.setup(0), request.setup(1), request.function());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some(header) = Header::new_checked(bytes) else { return };
    let _ = (header.status(), header.is_reply(), header.is_unicode(), header.exchange());
    let (mut command, mut here) = (header.command(), header.block());
    loop {
        block(command, here);
        let Some((next, at)) = here.next() else { break };
        assert!(usize::from(at) > here.at(), "a chain runs forward");
        let Some(further) = Block::new_checked(bytes.get(usize::from(at)..).unwrap_or_default(), usize::from(at)) else {
            break;
        };
        (command, here) = (next, further);
    }
});
