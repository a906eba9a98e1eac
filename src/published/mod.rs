//! What the running daemon publishes: its status, what it counts, its host table, and who is acted on.
//!
//! The control task writes, API and metrics read. A reader takes the latest published value and never waits for the
//! control task; nothing here is on the packet path except [`HostTable::try_publish`] and the counters, which do not wait.

#[macro_use]
mod labels;

pub mod control_counters;
pub mod counters;
pub mod host_report;
pub mod host_table;
pub mod status;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use self::control_counters::ControlCounters;
use self::counters::Counters;
use self::host_table::{HostTable, Standing};
use self::status::Status;
use crate::config::model::Config;
use crate::respond::{Block, Decision, Exempted, Held, Verdict};
use crate::time::Timestamp;
use crate::wire::{Address, Link};

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
    config: ArcSwap<Config>,
    ruleset: ArcSwap<String>,
    exempted: ArcSwap<Vec<Exempted>>,
    held: ArcSwap<Vec<Held>>,
    /// Watches and throttles apart from the rest, so that they cannot push it out.
    recent: Mutex<[VecDeque<Arc<Decision>>; 2]>,
    /// Whom an engineer's release protects, and until when. As many as the responder remembers.
    pardons: Mutex<HashMap<(Address, Link), Timestamp>>,
}

impl Published {
    /// For a daemon that starts with this configuration; the host table is as large as those of the shards.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Published {
            host_table: HostTable::new(config.detect.capacities.hosts),
            counters: Counters::new(config.capture.shards),
            control_counters: ControlCounters::default(),
            status: ArcSwap::from_pointee(Status { mode: config.gateway.mode, ..Status::default() }),
            reported: ArcSwapOption::empty(),
            config: ArcSwap::new(config),
            ruleset: ArcSwap::default(),
            exempted: ArcSwap::default(),
            held: ArcSwap::default(),
            recent: Mutex::default(),
            pardons: Mutex::default(),
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

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// After a reload: the configuration now in force.
    pub fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
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

    /// What was put on the never-contain list by command.
    #[must_use]
    pub fn exempted(&self) -> Arc<Vec<Exempted>> {
        self.exempted.load_full()
    }

    /// After a command changed the never-contain list: all that was added by command.
    pub fn set_exempted(&self, exempted: Vec<Exempted>) {
        self.exempted.store(Arc::new(exempted));
    }

    /// The decisions that wait for an engineer.
    #[must_use]
    pub fn held(&self) -> Arc<Vec<Held>> {
        self.held.load_full()
    }

    /// After a decision was held, confirmed or dropped: all that wait now.
    pub fn set_held(&self, held: Vec<Held>) {
        let waits = |host| held.iter().any(|held: &Held| held.decision.host == host);
        for gone in self.held().iter().map(|held| held.decision.host).filter(|host| !waits(*host)) {
            for line in self.host_table.lines_of(gone) {
                if line.standing.is_some_and(|standing| standing.verdict == Verdict::Hold) {
                    self.host_table.stand(gone, line.link, None);
                }
            }
        }
        for one in held.iter().filter(|one| self.host_table.any_standing(one.decision.host).is_none()) {
            // From before the start: no decision of this run has put it there.
            let (verdict, since) = (Verdict::Hold, one.decision.at);
            let standing = Standing { verdict, enforced: false, since, until: None, step: 0 };
            self.host_table.stand(one.decision.host, Link::default(), Some(standing));
        }
        self.held.store(Arc::new(held));
    }

    /// Shows a decision, and keeps it among the recent ones.
    pub fn record(&self, decision: &Arc<Decision>) {
        self.remember(decision.clone());
        self.show(decision);
    }

    /// Shows a decision: counts it, and puts it in the host table.
    pub fn show(&self, decision: &Decision) {
        self.control_counters.decided(decision);
        let standing = Standing {
            verdict: decision.decision,
            enforced: decision.enforced,
            since: decision.at,
            until: decision.until,
            step: decision.step,
        };
        let link = decision.suspect.link;
        let before = self.host_table.standing(decision.host, link);
        match (decision.decision, decision.pardoned_until) {
            (Verdict::Release, Some(until)) => self.pardon(decision.host, link, until, decision.at),
            (Verdict::Contain | Verdict::Isolate, _) => {
                let mut pardons = self.pardons();
                pardons.remove(&(decision.host, link));
                if !decision.overrules.is_empty() {
                    // Released under another of its addresses, or before its link was known.
                    let its = |host: Address| host == decision.host || decision.addresses().contains(&host);
                    let here = |place: Link| place == link || place.interface == 0 || link.interface == 0;
                    pardons.retain(|(host, place), _| !(its(*host) && here(*place)));
                }
            }
            _ => {}
        }
        match decision.decision {
            Verdict::Release => self.host_table.stand(decision.host, link, None),
            // These take nothing back that is done already.
            Verdict::Watch | Verdict::Throttle if before.is_some_and(Standing::acted) => {}
            _ => self.host_table.stand(decision.host, link, Some(standing)),
        }
    }

    /// Shows that an engineer's release protects `host` on a link until then; what has run out by `now` is forgotten.
    pub fn pardon(&self, host: Address, link: Link, until: Timestamp, now: Timestamp) {
        let mut pardons = self.pardons();
        pardons.retain(|_, until| now < *until);
        pardons.insert((host, link), until);
    }

    /// Until when an engineer's release protects `host` on a link, or on any where the link is not known; the time may be past.
    #[must_use]
    pub fn pardoned(&self, host: Address, link: Link) -> Option<Timestamp> {
        let pardons = self.pardons();
        if link.interface == 0 {
            return pardons.iter().filter(|((of, _), _)| *of == host).map(|(_, until)| *until).max();
        }
        pardons.get(&(host, link)).or_else(|| pardons.get(&(host, Link::default()))).copied()
    }

    fn pardons(&self) -> MutexGuard<'_, HashMap<(Address, Link), Timestamp>> {
        self.pardons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in the host table who is acted on without a decision of this run, or of this mode: those found in the kernel or the
    /// history at start. `enforced` says whether the kernel drops what they send.
    pub fn adopt<'a>(&self, blocks: impl Iterator<Item = &'a Block>, enforced: bool) {
        for block in blocks {
            let verdict = block.action.verdict();
            let link = block.suspect().link;
            if self
                .host_table
                .standing(block.host(), link)
                .is_none_or(|standing| (standing.verdict, standing.enforced) != (verdict, enforced))
            {
                let Decision { at: since, until, step, .. } = *block.decision;
                let standing = Standing { verdict, enforced, since, until, step };
                self.host_table.stand(block.host(), link, Some(standing));
            }
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

    fn decision(host: Address, decision: Verdict) -> Decision {
        let (at, suspect) = (Timestamp::from_secs(1_700_000_000), Suspect::address(Link::default(), host));
        let judged = Decision::without_alarm(at, suspect, host, decision, String::new());
        Decision { score: Score(9900), threshold: Score(9900), destinations: 4, step: 1, enforced: true, ..judged }
    }

    #[test]
    fn a_decision_is_counted_remembered_and_shown_on_the_board() {
        let published = Published::new(Arc::new(Config::default()));
        let host: Address = "10.0.0.7".parse().unwrap();
        published.record(&Arc::new(decision(host, Verdict::Contain)));
        assert_eq!(published.host_table.get(host).unwrap().standing.unwrap().verdict, Verdict::Contain);
        published.record(&Arc::new(decision(host, Verdict::Watch)));
        assert_eq!(
            published.host_table.get(host).unwrap().standing.unwrap().verdict,
            Verdict::Contain,
            "a watch undoes nothing"
        );
        published.record(&Arc::new(Decision {
            at: Timestamp::from_secs(1_700_000_009),
            ..decision(host, Verdict::Release)
        }));
        assert_eq!(published.host_table.get(host), None, "a release ends the standing");
        let recent: Vec<Verdict> = published.recent(Some(host), 10).iter().map(|act| act.decision).collect();
        assert_eq!(recent.first(), Some(&Verdict::Release));
        assert_eq!(recent.len(), 3);
        assert!(published.recent(Some("10.0.0.8".parse().unwrap()), 10).is_empty());
    }

    #[test]
    fn whoever_the_kernel_acts_on_from_an_earlier_run_is_shown() {
        let published = Published::new(Arc::new(Config::default()));
        let host: Address = "10.0.0.7".parse().unwrap();
        let decision = Arc::new(Decision { step: 2, ..decision(host, Verdict::Isolate) });
        let block = Block::new(decision).unwrap();
        published.adopt(std::iter::once(&block), true);
        assert_eq!(
            published.host_table.any_standing(host).map(|standing| (standing.verdict, standing.step)),
            Some((Verdict::Isolate, 2))
        );
        assert!(published.recent(None, 1).is_empty(), "it is no decision of this run");
        published.adopt(std::iter::once(&block), false);
        assert!(!published.host_table.any_standing(host).unwrap().enforced, "monitor mode lets it pass");
    }

    #[test]
    fn a_pardon_is_shown_until_the_host_is_acted_on_again() {
        let published = Published::new(Arc::new(Config::default()));
        let [one, other]: [Address; 2] = ["10.0.0.7", "10.0.0.8"].map(|text| text.parse().unwrap());
        let released = decision(one, Verdict::Release);
        published.record(&Arc::new(released.clone()));
        assert_eq!(published.pardoned(one, Link::default()), None, "a release by the ladder pardons nobody");
        let until = released.at + Duration::from_hours(1);
        published.record(&Arc::new(Decision { pardoned_until: Some(until), ..released }));
        published.record(&Arc::new(decision(one, Verdict::Watch)));
        assert_eq!(published.pardoned(one, Link::default()), Some(until));
        published.pardon(other, Link::default(), until + Duration::from_hours(1), until);
        assert_eq!(published.pardoned(one, Link::default()), None, "what has run out is forgotten");
        published.record(&Arc::new(decision(other, Verdict::Contain)));
        assert_eq!(published.pardoned(other, Link::default()), None);
        // An order about an address that nobody has seen yet ends the pardons that it overrules, on each link.
        let links = [2, 3].map(Link::untagged);
        for link in links {
            published.pardon(one, link, until + Duration::from_hours(1), until);
        }
        published.record(&Arc::new(Decision {
            overrules: vec!["lan 10.0.0.7".to_owned()],
            ..decision(one, Verdict::Contain)
        }));
        assert_eq!(links.map(|link| published.pardoned(one, link)), [None, None]);
    }

    #[test]
    fn the_recent_decisions_are_bounded_and_notes_push_out_no_acts() {
        let published = Published::new(Arc::new(Config::default()));
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
