//! The store's thread: takes records off the queue and writes them, whatever the disk does.
//!
//! While the disk refuses, records wait in memory up to a bound, and are tried again every second; beyond the bound the
//! least worth is dropped first (watches, then the oldest), and counted. The [`Mirror`] of who is acted on, pardoned, held
//! and exempted is written anew after any loss, so that those tables are right again as soon as the disk is back, even in
//! a new file.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::handle::{Limits, Message, QUEUE, Record, Shown};
use super::mirror::Mirror;
use super::{Fault, Store};
use crate::respond::Verdict;

/// Records that one transaction carries at most.
const BATCH: usize = 256;
/// How soon a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often old rows are looked for, and how soon again while there are more.
const PRUNE: Duration = Duration::from_hours(1);
const PRUNE_MORE: Duration = Duration::from_secs(1);

/// A record, and who waits for it.
type Waiting = (Record, Option<oneshot::Sender<bool>>);

pub(super) struct Writer {
    path: PathBuf,
    store: Option<Store>,
    /// Device and inode of the open file, to notice when somebody takes it away.
    file: Option<(u64, u64)>,
    mirror: Mirror,
    /// The tables of state may differ from the mirror.
    stale: bool,
    pending: VecDeque<Waiting>,
    /// Records that the next transaction carries at most: few on a disk with little room.
    batch: usize,
    limits: Limits,
    shown: Arc<Shown>,
    try_at: Instant,
    prune_at: Instant,
}

impl Writer {
    pub(super) fn new(path: PathBuf, store: Option<Store>, limits: Limits, shown: Arc<Shown>) -> Self {
        let now = Instant::now();
        let file = identity(&path).filter(|_| store.is_some());
        let mut writer = Writer {
            path,
            store,
            file,
            mirror: Mirror::default(),
            stale: false,
            pending: VecDeque::new(),
            batch: BATCH,
            limits,
            shown,
            try_at: now,
            prune_at: now + PRUNE_MORE,
        };
        writer.mirror.read_once(writer.store.as_ref());
        writer
    }

    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let due = if self.behind() { self.try_at.min(self.prune_at) } else { self.prune_at };
            let mut stop = match receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            while !stop && self.pending.len() < BATCH {
                match receiver.try_recv() {
                    Ok(message) => stop = self.take(message),
                    Err(_) => break,
                }
            }
            stop |= self.shown.stopping.load(Ordering::Relaxed);
            if stop {
                while let Ok(message) = receiver.try_recv() {
                    self.take(message);
                }
                self.try_at = Instant::now();
            }
            while self.behind() && Instant::now() >= self.try_at {
                self.write();
            }
            if stop {
                self.lose(self.pending.len());
                return;
            }
            if Instant::now() >= self.prune_at {
                self.prune();
            }
        }
    }

    fn behind(&self) -> bool {
        self.stale || !self.pending.is_empty()
    }

    /// Takes one message; says whether to stop.
    fn take(&mut self, message: Message) -> bool {
        let record = match message {
            Message::Record(record, receipt) => {
                match &record {
                    Record::Decision(decision) => self.mirror.follow(decision),
                    Record::Servers(changes) => self.mirror.learn(changes),
                    Record::Order(_) | Record::Held | Record::Exempted => {}
                }
                Some((record, receipt))
            }
            Message::Held(held) => {
                self.mirror.set_held(held);
                self.once(Record::Held)
            }
            Message::Exempted(exempted) => {
                self.mirror.set_exempted(exempted);
                self.once(Record::Exempted)
            }
            Message::Forget(suspect) => {
                self.mirror.release(suspect);
                self.stale = true;
                None
            }
            Message::Limits(limits) => {
                self.limits = limits;
                self.prune_at = Instant::now();
                None
            }
            Message::Stop => return true,
        };
        match record {
            Some((record, mut receipt)) => {
                if Instant::now() < self.try_at {
                    // The disk refuses just now: the record waits, and nobody shall wait for it.
                    receipt.take().map(|receipt| receipt.send(false));
                }
                self.pending.push_back((record, receipt));
                if self.pending.len() > QUEUE {
                    let watch = self.pending.iter().position(|(record, _)| is_watch(record));
                    self.pending.remove(watch.unwrap_or(0));
                    self.lose(1);
                }
            }
            None => {
                self.shown.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        false
    }

    /// The record, unless the same is pending already.
    fn once(&self, record: Record) -> Option<Waiting> {
        let kind = std::mem::discriminant(&record);
        self.pending.iter().all(|(waiting, _)| std::mem::discriminant(waiting) != kind).then_some((record, None))
    }

    /// Counts records that will not be written.
    fn lose(&mut self, records: usize) {
        self.stale = true;
        let records = records as u64;
        self.shown.waiting.fetch_sub(records, Ordering::Relaxed);
        self.shown.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Writes one batch.
    fn write(&mut self) {
        let batch = self.pending.len().min(self.batch);
        match self.try_write(batch) {
            Ok(()) => self.wrote(batch),
            Err(Fault::Record(_)) if batch > 1 => {
                // One of them is at fault: find it by writing them one at a time.
                for _ in 0..batch {
                    match self.try_write(1) {
                        Ok(()) => self.wrote(1),
                        Err(fault) => {
                            self.failed(&fault);
                            break;
                        }
                    }
                }
            }
            Err(fault) => self.failed(&fault),
        }
    }

    fn wrote(&mut self, batch: usize) {
        if self.shown.error.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            let lost = self.shown.lost.load(Ordering::Relaxed);
            info!(lost, "the history is written again");
        }
        self.stale = false;
        if self.batch < BATCH
            && let Some(store) = &self.store
        {
            // The disk was full a moment ago: the log must not take the room that the database needs to grow into.
            store.checkpoint();
        }
        self.batch = (self.batch * 2).min(BATCH);
        self.shown.written.fetch_add(batch as u64, Ordering::Relaxed);
        self.shown.waiting.fetch_sub(batch as u64, Ordering::Relaxed);
        for (_, receipt) in self.pending.drain(..batch) {
            receipt.map(|receipt| receipt.send(true));
        }
    }

    fn failed(&mut self, fault: &Fault) {
        let text = fault.to_string();
        if self.shown.error.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&text) {
            warn!(reason = text, "the history cannot be written; decisions go on without it");
            self.shown.set_error(Some(text));
        }
        self.stale = true;
        match fault {
            Fault::Record(_) => {
                // Trying this one again would hold up all others for good.
                match self.pending.pop_front() {
                    Some((_, receipt)) => {
                        receipt.map(|receipt| receipt.send(false));
                        self.lose(1);
                    }
                    None => self.try_at = Instant::now() + AGAIN,
                }
            }
            // Opening anew finds out what is the matter; a damaged file is then moved aside.
            Fault::Damaged(_) | Fault::Disk(_) | Fault::Newer { .. } | Fault::MoveAside { .. } => {
                self.store = None;
                self.batch = 1;
                self.try_at = Instant::now() + AGAIN;
            }
        }
        // Nobody shall wait for a disk that refuses; the records themselves wait on.
        for (_, receipt) in &mut self.pending {
            receipt.take().map(|receipt| receipt.send(false));
        }
    }

    fn try_write(&mut self, batch: usize) -> Result<(), Fault> {
        self.reopen()?;
        let Some(store) = &mut self.store else { return Ok(()) };
        let (pending, mirror, stale) = (&self.pending, &self.mirror, self.stale);
        store.together(|store| {
            let (mut held, mut exempted) = (stale, stale);
            for (record, _) in pending.iter().take(batch) {
                match record {
                    Record::Decision(decision) => {
                        store.add(decision)?;
                        mirror.write_of(&decision.key(), store)?;
                        for other in &decision.overrules {
                            mirror.write_pardon_of(other, store)?;
                        }
                    }
                    Record::Order(order) => store.record_order(order)?,
                    Record::Held => held = true,
                    Record::Exempted => exempted = true,
                    Record::Servers(changes) => store.keep_servers(changes)?,
                }
            }
            if held {
                store.set_held(mirror.held())?;
            }
            if exempted {
                store.set_exempted(mirror.exempted())?;
            }
            if stale {
                mirror.write_hosts(store)?;
                mirror.write_servers(store)?;
            }
            Ok(())
        })
    }

    /// Makes sure that a store is open, and that its file is still the one at its path.
    fn reopen(&mut self) -> Result<(), Fault> {
        let here = identity(&self.path);
        if self.store.is_some() && here != self.file {
            warn!(path = %self.path.display(), "the history's file was taken away; a new one is begun");
            self.store = None;
            self.stale = true;
        }
        if self.store.is_none() {
            let opened = Store::open(&self.path)?;
            if let Some(to) = opened.moved {
                error!(to = %to.display(), "the history was damaged: it was moved aside, and a new one begun");
            }
            // On a disk that was full, the log's pages are the first room there is.
            opened.store.checkpoint();
            self.store = Some(opened.store);
            self.file = identity(&self.path);
            self.mirror.read_once(self.store.as_ref());
        }
        Ok(())
    }

    fn prune(&mut self) {
        let Limits { keep, most } = self.limits;
        let pruned = self.store.as_mut().map(|store| store.prune(crate::config::wall_clock(), keep, most));
        self.prune_at = Instant::now() + if matches!(pruned, Some(Ok(1..))) { PRUNE_MORE } else { PRUNE };
        if let Some(Err(fault)) = pruned {
            self.failed(&fault);
        }
    }
}

fn is_watch(record: &Record) -> bool {
    matches!(record, Record::Decision(decision) if decision.decision == Verdict::Watch)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
