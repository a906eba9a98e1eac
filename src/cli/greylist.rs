//! `firedoor greylist`: for whom first contacts wait, or would, and the line that exempts a server.

use std::io::Write;
use std::process::ExitCode;

use super::client::Client;
use super::output::DIM;
use super::servers::readiness;
use super::table::{Table, ago, count, moment};
use super::{Global, Output};
use crate::published::greylist::WaitsView;

/// Options of `greylist`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
}

/// Lists who waits for whom.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut view: WaitsView = Client::new(global).get("/v1/greylist")?;
    let all = view.waits.len();
    view.waits.truncate(args.limit);
    let mut out = Output::stdout();
    if global.json {
        out.json(&view)?;
        out.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = if view.drops { "waited" } else { "would have waited" };
    if view.waits.is_empty() {
        writeln!(out, "No first contact {what} since {}.", moment(view.since))?;
    } else {
        writeln!(out, "First contacts that {what} since {}, by whom they were with:", moment(view.since))?;
        let mut table = Table::new(&[">TIMES", "LAST", "TO EXEMPT", "FROM, THE LATEST FIRST"]);
        for wait in &view.waits {
            let mut sources: Vec<String> = wait.sources.iter().take(2).map(ToString::to_string).collect();
            if wait.sources.len() > 2 {
                sources.push("…".to_owned());
            }
            table.row([
                count(wait.times).into(),
                ago(wait.last, view.at).into(),
                wait.exempt.clone().into(),
                sources.join(", ").into(),
            ]);
        }
        table.print(&mut out)?;
        let first: Vec<&str> = view.waits.iter().take(2).map(|wait| wait.exempt.as_str()).collect();
        writeln!(out, "{DIM}to exempt, in [greylist]: servers = [{}]{DIM:#}", first.join(", "))?;
        if view.waits.len() < all {
            writeln!(out, "{DIM}{} of {all}; --limit shows more{DIM:#}", view.waits.len())?;
        }
    }
    writeln!(out, "{DIM}{}{DIM:#}", readiness(&view.readiness, view.at))?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
