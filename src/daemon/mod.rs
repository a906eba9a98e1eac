//! The daemon: threads, channels, reload, watchdog, shutdown.
//!
//! Start-up opens what needs privileges (the kernel's table, packet sockets, the admin socket), puts the table right
//! before the first packet is looked at, takes over whom the kernel acts on already, and only then begins. Stopping
//! stops looking: nothing in the kernel changes.

mod address_probe;
mod confine;
mod control;
mod fuse_reports;
mod history;
mod interface_health;
mod kernel_events;
pub mod machine;
mod memory;
mod orders;
mod record_limiter;
mod renamed;
mod shard;
mod status;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::api::peer;
use crate::api::{self, orders as order};
use crate::capture::{self, CapturePolicy, Pnet, Ring, Source};
use crate::config::Config;
use crate::config::model::Backend;
use crate::detect::Detector;
use crate::firewall::{self, Firewall, Plan};
use crate::metrics::Metrics;
use crate::metrics::exporter;
use crate::published::Published;
use crate::published::status::ConfigView;
use crate::respond::Responder;
use crate::respond::inquiry::Inquiries;
use crate::store::StoreHandle;
use crate::sys::clock::Clock;
use crate::time::Timestamp;
use crate::track::{HashKey, Shared};
use control::{Control, End};
use machine::{Machine, core_settings};
use shard::Shard;

/// Messages from the capture threads that may wait for the control task.
const MESSAGES: usize = 4096;

/// Why the daemon could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No interface is configured.
    #[error("no interface is protected: name the inside interfaces in gateway.interfaces")]
    NoInterfaces,
    /// None of the configured interfaces exists.
    #[error("none of the protected interfaces exists: {0}; `ip link` lists those that do")]
    NoneExists(String),
    /// The kernel's table.
    #[error(transparent)]
    Firewall(#[from] firewall::Error),
    /// A packet socket.
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    /// The admin socket.
    #[error(transparent)]
    Socket(#[from] api::socket::BindError),
    /// The metrics address.
    #[error(transparent)]
    Metrics(#[from] exporter::BindError),
    /// A mistake among the metrics.
    #[error("metrics: {0}")]
    Registry(#[from] prometheus::Error),
    /// The operating system.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Every capture thread has ended.
    #[error("no capture thread is left: nothing is watched any more (what is contained stays contained)")]
    NoCapture,
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::System { what, source }
}

/// Runs the daemon with this configuration until a signal ends it. `path` is where a reload reads it again.
///
/// # Errors
/// It could not start, or it can no longer watch.
pub fn run(path: PathBuf, written: Config) -> Result<(), Error> {
    if written.gateway.interfaces.is_empty() {
        return Err(Error::NoInterfaces);
    }
    let clock = Clock::start();
    let started = clock.now();
    let machine = Machine::now();
    let mut protected = renamed::Protected::default();
    protected.look(&written.gateway.interfaces, &machine.names);
    let present = machine.present(&written.gateway.interfaces);
    if present.is_empty() {
        return Err(Error::NoneExists(written.gateway.interfaces.join(", ")));
    }
    let config = machine.complete(&written);
    let (detect, respond) = core_settings(&config);

    let mut firewall = Firewall::open()?;
    let plan = Plan::new(&config, &present, started)?;
    let found = firewall.reconcile(&plan)?;
    let mut responder = Responder::new(respond);
    let mut effects = Vec::new();
    if !found.acted.is_empty() {
        tracing::warn!(hosts = found.acted.len(), "took over hosts that the kernel acts on already");
    }

    let hash_key = HashKey::new(seed());
    let shared = Arc::new(Shared::new(detect.capacities.addresses, detect.contact_memory, hash_key));
    let published = Arc::new(Published::new(Arc::new(config.clone())));
    published.set_ruleset(plan.text(true));
    let history = config.observe.history.clone();
    let mut opened = history.as_deref().and_then(history::open);
    if let Some(store) = &mut opened {
        history::follow_clock(store, clock);
    }
    let ended =
        history::take_over(&found.acted, &machine, opened.as_ref(), &mut responder, &published, started, &mut effects);
    let shards = match config.capture.backend {
        Backend::Ring => config.capture.shards.max(1),
        Backend::Pnet => 1,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (message_sender, messages) = mpsc::channel(MESSAGES);
    let mut commands = Vec::new();
    let mut ready = Vec::new();
    for (number, source) in open_sources(&config, clock)?.into_iter().enumerate() {
        let (command_sender, command_receiver) = std::sync::mpsc::channel();
        commands.push(command_sender);
        ready.push(Shard {
            number,
            shards,
            source,
            policy: CapturePolicy::new(&detect.lateral, detect.inspect_smb),
            detector: Detector::new(detect.clone(), shared.clone(), shards, hash_key),
            shared: shared.clone(),
            published: published.clone(),
            counters: published.counters.shard(number).unwrap_or_default(),
            clock,
            commands: command_receiver,
            messages: message_sender.clone(),
            stop: stop.clone(),
        });
    }
    drop(message_sender);

    let group = peer::group_id(&config.observe.group);
    if group.is_none() {
        tracing::warn!(group = config.observe.group, "no such group: only root may use the admin socket");
    }
    let socket = api::socket::bind(&config.observe.socket, group)?;
    let exporter = config.observe.metrics.map(exporter::bind).transpose()?;

    confine::confine(&config, &path, group);

    // Its thread starts after the privileges are gone, like all others.
    let store = history
        .map(|path| StoreHandle::start(&path, opened, history::limits(&config)).map_err(system("starting the history")))
        .transpose()?;

    if let Some(store) = &store {
        for suspect in ended {
            store.forget(suspect);
        }
    }

    let threads = ready
        .into_iter()
        .map(|shard| {
            let name = format!("capture-{}", shard.number);
            std::thread::Builder::new()
                .name(name)
                .spawn(move || shard.run())
                .map_err(system("starting a capture thread"))
        })
        .collect::<Result<Vec<_>, _>>()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the control task"))?;
    tracing::info!(
        mode = %config.gateway.mode,
        interfaces = present.join(","),
        shards,
        "watching; {} hosts are acted on",
        found.acted.len()
    );
    let mut control = Control {
        config: ConfigView { path: path.display().to_string(), loaded_at: started, ..ConfigView::default() },
        config_path: path,
        written,
        protected,
        machine,
        clock,
        started,
        published: published.clone(),
        shared,
        responder,
        firewall,
        firewall_error: None,
        looked_over: started,
        tagged: false,
        counters: firewall::Counters::default(),
        shards: commands,
        interface_health: interface_health::InterfaceHealth::default(),
        repairs: Vec::new(),
        deletions: None,
        deleted_at: std::collections::VecDeque::new(),
        store,
        disk_late: false,
        inquiries: Inquiries::default(),
        spoofed: HashMap::new(),
        asked: address_probe::Asked::default(),
        forgeries: address_probe::Forgeries::default(),
        forwarders: BTreeSet::new(),
        routes_changed: false,
        throttled: fuse_reports::Reported::new(),
        effects: Vec::new(),
        held_changed: true,
        restraint: record_limiter::RecordLimiter::default(),
        tunnels: std::collections::VecDeque::new(),
        held_shown: Timestamp::ZERO,
    };
    control.carry_out(&mut effects);
    let end = runtime.block_on(async {
        let (order_sender, orders) = mpsc::channel(order::QUEUE);
        let (_stop_serving, serving) = watch::channel(false);
        api::spawn(socket, published.clone(), order_sender, group, serving.clone())
            .map_err(system("serving the admin API"))?;
        if let Some(listener) = exporter {
            exporter::spawn(listener, published.clone(), Metrics::new(&published)?, serving)
                .map_err(system("serving metrics"))?;
        }
        control.run(messages, orders).await.map_err(system("listening to signals"))
    });
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        // A panic in a capture thread has been printed; there is nothing left to do for it.
        let _ = thread.join();
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    remove_socket(&config.observe.socket);
    match end? {
        End::Signal => Ok(()),
        End::NoCapture => Err(Error::NoCapture),
    }
}

fn open_sources(config: &Config, clock: Clock) -> Result<Vec<Box<dyn Source>>, Error> {
    Ok(match config.capture.backend {
        Backend::Ring => Ring::open_all(config, clock)?.into_iter().map(|ring| Box::new(ring) as _).collect(),
        Backend::Pnet => vec![Box::new(Pnet::open(config, clock)?)],
    })
}

/// A hash key that nobody outside can guess.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hasher from the operating system's random numbers.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn remove_socket(path: &Path) {
    // A stale socket is replaced at the next start anyway.
    let _ = std::fs::remove_file(path);
}
