//! Nothing that can be set is without a row: each field of the settings is named here, so that a further one does not
//! compile until somebody has decided which key it has.

use crate::config::model::{Capture, Config, Fuse, Gateway, Greylist, Observe, Privileges};
use crate::detect::settings::{Capacities, Role, Settings, Weights};
use crate::respond;
use crate::respond::servers::Learning;
use crate::respond::settings::Breaker;

/// The settings that an engineer writes, by section. A field that is new belongs into the table of keys, and then here.
const _: fn(Config) = |config| {
    let Config { gateway, capture, detect, respond, fuse, greylist, observe, privileges } = config;
    let Gateway { mode: _, interfaces: _, care: _ } = gateway;
    let Capture { backend: _, shards: _, ring_bytes: _, block_timeout: _ } = capture;
    let Fuse { enabled: _, burst: _, per_second: _, contacts: _, contact_timeout: _, sources: _ } = fuse;
    let Greylist { enabled: _, wait: _, ports: _, learning, servers: _ } = greylist;
    let Learning { sources: _, days: _, keep: _ } = learning;
    let Observe { metrics: _, socket: _, group: _, history: _, history_keep: _, history_rows: _ } = observe;
    let Privileges { user: _, landlock: _, seccomp: _ } = privileges;
    detection(&detect);
    response(&respond);
};

fn detection(settings: &Settings) {
    let Settings {
        protected: _,
        lateral: _,
        decoys: _,
        roles: _,
        threshold: _,
        watch: _,
        threshold_floor: _,
        cooperation_percent: _,
        decay: _,
        weights,
        answer_timeout: _,
        pending_limit: _,
        lateral_windows: _,
        udp_windows: _,
        any_windows: _,
        contact_memory: _,
        dark_learning: _,
        start_up_grace: _,
        chain_memory: _,
        outage_sources: _,
        capacities,
        inspect_smb: _,
        check_reverse_path: _,
        address_probe: _,
        // What only the machine knows, or that it is a replay: see `Site`.
        own: _,
        attached: _,
        reverse_paths: _,
        live: _,
        believe_claims: _,
        fuse: _,
        greylist: _,
        learns_servers: _,
    } = settings;
    let Weights {
        failure: _,
        dark: _,
        arp: _,
        decoy: _,
        decoy_touch: _,
        smb1: _,
        exploit: _,
        remote_execution: _,
        fragment: _,
        waiting: _,
        once: _,
        known_server: _,
        answered: _,
    } = weights;
    let Capacities { hosts: _, contacts: _, addresses: _, attempts: _, streams: _ } = capacities;
}

fn response(settings: &respond::Settings) {
    let respond::Settings {
        never_contain: _,
        ladder: _,
        repeat_within: _,
        quiet_before_release: _,
        isolate_from_step: _,
        isolate_on_exploit: _,
        pardon: _,
        breaker,
        most_held: _,
        remembered_hosts: _,
        // Copies of other sections, and what only the machine knows.
        mode: _,
        protected: _,
        own_addresses: _,
        interfaces: _,
    } = settings;
    let Breaker { most_at_once: _, most_percent_of_zone: _, most_a_minute: _, exploit_passes: _, rearm_after: _ } =
        breaker;
}

/// The same of a role.
const _: fn(Role) = |role| {
    let Role { name: _, hosts: _, services: _, smb1: _, remote_execution: _, owner: _, reason: _, until: _ } = role;
};
