//! The SMB2 header (MS-SMB2 2.2.1) and the fixed parts of the commands that Firedoor reads.
//!
//! Contract: `new_checked` refuses what is shorter than its fixed part, lacks `FE 53 4D 42` or has another structure
//! size than 64; after it no accessor panics. Offsets count from the SMB2 header, as the specification's do, so one
//! view holds header and body; body fields past the end of the bytes read as zero.

use crate::wire::field::{Field, le16, le32, le64};
use crate::wire::smb::Protocol;
use crate::wire::smb::dialect::{Dialect, Signing};

/// Bytes of the header.
pub const HEADER: usize = 64;

mod field {
    use super::Field;

    pub const STRUCTURE_SIZE: Field = 4..6;
    pub const STATUS: Field = 8..12;
    pub const COMMAND: Field = 12..14;
    pub const FLAGS: Field = 16..20;
    pub const NEXT_COMMAND: Field = 20..24;
    pub const MESSAGE: Field = 24..32;
    pub const TREE: Field = 36..40;
}

/// Commands (MS-SMB2 2.2.1.2); only those that Firedoor reads.
pub mod command {
    /// `SMB2 NEGOTIATE`.
    pub const NEGOTIATE: u16 = 0;
    /// `SMB2 TREE_CONNECT`.
    pub const TREE_CONNECT: u16 = 3;
    /// `SMB2 WRITE`.
    pub const WRITE: u16 = 9;
    /// `SMB2 IOCTL`.
    pub const IOCTL: u16 = 11;
}

/// `FSCTL_PIPE_TRANSCEIVE` (MS-FSCC 2.3).
pub const PIPE_TRANSCEIVE: u32 = 0x0011_c017;

const FLAGS_RESPONSE: u32 = 0x1;
const FLAGS_ASYNC: u32 = 0x2;
const STRUCTURE_SIZE: u16 = 64;

/// A header, and what follows of its command.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// How many bytes hold command, flags and chaining.
    pub const START: usize = 36;

    /// Refuses what is shorter than [`Header::START`], not SMB2, or of the wrong structure size.
    #[must_use]
    pub fn new_checked(data: &'a [u8]) -> Option<Header<'a>> {
        let sized = data.len() >= Header::START && le16(data, &field::STRUCTURE_SIZE) == STRUCTURE_SIZE;
        (sized && Protocol::of(data) == Some(Protocol::Smb2)).then_some(Header { data })
    }

    /// Command code, see [`command`].
    #[must_use]
    pub fn command(&self) -> u16 {
        le16(self.data, &field::COMMAND)
    }

    /// NT status of a response.
    #[must_use]
    pub fn status(&self) -> u32 {
        le32(self.data, &field::STATUS)
    }

    /// Whether the server sent it.
    #[must_use]
    pub fn is_response(&self) -> bool {
        le32(self.data, &field::FLAGS) & FLAGS_RESPONSE != 0
    }

    /// Whether it has an async id in place of the tree id.
    #[must_use]
    pub fn is_async(&self) -> bool {
        le32(self.data, &field::FLAGS) & FLAGS_ASYNC != 0
    }

    /// Where the next command of a compound chain starts; `None` at its end, and where the offset is impossible
    /// (a command is at least a header long, and starts at a multiple of eight).
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let next = le32(self.data, &field::NEXT_COMMAND);
        (next as usize >= HEADER && next.is_multiple_of(8)).then_some(next)
    }

    /// Message id.
    #[must_use]
    pub fn message(&self) -> u64 {
        le64(self.data, &field::MESSAGE)
    }

    /// Tree id; `None` in an async message.
    #[must_use]
    pub fn tree(&self) -> Option<u32> {
        (!self.is_async()).then(|| le32(self.data, &field::TREE))
    }
}

/// `SMB2 NEGOTIATE` response (MS-SMB2 2.2.4).
#[derive(Clone, Copy, Debug)]
pub struct NegotiateResponse<'a>(pub Header<'a>);

impl NegotiateResponse<'_> {
    /// Bytes from the header on that its fields need.
    pub const LENGTH: usize = HEADER + 64;

    /// Whether the server signs.
    #[must_use]
    pub fn signing(&self) -> Signing {
        match le16(self.0.data, &(66..68)) {
            mode if mode & 2 != 0 => Signing::Required,
            mode if mode & 1 != 0 => Signing::Enabled,
            _ => Signing::Off,
        }
    }

    /// The dialect; `None` for the wildcard, after which the client negotiates once more.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        Dialect::of_revision(le16(self.0.data, &(68..70)))
    }

    /// The server's capability to encrypt, as 3.0 and 3.0.2 state it.
    #[must_use]
    pub fn encryption(&self) -> bool {
        le32(self.0.data, &(88..92)) & 0x40 != 0
    }

    /// Where the negotiate contexts of 3.1.1 start, and how many there are.
    #[must_use]
    pub fn contexts(&self) -> Option<(u32, u16)> {
        let (count, offset) = (le16(self.0.data, &(70..72)), le32(self.0.data, &(124..128)));
        (self.dialect() == Some(Dialect::Smb311) && count > 0 && offset as usize >= Self::LENGTH)
            .then_some((offset, count))
    }
}

/// The header of one negotiate context (MS-SMB2 2.2.3.1) with the count that the known ones begin with.
#[derive(Clone, Copy, Debug)]
pub struct NegotiateContext<'a> {
    data: &'a [u8],
}

impl<'a> NegotiateContext<'a> {
    /// Header, and the data's first four bytes.
    pub const LENGTH: usize = 12;
    /// `SMB2_ENCRYPTION_CAPABILITIES`.
    pub const ENCRYPTION: u16 = 2;
    /// `SMB2_COMPRESSION_CAPABILITIES`.
    pub const COMPRESSION: u16 = 3;

    /// Refuses what is shorter than the eight bytes of its header.
    #[must_use]
    pub fn new_checked(data: &'a [u8]) -> Option<NegotiateContext<'a>> {
        (data.len() >= 8).then_some(NegotiateContext { data })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> u16 {
        le16(self.data, &(0..2))
    }

    /// From this context to the next: eight-byte aligned (MS-SMB2 2.2.4).
    #[must_use]
    pub fn stride(&self) -> u32 {
        (8 + u32::from(le16(self.data, &(2..4)))).next_multiple_of(8)
    }

    /// How many algorithms it states (ciphers, compressions).
    #[must_use]
    pub fn algorithms(&self) -> u16 {
        le16(self.data, &(8..10))
    }
}

/// `SMB2 TREE_CONNECT` request and response (MS-SMB2 2.2.9, 2.2.10).
#[derive(Clone, Copy, Debug)]
pub struct TreeConnect<'a>(pub Header<'a>);

impl TreeConnect<'_> {
    /// Bytes from the header on that the fields need.
    pub const LENGTH: usize = HEADER + 8;

    /// Request: the UTF-16 path, from the header.
    #[must_use]
    pub fn path(&self) -> Field {
        let at = usize::from(le16(self.0.data, &(68..70)));
        at..at + usize::from(le16(self.0.data, &(70..72)))
    }

    /// Response: whether the share holds named pipes.
    #[must_use]
    pub fn is_pipes(&self) -> bool {
        self.0.data.get(66) == Some(&2)
    }
}

/// What a message carries to a file or pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The handle, its two halves folded into one.
    pub handle: u64,
    /// Where the data starts, from the header.
    pub at: u32,
    /// Its length.
    pub length: u32,
}

/// `SMB2 WRITE` request (MS-SMB2 2.2.21).
#[derive(Clone, Copy, Debug)]
pub struct Write<'a>(pub Header<'a>);

impl Write<'_> {
    /// Bytes from the header on that the fields need.
    pub const LENGTH: usize = HEADER + 32;

    /// What it writes.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let data = self.0.data;
        Carried {
            handle: le64(data, &(80..88)).rotate_left(32) ^ le64(data, &(88..96)),
            at: u32::from(le16(data, &(66..68))),
            length: le32(data, &(68..72)),
        }
    }
}

/// `SMB2 IOCTL` request (MS-SMB2 2.2.31).
#[derive(Clone, Copy, Debug)]
pub struct Ioctl<'a>(pub Header<'a>);

impl Ioctl<'_> {
    /// Bytes from the header on that the fields need.
    pub const LENGTH: usize = HEADER + 32;

    /// The control code.
    #[must_use]
    pub fn code(&self) -> u32 {
        le32(self.0.data, &(68..72))
    }

    /// Its input.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let data = self.0.data;
        Carried {
            handle: le64(data, &(72..80)).rotate_left(32) ^ le64(data, &(80..88)),
            at: le32(data, &(88..92)),
            length: le32(data, &(92..96)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u16, flags: u32, next: u32) -> Vec<u8> {
        let mut data = vec![0; HEADER];
        data[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
        data[12..14].copy_from_slice(&command.to_le_bytes());
        data[16..20].copy_from_slice(&flags.to_le_bytes());
        data[20..24].copy_from_slice(&next.to_le_bytes());
        data[36..40].copy_from_slice(&7_u32.to_le_bytes());
        data
    }

    #[test]
    fn a_header_says_who_and_where() {
        let data = header(command::WRITE, 1, 120);
        let view = Header::new_checked(&data).unwrap();
        assert_eq!(
            (view.command(), view.is_response(), view.next(), view.tree()),
            (9, true, Some(120), None.or(Some(7)))
        );
        let data = header(command::WRITE, 2, 63);
        let view = Header::new_checked(&data).unwrap();
        assert_eq!((view.is_response(), view.next(), view.tree()), (false, None, None));
    }

    #[test]
    fn eternalblues_groom_is_no_header() {
        let mut groom = vec![0; 128];
        groom[..4].copy_from_slice(&[0xfe, b'S', b'M', b'B']);
        assert!(Header::new_checked(&groom).is_none());
        assert!(Header::new_checked(&header(0, 0, 0)[..Header::START - 1]).is_none());
    }

    #[test]
    fn a_write_and_an_ioctl_name_handle_and_data() {
        let mut data = header(command::WRITE, 0, 0);
        data.resize(Write::LENGTH, 0);
        data[66] = 0x70;
        data[68..72].copy_from_slice(&72_u32.to_le_bytes());
        data[80] = 1;
        data[88] = 1;
        let write = Write(Header::new_checked(&data).unwrap()).carried();
        assert_eq!((write.at, write.length), (0x70, 72));

        let mut data = header(command::IOCTL, 0, 0);
        data.resize(Ioctl::LENGTH, 0);
        data[68..72].copy_from_slice(&PIPE_TRANSCEIVE.to_le_bytes());
        data[72] = 1;
        data[80] = 1;
        data[88] = 0x78;
        data[92] = 24;
        let ioctl = Ioctl(Header::new_checked(&data).unwrap());
        assert_eq!(ioctl.code(), PIPE_TRANSCEIVE);
        assert_eq!(ioctl.carried(), Carried { handle: write.handle, at: 0x78, length: 24 });
    }

    #[test]
    fn a_negotiate_response_tells_dialect_signing_and_contexts() {
        let mut data = header(command::NEGOTIATE, 1, 0);
        data.resize(NegotiateResponse::LENGTH, 0);
        data[66] = 3;
        data[68..70].copy_from_slice(&0x0311_u16.to_le_bytes());
        data[70] = 2;
        data[124..128].copy_from_slice(&208_u32.to_le_bytes());
        let view = NegotiateResponse(Header::new_checked(&data).unwrap());
        assert_eq!((view.dialect(), view.signing()), (Some(Dialect::Smb311), Signing::Required));
        assert_eq!((view.contexts(), view.encryption()), (Some((208, 2)), false));
        let context = NegotiateContext::new_checked(&[3, 0, 10, 0, 0, 0, 0, 0, 1, 0]).unwrap();
        assert_eq!((context.kind(), context.stride(), context.algorithms()), (3, 24, 1));
    }
}
