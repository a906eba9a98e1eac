//! `firedoor lab-part`: what the lab runs as a process of its own, inside one of its machines.

use std::process::ExitCode;

use anyhow::Context;
use ipnetwork::IpNetwork;

use super::{Global, Output};
use crate::lab::counter;

/// Options of `lab-part`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(clap::Subcommand, Debug)]
enum Part {
    /// Count the first contacts that arrive, a JSON line each
    Counter {
        /// The interface to listen on
        #[arg(long)]
        interface: String,
        /// The network whose hosts are counted for
        #[arg(long)]
        network: IpNetwork,
    },
}

/// Runs the part until it is killed.
pub fn run(args: &Args, _: &Global) -> anyhow::Result<ExitCode> {
    let Part::Counter { interface, network } = &args.part;
    counter::count(interface, *network, &mut Output::stdout())
        .with_context(|| format!("cannot count what arrives on {interface}"))?;
    Ok(ExitCode::SUCCESS)
}
