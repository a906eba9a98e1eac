//! `firedoor run`: the daemon.

use std::process::ExitCode;

use super::{Failure, Global};
use crate::{config, daemon, log};

/// Options of `run`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the daemon in the foreground.
///
/// # Errors
/// The configuration cannot be read (status 2), or the daemon cannot start (status 1).
pub fn run(_args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (mut config, warnings) = config::load(&global.config).map_err(|errors| Failure::input(errors.to_string()))?;
    if let Some(socket) = &global.socket {
        config.observe.socket.clone_from(socket);
    }
    log::init().map_err(|error| Failure::input(error.to_string()))?;
    if !warnings.is_empty() {
        tracing::warn!("the configuration has warnings; `firedoor check` shows them");
    }
    daemon::run(global.config.clone(), config).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
