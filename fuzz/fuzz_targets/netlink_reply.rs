//! Any datagram in place of the kernel's: nftables notices and elements, links, addresses, routes, neighbours. Read or
//! passed over, never a panic, and in time linear in its length.
#![no_main]

use firedoor::sys::netlink::{Attributes, messages};
use firedoor::sys::{nftables, route};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut octets = 0;
    for message in messages(datagram) {
        octets += message.body.len() + 16;
        for element in nftables::elements(message.body) {
            assert!(element.key.len() <= message.body.len());
        }
        let _ = nftables::notice("firedoor", &message);
        let _ = nftables::listed("firedoor", message.body);
        let _ = route::change(&message);
        let _ = route::routes(message.body);
        assert!(Attributes(message.body).count() <= message.body.len() / 4 + 1);
    }
    assert!(octets <= datagram.len());
});
