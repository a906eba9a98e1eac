//! What the SMB and DCE/RPC inspection finds, weighed.

use crate::detect::alarm::Context;
use crate::detect::contact::has_role;
use crate::detect::counters::Unverified;
use crate::detect::detector::Detector;
use crate::detect::event::Event;
use crate::detect::smb::{Condition, Finding, Negotiated, Report};
use crate::detect::verify::attachment;
use crate::evidence::{Grade, Score, Signal};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::Class;
use crate::track::contacts::{Party, Seen};
use crate::wire::frame::{Direction, Segment};
use crate::wire::smb::dialect::Signing;
use crate::wire::{Address, Frame, Link};

impl Detector {
    /// Looks into a segment, and weighs what it shows.
    pub(super) fn inspect(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) {
        // A connection is followed from its server's answer on; most of what a scan sends ends here.
        if segment.flags.is_syn() || !self.settings.inspect_smb || !self.inspector.wants(segment) {
            return;
        }
        let mut reports = std::mem::take(&mut self.reports);
        // The buffer keeps its room from segment to segment; one segment gives a handful of reports at most.
        self.inspector.segment(segment, self.now, &mut |report| {
            if reports.len() < reports.capacity() {
                reports.push(report);
            }
        });
        for report in reports.drain(..) {
            match report {
                Report::Finding(finding) => self.found(frame, segment, &finding),
                Report::Negotiated(negotiated) => self.negotiated(&negotiated),
                Report::Used { feature, .. } => self.counters.used(feature),
                Report::Condition { server, condition } => self.smb_condition(server, condition),
                // The capture knows DCE/RPC by how it begins, and the inspection remembers the port.
                Report::Named { .. } => {}
            }
        }
        self.reports = reports;
    }

    fn found(&mut self, frame: &Frame<'_>, segment: &Segment<'_>, finding: &Finding) {
        let Finding { host: source, peer, port, signal, detail, verified, new_peer } = *finding;
        if !self.settings.protected.contains(source) || self.settings.own.contains(source) {
            return;
        }
        if !verified {
            self.counters.unverified(Unverified::Handshake);
            return;
        }
        let (now, generation, threshold) = (self.now, self.generation, self.threshold);
        let Detector { settings, shared, hosts, contacts, counters, events, .. } = self;
        let settings = &**settings;
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
        let exempt = has_role(settings, host, generation, now, |role| match signal {
            Signal::Smb1 => role.smb1,
            Signal::RemoteExecution => role.remote_execution,
            _ => false,
        });
        if exempt {
            counters.unverified(Unverified::Role);
            return;
        }
        let weights = settings.weights;
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
        let mut ctx = Context { settings, shared, counters, events, now, threshold };
        if ctx.is_reported(host, signal.grade()) {
            return;
        }
        ctx.weigh(host, signal, peer, port, weight, detail);
    }

    fn smb_condition(&mut self, server: Address, condition: Condition) {
        self.counters.condition(condition);
        // As for what is spoken: reported once within the contact memory.
        let mark = Address::from_bits((1 << 64) | condition as u128);
        let party = Party { identity: self.contacts.identity(Suspect::address(Link::default(), server)), epoch: 0 };
        if self.settings.protected.contains(server)
            && self.contacts.meet(party, mark, Class::Spoken, self.now) == Seen::First
        {
            self.contacts.answered(party, mark, Class::Spoken);
            self.events.push(Event::SmbCondition { server, condition });
        }
    }

    fn negotiated(&mut self, negotiated: &Negotiated) {
        let Negotiated { client, server, dialect, signing, encryption, compression } = *negotiated;
        self.counters.negotiated(dialect);
        self.counters.signed += u64::from(signing == Signing::Required);
        self.counters.encrypted += u64::from(encryption);
        self.counters.compressed += u64::from(compression);
        for (host, as_server) in [(client, false), (server, true)] {
            // The contact memory also remembers what was reported of whom, so that it is reported once.
            let mark = Address::from_bits(((dialect as u128) << 2) | u128::from(as_server));
            let party = Party { identity: self.contacts.identity(Suspect::address(Link::default(), host)), epoch: 0 };
            if self.settings.protected.contains(host)
                && self.contacts.meet(party, mark, Class::Spoken, self.now) == Seen::First
            {
                self.contacts.answered(party, mark, Class::Spoken);
                let signing = signing == Signing::Required;
                self.events.push(Event::SmbNegotiated { host, as_server, dialect, signing, encryption });
            }
        }
        if dialect.is_smb1()
            && let Some(host) = self.hosts.get_mut(client)
        {
            host.smb1 = true;
            host.dirty = true;
        }
    }
}
