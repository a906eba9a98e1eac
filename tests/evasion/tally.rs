//! What came in over the victims' wire, read there frame by frame by a reader of its own.
//!
//! It shares nothing with the daemon's decoder: what one overlooks, the other shall not.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firedoor::sys::namespace::{Error, Namespace};
use firedoor::sys::packet::Socket;
use firedoor::wire::Mac;
use pnet::datalink::{self, Channel};

use crate::packet::{ethertype, flag, protocol};

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A segment, or the first fragment of one; of a header that was cut, the flags are 0.
    Tcp {
        flags: u8,
        sequence: u32,
        acknowledged: u32,
    },
    Udp,
    /// A neighbour solicitation or an ARP request for this address.
    Asked(IpAddr),
    /// A later fragment.
    Later,
    /// Any other protocol.
    Other(u8),
}

/// A packet, as far as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub kind: Kind,
    /// Source and destination; 0 where there is none.
    pub ports: (u16, u16),
    /// Bytes behind the transport header.
    pub data: usize,
    /// Whether it is a fragment.
    pub fragment: bool,
    /// Whether it came inside a tunnel.
    pub inside: bool,
}

/// A frame that came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub at: Instant,
    /// What it carries, if it is IP or a question.
    pub packet: Option<Packet>,
}

impl Packet {
    /// Whether this opens a connection to this port, or begins to in fragments.
    pub fn opens(&self, port: u16) -> bool {
        self.ports.1 == port
            && match self.kind {
                Kind::Tcp { flags, .. } => self.fragment || flags & (flag::SYN | flag::ACK) == flag::SYN,
                _ => false,
            }
    }
}

/// Counts at a machine's interface until it is dropped.
pub struct Tally {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<Result<(), Error>>>,
}

impl Tally {
    /// Starts counting what comes in at this interface.
    pub fn start(machine: &Namespace, interface: &str) -> Self {
        let own = machine.link(|links| links.mac(interface)).unwrap();
        let (arrivals, stop) = (Arc::<Mutex<Vec<Arrival>>>::default(), Arc::new(AtomicBool::new(false)));
        let (into, ended, name) = (Arc::clone(&arrivals), Arc::clone(&stop), interface.to_owned());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let listener = machine.spawn(move || {
            let socket = Socket::open().unwrap();
            socket.set_receive_buffer(8 << 20).unwrap();
            let interface = datalink::interfaces().into_iter().find(|each| each.name == name).unwrap();
            let config = datalink::Config {
                read_timeout: Some(Duration::from_millis(20)),
                // The channel owns the descriptor.
                socket_fd: Some(socket.into_descriptor().into_raw_fd()),
                ..datalink::Config::default()
            };
            let Channel::Ethernet(_, mut frames) = datalink::channel(&interface, config).unwrap() else {
                panic!("{name} is no Ethernet interface")
            };
            ready.send(()).unwrap();
            while !ended.load(Ordering::Relaxed) {
                match frames.next() {
                    Ok(frame) => {
                        let Some(card) = frame.get(6..12).map(|six| Mac(six.try_into().unwrap())) else { continue };
                        if card != own {
                            let packet = read(frame).or_else(|| asked(frame));
                            lock(&into).push(Arrival { at: Instant::now(), packet });
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::TimedOut => {}
                    Err(_) => return,
                }
            }
        });
        is_ready.recv().unwrap();
        Tally { arrivals, stop, listener: Some(listener.unwrap()) }
    }

    /// What came in so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }

    /// The packets among it.
    pub fn packets(&self) -> Vec<Packet> {
        self.arrivals().iter().filter_map(|arrival| arrival.packet).collect()
    }

    /// The distinct destinations of the packets that are wanted.
    pub fn destinations(&self, wanted: impl Fn(&Packet) -> bool) -> HashSet<IpAddr> {
        self.packets().iter().filter(|packet| wanted(packet)).map(|packet| packet.destination).collect()
    }

    /// How many came in since then that are wanted.
    pub fn since(&self, then: Instant, wanted: impl Fn(&Packet) -> bool) -> usize {
        let of = |arrival: &&Arrival| arrival.at >= then && arrival.packet.as_ref().is_some_and(&wanted);
        self.arrivals().iter().filter(of).count()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // What it failed of, a test has noticed.
            let _ = listener.join();
        }
    }
}

fn lock(arrivals: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The frame without its VLAN tags.
pub fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut rest = frame.get(12..).unwrap_or_default();
    while matches!(half(rest, 0), Some(ethertype::VLAN | ethertype::SERVICE_VLAN)) {
        rest = rest.get(4..).unwrap_or_default();
    }
    [frame.get(..12).unwrap_or_default(), rest].concat()
}

/// Who asks for whom in an ARP request.
pub fn question(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    (half(frame, 12)? == ethertype::ARP && half(frame, 20)? == 1).then_some(())?;
    Some((v4(frame, 28)?, v4(frame, 38)?))
}

fn asked(frame: &[u8]) -> Option<Packet> {
    let (source, destination) = question(frame)?;
    let kind = Kind::Asked(destination);
    Some(Packet { source, destination, kind, ports: (0, 0), data: 0, fragment: false, inside: false })
}

fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(word(bytes, at)?).into())
}

fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into())
}

/// The IP packet in a frame, behind any number of VLAN tags, a PPPoE session, and one tunnel.
pub fn read(frame: &[u8]) -> Option<Packet> {
    let frame = untagged(frame);
    match half(&frame, 12)? {
        ethertype::PPPOE => ip(ethertype::IPV4, frame.get(22..)?, false),
        kind => ip(kind, frame.get(14..)?, false),
    }
}

fn ip(kind: u16, bytes: &[u8], inside: bool) -> Option<Packet> {
    let (source, destination, next, at, offset, fragment) = match kind {
        ethertype::IPV4 => {
            let field = half(bytes, 6)?;
            let header = usize::from(bytes.first()? & 15) * 4;
            (v4(bytes, 12)?, v4(bytes, 16)?, *bytes.get(9)?, header, field & 0x1fff, field & 0x3fff != 0)
        }
        ethertype::IPV6 => {
            let (mut next, mut at, mut offset, mut fragment) = (*bytes.get(6)?, 40, 0, false);
            loop {
                match next {
                    protocol::FRAGMENT => {
                        let field = half(bytes, at + 2)?;
                        (offset, fragment) = (field >> 3, field & 0xfff9 != 0);
                        next = *bytes.get(at)?;
                        at += 8;
                    }
                    0 | 43 | protocol::OPTIONS if offset == 0 => {
                        next = *bytes.get(at)?;
                        at += 8 * (usize::from(*bytes.get(at + 1)?) + 1);
                    }
                    _ => break,
                }
            }
            (v6(bytes, 8)?, v6(bytes, 24)?, next, at, offset, fragment)
        }
        _ => return None,
    };
    let end = match kind {
        ethertype::IPV4 => usize::from(half(bytes, 2)?),
        _ => 40 + usize::from(half(bytes, 4)?),
    };
    let body = bytes.get(at..end.min(bytes.len()))?;
    let packet =
        Packet { source, destination, kind: Kind::Other(next), ports: (0, 0), data: body.len(), fragment, inside };
    if offset != 0 {
        return Some(Packet { kind: Kind::Later, ..packet });
    }
    let ports = || Some((half(body, 0)?, half(body, 2)?));
    match next {
        protocol::TCP => {
            let flags = body.get(13).copied().unwrap_or_default();
            let header = usize::from(body.get(12).copied().unwrap_or(0x50) >> 4) * 4;
            let acknowledged = word(body, 8).unwrap_or_default();
            let kind = Kind::Tcp { flags, sequence: word(body, 4)?, acknowledged };
            Some(Packet { kind, ports: ports()?, data: body.len().saturating_sub(header), ..packet })
        }
        protocol::UDP if !inside && half(body, 2)? == 4_789 => {
            // VXLAN (RFC 7348 §5): eight bytes of UDP, eight of its own, a frame.
            let frame = body.get(16..)?;
            ip(half(frame, 12)?, frame.get(14..)?, true)
        }
        protocol::UDP => {
            Some(Packet { kind: Kind::Udp, ports: ports()?, data: body.len().saturating_sub(8), ..packet })
        }
        protocol::IPIP if !inside => ip(ethertype::IPV4, body, true),
        protocol::IPV6 if !inside => ip(ethertype::IPV6, body, true),
        protocol::GRE if !inside => ip(half(body, 2)?, body.get(4..)?, true),
        protocol::ICMPV6 if body.first() == Some(&135) => Some(Packet { kind: Kind::Asked(v6(body, 8)?), ..packet }),
        _ => Some(packet),
    }
}
