//! Any bytes as a session header, an SMB2 chain or a compression header: read without a panic, and a chain always ends.
#![no_main]

use firedoor::wire::smb::Protocol;
use firedoor::wire::smb::session::{self, Framing};
use firedoor::wire::smb::smb2::{Header, Ioctl, NegotiateContext, NegotiateResponse, TreeConnect, Write};
use firedoor::wire::smb::text::Path;
use firedoor::wire::smb::transform::Compression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for framing in [Framing::Direct, Framing::NetBios] {
        if let Some(header) = session::Header::new_checked(bytes, framing) {
            assert!(header.length < 1 << 24);
        }
    }
    let mut rest = bytes.get(session::HEADER..).unwrap_or_default();
    let _ = Protocol::of(rest);
    if let Some(header) = Compression::new_checked(rest) {
        let _ = (header.original_size(), header.algorithm(), header.offset());
    }
    while let Some(header) = Header::new_checked(rest) {
        let _ = (header.command(), header.status(), header.is_response(), header.message(), header.tree());
        let path = TreeConnect(header).path();
        let _ = Path::new(rest.get(path).unwrap_or_default(), true).share();
        let _ = (TreeConnect(header).is_pipes(), Write(header).carried(), Ioctl(header).carried());
        let answer = NegotiateResponse(header);
        let _ = (answer.signing(), answer.dialect(), answer.encryption());
        if let Some((offset, _)) = answer.contexts() {
            let mut contexts = rest.get(offset as usize..).unwrap_or_default();
            while let Some(context) = NegotiateContext::new_checked(contexts) {
                let _ = (context.kind(), context.algorithms());
                contexts = contexts.get(context.stride() as usize..).unwrap_or_default();
            }
        }
        let Some(next) = header.next() else { break };
        rest = rest.get(next as usize..).unwrap_or_default();
    }
});
