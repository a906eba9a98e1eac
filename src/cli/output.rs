//! Standard output: buffered, coloured only on a terminal (and not with `NO_COLOR`), quiet when its reader has gone.

use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What is well.
pub const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
/// What deserves a look.
pub const NOTE: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
/// What is wrong, or shut.
pub const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
/// What matters less.
pub const DIM: Style = Style::new().dimmed();

/// Standard output of a command. Write styles freely (`{BAD}…{BAD:#}`): they are taken out where they do not belong.
///
/// Call [`Output::finish`] at the end, or [`Write::flush`] where a reader waits for a line.
#[derive(Debug)]
pub struct Output {
    inner: BufWriter<AutoStream<StdoutLock<'static>>>,
    /// The line of JSON being made; its room is used again.
    line: Vec<u8>,
}

impl Output {
    /// Locks standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let lock = io::stdout().lock();
        let choice = AutoStream::choice(&lock);
        Output { inner: BufWriter::new(AutoStream::new(lock, choice)), line: Vec::new() }
    }

    /// Whether colours come through.
    #[must_use]
    pub fn choice(&self) -> anstream::ColorChoice {
        self.inner.get_ref().current_choice()
    }

    /// Locks standard output for a machine: nothing is coloured, so nothing need be searched for colours.
    #[must_use]
    pub fn machine() -> Self {
        Output {
            inner: BufWriter::with_capacity(1 << 16, AutoStream::always_ansi(io::stdout().lock())),
            line: Vec::with_capacity(1 << 13),
        }
    }

    /// Writes one object on a line of its own.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).map_err(io::Error::other)?;
        self.line.push(b'\n');
        self.inner.write_all(&self.line).map_err(mark)
    }

    /// Writes out what is buffered; says so if it could not.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).map_err(mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(mark)
    }
}

/// Whoever read our standard output (`head`, a pager) stopped reading.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
struct ReaderGone;

/// Tells a broken standard output from any other broken pipe, such as the daemon's socket.
fn mark(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::new(error.kind(), ReaderGone) } else { error }
}

/// Whether a command failed only because nobody reads its output any more.
pub(super) fn reader_gone(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .filter_map(io::Error::get_ref)
        .any(<dyn std::error::Error + Send + Sync>::is::<ReaderGone>)
}
