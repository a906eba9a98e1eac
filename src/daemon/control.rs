//! The control task: the one place that decides and acts.
//!
//! Alarms, orders, signals and time come in; the kernel, the record, the shards and the picture go out. Alarms are
//! rare, so everything here may take its microseconds: a netlink call, a row in the history. What could take longer
//! (the disk, a scrape) is done by others.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::api::explain::NOT_SHUT;
use crate::api::host::HeldView;
use crate::api::orders::Request;
use crate::config::{self, Config};
use crate::daemon::address_probe;
use crate::daemon::history;
use crate::daemon::interface_health::InterfaceHealth;
use crate::daemon::machine::{Machine, core_settings};
use crate::daemon::shard::{Command, Message};
use crate::detect::{Directive, Event};
use crate::firewall::{self, Firewall, Plan};
use crate::published::Published;
use crate::respond::inquiry::Inquiries;
use crate::respond::{Block, Decision, Effect, Responder, Verdict};
use crate::store::StoreHandle;
use crate::suspect::{Place, Suspect, Who};
use crate::sys::clock::Clock;
use crate::sys::readiness;
use crate::sys::route::Changes;
use crate::time::Timestamp;
use crate::track::Shared;
use crate::wire::{Address, Link, Mac};

/// The kernel lets go of a host so long after the responder would have: it is the daemon's death that this is for.
const SLACK: Duration = Duration::from_secs(5);

/// The kernel's table is looked over this often, even if nobody reported a change.
const LOOK_OVER: Duration = Duration::from_secs(30);

/// What is held is shown and kept at once, but no oftener than this (and then with the next tick): there may be a
/// thousand of them, and each alarm of a storm adds one.
const SHOW_HELD: Duration = Duration::from_millis(250);

/// The control task's state.
pub struct Control {
    pub(super) config_path: PathBuf,
    /// As written; the machine's facts are filled in by [`Machine::complete`].
    pub(super) written: Config,
    pub(super) machine: Machine,
    /// The devices that have or had a configured name.
    pub(super) protected: super::renamed::Protected,
    pub(super) clock: Clock,
    pub(super) started: Timestamp,
    pub(super) published: Arc<Published>,
    pub(super) shared: Arc<Shared>,
    pub(super) responder: Responder,
    pub(super) firewall: Firewall,
    pub(super) firewall_error: Option<String>,
    pub(super) looked_over: Timestamp,
    /// Tags are part of a place: frames with tags were seen.
    pub(super) tagged: bool,
    pub(super) counters: firewall::Counters,
    pub(super) shards: Vec<mpsc::Sender<Command>>,
    pub(super) interface_health: InterfaceHealth,
    pub(super) config: crate::published::status::ConfigView,
    pub(super) repairs: Vec<crate::published::status::Repairs>,
    /// Deletions of the whole table, and when those of the last seconds were.
    pub(super) deletions: Option<crate::published::status::Deletions>,
    pub(super) deleted_at: std::collections::VecDeque<Timestamp>,
    pub(super) store: Option<StoreHandle>,
    /// The disk did not keep up with the last decision.
    pub(super) disk_late: bool,
    /// Routes have changed since the machine was last looked at.
    pub(super) routes_changed: bool,
    pub(super) throttled: super::fuse_reports::Reported,
    /// What waits for a segment's word.
    pub(super) inquiries: Inquiries,
    /// Suspects whose link recently reported that they do not have their address.
    pub(super) spoofed: HashMap<Suspect, Timestamp>,
    /// Addresses whose links were recently asked who has them, before anything was reported of them.
    pub(super) asked: address_probe::Asked,
    pub(super) forgeries: address_probe::Forgeries,
    /// Cards that forward for others.
    pub(super) forwarders: BTreeSet<(Link, Mac)>,
    pub(super) effects: Vec<Effect>,
    /// What is held may differ from what is shown.
    pub(super) held_changed: bool,
    pub(super) held_shown: Timestamp,
    pub(super) restraint: super::record_limiter::RecordLimiter,
    /// Tunnels that protected hosts lately began to use, the latest first.
    pub(super) tunnels: std::collections::VecDeque<crate::published::status::TunnelView>,
}

/// What ends the control task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal asked for it.
    Signal,
    /// No capture thread is left.
    NoCapture,
}

impl Control {
    /// Runs until a signal, or until no capture thread is left.
    ///
    /// # Errors
    /// The signals cannot be listened to.
    pub async fn run(
        mut self,
        mut messages: Receiver<Message>,
        mut requests: Receiver<Request>,
    ) -> std::io::Result<End> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut listening = tokio::time::interval(address_probe::POLL);
        listening.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running = self.shards.len();
        let mut drift = readiness::register(self.firewall.watch().map_err(std::io::Error::other)?)?;
        let mut changes = readiness::register(Changes::open(true).map_err(std::io::Error::other)?)?;
        self.learn_neighbours();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            // In no fixed order: a storm of alarms must not hold up the watchdog, the engineer or the repair of the table.
            tokio::select! {
                Some(message) = messages.recv() => {
                    self.message(message, &mut running);
                    if running == 0 {
                        return Ok(End::NoCapture);
                    }
                }
                Some(request) = requests.recv() => self.request(request),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    let reloading = [sd_notify::NotifyState::Reloading, sd_notify::NotifyState::monotonic_usec_now()?];
                    let _ = sd_notify::notify(&reloading);
                    match self.reload() {
                        Ok(done) => tracing::info!("{done}"),
                        Err(error) => tracing::error!("the configuration was refused, the running one stays: {error}"),
                    }
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                }
                ready = drift.readable_mut() => {
                    let mut ready = ready?;
                    let found = ready.get_inner_mut().drain();
                    ready.clear_ready();
                    self.drifted(found);
                }
                ready = changes.readable_mut() => {
                    let mut ready = ready?;
                    let found = ready.get_inner_mut().drain();
                    ready.clear_ready();
                    self.changed(found);
                }
                _ = listening.tick(), if !self.inquiries.is_empty() => self.hear_segments(),
                _ = tick.tick() => self.tick(),
            }
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.show_held();
        tracing::info!("stopping; what is contained stays contained");
        Ok(End::Signal)
    }

    fn message(&mut self, message: Message, running: &mut usize) {
        match message {
            Message::Event(Event::SmbNegotiated { host, as_server, dialect, signing, encryption }) => {
                self.published.host_table.speaks(host, as_server, dialect, signing, encryption);
            }
            Message::Event(Event::Unproved { address, peer, attachment }) => {
                self.ask_early(address, attachment);
                self.note_forgery(address, peer, attachment);
            }
            Message::Event(Event::Forwards { link, card, does }) => self.forwards(link, card, does),
            Message::Event(Event::SmbCondition { server, condition }) => {
                tracing::warn!(%server, condition = condition.label(), "{server} {}", condition.meaning());
            }
            Message::Event(event) => {
                if let Event::Alarm(alarm) = &event {
                    self.published.control_counters.alarmed(alarm);
                    self.note_tunnel(alarm);
                }
                if let Some(event) = self.inquire(event) {
                    self.respond(&event);
                }
            }
            Message::Statistics { shard, statistics } => {
                self.interface_health.statistics(shard, &statistics);
            }
            Message::Failed { shard, error } => {
                tracing::error!(shard, "a capture thread has ended: {error}");
                *running = running.saturating_sub(1);
            }
        }
    }

    /// Has the responder decide on an event.
    pub(super) fn respond(&mut self, event: &Event) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Event::Alarm(alarm) = event {
            self.responder.tick(alarm.at, &mut effects);
        }
        self.responder.event(event, &mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
    }

    /// Carries out what the responder wants, in its order: the kernel before the record, the record before the shards.
    pub(super) fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        self.held_changed |= !effects.is_empty();
        self.admit_the_unreachable(effects);
        let now = self.clock.now();
        let (restraint, published) = (&mut self.restraint, &self.published);
        effects.retain(|action| match action {
            Effect::Record(decision) if !restraint.keeps(decision, now) => {
                published.show(decision);
                false
            }
            _ => true,
        });
        if let Some(store) = &self.store {
            history::write_ahead(store, effects, &mut self.disk_late);
        }
        let mut told = self.enforce_together(effects);
        for action in effects.drain(..) {
            match action {
                Effect::Enforce(_) if told > 0 => told -= 1,
                Effect::Enforce(block) => {
                    let orders = self.orders_of(&block);
                    if let Err(error) = self.firewall.act_many(&orders) {
                        tracing::error!(host = %block.host, verdict = %block.verdict, "the kernel was not told: {error}");
                        self.firewall_error = Some(error.to_string());
                    }
                }
                Effect::Lift { host, places } => {
                    for place in places {
                        if let Err(error) = self.firewall.lift(place) {
                            tracing::error!(%host, "the kernel was not told to let go: {error}");
                            self.firewall_error = Some(error.to_string());
                        }
                    }
                }
                Effect::Record(decision) => self.record(&decision),
                Effect::Direct(directive) => self.direct(&directive),
            }
        }
        if self.clock.now().since(self.held_shown) >= SHOW_HELD {
            self.show_held();
        }
    }

    /// Shows and keeps what is held, if that may have changed.
    pub(super) fn show_held(&mut self) {
        if !std::mem::take(&mut self.held_changed) {
            return;
        }
        self.held_shown = self.clock.now();
        let known = self.published.held();
        let held: Vec<HeldView> = self.responder.held().map(|held| history::in_words(held, &known)).collect();
        if *known != held {
            if let Some(store) = &self.store {
                store.set_held(held.clone());
            }
            self.published.set_held(held);
        }
    }

    fn timeout(&self, until: Option<Timestamp>) -> Option<Duration> {
        let now = self.clock.now();
        until.map(|until| until.since(now) + SLACK)
    }

    /// Tells the kernel of many hosts at once, for each transaction costs the kernel a millisecond: an order for a
    /// network, a start that finds ten thousand. Gives of how many, counted from the first; those behind a host that is
    /// let go wait for their turn, and if one is refused each is told by itself.
    fn enforce_together(&mut self, effects: &[Effect]) -> usize {
        let blocks: Vec<&Block> = effects
            .iter()
            .take_while(|action| !matches!(action, Effect::Lift { .. }))
            .filter_map(|action| match action {
                Effect::Enforce(block) => Some(block),
                _ => None,
            })
            .collect();
        let orders: Vec<firewall::Order> = blocks.iter().flat_map(|block| self.orders_of(block)).collect();
        if blocks.len() > 1 && self.firewall.act_many(&orders).is_ok() { blocks.len() } else { 0 }
    }

    /// A block as the kernel is given it: place by place.
    fn orders_of(&self, block: &Block) -> Vec<firewall::Order> {
        let timeout = self.timeout(block.until);
        let order = |place: &Place| firewall::Order {
            place: *place,
            verdict: block.verdict,
            timeout,
            ports: block.ports.clone(),
        };
        let may = |place: &&Place| match place.source {
            Who::Address(address) => self.responder.exemption(address).is_none(),
            Who::Card(_) | Who::Network(_) => true,
        };
        block.places.iter().filter(may).filter(|place| self.firewall.reaches(**place)).map(order).collect()
    }

    /// No block on paper: of what the kernel cannot match, the record says that it is not shut, and why.
    fn admit_the_unreachable(&self, effects: &mut [Effect]) {
        let mut unreachable: Vec<Address> = Vec::new();
        for action in effects {
            match action {
                Effect::Enforce(block) if !block.places.iter().any(|place| self.firewall.reaches(*place)) => {
                    unreachable.push(block.host);
                }
                Effect::Record(decision)
                    if unreachable.contains(&decision.host)
                        && matches!(decision.decision, Verdict::Contain | Verdict::Isolate) =>
                {
                    decision.enforced = false;
                    decision.reason.push_str(NOT_SHUT);
                    decision.reason.push_str(
                        "its packets cannot be matched here (behind a second VLAN tag or in PPPoE, and behind a router)",
                    );
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, decision: &Decision) {
        let Decision { at, host, decision: verdict, score, destinations, step, enforced, reason, .. } = decision;
        if matches!(verdict, Verdict::Contain | Verdict::Isolate) && decision.grade.is_some() {
            self.published.control_counters.enforced(self.clock.now().since(*at));
        }
        match verdict {
            Verdict::Contain | Verdict::Isolate | Verdict::Hold => tracing::warn!(
                %host, decision = %verdict, %score, destinations, step, enforced, "{verdict} {host}: {reason}"
            ),
            Verdict::Watch | Verdict::Throttle | Verdict::Release => {
                tracing::info!(%host, decision = %verdict, %score, destinations, enforced, "{verdict} {host}: {reason}");
            }
        }
        self.published.record(decision);
    }

    pub(super) fn direct(&self, directive: &Directive) {
        for shard in &self.shards {
            // A thread that has ended has said so.
            let _ = shard.send(Command::Direct(directive.clone()));
        }
    }

    fn tick(&mut self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.responder.tick(now, &mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
        if !self.tagged && self.shared.is_tagged() {
            tracing::info!("frames with VLAN tags come in: the kernel acts on each VLAN by itself");
            self.tagged = true;
            self.looked_over = Timestamp::ZERO;
        }
        if self.firewall_error.is_some() || now.since(self.looked_over) >= LOOK_OVER {
            self.look_over();
        }
        if self.routes_changed {
            self.survey();
        }
        self.report_throttled();
        self.published.host_table.trim(now, self.published.config().detect.decay);
        self.refresh();
        crate::log::report_suppressed();
    }

    /// Puts the kernel's table right.
    pub(super) fn look_over(&mut self) {
        let now = self.clock.now();
        self.looked_over = now;
        let outcome = self.plan().and_then(|plan| {
            self.published.set_ruleset(plan.text(true));
            self.firewall.reconcile(&plan)
        });
        match outcome {
            Ok(done) => {
                if self.firewall_error.take().is_some() {
                    tracing::info!("the kernel's table is in place again");
                }
                if !done.restored.is_empty() {
                    tracing::warn!(
                        hosts = done.restored.len(),
                        "hosts were missing from the kernel, and were put back"
                    );
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.firewall_error.as_deref() != Some(&text) {
                    tracing::error!("the kernel's table is not in place: {text}");
                }
                self.firewall_error = Some(text);
            }
        }
    }

    pub(super) fn plan(&self) -> Result<Plan, firewall::Error> {
        let mut plan = self.plan_for(&self.written)?;
        let by_command = self.responder.by_command();
        if !by_command.is_empty() {
            let mut exempt = plan.exempt().to_vec();
            exempt.extend_from_slice(by_command);
            plan.set_exempt(exempt);
        }
        Ok(plan)
    }

    /// The plan by a configuration, on the devices that are protected now.
    fn plan_for(&self, written: &Config) -> Result<Plan, firewall::Error> {
        let config = self.completed(written);
        let present = self.machine.present(&config.gateway.interfaces);
        let mut plan = Plan::new(&config, &present, self.clock.now())?;
        plan.set_tagged(self.tagged);
        Ok(plan)
    }

    /// A configuration with what only the machine knows filled in, renamed interfaces under their new names too.
    fn completed(&self, written: &Config) -> Config {
        let mut written = written.clone();
        written.gateway.interfaces = self.protected.names(&written.gateway.interfaces);
        self.machine.complete(&written)
    }

    /// The never-contain list was changed by command.
    pub(super) fn exemptions_changed(&mut self) {
        self.look_over();
    }

    /// Hands changed settings to responder and shards.
    pub(super) fn settings_changed(&mut self) {
        let mut config = self.completed(&self.written);
        config.gateway.interfaces.clone_from(&self.written.gateway.interfaces);
        let (detect, respond) = core_settings(&config);
        let mut effects = std::mem::take(&mut self.effects);
        self.responder.reconfigure(respond, self.clock.now(), &mut effects);
        self.carry_out(&mut effects);
        self.effects = effects;
        for shard in &self.shards {
            let _ = shard.send(Command::Reconfigure(detect.clone()));
        }
        if let Some(store) = &self.store {
            store.set_limits(history::limits(&config));
        }
        self.published.set_config(Arc::new(config));
    }

    /// Reads the configuration again; says what became of it.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        let outcome = config::load(&self.config_path).map_err(|errors| errors.to_string()).and_then(|(config, _)| {
            if config.gateway.interfaces == self.written.gateway.interfaces && config.capture == self.written.capture {
                Ok(config)
            } else {
                Err("gateway.interfaces and [capture] take effect at a restart only: `systemctl restart firedoor` \
                     (what is contained stays contained)"
                    .to_owned())
            }
        });
        let outcome = outcome.and_then(|config| {
            let plan = self.plan_for(&config).map_err(|error| error.to_string())?;
            self.firewall.check(&plan).map_err(|error| error.to_string())?;
            Ok(config)
        });
        match outcome {
            Ok(config) => {
                let now = self.clock.now();
                self.written = config;
                self.settings_changed();
                self.look_over();
                self.config.loaded_at = self.clock.now();
                self.config.reloads += 1;
                self.config.last_error = None;
                self.refresh();
                let begun = self.responder.switched().filter(|switched| switched.at >= now);
                Ok(match begun {
                    None => "the configuration was read again and is in force".to_owned(),
                    Some(begun) => format!(
                        "the configuration was read again and is in force; {begun} that monitor mode only counted are \
                         dropped from now on: `firedoor hosts --acted` lists them, `firedoor release` lets go"
                    ),
                })
            }
            Err(error) => {
                self.config.failed_reloads += 1;
                self.config.last_error = Some(error.clone());
                self.refresh();
                Err(error)
            }
        }
    }
}
