//! A window that slides over a capture: one buffer, from which records are borrowed.

use std::io::{self, Read};

/// No record may be larger, whatever its length field says: twice what segmentation offload puts into one frame.
pub(super) const LARGEST_RECORD: usize = 1 << 20;

/// What is read at once: large enough to make system calls rare, small enough to stay in the second-level cache.
const BUFFER: usize = 256 << 10;

/// The unread part of a capture, as far as it is in memory.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `start` lies in the (decompressed) file.
    offset: u64,
    ended: bool,
    cut: bool,
}

impl Window {
    pub fn new(input: impl Read + Send + 'static) -> Self {
        Window {
            input: Box::new(input),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            cut: false,
        }
    }

    /// The bytes at hand.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where [`Window::bytes`] begins in the (decompressed) file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the file ended before its compressed stream did.
    pub fn cut(&self) -> bool {
        self.cut
    }

    /// Slides past `count` of the bytes at hand.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads until `wanted` bytes are at hand, and says whether they are: at the file's end they are not.
    ///
    /// The caller bounds `wanted` by [`LARGEST_RECORD`].
    pub fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted && !self.ended {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (self.ended, self.cut) = (true, true),
                Err(error) => return Err(error),
            }
        }
        Ok(self.end >= wanted)
    }

    /// Slides past `count` bytes, of which not all need be at hand; false if the file ends before.
    pub fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            if !self.fill(1)? {
                return Ok(false);
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(step);
            count -= step as u64;
        }
        Ok(true)
    }
}
