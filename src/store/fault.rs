//! What can go wrong with a database, sorted by what is to be done about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk, or the way to it: may pass by itself or by an engineer's hand. Worth trying again.
    #[error("{remedy}: {0}", remedy = remedy(.0))]
    Disk(#[source] rusqlite::Error),
    /// The file holds no sound database. It is moved aside, and a new one begun.
    #[error("the history is damaged: {0}")]
    Damaged(#[source] rusqlite::Error),
    /// The file was written by a newer version of Firedoor; it is left alone.
    #[error(
        "the history was written by a newer Firedoor (schema {found}, this one knows {known}): move the file away, or \
         go back to the newer version"
    )]
    Newer {
        /// The file's schema version.
        found: i64,
        /// The latest this program knows.
        known: usize,
    },
    /// A damaged file could not be moved out of the way.
    #[error("cannot move the damaged history to {to}: {source}")]
    MoveAside {
        /// Where to.
        to: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// This one record cannot be kept: trying again would not help.
    #[error("the history refuses this record: {0}")]
    Record(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged(error),
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Fault::Disk(error),
            _ => Fault::Record(error),
        }
    }
}

/// What to do, in front of what SQLite says.
fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room, or shorten observe.history_keep",
        Some(ErrorCode::ReadOnly) => "the history cannot be written: is its file system read-only?",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "the history cannot be opened: the directory must exist and belong to the user firedoor"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "somebody else is writing to the history: end their transaction"
        }
        _ => "the history's disk fails: see the kernel's log",
    }
}
