//! SMB on the wire: borrowing views of the headers that Firedoor reads, after smoltcp's idiom.
//!
//! Each view names its byte ranges in `mod field`, is made with `new_checked`, and then never panics: fields past the
//! end of a cut message read as zero, and what reads beyond the fixed part says in its type that it may be missing.
//! Nothing here allocates, keeps state or follows a stream; [`track::streams`](crate::track::streams) does that.
//! Offsets count from the SMB header; the four bytes of the session header stand before it.
//!
//! Sources: MS-CIFS and MS-SMB (SMB1), MS-SMB2 (SMB 2 and 3), RFC 1001/1002 (NetBIOS sessions).

pub mod dialect;
pub mod session;
pub mod smb1;
pub mod smb2;
pub mod text;
pub mod transaction;
pub mod transform;

pub use dialect::Dialect;

/// Which message a session message carries, by its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `FF 53 4D 42` (MS-CIFS 2.2.3.1).
    Smb1,
    /// `FE 53 4D 42` (MS-SMB2 2.2.1).
    Smb2,
    /// `FD 53 4D 42`: encrypted (MS-SMB2 2.2.41).
    Encrypted,
    /// `FC 53 4D 42`: compressed (MS-SMB2 2.2.42).
    Compressed,
}

impl Protocol {
    /// By the first four bytes of the message; `None` where it is none of SMB's.
    #[must_use]
    pub fn of(message: &[u8]) -> Option<Protocol> {
        match message {
            [0xff, b'S', b'M', b'B', ..] => Some(Protocol::Smb1),
            [0xfe, b'S', b'M', b'B', ..] => Some(Protocol::Smb2),
            [0xfd, b'S', b'M', b'B', ..] => Some(Protocol::Encrypted),
            [0xfc, b'S', b'M', b'B', ..] => Some(Protocol::Compressed),
            _ => None,
        }
    }
}
