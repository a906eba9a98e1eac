//! Who is at the other end of a unix socket, as the kernel vouches for it (unix(7), SO_PEERCRED and SO_PEERGROUPS).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most supplementary groups the kernel lets a process have (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// The supplementary groups the peer had when it connected.
///
/// # Errors
/// The kernel's, such as for a socket that has no peer.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let bytes = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: `groups` is writable for `length` bytes, which is its size, and any bytes make a valid gid_t; the
        // kernel writes at most `length` bytes and sets it to what it wrote, or to what it would need.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() || needed > MOST_GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peers_groups_are_those_of_its_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut own: Vec<u32> = line.split_ascii_whitespace().map(|text| text.parse().unwrap()).collect();
        let mut named = groups(here.as_fd()).unwrap();
        own.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, own);
    }

    #[test]
    fn a_socket_without_a_peer_is_an_error_or_has_no_groups() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(groups(socket.as_fd()).map_or(true, |groups| groups.is_empty()));
    }
}
