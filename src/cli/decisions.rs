//! `firedoor decisions`: what was decided lately, and by whom.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use super::client::{Client, query};
use super::why::history;
use super::{Global, Output};
use crate::respond::Decision;
use crate::wire::Address;

/// Options of `decisions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only about this host
    #[arg(long, value_name = "ADDRESS")]
    host: Option<Address>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Lists them, latest first. With `--json`, one object a line, as `replay --json` writes them.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let asked = query(&[("host", args.host.map(|host| host.to_string())), ("limit", Some(args.limit.to_string()))]);
    let acts: Vec<Arc<Decision>> = Client::new(global).get(&format!("/v1/decisions{asked}"))?;
    let mut out = Output::stdout();
    if global.json {
        for act in &acts {
            out.json(act)?;
        }
    } else if acts.is_empty() {
        writeln!(out, "Nothing was decided.")?;
    } else {
        history(&acts).print(&mut out)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
