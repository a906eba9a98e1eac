//! `firedoor release ADDR`: undo.

use std::process::ExitCode;

use super::Global;
use super::client::Client;
use super::contain::show;
use crate::api::body;
use crate::api::orders::Done;

/// Options of `release`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// An address, or a network: whoever is acted on in it
    #[arg(value_name = "ADDRESS", required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,
    /// Whoever is acted on
    #[arg(long)]
    all: bool,
    /// Why: the record keeps it
    #[arg(long, default_value = "")]
    reason: String,
}

/// Releases.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let target = args.target.clone().unwrap_or_else(|| "all".to_owned());
    let done: Done = Client::new(global).post("/v1/release", &body::Release { target, reason: args.reason.clone() })?;
    show(&done, global)
}
