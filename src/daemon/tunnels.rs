//! [`Tunnels`]: plain tunnels that protected hosts recently began to use.

use std::collections::VecDeque;

use crate::evidence::{Alarm, Detail, Signal};
use crate::published::status::TunnelView;
use crate::wire::Link;

/// Tunnels shown.
const SHOWN: usize = 16;

/// The latest tunnels, the latest first.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    latest: VecDeque<TunnelView>,
}

impl Tunnels {
    /// Keeps the tunnel that an alarm is about, if it is about one.
    pub fn note(&mut self, alarm: &Alarm, link_name: impl FnOnce(Link) -> String) {
        let begun = alarm.evidence.iter().rev().find_map(|evidence| match evidence.detail {
            Detail::Tunnel { kind, .. } => Some((evidence.peer, kind)),
            _ => None,
        });
        let Some((peer, kind)) = begun.filter(|_| alarm.signal == Signal::Tunnel) else { return };
        let link = link_name(alarm.suspect.link);
        let view = TunnelView { kind: kind.label().to_owned(), host: alarm.host, link, peer, since: alarm.at };
        let same = |known: &TunnelView| {
            (&known.kind, known.host, &known.link, known.peer) == (&view.kind, view.host, &view.link, view.peer)
        };
        if !self.latest.iter().any(same) {
            self.latest.push_front(view);
            self.latest.truncate(SHOWN);
        }
    }

    /// As the status shows them.
    pub fn view(&self) -> Vec<TunnelView> {
        self.latest.iter().cloned().collect()
    }
}
