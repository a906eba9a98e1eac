//! Facts about the history: what is kept and what is found again.

mod mishaps;

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Fault, Kept, Limits, OrderRow, Store, StoreHandle};
use crate::evidence::{Detail, Grade, Score, Signal};
use crate::respond::servers::{LearntServer, ServerChanges, Service};
use crate::respond::{Action, By, Decision, EvidenceRecord, Exempted, Held, Verdict};
use crate::suspect::{Suspect, Who, key};
use crate::sys::clock::Boot;
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Link, Mac};

const LIMITS: Limits = Limits { keep: Duration::from_hours(24 * 90), most: 100_000 };

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn decision(seconds: u64, host: &str, verdict: Verdict) -> Decision {
    let acts = matches!(verdict, Verdict::Contain | Verdict::Isolate);
    let evidence = |n: u64| EvidenceRecord {
        signal: Signal::Dark,
        at: at(seconds + n),
        peer: format!("10.9.0.{n}").parse().unwrap(),
        port: 445,
        weight: Score(3300),
        detail: Detail::Silent { after_ms: 300 }.to_string(),
    };
    let host = host.parse().unwrap();
    let suspect = Suspect::address(Link { interface: 7, outer: 12, inner: 0 }, host);
    Decision {
        score: Score(9900),
        threshold: Score(9900),
        destinations: 3,
        grade: acts.then_some(Grade::Scan),
        signal: acts.then_some(Signal::Dark),
        until: acts.then(|| at(seconds + 600)),
        step: u8::from(acts),
        enforced: acts,
        by: if verdict == Verdict::Release { By::Operator("alice".into()) } else { By::Firedoor },
        sender: Mac([2, 0, 0, 0, 0xab, 9]),
        evidence: if acts { (1..=3).map(evidence).collect() } else { Vec::new() },
        ..Decision::without_alarm(at(seconds), suspect, host, verdict, "spreads like a worm: dark".into())
    }
}

fn open(path: &Path) -> Store {
    let opened = Store::open(path).unwrap();
    assert_eq!(opened.moved, None);
    opened.store
}

fn start(path: &Path) -> StoreHandle {
    StoreHandle::start(path, Some(open(path)), LIMITS).unwrap()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_decision_comes_back_as_it_was_with_its_evidence() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("history.db"));
    for (n, verdict) in Verdict::ALL.into_iter().enumerate() {
        store.record(&decision(n as u64, "10.1.0.5", verdict)).unwrap();
    }
    store.record(&decision(9, "fd00::5", Verdict::Isolate)).unwrap();
    let back = store.recent(100).unwrap();
    assert_eq!(back.len(), 7);
    assert_eq!(back[0], decision(9, "fd00::5", Verdict::Isolate));
    for (act, (n, verdict)) in back[1..].iter().rev().zip(Verdict::ALL.into_iter().enumerate()) {
        assert_eq!(*act, decision(n as u64, "10.1.0.5", verdict));
    }
    assert_eq!(store.recent(2).unwrap().len(), 2);
    assert_eq!(store.of("fd00::5".parse().unwrap(), 10).unwrap().len(), 1);
    assert_eq!(store.of("10.1.0.6".parse().unwrap(), 10).unwrap(), []);
}

#[test]
fn who_is_acted_on_is_found_again_until_released() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
    store.record(&decision(1, "10.1.0.6", Verdict::Contain)).unwrap();
    store.record(&decision(2, "10.1.0.5", Verdict::Isolate)).unwrap();
    store.record(&decision(3, "10.1.0.6", Verdict::Watch)).unwrap();
    store.record(&decision(4, "10.1.0.7", Verdict::Watch)).unwrap();
    drop(store);

    let mut store = open(&path);
    let acted = store.acted().unwrap();
    let verdicts: Vec<_> = acted.iter().map(|known| (known.host.to_string(), known.decision)).collect();
    assert_eq!(verdicts, [("10.1.0.5".into(), Verdict::Isolate), ("10.1.0.6".into(), Verdict::Contain)]);
    assert_eq!(acted[0], decision(2, "10.1.0.5", Verdict::Isolate), "whole, with its evidence");

    store.record(&decision(5, "10.1.0.5", Verdict::Release)).unwrap();
    assert_eq!(store.acted().unwrap().len(), 1);
}

fn pardoned(store: &Store) -> Vec<(String, u64)> {
    let pardons = store.pardons().unwrap();
    pardons
        .iter()
        .map(|pardon| (pardon.host.to_string(), pardon.pardoned_until.unwrap().since(at(0)).as_secs()))
        .collect()
}

#[test]
fn a_pardon_is_kept_with_its_release_until_the_host_is_acted_on_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    let released = |seconds, host: &str, pardon: Option<u64>| Decision {
        pardoned_until: pardon.map(|pardon| at(seconds + pardon)),
        ..decision(seconds, host, Verdict::Release)
    };
    for host in ["10.1.0.5", "10.1.0.6", "10.1.0.7"] {
        store.record(&decision(0, host, Verdict::Contain)).unwrap();
    }
    store.record(&released(5, "10.1.0.5", Some(3600))).unwrap();
    store.record(&released(6, "10.1.0.6", None)).unwrap();
    store.record(&decision(7, "10.1.0.5", Verdict::Watch)).unwrap();
    drop(store);

    // The thread that writes keeps the table the same way, and whoever reads it back finds by whom and why.
    let handle = start(&path);
    handle.record(released(8, "10.1.0.7", Some(7200)));
    drop(handle);
    let store = open(&path);
    assert_eq!(pardoned(&store), [("10.1.0.5".into(), 3605), ("10.1.0.7".into(), 7208)]);
    let first = store.pardons().unwrap().remove(0);
    assert_eq!((first.at, &first.by), (at(5), &By::Operator("alice".into())));
    drop(store);

    let handle = start(&path);
    handle.record(decision(9, "10.1.0.7", Verdict::Contain));
    drop(handle);
    let mut store = open(&path);
    assert_eq!(pardoned(&store), [("10.1.0.5".into(), 3605)], "an engineer's new order ends the pardon");
    store.record(&decision(10, "10.1.0.5", Verdict::Isolate)).unwrap();
    assert_eq!(pardoned(&store), []);
}

#[test]
fn an_order_ends_the_pardons_that_it_overrules_whichever_way_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    let card = |n| Suspect::card(Link::default(), Mac([2, 0, 0, 0, 0, n]));
    for n in [5, 6, 7] {
        let host = format!("10.1.0.{n}");
        let released = Decision { suspect: card(n), ..decision(0, &host, Verdict::Release) };
        store.record(&Decision { pardoned_until: Some(at(3600)), link: "lan".to_owned(), ..released }).unwrap();
    }
    let ordered = |n: u8| Decision {
        overrules: vec![key("lan", card(n).who)],
        ..decision(1, &format!("10.1.0.{n}"), Verdict::Contain)
    };
    store.record(&ordered(5)).unwrap();
    assert_eq!(pardoned(&store), [("10.1.0.6".into(), 3600), ("10.1.0.7".into(), 3600)]);
    drop(store);
    let handle = start(&path);
    assert_eq!(handle.record(ordered(6)).wait(), Kept::Durable);
    drop(handle);
    assert_eq!(pardoned(&open(&path)), [("10.1.0.7".into(), 3600)]);
}

#[test]
fn a_file_that_is_deleted_while_it_runs_is_begun_anew_with_who_is_pardoned() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let handle = start(&path);
    let released = Decision { pardoned_until: Some(at(3600)), ..decision(0, "10.1.0.5", Verdict::Release) };
    assert_eq!(handle.record(released).wait(), Kept::Durable);
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
    }
    assert_eq!(handle.record(decision(1, "10.1.0.9", Verdict::Contain)).wait(), Kept::Durable);
    drop(handle);
    assert_eq!(pardoned(&open(&path)), [("10.1.0.5".into(), 3600)]);
}

#[test]
fn a_cards_block_that_covers_no_address_any_more_covers_none_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let card = Suspect::card(Link::default(), Mac([2, 0, 0, 0, 0xab, 9]));
    let lost = Decision { suspect: card, addresses: Some(Vec::new()), ..decision(1, "10.1.0.5", Verdict::Contain) };
    open(&path).record(&lost).unwrap();
    let store = open(&path);
    let known = store.acted().unwrap().remove(0);
    assert_eq!((known.suspect, known.addresses()), (card, &[][..]));
}

#[test]
fn a_file_of_an_older_version_is_brought_to_this_one_with_all_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(super::schema::FIRST).unwrap();
    db.execute_batch(
        "INSERT INTO decisions VALUES (1, '2027-01-15T08:00:00.000Z', '10.1.0.5', 'contain', 9.9, 9.9, 3, 'scan',
                                       '2027-01-15T08:10:00.000Z', 1, 1, 'dark', NULL, 7, 12, '02:00:00:00:ab:09');
         INSERT INTO acted VALUES ('10.1.0.5', 'contain', '2027-01-15T08:00:00.000Z', '2027-01-15T08:10:00.000Z', 1, 'scan',
                                   NULL, 'dark', 9.9, 9.9, 3, 7, 12, '02:00:00:00:ab:09');
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(db);
    let mut store = open(&path);
    assert_eq!((store.acted().unwrap().len(), store.recent(10).unwrap().len()), (1, 1));
    let known = store.acted().unwrap().remove(0);
    assert_eq!((known.addresses(), known.link.as_str()), (&[known.host][..], ""), "wherever it is");
    assert_eq!(store.steps(at(0), 10).unwrap().len(), 1);
    store.record(&Decision { pardoned_until: Some(at(60)), ..decision(9, "10.1.0.5", Verdict::Release) }).unwrap();
    assert_eq!(pardoned(&store), [("10.1.0.5".into(), 60)]);
}

/// A file of version 4, with one of everything.
fn of_version_four(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    super::schema::to_fourth().for_each(|step| db.execute_batch(step).unwrap());
    db.execute_batch(
        r#"INSERT INTO decisions VALUES
             (1, '2027-01-15T08:00:00.000Z', '10.1.0.5', 'contain', 9.9, 7.92, 3, 'scan', '2027-01-15T08:10:00.000Z', 1, 1,
              'dark', NULL, 7, 12, '02:00:00:00:ab:09', 'eth1.12 02:00:00:00:ab:09', '10.1.0.5 10.1.0.6', '8080/tcp 53/udp', 3),
             (2, '2027-01-15T08:00:01.000Z', '10.1.0.8', 'release', 1.5, 9.9, 3, NULL, '2027-01-15T09:00:01.000Z', 0, 1,
              'it''s "fine"', 'alice', 7, 0, '00:00:00:00:00:00', 'eth1 10.1.0.8', '', '', 0),
             (3, '2027-01-15T08:00:02.000Z', '10.1.0.9', 'hold', 9.9, 9.9, 3, 'exploit', NULL, 0, 0,
              'would isolate: dark; held', NULL, 7, 0, '02:00:00:00:ab:0a', 'eth1 02:00:00:00:ab:0a', '', '', 0),
             (4, '2027-01-15T08:00:03.000Z', 'fd00::5', 'isolate', 9.9, 9.9, 3, 'scan', NULL, 4, 0, 'dark', NULL, 7, 0,
              '02:00:00:00:ab:0b', '- fd00::/64', '', '', 0);
           INSERT INTO evidence VALUES
             (1, 0, 'dark', '2027-01-15T07:59:58.000Z', '10.9.0.1', 445, 3.3, 'no answer within 300 ms'),
             (1, 1, 'decoy', '2027-01-15T07:59:59.000Z', '10.9.0.2', 22, 6.6, 'answered'),
             (3, 0, 'chain', '2027-01-15T07:59:59.000Z', '10.9.0.3', 445, 2.0, 'lately reached by 10.9.0.9, which is alarmed');
           INSERT INTO acted VALUES
             ('eth1.12 02:00:00:00:ab:09', '10.1.0.5', '10.1.0.5 10.1.0.6', '8080/tcp 53/udp', 'contain',
              '2027-01-15T08:00:00.000Z', '2027-01-15T08:10:00.000Z', 1, 'scan', NULL, 'dark', 9.9, 7.92, 3, 7, 12, 3,
              '02:00:00:00:ab:09'),
             ('- 02:00:00:00:ab:0c', '10.1.0.7', '0.0.0.0', '', 'isolate', '2027-01-15T08:00:00.000Z', NULL, 0, NULL, 'bob',
              'worm', 0.0, 0.0, 0, 7, 0, 0, '02:00:00:00:ab:0c'),
             ('- fd00::/64', 'fd00::5', '', '', 'isolate', '2027-01-15T08:00:03.000Z', NULL, 4, 'scan', NULL, 'dark',
              9.9, 9.9, 3, 7, 0, 0, '02:00:00:00:ab:0b');
           INSERT INTO pardoned VALUES
             ('eth1 10.1.0.8', '10.1.0.8', '2027-01-15T09:00:01.000Z', '2027-01-15T08:00:01.000Z', 'alice', 'it''s "fine"');
           INSERT INTO held (id, at, host, would, grade, score, destinations, reason, evidence) VALUES
             (7, '2027-01-15T08:00:02.000Z', '10.1.0.9', 'isolate', 'exploit', 9.9, 3, 'would isolate: dark; held', '[]'),
             (8, '2027-01-15T08:00:02.000Z', '10.1.0.77', 'contain', 'scan', 9.8, 4, 'would contain: dark; held',
              '[{"signal":"dark","at":"2027-01-15T07:59:59.000Z","peer":"10.9.0.4","port":445,"weight":3.3,"detail":"answered"}]'),
             (9, '2027-01-15T08:00:02.000Z', '10.1.0.78', 'contain', 'scan', 9.8, 4, 'would contain: dark; held', '[]');
           PRAGMA user_version = 4"#,
    )
    .unwrap();
}

#[test]
fn a_file_of_version_four_loses_nothing_on_its_way_to_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    of_version_four(&path);
    let store = open(&path);
    let [isolated, held, released, contained] = &store.recent(10).unwrap()[..] else { panic!("four were kept") };
    let card = Mac([2, 0, 0, 0, 0xab, 9]);
    let link = Link { interface: 7, outer: 12, inner: 3 };
    let host = "10.1.0.5".parse().unwrap();
    let evidence = |n: u8, signal, at: &str, port, weight, detail: &str| EvidenceRecord {
        signal,
        at: at.parse().unwrap(),
        peer: Address::v4([10, 9, 0, n]),
        port,
        weight: Score(weight),
        detail: detail.to_owned(),
    };
    let expected = Decision {
        score: Score(9900),
        threshold: Score(7920),
        destinations: 3,
        grade: Some(Grade::Scan),
        until: Some(at(600)),
        step: 1,
        enforced: true,
        sender: card,
        link: "eth1.12".to_owned(),
        addresses: Some(vec![host, "10.1.0.6".parse().unwrap()]),
        ports: vec![(Transport::Tcp, 8080), (Transport::Udp, 53)],
        evidence: vec![
            evidence(1, Signal::Dark, "2027-01-15T07:59:58Z", 445, 3300, "no answer within 300 ms"),
            evidence(2, Signal::Decoy, "2027-01-15T07:59:59Z", 22, 6600, "answered"),
        ],
        ..Decision::without_alarm(at(0), Suspect::card(link, card), host, Verdict::Contain, "dark".to_owned())
    };
    assert_eq!(*contained, expected);
    assert_eq!(store.of(host, 10).unwrap(), std::slice::from_ref(&expected));
    assert_eq!((released.until, released.pardoned_until), (None, Some(at(3601))));
    assert_eq!((&released.by, released.reason.as_str()), (&By::Operator("alice".into()), "it's \"fine\""));
    assert_eq!((released.suspect.who, released.sender), (Who::Address(released.host), Mac::default()));
    assert_eq!((held.decision, held.card, held.enforced), (Verdict::Hold, Some(Mac([2, 0, 0, 0, 0xab, 10])), false));
    assert_eq!(isolated.suspect.who, Who::Network("fd00::".parse().unwrap()));

    let acted = store.acted().unwrap();
    assert_eq!(acted[0], expected, "its evidence was in the history");
    assert_eq!((acted[1].addresses(), &acted[1].by), (&[][..], &By::Operator("bob".into())));
    assert_eq!((acted[2].suspect, acted[2].enforced, acted[2].until), (isolated.suspect, false, None));
    assert_eq!(pardoned(&store), [("10.1.0.8".into(), 3601)]);
    assert_eq!(store.pardons().unwrap()[0].key(), "eth1 10.1.0.8");

    let waiting = store.held().unwrap();
    let of =
        |n: usize| (waiting[n].id, waiting[n].action, waiting[n].decision.signal, waiting[n].decision.evidence.len());
    assert_eq!(of(0), (7, Action::Isolate, Some(Signal::Chain), 1), "what the list had lost stands in the record");
    assert_eq!(waiting[0].decision.suspect, held.suspect);
    assert_eq!(of(1), (8, Action::Contain, Some(Signal::Dark), 1));
    assert_eq!(of(2), (9, Action::Contain, None, 0), "no signal is invented");
    let steps = store.steps(at(0), 10).unwrap();
    assert_eq!(steps.len(), 2, "{steps:?}");
    let db = rusqlite::Connection::open(&path).unwrap();
    let evidence: i64 = db.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0)).unwrap();
    assert_eq!(evidence, 3);
}

#[test]
fn what_is_still_due_follows_a_clock_that_jumped_within_a_boot_and_what_was_decided_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    let [first, second] = ["one", "two"].map(|name| Boot(name.to_owned()));
    let contained = decision(100, "10.1.0.5", Verdict::Contain);
    store.record(&contained).unwrap();
    store.record(&Decision { pardoned_until: Some(at(3700)), ..decision(100, "10.1.0.9", Verdict::Release) }).unwrap();
    // (the boot, what the clock shows at its monotonic zero, what that is found to mean, when the block ends then)
    let day = Duration::from_hours(24);
    for (boot, zero, found, ends) in [
        (&first, at(0), None, at(700)),
        (&first, at(1) - Duration::from_millis(10), None, at(700)),
        (&first, at(300), Some((Duration::from_secs(300), true)), at(1000)),
        (&first, at(300) - day, Some((day, false)), at(1000) - day),
        // Nothing links two boots.
        (&second, at(5000), None, at(1000) - day),
        (&second, at(5000) + day, Some((day, true)), at(1000)),
    ] {
        assert_eq!(store.follow_clock(boot, zero).unwrap(), found, "{boot:?} {zero}");
        let known = store.acted().unwrap().remove(0);
        assert_eq!((known.until, known.at), (Some(ends), ends - Duration::from_mins(10)), "{boot:?} {zero}");
        assert_eq!(store.pardons().unwrap()[0].pardoned_until, Some(ends + Duration::from_secs(3000)));
        assert_eq!(store.of(contained.host, 1).unwrap()[0].at, contained.at);
        store = open(&path);
    }
}

#[test]
fn each_hosts_latest_step_within_the_time_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("history.db"));
    for (seconds, host, step) in [(10, "10.1.0.5", 1), (700, "10.1.0.5", 2), (20, "10.1.0.6", 1), (900, "10.1.0.7", 0)]
    {
        store.record(&Decision { step, ..decision(seconds, host, Verdict::Contain) }).unwrap();
    }
    let steps = |since| -> Vec<(String, u8, u64)> {
        let steps = store.steps(at(since), 100).unwrap();
        steps.iter().map(|s| (s.suspect.who.text(), s.step, s.at.since(at(0)).as_secs())).collect()
    };
    assert_eq!(steps(0), [("10.1.0.5".into(), 2, 700), ("10.1.0.6".into(), 1, 20)]);
    assert_eq!(steps(100), [("10.1.0.5".into(), 2, 700)]);
    assert_eq!(store.steps(at(0), 1).unwrap().len(), 1);
}

#[test]
fn orders_held_decisions_and_exemptions_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let order = OrderRow {
        at: at(0),
        operator: "alice".into(),
        what: "release".into(),
        target: Some("10.1.0.5".into()),
        reason: Some("reimaged; ticket 'x\"y".into()),
        done: true,
        answer: "released 10.1.0.5".into(),
    };
    let contain = decision(0, "10.1.0.5", Verdict::Contain);
    let hold = Decision { decision: Verdict::Hold, reason: "the breaker has tripped".into(), ..contain };
    let held = Held { id: 7, action: Action::Contain, decision: hold.into() };
    let exempted =
        Exempted { network: "10.1.0.0/24".parse().unwrap(), by: "bob".into(), at: at(2), reason: "theatre".into() };
    let handle = start(&path);
    assert_eq!(handle.record_order(order.clone()).wait(), Kept::Durable);
    handle.set_held(vec![held.clone(), Held { id: 8, ..held.clone() }]);
    handle.set_held(vec![held.clone()]);
    handle.set_exempted(vec![exempted.clone()]);
    drop(handle);
    let store = open(&path);
    assert_eq!(store.orders(10).unwrap(), [order]);
    assert_eq!(store.held().unwrap(), [held]);
    assert_eq!(store.exempted().unwrap(), [exempted]);
}

#[test]
fn engineers_can_ask_with_plain_sql() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
    store.record(&decision(60, "10.1.0.5", Verdict::Release)).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    let ask = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        ask("SELECT group_concat(who || ' ' || decision, ', ') FROM timeline"),
        "Firedoor itself contain, alice release"
    );
    assert_eq!(ask("SELECT min(at) FROM decisions WHERE at > '2027-01-01'"), "2027-01-15T08:00:00.000Z");
    assert_eq!(
        ask("SELECT peer || ' ' || detail FROM evidence JOIN decisions d ON d.id = decision_id WHERE place = 0"),
        "10.9.0.1 no answer within 300 ms"
    );
    assert_eq!(ask("SELECT signal || port || weight FROM evidence WHERE decision_id = 1 AND place = 2"), "dark4453.3");
    assert_eq!(ask("SELECT verdict || ' ' || host FROM acted UNION ALL SELECT 'nobody'"), "nobody");
    assert_eq!(ask("SELECT mac || ' ' || vlan FROM decisions LIMIT 1"), "02:00:00:00:ab:09 12");
}

#[test]
fn old_and_surplus_history_goes_and_who_is_acted_on_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("history.db"));
    let day = 86_400;
    for n in 0..100 {
        store.record(&decision(n * day, &format!("10.1.0.{n}"), Verdict::Contain)).unwrap();
    }
    let keep = Duration::from_hours(24 * 90);
    while store.prune(at(99 * day), keep, 1_000).unwrap() > 0 {}
    assert_eq!(store.recent(1_000).unwrap().len(), 91);
    while store.prune(at(99 * day), keep, 10).unwrap() > 0 {}
    let left = store.recent(1_000).unwrap();
    assert_eq!(left.len(), 10);
    assert_eq!(left[9].at, at(90 * day));
    assert_eq!(store.acted().unwrap().len(), 100);
}

#[test]
fn a_clock_that_jumped_ahead_deletes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("history.db"));
    store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
    assert_eq!(store.prune(Timestamp::from_secs(4_000_000_000), Duration::from_secs(1), 100).unwrap(), 0);
    assert_eq!(store.recent(10).unwrap().len(), 1);
}

#[test]
fn a_clock_that_is_set_ahead_and_then_decided_by_deletes_nothing_until_it_has_run_for_a_month() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(&directory.path().join("history.db"));
    let (day, keep) = (86_400, Duration::from_hours(24 * 90));
    for n in 0..80 {
        store.record(&decision(n * day, &format!("10.1.0.{n}"), Verdict::Contain)).unwrap();
    }
    // A year ahead.
    for n in 0..30 {
        let now = (365 + n) * day;
        store.record(&decision(now, &format!("10.2.0.{n}"), Verdict::Contain)).unwrap();
        assert_eq!(store.prune(at(now), keep, 1_000).unwrap(), 0, "{n} days after");
    }
    while store.prune(at((365 + 30) * day), keep, 1_000).unwrap() > 0 {}
    assert_eq!(store.recent(1_000).unwrap().len(), 30, "by now the clock is believed");
}

#[test]
fn pruned_pages_are_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    store.together(|store| (0..3_000).try_for_each(|n| store.add(&decision(n, "10.1.0.5", Verdict::Contain)))).unwrap();
    let size = |store: &Store| {
        let _ = rusqlite::Connection::open(store.path()).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        std::fs::metadata(store.path()).unwrap().len()
    };
    let before = size(&store);
    while store.prune(at(3_000), Duration::from_hours(1), 100).unwrap() > 0 {}
    let after = size(&store);
    assert!(after < before / 2, "{before} bytes before, {after} after");
}

#[test]
fn ten_thousand_acted_hosts_are_read_back_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let handle = start(&path);
    for n in 0..10_000_u64 {
        let one = decision(n, &format!("10.1.{}.{}", n / 250, n % 250), Verdict::Contain);
        while handle.view().waiting > 4_000 {
            std::thread::yield_now();
        }
        handle.record(one);
    }
    drop(handle);
    let begun = Instant::now();
    let store = open(&path);
    let (acted, steps) = (store.acted().unwrap(), store.steps(at(0), 65_536).unwrap());
    let took = begun.elapsed();
    assert_eq!((acted.len(), steps.len()), (10_000, 10_000));
    eprintln!("10,000 acted hosts and their steps were read back in {took:?}");
    // An unoptimised build on a busy machine gets twice the time that the name of this test promises.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn learnt_servers_come_back_also_into_a_file_that_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let server = |n: u8, clients: u8| LearntServer {
        service: Service { address: Address::v4([10, 1, 0, n]), tcp: n != 3, port: 445 },
        since: at(0),
        last: at(u64::from(n)),
        days: 2,
        clients: (0..clients).map(|n| Who::Address(Address::v4([10, 2, 0, n]))).collect(),
        monitored: false,
        refusing: false,
    };
    let handle = start(&path);
    handle.keep_servers(ServerChanges { kept: vec![server(1, 1), server(2, 1), server(3, 2)], forgotten: Vec::new() });
    handle.keep_servers(ServerChanges { kept: vec![server(1, 4)], forgotten: vec![server(2, 1).service] });
    drop(handle);
    assert_eq!(open(&path).servers().unwrap(), [server(3, 2), server(1, 4)], "who answered last first");
    let db = rusqlite::Connection::open(&path).unwrap();
    let sql = "SELECT group_concat(service || ' ' || clients) FROM (SELECT * FROM servers ORDER BY service)";
    let text: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(text, "10.1.0.1:445 4,10.1.0.3:445/udp 2");
    drop(db);

    let handle = start(&path);
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(name));
    }
    assert_eq!(handle.record(decision(5, "10.1.0.5", Verdict::Contain)).wait(), Kept::Durable);
    drop(handle);
    assert_eq!(open(&path).servers().unwrap().len(), 2, "the new file has them too");
}
