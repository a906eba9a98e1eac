//! When evidence becomes an alarm: the score against its threshold, the windows against theirs.
//!
//! What is normal work as long as it stays what it is measures itself against the full threshold: SMB1 with a handful of
//! peers, and an administrator on one host. First contacts outside the protected networks alone fill no window past the
//! watch: what polls a hundred servers of the Internet has reached nobody here.
//!
//! The score is a CUSUM of log-likelihood ratios (Jung et al. 2004, reversed after Schechter et al. 2004). The threshold
//! falls while hosts are contained (cooperative containment, Weaver et al. 2004) and for a host that an alarmed one
//! reached (infection chains), never below its floor.

use std::time::Duration;

use crate::detect::counters::{Counters, Unverified};
use crate::detect::event::Event;
use crate::detect::settings::{Settings, Window};
use crate::detect::verify::is_one_of_many;
use crate::evidence::{Alarm, Detail, Evidence, Grade, Score, Signal};
use crate::time::Timestamp;
use crate::track::windows::Recent;
use crate::track::{Host, Shared};
use crate::wire::Address;
use crate::wire::frame::Transport;

/// A host is not alarmed, or watched, for the same grade again within this time.
pub(super) const REPEAT: Duration = Duration::from_secs(600);

/// Evidence that others can cause counts in full once the host has opened so many first contacts of its own on lateral
/// services within this time.
const OWN: (u32, Duration) = (3, Duration::from_secs(300));

/// ARP requests and neighbour solicitations are counted within this time.
pub(super) const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// A /64 behind a router is decided on by windows of at most this length.
const NETWORK_WITHIN: Duration = Duration::from_secs(60);

/// Everything but the host that weighing one packet needs.
pub(super) struct Context<'a> {
    pub settings: &'a Settings,
    pub shared: &'a Shared,
    pub counters: &'a mut Counters,
    pub events: &'a mut Vec<Event>,
    pub now: Timestamp,
    /// The threshold after cooperation.
    pub threshold: Score,
}

impl Context<'_> {
    /// The threshold that applies to `host`.
    pub fn threshold_of(&self, host: &Host) -> Score {
        threshold_of(self.settings, self.threshold, host)
    }

    /// Adds evidence to `host` and alarms if that tips it.
    pub fn weigh(&mut self, host: &mut Host, signal: Signal, peer: Address, port: u16, weight: Score, detail: Detail) {
        self.counters.evidence(signal);
        let evidence = Evidence { signal, at: self.now, peer, port, weight, detail };
        let score = host.add(evidence, self.settings.decay);
        if weight.0 <= 0 {
            return;
        }
        if signal.grade() == Grade::Exploit {
            self.raise(host, Grade::Exploit, signal);
        } else if score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, signal);
        } else if score >= self.settings.watch {
            self.raise(host, Grade::Watch, signal);
        }
    }

    /// Adds evidence that others can cause: a packet in the name of a dark address makes a host ask the link for it, one
    /// in the host's name makes a peer refuse it. It lifts the score half way at most, for a watch, unless `host` opens
    /// several first contacts of its own meanwhile where `own` counts: one or two are anybody's work.
    pub fn hearsay(&mut self, host: &mut Host, evidence: Evidence, own: bool) -> bool {
        let (settings, now) = (self.settings, self.now);
        let half = Score(self.threshold_of(host).0 / 2).min(settings.watch);
        let opened = own && host.lateral.reached(OWN.0, OWN.1, now);
        let room = (half.0 - host.score_now(now, settings.decay).0).max(0);
        let weight = if opened { evidence.weight } else { evidence.weight.min(Score(room)) };
        if weight.0 <= 0 {
            return false;
        }
        self.counters.evidence(evidence.signal);
        let score = host.add(Evidence { weight, ..evidence }, settings.decay);
        if opened && score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, evidence.signal);
        } else if score >= half {
            self.raise(host, Grade::Watch, evidence.signal);
            return true;
        }
        false
    }

    /// Checks the windows of lateral services over UDP after `host` opened a first contact to `peer`.
    pub fn datagrams(&mut self, host: &mut Host, peer: Address, port: u16) {
        let settings = self.settings;
        let mut tipped: Option<(Grade, Detail)> = None;
        for (window, bins) in settings.udp_windows.iter().zip(&mut host.datagrams) {
            let count = bins.push(window.length, self.now);
            let limit = if host.chained { window.limit.div_ceil(2) } else { window.limit };
            let grade = if count >= limit { Grade::Scan } else { Grade::Watch };
            if count >= limit.div_ceil(2) && tipped.is_none_or(|(so_far, _)| grade > so_far) {
                let seconds = u32::try_from(window.length.as_secs()).unwrap_or(u32::MAX);
                tipped = Some((grade, Detail::Window { count, limit, seconds }));
            }
        }
        if let Some((grade, detail)) = tipped {
            self.tip(host, Signal::FanoutLateral, peer, port, grade, detail);
        }
    }

    /// Checks the windows of a /64 behind a router after one of its addresses opened a first contact. They are twice as wide
    /// as a host's: there may be several. The long ones lead to a watch only: a pool of remote workers, each at one desk of
    /// his own, fills them in a morning.
    pub fn network_windows(&mut self, network: &mut Host, peer: Address, port: u16) {
        let settings = self.settings;
        let most = u32::try_from(Recent::MOST).unwrap_or(u32::MAX);
        for window in &settings.lateral_windows {
            let limit = window.limit.saturating_mul(2).min(most);
            let grade = if window.length <= NETWORK_WITHIN && network.lateral.reached(limit, window.length, self.now) {
                Grade::Scan
            } else if network.lateral.reached(limit.div_ceil(2), window.length, self.now) {
                Grade::Watch
            } else {
                continue;
            };
            let count = network.lateral.within(window.length, self.now);
            let seconds = u32::try_from(window.length.as_secs()).unwrap_or(u32::MAX);
            self.tip(network, Signal::FanoutLateral, peer, port, grade, Detail::Window { count, limit, seconds });
            if grade == Grade::Scan {
                return;
            }
        }
    }

    /// Counts an address that `host` asks the link for; to many distinct ones within a minute it is watched.
    pub fn link_request(&mut self, host: &mut Host, target: Address, limit: u32) {
        let count = host.asked.push(ASKED_WITHIN, self.now);
        if count > limit {
            let seconds = u32::try_from(ASKED_WITHIN.as_secs()).unwrap_or(u32::MAX);
            let detail = Detail::Window { count, limit, seconds };
            self.tip(host, Signal::ArpSweep, target, 0, Grade::Watch, detail);
        }
    }

    /// A window is full.
    pub fn tip(&mut self, host: &mut Host, signal: Signal, peer: Address, port: u16, grade: Grade, detail: Detail) {
        if self.is_due(host, grade) {
            self.counters.evidence(signal);
            let evidence = Evidence { signal, at: self.now, peer, port, weight: Score(0), detail };
            host.add(evidence, self.settings.decay);
            self.raise(host, grade, signal);
        }
    }

    /// Checks the windows after `host` opened a first contact to `peer`.
    pub fn windows(&mut self, host: &mut Host, peer: Address, port: u16, lateral: bool) {
        let (settings, shared, now, address) = (self.settings, self.shared, self.now, host.address);
        let usual = || lateral && is_usual(settings, shared, address, peer, port, now);
        let swept = host.swept.is_some_and(|at| now.since(at) <= settings.chain_memory);
        let chained = (host.chained || swept) && !usual();
        let halve = |limit: u32| if chained { limit.div_ceil(2) } else { limit };
        let mut tipped: Option<(Signal, Window, u32, Grade)> = None;
        if lateral {
            for window in &settings.lateral_windows {
                let limit = halve(window.limit);
                if host.lateral.reached(limit, window.length, self.now) {
                    tipped = Some((Signal::FanoutLateral, *window, limit, Grade::Scan));
                    break;
                }
                if tipped.is_none() && host.lateral.reached(limit.div_ceil(2).max(2), window.length, self.now) {
                    tipped = Some((Signal::FanoutLateral, *window, limit, Grade::Watch));
                }
            }
        }
        let inside = settings.protected.contains(peer);
        let mut sweeps = false;
        for ((window, bins), inner) in settings.any_windows.iter().zip(&mut host.any).zip(&mut host.any_inside) {
            let count = bins.push(window.length, self.now);
            let within =
                if inside { inner.push(window.length, self.now) } else { inner.within(window.length, self.now) };
            // Who swept is expected to meet the living: on lateral services alone its windows are halved for that.
            let limit = if host.chained { halve(window.limit) } else { window.limit };
            // Nobody inside is reached by contacts outside: they are worth a watch, however many.
            let grade = if within >= limit { Grade::Scan } else { Grade::Watch };
            sweeps |= within >= limit.div_ceil(2);
            let better = tipped.is_none_or(|(_, _, _, so_far)| grade > so_far);
            if (count >= limit || count >= limit.div_ceil(2)) && better {
                tipped = Some((Signal::FanoutAny, *window, limit, grade));
            }
        }
        if sweeps {
            // Who tried so many inside knows by now who is there.
            host.swept = Some(now);
        }
        let Some((signal, window, limit, grade)) = tipped else { return };
        if !self.is_due(host, grade) || (grade == Grade::Watch && signal == Signal::FanoutLateral && usual()) {
            return;
        }
        let count = if signal == Signal::FanoutLateral {
            host.lateral.within(window.length, self.now)
        } else {
            let at = settings.any_windows.iter().position(|other| *other == window);
            let bins = if grade == Grade::Scan { &host.any_inside } else { &host.any };
            at.and_then(|at| bins.get(at)).map_or(limit, |bins| bins.within(window.length, self.now))
        };
        let seconds = u32::try_from(window.length.as_secs()).unwrap_or(u32::MAX);
        self.tip(host, signal, peer, port, grade, Detail::Window { count, limit, seconds });
    }

    fn is_due(&self, host: &Host, grade: Grade) -> bool {
        let recent = |at: Option<Timestamp>| at.is_some_and(|at| self.now.since(at) < REPEAT);
        match grade {
            Grade::Watch => !host.acted && !recent(host.watched) && !recent(host.alarmed),
            Grade::Scan => !host.acted && !recent(host.alarmed),
            Grade::Exploit => !recent(host.exploited),
        }
    }

    /// Whether an exploit of this host was reported lately: further ones add nothing to what is done about it.
    pub fn is_reported(&self, host: &Host, grade: Grade) -> bool {
        grade == Grade::Exploit && !self.is_due(host, grade)
    }

    /// What a host gathered has grown by what one of its addresses had: it may deserve a decision now.
    pub fn reconsider(&mut self, host: &mut Host) {
        let score = host.score_now(self.now, self.settings.decay);
        let Some(last) = host.evidence.last().copied() else {
            self.refill(host);
            return;
        };
        if score >= self.threshold_of(host) {
            self.raise(host, Grade::Scan, last.signal);
        } else if score >= self.settings.watch {
            self.raise(host, Grade::Watch, last.signal);
        }
        self.refill(host);
    }

    /// The alarm about `host` that waits for confirmation since `since` holds: it is there.
    pub fn confirm(&mut self, host: &mut Host, since: Timestamp) {
        if self.now.since(since) <= self.settings.decay / 10
            && let Some(last) = host.evidence.last().copied()
        {
            self.raise(host, Grade::Scan, last.signal);
        } else {
            self.reconsider(host);
        }
    }

    /// The same for the windows.
    fn refill(&mut self, host: &mut Host) {
        let full = |window: &&Window| host.lateral.reached(window.limit, window.length, self.now);
        let Some(window) = self.settings.lateral_windows.iter().find(full).copied() else { return };
        if self.is_due(host, Grade::Scan) {
            let count = host.lateral.within(window.length, self.now);
            let peer = host.evidence.last().map_or(host.address, |evidence| evidence.peer);
            self.fills(host, Signal::FanoutLateral, (window, window.limit, count), peer, 0);
            self.raise(host, Grade::Scan, Signal::FanoutLateral);
        }
    }

    fn fills(&mut self, host: &mut Host, signal: Signal, fill: (Window, u32, u32), peer: Address, port: u16) {
        let (window, limit, count) = fill;
        let seconds = u32::try_from(window.length.as_secs()).unwrap_or(u32::MAX);
        let detail = Detail::Window { count, limit, seconds };
        self.counters.evidence(signal);
        host.add(Evidence { signal, at: self.now, peer, port, weight: Score(0), detail }, self.settings.decay);
    }

    /// A host that is acted on spreads over a port that was not shut for it: reports that, so that it is.
    pub fn spreads_further(&mut self, host: &mut Host, peer: Address, service: (Transport, u16), points: u16) {
        let signal = Signal::FanoutAny;
        let detail = Detail::Further { points };
        self.counters.evidence(signal);
        self.counters.alarm(signal);
        host.add(
            Evidence { signal, at: self.now, peer, port: service.1, weight: Score(0), detail },
            self.settings.decay,
        );
        let alarm = self.alarm_of(host, Grade::Scan, signal, vec![service]);
        self.events.push(Event::Alarm(Box::new(alarm)));
    }

    /// Reports that `host` deserves a decision, unless that was reported lately.
    fn raise(&mut self, host: &mut Host, grade: Grade, signal: Signal) {
        if !self.is_due(host, grade) {
            return;
        }
        if grade < Grade::Exploit && is_one_of_many(self.settings, self.shared, host, self.now) {
            self.counters.unverified(Unverified::ManyAddresses);
            return;
        }
        if grade == Grade::Watch {
            host.watched = Some(self.now);
            self.counters.watches += 1;
        } else {
            host.alarmed = Some(self.now);
            if grade == Grade::Exploit {
                host.exploited = Some(self.now);
            }
            self.counters.alarm(signal);
        }
        host.dirty = true;
        let ports = self.ports_of(host, signal);
        let alarm = self.alarm_of(host, grade, signal, ports);
        self.events.push(Event::Alarm(Box::new(alarm)));
    }

    /// What `host` spread over, besides the lateral services: where that is what the alarm rests on.
    fn ports_of(&self, host: &Host, signal: Signal) -> Vec<(Transport, u16)> {
        let settings = self.settings;
        let speaks = |port: u16| {
            host.evidence.iter().filter(|evidence| evidence.port == port && evidence.weight.0 > 0).count() >= 2
        };
        let mut ports = host.ports.leading();
        ports.retain(|&(transport, port)| {
            let lateral = match transport {
                Transport::Udp => settings.lateral.has_udp(port),
                _ => settings.lateral.has_tcp(port),
            };
            !lateral && (signal == Signal::FanoutAny || speaks(port))
        });
        ports
    }

    fn alarm_of(&self, host: &Host, grade: Grade, signal: Signal, ports: Vec<(Transport, u16)>) -> Alarm {
        let reached = if grade == Grade::Watch { Vec::new() } else { host.reached.iter().flatten().copied().collect() };
        Alarm {
            at: self.now,
            suspect: host.suspect,
            host: host.address,
            addresses: host.addresses().collect(),
            ports,
            attachment: host.attachment,
            grade,
            signal,
            score: host.score_now(self.now, self.settings.decay),
            threshold: self.threshold_of(host),
            destinations: host.destinations,
            evidence: host.evidence.clone(),
            reached,
            zone_hosts: self.shared.addresses.subnet_hosts(host.address),
        }
    }
}

/// Whether others do the same: use this service, or look for somebody who is gone. At log-on everybody opens half a dozen
/// such doors at once, and none of them is a host's own.
pub(super) fn is_usual(
    settings: &Settings,
    shared: &Shared,
    host: Address,
    peer: Address,
    port: u16,
    now: Timestamp,
) -> bool {
    shared.addresses.is_known_server(peer, port, host, now)
        || shared.addresses.missing(peer, now) >= settings.outage_sources
}

/// The threshold that applies to `host`, given the one after cooperation.
///
/// SMB1 and remote execution do not profit from a lowered one. Each part of the score is measured against a threshold of
/// its own: with `o` of other evidence and `r` of routine, the host alarms at o / lowered + r / full ≥ 1.
pub(super) fn threshold_of(settings: &Settings, cooperative: Score, host: &Host) -> Score {
    let threshold = if host.chained { Score(cooperative.0 / 2) } else { cooperative };
    let (lowered, full) = (threshold.max(settings.threshold_floor).0, settings.threshold.0);
    if lowered >= full {
        return Score(lowered);
    }
    let share = i64::from(routine(settings, host).0.min(full));
    let raised = i64::from(lowered) + share * i64::from(full - lowered) / i64::from(full.max(1));
    Score(i32::try_from(raised).unwrap_or(i32::MAX))
}

/// What of a host's score is routine as long as it stays at a few peers: SMB1, and remote execution.
fn routine(settings: &Settings, host: &Host) -> Score {
    let routine = host.evidence.iter().filter(|known| matches!(known.signal, Signal::Smb1 | Signal::RemoteExecution));
    let (sum, at) = routine.fold((Score(0), Timestamp::ZERO), |(sum, at), evidence| {
        let left = sum.decayed(evidence.at.since(at).saturating_sub(settings.decay / 10), settings.decay);
        (Score(left.0.saturating_add(evidence.weight.0)), evidence.at)
    });
    let left = sum.decayed(host.score_at.since(at).saturating_sub(settings.decay / 10), settings.decay);
    left.min(host.score)
}

/// The threshold while `contained` hosts are.
pub(super) fn cooperative(settings: &Settings, contained: u32) -> Score {
    let percent = contained.saturating_mul(settings.cooperation_percent).min(100);
    let threshold = i64::from(settings.threshold.0) * i64::from(100 - percent) / 100;
    Score(i32::try_from(threshold).unwrap_or(i32::MAX)).max(settings.threshold_floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contained_host_lowers_the_threshold_by_a_fifth_down_to_the_floor() {
        let settings = Settings::default();
        let nats: Vec<_> = [0, 1, 2, 3, 4, 1000].map(|n| cooperative(&settings, n).0).to_vec();
        assert_eq!(nats, [9900, 7920, 5940, 5000, 5000, 5000]);
    }
}
