//! Packet sockets (packet(7)): raw frames off the interfaces, filtered and spread by programs that run in the kernel.
//!
//! A [`Socket`] gets nothing until it is bound, and may be bound to one interface or to all. Opening one needs
//! CAP_NET_RAW; replacing its filter later needs nothing.

mod ring;

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub use ring::{Block, Geometry, Ring, RingFrame};

/// One instruction of a classic BPF program (bpf(4), and the kernel's Documentation/networking/filter.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, size and mode, or operation.
    pub code: u16,
    /// Instructions to skip if the condition holds.
    pub jump_true: u8,
    /// Instructions to skip if not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

/// What the kernel counts for a ring, since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Frames that passed the filter, the dropped ones included.
    pub packets: u32,
    /// Frames that found no room.
    pub drops: u32,
    /// How often the ring was found full.
    pub freezes: u32,
}

/// An AF_PACKET socket for whole frames, link header included.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
}

impl Socket {
    /// Opens one, deaf until it is bound.
    ///
    /// # Errors
    /// Above all EPERM: CAP_NET_RAW is missing.
    pub fn open() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        checked(raw)?;
        // SAFETY: the kernel just gave this descriptor, and nobody else owns it.
        Ok(Socket { descriptor: unsafe { OwnedFd::from_raw_fd(raw) } })
    }

    /// Lets only frames pass for which `program` returns a length, cut to that length. Replaces the filter before.
    ///
    /// # Errors
    /// The kernel refuses the program: it is too long, or malformed.
    pub fn attach_filter(&self, program: &[Instruction]) -> io::Result<()> {
        self.set_program(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Starts hearing: one interface by its index, or with 0 all of them.
    ///
    /// # Errors
    /// The interface is not there, or not up.
    pub fn bind(&self, index: u32) -> io::Result<()> {
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
        address.sll_ifindex = c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or_default();
        // SAFETY: the address is a whole sockaddr_ll, and its length is passed.
        checked(unsafe { libc::bind(self.raw(), (&raw const address).cast(), length) })?;
        Ok(())
    }

    /// Makes a fan-out group of this bound socket, or joins `group`; gives the group's number. Members take the frames
    /// in the order they joined: the group's program says which.
    ///
    /// # Errors
    /// The group is another kind's, or the kernel knows no groups with a number of its own choosing (before 4.12).
    pub fn join_fanout(&self, group: Option<u16>) -> io::Result<u16> {
        let flags = libc::PACKET_FANOUT_CBPF | if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        let wanted = u32::from(group.unwrap_or_default()) | flags << 16;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &wanted)?;
        let given: u32 = self.get(libc::SOL_PACKET, libc::PACKET_FANOUT)?;
        Ok(u16::try_from(given & 0xffff).unwrap_or_default())
    }

    /// Sets the program whose result, modulo the group's size, is the member that takes the frame.
    ///
    /// # Errors
    /// The socket is in no group, or the kernel refuses the program.
    pub fn set_fanout_program(&self, program: &[Instruction]) -> io::Result<()> {
        self.set_program(libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, program)
    }

    /// What the kernel counted since this was last asked.
    ///
    /// # Errors
    /// None that a ring's socket should see.
    pub fn take_counts(&self) -> io::Result<KernelCounts> {
        let counts: [u32; 3] = self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        let [packets, drops, freezes] = counts;
        Ok(KernelCounts { packets, drops, freezes })
    }

    /// Takes the error that is pending on the socket, if there is one: ENETDOWN when its interface went down.
    ///
    /// # Errors
    /// That error.
    pub fn take_error(&self) -> io::Result<()> {
        let error: c_int = self.get(libc::SOL_SOCKET, libc::SO_ERROR)?;
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Room for frames that nobody has read yet, as far as the kernel grants it.
    ///
    /// # Errors
    /// None that an open socket should see.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // The first needs CAP_NET_ADMIN and goes past net.core.rmem_max.
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
            .or_else(|_| self.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
    }

    /// A second handle to the same socket.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.descriptor.try_clone().map(|descriptor| Socket { descriptor })
    }

    /// The bare descriptor, for somebody who reads from it by other means.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    fn raw(&self) -> c_int {
        self.descriptor.as_raw_fd()
    }

    fn set_program(&self, level: c_int, option: c_int, program: &[Instruction]) -> io::Result<()> {
        let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // The kernel only reads the instructions; its interface predates const.
        let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
        self.set(level, option, &libc::sock_fprog { len, filter })
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
        let value = (&raw const *value).cast::<c_void>();
        // SAFETY: the kernel reads `length` bytes of a `T` that is borrowed for the call; where that is a sock_fprog,
        // the instructions behind its pointer are borrowed by the caller, and have sock_filter's layout (repr(C)).
        checked(unsafe { libc::setsockopt(self.raw(), level, option, value, length) })?;
        Ok(())
    }

    fn get<T: Copy + Default>(&self, level: c_int, option: c_int) -> io::Result<T> {
        let mut value = T::default();
        let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
        // SAFETY: the kernel writes at most `length` bytes into `value`; the callers' types are plain integers.
        checked(unsafe {
            libc::getsockopt(self.raw(), level, option, (&raw mut value).cast::<c_void>(), &raw mut length)
        })?;
        Ok(value)
    }
}

/// Waits until one of the sockets has a frame or an error, or `wait` is over.
///
/// # Errors
/// None that open sockets should see.
pub fn wait_any<'a>(sockets: impl Iterator<Item = &'a Socket>, wait: Duration) -> io::Result<()> {
    let entry = |socket: &Socket| libc::pollfd { fd: socket.raw(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = sockets.map(entry).collect();
    let millis = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    let number = libc::nfds_t::try_from(entries.len()).unwrap_or_default();
    // SAFETY: the entries are borrowed for the call, and their number is passed.
    match checked(unsafe { libc::poll(entries.as_mut_ptr(), number, millis) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// An interface as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// The hardware type (ARPHRD_*, linux/if_arp.h).
    pub hardware: u16,
}

impl Socket {
    /// Asks the kernel for an interface by name; `None` if there is none.
    ///
    /// # Errors
    /// The name cannot be one, or the kernel does not give it.
    pub fn interface(&self, name: &str) -> io::Result<Option<Interface>> {
        let text = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: all-zero bytes are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let bytes = text.as_bytes_with_nul();
        if bytes.len() > request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
            *to = from.cast_signed();
        }
        let mut ask = |what| {
            // SAFETY: these requests read the name out of the ifreq and write one field of its union.
            match checked(unsafe { libc::ioctl(self.raw(), what, &raw mut request) }) {
                Ok(_) => Ok(Some(request.ifr_ifru)),
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(index) = ask(libc::SIOCGIFINDEX)? else { return Ok(None) };
        let Some(flags) = ask(libc::SIOCGIFFLAGS)? else { return Ok(None) };
        let Some(hardware) = ask(libc::SIOCGIFHWADDR)? else { return Ok(None) };
        // SAFETY: each request just filled the field that is read of its answer.
        let (index, flags, hardware) =
            unsafe { (index.ifru_ifindex, flags.ifru_flags, hardware.ifru_hwaddr.sa_family) };
        let up = c_int::from(flags) & libc::IFF_UP != 0;
        Ok(Some(Interface { index: u32::try_from(index).unwrap_or_default(), up, hardware }))
    }

    /// Asks the kernel for an interface by index, with its present name; `None` if there is none.
    ///
    /// # Errors
    /// The kernel refuses to say.
    pub fn interface_at(&self, index: u32) -> io::Result<Option<(String, Interface)>> {
        // SAFETY: all-zero bytes are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = c_int::try_from(index).map_err(io::Error::other)?;
        // SAFETY: the request reads the index out of the ifreq and writes its name (netdevice(7)).
        match checked(unsafe { libc::ioctl(self.raw(), libc::SIOCGIFNAME, &raw mut request) }) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let name: Vec<u8> = request.ifr_name.iter().map(|byte| byte.cast_unsigned()).take_while(|b| *b != 0).collect();
        let Ok(name) = String::from_utf8(name) else { return Ok(None) };
        // It may have been renamed again, or be gone, meanwhile: the next look shows it.
        Ok(self.interface(&name)?.filter(|found| found.index == index).map(|found| (name, found)))
    }
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
