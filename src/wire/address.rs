//! Addresses as the tables key them: one 128-bit number for IPv4 and IPv6 alike.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const V4_MAPPED: u128 = 0xffff_0000_0000;

/// An IPv4 or IPv6 address; IPv4 is held IPv4-mapped (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2), so that one comparison and
/// one hash serve both. Shows and parses in the usual notation of its family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u128);

impl Address {
    /// From the four octets of an IPv4 address, in network order.
    #[must_use]
    #[inline]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Address(V4_MAPPED | u32::from_be_bytes(octets) as u128)
    }

    /// From the sixteen octets of an IPv6 address, in network order.
    #[must_use]
    #[inline]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Address(u128::from_be_bytes(octets))
    }

    /// From the mapped 128-bit number that [`Address::bits`] gives.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u128) -> Self {
        Address(bits)
    }

    /// The 128-bit number (IPv4 as IPv4-mapped).
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Whether this is an IPv4 address.
    #[must_use]
    #[inline]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == V4_MAPPED >> 32
    }

    /// The standard library's form.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        if self.is_v4() {
            #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the IPv4 address")]
            IpAddr::V4(Ipv4Addr::from(self.0 as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.0))
        }
    }

    /// An address that names one host: neither unspecified ("this network", 0.0.0.0/8, RFC 1122 §3.2.1.3), multicast,
    /// broadcast nor loopback.
    #[must_use]
    #[inline]
    pub const fn is_unicast(self) -> bool {
        if self.is_v4() {
            #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the IPv4 address")]
            let address = self.0 as u32;
            let first = address >> 24;
            first != 0 && first != 127 && first >> 4 != 0xe && address != u32::MAX
        } else {
            // Unspecified is ::, loopback ::1, multicast ff00::/8.
            self.0 > 1 && self.0 >> 120 != 0xff
        }
    }

    /// An address that means something on its own link only: 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291 §2.5.6).
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        if self.is_v4() { self.0 >> 16 & 0xffff == 0xa9fe } else { self.0 >> 118 == 0xfe80 >> 6 }
    }

    /// Writes it into `text`, in the usual notation of its family. Reports and histories carry many of them.
    fn text(self, text: &mut [u8; 40]) -> &str {
        let mut rest = &mut text[..];
        let length = rest.len();
        // The longest text of an address takes 39 bytes: this cannot fail.
        let _ = write!(rest, "{}", self.ip());
        let used = length - rest.len();
        text.get(..used).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => Address::v4(a.octets()),
            IpAddr::V6(a) => Address::v6(a.octets()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl FromStr for Address {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<IpAddr>().map(Address::from)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; 40]))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An IEEE 802 hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it names a group of stations, or all (IEEE 802-2014 §8.2.2).
    #[must_use]
    pub const fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Not six colon-separated pairs of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hardware address is written as six pairs of hexadecimal digits, such as 02:00:5e:10:00:01")]
pub struct BadMac;

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+')).ok_or(BadMac)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| BadMac)?;
        }
        if parts.next().is_some() { Err(BadMac) } else { Ok(Mac(octets)) }
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_text() {
        for text in ["10.1.2.3", "255.255.255.255", "fe80::1", "2001:db8::ff00:42:8329", "::1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(mapped, Address::v4([10, 1, 2, 3]));
        assert!(mapped.is_v4());
    }

    #[test]
    fn a_hardware_address_survives_text() {
        let mac = Mac([0x02, 0, 0x5e, 0x10, 0, 0xff]);
        assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        for text in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "02:00:5e:10:00:+f", "zz:00:00:00:00:00"]
        {
            assert_eq!(text.parse::<Mac>(), Err(BadMac), "{text}");
        }
    }

    #[test]
    fn only_an_address_of_one_host_is_unicast() {
        for (text, unicast) in [
            ("10.0.0.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("224.0.0.251", false),
            ("255.255.255.255", false),
            ("127.0.0.1", false),
            ("fe80::1", true),
            ("ff02::1", false),
            ("::", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_unicast(), unicast, "{text}");
        }
    }

    #[test]
    fn link_local_addresses_are_reported_in_both_families() {
        for (text, local) in [
            ("169.254.0.1", true),
            ("169.253.0.1", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_link_local(), local, "{text}");
        }
    }
}
