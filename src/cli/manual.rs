//! `firedoor manual`: the manual pages, made from the command line's own grammar so that they cannot disagree with it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{Global, Output};

/// Options of `manual`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write one page a command into this directory instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints firedoor(1), or writes every page.
pub fn run(args: &Args, _: &Global) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &args.out {
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(super::grammar(), directory))
            .with_context(|| format!("cannot write manual pages into {}", directory.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(super::grammar()).render(&mut page)?;
    let mut out = Output::stdout();
    out.write_all(&page)?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
