//! The SMB1 header (MS-CIFS 2.2.3.1) and the blocks of the commands that Firedoor reads.
//!
//! Contract: `new_checked` refuses what is shorter than header and word count or lacks `FF 53 4D 42`; after it no
//! accessor panics. A block view ([`Block`]) stands at a word count, in the first block or further down an AndX chain;
//! its fields past the end of the bytes read as zero.

use crate::wire::field::{Field, bytes, le16, le32, octet};
use crate::wire::smb::Protocol;

/// Bytes of the header before the word count.
pub const HEADER: usize = 32;

mod field {
    use super::Field;

    pub const COMMAND: usize = 4;
    pub const STATUS: Field = 5..9;
    pub const FLAGS: usize = 9;
    pub const FLAGS2: Field = 10..12;
    pub const TREE: Field = 24..26;
    pub const PROCESS: Field = 26..28;
    pub const USER: Field = 28..30;
    pub const MULTIPLEX: Field = 30..32;
    pub const WORD_COUNT: usize = 32;
}

/// Command codes (MS-CIFS 2.2.2.1); only those that Firedoor reads.
pub mod command {
    /// `SMB_COM_OPEN`.
    pub const OPEN: u8 = 0x02;
    /// `SMB_COM_TRANSACTION`.
    pub const TRANSACTION: u8 = 0x25;
    /// `SMB_COM_TRANSACTION_SECONDARY`.
    pub const TRANSACTION_SECONDARY: u8 = 0x26;
    /// `SMB_COM_OPEN_ANDX`.
    pub const OPEN_ANDX: u8 = 0x2d;
    /// `SMB_COM_WRITE_ANDX`.
    pub const WRITE_ANDX: u8 = 0x2f;
    /// `SMB_COM_TRANSACTION2`.
    pub const TRANSACTION2: u8 = 0x32;
    /// `SMB_COM_TRANSACTION2_SECONDARY`.
    pub const TRANSACTION2_SECONDARY: u8 = 0x33;
    /// `SMB_COM_NEGOTIATE`.
    pub const NEGOTIATE: u8 = 0x72;
    /// `SMB_COM_SESSION_SETUP_ANDX`.
    pub const SESSION_SETUP_ANDX: u8 = 0x73;
    /// `SMB_COM_TREE_CONNECT_ANDX`.
    pub const TREE_CONNECT_ANDX: u8 = 0x75;
    /// `SMB_COM_NT_TRANSACT`.
    pub const NT_TRANSACT: u8 = 0xa0;
    /// `SMB_COM_NT_TRANSACT_SECONDARY`.
    pub const NT_TRANSACT_SECONDARY: u8 = 0xa1;
    /// `SMB_COM_NT_CREATE_ANDX`.
    pub const NT_CREATE_ANDX: u8 = 0xa2;
    /// `SMB_COM_NT_CANCEL`.
    pub const NT_CANCEL: u8 = 0xa4;
    /// No further command in an AndX chain.
    pub const NONE: u8 = 0xff;
}

/// NT status codes that matter here (MS-ERREF 2.3.1).
pub mod status {
    /// `STATUS_NOT_IMPLEMENTED`: what an implanted DoublePulsar answers.
    pub const NOT_IMPLEMENTED: u32 = 0xc000_0002;
    /// `STATUS_INSUFF_SERVER_RESOURCES`: what a host without MS17-010 answers to the probe.
    pub const INSUFF_SERVER_RESOURCES: u32 = 0xc000_0205;
}

const FLAGS_REPLY: u8 = 0x80;
const FLAGS2_UNICODE: u16 = 0x8000;

/// Which exchange a message belongs to: what a server matches a transaction's parts by (MS-CIFS 3.3.5.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// TID.
    pub tree: u16,
    /// The low half of the PID.
    pub process: u16,
    /// UID.
    pub user: u16,
    /// MID.
    pub multiplex: u16,
}

/// A header with its first word count.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Refuses what is too short or not SMB1.
    #[must_use]
    pub fn new_checked(data: &'a [u8]) -> Option<Header<'a>> {
        (data.len() > HEADER && Protocol::of(data) == Some(Protocol::Smb1)).then_some(Header { data })
    }

    /// Command code, see [`command`].
    #[must_use]
    pub fn command(&self) -> u8 {
        octet(self.data, field::COMMAND)
    }

    /// NT status, or a DOS error class and code.
    #[must_use]
    pub fn status(&self) -> u32 {
        le32(self.data, &field::STATUS)
    }

    /// Whether the server sent it.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        octet(self.data, field::FLAGS) & FLAGS_REPLY != 0
    }

    /// Whether its strings are UTF-16.
    #[must_use]
    pub fn is_unicode(&self) -> bool {
        le16(self.data, &field::FLAGS2) & FLAGS2_UNICODE != 0
    }

    /// TID, PID, UID and MID.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        Exchange {
            tree: le16(self.data, &field::TREE),
            process: le16(self.data, &field::PROCESS),
            user: le16(self.data, &field::USER),
            multiplex: le16(self.data, &field::MULTIPLEX),
        }
    }

    /// Word count of the first block.
    #[must_use]
    pub fn word_count(&self) -> u8 {
        octet(self.data, field::WORD_COUNT)
    }

    /// The first command's block.
    #[must_use]
    pub fn block(&self) -> Block<'a> {
        Block { data: self.data.get(HEADER..).unwrap_or_default(), at: HEADER }
    }
}

/// One command's word count, words, byte count and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Block<'a> {
    /// The block whose word count is the first of `data`, `at` bytes into the SMB message.
    #[must_use]
    pub fn new_checked(data: &'a [u8], at: usize) -> Option<Block<'a>> {
        (!data.is_empty()).then_some(Block { data, at })
    }

    /// Word count.
    #[must_use]
    pub fn word_count(&self) -> u8 {
        octet(self.data, 0)
    }

    /// The bytes from the word count on.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where the word count stands in the message.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next command of an AndX chain and the offset of its word count from the SMB header (MS-CIFS 2.2.3.4);
    /// `None` at the chain's end, or where the chain would run backwards.
    #[must_use]
    pub fn next(&self) -> Option<(u8, u16)> {
        let (command, offset) = (octet(self.data, 1), le16(self.data, &(3..5)));
        let ahead = usize::from(offset) > self.at && bytes::<4>(self.data, &(1..5)).is_some();
        (self.word_count() >= 2 && command != command::NONE && ahead).then_some((command, offset))
    }

    /// The byte block: what follows words and byte count.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.data.get(self.bytes_at()..).unwrap_or_default()
    }

    /// Where the byte block starts, from the word count.
    #[must_use]
    pub fn bytes_at(&self) -> usize {
        1 + 2 * usize::from(self.word_count()) + 2
    }
}

/// `SMB_COM_NEGOTIATE` (MS-CIFS 2.2.4.52, MS-SMB 2.2.4.5).
#[derive(Clone, Copy, Debug)]
pub struct NegotiateResponse<'a>(pub Block<'a>);

impl NegotiateResponse<'_> {
    /// How much of the block holds dialect and security mode.
    pub const LENGTH: usize = 4;

    /// Index into the request's dialects; 0xffff where none fits.
    #[must_use]
    pub fn dialect_index(&self) -> u16 {
        le16(self.0.data, &(1..3))
    }

    /// Whether the server demands, or merely offers, signing; only NT LM 0.12 answers say (17 words).
    #[must_use]
    pub fn signing(&self) -> super::dialect::Signing {
        use super::dialect::Signing;
        match (self.0.word_count(), octet(self.0.data, 3)) {
            (17, mode) if mode & 0x08 != 0 => Signing::Required,
            (17, mode) if mode & 0x04 != 0 => Signing::Enabled,
            _ => Signing::Off,
        }
    }
}

/// `SMB_COM_TREE_CONNECT_ANDX` request (MS-CIFS 2.2.4.55).
#[derive(Clone, Copy, Debug)]
pub struct TreeConnect<'a>(pub Block<'a>);

impl<'a> TreeConnect<'a> {
    /// The path's bytes, from its first to the end of what was captured; empty where it is missing.
    #[must_use]
    pub fn path(&self, unicode: bool) -> &'a [u8] {
        let password = usize::from(le16(self.0.data, &(7..9)));
        let mut at = self.0.bytes_at() + password;
        // Unicode strings are aligned to two bytes from the SMB header (MS-CIFS 2.2.1.1).
        if unicode && (self.0.at + at) % 2 == 1 {
            at += 1;
        }
        self.0.data.get(at..).unwrap_or_default()
    }
}

/// `SMB_COM_WRITE_ANDX` request (MS-CIFS 2.2.4.43).
#[derive(Clone, Copy, Debug)]
pub struct WriteAndX<'a>(pub Block<'a>);

impl WriteAndX<'_> {
    /// How much of the block its fields need.
    pub const LENGTH: usize = 25;

    /// The file or pipe handle.
    #[must_use]
    pub fn fid(&self) -> u16 {
        le16(self.0.data, &(5..7))
    }

    /// Write mode; 0x0008 starts a message on a named pipe, 0x0004 writes raw.
    #[must_use]
    pub fn mode(&self) -> u16 {
        le16(self.0.data, &(15..17))
    }

    /// Bytes written (low half).
    #[must_use]
    pub fn length(&self) -> u16 {
        le16(self.0.data, &(21..23))
    }

    /// Where they start, from the SMB header.
    #[must_use]
    pub fn data_offset(&self) -> u16 {
        le16(self.0.data, &(23..25))
    }
}

/// The handle that a successful open or create answers with; `None` for other commands.
#[must_use]
pub fn opened_fid(command: u8, block: Block<'_>) -> Option<u16> {
    let field = match (command, block.word_count()) {
        (command::OPEN, 7..) => 1..3,
        (command::OPEN_ANDX, 15..) => 5..7,
        (command::NT_CREATE_ANDX, 34..) => 6..8,
        _ => return None,
    };
    bytes(block.data, &field).map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: u8, reply: bool, words: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut data = vec![0xff, b'S', b'M', b'B', command, 0, 0, 0, 0, if reply { 0x80 } else { 0 }, 0, 0x80];
        data.extend([0; 12]);
        data.extend([1, 0, 2, 0, 3, 0, 4, 0]);
        data.push(u8::try_from(words.len() / 2).unwrap());
        data.extend(words);
        data.extend(u16::try_from(rest.len()).unwrap().to_le_bytes());
        data.extend(rest);
        data
    }

    #[test]
    fn the_header_says_which_exchange() {
        let data = message(command::NEGOTIATE, true, &[0, 0], &[]);
        let header = Header::new_checked(&data).unwrap();
        assert_eq!(header.exchange(), Exchange { tree: 1, process: 2, user: 3, multiplex: 4 });
        assert!(header.is_reply() && header.is_unicode());
        assert_eq!((header.command(), header.word_count()), (0x72, 1));
        assert!(Header::new_checked(&data[..HEADER]).is_none());
    }

    #[test]
    fn a_chain_never_runs_backwards() {
        let chained = |offset: u16| {
            let [low, high] = offset.to_le_bytes();
            message(0x73, false, &[0x75, 0, low, high], &[])
        };
        let next = |data: &[u8]| Header::new_checked(data).unwrap().block().next();
        assert_eq!(next(&chained(60)), Some((0x75, 60)));
        assert_eq!(next(&chained(32)), None);
        assert_eq!(next(&message(0x73, false, &[0xff, 0, 60, 0], &[])), None);
        assert_eq!(next(&chained(60)[..35]), None);
    }

    #[test]
    fn the_path_of_a_tree_connect_follows_password_and_alignment() {
        let words = [0xff, 0, 0, 0, 0, 0, 1, 0];
        let data = message(0x75, false, &words, b"\0\\\\A\\C$\0");
        let tree = TreeConnect(Header::new_checked(&data).unwrap().block());
        assert_eq!(tree.path(false), b"\\\\A\\C$\0");
        // 43 + 1 is even: no pad.
        assert_eq!(tree.path(true), b"\\\\A\\C$\0");
        let hostile = [0xff, 0, 0, 0, 0, 0, 0xff, 0xff];
        let data = message(0x75, false, &hostile, b"\0");
        assert_eq!(TreeConnect(Header::new_checked(&data).unwrap().block()).path(true), b"");
    }

    #[test]
    fn an_answered_open_names_its_handle() {
        let mut words = [0; 68];
        words[5..7].copy_from_slice(&[0x01, 0x40]);
        let data = message(command::NT_CREATE_ANDX, true, &words, &[]);
        assert_eq!(opened_fid(0xa2, Header::new_checked(&data).unwrap().block()), Some(0x4001));
        assert_eq!(opened_fid(0x73, Header::new_checked(&data).unwrap().block()), None);
    }
}
