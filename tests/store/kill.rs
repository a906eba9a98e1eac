//! Kill −9 at any moment loses no decision whose receipt was given.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use firedoor::respond::Verdict;
use firedoor::store::{Kept, Store, StoreHandle};

use super::{LIMITS, again, decision};

const VARIABLE: &str = "FIREDOOR_TEST_KILLED_WRITER";

/// Not a test of its own: the process that the next one kills. It says which decisions it has a receipt for.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let path = Path::new(&path);
    let opened = Store::open(path).unwrap();
    assert_eq!(opened.moved, None, "a killed writer left a damaged file");
    let first = opened.store.recent(1).unwrap().first().map_or(0, |act| act.at.secs() - 1_800_000_000 + 1);
    let first = u32::try_from(first).unwrap();
    let handle = StoreHandle::start(path, Some(opened.store), LIMITS).unwrap();
    let mut out = std::io::stdout();
    // A line of its own: the test harness has begun one.
    writeln!(out).unwrap();
    for n in (first..).step_by(3) {
        // Several at once, so that a batch is cut now and then.
        let receipts: Vec<_> = (n..n + 3).map(|n| (n, handle.record(decision(n, Verdict::Contain)))).collect();
        for (number, receipt) in receipts {
            assert_eq!(receipt.wait(), Kept::Durable);
            writeln!(out, "durable {number}").unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn kill_9_long_past_the_first_checkpoint_loses_nothing_and_the_log_stays_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let log = directory.path().join("history.db-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let (mut durable, mut largest) = (BTreeSet::new(), 0);
    for round in 1..=3_usize {
        let mut child =
            again("store::kill::writer", VARIABLE, &path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("durable ").map(|n| n.parse::<u32>().unwrap());
        // Until the database itself has grown well past what a log may hold: checkpoints have been made.
        let mut lines = lines.map_while(Result::ok).filter_map(number);
        while size(&path) < (round as u64) * (8 << 20) {
            durable.insert(lines.next().expect("the writer works on"));
            largest = largest.max(size(&log));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        durable.extend(lines);
        let opened = Store::open(&path).unwrap();
        assert_eq!(opened.moved, None);
        let acted: BTreeSet<_> = opened.store.acted().unwrap().into_iter().map(|known| known.host).collect();
        for number in &durable {
            assert!(acted.contains(&decision(*number, Verdict::Contain).host), "decision {number} is lost");
        }
    }
    // SQLite's own bound of 1,000 pages, and what one transaction adds to it.
    assert!((1 << 20..8 << 20).contains(&largest), "the log held {largest} bytes at most");
    eprintln!("{} decisions, a log of {largest} bytes at most, {} bytes in all", durable.len(), size(&path));
}

#[test]
fn kill_9_at_any_moment_loses_no_decision_that_was_acted_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut durable = BTreeSet::new();
    for round in 0..25_u64 {
        let mut child =
            again("store::kill::writer", VARIABLE, &path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("durable ").map(|n| n.parse::<u32>().unwrap());
        // The first receipt shows that it is at work; it is killed at another moment each time.
        let first = lines.by_ref().map_while(Result::ok).find_map(number);
        durable.insert(first.expect("the writer got to work"));
        std::thread::sleep(Duration::from_micros(round * round * 97 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        durable.extend(lines.map_while(Result::ok).filter_map(number));

        let opened = Store::open(&path).unwrap();
        assert_eq!(opened.moved, None);
        let acted: BTreeSet<_> = opened.store.acted().unwrap().into_iter().map(|known| known.host).collect();
        let kept: BTreeSet<_> = opened.store.recent(u32::MAX).unwrap().into_iter().map(|known| known.host).collect();
        for number in &durable {
            let host = decision(*number, Verdict::Contain).host;
            assert!(acted.contains(&host) && kept.contains(&host), "round {round}: decision {number} is lost");
        }
        assert_eq!(acted, kept, "a decision and who is acted on by it are kept together or not at all");
    }
    assert!(durable.len() > 100, "only {} decisions were put to the test", durable.len());
}
