//! `firedoor lab-part`: what the lab runs as a process of its own, inside one of its machines.

use std::net::IpAddr;
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
        /// Count only what this address sends; may be given several times
        #[arg(long)]
        source: Vec<IpAddr>,
    },
}

/// Runs the part until it is killed.
pub fn run(args: &Args, _: &Global) -> anyhow::Result<ExitCode> {
    let Part::Counter { interface, network, source } = &args.part;
    counter::count(interface, *network, source, &mut Output::stdout())
        .with_context(|| format!("cannot count what arrives on {interface}"))?;
    Ok(ExitCode::SUCCESS)
}
