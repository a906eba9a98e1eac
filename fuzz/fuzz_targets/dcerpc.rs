//! Any bytes as DCE/RPC: headers, contexts and endpoints read without a panic, in both byte orders, and every step
//! goes forward.
#![no_main]

use firedoor::inspect::dcerpc::remote_execution::{Interface, Operation};
use firedoor::wire::dcerpc::{Context, ENDPOINT_OVERLAP, Header, endpoints};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Some(header) = Header::new_checked(rest) {
        let _ = (header.kind(), header.is_first());
        if let Some((_, opnum)) = header.call() {
            let _ = Operation::of(Interface::Services, opnum);
        }
        let mut contexts = rest.get(Header::BIND..).unwrap_or_default();
        for _ in 0..header.contexts() {
            let Some(context) = Context::new_checked(contexts, header.is_little_endian()) else { break };
            let _ = Interface::of(context.interface);
            contexts = contexts.get(context.stride as usize..).unwrap_or_default();
        }
        assert!(header.length() >= 16);
        rest = rest.get(usize::from(header.length())..).unwrap_or_default();
    }
    // Windows that overlap enough find what the whole does.
    let whole: Vec<u16> = endpoints(bytes).collect();
    let mut cut: Vec<u16> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let window = &bytes[at..bytes.len().min(at + 64)];
        cut.extend(endpoints(window));
        at += 64 - ENDPOINT_OVERLAP;
    }
    assert!(whole.iter().all(|port| cut.contains(port)));
});
