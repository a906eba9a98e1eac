//! Hosts whose first contacts the kernel's fuse is limiting: told as decisions of their own.
//!
//! The fuse works without the daemon; this only makes it visible who meets it.

use std::collections::HashMap;
use std::time::Duration;

use crate::daemon::control::Control;
use crate::evidence::{Attachment, Score};
use crate::respond::cases::card_of;
use crate::respond::{By, Decision, Effect, Mode, Verdict};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::{Address, Link};

/// The same host is told again only after this.
const REPEAT: Duration = Duration::from_secs(600);

/// Most hosts looked at each time, each family.
const MOST: usize = 64;

/// Most hosts told within [`REPEAT`]. A forged flood has the fuse limit any number of sources, and must not fill the
/// history, or push what was decided out of it; the fuse's counters still count everybody.
const MOST_TOLD: usize = 256;

/// Who was told, and when.
pub(super) type Reported = HashMap<(Address, u32), Timestamp>;

impl Control {
    /// Tells whom the fuse limits now.
    pub(super) fn report_throttled(&mut self) {
        let now = self.clock.now();
        self.throttled.retain(|_, at| now.since(*at) < REPEAT);
        // While the table is not in place there is nothing to read; that is told elsewhere.
        let Ok(limited) = self.firewall.throttled(MOST) else { return };
        let enforced = self.responder.settings().mode == Mode::Enforce;
        for (place, packets) in limited {
            // A card that nobody has seen an address of is counted all the same.
            let Some((host, line)) = self.published.host_table.at(place) else { continue };
            let key = (host, place.link.interface);
            if self.throttled.len() >= MOST_TOLD {
                return;
            }
            let on_it = |case: &crate::respond::Case| [0, place.link.interface].contains(&case.suspect.link.interface);
            if self.responder.cases_of(host).any(on_it) || self.throttled.contains_key(&key) {
                continue;
            }
            self.throttled.insert(key, now);
            let line = line.and_then(|line| line.report);
            let verb = if enforced { "limits" } else { "would limit" };
            let decision = Decision {
                at: now,
                host,
                decision: Verdict::Throttle,
                score: line.as_ref().map_or(Score(0), |report| report.score),
                threshold: line.as_ref().map_or(Score(0), |report| report.threshold),
                destinations: line.as_ref().map_or(0, |report| report.destinations),
                grade: None,
                until: None,
                step: 0,
                enforced,
                reason: format!("the fuse {verb} its first contacts to lateral services ({packets} packets so far)"),
                by: By::Firedoor,
                suspect: line.as_ref().map_or(Suspect::address(Link::default(), host), |report| report.suspect),
                link: line
                    .as_ref()
                    .map_or_else(String::new, |report| self.responder.settings().link_name(report.suspect.link)),
                card: line.as_ref().and_then(|report| card_of(report.suspect)),
                addresses: Vec::new(),
                ports: Vec::new(),
                unpardons: Vec::new(),
                attachment: line.map_or_else(Attachment::default, |report| report.attachment),
                evidence: Vec::new(),
            };
            self.carry_out(&mut vec![Effect::Record(Box::new(decision))]);
        }
    }
}
