//! Explanations both ways: why something is done about an address, and why not; and what would be.
//!
//! Built from what is published in [`Published`], so that asking disturbs nobody. The time is that of the latest snapshot.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::host::{AttachmentView, Exemption, HostView, NextStep, SmbCondition, SmbView, WhyView};
use crate::config::model::Config;
use crate::detect::settings::Role;
use crate::detect::smb::Condition;
use crate::evidence::{Grade, Score};
use crate::published::Published;
use crate::published::host_report::{HostReport, HostSmb};
use crate::published::host_table::HostEntry;
use crate::published::status::Status;
use crate::respond::decision::NOT_SHUT;
use crate::respond::{Decision, EvidenceRecord, Held, Mode, Verdict, exempt, service_name};
use crate::suspect::{Suspect, Who};
use crate::time::Timestamp;
use crate::wire::Address;
use crate::wire::frame::Transport;

/// Decisions that [`why`] lists at most.
const HISTORY: usize = 20;

/// One host as lists show it; `None` if nothing is known of it.
#[must_use]
pub fn host(address: Address, line: &HostEntry, published: &Published) -> HostView {
    view(address, line, &published.config(), &published.status(), &exemptions(address, published))
}

/// Everything about one address.
#[must_use]
pub fn why(address: Address, published: &Published) -> WhyView {
    let users = published.host_table.users(address);
    let shared = users.len() > 1;
    let mut each = users.into_iter().map(|(called, line)| one(address, called, Some(line), shared, published));
    let Some(mut first) = each.next() else { return one(address, address, None, false, published) };
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
fn one(asked: Address, called: Address, line: Option<HostEntry>, shared: bool, published: &Published) -> WhyView {
    let (config, status) = (published.config(), published.status());
    let address = called;
    let mut line = line;
    let place = line.as_ref().map(|line| line.link).unwrap_or_default();
    let link = config.respond.link_name(place);
    if let Some(report) = line.as_mut().and_then(|line| line.report.as_mut()) {
        *report = report.aged(status.at, config.detect.decay);
    }
    let exemptions = exemptions(address, published);
    let is_held =
        line.as_ref().and_then(|line| line.standing).is_some_and(|standing| standing.verdict == Verdict::Hold);
    let held = published.held().iter().find(|held| held.decision.host == address && (is_held || !shared)).cloned();
    let here = |act: &Decision| !shared || act.link.is_empty() || act.link == link;
    let recent = published.recent(Some(address), if shared { usize::MAX } else { HISTORY });
    let history: Vec<_> = recent.iter().filter(|act| here(act)).take(HISTORY).cloned().collect();
    let forbidden = exemptions.iter().any(Exemption::forbids);
    let standing_step = line.as_ref().and_then(|line| line.standing).map_or(0, |standing| standing.step);
    let remembered = history
        .iter()
        .find(|act| matches!(act.decision, Verdict::Contain | Verdict::Isolate) && act.step > 0)
        .filter(|act| status.at.since(act.at) <= config.respond.repeat_within)
        .map_or(0, |act| act.step);
    let pardon = published.pardoned(address, place).filter(|until| status.at < *until);
    let next = (!forbidden).then(|| next_step(standing_step.max(remembered), &config.respond));
    let report = line.as_ref().and_then(|line| line.report.as_ref());
    let evidence = report.map(|report| report.evidence.iter().map(EvidenceRecord::from).collect()).unwrap_or_default();
    let last = history.iter().map(Arc::as_ref).find(|act| matches!(act.decision, Verdict::Contain | Verdict::Isolate));
    let summary = summary(address, line.as_ref(), &exemptions, next.as_ref(), held.as_ref(), (status.mode, last));
    let card = line.as_ref().and_then(HostEntry::card);
    let summary = match card {
        Some(Suspect { who: Who::Card(card), .. }) if asked != address => {
            format!("{asked} is an address of card {card}, called {address} here. {summary}")
        }
        _ if asked != address => format!("{asked} is {address}'s device. {summary}"),
        _ => summary,
    };
    let summary = match pardon {
        Some(until) => format!("{summary} An engineer released it: until {until} it is only watched."),
        None => summary,
    };
    let mut host = line.map(|line| view(address, &line, &config, &status, &exemptions));
    if let Some(host) = host.as_mut().filter(|host| host.enforced && host.verdict == Some(Verdict::Contain)) {
        let further = last.map_or(&[][..], |act| act.ports.as_slice()).iter().map(|service| service_name(*service));
        let lateral = config.detect.lateral.written().iter().map(|service| service_name(*service));
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
        evidence,
        held,
        history,
    }
}

/// The rung after `step`, as the ladder's settings have it.
fn next_step(step: u8, settings: &crate::respond::Settings) -> NextStep {
    let step = step.saturating_add(1);
    NextStep {
        step,
        on_scan: settings.action(Grade::Scan, step),
        on_exploit: settings.action(Grade::Exploit, step),
        seconds: settings.rung(step).map(|rung| rung.as_secs()),
    }
}

fn view(address: Address, line: &HostEntry, config: &Config, status: &Status, exemptions: &[Exemption]) -> HostView {
    let unseen = HostReport { threshold: config.detect.threshold, ..HostReport::default() };
    let report = line.report.as_ref().map_or(unseen, |report| report.aged(status.at, config.detect.decay));
    let name_of = |index| status.interfaces.iter().find(|known| known.index == index).map(|known| known.name.clone());
    let attachment = match line.report {
        Some(_) => AttachmentView::new(report.attachment, name_of),
        None => AttachmentView { interface: "-".to_owned(), ..AttachmentView::default() },
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
        headroom: Score(report.threshold.0.saturating_sub(report.score.0).max(0)),
        destinations: report.destinations,
        windows: report.windows,
        verdict: line.standing.map(|standing| standing.verdict),
        shut: Vec::new(),
        enforced: line.standing.is_some_and(|standing| standing.enforced),
        until: line.standing.and_then(|standing| standing.until),
        step: line.standing.map_or(0, |standing| standing.step),
        roles: exemptions.iter().filter_map(role).collect(),
        never_contain: exemptions.iter().any(|exemption| {
            matches!(
                exemption,
                Exemption::NeverContain { .. } | Exemption::AddedByCommand { .. } | Exemption::OwnAddress
            )
        }),
        exposed_by: report.exposed_by,
        smb: line.smb.any().then(|| smb(line.smb)),
        last_seen: report.seen,
        near_miss: report.near_miss,
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
    let (config, now) = (published.config(), published.status().at);
    let added = published.exempted();
    let networks: Vec<_> = added.iter().map(|added| added.network).collect();
    let mut found: Vec<Exemption> = exempt::exemptions(&config.respond, &networks, address)
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
    let roles = config.detect.roles.iter().filter(|role| role.hosts.contains(address));
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
    line: Option<&HostEntry>,
    exemptions: &[Exemption],
    next: Option<&NextStep>,
    held: Option<&Held>,
    (mode, last): (Mode, Option<&Decision>),
) -> String {
    if let Some(held) = held {
        return format!(
            "{address} would be {}, but the breaker has tripped: the decision waits. `firedoor held confirm {}` carries \
             it out, `firedoor held drop {}` discards it.",
            past(held.action.verdict()),
            held.id,
            held.id
        );
    }
    if let Some(standing) = line.and_then(|line| line.standing) {
        let until = standing.until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {until}"));
        match (standing.verdict, standing.enforced) {
            (Verdict::Contain, true) => {
                let shut = last.map_or(&[][..], |act| act.ports.as_slice());
                let names: Vec<String> = shut.iter().map(|service| service_name(*service)).collect();
                let further = if shut.is_empty() { String::new() } else { format!(", and to {}", names.join(", ")) };
                return format!(
                    "{address} is contained {until}: its traffic to lateral services{further}, from its own lateral \
                     services, and in tunnels is dropped, everything else flows."
                );
            }
            (Verdict::Isolate, true) => {
                return format!("{address} is isolated {until}: all its traffic is dropped, care networks aside.");
            }
            (verdict @ (Verdict::Contain | Verdict::Isolate), false) => {
                let exempt = exemptions.iter().any(Exemption::forbids);
                let unmatched = last.and_then(|act| act.reason.split_once(NOT_SHUT)).map(|(_, why)| why);
                let because = match unmatched {
                    Some(why) if mode == Mode::Enforce && !exempt => format!("it is not shut: {why}"),
                    _ => why_not(exemptions, mode),
                };
                return format!("{address} would be {} {until}, but {because}.", past(verdict));
            }
            (Verdict::Throttle, _) => {
                return format!("{address} runs into the fuse: the kernel limits its first contacts.");
            }
            (Verdict::Watch | Verdict::Hold | Verdict::Release, _) => {}
        }
    }
    let state = match line.and_then(|line| line.report.as_ref()) {
        None => format!("{address} has not been seen, or was forgotten."),
        Some(report) => format!(
            "{address} is {}: score {} of {}, {} distinct destination{}.",
            if line.is_some_and(|line| line.standing.is_some()) { "watched" } else { "not acted on" },
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
    let told = if mode == Mode::Monitor { "; in monitor mode that is told, not done" } else { "" };
    format!("{state} At an alarm it would be {would}{exploit}, {long}{told}.")
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
        (None, Mode::Enforce) => "the kernel has not been told; see `firedoor status`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::host_table::Standing;
    use crate::wire::smb::Dialect;
    use crate::wire::{Link, Networks, Services};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn networks(text: &str) -> Networks {
        Networks::new(vec![text.parse().unwrap()])
    }

    fn published(mode: Mode) -> Published {
        let mut config = Config::default();
        config.gateway.mode = mode;
        config.respond.mode = mode;
        config.respond.never_contain = networks("10.0.9.0/24");
        config.respond.own_addresses = networks("10.0.0.1/32");
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
        let published = Published::new(Arc::new(config));
        published.set_status(Status { mode, at: NOW, ..Status::default() });
        published
    }

    fn ask(address: &str, published: &Published) -> WhyView {
        why(address.parse().unwrap(), published)
    }

    #[test]
    fn an_unknown_address_is_told_what_would_happen() {
        let answer = ask("10.0.3.3", &published(Mode::Enforce));
        assert_eq!(
            answer.summary,
            "10.0.3.3 has not been seen, or was forgotten. At an alarm it would be contained (an exploit: isolated), \
             for 10m."
        );
        assert_eq!(answer.next.map(|next| (next.step, next.seconds)), Some((1, Some(600))));
        assert!(answer.host.is_none() && answer.exemptions.is_empty());
        assert!(
            ask("10.0.3.3", &published(Mode::Monitor)).summary.ends_with("in monitor mode that is told, not done.")
        );
    }

    #[test]
    fn whoever_may_never_be_dropped_is_told_by_which_rule() {
        let published = published(Mode::Enforce);
        published.set_exempted(vec![crate::respond::Exempted {
            network: "10.0.7.0/30".parse().unwrap(),
            by: "ben".to_owned(),
            at: NOW,
            reason: "surgery running".to_owned(),
        }]);
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
    fn a_contained_host_is_told_until_when_and_what_comes_next() {
        let published = published(Mode::Enforce);
        let host: Address = "10.0.3.3".parse().unwrap();
        let until = Some(NOW + Duration::from_secs(60));
        published.host_table.stand(
            host,
            Link::default(),
            Some(Standing { verdict: Verdict::Contain, enforced: true, since: NOW, until, step: 2 }),
        );
        let answer = why(host, &published);
        assert!(answer.summary.contains("is contained until 2023-11-14T22:14:20.000Z"), "{}", answer.summary);
        let next = answer.next.unwrap();
        assert_eq!((next.step, next.on_scan, next.seconds), (3, crate::respond::Action::Isolate, Some(86_400)));
    }

    #[test]
    fn in_monitor_mode_the_answer_says_that_nothing_is_dropped() {
        let published = published(Mode::Monitor);
        let host: Address = "10.0.3.3".parse().unwrap();
        published.host_table.stand(
            host,
            Link::default(),
            Some(Standing { verdict: Verdict::Isolate, enforced: false, since: NOW, until: None, step: 1 }),
        );
        let summary = why(host, &published).summary;
        assert!(
            summary.contains("would be isolated until it is released, but Firedoor is in monitor mode"),
            "{summary}"
        );
    }

    #[test]
    fn the_same_address_on_two_links_is_explained_for_each() {
        let published = published(Mode::Enforce);
        let mut config = (*published.config()).clone();
        config.respond.interfaces = vec![(3, "eth1".to_owned())];
        published.set_config(Arc::new(config));
        let host: Address = "10.0.3.3".parse().unwrap();
        let on = |outer| Link { interface: 3, outer, inner: 0 };
        for (outer, at) in [(10, 5), (20, 6)] {
            let (at, suspect) = (Timestamp::from_secs(at), Suspect::address(on(outer), host));
            published.host_table.try_publish(host, HostReport { at, seen: at, suspect, ..HostReport::default() });
        }
        published.host_table.stand(
            host,
            on(10),
            Some(Standing { verdict: Verdict::Contain, enforced: true, since: NOW, until: None, step: 1 }),
        );
        let answer = why(host, &published);
        assert!(answer.summary.contains("is contained until it is released"), "{}", answer.summary);
        assert!(answer.summary.ends_with("is in use on eth1.20 too: that is another host, judged by itself."));
        assert!(answer.host.unwrap().shut.contains(&"445/tcp".to_owned()));
        let [other] = &answer.elsewhere[..] else { panic!("{:?}", answer.elsewhere) };
        assert!(other.summary.starts_with("10.0.3.3 is not acted on"), "{}", other.summary);
        assert_eq!((answer.link.as_str(), other.link.as_str()), ("eth1.10", "eth1.20"));
    }

    #[test]
    fn a_block_that_the_kernel_cannot_match_is_not_called_shut() {
        let published = published(Mode::Enforce);
        let host: Address = "10.0.3.3".parse().unwrap();
        let standing = Standing { verdict: Verdict::Contain, enforced: false, since: NOW, until: None, step: 1 };
        published.host_table.stand(host, Link::default(), Some(standing));
        let (suspect, reason) = (Suspect::address(Link::default(), host), format!("dark{NOT_SHUT}behind two tags"));
        published.remember(Arc::new(Decision::without_alarm(NOW, suspect, host, Verdict::Contain, reason)));
        let answer = why(host, &published);
        assert!(answer.summary.ends_with("but it is not shut: behind two tags."), "{}", answer.summary);
        assert!(answer.host.unwrap().shut.is_empty());
    }

    #[test]
    fn the_last_rung_repeats() {
        let settings = crate::respond::Settings::default();
        for step in [3, 4, 200, u8::MAX] {
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
