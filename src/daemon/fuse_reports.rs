//! [`FuseReports`]: hosts whose first contacts the kernel's fuse limits, reported as decisions of their own.
//!
//! The fuse works without the daemon; this only makes it visible who meets it.

use std::collections::HashMap;
use std::time::Duration;

use crate::evidence::{Attachment, Score};
use crate::published::Published;
use crate::respond::cases::card_of;
use crate::respond::{By, Decision, Effect, Mode, Responder, Verdict};
use crate::suspect::{Link, Place, Suspect};
use crate::time::Timestamp;
use crate::wire::Address;

/// The same host is reported again only after this.
const REPEAT: Duration = Duration::from_secs(600);

/// Most places looked at each time, each family.
pub(super) const MOST: usize = 64;

/// Most hosts reported within [`REPEAT`]. A forged flood has the fuse limit any number of sources, and must not fill the
/// history, or push what was decided out of it; the fuse's counters still count everybody.
const MOST_REPORTED: usize = 256;

/// Who was reported, and when.
#[derive(Debug, Default)]
pub(super) struct FuseReports {
    reported: HashMap<(Address, u32), Timestamp>,
}

impl FuseReports {
    /// Records of those that the fuse limits now, with packets so far, and that were not reported recently.
    pub fn report(
        &mut self,
        limited: Vec<(Place, u64)>,
        published: &Published,
        responder: &Responder,
        now: Timestamp,
    ) -> Vec<Effect> {
        self.reported.retain(|_, at| now.since(*at) < REPEAT);
        let mut records = Vec::new();
        for (place, packets) in limited {
            // A card that nobody has seen an address of is counted all the same.
            let Some((host, entry)) = published.host_table.at(place) else { continue };
            let key = (host, place.link.interface);
            if self.reported.len() >= MOST_REPORTED {
                break;
            }
            let on_it = |case: &crate::respond::Case| [0, place.link.interface].contains(&case.suspect.link.interface);
            if responder.cases_of(host).any(on_it) || self.reported.contains_key(&key) {
                continue;
            }
            self.reported.insert(key, now);
            let report = entry.and_then(|entry| entry.report);
            let enforced = responder.settings().mode == Mode::Enforce;
            let verb = if enforced { "limits" } else { "would limit" };
            let decision = Decision {
                at: now,
                host,
                decision: Verdict::Throttle,
                score: report.as_ref().map_or(Score(0), |report| report.score),
                threshold: report.as_ref().map_or(Score(0), |report| report.threshold),
                destinations: report.as_ref().map_or(0, |report| report.destinations),
                grade: None,
                until: None,
                step: 0,
                enforced,
                reason: format!("the fuse {verb} its first contacts to lateral services ({packets} packets so far)"),
                by: By::Firedoor,
                suspect: report.as_ref().map_or(Suspect::address(Link::default(), host), |report| report.suspect),
                link: report
                    .as_ref()
                    .map_or_else(String::new, |report| responder.settings().link_name(report.suspect.link)),
                card: report.as_ref().and_then(|report| card_of(report.suspect)),
                addresses: Vec::new(),
                ports: Vec::new(),
                unpardons: Vec::new(),
                attachment: report.map_or_else(Attachment::default, |report| report.attachment),
                evidence: Vec::new(),
            };
            records.push(Effect::Record(Box::new(decision)));
        }
        records
    }
}
