//! Engineers' orders to the responder: they pass the breaker, never the exemptions.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::detect::Directive;
use crate::evidence::Attachment;
use crate::respond::blocks::{MOST_ADDRESSES, MOST_BLOCKS};
use crate::respond::breaker;
use crate::respond::decision::several;
use crate::respond::held::Held;
use crate::respond::{Action, By, Decision, Effect, Exempted, Exemption, Responder, Verdict};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::{Address, Link};

/// Most entries on the never-contain list by command.
pub const MOST_BY_COMMAND: usize = 1024;

/// Who a host is, as far as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The suspect.
    pub suspect: Suspect,
    /// Where it sits.
    pub attachment: Attachment,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// What an engineer wants done about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered<'a> {
    /// The host.
    pub host: Address,
    /// Who that is, where it is known.
    pub known: Option<&'a Known>,
    /// Contain or isolate.
    pub action: Action,
    /// For how long; `None` is until released.
    pub duration: Option<Duration>,
    /// Why.
    pub reason: &'a str,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody may drop this host.
    #[error("{0} is {1}")]
    Exempt(Address, Exemption),
    /// Neither contained nor isolated.
    #[error("{0} is neither contained nor isolated")]
    NotActedOn(Address),
    /// No held decision has this number.
    #[error("no held decision has the number {0}")]
    NotHeld(u64),
    /// Too many hosts are acted on.
    #[error("{MOST_BLOCKS} hosts are acted on: release some first")]
    Full,
}

impl Responder {
    /// An engineer contains or isolates a host.
    pub fn order_act(
        &mut self,
        order: &Ordered<'_>,
        by: By,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let Ordered { host, known, action, duration, reason } = *order;
        let suspect = known.map_or(Suspect::address(Link::default(), host), |known| known.suspect);
        if let Some(exemption) = self.exemption(host) {
            return Err(Refused::Exempt(host, exemption));
        }
        if self.blocks.len() >= MOST_BLOCKS && !self.blocks.contains(suspect) {
            return Err(Refused::Full);
        }
        let mut addresses = vec![host];
        let others = known.map_or(&[][..], |known| &known.addresses);
        let open = others.iter().filter(|address| **address != host && self.exemption(**address).is_none());
        addresses.extend(open.take(MOST_ADDRESSES - 1));
        let overrules = self.history.overrule(suspect, &addresses);
        let ordered = Decision::without_alarm(now, suspect, host, action.verdict(), reason.to_owned());
        let decision = Decision {
            sender: known.map_or_else(Default::default, |known| known.attachment.mac),
            link: self.link_name(suspect),
            addresses: several(host, &addresses),
            until: duration.map(|length| now + length),
            by,
            overrules,
            ..ordered
        };
        self.open(decision, now, effects);
        Ok(())
    }

    /// An engineer releases a host; for the pardon's time it is then only watched.
    pub fn order_release(
        &mut self,
        host: Address,
        reason: &str,
        by: &By,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let suspects = self.blocks.of(host).to_vec();
        if suspects.is_empty() {
            return Err(Refused::NotActedOn(host));
        }
        for suspect in suspects {
            if let Some(block) = self.blocks.get(suspect) {
                self.history.forgive(suspect, block.host(), block.decision.key(), now, &self.settings);
            }
            self.close(suspect, reason.to_owned(), by.clone(), now, effects);
        }
        Ok(())
    }

    /// An engineer carries out a held decision.
    pub fn order_confirm(&mut self, id: u64, by: By, now: Timestamp, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let Held { action, decision, .. } = self.waiting.take(id).ok_or(Refused::NotHeld(id))?;
        if let Some(exemption) = self.exemption(decision.host) {
            return Err(Refused::Exempt(decision.host, exemption));
        }
        let step = self.next_step(decision.suspect, now);
        let reason = match decision.signal {
            Some(signal) => format!("held decision confirmed: {signal}"),
            None => "held decision confirmed".to_owned(),
        };
        self.act(Decision { decision: action.verdict(), by, ..decision.amended(now, reason) }, step, effects);
        Ok(())
    }

    /// An engineer discards a held decision; the host is then only watched for the pardon's time.
    pub fn order_discard(&mut self, id: u64, by: By, now: Timestamp, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let Held { decision, .. } = self.waiting.take(id).ok_or(Refused::NotHeld(id))?;
        let suspect = decision.suspect;
        let pardoned_until = self.history.forgive(suspect, decision.host, decision.key(), now, &self.settings);
        effects.push(Effect::Record(Arc::new(Decision {
            decision: Verdict::Release,
            pardoned_until,
            signal: None,
            by,
            reached: Vec::new(),
            evidence: Vec::new(),
            ..decision.amended(now, "held decision discarded".to_owned())
        })));
        effects.push(Effect::Direct(Directive::Released { suspect }));
        Ok(())
    }

    /// An engineer re-arms the breaker, or the zone of this address alone; says whether it was tripped.
    pub fn order_rearm(&mut self, zone: Option<Address>) -> bool {
        match zone {
            None => self.breaker.rearm(),
            Some(host) => self.breaker.rearm_zone(breaker::zone(host)),
        }
    }

    /// An engineer puts a network on the never-contain list: whom it covers is released.
    pub fn order_exempt(
        &mut self,
        entry: Exempted,
        by: &By,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let exempted = Arc::make_mut(&mut self.exempted);
        exempted.retain(|known| known.network != entry.network);
        if exempted.len() >= MOST_BY_COMMAND {
            return Err(Refused::Full);
        }
        exempted.push(entry);
        self.release_exempt(by, now, effects);
        Ok(())
    }

    /// An engineer takes a network added by command off the never-contain list; says whether it was on it.
    pub fn order_unexempt(&mut self, network: IpNetwork) -> bool {
        let before = self.exempted.len();
        Arc::make_mut(&mut self.exempted).retain(|entry| entry.network != network);
        self.exempted.len() != before
    }
}
