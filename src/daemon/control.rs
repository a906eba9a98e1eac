//! The control task: the one place that decides and acts.
//!
//! Alarms, orders, signals and time come in; the kernel, the record, the shards and what is published go out. Alarms are
//! rare, so everything here may take its microseconds: a netlink call, a row in the history. What could take longer
//! (the disk, a scrape) is done by others.
//!
//! [`Control::run`] waits for what comes in, the responder decides, and each effect is carried out by the owner of what it
//! touches: the kernel by [`Enforcement`], the record by [`Recorder`], the shards by [`CaptureThreads`].

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::api::orders::Request;
use crate::daemon::address_probe::{self, AddressProbes, Probed, SpoofedRecord};
use crate::daemon::capture_threads::CaptureThreads;
use crate::daemon::enforcement::Enforcement;
use crate::daemon::fuse_reports::{self, FuseReports};
use crate::daemon::gateway::Gateway;
use crate::daemon::greylist::Greylist;
use crate::daemon::interface_health::InterfaceHealth;
use crate::daemon::recorder::Recorder;
use crate::daemon::shard::Message;
use crate::daemon::tunnels::Tunnels;
use crate::detect::{Directive, Event};
use crate::published::Published;
use crate::respond::{Effect, Responder};
use crate::sys::clock::Clock;
use crate::sys::readiness;
use crate::sys::route::Changes;
use crate::time::Timestamp;
use crate::track::Shared;

/// The control task's state: who decides, and who carries out.
pub(super) struct Control {
    pub clock: Clock,
    pub started: Timestamp,
    pub published: Arc<Published>,
    pub shared: Arc<Shared>,
    pub responder: Responder,
    pub gateway: Gateway,
    pub enforcement: Enforcement,
    pub recorder: Recorder,
    pub capture: CaptureThreads,
    pub probes: AddressProbes,
    pub interface_health: InterfaceHealth,
    pub fuse_reports: FuseReports,
    pub greylist: Greylist,
    pub tunnels: Tunnels,
}

/// What ends the control task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
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
        &mut self,
        mut messages: Receiver<Message>,
        mut requests: Receiver<Request>,
    ) -> std::io::Result<End> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut probing = tokio::time::interval(address_probe::POLL);
        probing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drift = readiness::register(self.enforcement.watch().map_err(std::io::Error::other)?)?;
        let mut changes = readiness::register(Changes::open(true).map_err(std::io::Error::other)?)?;
        self.learn_neighbours();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            // In no fixed order: a storm of alarms must not hold up the watchdog, the engineer or the repair of the table.
            tokio::select! {
                Some(message) = messages.recv() => {
                    if !self.message(message) {
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
                    self.table_changed(found);
                }
                ready = changes.readable_mut() => {
                    let mut ready = ready?;
                    let found = ready.get_inner_mut().drain();
                    ready.clear_ready();
                    self.network_changed(found);
                }
                _ = probing.tick(), if !self.probes.is_idle() => self.poll_probes(),
                _ = tick.tick() => self.tick(),
            }
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.recorder.keep_held(&self.responder);
        tracing::info!("stopping; what is contained stays contained");
        Ok(End::Signal)
    }

    /// Takes what a capture thread reports; gives whether any is left.
    fn message(&mut self, message: Message) -> bool {
        let now = self.clock.now();
        match message {
            Message::Event(Event::SmbNegotiated { host, as_server, dialect, signing, encryption }) => {
                self.published.host_table.speaks(host, as_server, dialect, signing, encryption);
            }
            Message::Event(Event::Unproved { address, peer, attachment }) => {
                self.probes.probe_early(address, attachment, self.gateway.machine(), now);
                if let Some(record) = self.probes.forgery(address, peer, attachment, now) {
                    self.record_spoofed(record);
                }
            }
            Message::Event(Event::Forwards { link, card, does }) => self.enforcement.forwards(link, card, does),
            Message::Event(Event::SmbCondition { server, condition }) => {
                tracing::warn!(%server, condition = condition.label(), "{server} {}", condition.meaning());
                self.published.host_table.gave_away(server, condition, now);
            }
            Message::Event(event) => {
                if self.greylist.take(&event, &mut self.enforcement) {
                    return true;
                }
                if let Event::Alarm(alarm) = &event {
                    self.published.control_counters.alarmed(alarm);
                    self.tunnels.note(alarm, |link| self.responder.settings().link_name(link));
                }
                if let Some(probed) = self.probes.check(event, &self.responder, self.gateway.machine(), now) {
                    self.probed(probed);
                }
            }
            Message::Statistics { shard, statistics } => {
                self.interface_health.statistics(shard, &statistics);
            }
            Message::Failed { shard, error } => {
                tracing::error!(shard, "a capture thread has ended: {error}");
                return self.capture.ended();
            }
        }
        true
    }

    fn poll_probes(&mut self) {
        for probed in self.probes.poll(self.gateway.machine(), self.clock.now()) {
            self.probed(probed);
        }
    }

    /// Acts on an event whose sender was asked for, or forgets what was reported of an address that was forged.
    fn probed(&mut self, probed: Probed) {
        match probed {
            Probed::Confirmed(event) => self.respond(&event),
            Probed::Spoofed { suspect, reason, record } => {
                self.capture.direct(&Directive::Spoofed { suspect, reason });
                if let Some(record) = record {
                    self.record_spoofed(record);
                }
            }
        }
    }

    fn record_spoofed(&mut self, record: SpoofedRecord) {
        let SpoofedRecord { alarm, signal, reason } = record;
        let record = self.responder.spoofed(&alarm, signal, reason);
        self.carry_out(vec![record]);
    }

    /// Has the responder decide on an event.
    fn respond(&mut self, event: &Event) {
        let mut effects = Vec::new();
        if let Event::Alarm(alarm) = event {
            self.responder.tick(alarm.at, &mut effects);
        }
        self.responder.event(event, &mut effects);
        self.carry_out(effects);
    }

    /// Carries out what the responder wants, in its order: the kernel before the record, the record before the shards.
    pub(super) fn carry_out(&mut self, mut effects: Vec<Effect>) {
        self.enforcement.mark_unmatched(&mut effects, &mut self.responder);
        self.recorder.write_ahead(&mut effects);
        let mut done = self.enforcement.act_together(&effects, &self.responder);
        for effect in effects {
            match effect {
                Effect::Enforce(_) if done > 0 => done -= 1,
                Effect::Enforce(block) => self.enforcement.act(&block, &self.responder),
                Effect::Lift { host, places } => self.enforcement.lift(host, &places),
                Effect::Record(decision) => self.recorder.record(&decision),
                Effect::Direct(directive) => self.capture.direct(&directive),
            }
        }
        self.publish();
        self.recorder.keep_held_soon(&self.responder);
    }

    /// Publishes who is blocked, held, pardoned and exempt now.
    pub(super) fn publish(&self) {
        self.published.set_state(self.responder.state());
    }

    fn tick(&mut self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        let now = self.clock.now();
        let mut effects = Vec::new();
        self.responder.tick(now, &mut effects);
        self.carry_out(effects);
        if !self.gateway.is_tagged() && self.shared.is_tagged() {
            tracing::info!("frames with VLAN tags come in: the kernel acts on each VLAN by itself");
            self.gateway.set_tagged();
            self.enforcement.make_due();
        }
        if self.enforcement.is_due(now) {
            self.reconcile();
        }
        if self.gateway.routes_changed {
            self.survey();
        }
        self.report_fuse();
        self.greylist.tick(now, (&mut self.enforcement, &self.recorder), &self.shared, &self.published);
        let state = self.published.state();
        self.published.host_table.trim(now, self.published.site().detect.decay, &state);
        self.refresh();
        crate::log::report_suppressed();
    }

    /// Records whom the fuse limits now.
    fn report_fuse(&mut self) {
        let limited = self.enforcement.throttled(fuse_reports::MOST);
        let records = self.fuse_reports.report(limited, &self.published, &self.responder, self.clock.now());
        for record in records {
            self.carry_out(vec![record]);
        }
    }

    /// Puts the kernel's table right.
    pub(super) fn reconcile(&mut self) {
        let exempted: Vec<_> = self.responder.exempted().iter().map(|entry| entry.network).collect();
        let plan = self.gateway.plan(&exempted, self.clock.now());
        self.enforcement.reconcile(plan, &self.published);
    }

    /// Hands changed settings to responder, shards and history.
    pub(super) fn settings_changed(&mut self) {
        let site = self.gateway.site();
        let mut effects = Vec::new();
        self.responder.reconfigure(site.respond.clone(), self.clock.now(), &mut effects);
        self.carry_out(effects);
        self.capture.reconfigure(&site.detect);
        self.recorder.reconfigure(&site.config);
        let switched = self.published.site().config.gateway.mode != site.config.gateway.mode;
        self.greylist.reconfigure(&site.config, switched, self.clock.now());
        self.published.set_site(Arc::new(site));
    }

    /// Reads the configuration again; says what became of it.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        let outcome = self.gateway.read_again().and_then(|config| {
            let plan = self.gateway.plan_for(&config, self.clock.now()).map_err(|error| error.to_string())?;
            self.enforcement.check(&plan).map_err(|error| error.to_string())?;
            Ok(config)
        });
        let now = self.clock.now();
        let outcome = outcome.map(|config| {
            self.gateway.adopt(config);
            self.settings_changed();
            self.reconcile();
        });
        self.gateway.reloaded(outcome.as_ref().copied().map_err(String::as_str), self.clock.now());
        self.refresh();
        outcome.map(|()| match self.responder.switched().filter(|switched| switched.at >= now) {
            None => "the configuration was read again and is in force".to_owned(),
            Some(begun) => format!(
                "the configuration was read again and is in force; {begun} that monitor mode only counted are dropped \
                 from now on: `firedoor hosts --acted` lists them, `firedoor release` lets go"
            ),
        })
    }
}
