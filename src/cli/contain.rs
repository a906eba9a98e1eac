//! `firedoor contain ADDR`: drop a host's traffic to lateral services, by an engineer's order.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::client::Client;
use super::why;
use super::{Global, Output};
use crate::api::body;
use crate::api::orders::Done;

/// Options of `contain` and `isolate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// An address, or a network of at most 256 addresses
    #[arg(value_name = "ADDRESS")]
    target: String,
    /// Why: the record keeps it
    #[arg(long)]
    reason: String,
    /// For how long, such as 30m or 1h [default: until released]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// Contains.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    act("/v1/contain", args, global)
}

/// Contains or isolates.
pub(super) fn act(path: &str, args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let seconds = args.duration.map(|duration| duration.as_secs());
    let body = body::Act { target: args.target.clone(), reason: args.reason.clone(), seconds };
    let done: Done = Client::new(global).post(path, &body)?;
    show(&done, global)
}

/// Says what an order did.
pub(super) fn show(done: &Done, global: &Global) -> anyhow::Result<ExitCode> {
    let mut out = Output::stdout();
    if global.json {
        out.json(done)?;
    } else {
        writeln!(out, "{}", done.message)?;
        if !done.decisions.is_empty() {
            why::history(&done.decisions).print(&mut out)?;
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
