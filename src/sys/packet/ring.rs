//! A TPACKET_V3 ring: memory that kernel and program share, handed to and fro by the block.
//!
//! The kernel fills a block with frames and passes it over when it is full or its time is up; whoever drops the
//! [`Block`] passes it back. Every offset the kernel wrote is checked against the block before it is followed.

use std::ffi::c_int;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Socket, checked};

/// How a ring is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in a block: a power of two, of at least a page. No frame may be longer.
    pub block_bytes: usize,
    /// Blocks in the ring.
    pub blocks: usize,
    /// A block that is not full is passed over after this.
    pub timeout: Duration,
}

/// A socket with its ring.
#[derive(Debug)]
pub struct Ring {
    socket: Socket,
    memory: NonNull<u8>,
    geometry: Geometry,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone, and nothing about it is tied to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Gives `socket` a ring. Bind it afterwards.
    ///
    /// # Errors
    /// ENOMEM where the kernel finds no memory for it, EINVAL for a geometry it does not take.
    pub fn new(socket: Socket, geometry: Geometry) -> io::Result<Self> {
        let number = |value: usize| u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        socket.set(libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        // Frames are packed one behind the other, whatever the frame size; the kernel wants a plausible one.
        let frame_bytes = 2048;
        let request = libc::tpacket_req3 {
            tp_block_size: number(geometry.block_bytes)?,
            tp_block_nr: number(geometry.blocks)?,
            tp_frame_size: number(frame_bytes)?,
            tp_frame_nr: number(geometry.block_bytes / frame_bytes * geometry.blocks)?,
            tp_retire_blk_tov: u32::try_from(geometry.timeout.as_millis()).unwrap_or(u32::MAX).max(1),
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        let length = geometry.block_bytes * geometry.blocks;
        // SAFETY: a fresh mapping at an address of the kernel's choosing touches no memory of ours.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, socket.raw(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Ring { socket, memory, geometry, next: 0 })
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The next block, if the kernel has passed it over.
    pub fn block(&mut self) -> Option<Block<'_>> {
        // SAFETY: `next` is below the number of blocks, so the block lies within the mapping.
        let start = unsafe { self.memory.add(self.next * self.geometry.block_bytes) };
        let status = status(start);
        // Acquire: what the kernel wrote into the block before this bit is visible after it.
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        self.next = (self.next + 1) % self.geometry.blocks;
        // SAFETY: the block lies within the mapping and begins with its descriptor; it is ours until it is passed back.
        let descriptor = unsafe { start.cast::<libc::tpacket_block_desc>().read() };
        // SAFETY: version 3 has one variant of the header.
        let header = unsafe { descriptor.hdr.bh1 };
        Some(Block {
            start,
            length: self.geometry.block_bytes,
            offset: header.offset_to_first_pkt as usize,
            left: header.num_pkts,
            ring: std::marker::PhantomData,
        })
    }

    /// Waits until a block is passed over, an error is pending, or `wait` is over.
    ///
    /// # Errors
    /// The error that was pending on the socket.
    pub fn wait(&self, wait: Duration) -> io::Result<()> {
        let mut entry = libc::pollfd { fd: self.socket.raw(), events: libc::POLLIN | libc::POLLERR, revents: 0 };
        let millis = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: one entry is passed, and its number passed.
        match checked(unsafe { libc::poll(&raw mut entry, 1, millis) }) {
            Ok(_) if entry.revents & libc::POLLERR != 0 => self.socket.take_error(),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The descriptor to wait on together with others.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and blocks borrow the ring, so none is left.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.geometry.block_bytes * self.geometry.blocks) };
    }
}

/// The word by which a block changes hands.
fn status<'a>(block: NonNull<u8>) -> &'a AtomicU32 {
    let offset = offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);
    // SAFETY: callers pass the start of a block of the mapping, which is page-aligned and larger than its descriptor;
    // the kernel writes this word as a whole.
    unsafe { block.add(offset).cast::<AtomicU32>().as_ref() }
}

/// One block of frames; dropping it passes it back to the kernel.
#[derive(Debug)]
pub struct Block<'a> {
    start: NonNull<u8>,
    length: usize,
    offset: usize,
    left: u32,
    ring: std::marker::PhantomData<&'a mut Ring>,
}

/// A frame in a block.
#[derive(Clone, Copy, Debug)]
pub struct RingFrame<'a> {
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// How many there were on the wire.
    pub on_wire: u32,
    /// When the kernel saw it: nanoseconds since the epoch by the wall clock of that moment.
    pub realtime: u64,
    /// The tag that was stripped, as it stood in the frame (priority, DEI, id).
    pub vlan: Option<u16>,
    /// The interface it crossed.
    pub interface: u32,
    /// That interface's hardware type (ARPHRD_*).
    pub hardware: u16,
    /// The gateway sent it.
    pub outgoing: bool,
}

impl Block<'_> {
    /// The next frame of the block.
    pub fn next_frame(&mut self) -> Option<RingFrame<'_>> {
        const HEADER: usize = size_of::<libc::tpacket3_hdr>();
        self.left = self.left.checked_sub(1)?;
        let at = self.offset;
        self.within(at, libc::TPACKET3_HDRLEN)?;
        // SAFETY: the header and the address behind it lie within the block, which is ours until it is dropped; the
        // kernel aligns both to sixteen bytes, and nothing rests on that here.
        let (header, address) = unsafe {
            let header = self.start.add(at);
            (
                header.cast::<libc::tpacket3_hdr>().read_unaligned(),
                header.add(HEADER).cast::<libc::sockaddr_ll>().read_unaligned(),
            )
        };
        self.offset = at + header.tp_next_offset as usize;
        let (frame, length) = (at + usize::from(header.tp_mac), header.tp_snaplen as usize);
        self.within(frame, length)?;
        // SAFETY: these bytes lie within the block, which the kernel leaves alone until it is dropped; the frame
        // borrows the block.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.add(frame).as_ptr(), length) };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        Some(RingFrame {
            bytes,
            on_wire: header.tp_len,
            realtime: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
            vlan: tagged.then_some(u16::try_from(header.hv1.tp_vlan_tci & 0xffff).unwrap_or_default()),
            interface: u32::try_from(address.sll_ifindex).unwrap_or_default(),
            hardware: address.sll_hatype,
            outgoing: address.sll_pkttype == libc::PACKET_OUTGOING,
        })
    }

    fn within(&self, offset: usize, length: usize) -> Option<()> {
        (offset.checked_add(length)? <= self.length).then_some(())
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // Release: our reads of the block are over before the kernel sees it is its own again.
        status(self.start).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}
