//! `firedoor status`: does it see, does it decide, does it hold.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::Style;

use super::client::Client;
use super::output::{BAD, DIM, GOOD, HEADING, NOTE};
use super::table::{Field, Table, ago, count, moment, span};
use super::{Global, Output};
use crate::published::status::{DropCause, InterfaceView, Occupancy, Status};
use crate::respond::Mode;

/// `status` has no options of its own.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// A table that was deleted this lately may be deleted again.
const RECENT: Duration = Duration::from_secs(60);

/// So many tripped zones are shown.
const ZONES: usize = 5;

/// So many addresses on several links are shown.
const SHOWN_OVERLAPS: usize = 5;

/// From this share on, a table is shown as filling up.
const FULL: f64 = 0.8;

/// From so many milliseconds on, the machine's clock is shown to differ from the daemon's.
const CLOCK_DIFFERS: u64 = 2000;

/// Shows the daemon's state.
pub fn run(_: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let status: Status = Client::new(global).get("/v1/status")?;
    let mut out = Output::stdout();
    if global.json {
        out.json(&status)?;
    } else {
        print(&status, &mut out)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn print(status: &Status, out: &mut Output) -> io::Result<()> {
    let mode = match status.mode {
        Mode::Enforce => "enforce mode".to_owned(),
        Mode::Monitor => format!("{NOTE}monitor mode: nothing is dropped{NOTE:#}"),
    };
    let up = span(Duration::from_secs(status.uptime_seconds));
    writeln!(out, "{HEADING}Firedoor {}{HEADING:#}, {mode}, up {up}\n", status.version)?;
    let hosts = &status.hosts;
    let alarming = |n: u64, what: &str, style: Style| {
        if n == 0 { format!("{n} {what}") } else { format!("{style}{} {what}{style:#}", count(n)) }
    };
    let only_counted = match hosts.only_counted {
        0 => String::new(),
        n if n == hosts.contained + hosts.isolated => " (only counted)".to_owned(),
        n => format!(" ({} of both only counted)", count(n)),
    };
    let counts = [
        format!("{} tracked", count(hosts.tracked)),
        alarming(hosts.watched, "watched", NOTE),
        alarming(hosts.contained, "contained", BAD),
        alarming(hosts.isolated, "isolated", BAD) + &only_counted,
        alarming(hosts.held, "held", BAD),
    ];
    line(out, "Hosts", &counts.join(", "))?;
    breaker(status, out)?;
    fuse(status, out)?;
    greylist(status, out)?;
    firewall(status, out)?;
    hidden(status, out)?;
    overlaps(status, out)?;
    config(status, out)?;
    store(status, out)?;
    memory(status, out)?;
    clock(status, out)?;
    interfaces(status, out)?;
    let full: Vec<&Occupancy> =
        status.tables.iter().chain(&status.sets).filter(|of| of.capacity > 0 || of.used > 0).collect();
    if !full.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&["TABLE OR SET", ">USED", ">CAPACITY", ">FULL", ">EVICTED"]);
        for of in full {
            let style = if of.share() >= FULL { NOTE } else { Style::new() };
            table.row([
                of.name.clone().into(),
                count(of.used).into(),
                count(of.capacity).into(),
                Field::new(format!("{:.0} %", of.share() * 100.0), style),
                count(of.evicted).into(),
            ]);
        }
        table.print(out)?;
    }
    Ok(())
}

fn line(out: &mut Output, what: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{what:<10} {text}")
}

fn breaker(status: &Status, out: &mut Output) -> io::Result<()> {
    let breaker = &status.breaker;
    let figures = format!(
        "{} of {} at once, {} of {} in the last minute",
        breaker.now, breaker.most_at_once, breaker.last_minute, breaker.most_a_minute
    );
    let Some(tripped) = breaker.tripped else {
        return line(out, "Breaker", &format!("armed: {figures}"));
    };
    let why = breaker.reason.as_deref().unwrap_or("");
    if breaker.whole || breaker.zones.is_empty() {
        line(out, "Breaker", &format!("{BAD}tripped {}{BAD:#}: {why} ({figures})", ago(tripped, status.at)))?;
    } else {
        line(out, "Breaker", &format!("{BAD}tripped in {}{BAD:#} ({figures})", zones(breaker.zones.len())))?;
    }
    for zone in breaker.zones.iter().take(ZONES) {
        let since = ago(zone.tripped, status.at);
        line(out, "", &format!("{BAD}{}{BAD:#} tripped {since}: {}", zone.zone, zone.reason))?;
    }
    if breaker.zones.len() > ZONES {
        line(out, "", &format!("and {} more", zones(breaker.zones.len() - ZONES)))?;
    }
    let rearms = breaker.rearms_at.map_or_else(
        || "It is armed again by command: `firedoor rearm`.".to_owned(),
        |at| format!("It arms itself again at {}, or `firedoor rearm` does.", moment(at)),
    );
    line(out, "", &format!("New decisions wait: `firedoor held` lists them. {rearms}"))
}

fn zones(n: usize) -> String {
    if n == 1 { "1 zone".to_owned() } else { format!("{n} zones") }
}

fn fuse(status: &Status, out: &mut Output) -> io::Result<()> {
    let fuse = &status.fuse;
    let text = if !fuse.enabled {
        format!("{NOTE}off{NOTE:#}: fuse.enabled is false")
    } else if fuse.drops {
        format!("on: {} first contacts dropped in the kernel", count(fuse.limited))
    } else {
        format!("counts only: {} first contacts would have been dropped", count(fuse.would_limit))
    };
    line(out, "Fuse", &text)
}

fn greylist(status: &Status, out: &mut Output) -> io::Result<()> {
    let greylist = &status.greylist;
    let text = if !greylist.enabled {
        format!("{NOTE}off{NOTE:#}: greylist.enabled is false")
    } else if greylist.drops {
        format!("on: {} packets of first contacts had to be sent again", count(greylist.delayed))
    } else {
        format!("counts only: {} first contacts would have waited a second", count(greylist.would_delay))
    };
    line(out, "Greylist", &text)?;
    line(out, "", &super::servers::readiness(&greylist.readiness, status.at))
}

fn firewall(status: &Status, out: &mut Output) -> io::Result<()> {
    let firewall = &status.firewall;
    let dropped = match status.mode {
        Mode::Enforce => format!(
            "{} packets dropped by contain, {} by isolate",
            count(firewall.drops_by(DropCause::Contain).0),
            count(firewall.drops_by(DropCause::Isolate).0)
        ),
        Mode::Monitor => {
            let would: u64 = firewall.drops.iter().map(|drops| drops.would_drop).sum();
            format!("{} packets would have been dropped", count(would))
        }
    };
    if firewall.in_place {
        line(out, "Firewall", &format!("{GOOD}in place{GOOD:#}, {dropped}"))?;
    } else {
        let why = firewall.error.as_deref().unwrap_or("not put into the kernel yet");
        line(out, "Firewall", &format!("{BAD}not in place{BAD:#}: {why}"))?;
    }
    if let Some(deletions) = &firewall.deletions {
        let by = deletions.by.as_deref().unwrap_or("somebody");
        let text = format!(
            "the whole table was deleted {}, last {} by {by}",
            times(deletions.count),
            ago(deletions.last, status.at)
        );
        let recent = status.at.since(deletions.last) <= RECENT && deletions.lately > 1;
        let style = if recent { BAD } else { NOTE };
        line(out, "", &format!("{style}{text}{style:#}"))?;
        if recent {
            let lately = deletions.lately;
            line(
                out,
                "",
                &format!("{BAD}{lately} of these within 10 s: the door is open in between{BAD:#}; stop what does it"),
            )?;
        }
    }
    if let Some(counted) = &firewall.counted {
        line(out, "", &format!("{NOTE}enforce mode would begin to drop {counted}{NOTE:#}: `firedoor hosts --acted`"))?;
    }
    if let Some(switched) = &firewall.switched {
        let since = moment(switched.at);
        let text = format!("{switched} that monitor mode only counted were dropped from {since} on");
        line(out, "", &format!("{NOTE}{text}{NOTE:#}: `firedoor hosts --acted`"))?;
    }
    for repairs in firewall.repairs.iter().filter(|repairs| repairs.count > 0) {
        let times = times(repairs.count);
        let (kind, last) = (repairs.kind.label(), ago(repairs.last, status.at));
        line(out, "", &format!("{NOTE}{kind} changed by somebody else, put right {times}, last {last}{NOTE:#}"))?;
    }
    Ok(())
}

/// What hides packets from inspection, where there is any.
fn hidden(status: &Status, out: &mut Output) -> io::Result<()> {
    let hidden = &status.hidden;
    let (dropped, would) = status.firewall.drops_by(DropCause::Fragment);
    if hidden.fragments + dropped + would > 0 {
        let done = match status.mode {
            Mode::Enforce => format!("{} dropped in the kernel", count(dropped)),
            Mode::Monitor => format!("{} would have been dropped", count(would)),
        };
        let text = format!("{} captured that hide a transport header, {done}", count(hidden.fragments));
        line(out, "Fragments", &format!("{NOTE}{text}{NOTE:#}"))?;
    }
    if hidden.tags + hidden.pppoe > 0 {
        let (tags, pppoe) = (count(hidden.tags), count(hidden.pppoe));
        line(out, "Frames", &format!("{NOTE}{tags} behind two VLAN tags, {pppoe} in PPPoE{NOTE:#}"))?;
        if !hidden.by_card.is_empty() {
            let text =
                format!("on {} those of a card that is acted on are dropped as a whole", hidden.by_card.join(", "));
            line(out, "", &text)?;
        }
        if !hidden.unmatched.is_empty() {
            let text =
                format!("on {} the kernel does not match them: nothing of them is shut", hidden.unmatched.join(", "));
            line(out, "", &format!("{NOTE}{text}{NOTE:#}"))?;
        }
    }
    let mut what = "Tunnels";
    for tunnel in &hidden.tunnels {
        let link = if tunnel.link.is_empty() { String::new() } else { format!(" on {}", tunnel.link) };
        let text = format!(
            "{} from {}{link} to {}, began {}",
            tunnel.kind,
            tunnel.host,
            tunnel.peer,
            ago(tunnel.since, status.at)
        );
        line(out, what, &format!("{NOTE}{text}{NOTE:#}"))?;
        what = "";
    }
    Ok(())
}

/// Addresses that are in use on several links.
fn overlaps(status: &Status, out: &mut Output) -> io::Result<()> {
    let overlaps = &status.overlaps;
    let mut what = "Overlaps";
    for overlap in overlaps.first.iter().take(SHOWN_OVERLAPS) {
        let text =
            format!("{} is in use on {}: a host each, judged apart", overlap.address, overlap.links.join(" and "));
        line(out, what, &format!("{NOTE}{text}{NOTE:#}"))?;
        what = "";
    }
    let more = overlaps.total.saturating_sub(overlaps.first.len().min(SHOWN_OVERLAPS));
    if more > 0 {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        line(out, "", &format!("and {} more addresses on several links", count(more)))?;
    }
    Ok(())
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{} times", count(n)) }
}

fn config(status: &Status, out: &mut Output) -> io::Result<()> {
    let config = &status.config;
    line(out, "Config", &format!("{}, read {}", config.path, moment(config.loaded_at)))?;
    match &config.last_error {
        Some(error) => line(out, "", &format!("{BAD}the last reload was refused{BAD:#}, this one stays: {error}")),
        None => Ok(()),
    }
}

fn store(status: &Status, out: &mut Output) -> io::Result<()> {
    let store = &status.store;
    let Some(path) = &store.path else { return line(out, "History", "kept nowhere: observe.history is \"off\"") };
    let lost = if store.lost == 0 { String::new() } else { format!(", {BAD}{} lost{BAD:#}", count(store.lost)) };
    line(out, "History", &format!("{path}, {} records written{lost}", count(store.written)))?;
    match &store.error {
        Some(error) => line(out, "", &format!("{BAD}{error}{BAD:#}")),
        None => Ok(()),
    }
}

fn memory(status: &Status, out: &mut Output) -> io::Result<()> {
    let megabytes = |bytes: u64| format!("{} MB", count(bytes.div_ceil(1_000_000)));
    let now = status.memory.resident.map_or_else(|| "unknown".to_owned(), megabytes);
    line(out, "Memory", &format!("{now}, at most {} with every table full", megabytes(status.memory.bound)))
}

/// A clock that was set since the start: else times here would only seem wrong.
fn clock(status: &Status, out: &mut Output) -> io::Result<()> {
    let by = status.wall_ahead_ms.unsigned_abs();
    if by < CLOCK_DIFFERS {
        return Ok(());
    }
    let (way, by) = (if status.wall_ahead_ms > 0 { "ahead" } else { "back" }, span(Duration::from_millis(by)));
    line(out, "Clock", &format!("{NOTE}the machine's was set {way} by {by} since the start{NOTE:#}"))?;
    line(
        out,
        "",
        "times are dated by the old one, and terms are kept; `systemctl restart firedoor` takes up the new one",
    )
}

/// An interface's name, with the one it goes by now.
fn shown(interface: &InterfaceView) -> String {
    match (&interface.now_called, &interface.formerly) {
        (Some(now), _) => format!("{} (now called {now})", interface.name),
        (None, Some(before)) => format!("{} (formerly {before})", interface.name),
        (None, None) => interface.name.clone(),
    }
}

fn interfaces(status: &Status, out: &mut Output) -> io::Result<()> {
    writeln!(out)?;
    let headings = ["INTERFACE", "CAPTURE", ">PACKETS IN", ">OUT", ">LOST", "LAST PACKET", "SIGHT"];
    let mut table = Table::new(&headings);
    for interface in &status.interfaces {
        let sight = match &interface.blind {
            None => Field::new("good", GOOD),
            Some(blind) => Field::new(format!("blind: {}", blind.reason.label().replace('_', " ")), BAD),
        };
        let lost = if interface.kernel_drops == 0 { Style::new() } else { NOTE };
        table.row([
            shown(interface).into(),
            interface.backend.clone().into(),
            count(interface.packets_in).into(),
            count(interface.packets_out).into(),
            Field::new(count(interface.kernel_drops), lost),
            interface.last_packet.map_or_else(|| "-".to_owned(), |at| ago(at, status.at)).into(),
            sight,
        ]);
    }
    table.print(out)?;
    for interface in &status.interfaces {
        let names = match (&interface.now_called, &interface.formerly) {
            (Some(now), _) => Some((now, &interface.name)),
            (None, Some(before)) => Some((&interface.name, before)),
            (None, None) => None,
        };
        if let Some((now, before)) = names {
            writeln!(out, "{BAD}{}{BAD:#} stays protected until the daemon restarts", shown(interface))?;
            writeln!(
                out,
                "  {DIM}what to do:{DIM:#} put {now} into gateway.interfaces, or rename it to {before} again"
            )?;
        }
        if let Some(blind) = &interface.blind {
            let since = moment(blind.since);
            writeln!(out, "{BAD}{}{BAD:#}, since {since}: {}", shown(interface), blind.detail)?;
            writeln!(out, "  {DIM}what to do:{DIM:#} {}", blind.reason.remedy())?;
        }
    }
    Ok(())
}
