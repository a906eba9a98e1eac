//! `firedoor why ADDR`: what is done about an address and what would be, and every reason, for whoever is called at
//! three in the morning.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::hosts::place;
use super::output::{BAD, DIM, HEADING, NOTE};
use super::table::{Field, Table, ago, local, moment, span};
use super::{Global, Output};
use crate::api::host::{Exemption, HostView, WhyView};
use crate::respond::{By, Decision, Verdict};
use crate::time::Timestamp;
use crate::wire::Address;

/// Options of `why`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The address asked about
    address: Address,
}

/// Explains.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let view: WhyView = Client::new(global).get(&format!("/v1/why/{}", args.address))?;
    let mut out = Output::stdout();
    if global.json {
        out.json(&view)?;
    } else {
        print(&view, &mut out)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn print(view: &WhyView, out: &mut Output) -> io::Result<()> {
    part(view, out)?;
    for other in &view.elsewhere {
        let link = if other.link.is_empty() { "another link" } else { other.link.as_str() };
        writeln!(out, "\n{HEADING}The same address on {link}: another host{HEADING:#}\n")?;
        part(other, out)?;
    }
    Ok(())
}

/// Whoever uses the address on one link.
fn part(view: &WhyView, out: &mut Output) -> io::Result<()> {
    writeln!(out, "{HEADING}{}{HEADING:#}", local(&view.summary))?;
    let acted = |host: &HostView| matches!(host.verdict, Some(Verdict::Contain | Verdict::Isolate | Verdict::Hold));
    if let Some(host) = view.host.as_ref().filter(|host| host.last_seen > Timestamp::ZERO || acted(host)) {
        writeln!(out)?;
        facts(host, view.at, out)?;
    }
    if !view.exemptions.is_empty() {
        writeln!(out, "\n{HEADING}Exemptions{HEADING:#}")?;
        for exemption in &view.exemptions {
            writeln!(out, "  {}", exempt(exemption))?;
        }
    }
    if !view.greylist.is_empty() {
        writeln!(out, "\n{HEADING}Greylist{HEADING:#}")?;
        for line in &view.greylist {
            writeln!(out, "  {line}")?;
        }
    }
    if let Some(next) = &view.next {
        let long = next.seconds.map_or_else(
            || "until released".to_owned(),
            |seconds| format!("for {}", span(Duration::from_secs(seconds))),
        );
        let exploit = if next.on_exploit == next.on_scan {
            String::new()
        } else {
            format!("; {} at exploit evidence", next.on_exploit)
        };
        writeln!(out, "\n{HEADING}Next alarm{HEADING:#}")?;
        writeln!(out, "  step {} of the ladder: {} {long}{exploit}", next.step, next.on_scan)?;
    }
    if let Some(held) = &view.held {
        writeln!(
            out,
            "\n{HEADING}Held{HEADING:#}\n  number {}, since {}: {}",
            held.id,
            moment(held.decision.at),
            held.decision.reason
        )?;
    }
    if !view.evidence.is_empty() {
        writeln!(out, "\n{HEADING}Evidence{HEADING:#}, oldest first")?;
        let mut table = Table::new(&["AT", ">NATS", "SIGNAL", "PEER", "WHAT WAS SEEN"]).indented(2);
        for evidence in &view.evidence {
            let port = if evidence.port == 0 { String::new() } else { format!(" port {}", evidence.port) };
            table.row([
                moment(evidence.at).into(),
                format!("{:+.2}", evidence.weight.nats()).into(),
                evidence.signal.label().into(),
                format!("{}{port}", evidence.peer).into(),
                evidence.detail.clone().into(),
            ]);
        }
        table.print(out)?;
    }
    if !view.history.is_empty() {
        writeln!(out, "\n{HEADING}Decided so far{HEADING:#}, latest first")?;
        history(&view.history).indented(2).print(out)?;
    }
    match view.host.as_ref().and_then(|host| host.verdict) {
        Some(Verdict::Contain | Verdict::Isolate) => {
            writeln!(out, "\n{DIM}To undo: firedoor release {} --reason …{DIM:#}", view.address)
        }
        _ => Ok(()),
    }
}

fn facts(host: &HostView, now: Timestamp, out: &mut Output) -> io::Result<()> {
    let mut line = |what: &str, text: String| writeln!(out, "  {what:<13} {text}");
    let because = host.threshold_because.as_ref().map_or_else(String::new, |because| format!(" ({because})"));
    line("score", format!("{} of {}, {} to go{because}", host.score, host.threshold, host.headroom))?;
    let until = match host.verdict {
        Some(Verdict::Contain) => " until it was contained; what it tries since is not counted",
        Some(Verdict::Isolate) => " until it was isolated; what it tries since is not counted",
        _ => "",
    };
    line("destinations", format!("{} first contacts{until}", host.destinations))?;
    for window in &host.windows {
        let long = span(Duration::from_secs(window.seconds));
        line(
            "window",
            format!("{} of {} within {long}, {} services", window.count, window.limit, window.class.label()),
        )?;
    }
    line("judged as", judged(host))?;
    if !host.addresses.is_empty() {
        let all: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        line("addresses", all.join(", "))?;
    }
    if !host.shut.is_empty() {
        line("shut", host.shut.join(", "))?;
    }
    line("sits on", place(host))?;
    let seen = if host.last_seen == Timestamp::ZERO {
        "not since the daemon's start".to_owned()
    } else {
        ago(host.last_seen, now)
    };
    line("seen", seen)?;
    if let Some(by) = host.exposed_by {
        line("reached by", format!("{by}, which is alarmed"))?;
    }
    if let Some(near) = &host.near_miss {
        line("nearest miss", format!("{} of {} at {}", near.score, near.threshold, moment(near.at)))?;
    }
    if let Some(smb) = &host.smb {
        let all = |names: &[String]| if names.is_empty() { "nothing seen".to_owned() } else { names.join(", ") };
        let smb1 = if smb.smb1 { ", SMB1" } else { "" };
        line("SMB", format!("as client {}; as server {}{smb1}", all(&smb.client), all(&smb.server)))?;
        for of in &smb.conditions {
            line("as a server", format!("answered at {} as one that is {}", moment(of.at), of.condition))?;
        }
    }
    Ok(())
}

/// Whom the evidence is about: a card with all it calls itself, or an address behind a router.
fn judged(host: &HostView) -> String {
    if host.is_card {
        format!("card {}, whatever addresses it uses", host.attachment.mac)
    } else if host.attachment.interface == "-" {
        "an address, not seen yet".to_owned()
    } else {
        format!("address {}, seen from card {}", host.address, host.attachment.mac)
    }
}

fn exempt(exemption: &Exemption) -> String {
    match exemption {
        Exemption::NeverContain { entry } => format!("never contained: entry {entry} of the configuration"),
        Exemption::AddedByCommand { entry, by, at, reason } => {
            let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("never contained: {entry}, put there by {by} at {}{because}", moment(*at))
        }
        Exemption::OwnAddress => "never contained: the gateway's own address".to_owned(),
        Exemption::NotProtected => "not in the protected networks: watched by nobody here".to_owned(),
        Exemption::Role { name, covers, owner, reason, until, expired } => {
            let ends = match (until, expired) {
                (Some(until), true) => format!(", {BAD}expired{BAD:#} {}", moment(*until)),
                (Some(until), false) => format!(", until {}", moment(*until)),
                (None, _) => String::new(),
            };
            format!("role {name}: {covers} is no evidence ({owner}{ends}): {reason}")
        }
    }
}

/// Decisions as a table.
pub(super) fn history(acts: &[Arc<Decision>]) -> Table {
    let mut table = Table::new(&["AT", "HOST", "DECISION", ">SCORE", "UNTIL", "BY", "REASON"]);
    for act in acts {
        let style = match act.decision {
            Verdict::Contain | Verdict::Isolate if act.enforced => BAD,
            Verdict::Contain | Verdict::Isolate | Verdict::Hold | Verdict::Watch => NOTE,
            _ => DIM,
        };
        let acted = matches!(act.decision, Verdict::Contain | Verdict::Isolate);
        let word = act.decision.label();
        let word = if acted && !act.enforced { format!("({word})") } else { word.to_owned() };
        table.row([
            moment(act.at).into(),
            act.host.to_string().into(),
            Field::new(word, style),
            act.score.to_string().into(),
            act.until.or(act.pardoned_until).map_or_else(|| "-".to_owned(), moment).into(),
            match &act.by {
                By::Firedoor => "firedoor".to_owned(),
                By::Operator(name) => name.clone(),
            }
            .into(),
            local(&act.reason).into(),
        ]);
    }
    table
}
