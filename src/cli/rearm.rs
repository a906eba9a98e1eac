//! `firedoor rearm`: arm the tripped breaker again.

use std::process::ExitCode;

use super::Global;
use super::client::Client;
use super::contain::show;
use crate::observe::order::Done;

/// `rearm` has no options of its own.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Arms it.
pub fn run(_: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    show(&Client::new(global).post::<Done>("/v1/breaker/rearm", &())?, global)
}
