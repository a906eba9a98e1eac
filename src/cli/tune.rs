//! `firedoor tune FILE…`: thresholds and roles from captures of the site's own traffic.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::output::{BAD, DIM, HEADING, NOTE};
use super::table::{Field, Table, count, moment, span};
use super::{Global, Output, captures};
use crate::published::host_report::Class;
use crate::tune::{Change, Line, Measure, Outlier, Proposal};
use crate::wire::{Address, Networks};

/// Hosts of each list that are shown; `--json` has them all.
const SHOWN: usize = 20;

/// Options of `tune`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Captures of this site's traffic (pcap or pcapng, gzip too), in the order of their times; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Measure the hosts of these networks instead of the configured ones
    #[arg(long, value_name = "NETWORK")]
    protect: Vec<IpNetwork>,
    /// Learn connections that are found running in the first so many seconds, without counting them [default: what
    /// detect.start_up_grace says]
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
}

/// Measures, and prints what follows.
///
/// # Errors
/// A file cannot be read: status 2.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = captures::configuration(&global.config)?;
    if let Some(grace) = args.grace {
        config.detect.start_up_grace = Duration::from_secs(grace);
    }
    if !args.protect.is_empty() {
        let networks = Networks::new(args.protect.clone());
        config.respond.protected = networks.clone();
        config.detect.protected = networks;
    }
    let mut measure = Measure::new(config.clone());
    let mut packets = 0;
    for path in &args.files {
        let mut begun = false;
        captures::read(path, &mut packets, |at, frame| {
            if !begun {
                begun = true;
                if at < measure.now() {
                    measure.begin_anew();
                    eprintln!("note: {}: begins before the capture before it ends; starting afresh", path.display());
                }
            }
            match frame {
                Ok(frame) => measure.frame(frame),
                Err(_) => measure.undecoded(at),
            }
            Ok(())
        })?;
    }
    let proposal = Proposal::new(measure.finish(), &config);
    let mut out = Output::stdout();
    if global.json {
        out.json(&proposal)?;
    } else {
        print(&proposal, &mut out)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn print(proposal: &Proposal, out: &mut Output) -> std::io::Result<()> {
    let Proposal { summary, covered, measured, ordinary, unmeasured, .. } = proposal;
    writeln!(
        out,
        "{} packets over {}, {} hosts that opened contacts, {} of them ordinary",
        count(summary.packets),
        span(Duration::from_secs(*covered)),
        count(*measured as u64),
        count(*ordinary as u64)
    )?;
    if *unmeasured > 0 {
        writeln!(out, "{NOTE}{} first contacts of further hosts were not measured.{NOTE:#}", count(*unmeasured))?;
    }
    if *measured == 0 && summary.packets > 0 {
        let note =
            "note: no host of the protected networks opened a contact: `--protect NETWORK` names others to measure";
        writeln!(out, "{NOTE}{note}{NOTE:#}")?;
    }
    writeln!(out)?;
    let mut table = Table::new(&["WINDOW", ">NOW", ">MOST", ">99.9 %", "HOST", ">PROPOSED", "WHY"]);
    for line in &proposal.windows {
        table.row(row(line));
    }
    let score = &proposal.score;
    table.row([
        "score".into(),
        score.current.to_string().into(),
        score.observed.to_string().into(),
        score.most_hosts.to_string().into(),
        host(score.host).into(),
        score.current.to_string().into(),
        "kept: who comes near it rather needs a role".into(),
    ]);
    table.print(out)?;
    writeln!(
        out,
        "{DIM}MOST and 99.9 % are of ordinary hosts; PROPOSED is half as much again, within bounds: `firedoor help tune`.{DIM:#}"
    )?;
    outliers(out, "Stand out: rather a role for them than higher thresholds for all", &proposal.stand_out)?;
    outliers(out, "Left out, because Firedoor would have acted on them", &proposal.alarmed)?;
    if proposal.alarmed.iter().any(Outlier::is_attack) {
        writeln!(out, "{BAD}An exploit was seen: these captures hold an attack. Look at it before you tune.{BAD:#}")?;
    }
    if proposal.is_suspicious() {
        let (alarmed, of) = (proposal.alarmed.len(), proposal.measured);
        writeln!(
            out,
            "{NOTE}{alarmed} of {of} hosts would have been acted on: an outbreak, or a network that Firedoor does not know \
             well enough. `firedoor replay` shows each reason; do not tune by these captures before you know it.{NOTE:#}"
        )?;
    }
    if proposal.fragment.is_empty() {
        writeln!(out, "\nNothing to change.")
    } else {
        writeln!(out, "\n{HEADING}To paste into the configuration:{HEADING:#}\n\n{}", proposal.fragment)
    }
}

fn row(line: &Line) -> [Field; 7] {
    let class = match line.class {
        Class::Lateral => "lateral",
        Class::Any => "any port",
        Class::Udp => "lateral over UDP",
    };
    let style = match line.change {
        Change::Raise | Change::Ceiling => NOTE,
        Change::Keep | Change::TooShort | Change::TooLittle => DIM,
        Change::Lower => HEADING,
    };
    [
        format!("{class} {}", span(Duration::from_secs(line.seconds))).into(),
        line.current.to_string().into(),
        line.observed.to_string().into(),
        line.most_hosts.to_string().into(),
        host(line.host).into(),
        Field::new(line.proposed.to_string(), style),
        line.change.words().into(),
    ]
}

fn host(host: Option<Address>) -> String {
    host.map_or_else(|| "-".to_owned(), |host| host.to_string())
}

fn outliers(out: &mut Output, title: &str, list: &[Outlier]) -> std::io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{HEADING}{title}:{HEADING:#}")?;
    let mut table = Table::new(&["HOST", "LOOKS LIKE", "PORTS", "WHEN", "WHY"]).indented(2);
    for one in list.iter().take(SHOWN) {
        let mut ports: Vec<String> = one.services.iter().take(6).map(ToString::to_string).collect();
        if one.more_services || one.services.len() > 6 {
            ports.push("…".to_owned());
        }
        let at = one.alarmed.as_ref().map_or_else(|| "-".to_owned(), |alarmed| moment(alarmed.at));
        table.row([
            one.host.to_string().into(),
            if one.is_attack() { "an attack" } else { one.kind }.into(),
            if ports.is_empty() { "-".to_owned() } else { ports.join(" ") }.into(),
            at.into(),
            one.why.clone().into(),
        ]);
    }
    table.print(out)?;
    if list.len() > SHOWN {
        writeln!(out, "  {DIM}and {} more, which --json lists{DIM:#}", list.len() - SHOWN)?;
    }
    Ok(())
}
