//! `firedoor check`: is this configuration right, and is it wise on this machine?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::ColorChoice;
use serde::Serialize;

use super::client::Client;
use super::output::{BAD, GOOD, HEADING, NOTE};
use super::{Global, Output, failure};
use crate::config::diagnostic::Report;
use crate::config::{self, Config, Surroundings};
use crate::observe::Status;
use crate::respond::{Case, Mode, Switched};
use crate::store::Store;

/// Options of `check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to check [default: what --config says]
    file: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Look at the file alone, not at this machine's interfaces, routes and servers
    #[arg(long)]
    file_only: bool,
    /// Print the configuration that is in force by this file: every key, defaults included
    #[arg(long, conflicts_with_all = ["json", "strict"])]
    effective: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    file: String,
    ok: bool,
    errors: Vec<Report>,
    warnings: Vec<Report>,
    /// Whom enforce mode will begin to drop: monitor mode has only counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    drops: Option<Switched>,
    /// Lines to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<String>,
}

/// Checks the file and says what is wrong or unwise.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let path = args.file.as_ref().unwrap_or(&global.config);
    let around = (!args.file_only).then(Surroundings::of_this_machine);
    let mut out = Output::stdout();
    let colour = out.choice() != ColorChoice::Never;
    let file = path.display().to_string();
    let status = match config::File::load(path) {
        Err(errors) => {
            if global.json {
                let findings = Findings {
                    file,
                    ok: false,
                    errors: errors.reports(),
                    warnings: Vec::new(),
                    drops: None,
                    proposal: None,
                };
                out.json(&findings)?;
            } else {
                writeln!(out, "{}\n", errors.render(colour))?;
                writeln!(out, "{BAD}{file}: {}{BAD:#}", count(errors.len(), "error"))?;
            }
            if errors.is_unreadable() { failure::USAGE } else { failure::FAILED }
        }
        Ok(read) if args.effective => {
            out.write_all(config::reference::written(&read.config).as_bytes())?;
            0
        }
        Ok(read) => {
            let warnings = read.warnings(Some(config::wall_clock()), around.as_ref());
            let proposal = around.as_ref().and_then(|around| read.proposal(around));
            let drops = (!args.file_only).then(|| begins_to_drop(&read.config, global)).flatten();
            let ok = !args.strict || warnings.is_empty();
            if global.json {
                out.json(&Findings { file, ok, errors: Vec::new(), warnings: warnings.reports(), drops, proposal })?;
            } else {
                if !warnings.is_empty() {
                    writeln!(out, "{}\n", warnings.render(colour))?;
                }
                if let Some(drops) = drops {
                    writeln!(
                        out,
                        "{NOTE}mode = \"enforce\" will begin to drop {drops}{NOTE:#}, which monitor mode has only \
                         counted:\n`firedoor hosts --acted` lists them, `firedoor why ADDRESS` says why, and `firedoor \
                         release ADDRESS` lets go.\n"
                    )?;
                }
                if let Some(proposal) = proposal {
                    writeln!(out, "{HEADING}Proposed, from what this machine knows of its network:{HEADING:#}\n")?;
                    writeln!(out, "{proposal}")?;
                }
                match warnings.len() {
                    0 => writeln!(out, "{GOOD}{file}: fine{GOOD:#}")?,
                    n => writeln!(out, "{NOTE}{file}: no errors, {}{NOTE:#}", count(n, "warning"))?,
                }
            }
            if ok { 0 } else { failure::FAILED }
        }
    };
    out.finish()?;
    Ok(ExitCode::from(status))
}

/// Whom this configuration will begin to drop: by the daemon's word, or by the history's if none runs.
fn begins_to_drop(config: &Config, global: &Global) -> Option<Switched> {
    if config.gateway.mode != Mode::Enforce {
        return None;
    }
    if let Ok(status) = Client::at(global.socket_or(&config.observe.socket)).get::<Status>("/v1/status") {
        return status.firewall.counted;
    }
    let store = Store::open_to_read(config.observe.history.as_deref()?).ok()?;
    let now = config::wall_clock();
    let counted = |case: &Case| {
        let last = store.of(case.host, 1).ok().and_then(|acts| acts.into_iter().next());
        case.until.is_none_or(|until| now < until) && last.is_some_and(|act| !act.enforced)
    };
    Switched::new(store.acted().ok()?.iter().filter(|case| counted(case)).map(|case| case.host).collect(), now)
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
