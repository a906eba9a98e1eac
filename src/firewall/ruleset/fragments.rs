//! Fragments that hide a port or a flag from whoever reads the first of them (RFC 1858, RFC 3128, RFC 7112): dropped from
//! everybody on a protected link, whether acted on or not.
//!
//! A receiver puts a segment together from its fragments; the door reads ports and flags where they are. So the first
//! fragment has to hold the whole TCP or UDP header, and no later one may write into it:
//! - a first fragment of TCP shorter than its header, or of UDP shorter than 8 octets, goes;
//! - a fragment of TCP at offset 1 (the 8 octets from sequence number's end to the flags) goes;
//! - at offset 0 each fragment is a first one and shows its own ports to the rules, so every copy has to pass them;
//! - from offset 2 on a fragment holds no port and no flag. Without its first fragment nobody reads it, and a contained
//!   host's first fragments are dropped with their ports. It can overwrite nothing that the door judged by: so it passes,
//!   and a large datagram or a tunnel's packet comes through whole.
//!
//! IPv6: the header behind the fragment header has to be the transport's, and the fragment header the first, else its
//! first fragment's length says nothing about what it holds; such TCP and UDP goes. Later fragments with further
//! extension headers the kernel drops itself at ingress.
//!
//! Exempt sources pass, as everywhere.

use std::fmt::{self, Write as _};

use super::Plan;

/// Header lengths, in words.
const WORDS: std::ops::RangeInclusive<u16> = 5..=15;

impl Plan {
    pub(super) fn write_fragments(&self, out: &mut String) -> fmt::Result {
        let verdict = self.verdict("fragment");
        // What a header length of less than five words means, nobody says: it counts as five.
        let words = |words: u16| if words == 5 { "0-5".to_owned() } else { words.to_string() };
        let mut tcp4 = Vec::new();
        let mut udp4 = Vec::new();
        for ip in WORDS {
            tcp4.extend(WORDS.map(|tcp| format!("{} . {} . 0-{}", words(ip), words(tcp), (ip + tcp) * 4 - 1)));
            udp4.push(format!("{} . 0-{}", words(ip), ip * 4 + 7));
        }
        let bare4: Vec<String> = WORDS.map(|ip| format!("{} . 0-{}", words(ip), ip * 4 + 19)).collect();
        let tcp6: Vec<String> = WORDS.map(|tcp| format!("{} . 0-{}", words(tcp), 8 + tcp * 4 - 1)).collect();

        writeln!(
            out,
            "\t# IP header length . (TCP header length .) total length, of what does not hold its whole header."
        )?;
        let sets = [
            ("short_tcp4", "ip hdrlength . tcp doff . ip length", tcp4),
            ("shorter_tcp4", "ip hdrlength . ip length", bare4),
            ("short_udp4", "ip hdrlength . ip length", udp4),
            ("short_tcp6", "tcp doff . ip6 length", tcp6),
        ];
        for (name, key, elements) in sets {
            writeln!(out, "\tset {name} {{\n\t\ttypeof {key}\n\t\tflags interval")?;
            writeln!(out, "\t\telements = {{ {} }}\n\t}}", elements.join(", "))?;
        }
        writeln!(out, "\tchain fragments4 {{")?;
        writeln!(out, "\t\tip saddr @exempt4 counter name exempt_passed return")?;
        writeln!(out, "\t\tip protocol tcp ip frag-off & 0x1fff == 1 {verdict}")?;
        writeln!(out, "\t\tip frag-off & 0x1fff != 0 return")?;
        writeln!(out, "\t\tip protocol tcp ip hdrlength . ip length @shorter_tcp4 {verdict}")?;
        writeln!(out, "\t\tip protocol tcp ip hdrlength . tcp doff . ip length @short_tcp4 {verdict}")?;
        writeln!(out, "\t\tip protocol udp ip hdrlength . ip length @short_udp4 {verdict}")?;
        writeln!(out, "\t}}\n\tchain fragments6 {{")?;
        writeln!(out, "\t\tip6 saddr @exempt6 counter name exempt_passed return")?;
        writeln!(out, "\t\tmeta l4proto tcp frag frag-off 1 {verdict}")?;
        writeln!(out, "\t\tfrag frag-off != 0 return")?;
        writeln!(out, "\t\tfrag more-fragments 0 return")?;
        writeln!(out, "\t\t# First of several, and not the plain order of headers: what it holds cannot be reckoned.")?;
        writeln!(out, "\t\tmeta l4proto {{ tcp, udp }} ip6 nexthdr != 44 {verdict}")?;
        writeln!(out, "\t\tmeta l4proto tcp frag nexthdr != tcp {verdict}")?;
        writeln!(out, "\t\tmeta l4proto udp frag nexthdr != udp {verdict}")?;
        writeln!(out, "\t\tmeta l4proto tcp ip6 length < 28 {verdict}")?;
        writeln!(out, "\t\ttcp doff . ip6 length @short_tcp6 {verdict}")?;
        writeln!(out, "\t\tmeta l4proto udp ip6 length < 16 {verdict}")?;
        writeln!(out, "\t}}")
    }
}
