//! Prometheus metrics: what is exported, under which names.
//!
//! Names follow Prometheus' conventions (base units, `_total` for counters), prefix `firedoor_`. Every label is a
//! closed enum or a protected interface's name, so the number of series is bounded: no address ever becomes a label.
//! All of it is read at the scrape from [`Published`]: the control task's counters, the
//! shards' counters, the host table and the latest [`Status`](crate::published::status::Status). Every series exists from the start, at zero,
//! so that `rate()` and alerts see the first event.

mod collect;
pub mod exporter;
mod families;
mod near;
mod readers;
mod sight;

use std::sync::Arc;

use prometheus::{Registry, TextEncoder};

use crate::published::Published;
pub use families::{FAMILIES, Family, Kind};

/// The registry of one daemon.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Registers everything that `published` shows.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new(published: &Arc<Published>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(collect::Exported::new(Arc::clone(published))?))?;
        Ok(Metrics { registry })
    }

    /// The names of everything exported just now; histograms by their base name.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    /// One scrape in Prometheus' text format.
    ///
    /// # Errors
    /// A family without a sample: a mistake in this file.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::counters::Counters as Detected;
    use crate::evidence::Score;
    use crate::inspect::{Condition, Feature};
    use crate::published::host_report::HostReport;
    use crate::published::host_report::{Class, WindowFill};
    use crate::respond::{Block, By, Decision, Mode, Responder, Settings, Verdict};
    use crate::suspect::Suspect;
    use crate::time::Timestamp;
    use crate::wire::frame::TunnelKind;
    use crate::wire::{Address, Link};

    fn published() -> Arc<Published> {
        Arc::new(Published::new(Arc::default()))
    }

    fn sample(text: &str, series: &str) -> f64 {
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in FAMILIES {
            assert!(family.name.starts_with("firedoor_") || family.name.starts_with("process_"), "{}", family.name);
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn every_event_has_a_series_at_zero_before_it_happens() {
        let text = Metrics::new(&published()).unwrap().text().unwrap();
        for series in [
            "firedoor_decisions_total{cause=\"alarm\",decision=\"contain\",enforced=\"true\"}",
            "firedoor_alarms_total{signal=\"smb.ms17_010_probe\"}",
            "firedoor_first_contacts_total{outcome=\"silent\"}",
            "firedoor_undecoded_total{reason=\"tcp\"}",
            "firedoor_fragments_total{kind=\"tiny\"}",
            "firedoor_tunnelled_frames_total{kind=\"gre\",opened=\"false\"}",
            "firedoor_encapsulated_frames_total{kind=\"pppoe\"}",
            "firedoor_unread_frames_total{ethertype=\"other\"}",
            "firedoor_sampled_flows_ratio",
            "firedoor_dropped_packets_total{by=\"fragment\"}",
            "firedoor_would_drop_packets_total{by=\"encapsulated\"}",
            "firedoor_ruleset_repairs_total{kind=\"table\"}",
            "firedoor_store_records_total{result=\"lost\"}",
            "firedoor_packet_to_kernel_seconds_bucket{le=\"0.0005\"}",
            "firedoor_contained_hosts{cause=\"alarm\",enforced=\"true\"}",
            "firedoor_breaker_tripped",
        ] {
            assert!(sample(&text, series).abs() < f64::EPSILON, "{series}");
        }
    }

    #[test]
    fn the_number_of_series_does_not_grow_with_hosts() {
        let published = published();
        let metrics = Metrics::new(&published).unwrap();
        let before = metrics.text().unwrap().lines().count();
        for n in 0..2000u32 {
            let report = HostReport { score: Score(5000), threshold: Score(9900), ..HostReport::default() };
            published.host_table.try_publish(Address::v4((0x0a00_0000 | n).to_be_bytes()), report);
        }
        assert_eq!(metrics.text().unwrap().lines().count(), before);
    }

    #[test]
    fn the_nearest_host_and_the_fullest_window_show() {
        let published = published();
        let windows = vec![WindowFill { class: Class::Lateral, seconds: 10, count: 8, limit: 10 }];
        let report = HostReport { score: Score(4950), threshold: Score(9900), windows, ..HostReport::default() };
        published.host_table.try_publish("10.0.0.7".parse().unwrap(), report);
        let text = Metrics::new(&published).unwrap().text().unwrap();
        for (series, expected) in [
            ("firedoor_nearest_threshold_ratio", 0.8),
            ("firedoor_hosts_near_threshold{at_least=\"0.75\"}", 1.0),
            ("firedoor_hosts_near_threshold{at_least=\"0.9\"}", 0.0),
            ("firedoor_window_fill_ratio{class=\"lateral\",window=\"10s\"}", 0.8),
            ("firedoor_window_fill_ratio{class=\"lateral\",window=\"60s\"}", 0.0),
        ] {
            assert!((sample(&text, series) - expected).abs() < 1e-9, "{series}");
        }
    }

    #[test]
    fn hosts_are_counted_as_shut_off_only_where_the_kernel_drops() {
        let block = |last, by, unmatched| {
            let host = Address::v4([10, 0, 0, last]);
            let suspect = Suspect::address(Link::untagged(1), host);
            let found = Decision::without_alarm(Timestamp::ZERO, suspect, host, Verdict::Contain, String::new());
            Block { unmatched, ..Block::new(Arc::new(Decision { by, ..found })).unwrap() }
        };
        let ana = || By::Operator("ana".to_owned());
        for (mode, expected) in [(Mode::Enforce, [1.0, 1.0, 1.0, 0.0]), (Mode::Monitor, [0.0, 0.0, 2.0, 1.0])] {
            let published = published();
            let mut responder = Responder::new(Settings { mode, ..Settings::default() });
            for block in [block(1, By::Firedoor, false), block(2, ana(), false), block(3, By::Firedoor, true)] {
                responder.restore(block, &mut Vec::new());
            }
            published.set_state(responder.state());
            let text = Metrics::new(&published).unwrap().text().unwrap();
            let of = |cause, enforced| {
                sample(&text, &format!("firedoor_contained_hosts{{cause=\"{cause}\",enforced=\"{enforced}\"}}"))
            };
            let found = [of("alarm", true), of("order", true), of("alarm", false), of("order", false)];
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < f64::EPSILON), "{mode}: {found:?}");
        }
    }

    #[test]
    fn shards_and_interfaces_are_summed_into_their_series() {
        let published = published();
        published.counters.interface("eth0").packets_in.add(41);
        let mut detected = Detected::default();
        detected.outcomes[3] = 7;
        published.counters.shard(0).unwrap().detected.store(Arc::new(detected));
        let text = Metrics::new(&published).unwrap().text().unwrap();
        let packets = sample(&text, "firedoor_packets_total{direction=\"in\",interface=\"eth0\"}");
        assert!((packets - 41.0).abs() < f64::EPSILON);
        assert!((sample(&text, "firedoor_first_contacts_total{outcome=\"silent\"}") - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_frames_were_shows_by_kind() {
        let published = published();
        let shard = published.counters.shard(0).unwrap();
        shard.encapsulated.add(1, 3);
        shard.tunnels_closed.add(TunnelKind::Sctp as usize, 4);
        published.counters.ethertype(0x8926).add(40);
        let text = Metrics::new(&published).unwrap().text().unwrap();
        for (name, wanted) in [
            ("firedoor_encapsulated_frames_total{kind=\"pppoe\"}", 3.0),
            ("firedoor_tunnelled_frames_total{kind=\"sctp\",opened=\"false\"}", 4.0),
            ("firedoor_tunnelled_frames_total{kind=\"sctp\",opened=\"true\"}", 0.0),
            ("firedoor_unread_frames_total{ethertype=\"0x8926\"}", 40.0),
        ] {
            assert!((sample(&text, name) - wanted).abs() < f64::EPSILON, "{name}");
        }
    }

    #[test]
    fn what_smb_servers_give_away_and_use_and_agree_on_are_distinguished() {
        let published = published();
        let shard = published.counters.shard(0).unwrap();
        let mut detected = Detected { encrypted: 5, ..Detected::default() };
        detected.features[Feature::Compression as usize] = 3;
        detected.conditions[Condition::Implanted as usize] = 2;
        shard.detected.store(Arc::new(detected));
        let text = Metrics::new(&published).unwrap().text().unwrap();
        for (name, wanted) in [
            ("firedoor_smb_compressed_total", 3.0),
            ("firedoor_smb_encrypted_total", 0.0),
            ("firedoor_smb_negotiated_total{feature=\"encryption\"}", 5.0),
            ("firedoor_smb_negotiated_total{feature=\"compression\"}", 0.0),
            ("firedoor_smb_server_conditions_total{condition=\"implanted\"}", 2.0),
            ("firedoor_smb_server_conditions_total{condition=\"unpatched\"}", 0.0),
        ] {
            assert!((sample(&text, name) - wanted).abs() < f64::EPSILON, "{name}");
        }
    }
}
