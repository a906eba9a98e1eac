//! Signals, evidence and alarms: what a detector says, in the design's words.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::frame::{Transport, TunnelKind};
use crate::wire::{Address, Link, Mac};

/// Evidence in thousandths of a nat, so that sums are exact and the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(pub i32);

impl Score {
    /// From nats, to the nearest thousandth.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a float to int cast saturates, and scores are small")]
    pub fn from_nats(nats: f64) -> Self {
        Score((nats * 1000.0).round() as i32)
    }

    /// In nats.
    #[must_use]
    pub fn nats(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// What is left of it after `age`, at one nat in `decay`; never below zero.
    #[must_use]
    pub fn decayed(self, age: Duration, decay: Duration) -> Self {
        let lost = age.as_nanos().saturating_mul(1000) / decay.as_nanos().max(1);
        Score(self.0.saturating_sub(i32::try_from(lost).unwrap_or(i32::MAX)).max(0))
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.nats())
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.nats())
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Score::from_nats)
    }
}

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $grade:ident;)*) => {
        /// One kind of evidence. The set is closed: each is a metric label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Signal {
            $($(#[$doc])* #[serde(rename = $label)] $name,)*
        }

        impl Signal {
            /// Every signal, in declaration order.
            pub const ALL: &'static [Signal] = &[$(Signal::$name,)*];

            /// Its name in JSON, metrics, logs and the manual.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Signal::$name => $label,)* }
            }

            /// What an alarm that rests on it is worth.
            #[must_use]
            pub const fn grade(self) -> Grade {
                match self { $(Signal::$name => Grade::$grade,)* }
            }
        }
    };
}

signals! {
    /// A first contact to a lateral service failed: refused, unreachable or silent.
    FailureFirstContact = "failure.first_contact", Scan;
    /// A first contact to a port that is no lateral service failed inside the protected networks.
    FailureOther = "failure.other", Scan;
    /// A first contact to a dark address failed.
    Dark = "dark", Scan;
    /// An ARP request or neighbour solicitation for a dark address stayed unanswered.
    ArpSweep = "arp.sweep", Scan;
    /// ICMP echo requests to addresses that do not answer.
    EchoSweep = "icmp.sweep", Scan;
    /// A decoy was touched: a bare SYN, datagram or echo.
    DecoyTouch = "decoy.touch", Scan;
    /// A decoy was touched with a completed handshake.
    Decoy = "decoy", Scan;
    /// First contact answered by a server that others use.
    KnownServer = "answered.known_server", Scan;
    /// First contact answered by anyone else, where the configuration gives that a weight.
    Answered = "answered.other", Scan;
    /// Distinct first contacts on lateral services within a window.
    FanoutLateral = "fanout.lateral", Scan;
    /// Distinct first contacts on any port within a window.
    FanoutAny = "fanout.any", Scan;
    /// The host was lately reached by an alarmed host on the port on which it now opens first contacts.
    Chain = "chain", Scan;
    /// SMB1 negotiated with a new peer.
    Smb1 = "smb.smb1", Scan;
    /// The MS17-010 probe: a transaction on an invalid pipe handle.
    Ms17010Probe = "smb.ms17_010_probe", Exploit;
    /// EternalBlue: transaction secondaries of the wrong kind, or its groom connections.
    EternalBlue = "smb.eternalblue", Exploit;
    /// DoublePulsar: Trans2 with an unimplemented subcommand.
    DoublePulsar = "smb.doublepulsar", Exploit;
    /// EternalRomance: Write AndX inside an open transaction.
    EternalRomance = "smb.eternalromance", Exploit;
    /// EternalChampion: NT rename request with its secondary in the same segment.
    EternalChampion = "smb.eternalchampion", Exploit;
    /// WannaCry's hard-coded tree connects.
    WannaCryTree = "smb.wannacry_tree", Exploit;
    /// SMBGhost (CVE-2020-0796): impossible compression header.
    SmbGhost = "smb.smbghost", Exploit;
    /// An administrative share plus a remote-execution call on a new peer.
    RemoteExecution = "lateral.remote_execution", Scan;
    /// A packet that opened nothing showed who is there: a new peer refused what no handshake preceded.
    Probe = "probe.liveness", Scan;
    /// A fragment made to hide a transport header: tiny, or overlapping it (RFC 1858, RFC 3128).
    FragmentEvasion = "fragment.evasion", Scan;
    /// Distinct destinations that the greylist has wait at once.
    GreylistWaiting = "greylist.waiting", Scan;
    /// The greylist dropped a first contact, and nobody asked again: TCP would have.
    GreylistOnce = "greylist.once", Scan;
    /// A host begins to use a tunnel, or several hosts in one spread: what runs inside cannot be distinguished at the door.
    Tunnel = "tunnel.begun", Scan;
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What an alarm rests on, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Half way: worth watching.
    Watch,
    /// Spreads like a worm by contacts, failures or fan-out.
    Scan,
    /// An exploit was seen inside a completed connection.
    Exploit,
}

/// The figures of one occurrence, kept as numbers and worded only when somebody reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// No answer within so many milliseconds.
    Silent {
        /// How long it waited.
        after_ms: u32,
    },
    /// No answer, and the host had this many attempts pending at once.
    Overrun {
        /// Attempts pending.
        pending: u32,
    },
    /// A RST came back.
    Refused,
    /// An ICMP error came back.
    Unreachable {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Answered.
    Answered,
    /// So many distinct destinations within a window, against its threshold.
    Window {
        /// Distinct first contacts seen.
        count: u32,
        /// The threshold.
        limit: u32,
        /// Window length in seconds.
        seconds: u32,
    },
    /// So many distinct destinations wait at once.
    Waiting {
        /// How many.
        count: u32,
    },
    /// Asked once, and not again within so many seconds.
    Once {
        /// How long that was waited for.
        seconds: u32,
    },
    /// Asked repeatedly for so many seconds, while the greylist held it back.
    HeldBack {
        /// For how long.
        seconds: u32,
    },
    /// A tunnel of this kind, with at least so many hosts inside.
    Tunnel {
        /// Its kind.
        kind: TunnelKind,
        /// Distinct source addresses inside, as far as they can be seen.
        inside: u32,
    },
    /// A host that is acted on spreads over another port too.
    Further {
        /// Points: an address that answered counts one, a dark one three.
        points: u16,
    },
    /// Infection chain: who reached this host.
    Chain {
        /// The alarmed host that did.
        from: Address,
    },
    /// Protocol fields: a fixed wording, up to four numbers for its `{}` places, and the source of the rule.
    Fields {
        /// What was seen, with one `{}` for each number used, in hexadecimal.
        what: &'static str,
        /// The numbers.
        values: [u32; 4],
        /// The specification section or advisory it rests on.
        source: &'static str,
    },
    /// A DCE/RPC call that makes another machine run something.
    Call {
        /// The interface's name.
        interface: &'static str,
        /// The operation's name.
        operation: &'static str,
        /// The operation's number.
        opnum: u16,
        /// How it was carried.
        way: &'static str,
        /// The specification section it rests on.
        source: &'static str,
    },
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Detail::Silent { after_ms } => write!(f, "no answer within {after_ms} ms"),
            Detail::Overrun { pending } => write!(f, "no answer yet, with {pending} attempts pending at once"),
            Detail::Refused => f.write_str("refused (RST)"),
            Detail::Unreachable { kind, code } => write!(f, "unreachable (ICMP type {kind} code {code})"),
            Detail::Answered => f.write_str("answered"),
            Detail::Window { count, limit, seconds } => {
                write!(f, "{count} distinct destinations within {seconds} s, threshold {limit}")
            }
            Detail::Waiting { count } => {
                write!(
                    f,
                    "{count} first contacts within 3 s, all with hosts that are no known servers, wait for an answer"
                )
            }
            Detail::Once { seconds } => {
                write!(f, "its first SYN was dropped, and not repeated within {seconds} s, as TCP does")
            }
            Detail::HeldBack { seconds } => {
                write!(f, "asked again and again within {seconds} s, while the greylist held it back")
            }
            Detail::Tunnel { kind, inside: 0 } => write!(f, "begins to use a tunnel ({})", kind.label()),
            Detail::Tunnel { kind, inside } => {
                write!(
                    f,
                    "{inside} hosts inside a tunnel ({}) open contacts: a site's, or made to look like one",
                    kind.label()
                )
            }
            Detail::Further { points } => write!(f, "spreads over this port too ({points} points)"),
            Detail::Chain { from } => write!(f, "lately reached by {from}, which is alarmed"),
            Detail::Fields { what, values, source } => {
                let mut parts = what.split("{}");
                if let Some(first) = parts.next() {
                    f.write_str(first)?;
                }
                for (part, value) in parts.zip(values) {
                    write!(f, "{value:#x}{part}")?;
                }
                write!(f, " [{source}]")
            }
            Detail::Call { interface, operation, opnum, way, source } => {
                write!(f, "{interface} {operation} (opnum {opnum:#x}) {way} [{source}]")
            }
        }
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One occurrence of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Which kind.
    pub signal: Signal,
    /// When.
    pub at: Timestamp,
    /// The other side.
    pub peer: Address,
    /// The service's port; 0 where there is none.
    pub port: u16,
    /// What it added to the score.
    pub weight: Score,
    /// The figures.
    pub detail: Detail,
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Evidence", 6)?;
        out.serialize_field("signal", &self.signal)?;
        out.serialize_field("at", &self.at)?;
        out.serialize_field("peer", &self.peer)?;
        out.serialize_field("port", &self.port)?;
        out.serialize_field("weight", &self.weight)?;
        out.serialize_field("detail", &self.detail)?;
        out.end()
    }
}

/// Where a host sits on the wire, as its own frames showed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Interface index.
    pub interface: u32,
    /// VLAN id, 0 for untagged.
    pub vlan: u16,
    /// The second VLAN id, 0 for none.
    pub inner_vlan: u16,
    /// The sender's hardware address; the router's, if the host is behind one.
    pub mac: Mac,
}

/// A destination that an alarmed host lately reached, for infection chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The destination.
    pub destination: Address,
    /// The lateral service's port.
    pub port: u16,
}

/// A detector's word that a host deserves a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The moment of the packet, or of the timeout, that tipped it.
    pub at: Timestamp,
    /// The suspect.
    pub suspect: Suspect,
    /// The address it last used.
    pub host: Address,
    /// All addresses that are shown to be the suspect's, that one first.
    pub addresses: Vec<Address>,
    /// What it spread over, besides the lateral services.
    pub ports: Vec<(Transport, u16)>,
    /// Where it sits.
    pub attachment: Attachment,
    /// What the alarm rests on.
    pub grade: Grade,
    /// The signal that tipped it.
    pub signal: Signal,
    /// The score then.
    pub score: Score,
    /// The threshold that applied to this host then.
    pub threshold: Score,
    /// Distinct destinations of first contact within the contact memory.
    pub destinations: u32,
    /// The latest evidence, oldest first, at most [`Alarm::EVIDENCE`].
    pub evidence: Vec<Evidence>,
    /// Whom it lately reached.
    pub reached: Vec<Reached>,
    /// About how many hosts were seen in its zone (its /24 or /64); saturates near 250.
    pub zone_hosts: u32,
}

impl Attachment {
    /// The link.
    #[must_use]
    pub const fn link(&self) -> Link {
        Link { interface: self.interface, outer: self.vlan, inner: self.inner_vlan }
    }
}

impl Alarm {
    /// How many pieces of evidence an alarm carries at most.
    pub const EVIDENCE: usize = 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_exact_where_floats_are_not() {
        let sum: i32 = (0..9).map(|_| Score::from_nats(1.10).0).sum();
        assert_eq!(Score(sum), Score::from_nats(9.9));
        assert_eq!(Score::from_nats(3.3).0 * 3, Score::from_nats(9.9).0);
    }

    #[test]
    fn field_details_fill_their_places_in_order() {
        let detail = Detail::Fields { what: "setup {} on handle {}", values: [0x23, 0, 7, 7], source: "MS-CIFS" };
        assert_eq!(detail.to_string(), "setup 0x23 on handle 0x0 [MS-CIFS]");
    }

    #[test]
    fn labels_are_distinct() {
        let mut labels: Vec<_> = Signal::ALL.iter().map(|s| s.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Signal::ALL.len());
    }
}
