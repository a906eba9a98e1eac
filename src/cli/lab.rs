//! `firedoor lab`: a throwaway network, a worm in it, and what Firedoor does about it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{BAD, DIM, GOOD, HEADING};
use super::{Failure, Global, Output};
use crate::lab::gateway::Setup;
use crate::lab::plan::{Family, MOST_WARDS, Shape};
use crate::lab::report::{Promise, Report, Spread};
use crate::lab::trial::{self, MOST_COMPRESSION, Outcome, Stage, Trial};
use crate::lab::worm::Kind;
use crate::lab::{epidemic, plot};
use crate::respond::Mode;
use crate::sys::{limits, namespace};

/// Where the daemon under test keeps its files: a tmpfs that only the lab sees.
const DIRECTORY: &str = "/run/firedoor";

/// Options of `lab`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How the worm spreads
    #[arg(long, value_enum, value_name = "KIND", default_value = "wannacry")]
    worm: Kind,
    /// Attempts a second, instead of the worm's own pace
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Decides which hosts are live and whom the worm tries
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long the worm is loose, instead of what suits it
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Live addresses of the victims' /24, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..=100))]
    live: u8,
    /// The gateway is a transparent bridge, not a router
    #[arg(long)]
    bridged: bool,
    /// IPv6 instead of IPv4
    #[arg(long)]
    ipv6: bool,
    /// The daemon only monitors
    #[arg(long)]
    monitor: bool,
    /// Leave out the run without Firedoor
    #[arg(long)]
    no_baseline: bool,
    /// Let time run so many times faster, for the slow worm: its pace, the score's decay and the windows are scaled
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = compression)]
    compress: f64,
    /// An epidemic in several wards: who is reached for six seconds becomes infected and joins in
    #[arg(long, conflicts_with_all = ["worm", "rate", "compress", "monitor"])]
    epidemic: bool,
    /// Wards of the epidemic, a /24 each
    #[arg(long, value_name = "NUMBER", default_value_t = 4, requires = "epidemic", value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_WARDS)))]
    wards: u8,
    /// Draw the epidemic into this SVG file
    #[arg(long, value_name = "FILE", requires = "epidemic")]
    plot: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.001, 1_000_000.0)
}

fn compression(text: &str) -> Result<f64, String> {
    within(text, 1.0, MOST_COMPRESSION)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("must be from {least} to {most}")) }
}

impl Args {
    const fn family(&self) -> Family {
        if self.ipv6 { Family::Ipv6 } else { Family::Ipv4 }
    }

    const fn shape(&self) -> Shape {
        if self.bridged { Shape::Bridged } else { Shape::Routed }
    }

    fn trial(&self) -> Trial {
        let rate = self.rate.unwrap_or_else(|| self.worm.rate());
        let seconds = self.seconds.map_or_else(
            || match self.worm {
                Kind::Fast | Kind::Flood => 5.0,
                Kind::Wannacry | Kind::Topological => 10.0,
                // Long enough for a dozen of its contacts.
                Kind::Slow => (12.0 / (rate * self.compress)).min(3600.0),
            },
            f64::from,
        );
        Trial {
            rate,
            family: self.family(),
            shape: self.shape(),
            mode: if self.monitor { Mode::Monitor } else { Mode::Enforce },
            live_percent: self.live,
            compression: self.compress,
            ..Trial::new(self.worm, self.seed, seconds)
        }
    }
}

/// Runs the lab. Status 1 if a promise was not kept.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    if args.plot.as_ref().is_some_and(|path| path.starts_with("/run")) {
        return Err(Failure::input("the lab hides /run from itself, so it cannot draw there").into());
    }
    if !namespace::enclosed() {
        // No thread has been started yet, which a user namespace asks for.
        return Ok(namespace::enclose()?);
    }
    exit_on_signals()?;
    limits::raise_descriptors().context("cannot raise the limit of open files")?;
    std::fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY} in the lab"))?;
    let program = std::env::current_exe().context("cannot find the firedoor executable")?;
    if args.epidemic { multiply(args, global, &program) } else { attack(args, global, &program) }
}

/// Ends the whole lab on Ctrl-C and SIGTERM. This is process 1 of its PID namespace: the kernel ends everything that
/// was started in it, and the networks go with the processes.
fn exit_on_signals() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            }
        });
        anstream::eprintln!("\ninterrupted: the lab's networks and processes are gone");
        std::process::exit(128 + number);
    })?;
    Ok(())
}

/// A line of progress for each run; on a terminal only.
#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    made: OnceLock<ProgressStyle>,
}

impl Bars {
    fn new() -> Self {
        Bars { all: MultiProgress::new(), made: OnceLock::new() }
    }

    fn add(&self, name: &'static str) -> ProgressBar {
        let style = self.made.get_or_init(|| {
            ProgressStyle::with_template("{spinner} {prefix:17} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner())
        });
        let bar = self.all.add(ProgressBar::new_spinner().with_prefix(name).with_style(style.clone()));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

fn show(bar: &ProgressBar, stage: Stage) {
    bar.set_message(match stage {
        Stage::Building => "building the network".to_owned(),
        Stage::Learning => "hosts speak, clinical sessions begin".to_owned(),
        Stage::Loose { seconds, tried, reached, verdict } => {
            let verdict = verdict.map_or_else(String::new, |verdict| format!(", decision: {verdict}"));
            format!("{seconds:4.1} s: worm tried {tried:3} hosts, reached {reached:3}{verdict}")
        }
    });
}

fn attack(args: &Args, global: &Global, program: &Path) -> anyhow::Result<ExitCode> {
    let trial = args.trial();
    let bars = Bars::new();
    let without = {
        let (bars, trial, program) = (bars.clone(), trial.clone(), program.to_owned());
        move || {
            let bar = bars.add("without Firedoor");
            let outcome = trial::run(&trial, &program, None, &|stage| show(&bar, stage));
            bar.finish_and_clear();
            outcome
        }
    };
    let with = || {
        let bar = bars.add("with Firedoor");
        let outcome = trial::run(&trial, program, Some(Path::new(DIRECTORY)), &|stage| show(&bar, stage));
        bar.finish_and_clear();
        outcome
    };
    let (protected, baseline) = if args.no_baseline {
        (with()?, None)
    } else if trial.worm.is_raw() {
        // Two floods at once would measure the machine.
        (with()?, Some(without()?))
    } else {
        beside(with, without)?
    };
    let report = Report::new(trial, protected, baseline);
    let mut out = Output::stdout();
    if global.json {
        out.json(&report)?;
    } else {
        print(&mut out, &report)?;
    }
    out.finish()?;
    Ok(if report.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs both at the same time, the second on a thread of its own; a failure of the first does not wait for it.
fn beside<T: Send + 'static>(
    first: impl FnOnce() -> crate::lab::Result<T>,
    second: impl FnOnce() -> crate::lab::Result<T> + Send + 'static,
) -> anyhow::Result<(T, Option<T>)> {
    let second = std::thread::Builder::new().name("baseline".to_owned()).spawn(second)?;
    let first = first()?;
    match second.join() {
        Ok(second) => Ok((first, Some(second?))),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn multiply(args: &Args, global: &Global, program: &Path) -> anyhow::Result<ExitCode> {
    let plan = args.trial().plan().with_wards(args.wards);
    let seconds = f64::from(args.seconds.unwrap_or(25));
    let length = (args.seed, Duration::from_secs_f64(seconds));
    let bars = Bars::new();
    let arm = {
        let (bars, plan, program) = (bars.clone(), plan.clone(), program.to_owned());
        move |name, daemon: Option<(&Path, &Setup)>| {
            let bar = bars.add(name);
            bar.set_message("building the network");
            let stats = epidemic::run(&plan, length, &program, daemon, &|infected, contained| {
                bar.set_message(format!("{infected:3} infected, {contained:3} contained"));
            });
            bar.finish_and_clear();
            stats
        }
    };
    let setup = Setup::new(Mode::Enforce, &plan);
    let with = || arm("with Firedoor", Some((Path::new(DIRECTORY), &setup)));
    let (protected, baseline) = if args.no_baseline {
        (with()?, None)
    } else {
        let arm = arm.clone();
        beside(with, move || arm("without Firedoor", None))?
    };
    let spread = Spread::new((seconds, args.seed), protected, baseline);
    if let Some(path) = &args.plot {
        plot::draw(&spread, path)
            .map_err(|error| anyhow::anyhow!(error))
            .with_context(|| format!("cannot draw into {}", path.display()))?;
    }
    let mut out = Output::stdout();
    if global.json {
        out.json(&spread)?;
    } else {
        writeln!(out, "{HEADING}Epidemic in {} wards, {seconds:.0} s, seed {}{HEADING:#}", args.wards, args.seed)?;
        if let Some(baseline) = &spread.baseline {
            writeln!(out, "  without Firedoor  {} of {} infected", baseline.infections.len(), baseline.vulnerable)?;
        }
        let protected = &spread.protected;
        let (infected, all) = (protected.infections.len(), protected.vulnerable);
        writeln!(out, "  with Firedoor     {infected} of {all} infected, {} contained", protected.contained)?;
        print_promises(&mut out, &spread.promises)?;
    }
    out.finish()?;
    Ok(if spread.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut Output, report: &Report) -> anyhow::Result<()> {
    let trial = &report.trial;
    let worm = clap::ValueEnum::to_possible_value(&trial.worm).map_or_else(String::new, |v| v.get_name().to_owned());
    let (family, shape) = match (trial.family, trial.shape) {
        (Family::Ipv4, Shape::Routed) => ("IPv4", "routed"),
        (Family::Ipv4, Shape::Bridged) => ("IPv4", "bridged"),
        (Family::Ipv6, Shape::Routed) => ("IPv6", "routed"),
        (Family::Ipv6, Shape::Bridged) => ("IPv6", "bridged"),
    };
    let pace = trial.order().rate;
    let pace = if pace < 1.0 { format!("{pace:.3}") } else { format!("{pace:.0}") };
    writeln!(
        out,
        "{HEADING}Worm {worm} on {}, {} attempts a second for {:.0} s; {family}, {shape}, {}, seed {}{HEADING:#}",
        report.host, pace, trial.seconds, trial.mode, trial.seed
    )?;
    if trial.compression > 1.0 {
        writeln!(
            out,
            "{DIM}Time runs {} times faster: the worm's pace, the score's decay and the windows are scaled.{DIM:#}",
            trial.compression
        )?;
    }
    let width = 20;
    if report.baseline.is_some() {
        writeln!(out, "{:44}{:>width$}{:>width$}", "", "without Firedoor", "with Firedoor")?;
    } else {
        writeln!(out, "{:44}{:>width$}", "", "with Firedoor")?;
    }
    let mut row = |name: &str, value: &dyn Fn(&Outcome) -> String| -> std::io::Result<()> {
        write!(out, "  {name:42}")?;
        if let Some(baseline) = &report.baseline {
            write!(out, "{:>width$}", value(baseline))?;
        }
        writeln!(out, "{:>width$}", value(&report.protected))
    };
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} s"));
    row("attempts by the worm", &|outcome| outcome.worm_stats.attempts.to_string())?;
    row("addresses it tried", &|outcome| outcome.worm_stats.destinations.to_string())?;
    row("first contacts that reached the victims", &|outcome| outcome.reached.to_string())?;
    row("the last of them, after", &|outcome| seconds(outcome.last_reached_after))?;
    row("its host shut off, after", &|outcome| seconds(outcome.decided_after))?;
    row("clinical exchanges", &|outcome| {
        outcome.sessions.iter().map(|stats| stats.exchanges).sum::<u64>().to_string()
    })?;
    row("longest stall of a session", &|outcome| {
        format!("{:.0} ms", outcome.sessions.iter().map(|stats| stats.longest_ms).fold(0.0, f64::max))
    })?;
    writeln!(out, "{HEADING}Decisions{HEADING:#}")?;
    for act in &report.protected.decisions {
        let after = act.at.since(report.protected.worm_stats.began).as_secs_f64();
        writeln!(out, "  {after:6.2} s  {} {}: {}", act.decision, act.host, act.reason)?;
        for evidence in &act.evidence {
            let port = if evidence.port == 0 { String::new() } else { format!(":{}", evidence.port) };
            writeln!(
                out,
                "{DIM}           {:+.2}  {}  {}{port}  {}{DIM:#}",
                evidence.weight.nats(),
                evidence.signal,
                evidence.peer,
                evidence.detail
            )?;
        }
    }
    print_promises(out, &report.promises)
}

fn print_promises(out: &mut Output, promises: &[Promise]) -> anyhow::Result<()> {
    writeln!(out, "{HEADING}Promises{HEADING:#}")?;
    for promise in promises {
        if promise.kept {
            writeln!(out, "  {GOOD}kept{GOOD:#}    {}: {}", promise.promise, promise.found)?;
        } else {
            writeln!(out, "  {BAD}BROKEN{BAD:#}  {}: {}", promise.promise, promise.found)?;
        }
    }
    Ok(())
}
