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
    /// The kernel refused something that live capture rests on.
    #[error("cannot {what}: {source}{}", hint(source))]
    Socket {
        /// What was asked.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// An interface cannot be asked about.
    #[error("cannot look at interface {name}: {source}")]
    Interface {
        /// Its name.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// An interface of a kind that is not decoded.
    #[error("interface {name} has hardware type {hardware}, which is not decoded; Ethernet and IP tunnels are")]
    Hardware {
        /// Its name.
        name: String,
        /// ARPHRD_* of linux/if_arp.h.
        hardware: u16,
    },
    /// None of the interfaces is there.
    #[error("none of the interfaces exists: {names}; see `ip link` and gateway.interfaces")]
    NoInterface {
        /// Their names.
        names: String,
    },
}

impl CaptureError {
    /// For `map_err`: what was asked of the kernel.
    pub(super) fn socket(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| CaptureError::Socket { what, source }
    }
}

/// What to do about it, where that is plain.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; live capture needs CAP_NET_RAW: run as root, or as the systemd unit does"
        }
        Some(libc::ENOMEM) => "; lower capture.ring_bytes or capture.shards",
        _ => "",
    }
}
