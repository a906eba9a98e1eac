//! The four bytes before each message: direct TCP on 445 (MS-SMB2 2.1), the NetBIOS session service on 139
//! (RFC 1002 §4.3.1).
//!
//! Contract: never panics; a header shorter than four bytes is refused.

/// Bytes of the header.
pub const HEADER: usize = 4;
/// The same, as lengths on the wire are counted.
pub const FRAMING: u32 = 4;

mod field {
    /// Kind of message.
    pub const KIND: usize = 0;
    /// RFC 1002: seven reserved bits and the length's bit 16; direct TCP: the length's highest byte.
    pub const FLAGS: usize = 1;
    /// The length's lower sixteen bits, big-endian.
    pub const LENGTH: std::ops::Range<usize> = 2..4;
}

/// What the header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0x00: an SMB message.
    Message,
    /// 0x81: a NetBIOS session request.
    Request,
    /// 0x82: the session is granted.
    Positive,
    /// 0x83: the session is refused.
    Negative,
    /// 0x84: try elsewhere.
    Retarget,
    /// 0x85: keep-alive.
    KeepAlive,
}

/// Which of the two framings applies, by the service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Port 445: 24 bits of length, messages only (and keep-alives, which Windows sends here too).
    Direct,
    /// Port 139: 17 bits of length.
    NetBios,
}

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// How many bytes follow.
    pub length: u32,
}

impl Header {
    /// Reads the header; `None` where the bytes are too few or are no session header.
    #[must_use]
    pub fn new_checked(bytes: &[u8], framing: Framing) -> Option<Header> {
        let kind = match bytes.get(field::KIND)? {
            0x00 => Kind::Message,
            0x81 => Kind::Request,
            0x82 => Kind::Positive,
            0x83 => Kind::Negative,
            0x84 => Kind::Retarget,
            0x85 => Kind::KeepAlive,
            _ => return None,
        };
        let flags = u32::from(*bytes.get(field::FLAGS)?);
        let low = u16::from_be_bytes(bytes.get(field::LENGTH)?.try_into().ok()?);
        // RFC 1002: the other seven bits are reserved and must be zero.
        if framing == Framing::NetBios && flags > 1 {
            return None;
        }
        let length = flags << 16 | u32::from(low);
        // The fixed lengths of RFC 1002 §4.3.3–4.3.5; anything else is not this protocol.
        let fits = match kind {
            Kind::Message => true,
            Kind::Request => length <= 256 * 2 + 2,
            Kind::Positive | Kind::KeepAlive => length == 0,
            Kind::Negative => length == 1,
            Kind::Retarget => length == 6,
        };
        fits.then_some(Header { kind, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_24_bits_direct_and_17_over_netbios() {
        let bytes = [0x00, 0x01, 0x00, 0x02];
        let header = Header { kind: Kind::Message, length: 0x1_0002 };
        assert_eq!(Header::new_checked(&bytes, Framing::Direct), Some(header));
        assert_eq!(Header::new_checked(&bytes, Framing::NetBios), Some(header));
        assert_eq!(Header::new_checked(&[0, 0x80, 0, 0], Framing::NetBios), None);
        assert_eq!(Header::new_checked(&[0, 0x80, 0, 0], Framing::Direct).map(|h| h.length), Some(0x80_0000));
    }

    #[test]
    fn control_messages_have_fixed_lengths() {
        assert_eq!(Header::new_checked(&[0x85, 0, 0, 0], Framing::Direct).map(|h| h.kind), Some(Kind::KeepAlive));
        assert_eq!(Header::new_checked(&[0x82, 0, 0, 9], Framing::NetBios), None);
        assert_eq!(Header::new_checked(&[0x81, 0, 0, 68], Framing::NetBios).map(|h| h.length), Some(68));
        assert_eq!(Header::new_checked(&[0x86, 0, 0, 0], Framing::NetBios), None);
    }

    #[test]
    fn cut_headers_are_refused() {
        for length in 0..HEADER {
            assert_eq!(Header::new_checked(&[0; HEADER][..length], Framing::Direct), None);
        }
    }
}
