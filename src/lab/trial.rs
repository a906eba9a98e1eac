//! One run of a worm in a network: with Firedoor on the gateway, or without.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::lab::Result;
use crate::lab::gateway::{Daemon, Setup};
use crate::lab::listener;
use crate::lab::plan::{Family, INFECTED, Plan, Segment, Shape};
use crate::lab::scene::Scene;
use crate::lab::session::SessionStats;
use crate::lab::worm::{Kind, Order, Worm, WormStats};
use crate::respond::{Decision, Mode, Verdict};
use crate::wire::Address;

/// How often a run looks at what has happened.
const LOOK: Duration = Duration::from_millis(50);
/// How long the daemon watches the network before the worm comes, so that it knows who is alive.
pub(super) const LEARNING: Duration = Duration::from_millis(2_600);

/// The most a trial's time can be compressed: past it, a scaled window would be shorter than the configuration allows.
pub const MOST_COMPRESSION: f64 = 30.0;

/// What is tried.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The worm.
    pub worm: Kind,
    /// Its attempts a second.
    pub rate: f64,
    /// Decides who is live, and whom the worm tries.
    pub seed: u64,
    /// IPv4 or IPv6.
    pub family: Family,
    /// Routed or bridged.
    pub shape: Shape,
    /// What the daemon is to do.
    pub mode: Mode,
    /// Live addresses of the ward, in hundredths.
    pub live_percent: u8,
    /// How long the worm is let loose, in seconds.
    pub seconds: f64,
    /// Time runs so many times faster (1 to [`MOST_COMPRESSION`]): the worm's rate, the score's decay and the fan-out
    /// windows are scaled alike.
    pub compression: f64,
}

impl Trial {
    /// A worm at its own pace for `seconds`, on a routed IPv4 network with 30 % live addresses, in enforce mode.
    #[must_use]
    pub fn new(worm: Kind, seed: u64, seconds: f64) -> Self {
        Trial {
            worm,
            rate: worm.rate(),
            seed,
            family: Family::Ipv4,
            shape: Shape::Routed,
            mode: Mode::Enforce,
            live_percent: 30,
            seconds,
            compression: 1.0,
        }
    }

    /// The address plan it is tried on.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(self.family, self.shape, self.live_percent, self.seed)
    }

    /// The worm's orders.
    #[must_use]
    pub fn order(&self) -> Order {
        Order { rate: self.rate * self.compression, ..Order::new(self.worm, self.seed) }
    }

    /// How the daemon is set up for it.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let setup = Setup::new(self.mode, &self.plan());
        if self.compression <= 1.0 {
            return setup;
        }
        let defaults = crate::detect::Settings::default();
        let scaled = |length: Duration| format!("{}ms", length.div_f64(self.compression).as_millis().max(1000));
        let windows: Vec<toml::Value> = defaults
            .lateral_windows
            .iter()
            .map(|window| {
                toml::Value::Table(toml::Table::from_iter([
                    ("within".to_owned(), scaled(window.length).into()),
                    ("contacts".to_owned(), i64::from(window.limit).into()),
                ]))
            })
            .collect();
        setup.with("detect", "decay", scaled(defaults.decay)).with("detect", "lateral_windows", windows)
    }
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    /// The network is being built.
    Building,
    /// The hosts speak, the daemon learns who is alive, the clinical sessions begin.
    Learning,
    /// The worm is loose.
    Loose {
        /// For so many seconds.
        seconds: f64,
        /// Distinct addresses it tried.
        tried: u32,
        /// First contacts that reached the victims.
        reached: u32,
        /// What is decided about its host.
        verdict: Option<Verdict>,
    },
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What the worm did, by its own account.
    pub worm_stats: WormStats,
    /// First contacts that reached the victims, counted on their side.
    pub reached: u32,
    /// The time from the worm's start to the first decision to contain or isolate its host, in seconds.
    pub decided_after: Option<f64>,
    /// The time from the worm's start to the last first contact that reached the victims, in seconds.
    pub last_reached_after: Option<f64>,
    /// The daemon's decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// The clinical sessions.
    pub sessions: Vec<SessionStats>,
}

impl Outcome {
    /// The first decision to contain or isolate `host`.
    #[must_use]
    pub fn containment(&self, host: Address) -> Option<&Decision> {
        self.decisions.iter().find(|act| act.host == host && shuts(act.decision))
    }
}

/// A count of addresses of one ward.
fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Whether a verdict cuts a host off from lateral services.
const fn shuts(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Contain | Verdict::Isolate)
}

/// Runs the trial; with the daemon if it has a `directory` for it. `program` is a `firedoor` executable. Call it on a
/// thread that lives as long as the run: processes end with the thread that started them.
pub fn run(trial: &Trial, program: &Path, directory: Option<&Path>, progress: &dyn Fn(Stage)) -> Result<Outcome> {
    progress(Stage::Building);
    let scene = Scene::build(program, trial.plan(), 1, &listener::WARD_PORTS)?;
    let mut daemon = match directory {
        Some(directory) => Some(Daemon::start(program, &scene.network, directory, &trial.setup())?),
        None => None,
    };
    progress(Stage::Learning);
    let began = Instant::now();
    let sessions = scene.work()?;
    while began.elapsed() < LEARNING {
        listener::speak(&scene.network, 1)?;
        std::thread::sleep(LOOK);
    }

    let source = scene.network.plan.address(Segment::Office, INFECTED);
    let host = Address::from(source);
    let worm = Worm::release(&scene.network, 0, trial.order())?;
    let loose = Instant::now();
    while loose.elapsed().as_secs_f64() < trial.seconds {
        std::thread::sleep(LOOK);
        let decisions = match &mut daemon {
            Some(daemon) => {
                daemon.check_running()?;
                daemon.decisions()?
            }
            None => Vec::new(),
        };
        progress(Stage::Loose {
            seconds: loose.elapsed().as_secs_f64(),
            tried: worm.worm_stats().destinations,
            reached: number(scene.first_contacts(&scene.counter.arrivals(), source).len()),
            verdict: decisions.iter().rev().find(|act| act.host == host).map(|act| act.decision),
        });
    }
    let worm_stats = worm.end()?;
    let decisions = daemon.as_ref().map(Daemon::decisions).transpose()?.unwrap_or_default();
    let sessions = sessions.iter().map(super::session::Session::stats).collect();
    let plan = scene.network.plan.clone();
    let arrivals = scene.counter.finish();
    let contacts = super::scene::first_contacts(&plan, &arrivals, source);
    let last = contacts.last().and_then(|last| arrivals.iter().find(|arrival| arrival.destination == *last));
    if let Some(daemon) = daemon {
        daemon.stop()?;
    }
    let mut outcome = Outcome {
        worm_stats,
        reached: number(contacts.len()),
        decided_after: None,
        last_reached_after: last.map(|arrival| arrival.at.since(worm_stats.began).as_secs_f64()),
        decisions,
        sessions,
    };
    outcome.decided_after = outcome.containment(host).map(|act| act.at.since(worm_stats.began).as_secs_f64());
    Ok(outcome)
}
