//! Sockets that systemd opened for us (`sd_listen_fds(3)`).
//!
//! A service whose sandbox allows it no Internet sockets can still serve on one that was handed to it.

use std::net::TcpListener;
use std::os::fd::BorrowedFd;

/// The listening TCP socket that was passed under this name (`FileDescriptorName=`), if there is one.
#[must_use]
pub fn listener(name: &str) -> Option<TcpListener> {
    let (descriptor, _) = sd_notify::listen_fds_with_names().ok()?.find(|(_, passed)| passed == name)?;
    // SAFETY: sd_notify has just set a flag on this very descriptor, so it is open; it is only duplicated here, and
    // the original stays open until the process ends, for nothing else in this program closes it.
    let passed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let listener = TcpListener::from(passed.try_clone_to_owned().ok()?);
    // Whatever else may have been passed under that name has no Internet address.
    listener.local_addr().is_ok().then_some(listener)
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_passed_to_a_process_that_systemd_did_not_start() {
        assert!(super::listener("metrics").is_none());
    }
}
