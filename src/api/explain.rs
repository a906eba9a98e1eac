//! Explanations both ways: why something is done about an address, and why not; and what would be.
//!
//! Built from what is published in [`Published`], so that asking disturbs nobody. The time is that of the latest snapshot.

use std::fmt::Write;
use std::time::Duration;

use super::host::{AttachmentView, Exemption, HostView, NextStep, SmbCondition, SmbView, WhyView};
use crate::detect::settings::Role;
use crate::evidence::{Attachment, Grade, Score};
use crate::inspect::Condition;
use crate::published::Published;
use crate::published::host_report::{HostReport, HostSmb};
use crate::published::host_table::{HostEntry, Watch};
use crate::published::status::Status;
use crate::respond::decision::UNMATCHED;
use crate::respond::{Action, Block, Decision, EvidenceRecord, Held, Mode, State, Verdict, exempt, service_name};
use crate::site::Site;
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Link};

/// Decisions that [`why`] lists at most.
const HISTORY: usize = 20;

/// What is done about a host, as the responder and the host table have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    /// It is blocked.
    pub block: Option<&'a Block>,
    /// A decision about it waits.
    pub held: Option<&'a Held>,
    watch: Option<Watch>,
    enforced: bool,
}

impl<'a> Standing<'a> {
    /// Of whoever an entry is about, at `address`; `suspect` is who that is, where the entry does not say so.
    pub fn of(state: &'a State, address: Address, entry: Option<&HostEntry>, suspect: Option<Suspect>) -> Self {
        let link = entry.map(|entry| entry.link).unwrap_or_default();
        let suspect = entry.and_then(HostEntry::suspect).or(suspect);
        let block = state.block_on(address, link, suspect);
        let held = if block.is_some() { None } else { state.held_on(address, link, suspect) };
        let watch = entry.and_then(|entry| entry.watch);
        let enforced = match block {
            Some(block) => state.enforces(block),
            None => held.is_none() && watch.is_some_and(|watch| watch.enforced),
        };
        Standing { block, held, watch, enforced }
    }

    /// The decision in force, or that waits.
    fn decision(self) -> Option<&'a Decision> {
        self.block.map(|block| &*block.decision).or(self.held.map(|held| &*held.decision))
    }

    /// In a word.
    pub fn verdict(self) -> Option<Verdict> {
        let watch = self.watch.map(|watch| if watch.throttled { Verdict::Throttle } else { Verdict::Watch });
        self.block.map(|block| block.action.verdict()).or(self.held.map(|_| Verdict::Hold)).or(watch)
    }

    /// Whether it is blocked, or waits to be.
    pub fn is_acted_on(self) -> bool {
        self.block.is_some() || self.held.is_some()
    }
}

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
        greylist: super::greylist::sentences(address, published),
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

/// The answer in a sentence or two.
fn summary(
    address: Address,
    entry: Option<&HostEntry>,
    standing: Standing<'_>,
    exemptions: &[Exemption],
    next: Option<&NextStep>,
    mode: Mode,
) -> String {
    if let Some(held) = standing.held {
        return format!(
            "{address} would be {}, but the breaker has tripped: the decision waits. `firedoor held confirm {}` carries \
             it out, `firedoor held drop {}` discards it.",
            past(held.action.verdict()),
            held.id,
            held.id
        );
    }
    if let Some(block) = standing.block {
        let until = block.decision.until;
        let until = until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {until}"));
        return match (block.action, standing.enforced) {
            (Action::Contain, true) => {
                let names: Vec<String> = block.decision.ports.iter().map(|service| service_name(*service)).collect();
                let further = if names.is_empty() { String::new() } else { format!(", and to {}", names.join(", ")) };
                format!(
                    "{address} is contained {until}: its traffic to lateral services{further}, from its own lateral \
                     services, and in tunnels is dropped, everything else flows."
                )
            }
            (Action::Isolate, true) => {
                format!("{address} is isolated {until}: all its traffic is dropped, care networks aside.")
            }
            (action, false) => {
                let exempt = exemptions.iter().any(Exemption::forbids);
                let because = if block.unmatched && mode == Mode::Enforce && !exempt {
                    format!("it is not shut: {UNMATCHED}")
                } else {
                    why_not(exemptions, mode)
                };
                format!("{address} would be {} {until}, but {because}.", past(action.verdict()))
            }
        };
    }
    if standing.watch.is_some_and(|watch| watch.throttled) {
        return format!("{address} runs into the fuse: the kernel limits its first contacts.");
    }
    let state = match entry.and_then(|entry| entry.report.as_ref()) {
        None => format!("{address} has not been seen, or was forgotten."),
        Some(report) => format!(
            "{address} is {}: score {} of {}, {} distinct destination{}.",
            if standing.watch.is_some() { "watched" } else { "not acted on" },
            report.score,
            report.threshold,
            report.destinations,
            if report.destinations == 1 { "" } else { "s" }
        ),
    };
    let Some(next) = next else {
        return format!("{state} Nothing it does would be dropped: {}.", why_not(exemptions, mode));
    };
    let long = next.seconds.map_or_else(
        || "until it is released".to_owned(),
        |secs| format!("for {}", humantime::format_duration(Duration::from_secs(secs))),
    );
    let exploit = if next.on_exploit == next.on_scan {
        String::new()
    } else {
        format!(" (an exploit: {})", past(next.on_exploit.verdict()))
    };
    let would = past(next.on_scan.verdict());
    let reported = if mode == Mode::Monitor { "; in monitor mode that is reported, not done" } else { "" };
    format!("{state} At an alarm it would be {would}{exploit}, {long}{reported}.")
}

fn past(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Watch => "watched",
        Verdict::Throttle => "throttled",
        Verdict::Contain => "contained",
        Verdict::Isolate => "isolated",
        Verdict::Release => "released",
        Verdict::Hold => "held",
    }
}

/// Why a decision about an address drops nothing.
fn why_not(exemptions: &[Exemption], mode: Mode) -> String {
    let because = exemptions.iter().find_map(|exemption| match exemption {
        Exemption::NeverContain { entry } => Some(format!("entry {entry} of the never-contain list covers it")),
        Exemption::AddedByCommand { entry, by, .. } => {
            Some(format!("{by} put {entry} on the never-contain list by command"))
        }
        Exemption::OwnAddress => Some("it is one of the gateway's own addresses".to_owned()),
        Exemption::NotProtected => Some("it is not in the protected networks".to_owned()),
        Exemption::Role { .. } => None,
    });
    match (because, mode) {
        (Some(because), _) => because,
        (None, Mode::Monitor) => "Firedoor is in monitor mode and drops nothing".to_owned(),
        (None, Mode::Enforce) => "the kernel does not act on it yet; see `firedoor status`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Config;
    use crate::detect::settings::Window;
    use crate::evidence::{Detail, Evidence, Signal};
    use crate::published::host_report::{Class, WindowFill};
    use crate::respond::{By, Exempted, Responder};
    use crate::site::Machine;
    use crate::wire::smb::Dialect;
    use crate::wire::{Link, Mac, Networks, Services};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn networks(text: &str) -> Networks {
        Networks::new(vec![text.parse().unwrap()])
    }

    fn published(mode: Mode) -> Published {
        let mut config = Config::default();
        config.gateway.mode = mode;
        config.respond.never_contain = networks("10.0.9.0/24");
        config.detect.roles = vec![Role {
            name: "scanner".to_owned(),
            hosts: networks("10.0.5.5/32"),
            services: Some(Services::new(&[(Transport::Tcp, 445), (Transport::Udp, 161)])),
            smb1: true,
            remote_execution: false,
            owner: "ana".to_owned(),
            reason: "weekly scan".to_owned(),
            until: Some(NOW),
        }];
        let machine = Machine { own: vec!["10.0.0.1".parse().unwrap()], ..Machine::default() };
        let published = Published::new(Arc::new(Site::new(&config, &machine)));
        published.set_status(Status { mode, at: NOW, ..Status::default() });
        published
    }

    const HOST: Address = Address::v4([10, 0, 3, 3]);
    const LINK: Link = Link { interface: 3, outer: 10, inner: 0 };

    fn decision(suspect: Suspect, decision: Verdict, step: u8) -> Decision {
        let evidence = EvidenceRecord {
            signal: Signal::Dark,
            at: NOW,
            peer: Address::v4([10, 0, 4, 1]),
            port: 445,
            weight: Score(9900),
            detail: "no answer within 300 ms".to_owned(),
        };
        Decision {
            score: Score(9900),
            threshold: Score(7920),
            destinations: 6,
            grade: Some(Grade::Scan),
            signal: Some(Signal::Dark),
            step,
            enforced: true,
            sender: Mac([2, 0, 0, 0, 0, 9]),
            link: "eth1.10".to_owned(),
            evidence: vec![evidence],
            ..Decision::without_alarm(NOW, suspect, HOST, decision, "spreads like a worm: dark".to_owned())
        }
    }

    fn responder(published: &Published) -> Responder {
        Responder::new(published.site().respond.clone())
    }

    /// Has a responder take this block over, and publish it.
    fn block(published: &Published, decision: Decision) {
        let mut responder = responder(published);
        responder.restore(Block::new(Arc::new(decision)).unwrap(), &mut Vec::new());
        published.set_state(responder.state());
    }

    fn ask(address: &str, published: &Published) -> WhyView {
        why(address.parse().unwrap(), published)
    }

    #[test]
    fn an_unknown_address_learns_what_would_happen() {
        let answer = ask("10.0.3.3", &published(Mode::Enforce));
        assert_eq!(
            answer.summary,
            "10.0.3.3 has not been seen, or was forgotten. At an alarm it would be contained (an exploit: isolated), \
             for 10m."
        );
        assert_eq!(answer.next.map(|next| (next.step, next.seconds)), Some((1, Some(600))));
        assert!(answer.host.is_none() && answer.exemptions.is_empty());
        assert!(
            ask("10.0.3.3", &published(Mode::Monitor)).summary.ends_with("in monitor mode that is reported, not done.")
        );
    }

    #[test]
    fn whoever_may_never_be_dropped_is_named_with_the_rule() {
        let published = published(Mode::Enforce);
        let mut responder = responder(&published);
        let entry = Exempted {
            network: "10.0.7.0/30".parse().unwrap(),
            by: "ben".to_owned(),
            at: NOW,
            reason: "surgery running".to_owned(),
        };
        responder.order_exempt(entry, &By::Operator("ben".to_owned()), NOW, &mut Vec::new()).unwrap();
        published.set_state(responder.state());
        for (address, words) in [
            ("10.0.9.77", "entry 10.0.9.0/24 of the never-contain list"),
            ("10.0.7.2", "ben put 10.0.7.0/30 on the never-contain list"),
            ("10.0.0.1", "gateway's own addresses"),
            ("8.8.8.8", "not in the protected networks"),
        ] {
            let answer = ask(address, &published);
            assert!(answer.summary.contains(words), "{}", answer.summary);
            assert_eq!(answer.next, None, "{address}");
        }
    }

    #[test]
    fn a_role_says_what_it_covers_and_that_it_has_expired() {
        let answer = ask("10.0.5.5", &published(Mode::Enforce));
        let Some(Exemption::Role { covers, expired, owner, .. }) = answer.exemptions.first() else {
            panic!("{:?}", answer.exemptions)
        };
        assert_eq!(covers, "first contacts on 445/tcp, 161/udp, SMB1");
        assert!(*expired, "a role ends at its moment of expiry");
        assert_eq!(owner, "ana");
        assert!(answer.next.is_some(), "a role does not forbid a decision");
    }

    #[test]
    fn a_contained_host_is_shown_until_when_and_what_comes_next() {
        let published = published(Mode::Enforce);
        let until = Some(NOW + Duration::from_secs(60));
        block(&published, Decision { until, ..decision(Suspect::address(LINK, HOST), Verdict::Contain, 2) });
        let answer = why(HOST, &published);
        assert!(answer.summary.contains("is contained until 2023-11-14T22:14:20.000Z"), "{}", answer.summary);
        let next = answer.next.unwrap();
        assert_eq!((next.step, next.on_scan, next.seconds), (3, Action::Isolate, Some(86_400)));
    }

    #[test]
    fn in_monitor_mode_the_answer_says_that_nothing_is_dropped() {
        let published = published(Mode::Monitor);
        block(&published, decision(Suspect::address(LINK, HOST), Verdict::Isolate, 1));
        let summary = why(HOST, &published).summary;
        assert!(
            summary.contains("would be isolated until it is released, but Firedoor is in monitor mode"),
            "{summary}"
        );
    }

    #[test]
    fn the_same_address_on_two_links_is_explained_for_each() {
        let published = published(Mode::Enforce);
        let mut site = (*published.site()).clone();
        site.respond.interfaces = vec![(3, "eth1".to_owned())];
        published.set_site(Arc::new(site));
        for (outer, at) in [(10, 5), (20, 6)] {
            let (at, suspect) = (Timestamp::from_secs(at), Suspect::address(Link { outer, ..LINK }, HOST));
            published.host_table.try_publish(HOST, HostReport { at, seen: at, suspect, ..HostReport::default() });
        }
        block(&published, decision(Suspect::address(LINK, HOST), Verdict::Contain, 1));
        let answer = why(HOST, &published);
        assert!(answer.summary.contains("is contained until it is released"), "{}", answer.summary);
        assert!(answer.summary.ends_with("is in use on eth1.20 too: that is another host, judged by itself."));
        assert!(answer.host.unwrap().shut.contains(&"445/tcp".to_owned()));
        let [other] = &answer.elsewhere[..] else { panic!("{:?}", answer.elsewhere) };
        assert!(other.summary.starts_with("10.0.3.3 is not acted on"), "{}", other.summary);
        assert_eq!((answer.link.as_str(), other.link.as_str()), ("eth1.10", "eth1.20"));
        assert_eq!(other.next.as_ref().map(|next| next.step), Some(1), "the ladder is each suspect's own");
    }

    #[test]
    fn a_block_that_the_kernel_cannot_match_is_not_called_shut() {
        let published = published(Mode::Enforce);
        let suspect = Suspect::address(LINK, HOST);
        let mut responder = responder(&published);
        let block = Block::new(Arc::new(decision(suspect, Verdict::Contain, 1))).unwrap();
        responder.restore(block, &mut Vec::new());
        responder.set_unmatched(suspect, true);
        published.set_state(responder.state());
        let answer = why(HOST, &published);
        assert!(answer.summary.ends_with(&format!("but it is not shut: {UNMATCHED}.")), "{}", answer.summary);
        let host = answer.host.unwrap();
        assert!(host.shut.is_empty() && !host.enforced);
        let named = crate::respond::Known { suspect, attachment: Attachment::default(), addresses: vec![HOST] };
        let by = By::Operator("anna".to_owned());
        let order = crate::respond::Ordered {
            host: HOST,
            known: Some(&named),
            action: Action::Isolate,
            duration: None,
            reason: "worm",
        };
        responder.order_act(&order, by, NOW, &mut Vec::new()).unwrap();
        assert!(responder.state().enforces(responder.block(HOST).unwrap()), "until the kernel says otherwise");
    }

    #[test]
    fn after_a_restart_a_block_is_explained_by_what_the_history_has() {
        let published = published(Mode::Enforce);
        let suspect = Suspect::card(LINK, Mac([2, 0, 0, 0, 0, 9]));
        block(&published, decision(suspect, Verdict::Contain, 1));
        // All that its shard knows of it is that it is acted on.
        let known = HostReport { at: NOW, seen: NOW, suspect, acted: true, ..HostReport::default() };
        for report in [None, Some(known)] {
            if let Some(report) = report {
                published.host_table.try_publish(HOST, report);
            }
            let answer = why(HOST, &published);
            assert_eq!(answer.evidence.len(), 1, "its evidence is known");
            assert_eq!((answer.host.as_ref().unwrap().step, answer.next.unwrap().step), (1, 2));
            let host = answer.host.unwrap();
            assert_eq!((host.score, host.threshold, host.destinations), (Score(9900), Score(7920), 6));
            assert_eq!((host.attachment.interface.as_str(), host.attachment.mac), ("eth1.10", Mac([2, 0, 0, 0, 0, 9])));
            assert_eq!(host.last_seen, Timestamp::ZERO, "nobody has seen it since");
            assert!(host.is_card);
        }
    }

    #[test]
    fn a_card_is_found_while_its_shard_knows_no_more_than_its_address() {
        let published = published(Mode::Enforce);
        let cards = [9, 8].map(|n| Suspect::card(LINK, Mac([2, 0, 0, 0, 0, n])));
        block(&published, decision(cards[0], Verdict::Contain, 1));
        for (suspect, acted) in [(Suspect::address(LINK, HOST), true), (cards[1], false), (cards[0], true)] {
            let entry = HostEntry {
                link: LINK,
                report: Some(HostReport { suspect, ..HostReport::default() }),
                ..HostEntry::default()
            };
            assert_eq!(Standing::of(&published.state(), HOST, Some(&entry), None).is_acted_on(), acted, "{suspect}");
        }
    }

    #[test]
    fn evidence_later_than_the_decision_is_not_what_it_rests_on() {
        let published = published(Mode::Enforce);
        let suspect = Suspect::address(LINK, HOST);
        let later = NOW + Duration::from_secs(30);
        let evidence = Evidence {
            signal: Signal::FanoutAny,
            at: later,
            peer: Address::v4([10, 0, 4, 2]),
            port: 8080,
            weight: Score(0),
            detail: Detail::Refused,
        };
        let attachment = Attachment { interface: 3, vlan: 10, ..Attachment::default() };
        let report = HostReport {
            at: later,
            seen: later,
            suspect,
            attachment,
            threshold: Score(9900),
            evidence: vec![evidence],
            ..HostReport::default()
        };
        published.host_table.try_publish(HOST, report);
        assert_eq!(why(HOST, &published).evidence[0].at, later, "nothing is decided yet");
        block(&published, decision(suspect, Verdict::Contain, 1));
        let evidence = why(HOST, &published).evidence;
        assert_eq!((evidence.len(), evidence[0].at), (1, NOW));
    }

    #[test]
    fn a_lowered_threshold_has_its_reason() {
        let published = published(Mode::Enforce);
        block(&published, decision(Suspect::address(LINK, HOST), Verdict::Contain, 1));
        let other = Address::v4([10, 0, 3, 4]);
        let report = |threshold, exposed_by| HostReport {
            at: NOW,
            suspect: Suspect::address(LINK, other),
            threshold: Score(threshold),
            exposed_by,
            ..HostReport::default()
        };
        for (threshold, exposed_by, because) in [
            (9900, None, None),
            (7920, None, Some("lowered from 9.90: 1 host is contained")),
            (
                3960,
                Some(HOST),
                Some("lowered from 9.90: 1 host is contained, and 10.0.3.3, which is alarmed, reached it"),
            ),
        ] {
            published.host_table.try_publish(other, report(threshold, exposed_by));
            assert_eq!(why(other, &published).host.unwrap().threshold_because.as_deref(), because);
        }
    }

    #[test]
    fn the_next_rung_is_the_responders_however_much_was_decided_since() {
        let published = published(Mode::Enforce);
        let suspect = Suspect::address(LINK, HOST);
        let mut responder = responder(&published);
        responder.restore_step(suspect, 2, NOW);
        for n in 0..30 {
            let at = NOW + Duration::from_secs(n);
            published.remember(Arc::new(Decision { at, ..decision(suspect, Verdict::Watch, 0) }));
        }
        published.set_state(responder.state());
        let (at, report) = (NOW, HostReport { at: NOW, seen: NOW, suspect, ..HostReport::default() });
        // Before its first packet, and after it.
        assert_eq!(why(HOST, &published).next.unwrap().step, 3);
        published.host_table.try_publish(HOST, report);
        let next = why(HOST, &published).next.unwrap();
        assert_eq!(next.step, responder.next_step(suspect, at));
        assert_eq!(next.step, 3);
    }

    #[test]
    fn a_window_of_datagrams_is_shown_like_the_others() {
        let published = published(Mode::Enforce);
        let settings = &published.site().detect;
        let mut hosts = crate::track::Hosts::new(64, crate::track::HashKey::new(0));
        let host = hosts.get_or_insert(Suspect::address(LINK, HOST), HOST, NOW).unwrap();
        for _ in 0..3 {
            host.datagrams[0].push(settings.udp_windows[0].length, NOW);
        }
        let report = HostReport::of(host, Score(9900), settings, NOW);
        let Window { length, limit, .. } = settings.udp_windows[0];
        let expected = WindowFill { class: Class::Udp, seconds: length.as_secs(), count: 3, limit };
        assert_eq!(report.windows, [expected]);
    }

    #[test]
    fn the_last_rung_repeats() {
        let settings = crate::respond::Settings::default();
        for step in [4, 5, 200, u8::MAX] {
            assert_eq!(next_step(step, &settings).seconds, None, "{step}");
        }
    }

    #[test]
    fn smb_dialects_are_named() {
        let report = HostSmb { client: 1 << Dialect::Smb311 as u16, server: 0, ..HostSmb::default() };
        let shown = smb(report);
        assert!(!shown.smb1);
        assert_eq!(shown.client, ["smb3.1.1"]);
        assert!(shown.server.is_empty() && shown.conditions.is_empty());
    }

    #[test]
    fn a_server_that_gave_away_its_condition_is_named() {
        let server = "10.0.0.9".parse().unwrap();
        let published = published(Mode::Enforce);
        published.host_table.gave_away(server, Condition::Unpatched, Timestamp::from_secs(1_800_000_000));
        let smb = why(server, &published).host.and_then(|host| host.smb).unwrap();
        let given: Vec<&str> = smb.conditions.iter().map(|of| of.condition.as_str()).collect();
        assert_eq!(given, ["unpatched"]);
        assert!(!smb.smb1 && smb.server.is_empty());
    }
}
