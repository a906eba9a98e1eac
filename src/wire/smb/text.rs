//! Share paths as SMB writes them, in OEM characters or UTF-16, reduced to what Firedoor compares.
//!
//! Contract: bounded, allocates nothing, never panics. Characters outside ASCII become `?`; letters become lower case,
//! for share names are compared without case (MS-SMB2 3.3.5.7). A path without its terminator ends with the bytes.

/// The longest path that is kept whole.
const WHOLE: usize = 48;
/// The longest last component that is kept.
const LAST: usize = 16;

/// A path: its beginning and its last component.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    whole: [u8; WHOLE],
    whole_length: usize,
    last: [u8; LAST],
    last_length: usize,
}

impl Path {
    /// Reads a path up to its terminator or the end of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8], unicode: bool) -> Path {
        let mut path = Path { whole: [0; WHOLE], whole_length: 0, last: [0; LAST], last_length: 0 };
        if unicode {
            for pair in bytes.chunks_exact(2) {
                match *pair {
                    [0, 0] => break,
                    [low, 0] if low.is_ascii() => path.push(low),
                    _ => path.push(b'?'),
                }
            }
        } else {
            bytes.iter().take_while(|byte| **byte != 0).for_each(|byte| path.push(*byte));
        }
        path
    }

    fn push(&mut self, byte: u8) {
        let byte = if byte.is_ascii() { byte.to_ascii_lowercase() } else { b'?' };
        if let Some(place) = self.whole.get_mut(self.whole_length) {
            *place = byte;
        }
        self.whole_length += 1;
        if byte == b'\\' {
            self.last_length = 0;
            return;
        }
        if let Some(place) = self.last.get_mut(self.last_length) {
            *place = byte;
        }
        self.last_length += 1;
    }

    /// Whether the whole path is this, which must be in lower case.
    #[must_use]
    pub fn is(&self, lower: &str) -> bool {
        self.whole.get(..self.whole_length) == Some(lower.as_bytes())
    }

    /// The share it names.
    #[must_use]
    pub fn share(&self) -> Share {
        match self.last.get(..self.last_length) {
            Some(b"ipc$") => Share::Pipes,
            Some(b"admin$" | [b'a'..=b'z', b'$']) => Share::Admin,
            _ => Share::Other,
        }
    }
}

/// What a share is for, as far as remote execution cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// `IPC$`: named pipes.
    Pipes,
    /// `ADMIN$`, `C$` and the other drives' administrative shares.
    Admin,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn both_encodings_name_the_same_share() {
        for (text, share) in [
            (r"\\srv\IPC$", Share::Pipes),
            (r"\\SRV\Admin$", Share::Admin),
            (r"\\10.0.0.1\C$", Share::Admin),
            (r"\\srv\D$", Share::Admin),
            (r"\\srv\CC$", Share::Other),
            (r"\\srv\public", Share::Other),
            (r"\\srv\C$\Windows", Share::Other),
            ("", Share::Other),
        ] {
            assert_eq!(Path::new(text.as_bytes(), false).share(), share, "{text}");
            assert_eq!(Path::new(&utf16(text), true).share(), share, "{text}");
        }
    }

    #[test]
    fn a_path_ends_at_its_terminator() {
        assert!(Path::new(b"\\\\A\\IPC$\0?????\0", false).is(r"\\a\ipc$"));
        let mut wide = utf16("\\\\A\\IPC$\0");
        wide.extend(b"?????\0");
        assert!(Path::new(&wide, true).is(r"\\a\ipc$"));
    }

    #[test]
    fn a_long_path_keeps_its_share() {
        let long = format!(r"\\{}\admin$", "x".repeat(200));
        let path = Path::new(long.as_bytes(), false);
        assert_eq!(path.share(), Share::Admin);
        assert!(!path.is(&long));
        assert_eq!(Path::new(format!(r"\\a\{}", "y".repeat(99)).as_bytes(), false).share(), Share::Other);
    }
}
