//! Fan-out: distinct first contacts within sliding windows, against the windows' thresholds (Sekar et al. 2006).
//!
//! First contacts outside the protected networks alone fill no window past the watch: what polls a hundred servers of the
//! Internet has reached nobody here.

use std::time::Duration;

use crate::detect::scorer::Scorer;
use crate::detect::settings::Window;
use crate::evidence::{Detail, Grade, Signal};
use crate::track::Host;
use crate::track::windows::Recent;
use crate::wire::Address;

/// ARP requests and neighbour solicitations are counted within this time.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// A /64 behind a router is decided on by windows of at most this length.
const NETWORK_WITHIN: Duration = Duration::from_secs(60);

impl Scorer {
    /// Checks the windows of lateral services over UDP after `host` opened a first contact to `peer`.
    pub fn datagrams(&mut self, host: &mut Host, peer: Address, port: u16) {
        let mut tipped: Option<(Grade, Detail)> = None;
        for (window, bins) in self.settings.udp_windows.iter().zip(&mut host.datagrams) {
            let count = bins.push(window.length, self.now);
            let limit = if host.chained { window.limit.div_ceil(2) } else { window.limit };
            let grade = if count >= limit { Grade::Scan } else { Grade::Watch };
            if count >= limit.div_ceil(2) && tipped.is_none_or(|(so_far, _)| grade > so_far) {
                tipped = Some((grade, window.filled(count, limit)));
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
        let most = u32::try_from(Recent::MOST).unwrap_or(u32::MAX);
        for at in 0..self.settings.lateral_windows.len() {
            let Some(window) = self.settings.lateral_windows.get(at).copied() else { return };
            let limit = window.limit.saturating_mul(2).min(most);
            let grade = if window.length <= NETWORK_WITHIN && network.lateral.reached(limit, window.length, self.now) {
                Grade::Scan
            } else if network.lateral.reached(limit.div_ceil(2), window.length, self.now) {
                Grade::Watch
            } else {
                continue;
            };
            let count = network.lateral.within(window.length, self.now);
            self.tip(network, Signal::FanoutLateral, peer, port, grade, window.filled(count, limit));
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

    /// Checks the windows after `host` opened a first contact to `peer`.
    pub fn windows(&mut self, host: &mut Host, peer: Address, port: u16, lateral: bool) {
        let (settings, now, address) = (&*self.settings, self.now, host.address);
        let usual = || lateral && self.is_usual(address, peer, port);
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
        self.tip(host, signal, peer, port, grade, window.filled(count, limit));
    }
}
