//! The log: to the journal where systemd runs us, else to standard error; structured, and bounded.
//!
//! `FIREDOOR_LOG` filters as `RUST_LOG` does elsewhere: `debug`, `info,firedoor::firewall=debug`; without it, `info`.
//! In the journal each field is one of its own (`journalctl FIREDOOR_HOST=10.1.2.3`). One place in the code writes at
//! most 50 lines in 10 seconds; what goes beyond is counted, and reported by [`report_suppressed`]: an outbreak or a broken
//! disk must not fill the log. Decisions lose nothing by it: history and API have them all.

use std::collections::HashMap;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The environment variable that filters.
pub const VARIABLE: &str = "FIREDOOR_LOG";
/// Lines that one place in the code may write within [`PERIOD`].
const BURST: u32 = 50;
/// How long a burst is counted.
const PERIOD: Duration = Duration::from_secs(10);

/// Lines left out, in all.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
/// Lines left out that were reported.
static REPORTED: AtomicU64 = AtomicU64::new(0);

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `FIREDOOR_LOG` cannot be read.
    #[error("{VARIABLE}={text:?} is no log filter: {source}; write a level such as info, or firedoor::firewall=debug")]
    Filter {
        /// What it holds.
        text: String,
        /// What is wrong.
        source: tracing_subscriber::filter::ParseError,
    },
    /// This process has a log already.
    #[error("the log was set up twice")]
    Twice,
}

/// Sets up the log of this process.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn init() -> Result<(), Error> {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|source| Error::Filter { text, source })?;
    let journal = under_systemd().then(tracing_journald::layer).and_then(Result::ok);
    let sink = match journal {
        Some(journal) => {
            let prefix = Some("FIREDOOR".to_owned());
            journal.with_field_prefix(prefix).with_syslog_identifier("firedoor".to_owned()).boxed()
        }
        None => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .boxed(),
    };
    let limited = sink.with_filter(Limit::new(BURST, PERIOD));
    tracing_subscriber::registry().with(filter).with(limited).try_init().map_err(|_| Error::Twice)
}

/// Lines left out since the process began.
#[must_use]
pub fn suppressed() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

/// Tells, in one line, how many lines were left out since the last call; nothing if none were. To be called every few
/// seconds.
pub fn report_suppressed() {
    let total = suppressed();
    let before = REPORTED.swap(total, Ordering::Relaxed);
    if total > before {
        tracing::warn!(lines = total - before, "log lines were left out because they repeated too fast");
    }
}

/// Whether standard error is the journal: JOURNAL_STREAM holds its device and inode then (systemd.exec(5)).
fn under_systemd() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    stderr.is_ok_and(|stderr| names(&stream, stderr.dev(), stderr.ino()))
}

/// Whether JOURNAL_STREAM's `device:inode` names this file.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

/// Lets each place in the code write a burst of lines a period, and counts the rest.
#[derive(Debug)]
struct Limit {
    burst: u32,
    period: Duration,
    places: Mutex<HashMap<Identifier, (Instant, u32)>>,
}

impl Limit {
    fn new(burst: u32, period: Duration) -> Self {
        Limit { burst, period, places: Mutex::default() }
    }

    /// One more line from `place`. The places are fixed in the program, so the table is bounded.
    fn admits(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lines) = places.entry(place).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= self.period {
            (*since, *lines) = (now, 0);
        }
        *lines = lines.saturating_add(1);
        *lines <= self.burst
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let admitted = self.admits(event.metadata().callsite(), Instant::now());
        if !admitted {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    /// Counts the lines that reach it.
    struct Count(Arc<AtomicU32>);

    impl<S: tracing::Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_place_cannot_flood_the_log_and_does_not_silence_another() {
        let lines = Arc::new(AtomicU32::new(0));
        let layer = Count(Arc::clone(&lines)).with_filter(Limit::new(5, Duration::from_secs(3600)));
        let subscriber = tracing_subscriber::registry().with(layer);
        let before = suppressed();
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..100 {
                tracing::warn!(n, "the disk is full");
            }
            tracing::warn!("something else");
        });
        assert_eq!(lines.load(Ordering::Relaxed), 6);
        assert!(suppressed() >= before + 95);
    }

    static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&META);
    static META: Metadata<'static> = tracing::metadata! {
        name: "x", target: "x", level: tracing::Level::WARN, fields: &[], callsite: &CALLSITE,
        kind: tracing::metadata::Kind::EVENT
    };

    #[test]
    fn a_place_may_write_again_after_the_period() {
        let limit = Limit::new(1, Duration::from_secs(10));
        let place = || Identifier(&CALLSITE);
        let start = Instant::now();
        assert!(limit.admits(place(), start));
        assert!(!limit.admits(place(), start + Duration::from_secs(9)));
        assert!(limit.admits(place(), start + Duration::from_secs(10)));
    }

    #[test]
    fn only_the_journal_that_standard_error_leads_to_is_used() {
        assert!(names("9:12345", 9, 12_345));
        for other in ["9:12346", "8:12345", "9", "", "9:12345:1", "a:b"] {
            assert!(!names(other, 9, 12_345), "{other}");
        }
    }
}
