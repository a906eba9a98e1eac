//! Keys of what the core judges by: who is watched, when a host is taken for infected, what is done then.

use std::time::Duration;

use super::key::{Section, days, fits, hours, key, ms, secs};
use crate::config::value_kind::Kind::{Count, Ladder, Nats, Networks, Services, Small, Switch, Time, TimeOr, Windows};
use crate::track::attempts::Attempts;
use crate::track::host::{ANY_WINDOWS, LATERAL_WINDOWS, UDP_WINDOWS};
use crate::track::windows::Recent;

// What the tables of the core can answer for bounds what may be asked of them.
const LATERAL_MOST: u32 = fits(Recent::MOST);
const PENDING_MOST: u32 = fits(Attempts::MOST) - 1;

/// `[networks]`.
pub(super) const NETWORKS: Section = Section {
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
        key(
            "reverse_path",
            Switch(|c| &mut c.detect.check_reverse_path),
            "Believe a bare SYN only from a source that this machine's routes lead back to by the interface it came in \
             on, so that nobody gets hosts of another site contained by forging them. Turn it off where paths are \
             asymmetric by intent: there, evidence against remote hosts would weigh nothing, and be counted as \
             `reverse_path` in the metric of unverified evidence.",
        ),
        key(
            "address_probe",
            Switch(|c| &mut c.detect.address_probe),
            "Before a host on an attached or bridged link is cut off for what anybody could have sent in its name, probe \
             the link for who has the address (ARP, neighbour discovery), unless it lately answered. A host that is there \
             answers within a millisecond; one for which another card answers, or on an attached link none, was \
             forged, and is watched only. The probes are the only packets that Firedoor itself ever sends.",
        ),
    ],
};

/// `[services]`.
pub(super) const SERVICES: Section = Section {
    name: "services",
    why: "What spreads, and over which ports.",
    keys: &[
        key(
            "lateral",
            Services(|c| &mut c.detect.lateral),
            "Services over which worms spread: SSH, Telnet, RPC, NetBIOS, SMB, MS SQL, RDP, VNC, WinRM, SNMP. A contained \
             host is cut off from these and from nothing else.",
        ),
        key(
            "inspect_smb",
            Switch(|c| &mut c.detect.inspect_smb),
            "Look into SMB and DCE/RPC headers for exploits and remote execution, not only at who connects to whom.",
        ),
    ],
};

/// `[detect]`.
pub(super) const DETECT: Section = Section {
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
            "udp_windows",
            Windows(|c| &mut c.detect.udp_windows, UDP_WINDOWS, secs(1)..=hours(24), 2..=60_000),
            "The same for first contacts on lateral services over UDP, by themselves: looking up a name or a printer's \
             state is one datagram to each of many. Those that nobody answers also weigh as failures.",
        ),
        key(
            "any_windows",
            Windows(|c| &mut c.detect.any_windows, ANY_WINDOWS, secs(1)..=hours(24), 2..=60_000),
            "The same for first contacts on any port; those outside the protected networks alone lead to a watch. Benign maxima measured: 59 within 10 s, 70 within 60 s, 131 \
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
            "How long a subnet must have been watched before an address that nobody saw there counts as dark.",
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
};

/// `[detect.weights]`.
pub(super) const WEIGHTS: Section = Section {
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
            "An ARP request or neighbour solicitation for a dark address stayed unanswered. Others can make a host ask, so this leads to a watch at most, unless the host opens first contacts on lateral services itself meanwhile.",
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
            "SMB1 was negotiated with a new peer, and no role allows it. Contains at the fifth, in an outbreak too.",
        ),
        key(
            "exploit",
            Nats(|c| &mut c.detect.weights.exploit, 0.0..=100.0),
            "An exploit's signature within a completed connection. Contains at once.",
        ),
        key(
            "remote_execution",
            Nats(|c| &mut c.detect.weights.remote_execution, 0.0..=100.0),
            "An administrative share and a remote-execution call on a new peer. One is an administrator's work, however \
             often; the second peer within minutes contains, in an outbreak too.",
        ),
        key(
            "fragment",
            Nats(|c| &mut c.detect.weights.fragment, 0.0..=100.0),
            "A fragment that hides its transport header was sent to a new peer: a first one without the whole header, or \
             one at offset 1 (RFC 1858, RFC 3128). No stack sends them by itself. Contains at the second peer.",
        ),
        key(
            "waiting",
            Nats(|c| &mut c.detect.weights.waiting, 0.0..=100.0),
            "A first contact waits in the greylist at once with two others or more (within three seconds). Taken back when it \
             is answered. Alone it contains at the seventh; from the third on, second askings of the host are held back.",
        ),
        key(
            "once",
            Nats(|c| &mut c.detect.weights.once, 0.0..=100.0),
            "The greylist dropped a first contact, and nobody asked again within five seconds: TCP would have, a raw \
             scanner does not. To a dark address it weighs what `dark` does.",
        ),
        key(
            "known_server",
            Nats(|c| &mut c.detect.weights.known_server, -100.0..=0.0),
            "A first contact was answered by a server that others use: evidence of innocence, hence negative. On ports that \
             are no lateral services an answer from anybody takes back a third of it from what such ports added lately.",
        ),
        key(
            "answered",
            Nats(|c| &mut c.detect.weights.answered, -100.0..=100.0),
            "A first contact was answered by anyone else. 0: a topological worm is answered every time.",
        ),
    ],
};

/// `[respond]`.
pub(super) const RESPOND: Section = Section {
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
};

/// `[breaker]`.
pub(super) const BREAKER: Section = Section {
    name: "breaker",
    why: "The circuit breaker on automatic decisions. Past these limits decisions are held for an engineer: see \
          `firedoor held`. A zone trips by itself first: decisions in others are carried out. The fuse works on.",
    keys: &[
        key(
            "most_at_once",
            Count(|c| &mut c.respond.breaker.most_at_once, 1..=1_000_000, "hosts"),
            "Most suspects contained or isolated at once; three quarters of it in one zone.",
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
            "Most automatic decisions a minute, of distinct suspects; half of it in one zone.",
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
};
