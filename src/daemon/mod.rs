//! The daemon: threads, channels, reload, watchdog, shutdown.
//!
//! Start-up opens what needs privileges (the kernel's table, packet sockets, the admin socket), puts the table right
//! before the first packet is looked at, takes over whom the kernel acts on already, and only then begins. Stopping
//! stops looking: nothing in the kernel changes.

mod address_probe;
mod capture_threads;
mod confine;
mod control;
mod enforcement;
mod fuse_reports;
mod gateway;
mod greylist;
mod history;
mod interface_health;
mod kernel_events;
pub mod memory;
mod orders;
mod record_limiter;
mod recorder;
mod renamed;
mod repair_log;
mod servers;
mod shard;
mod status;
mod tunnels;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::api;
use crate::api::orders::QUEUE;
use crate::capture;
use crate::config::Config;
use crate::firewall;
use crate::metrics::exporter;
use crate::published::Published;
use crate::respond::Responder;
use crate::sys::clock::Clock;
use crate::track::{HashKey, Shared};
use address_probe::AddressProbes;
use capture_threads::CaptureThreads;
use control::{Control, End};
use enforcement::Enforcement;
use fuse_reports::FuseReports;
use gateway::Gateway;
use greylist::Greylist;
use interface_health::InterfaceHealth;
use recorder::Recorder;
use servers::Servers;
use tunnels::Tunnels;

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
    let clock = Clock::start();
    let started = clock.now();

    // Open the kernel's table and the history.
    let gateway = Gateway::new(path, written, started)?;
    let site = gateway.site();
    let config = &site.config;
    let plan = gateway.plan(&[], started)?;
    let (enforcement, found) = Enforcement::open(&plan, clock)?;
    let kept = config.observe.history.clone();
    let mut history = kept.as_deref().and_then(history::open);
    if let Some(history) = &mut history {
        history::follow_clock(history, clock);
    }

    // Take over what they hold.
    if !found.acted.is_empty() {
        tracing::warn!(hosts = found.acted.len(), "took over hosts that the kernel acts on already");
    }
    let hash_key = HashKey::new(seed());
    let shared = Arc::new(Shared::new(site.detect.capacities.addresses, site.detect.contact_memory, hash_key));
    let published = Arc::new(Published::new(Arc::new(site.clone())));
    published.set_ruleset(plan.text(true));
    let mut responder = Responder::new(site.respond.clone());
    let mut effects = Vec::new();
    let (acted, machine) = (&found.acted, gateway.machine());
    let ended = history::take_over(acted, machine, history.as_ref(), &mut responder, &published, started, &mut effects);

    let learnt = history.as_ref().map(crate::store::Store::servers).transpose().unwrap_or_else(|error| {
        tracing::error!("the history's servers cannot be read: {error}");
        None
    });
    let greylist = Greylist::new(learnt.unwrap_or_default(), config, started);

    // Open the other things that need privileges, and give these up.
    let (capture, messages) = CaptureThreads::open(config, &site.detect, (&shared, hash_key), &published, clock)?;
    let servers = Servers::open(config)?;
    confine::confine(config, gateway.path(), servers.group());

    // Spawn threads: all start without privileges.
    let recorder = Recorder::start(kept.as_deref(), history, config, published.clone(), clock)
        .map_err(system("starting the history"))?;
    recorder.forget(ended);
    let mut control = Control {
        clock,
        started,
        published: published.clone(),
        shared: shared.clone(),
        responder,
        gateway,
        enforcement,
        recorder,
        capture,
        probes: AddressProbes::new(shared, published.clone()),
        interface_health: InterfaceHealth::default(),
        fuse_reports: FuseReports::default(),
        greylist,
        tunnels: Tunnels::default(),
    };
    control.capture.start().map_err(system("starting a capture thread"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("starting the control task"))?;
    tracing::info!(
        mode = %config.gateway.mode,
        interfaces = control.gateway.present().join(","),
        shards = control.capture.len(),
        "watching; {} hosts are acted on",
        found.acted.len()
    );
    control.carry_out(effects);

    // Serve until the end.
    let end = runtime.block_on(async {
        let (order_sender, orders) = mpsc::channel(QUEUE);
        let _serving = servers.serve(&published, order_sender)?;
        control.run(messages, orders).await.map_err(system("listening to signals"))
    });
    control.capture.stop();
    runtime.shutdown_timeout(Duration::from_secs(2));
    servers::remove_socket(&config.observe.socket);
    match end? {
        End::Signal => Ok(()),
        End::NoCapture => Err(Error::NoCapture),
    }
}

/// A hash key that nobody outside can guess.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hasher from the operating system's random numbers.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
