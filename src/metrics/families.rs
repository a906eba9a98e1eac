//! The table of what is read at each scrape: name, labels, meaning.

/// One exported metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    /// A counter; otherwise a gauge.
    pub counter: bool,
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $id: Family =
            Family { name: $name, labels: &[$($label),*], help: $help, counter: families!(@$kind) };)*

        /// What is read at each scrape, in order of name within a subject.
        pub const FAMILIES: &[Family] = &[$($id,)*];
    };
    (@counter) => { true };
    (@gauge) => { false };
}

families! {
    BUILD_INFO: gauge "firedoor_build_info" ["version"] "Always 1; the version is in the label.";
    ENFORCING: gauge "firedoor_enforcing" [] "1 in enforce mode, 0 in monitor mode.";
    SNAPSHOT: gauge "firedoor_snapshot_timestamp_seconds" []
        "When the control task last made its picture of the daemon; it does so about once a second.";

    CLOCK_AHEAD: gauge "firedoor_clock_ahead_seconds" []
        "By how much the machine's clock was set ahead since the daemon's start; decisions are told by the old clock.";

    PACKETS: counter "firedoor_packets_total" ["interface", "direction"] "Packets captured.";
    KERNEL_DROPS: counter "firedoor_kernel_drops_total" ["interface"]
        "Packets the kernel could not hand over because the ring was full.";
    LAST_PACKET: gauge "firedoor_interface_last_packet_timestamp_seconds" ["interface"]
        "When the last packet was seen; 0 is never.";
    BLIND: gauge "firedoor_interface_blind" ["interface", "reason"]
        "1 while the sensor cannot judge by this interface, for this reason.";
    RENAMED: gauge "firedoor_interface_renamed" ["interface"]
        "1 while the device is protected under another name than the configured one.";
    SHARD_ALIVE: gauge "firedoor_shard_alive_timestamp_seconds" ["shard"]
        "When the capture thread last showed that it runs.";
    UNDECODED: counter "firedoor_undecoded_total" ["reason"] "Frames that could not be decoded, by layer.";
    UNREAD: counter "firedoor_unread_frames_total" ["ethertype"]
        "Frames whose payload is not decoded, by EtherType; EtherTypes beyond the first 16 are counted as other.";
    FRAGMENTS: counter "firedoor_fragments_total" ["kind"]
        "IP fragments that hide a transport header (RFC 1858, RFC 3128, RFC 7112), by kind.";
    TUNNELLED: counter "firedoor_tunnelled_frames_total" ["kind", "opened"]
        "Tunnelled packets captured, by protocol; opened is false where the inner packet was not decoded.";
    ENCAPSULATED: counter "firedoor_encapsulated_frames_total" ["kind"]
        "Frames captured with more than one VLAN tag, a label or a shim between Ethernet and IP.";
    SAMPLED: gauge "firedoor_sampled_flows_ratio" []
        "Share of the flow buckets that the capture filter only samples (UDP streams, bare ACKs): the chance to miss a new flow.";
    QUEUE_DROPS: counter "firedoor_control_queue_drops_total" []
        "Alarms and reports a shard could not hand over because the control queue was full.";

    FIRST_CONTACTS: counter "firedoor_first_contacts_total" ["outcome"]
        "First contacts between protected hosts and services, by outcome.";
    EVIDENCE: counter "firedoor_evidence_total" ["signal"] "Pieces of evidence that changed a score.";
    UNVERIFIED: counter "firedoor_unverified_evidence_total" ["reason"]
        "Evidence that weighed nothing because its source could not be verified.";
    NEAR_MISSES: counter "firedoor_near_misses_total" []
        "Hosts that came half way to a decision and fell back without one.";
    NEAREST: gauge "firedoor_nearest_threshold_ratio" []
        "How near its threshold the nearest host is that nothing is decided about; 1 is an alarm.";
    NEAR_HOSTS: gauge "firedoor_hosts_near_threshold" ["at_least"]
        "Hosts that nothing is decided about, at least this share of the way to an alarm.";
    WINDOW_FILL: gauge "firedoor_window_fill_ratio" ["class", "window"]
        "The fullest fan-out window of this length, over all hosts that nothing is decided about.";

    TRACKED: gauge "firedoor_tracked_hosts" [] "Hosts with state.";
    WATCHED: gauge "firedoor_watched_hosts" [] "Hosts that are watched.";
    CONTAINED: gauge "firedoor_contained_hosts" ["cause", "enforced"]
        "Hosts contained now, by what they did or by an engineer's order; enforced is false in monitor mode.";
    ISOLATED: gauge "firedoor_isolated_hosts" ["cause", "enforced"]
        "Hosts isolated now, by what they did or by an engineer's order; enforced is false in monitor mode.";
    HELD: gauge "firedoor_held_decisions" [] "Decisions that wait for an engineer.";
    BREAKER_TRIPPED: gauge "firedoor_breaker_tripped" [] "1 while the breaker holds automatic decisions, in a zone or everywhere.";
    BREAKER_ZONES: gauge "firedoor_breaker_tripped_zones" [] "Zones whose decisions the breaker holds by themselves.";
    BREAKER_TRIPS: counter "firedoor_breaker_trips_total" [] "How often the breaker has tripped.";

    DROPPED: counter "firedoor_dropped_packets_total" ["by"]
        "Packets the kernel dropped: of contained and isolated hosts, hostile fragments, encapsulated frames and tunnels.";
    WOULD_DROP: counter "firedoor_would_drop_packets_total" ["by"]
        "Packets that would have been dropped, in monitor mode.";
    FUSE: counter "firedoor_fuse_limited_packets_total" ["effect"]
        "First contacts beyond the fuse's limit: dropped, or in monitor mode let through.";
    GREYLIST: counter "firedoor_greylist_delayed_packets_total" ["effect"]
        "Packets of first contacts with hosts that are no known servers: dropped, to be sent again, or in monitor mode let through.";
    RULESET_IN_PLACE: gauge "firedoor_ruleset_in_place" [] "1 while the kernel holds the ruleset as it should be.";
    RULESET_REPAIRS: counter "firedoor_ruleset_repairs_total" ["kind"]
        "How often something that somebody else changed in the ruleset was put right.";
    TABLE_DELETIONS: counter "firedoor_table_deletions_total" []
        "How often somebody else deleted the kernel's table, which leaves the door open until it is put back.";
    SET_ELEMENTS: gauge "firedoor_set_elements" ["set"] "Elements in a kernel set.";
    SET_CAPACITY: gauge "firedoor_set_capacity" ["set"] "Elements a kernel set can hold.";

    TABLE_ENTRIES: gauge "firedoor_table_entries" ["table"] "Entries in a table, over all shards.";
    TABLE_CAPACITY: gauge "firedoor_table_capacity" ["table"] "Entries a table can hold, over all shards.";
    TABLE_EVICTIONS: counter "firedoor_table_evictions_total" ["table"] "Entries evicted to make room.";

    SMB_NEGOTIATIONS: counter "firedoor_smb_negotiations_total" ["dialect"] "SMB negotiations, by agreed dialect.";
    SMB_HOSTS: gauge "firedoor_smb_hosts" ["dialect"] "Hosts in the host table that agreed on this dialect.";
    SMB1_HOSTS: gauge "firedoor_smb1_hosts" [] "Hosts in the host table that negotiated SMB1.";
    SMB_ENCRYPTED: counter "firedoor_smb_encrypted_total" [] "SMB connections in which encrypted messages were seen: nothing more can be seen of them.";
    SMB_SIGNED: counter "firedoor_smb_signed_total" [] "SMB connections that require signing.";
    SMB_COMPRESSED: counter "firedoor_smb_compressed_total" [] "SMB connections in which compressed messages were seen.";
    SMB_NEGOTIATED: counter "firedoor_smb_negotiated_total" ["feature"] "SMB connections that agreed on a cipher or a compression, used or not.";
    SMB_CONDITIONS: counter "firedoor_smb_server_conditions_total" ["condition"] "Answers by which a server gave away that it is unpatched (MS17-010) or implanted (DoublePulsar); the log names it.";

    RELOADS: counter "firedoor_config_reloads_total" ["result"] "Reloads of the configuration.";
    CONFIG_LOADED: gauge "firedoor_config_loaded_timestamp_seconds" [] "When the configuration in force was read.";
    CONFIG_CURRENT: gauge "firedoor_config_last_reload_successful" [] "0 while the file was refused and an older one runs.";
    STORE_RECORDS: counter "firedoor_store_records_total" ["result"] "Records for the history database.";
    STORE_WAITING: gauge "firedoor_store_waiting_records" [] "Records that wait to be written.";

    LOG_SUPPRESSED: counter "firedoor_log_suppressed_total" [] "Log lines left out because they repeated too fast.";

    PROCESS_START: gauge "process_start_time_seconds" [] "When the daemon started.";
    PROCESS_CPU: counter "process_cpu_seconds_total" [] "CPU time used, user and system.";
    PROCESS_MEMORY: gauge "process_resident_memory_bytes" [] "Resident memory.";
    PROCESS_THREADS: gauge "process_threads" [] "Threads.";
    PROCESS_FILES: gauge "process_open_fds" [] "Open file descriptors.";
}
