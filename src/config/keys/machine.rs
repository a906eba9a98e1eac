//! Keys of what the machine does: gateway, fuse, greylist, tables, capture, what is shown, privileges.

use super::key::{Section, days, key, ms, secs};
use crate::config::value_kind::Kind::{
    Backend, Count, Entries, Interfaces, ListenOrOff, Mode, Name, Networks, Path, PathOrOff, Servers,
    ServicesOrLateral, Size, Switch, Time,
};

/// `[gateway]`.
pub(super) const GATEWAY: Section = Section {
    name: "gateway",
    why: "What this machine is to do.",
    keys: &[
        key(
            "mode",
            Mode(|c| &mut c.gateway.mode),
            "monitor decides, records and counts what it would have dropped, and drops nothing. enforce puts decisions \
             into the kernel. Start with monitor, read `firedoor held`, `hosts` and `why` for a week, then enforce. \
             Changing it keeps decisions: what is still due is dropped in enforce mode, and `firedoor check` says whom \
             that will be.",
        ),
        key(
            "interfaces",
            Interfaces(|c| &mut c.gateway.interfaces),
            "The interfaces (or the ports of a bridge) on the protected side, where hosts that may be infected come \
             in. Traffic is watched and dropped as it enters them. `firedoor run` needs at least one.",
        ),
        key(
            "care",
            Networks(|c| &mut c.gateway.care),
            "Networks that an isolated host may still reach: patch and antivirus servers, the hospital information \
             system, whatever a patient depends on. Empty means that isolation cuts everything.",
        ),
    ],
};

/// `[fuse]`.
pub(super) const FUSE: Section = Section {
    name: "fuse",
    why: "The kernel's own limiter of first contacts on lateral services. It works while the daemon is dead.",
    keys: &[
        key(
            "enabled",
            Switch(|c| &mut c.fuse.enabled),
            "Limit first contacts in the kernel. In monitor mode it counts and drops nothing.",
        ),
        key(
            "burst",
            Count(|c| &mut c.fuse.burst, 1..=10_000, "first contacts"),
            "So many pass before the rate applies.",
        ),
        key(
            "per_second",
            Count(|c| &mut c.fuse.per_second, 1..=1_000, "first contacts a second"),
            "So many a second pass after that. Williamson's virus throttle lets one through.",
        ),
        key(
            "contacts",
            Count(|c| &mut c.fuse.contacts, 1_024..=16_777_216, "elements"),
            "Size of the kernel's sets of known contacts, each family.",
        ),
        key(
            "contact_timeout",
            Time(|c| &mut c.fuse.contact_timeout, secs(60)..=days(30)),
            "How long the kernel remembers a contact.",
        ),
        key(
            "sources",
            Count(|c| &mut c.fuse.sources, 256..=1_048_576, "elements"),
            "Size of the kernel's sets of limited sources, each family.",
        ),
    ],
};

/// `[greylist]`.
pub(super) const GREYLIST: Section = Section {
    name: "greylist",
    why: "A first contact to a lateral service of a host that is no known server has to ask twice: the kernel drops its \
          first SYN and lets the next one pass, a second later. A worm asks once. It works while the daemon is dead. It \
          stands behind the fuse, and needs it. In monitor mode it counts and drops nothing.",
    keys: &[
        key(
            "enabled",
            Switch(|c| &mut c.greylist.enabled),
            "Have first contacts ask twice. A person waits a second, once a day for each host, and never for a server. \
             Whoever has a role for the port or is on the never-contain list waits for nobody. Let monitor mode \
             learn the servers first: `firedoor servers`, and `firedoor greylist` for what it would cost.",
        ),
        key(
            "wait",
            Time(|c| &mut c.greylist.wait, ms(100)..=secs(5)),
            "So long after the first SYN another one passes. TCP repeats it after one second, and next after three: \
             above 900 ms people wait for the third.",
        ),
        key(
            "ports",
            ServicesOrLateral(|c| &mut c.greylist.ports),
            "The lateral services that wait. Over UDP nothing repeats by itself: name such a port only if its clients \
             do.",
        ),
        key(
            "server_sources",
            Count(|c| &mut c.greylist.learning.sources, 2..=16, "clients"),
            "Who answered so many distinct clients on a port is a known server there: nobody waits for it. Whoever is \
             under suspicion is no client.",
        ),
        key(
            "server_days",
            Count(|c| &mut c.greylist.learning.days, 1..=30, "days"),
            "On so many days it must have answered somebody. In monitor mode the clients are enough, so that enforce mode \
             begins with all servers that were seen.",
        ),
        key(
            "server_keep",
            Time(|c| &mut c.greylist.learning.keep, days(2)..=days(365)),
            "A server that answers nobody for so long is known no more; one that refuses several clients is not until it \
             answers again.",
        ),
        key(
            "servers",
            Servers(|c| &mut c.greylist.servers),
            "Servers, by address or network and port: nobody waits for them. What is in gateway.care is one for every \
             port.",
        ),
    ],
};

/// `[tables]`.
pub(super) const TABLES: Section = Section {
    name: "tables",
    why: "How many of each the daemon remembers. Memory never grows past full tables, and `firedoor status` says how \
          much that is at most; when a table is full, the least suspicious idle entry goes first, and metrics count it.",
    keys: &[
        key(
            "hosts",
            Entries(|c| &mut c.detect.capacities.hosts, 1_024..=4_194_304, "hosts"),
            "Hosts with state. Several times the hosts you have.",
        ),
        key(
            "contacts",
            Entries(|c| &mut c.detect.capacities.contacts, 4_096..=67_108_864, "pairs"),
            "Source and destination pairs within the contact memory.",
        ),
        key(
            "addresses",
            Entries(|c| &mut c.detect.capacities.addresses, 1_024..=16_777_216, "addresses"),
            "Addresses whose liveness is known.",
        ),
        key(
            "attempts",
            Entries(|c| &mut c.detect.capacities.attempts, 1_024..=4_194_304, "attempts"),
            "Attempts waiting for their answer.",
        ),
        key(
            "streams",
            Entries(|c| &mut c.detect.capacities.streams, 256..=1_048_576, "connections"),
            "SMB and DCE/RPC connections followed at once.",
        ),
        key(
            "remembered_hosts",
            Entries(|c| &mut c.respond.remembered_hosts, 1_024..=1_048_576, "hosts"),
            "Hosts whose place on the ladder is remembered.",
        ),
        key(
            "most_held",
            Entries(|c| &mut c.respond.most_held, 16..=65_536, "decisions"),
            "Decisions held by the breaker at once; with more, the oldest is dropped.",
        ),
    ],
};

/// `[capture]`.
pub(super) const CAPTURE: Section = Section {
    name: "capture",
    why: "How frames are taken off the wire.",
    keys: &[
        key(
            "backend",
            Backend(|c| &mut c.capture.backend),
            "ring is a memory-mapped TPACKET_V3 ring with a filter in the kernel. pnet is a portable fallback: slower, \
             and one shard only.",
        ),
        key(
            "shards",
            Entries(|c| &mut c.capture.shards, 1..=64, "threads"),
            "Capture threads, each with tables of its own. Each takes whole networks (/24, /64), so that the addresses of a \
             device are counted together: with few networks, few threads have work. One serves most gateways. Decisions \
             do not depend on it.",
        ),
        key(
            "ring_size",
            Size(|c| &mut c.capture.ring_bytes, 262_144..=1_073_741_824),
            "Ring memory of each shard on each interface. Larger rides out longer pauses of the machine.",
        ),
        key(
            "block_timeout",
            Time(|c| &mut c.capture.block_timeout, ms(1)..=secs(1)),
            "The ring hands over a block that is not full after this. It bounds the time from packet to decision.",
        ),
    ],
};

/// `[observe]`.
pub(super) const OBSERVE: Section = Section {
    name: "observe",
    why: "Metrics, the admin API and history. The log's level is set by the environment variable FIREDOOR_LOG.",
    keys: &[
        key(
            "metrics",
            ListenOrOff(|c| &mut c.observe.metrics),
            "Where /metrics is served for Prometheus: read-only, without a password. Keep it on loopback unless a \
             firewall rule protects it.",
        ),
        key("socket", Path(|c| &mut c.observe.socket), "The admin API's unix socket."),
        key(
            "group",
            Name(|c| &mut c.observe.group),
            "Members of this group, and root, may open the socket, and contain, release and reload over it. \
             Whoever else an access-control entry on the socket lets in may only read.",
        ),
        key(
            "history",
            PathOrOff(|c| &mut c.observe.history),
            "The SQLite database of decisions, evidence and acts. Without it, a restart forgets the ladder, pardons and what is held.",
        ),
        key("history_keep", Time(|c| &mut c.observe.history_keep, days(1)..=days(3650)), "How long history is kept."),
        key(
            "history_rows",
            Count(|c| &mut c.observe.history_rows, 1_000..=100_000_000, "decisions"),
            "Most decisions kept, however young: what bounds the file.",
        ),
    ],
};

/// `[privileges]`.
pub(super) const PRIVILEGES: Section = Section {
    name: "privileges",
    why: "What the daemon gives up once it has opened what it needs. Change these only to find a fault.",
    keys: &[
        key(
            "user",
            Name(|c| &mut c.privileges.user),
            "The user to become when started as root. The systemd unit starts as this user already.",
        ),
        key(
            "landlock",
            Switch(|c| &mut c.privileges.landlock),
            "Confine which files the daemon may touch (Landlock, where the kernel has it).",
        ),
        key("seccomp", Switch(|c| &mut c.privileges.seccomp), "Confine which system calls the daemon may make."),
    ],
};
