//! [`Recorder`]: what was decided and ordered, written to the history, the log and what is published.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::daemon::history;
use crate::daemon::record_limiter::RecordLimiter;
use crate::published::Published;
use crate::published::status::StoreView;
use crate::respond::servers::ServerChanges;
use crate::respond::{Decision, Effect, Exempted, Responder, Verdict};
use crate::store::{OrderRow, Store, StoreHandle};
use crate::sys::clock::Clock;
use crate::time::Timestamp;

/// What is held is kept at once, but no oftener than this (and then with the next tick): there may be a
/// thousand of them, and each alarm of a storm adds one.
const KEEP_HELD: Duration = Duration::from_millis(250);

/// The history, and what is to go into it.
pub(super) struct Recorder {
    clock: Clock,
    published: Arc<Published>,
    /// None where no history is kept.
    store: Option<StoreHandle>,
    /// The disk did not keep up with the last decision.
    disk_late: bool,
    limiter: RecordLimiter,
    /// As of which change the history has what is held, see [`Responder::held_changes`].
    held_kept: Option<u64>,
    held_kept_at: Timestamp,
}

impl Recorder {
    /// Starts the history's thread, if a history is to be kept. `opened` is the history, where it could be opened.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        path: Option<&Path>,
        opened: Option<Store>,
        config: &Config,
        published: Arc<Published>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let start = |path| StoreHandle::start(path, opened, history::limits(config));
        let store = path.map(start).transpose()?;
        Ok(Recorder {
            clock,
            published,
            store,
            disk_late: false,
            limiter: RecordLimiter::default(),
            held_kept: None,
            held_kept_at: Timestamp::ZERO,
        })
    }

    /// The history forgets these suspects, by its keys: their time ran out.
    pub fn forget(&self, suspects: Vec<String>) {
        if let Some(store) = &self.store {
            for suspect in suspects {
                store.forget(suspect);
            }
        }
    }

    /// The history keeps what was learnt of servers.
    pub fn keep_servers(&self, changes: ServerChanges) {
        if let Some(store) = &self.store {
            store.keep_servers(changes);
        }
    }

    /// After a reload: how much history is kept.
    pub fn reconfigure(&self, config: &Config) {
        if let Some(store) = &self.store {
            store.set_limits(history::limits(config));
        }
    }

    /// What the history says of itself.
    pub fn view(&self) -> StoreView {
        self.store.as_ref().map_or_else(StoreView::default, StoreHandle::view)
    }

    /// Writes the decisions ahead of what the kernel is asked for. Of a storm of decisions that change nothing, those
    /// beyond a bound are counted and published, and leave `effects`.
    pub fn write_ahead(&mut self, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        let (limiter, published) = (&mut self.limiter, &self.published);
        effects.retain(|effect| match effect {
            Effect::Record(decision) if !limiter.allows(decision, now) => {
                published.show(decision);
                false
            }
            _ => true,
        });
        if let Some(store) = &self.store {
            history::write_ahead(store, effects, &mut self.disk_late);
        }
    }

    /// Logs and publishes a decision that was carried out.
    pub fn record(&self, decision: &Arc<Decision>) {
        let Decision { at, host, decision: verdict, score, destinations, step, enforced, reason, .. } = &**decision;
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

    /// Records an order, carried out or refused.
    pub fn record_order(&self, order: OrderRow) {
        if let Some(store) = &self.store {
            let _ = store.record_order(order);
        }
    }

    /// Keeps what is on the never-contain list by command.
    pub fn keep_exempted(&self, exempted: &[Exempted]) {
        if let Some(store) = &self.store {
            store.set_exempted(exempted.to_vec());
        }
    }

    /// Keeps what is held, unless that was done just now.
    pub fn keep_held_soon(&mut self, responder: &Responder) {
        if self.clock.now().since(self.held_kept_at) >= KEEP_HELD {
            self.keep_held(responder);
        }
    }

    /// Keeps what is held, if it has changed.
    pub fn keep_held(&mut self, responder: &Responder) {
        let changes = responder.held_changes();
        if self.held_kept == Some(changes) {
            return;
        }
        (self.held_kept, self.held_kept_at) = (Some(changes), self.clock.now());
        if let Some(store) = &self.store {
            store.set_held(responder.held().cloned().collect());
        }
    }
}
