//! [`StoreHandle`]: the store on a thread of its own, behind a bounded queue.
//!
//! The sender never waits for the disk. While the disk refuses, records wait in memory up to a bound, and are tried
//! again every second; beyond the bound the least worth is dropped first (watches, then the oldest), and counted. Who
//! is acted on, pardoned, held and exempted is mirrored in memory and written anew after any loss, so that those tables are
//! right again as soon as the disk is back, even in a new file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::rows::{case_of, pardon_of};
use super::{Fault, OrderRow, Pardon, Store};
use crate::observe::host::{Exempted, HeldView};
use crate::observe::snapshot::StoreView;
use crate::respond::{Case, Decision, Verdict};
use crate::wire::Address;

/// Records that may wait in the queue, and as many more beside a disk that refuses.
pub const QUEUE: usize = 4096;
/// Pardons beyond which those that have run out are looked for. How many are in force is bounded by the responder.
const PARDONS: usize = 1024;
/// Records that one transaction carries at most.
const BATCH: usize = 256;
/// How soon a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often old rows are looked for, and how soon again while there are more.
const PRUNE: Duration = Duration::from_hours(1);
const PRUNE_MORE: Duration = Duration::from_secs(1);

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For how long.
    pub keep: Duration,
    /// Most decisions, however young.
    pub most: u32,
}

/// What became of a record by the time somebody asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is on the disk.
    Durable,
    /// It is still on its way.
    Waiting,
    /// The disk refused it for now, or there was no room for it. The reason stands in [`StoreHandle::view`].
    Refused,
}

/// Tells when a record is on the disk.
#[derive(Debug)]
pub struct Receipt(Option<oneshot::Receiver<bool>>);

impl Receipt {
    /// Waits for at most `time`. The record is kept or lost all the same, whether anybody waits or not.
    pub async fn within(self, time: Duration) -> Kept {
        let Some(receiver) = self.0 else { return Kept::Refused };
        match tokio::time::timeout(time, receiver).await {
            Ok(Ok(true)) => Kept::Durable,
            Ok(_) => Kept::Refused,
            Err(_) => Kept::Waiting,
        }
    }

    /// Waits for at most `time` on a thread that may wait: the control task, which has nothing better to do before the
    /// kernel is told.
    #[must_use]
    pub fn within_blocking(self, time: Duration) -> Kept {
        const LOOK: Duration = Duration::from_micros(100);
        let Some(mut receiver) = self.0 else { return Kept::Refused };
        let begun = Instant::now();
        loop {
            match receiver.try_recv() {
                Ok(true) => return Kept::Durable,
                Ok(false) | Err(oneshot::error::TryRecvError::Closed) => return Kept::Refused,
                Err(oneshot::error::TryRecvError::Empty) if begun.elapsed() >= time => return Kept::Waiting,
                Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits for as long as it takes. Not for asynchronous code.
    #[must_use]
    pub fn wait(self) -> Kept {
        match self.0.map(oneshot::Receiver::blocking_recv) {
            Some(Ok(true)) => Kept::Durable,
            _ => Kept::Refused,
        }
    }
}

#[derive(Debug)]
enum Record {
    Decision(Box<Decision>),
    Order(Box<OrderRow>),
    /// The mirror of held decisions or of exempted networks has changed.
    Held,
    Exempted,
}

#[derive(Debug)]
enum Message {
    Record(Record, Option<oneshot::Sender<bool>>),
    Held(Vec<HeldView>),
    Exempted(Vec<Exempted>),
    Forget(Address),
    Limits(Limits),
    Stop,
}

/// What others may look at.
#[derive(Debug, Default)]
struct Shown {
    written: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
    stopping: AtomicBool,
    error: Mutex<Option<String>>,
}

impl Shown {
    fn set_error(&self, text: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The sending end of the store's thread. Dropping it stops the thread after what is queued has been written.
#[derive(Debug)]
pub struct StoreHandle {
    sender: SyncSender<Message>,
    shown: Arc<Shown>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl StoreHandle {
    /// Starts the thread. `opened` is the store as it was opened for reading back what a start needs; with `None`
    /// (the disk refused) the thread keeps trying to open `path`.
    pub fn start(path: &Path, opened: Option<Store>, limits: Limits) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let shown = Arc::new(Shown::default());
        let writer = Writer::new(path.to_owned(), opened, limits, Arc::clone(&shown));
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run(&receiver))?;
        Ok(StoreHandle { sender, shown, path: path.to_owned(), thread: Some(thread) })
    }

    fn send(&self, message: Message) -> bool {
        // Counted before it is sent, so that the thread never takes away what was not there yet.
        self.shown.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.try_send(message);
        if let Err(refused) = &sent {
            self.shown.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shown.lost.fetch_add(1, Ordering::Relaxed);
            if matches!(refused, TrySendError::Disconnected(_)) {
                self.shown.set_error(Some("the history's thread has ended: restart firedoor".into()));
            }
        }
        sent.is_ok()
    }

    /// Keeps a decision. Await the receipt before the kernel is told, see the module's text.
    #[expect(clippy::must_use_candidate, reason = "only what the kernel is told of need be awaited")]
    pub fn record(&self, decision: &Decision) -> Receipt {
        let (told, receipt) = oneshot::channel();
        let record = Record::Decision(Box::new(decision.clone()));
        Receipt(self.send(Message::Record(record, Some(told))).then_some(receipt))
    }

    /// Keeps what an engineer ordered.
    #[expect(clippy::must_use_candidate, reason = "nothing waits for an order's record")]
    pub fn record_order(&self, order: OrderRow) -> Receipt {
        let (told, receipt) = oneshot::channel();
        Receipt(self.send(Message::Record(Record::Order(Box::new(order)), Some(told))).then_some(receipt))
    }

    /// Keeps the list of decisions that wait for an engineer, as it is now.
    pub fn set_held(&self, held: Vec<HeldView>) {
        self.send(Message::Held(held));
    }

    /// Keeps the list of networks exempted by command, as it is now.
    pub fn set_exempted(&self, exempted: Vec<Exempted>) {
        self.send(Message::Exempted(exempted));
    }

    /// Takes a host off the table of acted hosts without a decision: its time ran out while nobody looked.
    pub fn forget(&self, host: Address) {
        self.send(Message::Forget(host));
    }

    /// Takes new limits, after a reload.
    pub fn set_limits(&self, limits: Limits) {
        self.send(Message::Limits(limits));
    }

    /// Its file, for [`Store::open_to_read`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it goes.
    #[must_use]
    pub fn view(&self) -> StoreView {
        StoreView {
            path: Some(self.path.display().to_string()),
            written: self.shown.written.load(Ordering::Relaxed),
            lost: self.shown.lost.load(Ordering::Relaxed),
            waiting: self.shown.waiting.load(Ordering::Relaxed),
            error: self.shown.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        // The thread writes what is queued, tries a refusing disk once more, and ends.
        self.shown.stopping.store(true, Ordering::Relaxed);
        let _ = self.sender.try_send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state that tables must agree with, whatever was lost.
#[derive(Debug, Default)]
struct Mirror {
    acted: BTreeMap<Address, Case>,
    pardoned: BTreeMap<Address, Pardon>,
    held: Vec<HeldView>,
    exempted: Vec<Exempted>,
}

/// What a file that could not be opened at start may hold, and what has happened since that its tables do not know.
#[derive(Debug, Default)]
struct Unread {
    released: BTreeSet<Address>,
    unpardoned: BTreeSet<Address>,
    held: bool,
    exempted: bool,
}

/// A record, and who waits for it.
type Waiting = (Record, Option<oneshot::Sender<bool>>);

struct Writer {
    path: PathBuf,
    store: Option<Store>,
    /// Device and inode of the open file, to notice when somebody takes it away.
    file: Option<(u64, u64)>,
    mirror: Mirror,
    /// Set until the file has been read once.
    unread: Option<Unread>,
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
    fn new(path: PathBuf, store: Option<Store>, limits: Limits, shown: Arc<Shown>) -> Self {
        let now = Instant::now();
        let file = identity(&path).filter(|_| store.is_some());
        let mut writer = Writer {
            path,
            store,
            file,
            mirror: Mirror::default(),
            unread: Some(Unread::default()),
            stale: false,
            pending: VecDeque::new(),
            batch: BATCH,
            limits,
            shown,
            try_at: now,
            prune_at: now + PRUNE_MORE,
        };
        writer.read_once();
        writer
    }

    /// Takes over what the file's tables of state hold, as soon as there is a file; what happened since goes first.
    fn read_once(&mut self) {
        let Some(store) = &self.store else { return };
        let Some(unread) = self.unread.take() else { return };
        for case in store.acted().unwrap_or_default() {
            if !unread.released.contains(&case.host) {
                self.mirror.acted.entry(case.host).or_insert(case);
            }
        }
        for pardon in store.pardons().unwrap_or_default() {
            if !unread.unpardoned.contains(&pardon.host) {
                self.mirror.pardoned.entry(pardon.host).or_insert(pardon);
            }
        }
        if !unread.held {
            self.mirror.held = store.held().unwrap_or_default();
        }
        if !unread.exempted {
            self.mirror.exempted = store.exempted().unwrap_or_default();
        }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
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
            Message::Record(record, told) => {
                if let Record::Decision(decision) = &record {
                    self.follow(decision);
                }
                Some((record, told))
            }
            Message::Held(held) => {
                self.mirror.held = held;
                if let Some(unread) = &mut self.unread {
                    unread.held = true;
                }
                self.once(Record::Held)
            }
            Message::Exempted(exempted) => {
                self.mirror.exempted = exempted;
                if let Some(unread) = &mut self.unread {
                    unread.exempted = true;
                }
                self.once(Record::Exempted)
            }
            Message::Forget(host) => {
                self.release(host);
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
            Some((record, mut told)) => {
                if Instant::now() < self.try_at {
                    // The disk refuses just now: the record waits, and nobody shall wait for it.
                    told.take().map(|told| told.send(false));
                }
                self.pending.push_back((record, told));
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

    fn follow(&mut self, decision: &Decision) {
        if let Some(case) = case_of(decision) {
            if let Some(unread) = &mut self.unread {
                unread.released.remove(&case.host);
                unread.unpardoned.insert(case.host);
            }
            self.mirror.pardoned.remove(&case.host);
            self.mirror.acted.insert(case.host, case);
        } else if decision.decision == Verdict::Release {
            self.release(decision.host);
            if let Some(pardon) = pardon_of(decision) {
                if self.mirror.pardoned.len() >= PARDONS {
                    self.mirror.pardoned.retain(|_, pardon| decision.at < pardon.until);
                }
                self.mirror.pardoned.insert(pardon.host, pardon);
            }
        }
    }

    fn release(&mut self, host: Address) {
        self.mirror.acted.remove(&host);
        if let Some(unread) = &mut self.unread {
            unread.released.insert(host);
        }
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
        self.batch = (self.batch * 2).min(BATCH);
        self.shown.written.fetch_add(batch as u64, Ordering::Relaxed);
        self.shown.waiting.fetch_sub(batch as u64, Ordering::Relaxed);
        for (_, told) in self.pending.drain(..batch) {
            told.map(|told| told.send(true));
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
                    Some((_, told)) => {
                        told.map(|told| told.send(false));
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
        for (_, told) in &mut self.pending {
            told.take().map(|told| told.send(false));
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
                        // The mirror may be ahead of this record by others of the same batch, never behind it.
                        match mirror.acted.get(&decision.host) {
                            Some(case) => store.put_case(case)?,
                            None => store.forget(decision.host)?,
                        }
                        match mirror.pardoned.get(&decision.host) {
                            Some(pardon) => store.put_pardon(pardon)?,
                            None => store.unpardon(decision.host)?,
                        }
                    }
                    Record::Order(order) => store.record_order(order)?,
                    Record::Held => held = true,
                    Record::Exempted => exempted = true,
                }
            }
            if held {
                store.set_held(&mirror.held)?;
            }
            if exempted {
                store.set_exempted(&mirror.exempted)?;
            }
            if stale {
                store.clear_acted()?;
                for case in mirror.acted.values() {
                    store.put_case(case)?;
                }
                store.clear_pardons()?;
                for pardon in mirror.pardoned.values() {
                    store.put_pardon(pardon)?;
                }
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
            self.read_once();
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
