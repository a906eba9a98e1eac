//! Waiting for a descriptor in the runtime.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::unix::AsyncFd;

/// Registers what owns a descriptor with the runtime's poller.
///
/// # Errors
/// The poller refuses the descriptor.
pub fn register<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `AsFd` vouches that the descriptor is open for as long as `owner` lives, and `AsyncFd` owns `owner` and
    // deregisters the descriptor before it drops it.
    let registered = unsafe { AsyncFd::register(owner) };
    registered.map_err(io::Error::from)
}
