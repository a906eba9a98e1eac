//! What the core is tuned by. `config` builds these from the TOML file; the core never sees the file.

use std::time::Duration;

use crate::detect::reverse_path::ReversePaths;
use crate::evidence::{Detail, Score};
use crate::time::Timestamp;
use crate::track::buckets::Fuse;
use crate::wire::frame::Transport;
use crate::wire::{Address, Networks, Services};

/// A named exemption: which hosts may do which services' fan-out, why, whose, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name, unique in the config.
    pub name: String,
    /// Who has it.
    pub hosts: Networks,
    /// The services on which first contacts and their failures are no evidence; `None` is every service.
    pub services: Option<Services>,
    /// SMB1 with new peers is no evidence.
    pub smb1: bool,
    /// Remote execution on new peers is no evidence.
    pub remote_execution: bool,
    /// Who answers for it.
    pub owner: String,
    /// Why it is needed.
    pub reason: String,
    /// When it ends; `None` is never.
    pub until: Option<Timestamp>,
}

/// A fan-out window: at `limit` distinct first contacts within `length`, an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its length.
    pub length: Duration,
    /// Its threshold.
    pub limit: u32,
}

impl Window {
    /// The figures of `count` first contacts within it, against `limit`.
    #[must_use]
    pub fn filled(&self, count: u32, limit: u32) -> Detail {
        Detail::Window { count, limit, seconds: u32::try_from(self.length.as_secs()).unwrap_or(u32::MAX) }
    }
}

/// The weights of evidence, in nats; DESIGN.md's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// First contact failed.
    pub failure: Score,
    /// First contact to a dark address failed.
    pub dark: Score,
    /// ARP request or neighbour solicitation for a dark address, unanswered.
    pub arp: Score,
    /// Decoy: completed handshake.
    pub decoy: Score,
    /// Decoy: bare SYN.
    pub decoy_touch: Score,
    /// SMB1 negotiated with a new peer.
    pub smb1: Score,
    /// Exploit signature after a completed handshake.
    pub exploit: Score,
    /// Admin share plus remote-execution call on a new peer.
    pub remote_execution: Score,
    /// A fragment that hides its transport header, sent to a new peer.
    pub fragment: Score,
    /// A destination that waits at once with two others or more.
    pub waiting: Score,
    /// A first contact that the greylist dropped, and that was not asked again.
    pub once: Score,
    /// First contact answered by a known server (negative).
    pub known_server: Score,
    /// First contact answered by anyone else.
    pub answered: Score,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            failure: Score(1100),
            dark: Score(3300),
            arp: Score(1650),
            decoy: Score(9900),
            decoy_touch: Score(5000),
            smb1: Score(2000),
            exploit: Score(9900),
            remote_execution: Score(5000),
            fragment: Score(5000),
            waiting: Score(2000),
            once: Score(1100),
            known_server: Score(-1390),
            answered: Score(0),
        }
    }
}

/// Table sizes, per daemon; shards split the per-shard ones evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Hosts with state.
    pub hosts: usize,
    /// (source, destination) pairs remembered.
    pub contacts: usize,
    /// Addresses whose liveness is known.
    pub addresses: usize,
    /// Attempts waiting for an answer.
    pub attempts: usize,
    /// SMB and DCE/RPC connections followed.
    pub streams: usize,
}

impl Default for Capacities {
    fn default() -> Self {
        Capacities { hosts: 65_536, contacts: 1_048_576, addresses: 262_144, attempts: 65_536, streams: 16_384 }
    }
}

/// The kernel's greylist, as the core mirrors it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greylist {
    /// Whether the kernel drops what waits; otherwise it is only reported who would have waited.
    pub drops: bool,
    /// The second asking passes so long after the first.
    pub wait: Duration,
    /// The services that wait.
    pub services: Services,
    /// Servers that the configuration names: for them nobody waits.
    pub given: Vec<(ipnetwork::IpNetwork, Transport, u16)>,
    /// Networks that are servers for every port.
    pub care: Networks,
    /// Who waits for nobody.
    pub exempt: Networks,
}

impl Greylist {
    /// Whether a first contact of `source` with this service waits, as far as the configuration says: servers that were
    /// learnt are known elsewhere.
    #[must_use]
    pub fn covers(&self, source: Address, (destination, transport, port): (Address, Transport, u16)) -> bool {
        let waits = match transport {
            Transport::Tcp => self.services.has_tcp(port),
            Transport::Udp => self.services.has_udp(port),
            Transport::Icmp | Transport::Other => false,
        };
        waits && !self.exempt.contains(source) && !self.is_given((destination, transport, port))
    }

    /// Whether the configuration names this server.
    #[must_use]
    pub fn is_given(&self, (address, transport, port): (Address, Transport, u16)) -> bool {
        let given = |(network, over, on): &(ipnetwork::IpNetwork, Transport, u16)| {
            (*over, *on) == (transport, port) && network.contains(address.ip())
        };
        self.care.contains(address) || self.given.iter().any(given)
    }
}

/// Everything the detector is tuned by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose hosts are watched and may be contained.
    pub protected: Networks,
    /// The lateral services.
    pub lateral: Services,
    /// Bait addresses.
    pub decoys: Networks,
    /// Exemptions.
    pub roles: Vec<Role>,
    /// Score at which a host alarms.
    pub threshold: Score,
    /// Score from which a host is watched.
    pub watch: Score,
    /// The threshold never falls below this, chains and cooperation together.
    pub threshold_floor: Score,
    /// By how many hundredths each contained host lowers everyone's threshold.
    pub cooperation_percent: u32,
    /// The score falls by one nat in this time.
    pub decay: Duration,
    /// Evidence weights.
    pub weights: Weights,
    /// An attempt without an answer for so long has failed.
    pub answer_timeout: Duration,
    /// With more attempts pending than this, the source's pending attempts fail at once.
    pub pending_limit: u32,
    /// Fan-out on lateral services.
    pub lateral_windows: Vec<Window>,
    /// Fan-out on lateral services over UDP, where one query to each of many is common.
    pub udp_windows: Vec<Window>,
    /// Fan-out on any port.
    pub any_windows: Vec<Window>,
    /// How long a (source, destination) pair is remembered.
    pub contact_memory: Duration,
    /// How long a subnet must have been watched before an address nobody saw is dark.
    pub dark_learning: Duration,
    /// Connections found running are learnt, not counted, for so long after the first packet.
    pub start_up_grace: Duration,
    /// How long a host that an alarmed host reached counts as exposed.
    pub chain_memory: Duration,
    /// From so many distinct sources failing on a destination that served lately, it is an outage.
    pub outage_sources: u32,
    /// Table sizes.
    pub capacities: Capacities,
    /// Look into SMB and DCE/RPC.
    pub inspect_smb: bool,
    /// The gateway's own addresses: never suspects.
    pub own: Networks,
    /// Networks attached to an interface, by its index, for the reverse-path check; empty in a replay.
    pub attached: Vec<(u32, Networks)>,
    /// By which interface each address is reached, for the same check beyond the attached networks; empty in a replay.
    pub reverse_paths: ReversePaths,
    /// Whether a source must live behind the interface its packet came in on, by `reverse_paths`.
    pub check_reverse_path: bool,
    /// Whether a link is probed for who has an address before the address is acted on; never in a replay.
    pub address_probe: bool,
    /// Whether links can be asked who has an address; never in a replay.
    pub live: bool,
    /// Whether an address that a card claims unasked is taken for its own: in a replay, where nobody can be asked.
    pub believe_claims: bool,
    /// The kernel's fuse as the core mirrors it; `None` where nothing is dropped.
    pub fuse: Option<Fuse>,
    /// The kernel's greylist as the core mirrors it; `None` where first contacts do not wait, and nobody asks who would.
    pub greylist: Option<Greylist>,
    /// Whether who serves whom is reported, so that servers are learnt.
    pub learns_servers: bool,
}

/// The services worms spread over: DESIGN.md's table of words.
pub const LATERAL_TCP: [u16; 11] = [22, 23, 135, 139, 445, 1433, 3389, 5900, 5985, 5986, 2323];

/// Those over UDP: NetBIOS names and datagrams, SNMP, MS SQL's resolution.
pub const LATERAL_UDP: [u16; 4] = [137, 138, 161, 1434];

/// Both, as they are by default.
#[must_use]
pub fn lateral() -> Vec<(Transport, u16)> {
    let tcp = LATERAL_TCP.iter().map(|&port| (Transport::Tcp, port));
    tcp.chain(LATERAL_UDP.iter().map(|&port| (Transport::Udp, port))).collect()
}

impl Settings {
    /// Whether `address` lies in a network attached to this interface.
    #[must_use]
    pub fn is_attached(&self, interface: u32, address: Address) -> bool {
        self.attached.iter().any(|(index, networks)| *index == interface && networks.contains(address))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let protected = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
        let window = |secs, limit| Window { length: Duration::from_secs(secs), limit };
        Settings {
            protected: Networks::new(protected.iter().filter_map(|text| text.parse().ok()).collect()),
            lateral: Services::new(&lateral()),
            decoys: Networks::default(),
            roles: Vec::new(),
            threshold: Score(9900),
            watch: Score(5000),
            threshold_floor: Score(5000),
            cooperation_percent: 20,
            decay: Duration::from_secs(600),
            weights: Weights::default(),
            answer_timeout: Duration::from_millis(300),
            pending_limit: 3,
            lateral_windows: vec![
                window(10, 10),
                window(60, 15),
                window(600, 30),
                window(3600, 60),
                window(28_800, 120),
            ],
            udp_windows: vec![window(10, 30), window(60, 60), window(600, 150)],
            any_windows: vec![window(10, 120), window(60, 300), window(600, 1000)],
            contact_memory: Duration::from_secs(86_400),
            dark_learning: Duration::from_secs(600),
            start_up_grace: Duration::ZERO,
            chain_memory: Duration::from_secs(3600),
            outage_sources: 3,
            capacities: Capacities::default(),
            inspect_smb: true,
            own: Networks::default(),
            attached: Vec::new(),
            reverse_paths: ReversePaths::default(),
            check_reverse_path: true,
            address_probe: true,
            live: false,
            believe_claims: false,
            fuse: None,
            greylist: None,
            learns_servers: false,
        }
    }
}
