//! What a format's reader gives: a batch of frames, or why there is none.

use std::{fmt, io};

/// Something about a capture that its reader should know, though it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The file ends in the middle of a record.
    Torn {
        /// Where that record begins, after decompression.
        offset: u64,
    },
    /// Frames of an interface whose link type is not decoded.
    SkippedLink {
        /// The link type's number.
        number: u16,
        /// Its name in brackets, with a space before, where it is a common one.
        name: &'static str,
        /// How many frames were passed over.
        frames: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Torn { offset } => {
                write!(
                    f,
                    "the capture ends in the middle of a record, at byte {offset}; all records before it were read"
                )
            }
            Notice::SkippedLink { number, name, frames } => {
                write!(f, "{frames} frames of link type {number}{name} were passed over: it is not decoded")
            }
        }
    }
}

/// Why a record cannot be read; the file's name is added on the way out.
pub(super) enum Fault {
    Io(io::Error),
    Damaged(String),
    LinkType(u16),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// One batch out of a format's reader.
pub(super) enum Batch {
    Frames(usize),
    End,
    /// The end, within the record that begins at this offset.
    Torn(u64),
}
