//! Captures that a command is given: each read to its end, with a line of progress on a terminal, under the
//! configuration that fits.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use crate::capture::{FileSource, Read, Source};
use crate::config::{self, Config};
use crate::time::Timestamp;
use crate::wire::Frame;
use crate::wire::decode::decode;
use crate::wire::frame::Undecoded;

/// The configuration to read captures under: that of `path`, or the defaults on a machine that has none.
pub fn configuration(path: &Path) -> anyhow::Result<Config> {
    // A machine that only reads captures needs no configuration; a gateway replays with its own.
    if path == Path::new(super::CONFIG) && !path.exists() {
        return Ok(Config::default());
    }
    match config::load(path) {
        Ok((config, _)) => Ok(config),
        Err(errors) => Err(Failure::input(errors.to_string()).into()),
    }
}

/// Reads one capture, `-` being standard input, and gives the time and the frame of each packet to `take`, or why it cannot
/// be decoded. `packets` counts on.
///
/// # Errors
/// What `take` fails with; a file that cannot be read has status 2, and what came before has been taken.
pub fn read(
    path: &Path,
    packets: &mut u64,
    mut take: impl FnMut(Timestamp, Result<Frame<'_>, Undecoded>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut source = FileSource::open(path).map_err(|error| Failure::input(error.to_string()))?;
    let bar = progress(path);
    loop {
        let mut failure = None;
        let outcome = source.read(Duration::ZERO, &mut |meta, link, bytes| {
            *packets += 1;
            if failure.is_none() {
                failure = take(meta.at, decode(meta, link, bytes)).err();
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        bar.set_position(*packets);
        match outcome {
            Ok(Read::Frames(_) | Read::Idle) => {}
            Ok(Read::End) => break,
            Err(error) => return Err(Failure::input(error.to_string()).into()),
        }
    }
    bar.finish_and_clear();
    for notice in source.notices() {
        eprintln!("note: {}: {notice}", path.display());
    }
    Ok(())
}

fn progress(path: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} packets, {per_sec}");
    let bar = ProgressBar::new_spinner().with_message(path.display().to_string());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
