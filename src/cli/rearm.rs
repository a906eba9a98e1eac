//! `firedoor rearm`: arm the tripped breaker again.

use std::process::ExitCode;

use super::Global;
use super::client::Client;
use super::contain::show;
use crate::api::body;
use crate::api::orders::Done;

/// Options of `rearm`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Arm this zone alone: the zone, or an address in it [default: the whole and every zone]
    zone: Option<String>,
}

/// Arms it.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let body = body::Rearm { zone: args.zone.clone() };
    show(&Client::new(global).post::<Done>("/v1/breaker/rearm", &body)?, global)
}
