//! `firedoor replay FILE…`: what Firedoor would have decided, from captures.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ipnetwork::IpNetwork;

use super::output::{BAD, DIM, GOOD, HEADING, NOTE};
use super::{Failure, Global, Output};
use crate::capture::{FileSource, Read, Source};
use crate::config::{self, Config};
use crate::detect::settings::Networks;
use crate::replay::{Lockstep, Summary};
use crate::respond::{Decision, Verdict};
use crate::wire::decode::decode;

/// Options of `replay`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Captures (pcap or pcapng, gzip too), in the order of their times; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Watch the hosts of these networks instead of the configured ones
    #[arg(long, value_name = "NETWORK")]
    protect: Vec<IpNetwork>,
    /// Learn connections that are found running in the first so many seconds, without counting them
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    grace: u64,
    /// Split the work as so many capture threads would; the decisions are the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: u16,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read: status 2. Decisions up to there have been printed.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = configuration(&global.config)?;
    config.detect.start_up_grace = Duration::from_secs(args.grace);
    config.detect.fuse = None;
    if !args.protect.is_empty() {
        let networks = Networks::new(args.protect.clone());
        config.respond.protected = networks.clone();
        config.detect.protected = networks;
    }
    let mut printer =
        Printer { output: if global.json { Output::machine() } else { Output::stdout() }, json: global.json, lines: 0 };
    let mut core: Option<Lockstep> = None;
    let mut total = Summary::default();
    for path in &args.files {
        let mut source = FileSource::open(path).map_err(|error| Failure::input(error.to_string()))?;
        read(path, &mut source, &mut core, &mut total, &config, usize::from(args.shards), &mut printer)?;
        for notice in source.notices() {
            eprintln!("note: {}: {notice}", path.display());
        }
    }
    if let Some(core) = core {
        conclude(&mut total, &core);
    }
    printer.summary(&total)?;
    if total.hosts == 0 && total.packets > 0 {
        eprintln!(
            "note: no host of the protected networks opened a contact in this capture; `--protect NETWORK` names \
             others to watch"
        );
    }
    printer.output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn configuration(path: &Path) -> anyhow::Result<Config> {
    // A machine that only reads captures needs no configuration; a gateway replays with its own.
    if path == Path::new(super::CONFIG) && !path.exists() {
        return Ok(Config::default());
    }
    match config::load(path) {
        Ok((config, _)) => Ok(config),
        Err(errors) => Err(Failure::input(errors.to_string()).into()),
    }
}

/// Adds what a finished core came to.
fn conclude(total: &mut Summary, core: &Lockstep) {
    let part = core.summary();
    total.hosts += part.hosts;
    total.contained += part.contained;
    total.isolated += part.isolated;
    total.watched += part.watched;
    total.seconds += part.seconds;
}

/// Reads one file to its end.
fn read(
    path: &Path,
    source: &mut FileSource,
    core: &mut Option<Lockstep>,
    total: &mut Summary,
    config: &Config,
    shards: usize,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let bar = progress(path);
    let fresh = || Lockstep::new(config.detect.clone(), config.respond.clone(), shards);
    let mut begun = false;
    loop {
        let mut failure = None;
        let outcome = source.read(Duration::ZERO, &mut |meta, link, bytes| {
            if !begun {
                begun = true;
                // A file from before the last one's end is another story: its times do not fit this core's.
                if let Some(old) = core.take_if(|core| meta.at < core.now()) {
                    conclude(total, &old);
                    eprintln!("note: {}: begins before the capture before it ends; starting afresh", path.display());
                }
            }
            let core = core.get_or_insert_with(fresh);
            total.packets += 1;
            if let Ok(frame) = decode(meta, link, bytes) {
                core.frame(&frame);
            } else {
                total.undecoded += 1;
                let at = meta.at.max(core.now());
                core.advance(at);
            }
            if core.has_decisions() && failure.is_none() {
                failure = core.decisions().iter().try_for_each(|decision| printer.decision(decision)).err();
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        bar.set_position(total.packets);
        match outcome {
            Ok(Read::Frames(_) | Read::Idle) => {}
            Ok(Read::End) => break,
            Err(error) => {
                printer.output.flush()?;
                return Err(Failure::input(error.to_string()).into());
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn progress(path: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos} packets, {per_sec}");
    let bar = ProgressBar::new_spinner().with_message(path.display().to_string());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

struct Printer {
    output: Output,
    json: bool,
    lines: u64,
}

impl Printer {
    fn decision(&mut self, decision: &Decision) -> anyhow::Result<()> {
        if self.json {
            self.output.json(decision)?;
            return Ok(());
        }
        if self.lines == 0 {
            writeln!(
                self.output,
                "{HEADING}{:<24}  {:<8}  {:<39}  {:>6}  {:>5}  WHY{HEADING:#}",
                "TIME", "DECISION", "HOST", "SCORE", "DESTS"
            )?;
        }
        self.lines += 1;
        let style = match decision.decision {
            Verdict::Contain | Verdict::Isolate => BAD,
            Verdict::Watch | Verdict::Throttle | Verdict::Hold => NOTE,
            Verdict::Release => GOOD,
        };
        writeln!(
            self.output,
            "{:<24}  {style}{:<8}{style:#}  {:<39}  {:>6.2}  {:>5}  {}",
            decision.at.to_string(),
            decision.decision.label(),
            decision.host.to_string(),
            decision.score.nats(),
            decision.destinations,
            decision.reason
        )?;
        for evidence in decision.evidence.iter().rev().take(4).rev() {
            writeln!(
                self.output,
                "{DIM}{:<24}  {:>+8.2}  {} {}:{}: {}{DIM:#}",
                evidence.at.to_string(),
                evidence.weight.nats(),
                evidence.signal,
                evidence.peer,
                evidence.port,
                evidence.detail
            )?;
        }
        Ok(())
    }

    fn summary(&mut self, summary: &Summary) -> anyhow::Result<()> {
        if self.json {
            self.output.json(&serde_json::json!({ "summary": summary }))?;
            return Ok(());
        }
        if self.lines > 0 {
            writeln!(self.output)?;
        }
        let Summary { packets, undecoded, hosts, contained, isolated, watched, seconds } = summary;
        writeln!(
            self.output,
            "{packets} packets ({undecoded} undecoded) over {seconds:.1} s, {hosts} hosts: \
             {contained} contained, {isolated} isolated, {watched} watched"
        )?;
        Ok(())
    }
}
