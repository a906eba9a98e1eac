//! The history's part in the daemon: what a start takes over, and what is written before the kernel acts.
//!
//! The kernel is the truth for what is dropped, the history for why. A block that only the kernel knows is taken over;
//! one that only the history knows (the gateway was rebooted) is put back; a release that the kernel never got is
//! carried out. What monitor mode only counted is enforced once the mode says so, loudly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::firewall::Acted;
use crate::published::Published;
use crate::respond::decision::NOT_SHUT;
use crate::respond::{Action, Block, By, Decision, Effect, Held, Mode, Responder, Verdict};
use crate::site::Machine;
use crate::store::{Kept, Limits, Receipt, Store, StoreHandle};
use crate::suspect::{Place, Suspect, Who};
use crate::sys::clock::{Boot, Clock};
use crate::time::Timestamp;
use crate::wire::{Address, Link};

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

/// Opens the history, if one is to be kept; what is wrong is logged and lived with.
pub(super) fn open(path: &Path) -> Option<Store> {
    match Store::open(path) {
        Ok(opened) => {
            if let Some(moved) = opened.moved {
                tracing::error!("the history was damaged: it is kept as {}, and a new one is begun", moved.display());
            }
            Some(opened.store)
        }
        Err(fault) => {
            tracing::error!("the history cannot be opened, decisions continue without it: {fault}");
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
        Who::Address(_) if link.is_empty() => Suspect { link: Link::default(), ..suspect },
        who => Suspect { link: machine.link_named(link).unwrap_or_default(), who },
    }
}

/// A decision of an earlier run, its suspect where it is now.
fn again(decision: Decision, machine: &Machine) -> Decision {
    Decision { suspect: placed(decision.suspect, &decision.link, machine), ..decision }
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
    let mut remembered: HashMap<Suspect, Block> = HashMap::new();
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
            Ok(decisions) => {
                let decisions = decisions.into_iter().map(|decision| again(decision, machine));
                let blocks = decisions.filter_map(|decision| Block::new(Arc::new(decision)));
                remembered.extend(blocks.map(|block| (block.suspect(), block)));
            }
            Err(error) => read("acted hosts", error),
        }
        match store.exempted() {
            Ok(exempted) => {
                for entry in exempted {
                    let network = entry.network;
                    if let Err(refused) = responder.order_exempt(entry, &By::Firedoor, now, effects) {
                        tracing::error!("{network} is not on the never-contain list any more: {refused}");
                    }
                }
            }
            Err(error) => read("never-contain entries", error),
        }
        match store.pardons() {
            Ok(pardons) => {
                for release in &pardons {
                    let Some(until) = release.pardoned_until.filter(|until| now < *until) else { continue };
                    let suspect = placed(release.suspect, &release.link, machine);
                    responder.restore_pardon(suspect, release.host, release.key(), until);
                }
            }
            Err(error) => read("pardons", error),
        }
        match store.recent(RECENT) {
            Ok(acts) => acts.into_iter().rev().for_each(|act| published.remember(Arc::new(again(act, machine)))),
            Err(error) => read("decisions", error),
        }
    }
    let last = |host| store.and_then(|store| store.of(host, 1).ok()).and_then(|acts| acts.into_iter().next());
    // A suspect has several places; whichever of them the kernel still has, the whole block is put right.
    let mut there: HashMap<Suspect, (Action, Option<Timestamp>)> = HashMap::new();
    let mut strangers = Vec::new();
    let places =
        |block: &Block| block.decision.places().into_iter().map(|place| (place, block.suspect())).collect::<Vec<_>>();
    let whose: HashMap<Place, Suspect> = remembered.values().flat_map(places).collect();
    for acted in found {
        let until = acted.expires_in.map(|left| now + left);
        match whose.get(&acted.place) {
            Some(suspect) => drop(there.insert(*suspect, (acted.action, until))),
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
            let host = address.unwrap_or_default();
            let reason = "found in the kernel at start".to_owned();
            let found = Decision::without_alarm(now, suspect, host, acted.action.verdict(), reason);
            let decision = Arc::new(Decision { link, until, enforced: enforce, ..found });
            effects.push(Effect::Record(decision.clone()));
            responder.restore(Block { decision, action: acted.action, last_active: now, unmatched: false }, effects);
        }
    }
    let mut rest: Vec<Block> = remembered.into_values().collect();
    rest.sort_unstable_by_key(Block::suspect);
    let mut ended = Vec::new();
    for block in rest {
        let decision = &block.decision;
        if let Some((action, until)) = there.get(&block.suspect()).copied() {
            let until = decision.until.filter(|at| *at > now).or(until);
            let as_there = Decision { decision: action.verdict(), until, ..(**decision).clone() };
            responder.restore(block.on(as_there), effects);
            continue;
        }
        if decision.until.is_some_and(|until| until <= now) {
            ended.push(decision.key());
            continue;
        }
        tracing::warn!(host = %decision.host, "in the history and not in the kernel: put back");
        responder.restore(block, effects);
    }
    if responder.settings().mode == Mode::Enforce {
        let counted = |decision: &Decision| !decision.enforced && !decision.reason.contains(NOT_SHUT);
        let blocks = responder.blocks().filter(|block| counted(&block.decision));
        let counted: Vec<Suspect> = blocks.map(Block::suspect).collect();
        responder.enforce_counted(&counted, now, effects);
        if let Some(switched) = responder.switched() {
            tracing::warn!("{switched} that monitor mode only counted are dropped from now on");
        }
    }
    if let Some(store) = store {
        match store.held() {
            Ok(held) => {
                for Held { id, action, decision } in held {
                    let decision = Arc::new(again(Arc::unwrap_or_clone(decision), machine));
                    responder.restore_held(Held { id, action, decision });
                }
            }
            Err(error) => read("held decisions", error),
        }
    }
    ended
}

/// Writes the decisions among `effects`, and waits a short while for those that the kernel is to act on. `late` says
/// whether the disk was late the last time, and is kept true.
pub(super) fn write_ahead(store: &StoreHandle, effects: &[Effect], late: &mut bool) {
    let kernel = effects.iter().any(|action| matches!(action, Effect::Enforce(_) | Effect::Lift { .. }));
    let receipts: Vec<Receipt> = effects
        .iter()
        .filter_map(|action| match action {
            Effect::Record(decision) => Some(store.record(decision.clone())),
            _ => None,
        })
        .collect();
    if kernel && !receipts.is_empty() {
        let patience = if *late { PATIENCE_WHEN_LATE } else { PATIENCE };
        let begun = std::time::Instant::now();
        *late = false;
        for receipt in receipts {
            // The kernel acts whatever became of it; what is lost is counted by the store.
            *late |= receipt.within_blocking(patience.saturating_sub(begun.elapsed())) == Kept::Waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Grade, Score, Signal};
    use crate::respond::{EvidenceRecord, Settings};
    use crate::wire::Mac;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A decision to hold that was made at `NOW`, as it is recorded.
    fn hold(host: Address) -> Decision {
        let evidence = |n: u8| EvidenceRecord {
            signal: Signal::Dark,
            at: NOW,
            peer: Address::v4([10, 9, 0, n]),
            port: 445,
            weight: Score(3300),
            detail: "no answer within 300 ms".to_owned(),
        };
        let reason = "would contain: dark; held, because the breaker tripped".to_owned();
        let suspect = Suspect::address(Link::default(), host);
        Decision {
            score: Score(9900),
            threshold: Score(7920),
            destinations: 3,
            grade: Some(Grade::Scan),
            signal: Some(Signal::Dark),
            sender: Mac([2, 0, 0, 0, 0, 9]),
            evidence: (1..=3).map(evidence).collect(),
            ..Decision::without_alarm(NOW, suspect, host, Verdict::Hold, reason)
        }
    }

    /// What a start takes over from this store, at `now`.
    fn start(store: &Store, now: Timestamp) -> (Responder, Published, Vec<Effect>) {
        let mut responder = Responder::new(Settings::default());
        let published = Published::new(Arc::default());
        let mut effects = Vec::new();
        take_over(&[], &Machine::default(), Some(store), &mut responder, &published, now, &mut effects);
        (responder, published, effects)
    }

    #[test]
    fn what_waited_waits_again_with_its_number_its_evidence_and_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("history.db")).unwrap().store;
        let held = Held { id: 7, action: Action::Contain, decision: hold(Address::v4([10, 1, 0, 5])).into() };
        store.set_held(std::slice::from_ref(&held)).unwrap();
        let (mut responder, published, _) = start(&store, NOW);
        assert_eq!(responder.held().collect::<Vec<_>>(), [&held]);
        published.set_state(responder.state());
        assert_eq!(published.state().held(), [&held]);
        let mut effects = Vec::new();
        responder.order_confirm(7, By::Operator("anna".to_owned()), NOW, &mut effects).unwrap();
        let block = responder.block(Address::v4([10, 1, 0, 5])).unwrap();
        assert_eq!(block.decision.reason, "held decision confirmed: dark");
        assert_eq!((block.decision.evidence.len(), block.decision.threshold), (3, Score(7920)));
    }

    #[test]
    fn a_pardon_that_has_run_out_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("history.db")).unwrap().store;
        let [over, lasting] = [5, 6].map(|n| Address::v4([10, 1, 0, n]));
        for (host, minutes) in [(over, 10), (lasting, 90)] {
            let until = Some(NOW + Duration::from_mins(minutes));
            store.record(&Decision { decision: Verdict::Release, pardoned_until: until, ..hold(host) }).unwrap();
        }
        let (responder, _, _) = start(&store, NOW + Duration::from_mins(60));
        assert_eq!(
            [over, lasting].map(|host| responder.pardon(Suspect::address(Link::default(), host)).is_some()),
            [false, true]
        );
        let state = responder.state();
        let pardon = |host| state.pardon_on(host, Link::untagged(3), None).is_some();
        assert_eq!([over, lasting].map(pardon), [false, true]);
    }
}
