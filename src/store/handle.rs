//! [`StoreHandle`]: the sending end of the store's thread, behind a bounded queue.
//!
//! The sender never waits for the disk; whoever must know that a record is on it waits for the [`Receipt`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::writer::Writer;
use super::{OrderRow, Store};
use crate::published::status::StoreView;
use crate::respond::servers::ServerChanges;
use crate::respond::{Decision, Exempted, Held};

/// Records that may wait in the queue, and as many more beside a disk that refuses.
pub const QUEUE: usize = 4096;
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
    /// kernel acts.
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

/// What is to be written.
#[derive(Debug)]
pub(super) enum Record {
    Decision(Arc<Decision>),
    Order(Box<OrderRow>),
    /// The mirror of held decisions or of exempted networks has changed.
    Held,
    Exempted,
    Servers(Box<ServerChanges>),
}

/// What goes through the queue.
#[derive(Debug)]
pub(super) enum Message {
    Record(Record, Option<oneshot::Sender<bool>>),
    Held(Vec<Held>),
    Exempted(Vec<Exempted>),
    Forget(String),
    Limits(Limits),
    Stop,
}

/// What others may look at.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) written: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) stopping: AtomicBool,
    pub(super) error: Mutex<Option<String>>,
}

impl Shown {
    pub(super) fn set_error(&self, text: Option<String>) {
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

    /// Keeps a decision. Await the receipt before the kernel acts, see the module's text.
    pub fn record(&self, decision: impl Into<Arc<Decision>>) -> Receipt {
        let (written, receipt) = oneshot::channel();
        let record = Record::Decision(decision.into());
        Receipt(self.send(Message::Record(record, Some(written))).then_some(receipt))
    }

    /// Keeps what an engineer ordered.
    #[expect(clippy::must_use_candidate, reason = "nothing waits for an order's record")]
    pub fn record_order(&self, order: OrderRow) -> Receipt {
        let (written, receipt) = oneshot::channel();
        Receipt(self.send(Message::Record(Record::Order(Box::new(order)), Some(written))).then_some(receipt))
    }

    /// Keeps the list of decisions that wait for an engineer, as it is now.
    pub fn set_held(&self, held: Vec<Held>) {
        self.send(Message::Held(held));
    }

    /// Keeps the list of networks exempted by command, as it is now.
    pub fn set_exempted(&self, exempted: Vec<Exempted>) {
        self.send(Message::Exempted(exempted));
    }

    /// Keeps what was learnt of servers.
    pub fn keep_servers(&self, changes: ServerChanges) {
        self.send(Message::Record(Record::Servers(Box::new(changes)), None));
    }

    /// Takes a host off the table of acted hosts without a decision: its time ran out while nobody looked.
    pub fn forget(&self, suspect: String) {
        self.send(Message::Forget(suspect));
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
