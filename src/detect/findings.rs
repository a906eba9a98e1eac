//! What the inspection of SMB and DCE/RPC finds, weighed.

use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::detect::smb_facts::Fact;
use crate::detect::verify::attachment;
use crate::evidence::{Grade, Score, Signal};
use crate::inspect::{Condition, Finding, Negotiated, Report};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::Class;
use crate::track::contacts::Seen;
use crate::wire::frame::{Direction, Segment};
use crate::wire::smb::dialect::Signing;
use crate::wire::{Address, Frame, Link};

impl Detector {
    /// Looks into a segment, and weighs what it shows.
    pub(super) fn inspect(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        // A connection is followed from its server's answer on; most of what a scan sends ends here.
        if segment.flags.is_syn() || !self.scorer.settings.inspect_smb || !self.inspector.wants(segment) {
            return;
        }
        let mut reports = std::mem::take(&mut self.reports);
        // The buffer keeps its room from segment to segment; one segment gives a handful of reports at most.
        self.inspector.segment(segment, self.scorer.now, &mut |report| {
            if reports.len() < reports.capacity() {
                reports.push(report);
            }
        });
        for report in reports.drain(..) {
            match report {
                Report::Finding(finding) => self.found(frame, segment, &finding),
                Report::Negotiated(negotiated) => self.negotiated(&negotiated),
                Report::Used { feature, .. } => self.scorer.counters.used(feature),
                Report::Condition { server, condition } => self.smb_condition(server, condition),
                // The capture knows DCE/RPC by how it begins, and the inspection remembers the port.
                Report::Named { .. } => {}
            }
        }
        self.reports = reports;
    }

    fn found(&mut self, frame: &Frame<'_>, segment: &Segment<'_>, finding: &Finding) {
        let Finding { host: source, peer, port, signal, detail, verified, new_peer } = *finding;
        let Detector { scorer, hosts, contacts, .. } = self;
        if !scorer.is_watched(source) {
            return;
        }
        if !verified {
            scorer.counters.unverified(Unverified::Handshake);
            return;
        }
        let now = scorer.now;
        // A completed handshake proves who it is; by which card it is, the frame shows where it is the host's own.
        let own = segment.source == source && frame.meta.direction == Direction::In;
        let slot = if own { hosts.sender(source, frame.link(), frame.mac_source.unwrap_or_default()) } else { None };
        if slot.is_none() && hosts.get(source).is_none() {
            let place = if own { frame.link() } else { Link::default() };
            hosts.find_or_insert(Suspect::address(place, source), source, now);
        }
        let host = match slot {
            Some(slot) => hosts.slot_mut(slot),
            None => hosts.get_mut(source),
        };
        let Some(host) = host else { return };
        host.seen = now;
        if own && host.attached_at == Timestamp::ZERO {
            host.attachment = attachment(frame);
            host.attached_at = now;
        }
        let exempt = scorer.has_role(host, |role| match signal {
            Signal::Smb1 => role.smb1,
            Signal::RemoteExecution => role.remote_execution,
            _ => false,
        });
        if exempt {
            scorer.counters.unverified(Unverified::Role);
            return;
        }
        let weights = scorer.settings.weights;
        let weight = match signal {
            _ if signal.grade() == Grade::Exploit => weights.exploit,
            Signal::Smb1 if new_peer => weights.smb1,
            Signal::RemoteExecution if new_peer => weights.remote_execution,
            _ => Score(0),
        };
        if signal.grade() < Grade::Exploit && (host.acted || weight == Score(0)) {
            return;
        }
        // One administrator works on one host all day long: the pair counts once in the contact memory.
        if signal == Signal::RemoteExecution && contacts.meet(host.party(), peer, Class::Execution, now) == Seen::Before
        {
            return;
        }
        if !scorer.is_reported(host, signal.grade()) {
            scorer.weigh(host, signal, peer, port, weight, detail);
        }
    }

    fn smb_condition(&mut self, server: Address, condition: Condition) {
        self.scorer.counters.condition(condition);
        if self.is_news(server, Fact::Condition(condition)) {
            self.scorer.events.push(Event::SmbCondition { server, condition });
        }
    }

    fn negotiated(&mut self, negotiated: &Negotiated) {
        let Negotiated { client, server, dialect, signing, encryption, compression } = *negotiated;
        let counters = &mut self.scorer.counters;
        counters.negotiated(dialect);
        counters.signed += u64::from(signing == Signing::Required);
        counters.encrypted += u64::from(encryption);
        counters.compressed += u64::from(compression);
        let signing = signing == Signing::Required;
        for (host, as_server) in [(client, false), (server, true)] {
            if self.is_news(host, Fact::Dialect { dialect, as_server }) {
                self.scorer.events.push(Event::SmbNegotiated { host, as_server, dialect, signing, encryption });
            }
        }
        if dialect.is_smb1()
            && let Some(host) = self.hosts.get_mut(client)
        {
            host.smb1 = true;
            host.dirty = true;
        }
    }

    /// Whether something about a protected host was not reported within the contact memory.
    fn is_news(&mut self, host: Address, fact: Fact) -> bool {
        self.scorer.settings.protected.contains(host) && self.smb_facts.is_news(host, fact, self.scorer.now)
    }
}
