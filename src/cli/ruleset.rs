//! `firedoor ruleset`: the nftables table, as this configuration makes it on this machine.

use std::io::Write;
use std::process::ExitCode;

use super::client::Client;
use super::output::{GOOD, NOTE};
use super::{Failure, Global, Output};
use crate::api::host::RulesetView;
use crate::config;
use crate::firewall::Firewall;
use crate::site::{Machine, Site};

/// Options of `ruleset`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What the running daemon put into the kernel, not what the file would give
    #[arg(long, conflicts_with = "check")]
    running: bool,
    /// Have nft and the kernel check it; changes nothing (needs CAP_NET_ADMIN)
    #[arg(long)]
    check: bool,
}

/// Prints it.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut out = Output::stdout();
    if args.running {
        let view: RulesetView = Client::new(global).get("/v1/ruleset")?;
        if global.json {
            out.json(&view)?;
        } else {
            write!(out, "{}", view.ruleset)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (config, _) = config::load(&global.config).map_err(|errors| {
        Failure::input(errors.to_string()).help(format!("firedoor check --config {}", global.config.display()))
    })?;
    let site = Site::new(&config, &Machine::now());
    let plan = site.plan(config::wall_clock())?;
    if args.check {
        Firewall::open()?.check(&plan)?;
    }
    let view = RulesetView { ruleset: plan.text(true) };
    if global.json {
        out.json(&view)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        writeln!(out, "{GOOD}# nft and the kernel take this ruleset{GOOD:#}")?;
    }
    for missing in config.gateway.interfaces.iter().filter(|name| !site.present().contains(name)) {
        writeln!(out, "{NOTE}# interface {missing} does not exist now: hooked when it comes{NOTE:#}")?;
    }
    write!(out, "{}", view.ruleset)?;
    Ok(ExitCode::SUCCESS)
}
