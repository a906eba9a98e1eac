//! A test's rows: each a scenario with a name, run a few at a time, and all judged before the test fails.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

/// What became of a row: nothing to say, or what was found instead.
pub type Finding = Result<(), String>;

/// How many run at once: they mostly wait.
const AT_ONCE: usize = 16;

/// A row.
pub struct Row {
    name: String,
    work: Box<dyn FnOnce() -> Finding + Send>,
}

/// A row of this name.
pub fn row(name: impl Into<String>, work: impl FnOnce() -> Finding + Send + 'static) -> Row {
    Row { name: name.into(), work: Box::new(work) }
}

/// The seeds to try.
pub fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=rounds().unwrap_or(1)
}

/// The paces to try, in contacts a second: these, or all that were promised if more rounds are asked for.
pub fn paces(usual: &[f64]) -> Vec<f64> {
    if rounds().is_some() { vec![1.0, 8.0, 50.0, 1_000.0] } else { usual.to_vec() }
}

fn rounds() -> Option<u64> {
    let text = std::env::var("FIREDOOR_EVASION_ROUNDS").ok()?;
    Some(text.parse::<u64>().expect("FIREDOOR_EVASION_ROUNDS is a number").max(1))
}

static TURN: RwLock<()> = RwLock::new(());

/// Runs the rows beside other tests, and fails with all that was found: for what is counted.
pub fn hold(rows: Vec<Row>) {
    if crate::site::able() {
        // A test that failed in its turn has left nothing behind that the next one could trip over.
        let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        run(rows);
    }
}

/// The same without company: for what has to happen within a second.
pub fn hold_alone(rows: Vec<Row>) {
    if crate::site::able() {
        let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        run(rows);
    }
}

fn run(rows: Vec<Row>) {
    let (begun, count) = (Instant::now(), rows.len());
    let (waiting, found) = (Mutex::new(rows.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(count) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some(Row { name, work }) = next else { return };
                    // Its own thread, which its daemon does not outlive.
                    let outcome = std::thread::spawn(work).join();
                    if let Err(text) = outcome.unwrap_or_else(|panic| Err(said(&*panic))) {
                        found.lock().unwrap().push(format!("{name}: {text}"));
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    eprintln!("{count} rows in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(found.is_empty(), "{} of {count} rows:\n{}", found.len(), found.join("\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}

/// Says what is wrong unless `holds`.
pub fn unless(holds: bool, what: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(what()) }
}
