//! Explanations both ways: why something is done about an address, and why not; and what would be.
//!
//! Built from what is published in [`Published`], so that asking disturbs nobody. The time is that of the latest snapshot.

pub(super) mod standing;
mod summary;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::host::{AttachmentView, Exemption, HostView, NextStep, SmbCondition, SmbView, WhyView};
use crate::detect::settings::Role;
use crate::evidence::{Attachment, Grade, Score};
use crate::inspect::Condition;
use crate::published::Published;
use crate::published::host_report::{HostReport, HostSmb};
use crate::published::host_table::HostEntry;
use crate::published::status::Status;
use crate::respond::{Block, Decision, EvidenceRecord, State, Verdict, exempt, service_name};
use crate::site::Site;
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Link};

use standing::Standing;
use summary::summary;

/// Decisions that [`why`] lists at most.
const HISTORY: usize = 20;
/// One host as lists show it, called `address`.
pub(super) fn host(address: Address, entry: &HostEntry, standing: Standing<'_>, published: &Published) -> HostView {
    let (site, status, state) = (published.site(), published.status(), published.state());
    view(address, entry, standing, &site, &status, &exemptions(address, published), &state)
}

/// Everything about one address.
#[must_use]
pub fn why(address: Address, published: &Published) -> WhyView {
    let state = published.state();
    let mut users: Vec<(Address, Option<HostEntry>, Option<Suspect>)> = Vec::new();
    for (called, entry) in published.host_table.users(address) {
        let block = Standing::of(&state, called, Some(&entry), None).block;
        users.push((block.map_or(called, Block::host), Some(entry), None));
    }
    // Whom nobody has seen since the start, or on a link where it was not seen.
    for suspect in state.suspects_of(address) {
        let known = |link: Link| link.interface == 0 || suspect.link.interface == 0 || link == suspect.link;
        let is_known = users.iter().any(|(_, entry, known_as)| match (entry, known_as) {
            (Some(entry), _) => known(entry.link),
            (None, Some(other)) => known(other.link),
            (None, None) => false,
        });
        if !is_known {
            let called = state.block(suspect).map_or(address, Block::host);
            users.push((called, None, Some(suspect)));
        }
    }
    if users.is_empty() {
        // It may stand in the history alone.
        let last = published.recent(Some(address), 1).first().map(|decision| decision.suspect);
        users.push((address, None, last));
    }
    users
        .sort_by_key(|(called, entry, suspect)| !Standing::of(&state, *called, entry.as_ref(), *suspect).is_acted_on());
    let shared = users.len() > 1;
    let mut each = users
        .into_iter()
        .map(|(called, entry, suspect)| one(address, called, entry, suspect, shared, published, &state));
    let Some(mut first) = each.next() else { return one(address, address, None, None, false, published, &state) };
    first.elsewhere = each.collect();
    if shared {
        let others: Vec<&str> = first.elsewhere.iter().map(|other| other.link.as_str()).collect();
        let _ = write!(
            first.summary,
            " {address} is in use on {} too: that is another host, judged by itself.",
            others.join(" and ")
        );
    }
    first
}

/// Everything about whoever uses an address on one link, called by `called`; `shared` if other links have the address too.
fn one(
    asked: Address,
    called: Address,
    entry: Option<HostEntry>,
    suspect: Option<Suspect>,
    shared: bool,
    published: &Published,
    state: &State,
) -> WhyView {
    let (site, status) = (published.site(), published.status());
    let address = called;
    let mut entry = entry;
    if let Some(report) = entry.as_mut().and_then(|entry| entry.report.as_mut()) {
        *report = report.aged(status.at, site.detect.decay);
    }
    let standing = Standing::of(state, address, entry.as_ref(), suspect);
    let suspect = standing
        .decision()
        .map(|decision| decision.suspect)
        .or_else(|| entry.as_ref().and_then(HostEntry::suspect))
        .or(suspect);
    let place = match &entry {
        Some(entry) => entry.link,
        None => suspect.map(|suspect| suspect.link).unwrap_or_default(),
    };
    let link = site.respond.link_name(place);
    let exemptions = exemptions(address, published);
    let here = |act: &Decision| !shared || act.link.is_empty() || act.link == link;
    let recent = published.recent(Some(address), if shared { usize::MAX } else { HISTORY });
    let history: Vec<_> = recent.iter().filter(|act| here(act)).take(HISTORY).cloned().collect();
    let forbidden = exemptions.iter().any(Exemption::forbids);
    let pardon = state.pardon_on(address, place, suspect).filter(|until| status.at < *until);
    let rung = suspect.map_or(1, |suspect| state.next_step(suspect, status.at, &site.respond));
    let next = (!forbidden).then(|| next_step(rung, &site.respond));
    let evidence = if let Some(decision) = standing.decision() {
        // What it rests on; what came later was dropped, and changes nothing.
        decision.evidence.clone()
    } else {
        let report = entry.as_ref().and_then(|entry| entry.report.as_ref());
        report.map(|report| report.evidence.iter().map(EvidenceRecord::from).collect()).unwrap_or_default()
    };
    let summary = summary(address, entry.as_ref(), standing, &exemptions, next.as_ref(), status.mode);
    let summary = match suspect.map(|suspect| suspect.who) {
        Some(Who::Card(card)) if asked != address => {
            format!("{asked} is an address of card {card}, called {address} here. {summary}")
        }
        _ if asked != address => format!("{asked} is {address}'s device. {summary}"),
        _ => summary,
    };
    let summary = match pardon {
        Some(until) => format!("{summary} An engineer released it: until {until} it is only watched."),
        None => summary,
    };
    let shown = entry.or_else(|| standing.is_acted_on().then(|| HostEntry { link: place, ..HostEntry::default() }));
    let mut host = shown.map(|entry| view(address, &entry, standing, &site, &status, &exemptions, state));
    if let Some(host) = host.as_mut().filter(|host| host.enforced && host.verdict == Some(Verdict::Contain)) {
        let ports = standing.block.map_or(&[][..], |block| block.decision.ports.as_slice());
        let further = ports.iter().map(|service| service_name(*service));
        let lateral = site.detect.lateral.written().iter().map(|service| service_name(*service));
        host.shut = lateral.chain(further).collect();
        let mut seen = std::collections::HashSet::new();
        host.shut.retain(|service| seen.insert(service.clone()));
    }
    WhyView {
        address: asked,
        link,
        elsewhere: Vec::new(),
        at: status.at,
        mode: status.mode,
        summary,
        host,
        exemptions,
        next,
        pardoned_until: pardon,
        greylist: crate::api::greylist::sentences(address, published),
        evidence,
        held: standing.held.cloned(),
        history,
    }
}

/// A rung of the ladder, as the settings have it.
fn next_step(step: u8, settings: &crate::respond::Settings) -> NextStep {
    NextStep {
        step,
        on_scan: settings.action(Grade::Scan, step),
        on_exploit: settings.action(Grade::Exploit, step),
        seconds: settings.rung(step).map(|rung| rung.as_secs()),
    }
}

/// Why the threshold that applies is lower than the configured one, if it is.
fn lowered(threshold: Score, exposed_by: Option<Address>, full: Score, contained: u32) -> Option<String> {
    if threshold >= full {
        return None;
    }
    let cooperation = match contained {
        0 => None,
        1 => Some("1 host is contained".to_owned()),
        many => Some(format!("{many} hosts are contained")),
    };
    let chain = exposed_by.map(|from| format!("{from}, which is alarmed, reached it"));
    let because: Vec<String> = cooperation.into_iter().chain(chain).collect();
    let because = if because.is_empty() { "others were contained then".to_owned() } else { because.join(", and ") };
    Some(format!("lowered from {full}: {because}"))
}

fn view(
    address: Address,
    entry: &HostEntry,
    standing: Standing<'_>,
    site: &Site,
    status: &Status,
    exemptions: &[Exemption],
    state: &State,
) -> HostView {
    let decision = standing.decision();
    // A shard that only knows that a host is acted on has seen nothing of it.
    let heard =
        |report: &&HostReport| decision.is_none() || !report.acted || report.attachment != Attachment::default();
    let report = entry.report.as_ref().filter(heard).map(|report| report.aged(status.at, site.detect.decay));
    let name_of = |index| status.interfaces.iter().find(|known| known.index == index).map(|known| known.name.clone());
    let (report, attachment) = match (report, decision) {
        (Some(report), _) => {
            let attachment = AttachmentView::new(report.attachment, name_of);
            (report, attachment)
        }
        (None, Some(decision)) => {
            let addresses = decision.addresses.clone().unwrap_or_default();
            let report = HostReport {
                suspect: decision.suspect,
                addresses,
                score: decision.score,
                threshold: decision.threshold,
                destinations: decision.destinations,
                ..HostReport::default()
            };
            let interface = if decision.link.is_empty() { "-" } else { decision.link.as_str() }.to_owned();
            (report, AttachmentView { interface, mac: decision.sender, ..AttachmentView::default() })
        }
        (None, None) => {
            let report = HostReport { threshold: site.detect.threshold, ..HostReport::default() };
            (report, AttachmentView { interface: "-".to_owned(), ..AttachmentView::default() })
        }
    };
    let role = |exemption: &Exemption| match exemption {
        Exemption::Role { name, expired: false, .. } => Some(name.clone()),
        _ => None,
    };
    HostView {
        address,
        addresses: report.addresses,
        is_card: matches!(report.suspect.who, Who::Card(_)),
        attachment,
        score: report.score,
        threshold: report.threshold,
        threshold_because: lowered(report.threshold, report.exposed_by, site.detect.threshold, state.automatic()),
        headroom: Score(report.threshold.0.saturating_sub(report.score.0).max(0)),
        destinations: report.destinations,
        windows: report.windows,
        verdict: standing.verdict(),
        shut: Vec::new(),
        enforced: standing.enforced,
        until: standing.block.and_then(|block| block.decision.until),
        step: standing.block.map_or(0, |block| block.decision.step),
        roles: exemptions.iter().filter_map(role).collect(),
        never_contain: exemptions.iter().any(|exemption| {
            matches!(
                exemption,
                Exemption::NeverContain { .. } | Exemption::AddedByCommand { .. } | Exemption::OwnAddress
            )
        }),
        exposed_by: report.exposed_by,
        smb: entry.smb.any().then(|| smb(entry.smb)),
        last_seen: report.seen,
        near_miss: report.near_miss.filter(|_| !standing.is_acted_on()),
    }
}

fn smb(report: HostSmb) -> SmbView {
    let names = |bits| HostSmb::names(bits).map(str::to_owned).collect();
    SmbView {
        smb1: report.smb1(),
        client: names(report.client),
        server: names(report.server),
        signing: report.signing,
        encryption: report.encryption,
        conditions: Condition::ALL
            .iter()
            .zip(report.conditions)
            .filter_map(|(condition, at)| Some(SmbCondition { condition: condition.label().to_owned(), at: at? }))
            .collect(),
    }
}

/// What applies to an address ahead of any evidence, and where it is written.
fn exemptions(address: Address, published: &Published) -> Vec<Exemption> {
    let (site, now) = (published.site(), published.status().at);
    let state = published.state();
    let added = state.exempted();
    let mut found: Vec<Exemption> = exempt::exemptions(&site.respond, added, address)
        .map(|reason| match reason {
            exempt::Exemption::Own => Exemption::OwnAddress,
            exempt::Exemption::NeverContain(entry) => Exemption::NeverContain { entry: entry.to_string() },
            exempt::Exemption::NotProtected => Exemption::NotProtected,
            exempt::Exemption::ByCommand(entry) => {
                let added = added.iter().find(|added| added.network == entry);
                Exemption::AddedByCommand {
                    entry: entry.to_string(),
                    by: added.map_or_else(String::new, |added| added.by.clone()),
                    at: added.map_or(Timestamp::ZERO, |added| added.at),
                    reason: added.map_or_else(String::new, |added| added.reason.clone()),
                }
            }
        })
        .collect();
    let roles = site.detect.roles.iter().filter(|role| role.hosts.contains(address));
    found.extend(roles.map(|role| Exemption::Role {
        name: role.name.clone(),
        covers: covers(role),
        owner: role.owner.clone(),
        reason: role.reason.clone(),
        until: role.until,
        expired: role.until.is_some_and(|until| until <= now && now > Timestamp::ZERO),
    }));
    found
}

/// What a role exempts, in words.
fn covers(role: &Role) -> String {
    let mut text = match &role.services {
        None => "first contacts on every service".to_owned(),
        Some(services) if services.written().is_empty() => String::new(),
        Some(services) => {
            let name = |service: &(Transport, u16)| service_name(*service);
            format!("first contacts on {}", services.written().iter().map(name).collect::<Vec<_>>().join(", "))
        }
    };
    for (covered, what) in [(role.smb1, "SMB1"), (role.remote_execution, "remote execution")] {
        if covered {
            let _ = write!(text, "{}{what}", if text.is_empty() { "" } else { ", " });
        }
    }
    text
}
