//! The checked configuration: ready objects, built once from [`reader`](super) and read by everything else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::respond::Mode;
use crate::respond::servers::Learning;
use crate::wire::frame::Transport;
use crate::wire::{Networks, Services};

/// Which way frames are taken off the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// TPACKET_V3 ring with in-kernel filter and fan-out.
    #[default]
    Ring,
    /// pnet's datalink reader: portable, slower, one shard.
    Pnet,
}

/// `[gateway]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Monitor or enforce.
    pub mode: Mode,
    /// The protected interfaces, by name.
    pub interfaces: Vec<String>,
    /// Networks that stay reachable for isolated hosts.
    pub care: Networks,
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Ring or pnet.
    pub backend: Backend,
    /// Capture threads, each with tables of its own.
    pub shards: usize,
    /// Ring memory of one shard on one interface, in bytes.
    pub ring_bytes: usize,
    /// A ring block is handed over after this at the latest.
    pub block_timeout: Duration,
}

/// `[fuse]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// Whether the kernel limits first contacts.
    pub enabled: bool,
    /// First contacts let through before the rate applies.
    pub burst: u32,
    /// First contacts let through a second after that.
    pub per_second: u32,
    /// Elements of the kernel's contact sets, each family.
    pub contacts: u32,
    /// How long the kernel remembers a contact.
    pub contact_timeout: Duration,
    /// Elements of the kernel's limiter sets, each family.
    pub sources: u32,
}

/// `[greylist]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greylist {
    /// Whether a first contact with a host that is no known server has to ask twice. It takes the fuse.
    pub enabled: bool,
    /// The second asking passes so long after the first.
    pub wait: Duration,
    /// The services that wait; `None` is the lateral ones over TCP.
    pub ports: Option<Services>,
    /// What makes a server a known one, without being named.
    pub learning: Learning,
    /// Who is asked by many, and waits for nobody: besides those that were learnt.
    pub servers: Vec<GivenServer>,
}

/// A server that the configuration names, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenServer {
    /// Where it is.
    pub network: IpNetwork,
    /// TCP or UDP.
    pub transport: Transport,
    /// What it serves on.
    pub port: u16,
}

/// `[observe]`: metrics, API, history, log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Where /metrics is served; `None` is nowhere.
    pub metrics: Option<SocketAddr>,
    /// The admin API's unix socket.
    pub socket: PathBuf,
    /// The group whose members may act over the socket.
    pub group: String,
    /// The history database; `None` keeps no history.
    pub history: Option<PathBuf>,
    /// How long history is kept.
    pub history_keep: Duration,
    /// Most decisions kept, however young.
    pub history_rows: u32,
}

/// `[privileges]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// The user to become after start, when started as root.
    pub user: String,
    /// Confine file access with Landlock.
    pub landlock: bool,
    /// Confine system calls with seccomp.
    pub seccomp: bool,
}

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[capture]`
    pub capture: Capture,
    /// `[detect]`, `[[role]]`, `[tables]`
    pub detect: crate::detect::Settings,
    /// `[respond]`, `[breaker]`
    pub respond: crate::respond::Settings,
    /// `[fuse]`
    pub fuse: Fuse,
    /// `[greylist]`
    pub greylist: Greylist,
    /// `[observe]`
    pub observe: Observe,
    /// `[privileges]`
    pub privileges: Privileges,
}

impl Default for Config {
    fn default() -> Self {
        let detect =
            crate::detect::Settings { start_up_grace: Duration::from_secs(60), ..crate::detect::Settings::default() };
        Config {
            gateway: Gateway { mode: Mode::Monitor, interfaces: Vec::new(), care: Networks::default() },
            capture: Capture {
                backend: Backend::Ring,
                shards: 1,
                ring_bytes: 8 << 20,
                block_timeout: Duration::from_millis(5),
            },
            detect,
            respond: crate::respond::Settings::default(),
            fuse: Fuse {
                enabled: true,
                burst: 10,
                per_second: 1,
                contacts: 1_048_576,
                contact_timeout: Duration::from_secs(86_400),
                sources: 65_536,
            },
            // True once the core knows what waits: docs/greylist.md.
            greylist: Greylist {
                enabled: false,
                wait: Duration::from_millis(700),
                ports: None,
                learning: Learning::default(),
                servers: Vec::new(),
            },
            observe: Observe {
                metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9477))),
                socket: PathBuf::from("/run/firedoor/firedoor.sock"),
                group: "firedoor".to_owned(),
                history: Some(PathBuf::from("/var/lib/firedoor/history.db")),
                history_keep: Duration::from_secs(90 * 86_400),
                history_rows: 100_000,
            },
            privileges: Privileges { user: "firedoor".to_owned(), landlock: true, seccomp: true },
        }
    }
}
