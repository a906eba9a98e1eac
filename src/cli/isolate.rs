//! `firedoor isolate ADDR`: drop all of a host's traffic, care networks aside, by an engineer's order.

use std::process::ExitCode;

use super::Global;
use super::contain;

pub use super::contain::Args;

/// Isolates.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    contain::act("/v1/isolate", args, global)
}
