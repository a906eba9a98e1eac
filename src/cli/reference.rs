//! `firedoor reference`: every key of the configuration, from the one table that also reads it.

use std::io::Write;
use std::process::ExitCode;

use super::{Global, Output};
use crate::config::reference;

/// Options of `reference`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print the commented default file instead of the reference page
    #[arg(long, conflicts_with = "json")]
    defaults: bool,
}

/// Prints the page, the file, or one object a key.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut out = Output::stdout();
    if global.json {
        for entry in reference::entries() {
            out.json(&entry)?;
        }
    } else if args.defaults {
        out.write_all(reference::default_file().as_bytes())?;
    } else {
        out.write_all(reference::page().as_bytes())?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
