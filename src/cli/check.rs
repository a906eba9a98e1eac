//! `firedoor check`: is this configuration right, and is it wise on this machine?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::ColorChoice;
use ipnetwork::IpNetwork;
use serde::Serialize;

use super::client::Client;
use super::output::{BAD, GOOD, HEADING, NOTE};
use super::{Global, Output, failure};
use crate::config::diagnostic::Report;
use crate::config::{self, Config, HostNetwork};
use crate::published::greylist::Readiness;
use crate::published::status::Status;
use crate::respond::decision::NOT_SHUT;
use crate::respond::{Decision, Mode, Switched};
use crate::site::Machine;
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
    /// Where attached networks of protected links overlap: an address of both is two hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overlaps: Vec<Overlap>,
    /// What the running daemon knows of servers, where the greylist is on: whether it may begin to drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Readiness>,
    /// Lines to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<String>,
}

/// Two protected links whose attached networks overlap.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Overlap {
    /// The interfaces.
    interfaces: [String; 2],
    /// Their networks.
    networks: [IpNetwork; 2],
}

/// Where attached networks of two protected links overlap. VLAN interfaces on a protected trunk and bridges over
/// protected ports count as protected.
fn overlaps(machine: &Machine, protected: &[String]) -> Vec<Overlap> {
    let attached: Vec<(&String, &IpNetwork)> = machine
        .attached
        .iter()
        .filter(|(index, _)| !machine.links_of(*index, protected).is_empty())
        .filter_map(|(index, networks)| Some((machine.names.get(index)?, networks)))
        .flat_map(|(name, networks)| networks.iter().map(move |network| (name, network)))
        .collect();
    let overlap = |a: &IpNetwork, b: &IpNetwork| a.contains(b.network()) || b.contains(a.network());
    let mut found = Vec::new();
    for (at, (name, network)) in attached.iter().enumerate() {
        for (other, theirs) in
            attached.iter().skip(at + 1).filter(|(other, theirs)| other != name && overlap(network, theirs))
        {
            let base = |of: &IpNetwork| IpNetwork::new(of.network(), of.prefix()).unwrap_or(*of);
            found.push(Overlap {
                interfaces: [(*name).clone(), (*other).clone()],
                networks: [base(network), base(theirs)],
            });
        }
    }
    found
}

/// Checks the file and says what is wrong or unwise.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let path = args.file.as_ref().unwrap_or(&global.config);
    let around = (!args.file_only).then(HostNetwork::of_this_machine);
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
                    overlaps: Vec::new(),
                    servers: None,
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
            let servers = (!args.file_only).then(|| servers(&read.config, global)).flatten();
            let overlaps =
                if args.file_only { Vec::new() } else { overlaps(&Machine::now(), &read.config.gateway.interfaces) };
            let ok = !args.strict || warnings.is_empty();
            if global.json {
                out.json(&Findings {
                    file,
                    ok,
                    errors: Vec::new(),
                    warnings: warnings.reports(),
                    drops,
                    overlaps,
                    servers,
                    proposal,
                })?;
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
                for Overlap { interfaces: [one, other], networks: [mine, theirs] } in &overlaps {
                    writeln!(
                        out,
                        "{NOTE}{mine} on {one} and {theirs} on {other} overlap{NOTE:#}: an address that both have is two \
                         hosts, judged and shut\nby link; never-contain entries and roles hold on both.\n"
                    )?;
                }
                if let Some(servers) = &servers {
                    let said = super::servers::readiness(servers, config::wall_clock());
                    writeln!(out, "{NOTE}Greylist{NOTE:#}: {said}.\n")?;
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
    let counted = |decision: &Decision| {
        decision.until.is_none_or(|until| now < until) && !decision.enforced && !decision.reason.contains(NOT_SHUT)
    };
    Switched::new(
        store.acted().ok()?.iter().filter(|decision| counted(decision)).map(|decision| decision.host).collect(),
        now,
    )
}

/// What the running daemon knows of servers, where this configuration has a greylist.
fn servers(config: &Config, global: &Global) -> Option<Readiness> {
    let asked = config.greylist.enabled && config.fuse.enabled;
    let client = asked.then(|| Client::at(global.socket_or(&config.observe.socket)))?;
    Some(client.get::<Status>("/v1/status").ok()?.greylist.readiness)
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_networks_of_two_protected_links_that_overlap_are_named() {
        let net = |text: &str| text.parse::<IpNetwork>().unwrap();
        let names = [(2, "eth1"), (3, "eth1.10"), (4, "eth1.20"), (5, "eth0")];
        let machine = Machine {
            names: names.iter().map(|(index, name)| (*index, (*name).to_owned())).collect(),
            attached: vec![
                (3, vec![net("10.1.0.1/24")]),
                (4, vec![net("10.1.0.129/25"), net("10.2.0.1/24")]),
                (5, vec![net("10.1.0.9/24")]),
            ],
            vlans: vec![(3, 2, 10), (4, 2, 20)],
            ..Machine::default()
        };
        let found = overlaps(&machine, &["eth1".to_owned()]);
        let wanted = Overlap {
            interfaces: ["eth1.10".to_owned(), "eth1.20".to_owned()],
            networks: [net("10.1.0.0/24"), net("10.1.0.128/25")],
        };
        assert_eq!(found, [wanted], "the uplink is not protected");
    }
}
