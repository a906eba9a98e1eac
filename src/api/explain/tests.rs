use super::*;
use crate::config::model::Config;
use crate::detect::settings::Window;
use crate::evidence::{Detail, Evidence, Signal};
use crate::published::host_report::{Class, WindowFill};
use crate::respond::decision::UNMATCHED;
use crate::respond::{Action, By, Exempted, Mode, Responder};
use crate::site::Machine;
use crate::wire::smb::Dialect;
use crate::wire::{Link, Mac, Networks, Services};
use std::sync::Arc;
use std::time::Duration;

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
    assert!(summary.contains("would be isolated until it is released, but Firedoor is in monitor mode"), "{summary}");
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
        (3960, Some(HOST), Some("lowered from 9.90: 1 host is contained, and 10.0.3.3, which is alarmed, reached it")),
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
