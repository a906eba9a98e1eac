//! The sentences that an explanation begins with.

use super::standing::Standing;
use crate::api::host::{Exemption, NextStep};
use crate::published::host_table::HostEntry;
use crate::respond::decision::UNMATCHED;
use crate::respond::{Action, Mode, Verdict, service_name};
use crate::wire::Address;
use std::time::Duration;

/// The answer in a sentence or two.
pub(super) fn summary(
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
