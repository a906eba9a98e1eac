//! Something that runs inside a machine until it is stopped: a thread there with a small runtime of its own.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::lab::{Error, Result};
use crate::sys::namespace::{self, Namespace};

/// A running activity; dropping it stops it and waits, so that no thread holds a machine that nobody wants any more.
#[derive(Debug)]
pub struct Activity {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::result::Result<(), namespace::Error>>>,
}

impl Activity {
    /// Starts `work` inside `machine`; it runs until it ends or is dropped. Sockets it opens are in there.
    pub fn start<F: Future<Output = ()>>(
        machine: &Namespace,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Io { what: format!("start an activity in {}", machine.name()), source })?;
        let thread = machine.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work() => {}
                    // An error is the sender's end, which means stop as well.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Activity { stop: Some(stop), thread: Some(thread) })
    }

    /// Waits until the work ends by itself.
    pub fn wait(mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(_)) => Err(Error::Io {
                what: "finish an activity".to_owned(),
                source: io::Error::other("its thread panicked"),
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its outcome no longer matters to anybody.
            let _ = thread.join();
        }
    }
}
