//! [`CaptureThreads`]: one shard a thread, and the commands they take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Receiver, channel};

use crate::capture::{CaptureError, CapturePolicy, Pnet, Ring, Source};
use crate::config::Config;
use crate::config::model::Backend;
use crate::daemon::shard::{Command, Message, Shard};
use crate::detect::{self, Detector, Directive};
use crate::published::Published;
use crate::sys::clock::Clock;
use crate::track::{HashKey, Shared};

/// Messages from the capture threads that may wait for the control task.
const MESSAGES: usize = 4096;

/// The capture threads.
pub(super) struct CaptureThreads {
    commands: Vec<mpsc::Sender<Command>>,
    /// Those that do not run yet: packet sockets need privileges, threads start without.
    waiting: Vec<Shard>,
    threads: Vec<JoinHandle<()>>,
    running: usize,
    stop: Arc<AtomicBool>,
}

impl CaptureThreads {
    /// Opens the packet sockets; what the threads report comes out of the receiver.
    ///
    /// # Errors
    /// A packet socket cannot be opened.
    pub fn open(
        config: &Config,
        settings: &Arc<detect::Settings>,
        (shared, hash_key): (&Arc<Shared>, HashKey),
        published: &Arc<Published>,
        clock: Clock,
    ) -> Result<(Self, Receiver<Message>), CaptureError> {
        let shards = match config.capture.backend {
            Backend::Ring => config.capture.shards.max(1),
            Backend::Pnet => 1,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (message_sender, messages) = channel(MESSAGES);
        let mut commands = Vec::new();
        let mut waiting = Vec::new();
        for (number, source) in open_sources(config, clock)?.into_iter().enumerate() {
            let (command_sender, command_receiver) = mpsc::channel();
            commands.push(command_sender);
            waiting.push(Shard {
                number,
                shards,
                source,
                policy: CapturePolicy::new(&settings.lateral, settings.inspect_smb),
                detector: Detector::new(settings.clone(), shared.clone(), shards, hash_key),
                shared: shared.clone(),
                published: published.clone(),
                counters: published.counters.shard(number).unwrap_or_default(),
                clock,
                commands: command_receiver,
                messages: message_sender.clone(),
                stop: stop.clone(),
            });
        }
        let running = commands.len();
        Ok((CaptureThreads { commands, waiting, threads: Vec::new(), running, stop }, messages))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Starts them.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(&mut self) -> std::io::Result<()> {
        for shard in self.waiting.drain(..) {
            let thread = std::thread::Builder::new().name(format!("capture-{}", shard.number));
            self.threads.push(thread.spawn(move || shard.run())?);
        }
        Ok(())
    }

    /// Hands each what was decided.
    pub fn direct(&self, directive: &Directive) {
        for thread in &self.commands {
            // A thread that has ended has said so.
            let _ = thread.send(Command::Direct(directive.clone()));
        }
    }

    /// Hands each new settings.
    pub fn reconfigure(&self, settings: &Arc<detect::Settings>) {
        for thread in &self.commands {
            let _ = thread.send(Command::Reconfigure(settings.clone()));
        }
    }

    /// One has ended; whether others are left.
    pub fn ended(&mut self) -> bool {
        self.running = self.running.saturating_sub(1);
        self.running > 0
    }

    /// Stops them, and waits until they have ended.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A panic in a capture thread has been printed; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

fn open_sources(config: &Config, clock: Clock) -> Result<Vec<Box<dyn Source>>, CaptureError> {
    Ok(match config.capture.backend {
        Backend::Ring => Ring::open_all(config, clock)?.into_iter().map(|ring| Box::new(ring) as _).collect(),
        Backend::Pnet => vec![Box::new(Pnet::open(config, clock)?)],
    })
}
