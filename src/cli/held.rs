//! `firedoor held`: decisions that wait because the breaker tripped; confirm or drop them.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use super::client::Client;
use super::contain::show;
use super::output::DIM;
use super::table::{Table, count, moment};
use super::{Global, Output};
use crate::api::body;
use crate::api::orders::Done;
use crate::respond::Held;

/// Options of `held`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Carry out a held decision
    Confirm(Which),
    /// Discard a held decision; its host is only watched for a while
    Drop(Which),
}

#[derive(clap::Args, Debug)]
struct Which {
    /// Its number, as `firedoor held` lists it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    number: Option<u64>,
    /// Each that waits
    #[arg(long)]
    all: bool,
}

impl Which {
    fn body(&self) -> body::Held {
        body::Held { id: self.number, all: self.all }
    }
}

/// Lists, confirms or drops.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let client = Client::new(global);
    match &args.what {
        None => list(&client, global),
        Some(What::Confirm(which)) => show(&client.post::<Done>("/v1/held/confirm", &which.body())?, global),
        Some(What::Drop(which)) => show(&client.post::<Done>("/v1/held/drop", &which.body())?, global),
    }
}

fn list(client: &Client, global: &Global) -> anyhow::Result<ExitCode> {
    let held: Vec<Held> = client.get("/v1/held")?;
    let mut out = Output::stdout();
    if global.json {
        out.json(&held)?;
    } else if held.is_empty() {
        writeln!(out, "Nothing waits.")?;
    } else {
        let mut table = Table::new(&[">NUMBER", "SINCE", "HOST", "WOULD", ">SCORE", ">DESTS", "REASON"]);
        for Held { id, action, decision } in &held {
            table.row([
                id.to_string().into(),
                moment(decision.at).into(),
                decision.host.to_string().into(),
                action.label().into(),
                decision.score.to_string().into(),
                count(decision.destinations.into()).into(),
                decision.reason.clone().into(),
            ]);
        }
        table.print(&mut out)?;
        writeln!(out, "{DIM}`firedoor held confirm NUMBER` or `… drop NUMBER`, or --all{DIM:#}")?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
