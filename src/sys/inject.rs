//! Raw frames out of an interface, many in one system call (packet(7), sendmmsg(2)). For the lab's floods, and for asking a segment who has an address.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The most frames handed over in one system call.
pub const BATCH: usize = 64;

/// A packet socket that only sends. It needs CAP_NET_RAW to open.
#[derive(Debug)]
pub struct Injector {
    socket: OwnedFd,
}

impl Injector {
    /// Opens one on the interface with this index, in the calling thread's namespace.
    pub fn open(interface: u32) -> io::Result<Self> {
        // SAFETY: socket takes no pointers. Protocol 0 gets nothing.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this descriptor, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
        // SAFETY: the kernel reads `length` bytes of a sockaddr_ll that lives here.
        if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Injector { socket })
    }

    /// Sends the first frames of the list, at most [`BATCH`], and says how many went out. A full queue in the kernel
    /// (ENOBUFS) loses the frames, as it would lose a flood's, and counts as sent.
    pub fn send(&self, frames: &[&[u8]]) -> io::Result<usize> {
        // SAFETY: all-zero bytes are a valid iovec and a valid mmsghdr: null pointers with zero lengths.
        let (mut slices, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { zeroed() };
        for ((slice, message), frame) in slices.iter_mut().zip(&mut messages).zip(frames) {
            slice.iov_base = frame.as_ptr().cast_mut().cast();
            slice.iov_len = frame.len();
            message.msg_hdr.msg_iov = slice;
            message.msg_hdr.msg_iovlen = 1;
        }
        let count = frames.len().min(BATCH);
        let wanted = libc::c_uint::try_from(count).map_err(io::Error::other)?;
        // SAFETY: the first `wanted` headers each point at one iovec that points at a borrowed frame, all of which
        // outlive the call; for sending, the kernel writes only the headers' msg_len.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), wanted, 0) };
        match usize::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(count),
                error => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::namespace::{self, Namespace};

    #[test]
    fn frames_leave_in_batches_and_arrive_in_order() {
        if let Err(error) = namespace::permitted() {
            eprintln!("SKIPPED, namespaces cannot be made here: {error}");
            return;
        }
        let [left, right] = ["left", "right"].map(|name| Namespace::new(name).unwrap());
        left.veth("eth0", &right, "eth0").unwrap();
        for machine in [&left, &right] {
            machine.set("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
            machine.link(|links| links.up("eth0")).unwrap();
        }
        let mut receiver = right
            .run(|| {
                let eth0 = pnet::datalink::interfaces().into_iter().find(|each| each.name == "eth0").unwrap();
                match pnet::datalink::channel(&eth0, pnet::datalink::Config::default()).unwrap() {
                    pnet::datalink::Channel::Ethernet(_, receiver) => receiver,
                    _ => panic!("not Ethernet"),
                }
            })
            .unwrap();
        let index = left.link(|links| links.index("eth0")).unwrap();
        let injector = left.run(|| Injector::open(index).unwrap()).unwrap();
        let frames: Vec<Vec<u8>> = (0..100).map(|number| vec![number; 60]).collect();
        let mut rest: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        while !rest.is_empty() {
            let sent = injector.send(&rest).unwrap();
            assert!(sent <= BATCH);
            rest.drain(..sent);
        }
        for frame in &frames {
            assert_eq!(receiver.next().unwrap(), frame);
        }
    }
}
