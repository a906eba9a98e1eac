//! Why a source cannot be read, worded for the engineer who has to mend it.

use std::io;

/// A source could not be opened, or can no longer be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open {file}: {source}")]
    Open {
        /// Its path, or "standard input".
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading failed on the way.
    #[error("cannot read {file} beyond byte {offset}: {source}")]
    Read {
        /// Its path, or "standard input".
        file: String,
        /// How far reading came, after decompression.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// It is no capture file.
    #[error("{file} is not a capture that can be read: {reason}")]
    Format {
        /// Its path, or "standard input".
        file: String,
        /// What was found instead, and what to do.
        reason: String,
    },
    /// A capture of a link layer that is not decoded.
    #[error(
        "{file} holds frames of link type {number}{name}, which is not decoded; Ethernet (1), NULL (0), LOOP (108), \
         raw IP (12, 14, 101, 228, 229) and Linux cooked captures (113, 276) are"
    )]
    LinkType {
        /// Its path, or "standard input".
        file: String,
        /// The number in the file (<https://www.tcpdump.org/linktypes.html>).
        number: u16,
        /// Its name in brackets, with a space before, where it is a common one.
        name: &'static str,
    },
    /// A capture that contradicts itself from here on. The frames before were handed over.
    #[error("{file} is damaged at byte {offset}: {reason}; {frames} frames before it were read")]
    Damaged {
        /// Its path, or "standard input".
        file: String,
        /// Where the bad record begins, after decompression.
        offset: u64,
        /// What is wrong with it.
        reason: String,
        /// Frames handed over before.
        frames: u64,
    },
}
