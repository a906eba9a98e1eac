//! `firedoor replay FILE…`: what Firedoor would have decided, from captures.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::output::{BAD, DIM, GOOD, HEADING, NOTE};
use super::{Global, Output, captures};
use crate::config::Config;
use crate::detect;
use crate::detect::settings::Networks;
use crate::replay::{Lockstep, Summary};
use crate::respond::{Decision, Verdict};

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
    let mut config = captures::configuration(&global.config)?;
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
        read(path, &mut core, &mut total, &config, usize::from(args.shards), &mut printer)?;
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
    core: &mut Option<Lockstep>,
    total: &mut Summary,
    config: &Config,
    shards: usize,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    // Nobody can be asked who has an address.
    let detect = detect::Settings { believe_claims: true, ..config.detect.clone() };
    let fresh = || Lockstep::new(detect.clone(), config.respond.clone(), shards);
    let mut begun = false;
    let mut packets = total.packets;
    let outcome = captures::read(path, &mut packets, |at, frame| {
        if !begun {
            begun = true;
            // A file from before the last one's end is another story: its times do not fit this core's.
            if let Some(old) = core.take_if(|core| at < core.now()) {
                conclude(total, &old);
                eprintln!("note: {}: begins before the capture before it ends; starting afresh", path.display());
            }
        }
        let core = core.get_or_insert_with(fresh);
        if let Some(frame) = frame {
            core.frame(frame);
        } else {
            total.undecoded += 1;
            let at = at.max(core.now());
            core.advance(at);
        }
        if core.has_decisions() {
            return core.decisions().iter().try_for_each(|decision| printer.decision(decision));
        }
        Ok(())
    });
    total.packets = packets;
    if outcome.is_err() {
        // What was decided up to there is printed, whatever came then.
        let _ = printer.output.flush();
    }
    outcome
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
