//! `firedoor servers`: who is known to serve, since when and by how many, so that nobody waits for them.

use std::io::Write;
use std::process::ExitCode;

use super::client::Client;
use super::output::{BAD, DIM, GOOD, NOTE};
use super::table::{Field, Table, ago, count, moment};
use super::{Global, Output};
use crate::published::greylist::{Readiness, ServerView, ServersView};
use crate::respond::servers::{LearntServer, Standing};
use crate::time::Timestamp;

/// Options of `servers`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Those too that answered somebody, and are not known
    #[arg(long)]
    all: bool,
}

/// Lists servers.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut view: ServersView = Client::new(global).get("/v1/servers")?;
    view.servers.retain(|server| args.all || server.standing != Standing::Learning);
    let mut out = Output::stdout();
    if global.json {
        out.json(&view)?;
        out.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    if view.servers.is_empty() {
        writeln!(out, "No server is known.")?;
    } else {
        let mut table = Table::new(&["ADDRESS", ">PORT", "STATE", "SINCE", ">CLIENTS", ">DAYS", "ANSWERED", "KERNEL"]);
        for server in &view.servers {
            table.row(row(server, view.at));
        }
        table.print(&mut out)?;
    }
    writeln!(out, "{DIM}{}{DIM:#}", readiness(&view.readiness, view.at))?;
    if !args.all && view.readiness.others > 0 {
        let ServersView { sources, days, .. } = view;
        writeln!(
            out,
            "{DIM}known: {sources} clients on {days} days, or {sources} in monitor mode; --all lists the rest{DIM:#}"
        )?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn row(view: &ServerView, now: Timestamp) -> [Field; 8] {
    let ServerView { server: LearntServer { service, since, last, days, clients, .. }, standing, in_kernel } = view;
    let state = match standing {
        Standing::Known => Field::new("known", GOOD),
        Standing::Learning => Field::new("learning", DIM),
        Standing::Refusing => Field::new("refusing", BAD),
    };
    let many = if clients.len() >= LearntServer::CLIENTS { "+" } else { "" };
    let kernel = match (standing, in_kernel) {
        (_, true) => Field::new("yes", GOOD),
        (Standing::Known, false) => Field::new("no", NOTE),
        (_, false) => Field::new("-", DIM),
    };
    [
        service.address.to_string().into(),
        format!("{}{}", service.port, if service.tcp { "" } else { "/udp" }).into(),
        state,
        moment(*since).into(),
        format!("{}{many}", clients.len()).into(),
        days.to_string().into(),
        ago(*last, now).into(),
        kernel,
    ]
}

/// Whether the site is ready for a greylist that drops, in a sentence.
pub(super) fn readiness(readiness: &Readiness, now: Timestamp) -> String {
    let Readiness { learning_since, known, others, last_learnt, ready } = readiness;
    let Some(since) = learning_since else {
        return "no server has answered anybody yet: let monitor mode run for some days".to_owned();
    };
    let learnt = format!("{} servers known, {} others, since {}", count(*known), count(*others), moment(*since));
    match last_learnt {
        _ if !ready => format!("{learnt}; still learning"),
        Some(at) => format!("{learnt}; ready, the last {}", ago(*at, now)),
        None => format!("{learnt}; ready"),
    }
}
