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
use crate::replay::{Lockstep, Seen, Summary};
use crate::respond::{Decision, Verdict};
use crate::wire::frame::{Packet, Undecoded};
use crate::wire::{Frame, FrameCounts, Networks};

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
    let mut total = Total::default();
    for path in &args.files {
        read(path, &mut core, &mut total, &config, usize::from(args.shards), &mut printer)?;
    }
    if let Some(core) = core {
        total.conclude(&core);
    }
    printer.summary(&total.summary())?;
    total.notes(config.detect.dark_learning).iter().for_each(|note| eprintln!("note: {note}"));
    printer.output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// What all captures came to.
#[derive(Default)]
struct Total {
    packets: u64,
    frames: FrameCounts,
    seen: Seen,
    seconds: f64,
    /// The longest that one core followed, in seconds.
    longest: f64,
    /// Contacts opened by addresses that are not protected.
    strangers: u64,
    /// Contacts opened by anybody.
    openings: u64,
}

impl Total {
    /// Adds what a finished core came to. A host of several captures counts once.
    fn conclude(&mut self, core: &Lockstep) {
        let part = core.summary();
        self.seen.join(core.seen());
        self.seconds += part.seconds;
        self.longest = self.longest.max(part.seconds);
    }

    /// Counts a frame, and whose contact it opens.
    fn count(&mut self, decoded: Result<&Frame<'_>, Undecoded>, protected: &Networks) {
        self.frames.count(decoded);
        let source = match decoded.map(|frame| &frame.packet) {
            Ok(Packet::Tcp(segment)) if segment.flags.opens() => segment.source,
            Ok(Packet::Udp(datagram)) => datagram.source,
            _ => return,
        };
        self.openings += 1;
        self.strangers += u64::from(!protected.contains(source));
    }

    /// How many frames are of which kind that is not decoded, the most first.
    fn unread(&self) -> Vec<(String, u64)> {
        let (apart, others) = self.frames.unread();
        let (types, lengths): (Vec<_>, Vec<_>) = apart.into_iter().partition(|(kind, _)| *kind >= FIRST_ETHERTYPE);
        let mut kinds: Vec<(String, u64)> =
            types.into_iter().map(|(kind, count)| (format!("ethertype {kind:#06x}"), count)).collect();
        kinds.push(("802.3 without SNAP".to_owned(), lengths.iter().map(|(_, count)| count).sum()));
        kinds.push(("other ethertypes".to_owned(), others));
        kinds.extend(self.frames.tunnels().map(|(kind, _, closed)| (format!("tunnels ({})", kind.label()), closed)));
        kinds.extend(
            self.frames.undecoded().map(|(layer, count)| (format!("cut or malformed ({})", layer.label()), count)),
        );
        kinds.retain(|(_, count)| *count > 0);
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kinds
    }

    fn summary(&self) -> Summary {
        Summary {
            packets: self.packets,
            undecoded: self.frames.undecoded().map(|(_, count)| count).sum(),
            unread: self.unread().into_iter().collect(),
            hosts: self.seen.hosts.len(),
            contained: self.seen.contained.len(),
            isolated: self.seen.isolated.len(),
            watched: self.seen.watched.len(),
            seconds: self.seconds,
        }
    }

    /// What an engineer should know of these captures.
    fn notes(&self, dark_learning: Duration) -> Vec<String> {
        let all = self.packets;
        let mut notes: Vec<String> = self
            .unread()
            .into_iter()
            .map(|(kind, count)| format!("{count} of {all} frames are {kind}, not decoded"))
            .collect();
        if self.seen.hosts.is_empty() && self.strangers > 0 {
            notes.push(
                "no host of the protected networks opened a contact in this capture; `--protect NETWORK` names others \
                 to watch"
                    .to_owned(),
            );
        } else if self.openings == 0 && self.unread().iter().map(|(_, count)| count).sum::<u64>() < all {
            notes.push("nobody opens a contact in this capture".to_owned());
        }
        if !self.seen.hosts.is_empty() && self.longest < dark_learning.as_secs_f64() {
            notes.push(format!(
                "{:.0} s of capture are less than detect.dark_learning ({}): no address could be known to be dark, so a \
                 contact to nobody weighs as a plain failure; a lower dark_learning in the file that --config names \
                 changes that",
                self.longest,
                humantime::format_duration(dark_learning)
            ));
        }
        notes
    }
}

/// The first EtherType; below is the length of an 802.3 frame.
const FIRST_ETHERTYPE: u16 = 1536;

/// Reads one file to its end.
fn read(
    path: &Path,
    core: &mut Option<Lockstep>,
    total: &mut Total,
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
                total.conclude(&old);
                eprintln!("note: {}: begins before the capture before it ends; starting afresh", path.display());
            }
        }
        total.count(frame.as_ref().map_err(|reason| *reason), &config.detect.protected);
        let core = core.get_or_insert_with(fresh);
        if let Ok(frame) = frame {
            core.frame(frame);
        } else {
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
        let Summary { packets, undecoded, unread, hosts, contained, isolated, watched, seconds } = summary;
        let unread = match unread.values().sum::<u64>().saturating_sub(*undecoded) {
            0 => String::new(),
            kinds => format!(", {kinds} of kinds that are not decoded"),
        };
        writeln!(
            self.output,
            "{packets} packets ({undecoded} undecoded{unread}) over {seconds:.1} s, {hosts} hosts: \
             {contained} contained, {isolated} isolated, {watched} watched"
        )?;
        Ok(())
    }
}
