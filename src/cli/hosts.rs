//! `firedoor hosts`: who is acted on, and who is near it.

use std::io::Write;
use std::process::ExitCode;

use anstyle::Style;
use ipnetwork::IpNetwork;

use super::client::{Client, query};
use super::output::{BAD, DIM, GOOD, NOTE};
use super::table::{Field, Table, ago, count, moment};
use super::{Global, Output};
use crate::api::Sort;
use crate::api::host::{HostView, HostsView};
use crate::published::status::Status;
use crate::respond::Verdict;
use crate::time::Timestamp;

/// Options of `hosts`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// In which order
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only those that are contained, isolated, throttled or held
    #[arg(long)]
    acted: bool,
    /// Only those that something speaks against
    #[arg(long)]
    suspicious: bool,
    /// Only those that negotiated SMB1, with the dialects they speak
    #[arg(long)]
    smb1: bool,
    /// Only servers whose answers gave away that they are unpatched (MS17-010) or implanted (DoublePulsar)
    #[arg(long)]
    vulnerable: bool,
    /// Only those in this network
    #[arg(long, value_name = "NETWORK")]
    network: Option<IpNetwork>,
}

/// Lists hosts.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let client = Client::new(global);
    let flag = |set: bool| set.then(|| "true".to_owned());
    let asked = query(&[
        ("sort", Some(args.sort.label().to_owned())),
        ("limit", Some(args.limit.to_string())),
        ("acted", flag(args.acted)),
        ("suspicious", flag(args.suspicious)),
        ("smb1", flag(args.smb1)),
        ("vulnerable", flag(args.vulnerable)),
        ("network", args.network.map(|network| network.to_string())),
    ]);
    let view: HostsView = client.get(&format!("/v1/hosts{asked}"))?;
    let mut out = Output::stdout();
    if global.json {
        out.json(&view)?;
    } else if view.total == 0 {
        writeln!(out, "No such host is known.")?;
    } else {
        let now = client.get::<Status>("/v1/status")?.at;
        if args.smb1 { dialects(&view, now) } else { standing(&view, now) }.print(&mut out)?;
        if view.hosts.len() < view.total {
            writeln!(out, "{DIM}{} of {} hosts; --limit shows more{DIM:#}", view.hosts.len(), view.total)?;
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// A verdict as a word, in its colour; what only would be, in brackets.
pub(super) fn verdict(host: &HostView) -> Field {
    let Some(verdict) = host.verdict else { return Field::new("-", DIM) };
    let (word, style) = match verdict {
        Verdict::Watch => ("watched", NOTE),
        Verdict::Throttle => ("throttled", NOTE),
        Verdict::Contain => ("contained", BAD),
        Verdict::Isolate => ("isolated", BAD),
        Verdict::Release => ("released", GOOD),
        Verdict::Hold => ("held", NOTE),
    };
    let acted = matches!(verdict, Verdict::Contain | Verdict::Isolate);
    if acted && !host.enforced { Field::new(format!("({word})"), NOTE) } else { Field::new(word, style) }
}

fn standing(view: &HostsView, now: Timestamp) -> Table {
    let headings = ["ADDRESS", "STATE", ">SCORE", ">OF", ">DESTS", "FULLEST WINDOW", "WHERE", "SEEN", "NOTES"];
    let mut table = Table::new(&headings);
    for host in &view.hosts {
        let near = host.score.0.saturating_mul(2) >= host.threshold.0 && host.threshold.0 > 0;
        table.row([
            host.address.to_string().into(),
            verdict(host),
            Field::new(host.score.to_string(), if near { NOTE } else { Style::new() }),
            host.threshold.to_string().into(),
            count(host.destinations.into()).into(),
            fullest(host).into(),
            place(host).into(),
            ago(host.last_seen, now).into(),
            notes(host).into(),
        ]);
    }
    table
}

fn dialects(view: &HostsView, now: Timestamp) -> Table {
    let mut table = Table::new(&["ADDRESS", "AS CLIENT", "AS SERVER", "SIGNING", "WHERE", "SEEN"]);
    let listed = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    for host in &view.hosts {
        let smb = host.smb.clone().unwrap_or_default();
        table.row([
            host.address.to_string().into(),
            listed(&smb.client).into(),
            listed(&smb.server).into(),
            if smb.signing { "required" } else { "-" }.into(),
            place(host).into(),
            ago(host.last_seen, now).into(),
        ]);
    }
    table
}

fn fullest(host: &HostView) -> String {
    let share = |count: u32, limit: u32| u64::from(count) * 1000 / u64::from(limit.max(1));
    let fullest = host.windows.iter().max_by_key(|window| share(window.count, window.limit));
    fullest.map_or_else(
        || "-".to_owned(),
        |window| format!("{}/{} {} {}s", window.count, window.limit, window.class.label(), window.seconds),
    )
}

/// Where a host sits: interface, VLAN tags, hardware address.
pub(super) fn place(host: &HostView) -> String {
    let at = &host.attachment;
    if at.interface == "-" {
        return "-".to_owned();
    }
    let tags = [at.vlan, at.inner_vlan]
        .iter()
        .filter(|tag| **tag != 0)
        .fold(String::new(), |text, tag| text + "." + &tag.to_string());
    format!("{}{tags} {}", at.interface, at.mac)
}

fn notes(host: &HostView) -> String {
    let mut notes: Vec<String> = Vec::new();
    if host.never_contain {
        notes.push("never contained".to_owned());
    }
    if host.addresses.len() > 1 {
        notes.push(format!("card, {} addresses", host.addresses.len()));
    }
    notes.extend(host.roles.iter().map(|role| format!("role {role}")));
    notes.extend(host.exposed_by.map(|by| format!("reached by {by}")));
    if host.smb.as_ref().is_some_and(|smb| smb.smb1) {
        notes.push("SMB1".to_owned());
    }
    let conditions = host.smb.iter().flat_map(|smb| &smb.conditions);
    notes.extend(conditions.map(|of| format!("{} at {}", of.condition, moment(of.at))));
    notes.join(", ")
}
