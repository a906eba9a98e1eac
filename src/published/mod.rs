//! What the running daemon publishes: its status, what it counts, its host table, and who is acted on.
//!
//! The control task writes, API and metrics read. A reader takes the latest published value and never waits for the
//! control task; nothing here is on the packet path except [`HostTable::try_publish`] and the counters, which do not wait.

#[macro_use]
mod labels;

pub mod control_counters;
pub mod counters;
pub mod greylist;
pub mod host_report;
pub mod host_table;
pub mod status;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use self::control_counters::ControlCounters;
use self::counters::Counters;
use self::greylist::{ServersView, WaitsView};
use self::host_table::{HostTable, Watch};
use self::status::Status;
use crate::respond::{Decision, State, Verdict};
use crate::site::Site;
use crate::wire::Address;

/// Decisions kept in memory, those that cut nobody off and others each, for `why` and `/v1/decisions`; the history database has them all.
pub const RECENT: usize = 1024;

/// What the running daemon shows.
#[derive(Debug)]
pub struct Published {
    /// The shared host table.
    pub host_table: HostTable,
    /// The capture threads' counters.
    pub counters: Counters,
    /// The control task's counters.
    pub control_counters: ControlCounters,
    status: ArcSwap<Status>,
    reported: ArcSwapOption<Instant>,
    site: ArcSwap<Site>,
    ruleset: ArcSwap<String>,
    state: ArcSwap<State>,
    servers: ArcSwap<ServersView>,
    waits: ArcSwap<WaitsView>,
    /// Watches and throttles apart from the rest, so that they cannot push it out.
    recent: Mutex<[VecDeque<Arc<Decision>>; 2]>,
}

impl Published {
    /// For a daemon that starts on this site; the host table is as large as those of the shards.
    #[must_use]
    pub fn new(site: Arc<Site>) -> Self {
        Published {
            host_table: HostTable::new(site.detect.capacities.hosts),
            counters: Counters::new(site.config.capture.shards),
            control_counters: ControlCounters::default(),
            status: ArcSwap::from_pointee(Status { mode: site.respond.mode, ..Status::default() }),
            reported: ArcSwapOption::empty(),
            site: ArcSwap::new(site),
            servers: ArcSwap::default(),
            waits: ArcSwap::default(),
            ruleset: ArcSwap::default(),
            state: ArcSwap::default(),
            recent: Mutex::default(),
        }
    }

    /// The latest picture of the daemon.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Puts up a new picture of the daemon.
    pub fn set_status(&self, status: Status) {
        self.status.store(Arc::new(status));
        self.reported.store(Some(Arc::new(Instant::now())));
    }

    /// How old the latest picture is; `None` before the first one.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.reported.load().as_ref().map(|at| at.elapsed())
    }

    /// The site in force.
    #[must_use]
    pub fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// After a reload: the configuration now in force.
    pub fn set_site(&self, site: Arc<Site>) {
        self.site.store(site);
    }

    /// The servers that were learnt.
    #[must_use]
    pub fn servers(&self) -> Arc<ServersView> {
        self.servers.load_full()
    }

    /// Who waits for whom, or would.
    #[must_use]
    pub fn waits(&self) -> Arc<WaitsView> {
        self.waits.load_full()
    }

    /// Puts up what is known of servers, and who waits.
    pub fn set_greylist(&self, servers: ServersView, waits: WaitsView) {
        self.servers.store(Arc::new(servers));
        self.waits.store(Arc::new(waits));
    }

    /// The ruleset as it was last put into the kernel.
    #[must_use]
    pub fn ruleset(&self) -> Arc<String> {
        self.ruleset.load_full()
    }

    /// After the ruleset was put into the kernel: its text.
    pub fn set_ruleset(&self, text: String) {
        self.ruleset.store(Arc::new(text));
    }

    /// Who is blocked, held, pardoned and exempt, as the responder last published it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// After the responder decided, and what it decided was carried out.
    pub fn set_state(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Counts a decision, and keeps it among the recent ones.
    pub fn record(&self, decision: &Arc<Decision>) {
        self.remember(decision.clone());
        self.show(decision);
    }

    /// Counts a decision, and notes in the host table who is watched.
    pub fn show(&self, decision: &Decision) {
        self.control_counters.decided(decision);
        let Decision { host, suspect, at, enforced, .. } = *decision;
        let throttled = decision.decision == Verdict::Throttle;
        match decision.decision {
            Verdict::Watch | Verdict::Throttle => {
                let watch = Watch { throttled, since: at, enforced };
                self.host_table.watch(host, suspect.link, Some(watch));
            }
            Verdict::Contain | Verdict::Isolate | Verdict::Hold => self.host_table.acted_on(host, suspect.link),
            Verdict::Release => self.host_table.watch(host, suspect.link, None),
        }
    }

    /// Keeps a decision among the recent ones without counting it: at start, those of an earlier run, oldest first.
    pub fn remember(&self, act: Arc<Decision>) {
        let [notes, acts] = &mut *self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = if matches!(act.decision, Verdict::Watch | Verdict::Throttle) { notes } else { acts };
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(act);
    }

    /// The recent decisions, latest first, at most `most`; about `host` only, if one is given.
    #[must_use]
    pub fn recent(&self, host: Option<Address>, most: usize) -> Vec<Arc<Decision>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let about = |act: &&Arc<Decision>| host.is_none_or(|host| act.host == host);
        let mut found: Vec<Arc<Decision>> =
            recent.iter().flat_map(|acts| acts.iter().rev().filter(about)).cloned().collect();
        found.sort_by_key(|act| std::cmp::Reverse(act.at));
        found.truncate(most);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Score;
    use crate::suspect::Suspect;
    use crate::time::Timestamp;
    use crate::wire::Link;

    fn decision(host: Address, decision: Verdict) -> Decision {
        let (at, suspect) = (Timestamp::from_secs(1_700_000_000), Suspect::address(Link::default(), host));
        let judged = Decision::without_alarm(at, suspect, host, decision, String::new());
        Decision { score: Score(9900), threshold: Score(9900), destinations: 4, step: 1, enforced: true, ..judged }
    }

    #[test]
    fn a_decision_is_remembered_and_a_watch_lasts_until_more_is_done() {
        let published = Published::new(Arc::default());
        let host: Address = "10.0.0.7".parse().unwrap();
        let watch = |published: &Published| published.host_table.get(host).and_then(|entry| entry.watch);
        published.record(&Arc::new(decision(host, Verdict::Watch)));
        assert!(watch(&published).is_some_and(|watch| !watch.throttled));
        published.record(&Arc::new(decision(host, Verdict::Contain)));
        assert_eq!(watch(&published), None, "the responder's state says what is done now");
        let later = Timestamp::from_secs(1_700_000_009);
        published.record(&Arc::new(Decision { at: later, ..decision(host, Verdict::Release) }));
        assert_eq!(published.host_table.get(host), None, "nothing else is known of it");
        let recent: Vec<Verdict> = published.recent(Some(host), 10).iter().map(|act| act.decision).collect();
        assert_eq!(recent.first(), Some(&Verdict::Release));
        assert_eq!(recent.len(), 3);
        assert!(published.recent(Some("10.0.0.8".parse().unwrap()), 10).is_empty());
    }

    #[test]
    fn the_recent_decisions_are_bounded_and_notes_push_out_no_acts() {
        let published = Published::new(Arc::default());
        let [host, other]: [Address; 2] = ["10.0.0.7", "10.0.0.8"].map(|text| text.parse().unwrap());
        published.record(&Arc::new(decision(other, Verdict::Contain)));
        for _ in 0..RECENT {
            published.record(&Arc::new(decision(host, Verdict::Watch)));
            published.record(&Arc::new(decision(host, Verdict::Throttle)));
        }
        assert_eq!(published.recent(None, usize::MAX).len(), RECENT + 1);
        assert_eq!(published.recent(Some(other), usize::MAX).len(), 1);
    }
}
