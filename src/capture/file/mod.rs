//! Capture files: pcap and pcapng, gzip or not, from a path or standard input.
//!
//! Readers of our own, because speed and robustness both matter here: frames are borrowed from one large buffer, and no
//! length in the file makes it grow past [`window::LARGEST_RECORD`]. A file that stops in the middle of a record (a
//! capture still being written, a full disk) is read to its last whole record and leaves a [`Notice`]; one that
//! contradicts itself is an error from that record on.
//!
//! Times are the file's own and may run backwards. Direction flags are passed over: in a capture somebody made elsewhere,
//! "outgoing" says nothing about this gateway, and a host that recorded its own scan did scan.

mod batch;
mod link_type;
mod pcap;
mod pcapng;
mod window;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use crate::capture::{CaptureError, InterfaceStatistics, Read, Source, Statistics};
use crate::wire::frame::{LinkKind, Meta};
use batch::{Batch, Fault};
use pcap::Pcap;
use pcapng::PcapNg;
use window::Window;

pub use batch::Notice;

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// A capture file as a source of frames.
pub struct FileSource {
    name: String,
    window: Window,
    format: Format,
    frames: u64,
    torn: Option<u64>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource").field("name", &self.name).field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl FileSource {
    /// Opens a capture; the path `-` is standard input.
    ///
    /// # Errors
    /// It cannot be opened, is no capture, or holds a link type that is not decoded.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let standard_input = path == Path::new("-");
        let name = if standard_input { "standard input".to_owned() } else { path.display().to_string() };
        let file =
            if standard_input { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) };
        match file {
            Ok(file) => Self::from_reader(name, file),
            Err(source) => Err(CaptureError::Open { file: name, source }),
        }
    }

    /// Reads a capture from anywhere; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`FileSource::open`].
    pub fn from_reader(name: String, mut input: impl io::Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut magic = Vec::with_capacity(4);
        if let Err(source) = input.by_ref().take(4).read_to_end(&mut magic) {
            return Err(CaptureError::Open { file: name, source });
        }
        let zipped = magic.starts_with(&[0x1f, 0x8b]);
        let whole = io::Cursor::new(magic).chain(input);
        let mut window = if zipped { Window::new(MultiGzDecoder::new(whole)) } else { Window::new(whole) };
        match Self::recognise(&mut window) {
            Ok(format) => Ok(FileSource { name, window, format, frames: 0, torn: None }),
            Err(Fault::Io(source)) => Err(CaptureError::Read { file: name, offset: window.offset(), source }),
            Err(Fault::Damaged(reason)) => Err(CaptureError::Format { file: name, reason }),
            Err(Fault::LinkType(number)) => {
                Err(CaptureError::LinkType { file: name, number, name: link_type::name(number) })
            }
        }
    }

    fn recognise(window: &mut Window) -> Result<Format, Fault> {
        window.fill(4)?;
        let Some(magic) = window.bytes().first_chunk::<4>().copied() else {
            let found = window.bytes().len();
            return Err(Fault::Damaged(match found {
                0 => "it is empty".to_owned(),
                _ => format!("it ends after {found} bytes, before a file header"),
            }));
        };
        if magic == pcapng::SECTION_HEADER {
            return PcapNg::open(window).map(Format::PcapNg);
        }
        if let Some(layout) = pcap::layout(magic) {
            return Pcap::open(window, layout).map(Format::Pcap);
        }
        Err(Fault::Damaged(match magic {
            [0x28, 0xb5, 0x2f, 0xfd] => {
                "it is compressed with zstd; pipe it through `zstd -dc` and read `-`".to_owned()
            }
            [0xfd, b'7', b'z', b'X'] => "it is compressed with xz; pipe it through `xz -dc` and read `-`".to_owned(),
            [b'B', b'Z', b'h', _] => "it is compressed with bzip2; pipe it through `bzip2 -dc` and read `-`".to_owned(),
            [b's', b'n', b'o', b'o'] => "it is a snoop file; convert it with `editcap -F pcap`".to_owned(),
            [a, b, c, d] => format!("it begins with {a:02x} {b:02x} {c:02x} {d:02x}, which is neither pcap nor pcapng"),
        }))
    }

    /// What an engineer should know about the file; complete after [`Read::End`].
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = match &self.format {
            Format::Pcap(_) => Vec::new(),
            Format::PcapNg(reader) => reader.notices(),
        };
        notices.extend(self.torn.map(|offset| Notice::Torn { offset }));
        notices
    }
}

impl Source for FileSource {
    fn read(&mut self, _wait: Duration, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Read, CaptureError> {
        if self.torn.is_some() {
            return Ok(Read::End);
        }
        let batch = match &mut self.format {
            Format::Pcap(reader) => reader.read(&mut self.window, each),
            Format::PcapNg(reader) => reader.read(&mut self.window, each),
        };
        let file = || self.name.clone();
        let offset = self.window.offset();
        match batch {
            Ok(Batch::Frames(count)) => {
                self.frames += count as u64;
                Ok(Read::Frames(count))
            }
            Ok(Batch::End) => {
                // A compressed stream that was cut may still end with a whole record.
                self.torn = self.window.cut().then_some(offset);
                Ok(Read::End)
            }
            Ok(Batch::Torn(offset)) => {
                self.torn = Some(offset);
                Ok(Read::End)
            }
            Err(Fault::Io(source)) => {
                let offset = offset + self.window.bytes().len() as u64;
                Err(CaptureError::Read { file: file(), offset, source })
            }
            Err(Fault::Damaged(reason)) => {
                Err(CaptureError::Damaged { file: file(), offset, reason, frames: self.frames })
            }
            Err(Fault::LinkType(number)) => {
                Err(CaptureError::LinkType { file: file(), number, name: link_type::name(number) })
            }
        }
    }

    fn statistics(&mut self) -> Statistics {
        let file = InterfaceStatistics {
            name: self.name.clone(),
            up: true,
            received: self.frames,
            ..InterfaceStatistics::default()
        };
        Statistics { interfaces: vec![file] }
    }
}

#[cfg(test)]
mod tests;
