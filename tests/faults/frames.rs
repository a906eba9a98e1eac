//! Frames that are sent by the million: built once, and only their addresses and ports written anew.

use std::net::Ipv4Addr;

use firedoor::wire::build::{self, End};

/// Where things stand in an IPv4 frame without options (RFC 791, RFC 9293).
mod at {
    pub const IP: usize = 14;
    pub const IP_CHECKSUM: usize = 24;
    pub const SOURCE: usize = 26;
    pub const DESTINATION: usize = 30;
    pub const PORTS: usize = 34;
    pub const TCP_CHECKSUM: usize = 50;
    pub const END: usize = 58;
}

/// A bare SYN that can be aimed again and again.
#[derive(Clone)]
pub struct Knock {
    frame: [u8; at::END],
    /// The sums of what never changes.
    ip: u32,
    tcp: u32,
}

/// The sum of 16-bit words; an odd last byte counts as the higher one.
pub fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

/// The Internet checksum of a sum of words (RFC 1071).
pub fn checksum(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

impl Knock {
    /// Between these ends, for a start.
    pub fn new(from: End, to: End) -> Self {
        let mut whole = [0; build::LONGEST];
        let length = build::syn(&mut whole, from, to, (0, 0), 1).unwrap();
        assert_eq!(length, at::END, "an IPv4 SYN");
        let mut frame = [0; at::END];
        frame.copy_from_slice(&whole[..length]);
        for (from, to) in [
            (at::IP_CHECKSUM, at::IP_CHECKSUM + 2),
            (at::SOURCE, at::PORTS + 4),
            (at::TCP_CHECKSUM, at::TCP_CHECKSUM + 2),
        ] {
            frame[from..to].fill(0);
        }
        let tcp_length = u32::try_from(at::END - at::PORTS).unwrap();
        Knock { frame, ip: words(&frame[at::IP..at::PORTS]), tcp: words(&frame[at::PORTS..]) + 6 + tcp_length }
    }

    /// From this source to this destination, between these ports.
    pub fn aim(&mut self, source: Ipv4Addr, destination: Ipv4Addr, ports: (u16, u16)) {
        self.frame[at::SOURCE..at::DESTINATION].copy_from_slice(&source.octets());
        self.frame[at::DESTINATION..at::PORTS].copy_from_slice(&destination.octets());
        self.frame[at::PORTS..at::PORTS + 2].copy_from_slice(&ports.0.to_be_bytes());
        self.frame[at::PORTS + 2..at::PORTS + 4].copy_from_slice(&ports.1.to_be_bytes());
        let addresses = words(&self.frame[at::SOURCE..at::PORTS]);
        let ports = u32::from(ports.0) + u32::from(ports.1);
        self.frame[at::IP_CHECKSUM..at::IP_CHECKSUM + 2].copy_from_slice(&checksum(self.ip + addresses));
        self.frame[at::TCP_CHECKSUM..at::TCP_CHECKSUM + 2].copy_from_slice(&checksum(self.tcp + addresses + ports));
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

#[test]
fn a_knock_aimed_again_is_what_would_have_been_built() {
    use firedoor::wire::Mac;
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let end = |ip: [u8; 4]| End { mac, ip: ip.into() };
    let mut knock = Knock::new(end([10, 0, 0, 1]), end([10, 0, 0, 2]));
    for n in 0..=255_u8 {
        let (source, destination) = ([10, n, 255 - n, 7], [192, 168, n, 1]);
        let ports = (u16::from(n) * 257, 445);
        let mut whole = [0; build::LONGEST];
        let length = build::syn(&mut whole, end(source), end(destination), ports, 1).unwrap();
        knock.aim(source.into(), destination.into(), ports);
        assert_eq!(knock.frame(), &whole[..length]);
    }
}
