//! The table of metrics: kind, name, labels, meaning, and how each is read.
//!
//! A metric is one row here, whose reader the compiler asks for, and the counter or the figure that it reads. What no row
//! reads is dead code; what neither a panel of the dashboard nor an alert shows fails a test.

use super::near;
use super::readers;
use super::sight::{Samples, Sight, count, each, float, floats, maybe, one, pairs, signed, truth};
use crate::detect::Signal;
use crate::detect::counters::{Outcome, Unverified};
use crate::inspect::{Condition, Feature};
use crate::published::control_counters::OrderKind;
use crate::published::status::DropCause;
use crate::respond::address_probe::Finding;
use crate::respond::{Action, Mode};
use crate::time::Timestamp;
use crate::wire::frame::{FragmentKind, Undecoded};
use crate::wire::smb::Dialect;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Durations, counted in buckets.
    Histogram,
}

/// One exported metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name; a histogram's base name.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Reads its samples, each with the values of its labels; none where there is nothing to read.
    pub(super) read: fn(&Sight<'_>) -> Samples,
}

macro_rules! families {
    ($($kind:ident $name:literal [$($label:literal),*] $help:literal => $read:expr;)*) => {
        /// Every metric, in order of name within a subject.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            labels: &[$($label),*],
            help: $help,
            kind: Kind::$kind,
            read: $read,
        },)*];
    };
}

families! {
    Gauge "firedoor_build_info" ["version"]
        "Always 1; the version is in the label."
        => |at| each([(at.status.version.as_str(), 1.0)]);
    Gauge "firedoor_enforcing" []
        "1 in enforce mode, 0 in monitor mode."
        => |at| one(truth(at.status.mode == Mode::Enforce));
    Gauge "firedoor_snapshot_timestamp_seconds" []
        "When the control task last published its status; it does so about once a second."
        => |at| one(at.seconds(at.status.at));

    Gauge "firedoor_clock_ahead_seconds" []
        "By how much the machine's clock was set ahead since the daemon's start; decisions are dated by the old clock."
        => |at| one(signed(at.status.wall_ahead_ms) / 1000.0);

    Counter "firedoor_packets_total" ["interface", "direction"]
        "Packets captured."
        => readers::packets;
    Counter "firedoor_kernel_drops_total" ["interface"]
        "Packets the kernel could not hand over because the ring was full."
        => |at| at.interfaces(|interface| float(interface.kernel_drops.get()));
    Gauge "firedoor_interface_last_packet_timestamp_seconds" ["interface"]
        "When the last packet was seen; 0 is never."
        => |at| at.interfaces(|interface| at.seconds(Timestamp::from_nanos(interface.last_packet.get())));
    Gauge "firedoor_interface_blind" ["interface", "reason"]
        "1 while the sensor cannot judge by this interface, for this reason."
        => readers::blind;
    Gauge "firedoor_interface_renamed" ["interface"]
        "1 while the device is protected under another name than the configured one."
        => readers::renamed;
    Gauge "firedoor_shard_alive_timestamp_seconds" ["shard"]
        "When the capture thread last showed that it runs."
        => readers::shard_alive;
    Counter "firedoor_undecoded_total" ["reason"]
        "Frames that could not be decoded, by layer."
        => |at| each(Undecoded::ALL.map(|kind| (kind.label(), at.sum(|shard| shard.undecoded.get(kind as usize)))));
    Counter "firedoor_unread_frames_total" ["ethertype"]
        "Frames whose payload is not decoded, by EtherType; EtherTypes beyond the first 16 are counted as other."
        => readers::unread;
    Counter "firedoor_fragments_total" ["kind"]
        "IP fragments that hide a transport header (RFC 1858, RFC 3128, RFC 7112), by kind."
        => |at| each(FragmentKind::ALL.map(|kind| (kind.label(), at.sum(|shard| shard.fragments.get(kind as usize)))));
    Counter "firedoor_tunnelled_frames_total" ["kind", "opened"]
        "Tunnelled packets captured, by protocol; opened is false where the inner packet was not decoded."
        => readers::tunnelled;
    Counter "firedoor_encapsulated_frames_total" ["kind"]
        "Frames captured with more than one VLAN tag, a label or a shim between Ethernet and IP."
        => readers::encapsulated;
    Gauge "firedoor_sampled_flows_ratio" []
        "Share of the flow buckets that the capture filter only samples (UDP streams, bare ACKs): the chance to miss a new flow."
        => readers::sampled;
    Counter "firedoor_control_queue_drops_total" []
        "Alarms and reports a shard could not hand over because the control queue was full."
        => |at| one(at.sum(|shard| shard.queue_drops.get()));

    Counter "firedoor_first_contacts_total" ["outcome"]
        "First contacts between protected hosts and services, by outcome."
        => |at| each(Outcome::ALL.iter().map(|of| of.label()).zip(floats(&at.detected.outcomes)));
    Counter "firedoor_evidence_total" ["signal"]
        "Pieces of evidence that changed a score."
        => |at| each(Signal::ALL.iter().map(|of| of.label()).zip(floats(&at.detected.evidence)));
    Counter "firedoor_unverified_evidence_total" ["reason"]
        "Evidence that weighed nothing because its source could not be verified."
        => |at| each(Unverified::ALL.iter().map(|of| of.label()).zip(floats(&at.detected.unverified)));
    Counter "firedoor_near_misses_total" []
        "Hosts that came half way to a decision and fell back without one."
        => |at| one(float(at.published.host_table.near_misses()));
    Gauge "firedoor_nearest_threshold_ratio" []
        "How near its threshold the nearest host is that nothing is decided about; 1 is an alarm."
        => |at| one(f64::from(at.near.nearest) / 1000.0);
    Gauge "firedoor_hosts_near_threshold" ["at_least"]
        "Hosts that nothing is decided about, at least this share of the way to an alarm."
        => |at| each(near::SHARES.iter().map(|(_, label)| *label).zip(floats(&at.near.hosts)));
    Gauge "firedoor_window_fill_ratio" ["class", "window"]
        "The fullest fan-out window of this length, over all hosts that nothing is decided about."
        => |at| at.near.windows();

    Gauge "firedoor_tracked_hosts" []
        "Hosts with state."
        => |at| one(float(at.status.hosts.tracked));
    Gauge "firedoor_watched_hosts" []
        "Hosts that are watched."
        => |at| one(float(at.status.hosts.watched));
    Counter "firedoor_decisions_total" ["decision", "enforced", "cause"]
        "Decisions, by what was decided, whether the kernel drops by it (false: monitor mode, or exempt), and whether the host's doing or an engineer's order is the cause."
        => readers::decisions;
    Counter "firedoor_alarms_total" ["signal"] "Alarms, by the signal that tipped them."
        => |at| each(Signal::ALL.iter().map(|of| (of.label(), float(at.control.alarms(*of)))));
    Histogram "firedoor_packet_to_kernel_seconds" []
        "Time from the packet that tipped a decision to the kernel's acknowledgement of the block."
        => |at| at.latency();
    Counter "firedoor_orders_total" ["order", "result"] "Orders over the admin API, each counted once: carried out, or refused."
        => |at| pairs(OrderKind::ALL.iter().flat_map(|of| {
            let (done, refused) = at.control.orders(*of);
            [([of.label(), "done"], float(done)), ([of.label(), "refused"], float(refused))]
        }));
    Counter "firedoor_address_probes_total" ["finding"]
        "Links asked who has an address before it was acted on, by what was found."
        => |at| each(Finding::LABELS.map(|finding| (finding, float(at.control.probes(finding)))));
    Gauge "firedoor_contained_hosts" ["cause", "enforced"]
        "Hosts contained now, by what they did or by an engineer's order; enforced is false where the kernel drops nothing of it: in monitor mode, or because it cannot match the packets."
        => |at| at.acted(Action::Contain);
    Gauge "firedoor_isolated_hosts" ["cause", "enforced"]
        "Hosts isolated now, by what they did or by an engineer's order; enforced is false where the kernel drops nothing of it: in monitor mode, or because it cannot match the packets."
        => |at| at.acted(Action::Isolate);
    Gauge "firedoor_held_decisions" []
        "Decisions that wait for an engineer."
        => |at| one(float(at.status.hosts.held));
    Gauge "firedoor_breaker_tripped" []
        "1 while the breaker holds automatic decisions, in a zone or everywhere."
        => |at| one(truth(at.status.breaker.tripped.is_some()));
    Gauge "firedoor_breaker_tripped_zones" []
        "Zones whose decisions the breaker holds by themselves."
        => |at| one(count(at.status.breaker.zones.len()));
    Counter "firedoor_breaker_trips_total" []
        "How often the breaker has tripped."
        => |at| one(float(at.status.breaker.trips));

    Counter "firedoor_dropped_packets_total" ["by"]
        "Packets the kernel dropped: of contained and isolated hosts, hostile fragments, encapsulated frames and tunnels."
        => |at| each(DropCause::ALL.map(|cause| (cause.label(), float(at.status.firewall.drops_by(cause).0))));
    Counter "firedoor_would_drop_packets_total" ["by"]
        "Packets that would have been dropped, in monitor mode."
        => |at| each(DropCause::ALL.map(|cause| (cause.label(), float(at.status.firewall.drops_by(cause).1))));
    Counter "firedoor_fuse_limited_packets_total" ["effect"]
        "First contacts beyond the fuse's limit: dropped, or in monitor mode let through."
        => |at| each([("dropped", float(at.status.fuse.limited)), ("would_drop", float(at.status.fuse.would_limit))]);
    Counter "firedoor_greylist_delayed_packets_total" ["effect"]
        "Packets of first contacts with hosts that are no known servers: dropped, to be sent again, or in monitor mode let through."
        => |at| each([("dropped", float(at.status.greylist.delayed)), ("would_drop", float(at.status.greylist.would_delay))]);
    Gauge "firedoor_ruleset_in_place" []
        "1 while the kernel holds the ruleset as it should be."
        => |at| one(truth(at.status.firewall.in_place));
    Counter "firedoor_ruleset_repairs_total" ["kind"]
        "How often something that somebody else changed in the ruleset was put right."
        => readers::repairs;
    Counter "firedoor_table_deletions_total" []
        "How often somebody else deleted the kernel's table, which leaves the door open until it is put back."
        => |at| one(float(at.status.firewall.deletions.as_ref().map_or(0, |deletions| deletions.count)));
    Gauge "firedoor_set_elements" ["set"]
        "Elements in a kernel set."
        => |at| each(at.status.sets.iter().map(|set| (set.name.as_str(), float(set.used))));
    Gauge "firedoor_set_capacity" ["set"]
        "Elements a kernel set can hold."
        => |at| each(at.status.sets.iter().map(|set| (set.name.as_str(), float(set.capacity))));

    Gauge "firedoor_table_entries" ["table"]
        "Entries in a table, over all shards."
        => |at| at.tables(|table| table.used);
    Gauge "firedoor_table_capacity" ["table"]
        "Entries a table can hold, over all shards."
        => |at| at.tables(|table| table.capacity);
    Counter "firedoor_table_evictions_total" ["table"]
        "Entries evicted to make room."
        => |at| at.tables(|table| table.evicted);

    Counter "firedoor_smb_negotiations_total" ["dialect"]
        "SMB negotiations, by agreed dialect."
        => |at| each(Dialect::ALL.iter().map(|of| of.label()).zip(floats(&at.detected.dialects)));
    Gauge "firedoor_smb_hosts" ["dialect"]
        "Hosts in the host table that agreed on this dialect."
        => |at| each(Dialect::ALL.iter().map(|of| of.label()).zip(floats(&at.near.dialects)));
    Gauge "firedoor_smb1_hosts" []
        "Hosts in the host table that negotiated SMB1."
        => |at| one(float(at.near.smb1));
    Counter "firedoor_smb_encrypted_total" []
        "SMB connections in which encrypted messages were seen: nothing more can be seen of them."
        => |at| one(at.feature(Feature::Encryption));
    Counter "firedoor_smb_signed_total" []
        "SMB connections that require signing."
        => |at| one(float(at.detected.signed));
    Counter "firedoor_smb_compressed_total" []
        "SMB connections in which compressed messages were seen."
        => |at| one(at.feature(Feature::Compression));
    Counter "firedoor_smb_negotiated_total" ["feature"]
        "SMB connections that agreed on a cipher or a compression, used or not."
        => |at| each([("encryption", float(at.detected.encrypted)), ("compression", float(at.detected.compressed))]);
    Counter "firedoor_smb_server_conditions_total" ["condition"]
        "Answers by which a server gave away that it is unpatched (MS17-010) or implanted (DoublePulsar); `firedoor hosts --vulnerable` names it."
        => |at| each(Condition::ALL.iter().map(|of| of.label()).zip(floats(&at.detected.conditions)));

    Counter "firedoor_config_reloads_total" ["result"]
        "Reloads of the configuration."
        => |at| each([("ok", float(at.status.config.reloads)), ("failed", float(at.status.config.failed_reloads))]);
    Gauge "firedoor_config_loaded_timestamp_seconds" []
        "When the configuration in force was read."
        => |at| one(at.seconds(at.status.config.loaded_at));
    Gauge "firedoor_config_last_reload_successful" []
        "0 while the file was refused and an older one runs."
        => |at| one(truth(at.status.config.last_error.is_none()));
    Counter "firedoor_store_records_total" ["result"]
        "Records for the history database."
        => |at| each([("written", float(at.status.store.written)), ("lost", float(at.status.store.lost))]);
    Gauge "firedoor_store_waiting_records" []
        "Records that wait to be written."
        => |at| one(float(at.status.store.waiting));

    Counter "firedoor_log_suppressed_total" []
        "Log lines left out because they repeated too fast."
        => |_| one(float(crate::log::suppressed()));

    Gauge "process_start_time_seconds" []
        "When the daemon started."
        => |at| one(float(at.status.started.millis()) / 1000.0);
    Counter "process_cpu_seconds_total" []
        "CPU time used, user and system."
        => |at| maybe(at.usage.cpu_seconds);
    Gauge "process_resident_memory_bytes" []
        "Resident memory."
        => |at| maybe(at.usage.resident_bytes.map(float));
    Gauge "process_threads" []
        "Threads."
        => |at| maybe(at.usage.threads.map(float));
    Gauge "process_open_fds" []
        "Open file descriptors."
        => |at| maybe(at.usage.open_files.map(float));
}
