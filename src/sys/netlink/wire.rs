//! Netlink's wire format: messages built and read.
//!
//! Reading never panics and never reads outside its slice: a header that claims more than there is ends the iteration
//! (kernel replies are trusted to be well meant, not to be well formed; a fuzz target holds this).
//!
//! Format: RFC 3549 §2.3, `linux/netlink.h`. Header fields are in the machine's byte order.

pub(super) const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

/// One netlink message, its header read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`
    pub sequence: u32,
    /// `nlmsg_pid`: the port of the socket that caused it.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of one datagram. Ends at the first that is cut or malformed.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(native_u32(datagram, 0)?).ok()?;
        let message = Message {
            kind: native_u16(datagram, 4)?,
            flags: native_u16(datagram, 6)?,
            sequence: native_u32(datagram, 8)?,
            port: native_u32(datagram, 12)?,
            body: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

/// One attribute (`struct nlattr` and its value).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the nested and byte-order flags.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// A number in network order, as nfnetlink writes them.
    #[must_use]
    pub fn be32(&self) -> Option<u32> {
        self.value.get(..4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A number in network order, as nfnetlink writes them.
    #[must_use]
    pub fn be64(&self) -> Option<u64> {
        self.value.get(..8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A number in the machine's order, as rtnetlink writes them.
    #[must_use]
    pub fn native32(&self) -> Option<u32> {
        native_u32(self.value, 0)
    }

    /// A string up to its NUL; `None` if it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|&b| b == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }

    /// The attributes inside.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

/// A list of attributes. Ends at the first that is cut or malformed.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes of a message body behind a fixed header of `header` octets.
    #[must_use]
    pub fn after(body: &'a [u8], header: usize) -> Self {
        Attributes(body.get(align(header)..).unwrap_or_default())
    }

    /// The first attribute of this kind.
    #[must_use]
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(native_u16(self.0, 0)?);
        let kind = native_u16(self.0, 2)? & KIND_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Messages under construction, in one buffer for one `send`.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
}

impl Outgoing {
    /// Appends a message; `fill` writes what follows the netlink header.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    /// Appends octets as they are: a message's fixed header.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Appends an attribute. Values past 65,531 octets do not fit the format and are cut.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.framed(kind, |out| out.bytes.extend_from_slice(value.get(..65_531).unwrap_or(value)));
    }

    /// Appends a NUL-terminated string attribute.
    pub fn text(&mut self, kind: u16, text: &str) {
        self.framed(kind, |out| {
            out.bytes.extend_from_slice(text.as_bytes());
            out.bytes.push(0);
        });
    }

    /// Appends a number in network order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends a number in network order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an attribute that holds attributes. The caller keeps it under 64 KiB.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.framed(kind | NESTED, fill);
    }

    fn framed(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What would be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ACK, REQUEST};
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let mut out = Outgoing::default();
        out.message(0x0a0c, REQUEST | ACK, 7, |out| {
            out.raw(&[1, 0, 0, 10]);
            out.text(1, "firedoor");
            out.nest(3, |out| {
                out.be32(1, 0x0102_0304);
                out.be64(2, 5);
            });
        });
        out.message(0x11, REQUEST, 8, |_| {});
        let all: Vec<_> = messages(out.as_bytes()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].flags, all[0].sequence), (0x0a0c, 5, 7));
        let mut attributes = Attributes::after(all[0].body, 4);
        assert_eq!(attributes.next().unwrap().text(), Some("firedoor"));
        let nest = attributes.next().unwrap();
        assert_eq!(nest.kind, 3);
        assert_eq!(nest.nested().get(1).unwrap().be32(), Some(0x0102_0304));
        assert_eq!(nest.nested().get(2).unwrap().be64(), Some(5));
        assert_eq!(attributes.next(), None);
        assert!(all[1].body.is_empty());
    }

    #[test]
    fn a_cut_or_lying_message_ends_the_list() {
        let mut out = Outgoing::default();
        out.message(1, 0, 1, |out| out.text(1, "whole"));
        out.message(2, 0, 2, |out| out.text(1, "cut"));
        let bytes = out.as_bytes();
        for cut in 0..bytes.len() {
            let read = messages(&bytes[..cut]).count();
            assert!(read <= 1, "{cut} octets gave {read} messages");
        }
        // A length below the header's own must not loop for ever.
        for length in 0..16u32 {
            let mut lying = bytes.to_vec();
            lying[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&lying).count(), 0);
        }
        for length in 0..4u16 {
            let mut lying = [0u8; 16];
            lying[..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Attributes(&lying).count(), 0);
        }
    }
}
