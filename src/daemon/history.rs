//! The history's part in the daemon: what a start takes over, and what is written before the kernel is told.
//!
//! The kernel is the truth for what is dropped, the history for why. A block that only the kernel knows is taken over;
//! one that only the history knows (the gateway was rebooted) is put back; a release that the kernel never heard of is
//! carried out. What monitor mode only counted is enforced once the mode says so, loudly.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::api::host::HeldView;
use crate::config::Config;
use crate::daemon::machine::Machine;
use crate::evidence::{Alarm, Attachment, Score, Signal};
use crate::firewall::Acted;
use crate::published::Published;
use crate::respond::cases::decision_of;
use crate::respond::{By, Case, Effect, Held, Mode, Responder, Verdict};
use crate::store::{Kept, Limits, Receipt, Store, StoreHandle};
use crate::suspect::{Place, Suspect, Who, key};
use crate::sys::clock::{Boot, Clock};
use crate::time::Timestamp;
use crate::wire::Address;

/// How long the kernel may have to wait for a disk that keeps up: a busy machine's disk takes tens of milliseconds, and
/// meanwhile the fuse holds the host. A decision is carried out then, whatever the disk does.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long for a disk that was late the last time, so that a dead one delays nothing but the first decision.
const PATIENCE_WHEN_LATE: Duration = Duration::from_millis(10);

/// Decisions of earlier runs that `why` still shows at once.
const RECENT: u32 = 256;

/// How much history is kept.
pub(super) fn limits(config: &Config) -> Limits {
    Limits { keep: config.observe.history_keep, most: config.observe.history_rows }
}

/// Opens the history, if one is to be kept; what is wrong is told and lived with.
pub(super) fn open(path: &Path) -> Option<Store> {
    match Store::open(path) {
        Ok(opened) => {
            if let Some(moved) = opened.moved {
                tracing::error!("the history was damaged: it is kept as {}, and a new one is begun", moved.display());
            }
            Some(opened.store)
        }
        Err(fault) => {
            tracing::error!("the history cannot be opened, decisions go on without it: {fault}");
            None
        }
    }
}

/// Moves what is still due to the present clock, if the wall clock jumped since the last start.
pub(super) fn follow_clock(store: &mut Store, clock: Clock) {
    let Some(boot) = Boot::present() else { return };
    match store.follow_clock(&boot, clock.zero()) {
        Ok(None) => {}
        Ok(Some((by, ahead))) => tracing::warn!(
            "the wall clock was set {} by {} s since the last start: what is contained ends when it was to end",
            if ahead { "ahead" } else { "back" },
            by.as_secs()
        ),
        Err(fault) => tracing::error!("whether the clock has jumped cannot be seen in the history: {fault}"),
    }
}

/// Finds the link of what the history keeps: the interface has its name for good, and another index with each boot. One
/// that does not exist now leaves the block to every interface.
fn placed(suspect: Suspect, link: &str, machine: &Machine) -> Suspect {
    match suspect.who {
        Who::Address(_) if link.is_empty() => suspect,
        who => Suspect { link: machine.link_named(link).unwrap_or_default(), who },
    }
}

/// What a start takes over from the kernel and from the history. Gives the suspects whose time ran out meanwhile, by the
/// history's key, for it to forget.
pub(super) fn take_over(
    found: &[Acted],
    machine: &Machine,
    store: Option<&Store>,
    responder: &mut Responder,
    published: &Published,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) -> Vec<String> {
    let read = |what: &str, error: crate::store::Fault| tracing::error!("the history's {what} cannot be read: {error}");
    let mut remembered: HashMap<Suspect, Case> = HashMap::new();
    if let Some(store) = store {
        let within = responder.settings().repeat_within;
        let most = u32::try_from(responder.settings().remembered_hosts).unwrap_or(u32::MAX);
        match store.steps(now - within, most) {
            Ok(steps) => steps.iter().for_each(|step| {
                responder.restore_step(placed(step.suspect, &step.link, machine), step.step, step.at);
            }),
            Err(error) => read("ladder", error),
        }
        match store.acted() {
            Ok(cases) => remembered.extend(cases.into_iter().map(|case| {
                let suspect = placed(case.suspect, &case.link, machine);
                (suspect, Case { suspect, ..case })
            })),
            Err(error) => read("acted hosts", error),
        }
        match store.exempted() {
            Ok(exempted) => {
                for entry in &exempted {
                    if let Err(refused) = responder.order_exempt(entry.network, &By::Firedoor, now, effects) {
                        tracing::error!("{} is not on the never-contain list any more: {refused}", entry.network);
                    }
                }
                published.set_exempted(exempted);
            }
            Err(error) => read("never-contain entries", error),
        }
        match store.pardons() {
            Ok(pardons) => {
                for pardon in pardons.iter().filter(|pardon| now < pardon.until) {
                    let suspect = placed(pardon.suspect, &pardon.link, machine);
                    let kept = key(&pardon.link, pardon.suspect.who);
                    responder.restore_pardon(suspect, pardon.host, kept, pardon.until);
                    published.pardon(pardon.host, suspect.link, pardon.until, now);
                }
            }
            Err(error) => read("pardons", error),
        }
        match store.recent(RECENT) {
            Ok(acts) => acts.into_iter().rev().for_each(|act| published.remember(act)),
            Err(error) => read("decisions", error),
        }
    }
    let last = |host| store.and_then(|store| store.of(host, 1).ok()).and_then(|acts| acts.into_iter().next());
    // A suspect has several places; whichever of them the kernel still has, the whole block is put right.
    let mut there: HashMap<Suspect, (Verdict, Option<Timestamp>)> = HashMap::new();
    let mut strangers = Vec::new();
    let places = |case: &Case| case.places().into_iter().map(|place| (place, case.suspect)).collect::<Vec<_>>();
    let whose: HashMap<Place, Suspect> = remembered.values().flat_map(places).collect();
    for acted in found {
        let until = acted.expires_in.map(|left| now + left);
        match whose.get(&acted.place) {
            Some(suspect) => drop(there.insert(*suspect, (acted.verdict, until))),
            None => strangers.push((acted, until)),
        }
    }
    let enforce = responder.settings().mode == Mode::Enforce;
    for (acted, until) in strangers {
        let suspect = Suspect { link: acted.place.link, who: acted.place.source };
        let address = match suspect.who {
            Who::Address(address) => Some(address),
            Who::Card(_) | Who::Network(_) => None,
        };
        if address.and_then(last).is_some_and(|act| act.decision == Verdict::Release) {
            tracing::warn!(%suspect, "released before the stop, and still in the kernel: lifted");
            effects.push(Effect::Lift { host: address.unwrap_or_default(), places: vec![acted.place] });
        } else if address.is_none() {
            // A card's place never stands alone: what it belonged to is over.
            tracing::warn!(%suspect, "in the kernel and in no history: lifted");
            effects.push(Effect::Lift { host: Address::default(), places: vec![acted.place] });
        } else {
            let link = responder.settings().link_name(suspect.link);
            let case = adopted(suspect, link, address.unwrap_or_default(), acted.verdict, until, now);
            effects.push(Effect::Record(Box::new(decision_of(&case, enforce))));
            responder.restore(case, effects);
        }
    }
    let mut rest: Vec<Case> = remembered.into_values().collect();
    rest.sort_unstable_by_key(|case| case.suspect);
    let mut ended = Vec::new();
    for case in rest {
        if let Some((verdict, until)) = there.get(&case.suspect).copied() {
            let until = case.until.filter(|at| *at > now).or(until);
            responder.restore(Case { verdict, until, ..case }, effects);
            continue;
        }
        if case.until.is_some_and(|until| until <= now) {
            ended.push(key(&case.link, case.suspect.who));
            continue;
        }
        tracing::warn!(host = %case.host, "in the history and not in the kernel: put back");
        responder.restore(case, effects);
    }
    if responder.settings().mode == Mode::Enforce {
        let counted = |host: &Address| last(*host).is_some_and(|act| !act.enforced);
        let cases = responder.cases().filter(|case| counted(&case.host));
        let counted: Vec<Suspect> = cases.map(|case| case.suspect).collect();
        responder.enforce_counted(&counted, now, effects);
        if let Some(switched) = responder.switched() {
            tracing::warn!("{switched} that monitor mode only counted are dropped from now on");
        }
    }
    if let Some(store) = store {
        match store.held() {
            Ok(held) => published.set_held(hold_again(held, store, responder)),
            Err(error) => read("held decisions", error),
        }
    }
    ended
}

/// Takes over the decisions that waited, each under its old number; gives them in words. What the list of those that wait
/// does not say, or has lost, stands in the record of the decision to hold.
fn hold_again(mut waiting: Vec<HeldView>, store: &Store, responder: &mut Responder) -> Vec<HeldView> {
    for view in &mut waiting {
        let (act, attachment) = store.hold(view.host, view.at).ok().flatten().unzip();
        let threshold = act.as_ref().map_or(Score(0), |act| act.threshold);
        if view.evidence.is_empty() {
            view.evidence = act.map(|act| act.evidence).unwrap_or_default();
        }
        responder.restore_held(held_again(view, attachment.unwrap_or_default(), threshold));
    }
    waiting
}

/// What waits, in words: those of `known` for a decision from before the start, whose evidence the responder only has
/// there.
pub(super) fn in_words(held: &Held, known: &[HeldView]) -> HeldView {
    let mut view = HeldView::from(held);
    if view.evidence.is_empty()
        && let Some(before) = known.iter().find(|before| before.id == view.id)
    {
        view.evidence.clone_from(&before.evidence);
    }
    view
}

/// The signal that tipped a held decision: by its latest evidence, or where none was kept by its reason, which reads
/// `would contain: dark; held, because …`.
fn signal_of(view: &HeldView) -> Option<Signal> {
    let named = || {
        let (_, rest) = view.reason.split_once(": ")?;
        let label = rest.split(';').next()?;
        Signal::ALL.iter().copied().find(|signal| signal.label() == label)
    };
    view.evidence.last().map(|evidence| evidence.signal).or_else(named)
}

/// A held decision as it waited. Its evidence stays in words, see [`in_words`].
fn held_again(view: &HeldView, attachment: Attachment, threshold: Score) -> Held {
    let suspect = Suspect::address(attachment.link(), view.host);
    Held {
        id: view.id,
        verdict: view.would,
        reason: view.reason.clone(),
        alarm: Alarm {
            at: view.at,
            suspect,
            host: view.host,
            addresses: vec![view.host],
            ports: Vec::new(),
            attachment,
            grade: view.grade,
            // Every reason of ours names one; a row that somebody else wrote gets the least specific.
            signal: signal_of(view).unwrap_or(Signal::FanoutAny),
            score: view.score,
            threshold,
            destinations: view.destinations,
            evidence: Vec::new(),
            reached: Vec::new(),
            zone_hosts: 0,
        },
    }
}

/// A case for a host that the kernel acts on and nobody remembers why.
fn adopted(
    suspect: Suspect,
    link: String,
    host: Address,
    verdict: Verdict,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Case {
    Case {
        suspect,
        link,
        host,
        addresses: vec![host],
        ports: Vec::new(),
        verdict,
        since: now,
        until,
        step: 0,
        active: now,
        grade: None,
        by: By::Firedoor,
        reason: "found in the kernel at start".to_owned(),
        attachment: Attachment::default(),
        score: Score(0),
        threshold: Score(0),
        destinations: 0,
        evidence: Vec::new(),
    }
}

/// Writes the decisions among `effects`, and waits a short while for those that the kernel is told of. `late` says
/// whether the disk was late the last time, and is kept true.
pub(super) fn write_ahead(store: &StoreHandle, effects: &[Effect], late: &mut bool) {
    let kernel = effects.iter().any(|action| matches!(action, Effect::Enforce(_) | Effect::Lift { .. }));
    let receipts: Vec<Receipt> = effects
        .iter()
        .filter_map(|action| match action {
            Effect::Record(decision) => Some(store.record(decision)),
            _ => None,
        })
        .collect();
    if kernel && !receipts.is_empty() {
        let patience = if *late { PATIENCE_WHEN_LATE } else { PATIENCE };
        let begun = std::time::Instant::now();
        *late = false;
        for receipt in receipts {
            // The kernel is told whatever became of it; what is lost is counted by the store.
            *late |= receipt.within_blocking(patience.saturating_sub(begun.elapsed())) == Kept::Waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Detail, Evidence, Grade};
    use crate::respond::{Decision, Settings};
    use crate::wire::{Link, Mac};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A decision to hold that was made at `NOW`, as it is recorded.
    fn hold(host: Address) -> Decision {
        let evidence = |n: u8| Evidence {
            signal: Signal::Dark,
            at: NOW,
            peer: Address::v4([10, 9, 0, n]),
            port: 445,
            weight: Score(3300),
            detail: Detail::Silent { after_ms: 300 },
        };
        Decision {
            at: NOW,
            host,
            decision: Verdict::Hold,
            score: Score(9900),
            threshold: Score(7920),
            destinations: 3,
            grade: Some(Grade::Scan),
            until: None,
            step: 0,
            enforced: false,
            reason: "would contain: dark; held, because the breaker tripped".to_owned(),
            by: By::Firedoor,
            suspect: Suspect::address(Link::default(), host),
            link: String::new(),
            card: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            unpardons: Vec::new(),
            attachment: Attachment { interface: 3, vlan: 7, inner_vlan: 0, mac: Mac([2, 0, 0, 0, 0, 9]) },
            evidence: (1..=3).map(evidence).collect(),
        }
    }

    fn view(id: u64, decision: &Decision) -> HeldView {
        HeldView {
            id,
            at: decision.at,
            host: decision.host,
            would: Verdict::Contain,
            grade: Grade::Scan,
            score: decision.score,
            destinations: decision.destinations,
            reason: decision.reason.clone(),
            evidence: decision.evidence.iter().map(Into::into).collect(),
        }
    }

    #[test]
    fn what_waited_waits_again_with_its_number_its_evidence_and_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("history.db")).unwrap().store;
        let decision = hold(Address::v4([10, 1, 0, 5]));
        store.record(&decision).unwrap();
        let complete = view(7, &decision);
        // What an earlier version kept after a restart: the number and the place, without the words.
        let wordless = HeldView { evidence: Vec::new(), ..complete.clone() };
        for kept in [&complete, &wordless] {
            store.set_held(std::slice::from_ref(kept)).unwrap();
            let mut responder = Responder::new(Settings::default());
            let known = hold_again(store.held().unwrap(), &store, &mut responder);
            assert_eq!(known, std::slice::from_ref(&complete));
            assert_eq!(responder.held().count(), 1);
            let held = responder.held().next().unwrap();
            assert_eq!(in_words(held, &known), complete);
            assert_eq!((held.alarm.attachment, held.alarm.threshold), (decision.attachment, Score(7920)));
            assert_eq!(held.alarm.signal, Signal::Dark);
        }
    }

    #[test]
    fn a_held_decision_without_evidence_keeps_its_signal() {
        let view = HeldView { evidence: Vec::new(), ..view(7, &hold(Address::v4([10, 1, 0, 5]))) };
        assert_eq!(held_again(&view, Attachment::default(), Score(0)).alarm.signal, Signal::Dark);
        let strange = HeldView { reason: "by hand".to_owned(), ..view };
        assert_eq!(signal_of(&strange), None);
    }

    #[test]
    fn a_pardon_that_has_run_out_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("history.db")).unwrap().store;
        let [over, lasting] = [5, 6].map(|n| Address::v4([10, 1, 0, n]));
        for (host, minutes) in [(over, 10), (lasting, 90)] {
            let until = Some(NOW + Duration::from_mins(minutes));
            store.record(&Decision { decision: Verdict::Release, until, ..hold(host) }).unwrap();
        }
        let mut responder = Responder::new(Settings::default());
        let published = Published::new(std::sync::Arc::new(Config::default()));
        let now = NOW + Duration::from_mins(60);
        take_over(&[], &Machine::default(), Some(&store), &mut responder, &published, now, &mut Vec::new());
        assert_eq!(
            [over, lasting].map(|host| responder.pardon(Suspect::address(Link::default(), host)).is_some()),
            [false, true]
        );
        assert_eq!([over, lasting].map(|host| published.pardoned(host, Link::default()).is_some()), [false, true]);
    }
}
