//! What a detector counts, for the metrics: plain numbers that one thread owns.

use crate::evidence::Signal;
use crate::inspect::{Condition, Feature};
use crate::wire::smb::Dialect;

/// Outcomes of first contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// SYN-ACK, or the protocol's equal.
    Answered,
    /// RST.
    Refused,
    /// ICMP error.
    Unreachable,
    /// Nothing within the answer timeout.
    Silent,
    /// Nothing yet, and too many attempts pending.
    Overrun,
    /// Dropped by the kernel's fuse, by the mirror's reckoning: fan-out, not failure.
    Limited,
    /// Dropped by the kernel's greylist: it waits for a second asking.
    Waits,
}

impl Outcome {
    /// Every outcome, in label order.
    pub const ALL: [Outcome; 7] = [
        Outcome::Answered,
        Outcome::Refused,
        Outcome::Unreachable,
        Outcome::Silent,
        Outcome::Overrun,
        Outcome::Limited,
        Outcome::Waits,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
            Outcome::Unreachable => "unreachable",
            Outcome::Silent => "silent",
            Outcome::Overrun => "overrun",
            Outcome::Limited => "limited",
            Outcome::Waits => "waits",
        }
    }
}

/// Why evidence weighed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unverified {
    /// The frame came from another hardware address than the host's.
    Mac,
    /// The frame came in on another interface or VLAN than the host's.
    Interface,
    /// The source belongs to a network that is attached or reached elsewhere, or nowhere.
    ReversePath,
    /// One hardware address shows many addresses of an attached network.
    ManyAddresses,
    /// Packets were being lost, so silence proves nothing.
    Loss,
    /// Answers pass somewhere else, so silence proves nothing.
    OneSided,
    /// Several sources fail on a server that served lately: an outage.
    Outage,
    /// A role allows it.
    Role,
    /// An exploit signature on a connection whose handshake nobody saw completed.
    Handshake,
    /// Nobody on the source's link answers for it.
    NobodyThere,
    /// An answer that did not come from the peer, or not by the path that leads to it.
    Answer,
    /// Somebody sent in the name of the address that was asked for.
    Caused,
}

impl Unverified {
    /// Every reason, in label order.
    pub const ALL: [Unverified; 12] = [
        Unverified::Mac,
        Unverified::Interface,
        Unverified::ReversePath,
        Unverified::ManyAddresses,
        Unverified::Loss,
        Unverified::OneSided,
        Unverified::Outage,
        Unverified::Role,
        Unverified::Handshake,
        Unverified::NobodyThere,
        Unverified::Answer,
        Unverified::Caused,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Unverified::Mac => "mac",
            Unverified::Interface => "interface",
            Unverified::ReversePath => "reverse_path",
            Unverified::ManyAddresses => "many_addresses",
            Unverified::Loss => "loss",
            Unverified::OneSided => "one_sided",
            Unverified::Outage => "outage",
            Unverified::Role => "role",
            Unverified::Handshake => "handshake",
            Unverified::NobodyThere => "nobody_there",
            Unverified::Answer => "answer",
            Unverified::Caused => "caused",
        }
    }
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken.
    pub frames: u64,
    /// Tunnels that hosts began to use.
    pub tunnels: u64,
    /// First contacts begun.
    pub first_contacts: u64,
    /// First contacts by [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Evidence that weighed nothing, by [`Unverified`].
    pub unverified: [u64; Unverified::ALL.len()],
    /// Evidence by [`Signal`], in `Signal::ALL`'s order.
    pub evidence: [u64; Signal::ALL.len()],
    /// Alarms above watch, by [`Signal`].
    pub alarms: [u64; Signal::ALL.len()],
    /// Watches.
    pub watches: u64,
    /// Failures taken back because an answer came after all.
    pub retracted: u64,
    /// Connections found running that the start-up grace learnt.
    pub learnt: u64,
    /// SMB negotiations by [`Dialect`], in `Dialect::ALL`'s order.
    pub dialects: [u64; Dialect::ALL.len()],
    /// SMB connections by [`Feature`] made use of.
    pub features: [u64; Feature::ALL.len()],
    /// Servers that gave away a [`Condition`].
    pub conditions: [u64; Condition::ALL.len()],
    /// SMB negotiations that require signing.
    pub signed: u64,
    /// SMB negotiations that agreed on a cipher.
    pub encrypted: u64,
    /// SMB negotiations that agreed on a compression.
    pub compressed: u64,
}

impl Counters {
    /// Counts an outcome.
    pub fn outcome(&mut self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// Counts evidence that weighed nothing.
    pub fn unverified(&mut self, reason: Unverified) {
        if let Some(count) = self.unverified.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Counts evidence.
    pub fn evidence(&mut self, signal: Signal) {
        if let Some(count) = self.evidence.get_mut(signal as usize) {
            *count += 1;
        }
    }

    /// Counts a negotiation.
    pub fn negotiated(&mut self, dialect: Dialect) {
        if let Some(count) = self.dialects.get_mut(dialect as usize) {
            *count += 1;
        }
    }

    /// Counts a connection that made use of something.
    pub fn used(&mut self, feature: Feature) {
        if let Some(count) = self.features.get_mut(feature as usize) {
            *count += 1;
        }
    }

    /// Counts a condition that a server gave away.
    pub fn condition(&mut self, condition: Condition) {
        if let Some(count) = self.conditions.get_mut(condition as usize) {
            *count += 1;
        }
    }

    /// Counts an alarm.
    pub fn alarm(&mut self, signal: Signal) {
        if let Some(count) = self.alarms.get_mut(signal as usize) {
            *count += 1;
        }
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Counters) {
        // Named one by one: a new count that is left out here does not compile.
        let Counters {
            frames,
            tunnels,
            first_contacts,
            outcomes,
            unverified,
            evidence,
            alarms,
            watches,
            retracted,
            learnt,
            dialects,
            features,
            conditions,
            signed,
            encrypted,
            compressed,
        } = other;
        let all = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        all(&mut self.outcomes, outcomes);
        all(&mut self.unverified, unverified);
        all(&mut self.evidence, evidence);
        all(&mut self.alarms, alarms);
        all(&mut self.dialects, dialects);
        all(&mut self.features, features);
        all(&mut self.conditions, conditions);
        self.signed += signed;
        self.encrypted += encrypted;
        self.compressed += compressed;
        self.frames += frames;
        self.tunnels += tunnels;
        self.first_contacts += first_contacts;
        self.watches += watches;
        self.retracted += retracted;
        self.learnt += learnt;
    }
}
