//! The proposal as lines to paste: written by the same table of keys that reads the file.

use std::fmt::Write;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::proposal::{Line, Outlier, Proposal};
use crate::config::model::GivenServer;
use crate::config::{Config, reference};
use crate::detect::settings::{Role, Window};
use crate::published::host_report::Class;
use crate::wire::{Networks, Services};

const SERVERS: &str = "\
# Servers that many use, so that nobody waits for them in the greylist; monitor mode learns them too. In place of the
# same key of [greylist].
";

const ROLES: &str = "\
# These stand out. If that is their work, give them a role instead of raising everybody's thresholds: fill in owner,
# reason and until; `firedoor check` says what is missing.
";

const ALARMED: &str = "\
# Firedoor would have acted on these. If you know one to be a scanner, a print server or the like, take its block out of
# the comment; if you do not, look at it first: a worm needs no role.
";

/// Roles that a fragment offers at most, of each sort: more is no list of a few by their work.
const MOST_ROLES: usize = 20;

/// The lines: the windows where one changes, a role for whom it would help.
pub(super) fn write(proposal: &Proposal, config: &Config) -> String {
    let mut text = String::new();
    let mut tuned = config.clone();
    let of = |class: Class| -> Vec<&Line> { proposal.windows.iter().filter(|line| line.class == class).collect() };
    let mut changed = Vec::new();
    for (class, key, windows) in [
        (Class::Lateral, "lateral_windows", &mut tuned.detect.lateral_windows),
        (Class::Any, "any_windows", &mut tuned.detect.any_windows),
    ] {
        let lines = of(class);
        if lines.iter().any(|line| line.proposed != line.current) {
            changed.push(key);
            *windows = lines.iter().map(|line| window(line)).collect();
        }
    }
    if !changed.is_empty() {
        text.push_str("# In place of these keys of [detect].\n");
        text.push_str(&reference::part(&tuned, "detect", &changed));
    }
    if config.greylist.enabled && !proposal.servers.is_empty() {
        let blank = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{blank}{SERVERS}");
        tuned.greylist.servers.extend(proposal.servers.iter().map(|(service, _)| GivenServer {
            network: service.address.ip().into(),
            transport: service.transport(),
            port: service.port,
        }));
        text.push_str(&reference::part(&tuned, "greylist", &["servers"]));
    }
    let blank = if text.is_empty() { "" } else { "\n" };
    if !proposal.stand_out.is_empty() {
        let _ = write!(text, "{blank}{ROLES}");
        for one in proposal.stand_out.iter().take(MOST_ROLES) {
            let _ = write!(text, "\n# {}: {}\n{}", one.host, one.why, block(one));
        }
        rest(&mut text, proposal.stand_out.len());
    }
    let alarmed: Vec<&Outlier> = proposal.alarmed.iter().filter(|one| !one.is_attack()).collect();
    if !alarmed.is_empty() {
        let blank = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{blank}{ALARMED}");
        for one in alarmed.iter().take(MOST_ROLES) {
            let _ = write!(text, "\n# {}: {}\n", one.host, one.why);
            for line in block(one).lines() {
                let _ = writeln!(text, "#{line}");
            }
        }
        rest(&mut text, alarmed.len());
    }
    text
}

fn rest(text: &mut String, of: usize) {
    if of > MOST_ROLES {
        let _ = writeln!(text, "\n# And {} more, which `firedoor tune --json` lists.", of - MOST_ROLES);
    }
}

fn window(line: &Line) -> Window {
    Window { length: Duration::from_secs(line.seconds), limit: line.proposed }
}

fn block(one: &Outlier) -> String {
    let services: Vec<_> = one.services.iter().map(|service| (service.transport, service.port)).collect();
    let mut role = Role {
        name: format!("{}-{}", one.kind, one.host.to_string().replace(':', "-")),
        hosts: Networks::new(vec![IpNetwork::from(one.host.ip())]),
        services: Some(Services::new(&services)),
        smb1: one.smb1,
        remote_execution: one.remote_execution,
        owner: String::new(),
        reason: String::new(),
        until: None,
    };
    let more = if one.more_services { "# and more ports than these\n" } else { "" };
    format!("{}{more}", reference::role(&mut role))
}
