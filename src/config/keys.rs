//! The one table of every key: its notation, range, unit, field and reason.
//!
//! The reader, the commented default file and the reference page are all made from it. Defaults stand nowhere but in
//! the `Default` of the settings themselves; the table reaches them through its fields. A new setting needs its field,
//! a row here, and `firedoor reference --write` for the two generated files.

use std::time::Duration;

use super::model::Config;
use super::notation::Kind::{
    self, Backend, Count, Date, Entries, Interfaces, Ladder, ListenOrOff, Mode, Name, Nats, Networks, Path, PathOrOff,
    Services, ServicesOrAny, Size, Small, Switch, Text, Time, TimeOr, Windows,
};
use crate::detect::settings::Role;
use crate::track::attempts::Attempts;
use crate::track::hosts::{ANY_WINDOWS, LATERAL_WINDOWS};
use crate::track::windows::Recent;

/// One key.
pub struct Key<T: 'static> {
    /// Its name within the section.
    pub name: &'static str,
    /// Its notation, range and field.
    pub kind: Kind<T>,
    /// What it does and why its default is what it is, in whole sentences.
    pub why: &'static str,
}

/// One table of the file.
pub struct Section {
    /// Its name, as in `[name]`.
    pub name: &'static str,
    /// What it is about.
    pub why: &'static str,
    /// Its keys, in the order shown.
    pub keys: &'static [Key<Config>],
}

const fn key<T>(name: &'static str, kind: Kind<T>, why: &'static str) -> Key<T> {
    Key { name, kind, why }
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

// What the tables of the core can answer for bounds what may be asked of them.
const LATERAL_MOST: u32 = fits(Recent::MOST);
const PENDING_MOST: u32 = fits(Attempts::MOST) - 1;

#[expect(clippy::cast_possible_truncation, reason = "sizes of arrays within one host's state")]
const fn fits(n: usize) -> u32 {
    n as u32
}

/// Every section but `[[role]]`.
pub static SECTIONS: &[Section] = &[
    Section {
        name: "gateway",
        why: "What this machine is to do.",
        keys: &[
            key(
                "mode",
                Mode(|c| &mut c.gateway.mode),
                "monitor decides, tells and counts what it would have dropped, and drops nothing. enforce puts decisions \
                 into the kernel. Start with monitor, read `firedoor held`, `hosts` and `why` for a week, then enforce.",
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
    },
    Section {
        name: "networks",
        why: "Whose hosts are watched, and whose must be left alone.",
        keys: &[
            key(
                "protected",
                Networks(|c| &mut c.detect.protected),
                "Networks whose hosts are watched and may be contained. Hosts outside are never decided against. The \
                 default is private address space (RFC 1918, RFC 4193) and link-local addresses.",
            ),
            key(
                "never_contain",
                Networks(|c| &mut c.respond.never_contain),
                "Hosts and networks that no decision may ever drop; the kernel consults this list ahead of every drop. \
                 Name the next hops, DNS, DHCP, domain controllers and clinical systems that must not fail. \
                 `firedoor check` proposes what it can recognise. The gateway's own addresses are on it always.",
            ),
            key(
                "decoys",
                Networks(|c| &mut c.detect.decoys),
                "Addresses where nobody has any business: unused ones, or a honeypot. Who connects to one is scanning.",
            ),
        ],
    },
    Section {
        name: "services",
        why: "What spreads, and over which ports.",
        keys: &[
            key(
                "lateral",
                Services(|c| &mut c.detect.lateral),
                "Services over which worms spread: SSH, Telnet, RPC, NetBIOS, SMB, MS SQL, RDP, VNC, WinRM. A contained \
                 host is cut off from these and from nothing else.",
            ),
            key(
                "inspect_smb",
                Switch(|c| &mut c.detect.inspect_smb),
                "Look into SMB and DCE/RPC headers for exploits and remote execution, not only at who connects to whom.",
            ),
        ],
    },
    Section {
        name: "detect",
        why: "When a host is taken for infected. Evidence adds to a host's score, measured in nats (a natural-logarithm \
              likelihood ratio); at the threshold it alarms. Windows of distinct destinations run beside it. Let \
              `firedoor tune` propose values from your own traffic before you change these.",
        keys: &[
            key(
                "threshold",
                Nats(|c| &mut c.detect.threshold, 1.0..=100.0),
                "The score at which a host alarms. 9.9 = ln 19800: Jung's sequential test with 70 % success for benign \
                 hosts, 10 % for scanners, a false alarm in 20,000 and 99 % detection.",
            ),
            key(
                "watch",
                Nats(|c| &mut c.detect.watch, 0.5..=100.0),
                "The score from which a host is watched: shown and recorded, nothing dropped.",
            ),
            key(
                "threshold_floor",
                Nats(|c| &mut c.detect.threshold_floor, 1.0..=100.0),
                "The threshold never falls below this, however many hosts are contained. Infection chains halve it, \
                 cooperation lowers it.",
            ),
            key(
                "cooperation_percent",
                Count(|c| &mut c.detect.cooperation_percent, 0..=100, "%"),
                "By how much each contained host lowers everyone's threshold (Weaver's cooperative containment). During \
                 an outbreak the next host is more likely infected. 0 turns it off.",
            ),
            key(
                "decay",
                Time(|c| &mut c.detect.decay, secs(10)..=hours(24)),
                "A score falls by one nat in this time, so that rare failures never add up.",
            ),
            key(
                "answer_timeout",
                Time(|c| &mut c.detect.answer_timeout, ms(20)..=secs(30)),
                "An attempt that nobody answered for so long has failed. Above the slowest round trip between your \
                 sites; below what a worm needs for its next ten addresses.",
            ),
            key(
                "pending_limit",
                Count(|c| &mut c.detect.pending_limit, 1..=PENDING_MOST, "attempts"),
                "With more attempts unanswered at once than this, they count as failed without waiting for the timeout: \
                 what stops a scan of thousands a second.",
            ),
            key(
                "lateral_windows",
                Windows(|c| &mut c.detect.lateral_windows, LATERAL_WINDOWS, secs(1)..=hours(24), 2..=LATERAL_MOST),
                "So many distinct destinations of first contacts on lateral services within a window alarm, answered or \
                 not. Over 86 benign hosts the most was 2 within 600 s; a worm makes 8 a second.",
            ),
            key(
                "any_windows",
                Windows(|c| &mut c.detect.any_windows, ANY_WINDOWS, secs(1)..=hours(24), 2..=60_000),
                "The same for first contacts on any port. Benign maxima measured: 59 within 10 s, 70 within 60 s, 131 \
                 within 600 s (mail and web bursts).",
            ),
            key(
                "contact_memory",
                Time(|c| &mut c.detect.contact_memory, secs(60)..=days(30)),
                "How long a source and destination pair is remembered: only the first attempt within it is a first \
                 contact. A day covers daily routine.",
            ),
            key(
                "dark_learning",
                Time(|c| &mut c.detect.dark_learning, Duration::ZERO..=days(7)),
                "How long a segment must have been watched before an address that nobody saw there counts as dark.",
            ),
            key(
                "start_up_grace",
                Time(|c| &mut c.detect.start_up_grace, Duration::ZERO..=hours(1)),
                "Connections found running this soon after the start are learnt and not counted.",
            ),
            key(
                "chain_memory",
                Time(|c| &mut c.detect.chain_memory, Duration::ZERO..=days(7)),
                "How long a host that an alarmed host reached counts as exposed: if it now spreads on the same port, it \
                 alarms at half the threshold.",
            ),
            key(
                "outage_sources",
                Count(|c| &mut c.detect.outage_sources, 2..=1000, "sources"),
                "When so many distinct sources fail on a destination that served lately, it is an outage and nobody's \
                 evidence.",
            ),
        ],
    },
    Section {
        name: "detect.weights",
        why: "What each kind of evidence adds to the score, in nats.",
        keys: &[
            key(
                "failure",
                Nats(|c| &mut c.detect.weights.failure, 0.0..=100.0),
                "A first contact failed: refused, unreachable or silent. ln(0.9/0.3). Alone it contains at the ninth.",
            ),
            key(
                "dark",
                Nats(|c| &mut c.detect.weights.dark, 0.0..=100.0),
                "A first contact to a dark address failed. Alone it contains at the third.",
            ),
            key(
                "arp",
                Nats(|c| &mut c.detect.weights.arp, 0.0..=100.0),
                "An ARP request or neighbour solicitation for a dark address stayed unanswered. Contains at the sixth.",
            ),
            key(
                "decoy",
                Nats(|c| &mut c.detect.weights.decoy, 0.0..=100.0),
                "A decoy was reached with a completed handshake. Contains at once.",
            ),
            key(
                "decoy_touch",
                Nats(|c| &mut c.detect.weights.decoy_touch, 0.0..=100.0),
                "A decoy was sent a bare SYN, which can be forged: less than a handshake.",
            ),
            key(
                "smb1",
                Nats(|c| &mut c.detect.weights.smb1, 0.0..=100.0),
                "SMB1 was negotiated with a new peer, and no role allows it.",
            ),
            key(
                "exploit",
                Nats(|c| &mut c.detect.weights.exploit, 0.0..=100.0),
                "An exploit's signature within a completed connection. Contains at once.",
            ),
            key(
                "remote_execution",
                Nats(|c| &mut c.detect.weights.remote_execution, 0.0..=100.0),
                "An administrative share and a remote-execution call on a new peer. One is an administrator's work; the \
                 second within minutes contains.",
            ),
            key(
                "known_server",
                Nats(|c| &mut c.detect.weights.known_server, -100.0..=0.0),
                "A first contact was answered by a server that others use: evidence of innocence, hence negative.",
            ),
            key(
                "answered",
                Nats(|c| &mut c.detect.weights.answered, -100.0..=100.0),
                "A first contact was answered by anyone else. 0: a topological worm is answered every time.",
            ),
        ],
    },
    Section {
        name: "respond",
        why: "What is done about an alarm.",
        keys: &[
            key(
                "ladder",
                Ladder(|c| &mut c.respond.ladder, secs(10)..=days(365)),
                "How long a decision lasts, a rung further on each repeat; the last rung is repeated.",
            ),
            key(
                "repeat_within",
                Time(|c| &mut c.respond.repeat_within, secs(60)..=days(365)),
                "An alarm within this time of the last decision is a repeat.",
            ),
            key(
                "quiet_before_release",
                Time(|c| &mut c.respond.quiet_before_release, Duration::ZERO..=hours(24)),
                "A host that still tried lateral services within this time before its decision ends is renewed instead \
                 of released.",
            ),
            key(
                "isolate_from_step",
                Small(|c| &mut c.respond.isolate_from_step, 1..=17, "(rung)"),
                "From this rung on, a scan isolates instead of containing. 17 never does.",
            ),
            key(
                "isolate_on_exploit",
                Switch(|c| &mut c.respond.isolate_on_exploit),
                "An exploit isolates at once, whatever the rung.",
            ),
            key(
                "pardon",
                Time(|c| &mut c.respond.pardon, Duration::ZERO..=days(7)),
                "A host that an engineer released is only watched for so long, whatever it does, over restarts too.",
            ),
        ],
    },
    Section {
        name: "breaker",
        why: "The circuit breaker on automatic decisions. Past these limits decisions are held for an engineer: see \
              `firedoor held`. The fuse works on.",
        keys: &[
            key(
                "most_at_once",
                Count(|c| &mut c.respond.breaker.most_at_once, 1..=1_000_000, "hosts"),
                "Most hosts contained or isolated at once.",
            ),
            key(
                "most_percent_of_zone",
                Count(|c| &mut c.respond.breaker.most_percent_of_zone, 1..=100, "%"),
                "Most contained or isolated at once, of the hosts seen in their zone: their /24, or their /64. The first four of \
                 a zone are free.",
            ),
            key(
                "most_a_minute",
                Count(|c| &mut c.respond.breaker.most_a_minute, 1..=1_000_000, "decisions"),
                "Most automatic decisions a minute.",
            ),
            key(
                "exploit_passes",
                Switch(|c| &mut c.respond.breaker.exploit_passes),
                "Exploit-grade evidence passes a tripped breaker: it is not what false alarms are made of.",
            ),
            key(
                "rearm_after",
                TimeOr(|c| &mut c.respond.breaker.rearm_after, secs(60)..=days(7), "by command"),
                "A tripped breaker re-arms by itself after this.",
            ),
        ],
    },
    Section {
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
    },
    Section {
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
    },
    Section {
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
                "Capture threads, each with tables of its own; one serves most gateways. Decisions do not depend on it.",
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
    },
    Section {
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
            key(
                "history_keep",
                Time(|c| &mut c.observe.history_keep, days(1)..=days(3650)),
                "How long history is kept.",
            ),
            key(
                "history_rows",
                Count(|c| &mut c.observe.history_rows, 1_000..=100_000_000, "decisions"),
                "Most decisions kept, however young: what bounds the file.",
            ),
        ],
    },
    Section {
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
    },
];

/// What `[[role]]` is about.
pub const ROLE_WHY: &str = "A named exemption, one table each: hosts that by their work contact many others \
    (vulnerability scanner, software distribution, backup, print server, monitoring). Their fan-out and failures on \
    these ports are no evidence. Every role needs an owner, a reason and an end, so that it can be questioned.";

/// The keys of `[[role]]`; those in [`ROLE_REQUIRED`] must be there.
pub static ROLE: &[Key<Role>] = &[
    key("name", Name(|r| &mut r.name), "Its name, unique: shown by `firedoor why`."),
    key("hosts", Networks(|r| &mut r.hosts), "Who has it."),
    key(
        "ports",
        ServicesOrAny(|r| &mut r.services),
        "The services on which first contacts and their failures are no evidence. Name them: \"any\" is a blank cheque.",
    ),
    key("owner", Text(|r| &mut r.owner), "Who answers for it."),
    key("reason", Text(|r| &mut r.reason), "Why it is needed."),
    key("until", Date(|r| &mut r.until), "When it ends. Left out, it never does, and `check` warns."),
    key("smb1", Switch(|r| &mut r.smb1), "SMB1 with new peers is no evidence either: an old scanner or copier."),
    key(
        "remote_execution",
        Switch(|r| &mut r.remote_execution),
        "Remote execution on new peers is no evidence either: software distribution.",
    ),
];

/// The keys that every role must have.
pub const ROLE_REQUIRED: [&str; 3] = ["name", "hosts", "ports"];
