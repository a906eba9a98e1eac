//! The table of protocols that are looked into.
//!
//! Everything that distinguishes them comes from here: which ports are inspected, what the kernel's filter lets through,
//! who is the client of a connection, and who reads it.

use crate::inspect::conversation::Protocol;
use crate::inspect::opening::Opening;
use crate::inspect::{dcerpc, smb};
use crate::track::follower::Side;
use crate::wire::frame::Segment;

/// Every protocol. A further one needs its row here, and what its [`Protocol`] asks for.
static PROTOCOLS: [&Protocol; 2] = [&smb::PROTOCOL, &dcerpc::PROTOCOL];

/// One bit for each well-known port, so that most segments are dismissed by one look.
static KNOWN: [u64; 1024] = known();

const fn known() -> [u64; 1024] {
    let mut words = [0; 1024];
    let mut protocols: &[&Protocol] = &PROTOCOLS;
    while let [protocol, rest @ ..] = protocols {
        let mut ports = protocol.ports;
        while let [port, rest @ ..] = ports {
            #[expect(clippy::indexing_slicing, reason = "of a constant: it is checked when this is compiled")]
            {
                words[(*port >> 6) as usize] |= 1 << (*port & 63);
            }
            ports = rest;
        }
        protocols = rest;
    }
    words
}

/// Whether a protocol has this TCP port.
#[must_use]
pub fn is_inspected(port: u16) -> bool {
    KNOWN.get(usize::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 == 1)
}

/// The TCP ports whose streams are looked into, both ways.
pub fn inspected_ports() -> impl Iterator<Item = u16> {
    PROTOCOLS.iter().flat_map(|protocol| protocol.ports.iter().copied())
}

/// How the messages of each protocol begin.
pub fn openings() -> impl Iterator<Item = &'static Opening> {
    PROTOCOLS.iter().map(|protocol| &protocol.opening)
}

/// How messages begin that are known on any port.
pub fn openings_anywhere() -> impl Iterator<Item = &'static Opening> {
    openings().filter(|opening| opening.anywhere)
}

/// The protocol of a well-known port.
pub(super) fn of_port(port: u16) -> Option<&'static Protocol> {
    if !is_inspected(port) {
        return None;
    }
    PROTOCOLS.into_iter().find(|protocol| protocol.ports.contains(&port))
}

/// The protocol of a connection to `port`: where it is not well-known, the one that is known anywhere.
pub(super) fn of_server(port: u16) -> &'static Protocol {
    of_port(port).unwrap_or(&dcerpc::PROTOCOL)
}

/// Who sends: by the ports, or where they do not decide, by what the payload starts with.
pub(super) fn sender_of(segment: &Segment<'_>) -> Option<Side> {
    let by_content = |anywhere: bool| {
        let those = PROTOCOLS.iter().filter(|protocol| protocol.opening.anywhere == anywhere);
        those.filter(|it| !anywhere || it.opening.begins(segment.payload)).find_map(|it| (it.sender)(segment.payload))
    };
    match (is_inspected(segment.source_port), is_inspected(segment.destination_port)) {
        (false, true) => Some(Side::Client),
        (true, false) => Some(Side::Server),
        (true, true) => by_content(false),
        (false, false) => by_content(true),
    }
}

/// Whether a payload begins like one of a protocol that is known on any port.
#[must_use]
pub fn begins_anywhere(payload: &[u8]) -> bool {
    // Most segments end here: this is asked of every one.
    !payload.is_empty() && PROTOCOLS.iter().any(|it| it.opening.anywhere && it.opening.begins(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::opening::Test;

    #[test]
    fn every_port_is_of_one_protocol_and_no_other_is_inspected() {
        let ports: Vec<_> = inspected_ports().collect();
        for port in 0..=u16::MAX {
            let of = PROTOCOLS.iter().filter(|protocol| protocol.ports.contains(&port)).count();
            assert_eq!((of, is_inspected(port)), (ports.iter().filter(|it| **it == port).count(), of == 1), "{port}");
        }
    }

    #[test]
    fn fields_lie_within_the_bytes_that_must_be_there_and_values_are_as_the_kernels_programs_want_them() {
        for field in openings().flat_map(|opening| opening.fields.iter().chain(&opening.servers)) {
            assert!(openings().any(|opening| field.at < opening.length));
            if let Test::OneOf(values) = field.test {
                assert!(values.is_sorted_by(|a, b| a < b), "{values:x?}");
            }
        }
    }
}
