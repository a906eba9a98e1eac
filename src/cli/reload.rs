//! `firedoor reload`: take the configuration file anew; a file with an error changes nothing.

use std::process::ExitCode;

use super::Global;
use super::client::Client;
use super::contain::show;
use crate::api::orders::Done;

/// `reload` has no options of its own.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Reloads; fails if the file was refused.
pub fn run(_: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    show(&Client::new(global).post::<Done>("/v1/reload", &())?, global)
}
