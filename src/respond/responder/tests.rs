use std::time::Duration;

use super::*;
use crate::evidence::Attachment;
use crate::evidence::Score;
use crate::evidence::Signal;
use crate::respond::{Known, Ordered, Refused};
use crate::suspect::key;
use crate::wire::frame::Transport;
use crate::wire::{Link, Mac, Networks};

const HOST: Address = Address::v4([10, 0, 0, 7]);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn host(n: u8) -> Address {
    Address::v4([10, 0, 1, n])
}

const LINK: Link = Link::untagged(2);

fn suspect(host: Address) -> Suspect {
    Suspect::address(LINK, host)
}

/// What an effect puts into the kernel: whom, where, what, until when, and the ports.
type Enforced = (Address, Vec<Place>, Action, Option<Timestamp>, Vec<(Transport, u16)>);

fn enforced(effect: Option<&Effect>) -> Enforced {
    let Some(Effect::Enforce(Block { decision, action, .. })) = effect else { panic!("{effect:?}") };
    (decision.host, decision.places(), *action, decision.until, decision.ports.clone())
}

fn block(host: Address, action: Action, until: Option<Timestamp>) -> Enforced {
    (host, vec![Place::address(LINK, host)], action, until, Vec::new())
}

fn lift(host: Address) -> Effect {
    Effect::Lift { host, places: vec![Place::address(LINK, host)] }
}

fn exempted(network: &str) -> Exempted {
    Exempted { network: network.parse().unwrap(), by: "anna".to_owned(), at: at(5), reason: String::new() }
}

fn alarm(host: Address, grade: Grade, secs: u64) -> Event {
    let signal = if grade == Grade::Exploit { Signal::EternalBlue } else { Signal::FanoutLateral };
    Event::Alarm(Box::new(Alarm {
        at: at(secs),
        suspect: suspect(host),
        host,
        addresses: vec![host],
        ports: Vec::new(),
        attachment: Attachment::default(),
        grade,
        signal,
        score: Score(9900),
        threshold: Score(9900),
        destinations: 9,
        evidence: Vec::new(),
        reached: Vec::new(),
        zone_hosts: 200,
    }))
}

fn enforcing() -> Responder {
    Responder::new(Settings { mode: Mode::Enforce, ..Settings::default() })
}

fn verdicts(effects: &[Effect]) -> Vec<Verdict> {
    effects
        .iter()
        .filter_map(|action| match action {
            Effect::Record(decision) => Some(decision.decision),
            _ => None,
        })
        .collect()
}

fn said(responder: &mut Responder, event: &Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    responder.event(event, &mut effects);
    effects
}

fn ticked(responder: &mut Responder, secs: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    responder.tick(at(secs), &mut effects);
    effects
}

#[test]
fn the_kernel_is_reported_first_and_monitor_mode_decides_the_same() {
    let effects = said(&mut enforcing(), &alarm(HOST, Grade::Scan, 0));
    assert_eq!(enforced(effects.first()), block(HOST, Action::Contain, Some(at(600))));
    assert_eq!(verdicts(&effects), [Verdict::Contain]);
    let mut monitor = Responder::new(Settings::default());
    let effects = said(&mut monitor, &alarm(HOST, Grade::Scan, 0));
    let Some(Effect::Record(decision)) = effects.get(1) else { panic!("{effects:?}") };
    assert_eq!((decision.decision, decision.enforced), (Verdict::Contain, false), "the same decision, not enforced");
    let mut effects = Vec::new();
    monitor.reconfigure(Settings { mode: Mode::Enforce, ..Settings::default() }, at(1), &mut effects);
    let [Effect::Record(decision)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((decision.decision, decision.enforced, decision.at), (Verdict::Contain, true, at(1)));
    assert_eq!(decision.until, Some(at(600)), "what is still due is enforced, for as long as it was");
    assert_eq!(monitor.switched().unwrap().first, [HOST]);
}

#[test]
fn monitor_mode_for_a_while_keeps_every_decision() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let mut effects = Vec::new();
    responder.reconfigure(Settings { mode: Mode::Monitor, ..Settings::default() }, at(1), &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    responder.reconfigure(Settings { mode: Mode::Enforce, ..Settings::default() }, at(2), &mut effects);
    assert_eq!(verdicts(&effects), [Verdict::Contain]);
    assert_eq!(responder.block(HOST).unwrap().decision.until, Some(at(600)));
}

#[test]
fn a_quiet_host_is_released_and_a_busy_one_climbs_the_ladder() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    assert!(ticked(&mut responder, 599).is_empty());
    let effects = ticked(&mut responder, 600);
    assert_eq!(verdicts(&effects), [Verdict::Release]);
    assert!(effects.contains(&lift(HOST)));

    said(&mut responder, &alarm(HOST, Grade::Scan, 1000));
    assert_eq!(responder.block(HOST).unwrap().decision.step, 2);
    assert_eq!(responder.block(HOST).unwrap().decision.until, Some(at(1000 + 3600)));
    said(&mut responder, &Event::Active { suspect: suspect(HOST), at: at(4500) });
    let effects = ticked(&mut responder, 4600);
    assert_eq!(verdicts(&effects), [Verdict::Isolate], "the third step isolates");
    assert_eq!(responder.block(HOST).unwrap().decision.until, Some(at(4600 + 86_400)));
    said(&mut responder, &Event::Active { suspect: suspect(HOST), at: at(4600 + 86_399) });
    ticked(&mut responder, 4600 + 86_400);
    assert_eq!(responder.block(HOST).unwrap().decision.until, None, "until released");
    assert_eq!(responder.next_expiry(), None);
}

#[test]
fn steps_are_forgotten_after_a_week() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    ticked(&mut responder, 600);
    said(&mut responder, &alarm(HOST, Grade::Scan, 8 * 86_400));
    assert_eq!(responder.block(HOST).unwrap().decision.step, 1);
}

#[test]
fn an_exploit_isolates_at_once_and_escalates_a_containment() {
    let mut responder = enforcing();
    assert_eq!(verdicts(&said(&mut responder, &alarm(HOST, Grade::Scan, 0))), [Verdict::Contain]);
    assert!(said(&mut responder, &alarm(HOST, Grade::Scan, 1)).is_empty());
    assert_eq!(verdicts(&said(&mut responder, &alarm(HOST, Grade::Exploit, 2))), [Verdict::Isolate]);
    assert!(said(&mut responder, &alarm(HOST, Grade::Exploit, 3)).is_empty());
}

#[test]
fn the_exempt_are_only_ever_watched() {
    let network = |text: &str| Networks::new(vec![text.parse().unwrap()]);
    let settings = Settings {
        mode: Mode::Enforce,
        never_contain: network("10.0.1.8/30"),
        own_addresses: network("10.0.1.1/32"),
        ..Settings::default()
    };
    let mut responder = Responder::new(settings);
    for exempt in [host(1), host(9), Address::v4([8, 8, 8, 8])] {
        let effects = said(&mut responder, &alarm(exempt, Grade::Exploit, 0));
        assert_eq!(verdicts(&effects), [Verdict::Watch], "{exempt}");
        let mut effects = Vec::new();
        let order = Ordered { host: exempt, known: None, action: Action::Contain, duration: None, reason: "" };
        let refused = responder.order_act(&order, By::Firedoor, at(0), &mut effects).unwrap_err();
        assert!(matches!(refused, Refused::Exempt(..)) && effects.is_empty());
    }
}

#[test]
fn a_never_contain_entry_works_backwards() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let mut effects = Vec::new();
    let by = By::Operator("anna".to_owned());
    responder.order_exempt(exempted("10.0.0.0/24"), &by, at(5), &mut effects).unwrap();
    assert_eq!(verdicts(&effects), [Verdict::Release]);
    assert!(effects.contains(&lift(HOST)));
    assert_eq!(verdicts(&said(&mut responder, &alarm(HOST, Grade::Exploit, 6))), [Verdict::Watch]);
    assert!(responder.order_unexempt("10.0.0.0/24".parse().unwrap()));
    assert_eq!(verdicts(&said(&mut responder, &alarm(HOST, Grade::Exploit, 7))), [Verdict::Isolate]);

    let mut effects = Vec::new();
    let settings =
        Settings { never_contain: Networks::new(vec!["10.0.0.7/32".parse().unwrap()]), ..responder.settings().clone() };
    responder.reconfigure(settings, at(8), &mut effects);
    assert_eq!(verdicts(&effects), [Verdict::Release], "a reload too");
}

#[test]
fn a_released_host_stays_released_for_the_pardon() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let mut effects = Vec::new();
    responder.order_release(HOST, "false alarm", &By::Operator("anna".to_owned()), at(10), &mut effects).unwrap();
    assert_eq!(verdicts(&effects), [Verdict::Release]);
    let recorded = effects.iter().find_map(|action| match action {
        Effect::Record(decision) => decision.pardoned_until,
        _ => None,
    });
    assert_eq!(recorded, Some(at(10 + 3600)), "the record says until when");
    assert_eq!(verdicts(&said(&mut responder, &alarm(HOST, Grade::Scan, 20))), [Verdict::Watch]);
    let mut next = enforcing();
    next.restore_pardon(suspect(HOST), HOST, key("lan", suspect(HOST).who), at(10 + 3600));
    assert_eq!(verdicts(&said(&mut next, &alarm(HOST, Grade::Exploit, 30))), [Verdict::Watch], "over a restart too");
    for responder in [&mut responder, &mut next] {
        assert_eq!(verdicts(&said(responder, &alarm(HOST, Grade::Scan, 10 + 3600))), [Verdict::Contain]);
    }
    assert_eq!(
        responder.order_release(host(3), "", &By::Firedoor, at(11), &mut effects),
        Err(Refused::NotActedOn(host(3)))
    );
}

#[test]
fn an_order_ends_the_pardon_of_whoever_was_released_under_the_address_on_its_link() {
    let card = Suspect::card(LINK, Mac([2, 0, 0, 0, 0, 7]));
    let elsewhere = Suspect::address(Link::untagged(3), HOST);
    let neighbour = suspect(host(4));
    let known = |suspect| Known { suspect, attachment: Attachment::default(), addresses: vec![HOST, host(5)] };
    let kept = |suspect: Suspect| key(if suspect.link == LINK { "lan" } else { "other" }, suspect.who);
    let cases = [
        // A card then, an address after a restart; an address then, a card now; nobody has been seen since.
        (Some(known(suspect(HOST))), vec![card], vec![elsewhere, neighbour]),
        (Some(known(card)), vec![card, suspect(HOST)], vec![elsewhere, neighbour]),
        (None, vec![card, suspect(HOST), elsewhere], vec![neighbour]),
    ];
    for (known, over, lasting) in cases {
        let mut responder = enforcing();
        for pardoned in over.iter().chain(&lasting) {
            let called = if *pardoned == neighbour { host(4) } else { HOST };
            responder.restore_pardon(*pardoned, called, kept(*pardoned), at(3600));
        }
        let mut effects = Vec::new();
        let order = Ordered {
            host: HOST,
            known: known.as_ref(),
            action: Action::Contain,
            duration: None,
            reason: "no false alarm after all",
        };
        responder.order_act(&order, By::Operator("anna".to_owned()), at(10), &mut effects).unwrap();
        assert!(over.iter().all(|suspect| responder.pardon(*suspect).is_none()), "{known:?}");
        assert!(lasting.iter().all(|suspect| responder.pardon(*suspect) == Some(at(3600))), "{known:?}");
        let recorded = effects.iter().find_map(|action| match action {
            Effect::Record(decision) => Some(decision.overrules.clone()),
            _ => None,
        });
        let mut recorded = recorded.unwrap();
        recorded.sort_unstable();
        let mut expected: Vec<String> = over.iter().map(|suspect| kept(*suspect)).collect();
        expected.sort_unstable();
        assert_eq!(recorded, expected, "the record says whose pardon ended");
    }
}

#[test]
fn a_pardon_that_moved_from_an_address_to_its_card_is_overruled_under_both_keys() {
    let card = Suspect::card(LINK, Mac([2, 0, 0, 0, 0, 7]));
    let mut responder = enforcing();
    let mut effects = Vec::new();
    responder.restore_pardon(suspect(HOST), HOST, key("lan", suspect(HOST).who), at(3600));
    responder.restore_pardon(card, HOST, key("lan", card.who), at(1800));
    responder.identified(suspect(HOST), card, HOST, at(5), &mut effects);
    assert_eq!((responder.pardon(card), responder.pardon(suspect(HOST))), (Some(at(3600)), None));
    let known = Known { suspect: card, attachment: Attachment::default(), addresses: vec![HOST] };
    let order = Ordered { host: HOST, known: Some(&known), action: Action::Isolate, duration: None, reason: "worm" };
    responder.order_act(&order, By::Operator("anna".to_owned()), at(10), &mut effects).unwrap();
    assert_eq!(responder.pardon(card), None);
    let recorded = effects.iter().find_map(|action| match action {
        Effect::Record(decision) => Some(decision.overrules.len()),
        _ => None,
    });
    assert_eq!(recorded, Some(2), "{effects:?}");
}

#[test]
fn a_tripped_breaker_holds_and_an_engineer_decides() {
    let mut responder = enforcing();
    let mut settings = responder.settings().clone();
    settings.breaker.most_at_once = 2;
    responder.reconfigure(settings, at(0), &mut Vec::new());
    for n in 1..=5 {
        let effects = said(&mut responder, &alarm(host(n), Grade::Scan, u64::from(n)));
        assert_eq!(verdicts(&effects), [if n <= 2 { Verdict::Contain } else { Verdict::Hold }]);
    }
    assert_eq!(responder.held().map(|held| held.decision.host).collect::<Vec<_>>(), [host(3), host(4), host(5)]);
    assert_eq!(verdicts(&said(&mut responder, &alarm(host(9), Grade::Exploit, 6))), [Verdict::Isolate]);
    assert!(responder.breaker().tripped().is_some());

    let ids: Vec<_> = responder.held().map(|held| held.id).collect();
    let mut effects = Vec::new();
    let by = By::Operator("anna".to_owned());
    responder.order_confirm(ids[0], by.clone(), at(20), &mut effects).unwrap();
    responder.order_discard(ids[1], by.clone(), at(20), &mut effects).unwrap();
    assert_eq!(verdicts(&effects), [Verdict::Contain, Verdict::Release]);
    assert_eq!(responder.order_confirm(ids[0], by, at(20), &mut effects), Err(Refused::NotHeld(ids[0])));
    assert!(responder.order_rearm(None));
}

#[test]
fn a_zone_that_trips_holds_its_own_decisions_alone() {
    let mut responder = enforcing();
    let elsewhere = Address::v4([10, 99, 0, 1]);
    for n in 1..=40 {
        said(&mut responder, &alarm(host(n), Grade::Scan, 1));
    }
    assert!(responder.held().count() > 5 && responder.breaker().whole().is_none());
    let held = responder.held().next().unwrap().decision.reason.clone();
    assert!(held.contains("the zone"), "{held}");
    let Event::Alarm(other) = alarm(HOST, Grade::Scan, 2) else { panic!() };
    let effects = said(&mut responder, &Event::Alarm(Box::new(Alarm { host: elsewhere, ..*other })));
    assert_eq!(verdicts(&effects), [Verdict::Contain]);
    assert!(!responder.order_rearm(Some(elsewhere)) && responder.order_rearm(Some(host(200))));
    assert!(responder.breaker().tripped().is_none());
}

const CARD: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 8]);

fn of_card(addresses: &[Address], secs: u64) -> Event {
    let Event::Alarm(alarm) = alarm(addresses[0], Grade::Scan, secs) else { unreachable!() };
    Event::Alarm(Box::new(Alarm { suspect: Suspect::card(LINK, CARD), addresses: addresses.to_vec(), ..*alarm }))
}

fn places(effects: &[Effect]) -> Vec<Place> {
    let of = |action: &Effect| match action {
        Effect::Enforce(block) => Some(block.decision.places()),
        _ => None,
    };
    effects.iter().find_map(of).unwrap_or_default()
}

#[test]
fn a_card_is_shut_with_all_its_addresses_and_each_new_one() {
    let mut responder = enforcing();
    let effects = said(&mut responder, &of_card(&[HOST, host(2)], 0));
    let mut shut = vec![Place::card(LINK, CARD), Place::address(LINK, HOST), Place::address(LINK, host(2))];
    assert_eq!(places(&effects), shut);
    let named = Event::Named { suspect: Suspect::card(LINK, CARD), address: host(3), at: at(5) };
    shut.push(Place::address(LINK, host(3)));
    assert_eq!(places(&said(&mut responder, &named)), shut);
    assert!(said(&mut responder, &named).is_empty(), "once");
    assert_eq!(responder.block(host(3)).unwrap().decision.until, Some(at(600)), "for as long as the first lasts");
    assert_eq!(responder.blocks().count(), 1, "one suspect, one case");
    let effects = ticked(&mut responder, 600);
    let lifted = effects.iter().find_map(|action| match action {
        Effect::Lift { places, .. } => Some(places.len()),
        _ => None,
    });
    assert_eq!(lifted, Some(4), "the card and its three addresses");
}

#[test]
fn an_address_that_is_another_cards_is_let_go_and_the_card_stays_shut() {
    let mut responder = enforcing();
    said(&mut responder, &of_card(&[HOST], 0));
    let lost = Event::Lost { suspect: Suspect::card(LINK, CARD), address: HOST, to: OTHER, at: at(200) };
    let effects = said(&mut responder, &lost);
    assert_eq!(effects.first(), Some(&lift(HOST)), "the next device with the lease is not punished");
    assert!(responder.block_of(Suspect::card(LINK, CARD)).is_some());
    assert_eq!(
        responder.block(HOST).unwrap().decision.places(),
        [Place::card(LINK, CARD)],
        "an engineer still finds it by that name"
    );
    let recorded = |effects: &[Effect]| {
        let of = |action: &Effect| match action {
            Effect::Record(decision) => Some((decision.host, decision.addresses.clone())),
            _ => None,
        };
        effects.iter().find_map(of).unwrap()
    };
    assert_eq!(recorded(&effects), (HOST, Some(Vec::new())), "nor is it after a restart");
    let named = Event::Named { suspect: Suspect::card(LINK, CARD), address: host(2), at: at(210) };
    let effects = said(&mut responder, &named);
    assert_eq!(places(&effects), [Place::card(LINK, CARD), Place::address(LINK, host(2))]);
    assert_eq!(recorded(&effects), (host(2), None), "it is called by its new address");
}

#[test]
fn what_was_decided_about_an_address_is_about_its_card_once_that_is_known() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let card = Suspect::card(LINK, CARD);
    let identified = Event::Identified { from: suspect(HOST), to: card, address: HOST, at: at(10) };
    let effects = said(&mut responder, &identified);
    assert_eq!(places(&effects), [Place::card(LINK, CARD), Place::address(LINK, HOST)]);
    assert_eq!(responder.blocks().count(), 1);
    assert_eq!(responder.block(HOST).unwrap().decision.until, Some(at(600)));
    assert_eq!(responder.next_step(card, at(700)), 2, "the ladder knows it too");
}

#[test]
fn the_same_address_on_two_links_has_two_fates() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let elsewhere = Suspect::address(Link { outer: 20, ..LINK }, HOST);
    let Event::Alarm(other) = alarm(HOST, Grade::Scan, 1) else { unreachable!() };
    let effects = said(&mut responder, &Event::Alarm(Box::new(Alarm { suspect: elsewhere, ..*other })));
    assert_eq!(places(&effects), [Place::address(elsewhere.link, HOST)]);
    assert_eq!(responder.blocks_of(HOST).count(), 2);
    let mut effects = Vec::new();
    responder.order_release(HOST, "", &By::Operator("anna".to_owned()), at(2), &mut effects).unwrap();
    assert_eq!(responder.blocks().count(), 0, "an engineer who names the address means both");
}

#[test]
fn a_contained_card_that_spreads_over_another_port_loses_that_too() {
    let mut responder = enforcing();
    said(&mut responder, &alarm(HOST, Grade::Scan, 0));
    let Event::Alarm(further) = alarm(HOST, Grade::Scan, 20) else { unreachable!() };
    let further = Event::Alarm(Box::new(Alarm { ports: vec![(Transport::Tcp, 8080)], ..*further }));
    let effects = said(&mut responder, &further);
    let Some(Effect::Enforce(block)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(block.decision.ports, [(Transport::Tcp, 8080)]);
    assert_eq!(block.decision.until, Some(at(600)), "no longer than it was");
    assert!(said(&mut responder, &further).is_empty(), "shut already");
}

#[test]
fn an_exempt_address_of_a_card_does_not_free_the_card() {
    let mut responder = enforcing();
    let never = Networks::new(vec!["10.0.1.2/32".parse().unwrap()]);
    responder.reconfigure(Settings { never_contain: never, ..responder.settings().clone() }, at(0), &mut Vec::new());
    let effects = said(&mut responder, &of_card(&[host(2), HOST], 1));
    assert_eq!(places(&effects), [Place::card(LINK, CARD), Place::address(LINK, HOST)]);
    assert_eq!(responder.block(HOST).unwrap().host(), HOST);
}

#[test]
fn held_decisions_are_bounded() {
    let mut responder = enforcing();
    let mut settings = responder.settings().clone();
    settings.breaker.most_at_once = 0;
    settings.most_held = 10;
    responder.reconfigure(settings, at(0), &mut Vec::new());
    for n in 0..100 {
        said(&mut responder, &alarm(host(n), Grade::Scan, 1));
    }
    assert_eq!(responder.held().count(), 10);
}

#[test]
fn an_engineers_order_runs_out_when_it_says() {
    let mut responder = enforcing();
    let mut effects = Vec::new();
    let hour = Some(Duration::from_secs(3600));
    let by = By::Operator("anna".to_owned());
    let order = Ordered { host: HOST, known: None, action: Action::Isolate, duration: hour, reason: "ransom note" };
    responder.order_act(&order, by, at(0), &mut effects).unwrap();
    let anywhere = vec![Place::anywhere(HOST)];
    assert_eq!(enforced(effects.first()), (HOST, anywhere, Action::Isolate, Some(at(3600)), Vec::new()));
    assert!(
        effects.contains(&Effect::Direct(Directive::Contained { hosts: 0 })),
        "an order says nothing about what spreads"
    );
    said(&mut responder, &Event::Active { suspect: Suspect::address(Link::default(), HOST), at: at(3599) });
    assert_eq!(verdicts(&ticked(&mut responder, 3600)), [Verdict::Release], "orders are not renewed");
}

#[test]
fn a_block_is_taken_over_without_a_new_record() {
    let mut before = enforcing();
    said(&mut before, &alarm(HOST, Grade::Scan, 0));
    let block = before.block(HOST).unwrap().clone();
    let mut after = enforcing();
    let mut effects = Vec::new();
    after.restore(block.clone(), &mut effects);
    assert!(verdicts(&effects).is_empty());
    assert_eq!(after.block(HOST), Some(&block));
    assert_eq!(after.next_step(suspect(HOST), at(700)), 2);
}

#[test]
fn a_held_decision_waits_on_after_a_restart() {
    let mut before = enforcing();
    let mut settings = before.settings().clone();
    settings.breaker.most_at_once = 0;
    before.reconfigure(settings.clone(), at(0), &mut Vec::new());
    said(&mut before, &alarm(HOST, Grade::Scan, 0));
    let held = before.held().next().unwrap().clone();
    let mut after = Responder::new(settings);
    after.restore_held(held.clone());
    said(&mut after, &alarm(host(9), Grade::Scan, 1));
    assert_eq!(after.held().map(|held| held.id).collect::<Vec<_>>(), [held.id, held.id + 1]);
    let mut effects = Vec::new();
    after.order_confirm(held.id, By::Operator("anna".to_owned()), at(2), &mut effects).unwrap();
    assert_eq!(verdicts(&effects), [Verdict::Contain]);
}

#[test]
fn a_state_is_published_cheaply_with_everybody_blocked_and_a_thousand_held() {
    let mut responder = Responder::new(Settings { mode: Mode::Enforce, most_held: 1000, ..Settings::default() });
    let of = |n: u32, verdict| {
        let [_, b, c, d] = n.to_be_bytes();
        let host = Address::v4([10, b, c, d]);
        Decision { step: 1, ..Decision::without_alarm(at(0), suspect(host), host, verdict, "dark".to_owned()) }
    };
    let mut effects = Vec::new();
    for n in 0..65_536 {
        responder.restore(Block::new(Arc::new(of(n, Verdict::Contain))).unwrap(), &mut effects);
        effects.clear();
    }
    for n in 70_000..71_000 {
        let decision = Arc::new(of(n, Verdict::Hold));
        responder.restore_held(Held { id: n.into(), action: Action::Contain, decision });
    }
    let mut published = responder.state();
    assert_eq!((published.blocks().count(), published.held_count()), (65_536, 1000));
    let begun = std::time::Instant::now();
    let rounds = 1000;
    for n in 0..rounds {
        // One is let go, another held, a third renewed: more than an alarm ever changes.
        responder.close(of(n * 60, Verdict::Contain).suspect, String::new(), By::Firedoor, at(1), &mut effects);
        responder.waiting.add(Action::Contain, Arc::new(of(80_000 + n, Verdict::Hold)), 1000);
        responder.history.note_step(of(n * 60 + 1, Verdict::Contain).suspect, 2, at(1), &responder.settings);
        effects.clear();
        published = responder.state();
    }
    let each = begun.elapsed() / rounds;
    assert_eq!((published.blocks().count(), published.held_count()), (64_536, 1000));
    eprintln!("three changes and a publication took {each:?}");
    // An unoptimised build on a busy machine; a copy of everything would take tens of milliseconds.
    assert!(each < Duration::from_millis(3), "{each:?}");
}
