//! `firedoor never-contain`: who can never be dropped, and adding to them without a reload.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use super::client::Client;
use super::contain::show;
use super::output::DIM;
use super::table::{Table, moment};
use super::{Global, Output};
use crate::api::body;
use crate::api::host::NeverContainView;
use crate::api::orders::Done;

/// Options of `never-contain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Put an address or a network on the list; whoever it covers is released
    Add(Entry),
    /// Take off what was put there by command
    Remove(Entry),
}

#[derive(clap::Args, Debug)]
struct Entry {
    /// An address or a network
    network: String,
    /// Why: the record keeps it
    #[arg(long, default_value = "")]
    reason: String,
}

impl Entry {
    fn body(&self) -> body::Exempt {
        body::Exempt { network: self.network.clone(), reason: self.reason.clone() }
    }
}

/// Lists, adds or removes.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let client = Client::new(global);
    match &args.what {
        None => list(&client, global),
        Some(What::Add(entry)) => show(&client.post::<Done>("/v1/never-contain/add", &entry.body())?, global),
        Some(What::Remove(entry)) => show(&client.post::<Done>("/v1/never-contain/remove", &entry.body())?, global),
    }
}

fn list(client: &Client, global: &Global) -> anyhow::Result<ExitCode> {
    let view: NeverContainView = client.get("/v1/never-contain")?;
    let mut out = Output::stdout();
    if global.json {
        out.json(&view)?;
    } else {
        let mut table = Table::new(&["NETWORK", "FROM", "REASON"]);
        for network in &view.configured {
            table.row([network.to_string().into(), "the configuration".into(), "".into()]);
        }
        for network in &view.own_addresses {
            table.row([network.to_string().into(), "the gateway's own".into(), "".into()]);
        }
        for added in &view.added {
            let from = format!("{}, {}", added.by, moment(added.at));
            table.row([added.network.to_string().into(), from.into(), added.reason.clone().into()]);
        }
        table.print(&mut out)?;
        if !view.added.is_empty() {
            writeln!(out, "{DIM}What was added by command also belongs in the configuration file.{DIM:#}")?;
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
