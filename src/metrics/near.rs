//! [`Near`]: how near the hosts are to a decision, and what SMB they speak, read off the host table in one pass.

use super::sight::{Samples, Value};
use crate::detect::settings::Window;
use crate::published::Published;
use crate::published::host_report::Class;
use crate::wire::smb::Dialect;

/// Shares of the threshold that hosts are counted by, in thousandths, with their labels.
pub(super) const SHARES: [(u32, &str); 4] = [(250, "0.25"), (500, "0.5"), (750, "0.75"), (900, "0.9")];

/// What one pass over the host table finds.
pub(super) struct Near {
    /// How near its threshold the nearest host is that nothing is decided about, in thousandths.
    pub nearest: u32,
    /// Hosts at least each of [`SHARES`] of the way.
    pub hosts: [u64; SHARES.len()],
    /// Hosts that agreed on each dialect, in [`Dialect::ALL`]'s order.
    pub dialects: [u64; Dialect::ALL.len()],
    /// Hosts that agreed on SMB1.
    pub smb1: u64,
    /// How full the fullest of each window is: class, seconds, share.
    fill: Vec<(Class, u64, f64)>,
}

impl Near {
    /// Passes over the host table.
    pub fn of(published: &Published) -> Self {
        let site = published.site();
        let windows = |class, windows: &[Window]| -> Vec<(Class, u64, f64)> {
            windows.iter().map(|window| (class, window.length.as_secs(), 0.0)).collect()
        };
        let mut fill = windows(Class::Lateral, &site.detect.lateral_windows);
        fill.extend(windows(Class::Any, &site.detect.any_windows));
        fill.extend(windows(Class::Udp, &site.detect.udp_windows));
        let mut near = Near { nearest: 0, hosts: Default::default(), dialects: Default::default(), smb1: 0, fill };
        let now = published.status().at;
        let state = published.state();
        published.host_table.each(|address, entry| {
            for (at, hosts) in near.dialects.iter_mut().enumerate() {
                *hosts += u64::from((entry.smb.client | entry.smb.server) >> at & 1);
            }
            near.smb1 += u64::from(entry.smb.smb1());
            let Some(report) = &entry.report else { return };
            if state.is_acted_on(address, entry.link, entry.suspect()) {
                return;
            }
            let nearness = report.nearness_at(now, site.detect.decay);
            near.nearest = near.nearest.max(nearness);
            for ((least, _), hosts) in SHARES.iter().zip(&mut near.hosts) {
                *hosts += u64::from(nearness >= *least);
            }
            let age = now.since(report.at);
            for window in report.windows.iter().filter(|window| age.as_secs() < window.seconds) {
                let same =
                    |(class, seconds, _): &&mut (Class, u64, f64)| (*class, *seconds) == (window.class, window.seconds);
                if let Some((_, _, fullest)) = near.fill.iter_mut().find(same) {
                    *fullest = fullest.max(f64::from(window.count) / f64::from(window.limit.max(1)));
                }
            }
        });
        near
    }

    /// How full the fullest of each window is.
    pub fn windows(&self) -> Samples {
        let sample = |(class, seconds, share): &(Class, u64, f64)| {
            (vec![class.label().to_owned(), format!("{seconds}s")], Value::Number(*share))
        };
        self.fill.iter().map(sample).collect()
    }
}
