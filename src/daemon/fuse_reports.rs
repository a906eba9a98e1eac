//! [`FuseReports`]: hosts whose first contacts the kernel's fuse limits, reported as decisions of their own.
//!
//! The fuse works without the daemon; this only makes it visible who meets it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::published::Published;
use crate::published::host_report::HostReport;
use crate::respond::{Block, Decision, Effect, Mode, Responder, Verdict};
use crate::suspect::{Place, Suspect};
use crate::time::Timestamp;
use crate::wire::{Address, Link};

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
            let on_it = |block: &Block| [0, place.link.interface].contains(&block.suspect().link.interface);
            if responder.blocks_of(host).any(on_it) || self.reported.contains_key(&key) {
                continue;
            }
            self.reported.insert(key, now);
            let enforced = responder.settings().mode == Mode::Enforce;
            let verb = if enforced { "limits" } else { "would limit" };
            let report = entry
                .and_then(|entry| entry.report)
                .unwrap_or(HostReport { suspect: Suspect::address(Link::default(), host), ..HostReport::default() });
            let reason = format!("the fuse {verb} its first contacts to lateral services ({packets} packets so far)");
            let decision = Decision {
                score: report.score,
                threshold: report.threshold,
                destinations: report.destinations,
                enforced,
                link: responder.settings().link_name(report.suspect.link),
                sender: report.attachment.mac,
                ..Decision::without_alarm(now, report.suspect, host, Verdict::Throttle, reason)
            };
            records.push(Effect::Record(Arc::new(decision)));
        }
        records
    }
}
