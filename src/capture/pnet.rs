//! Live frames through pnet's datalink channels: for kernels and machines on which the ring does not work.
//!
//! Two channels an interface, one for each direction, because pnet does not show which way a frame went; each reads
//! from a socket prepared here, with the filter attached and nothing promiscuous about it. One shard only.
//!
//! What the ring knows and pnet does not pass on: the kernel's time of a frame (it gets the time at which it is read),
//! the VLAN tag that the kernel stripped, the length of a frame that the filter cut. The order of frames is kept within
//! a channel, not among them. Each frame costs two system calls.

use std::io;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use ::pnet::datalink::{self, Channel, ChannelType, DataLinkReceiver};

use super::ring::{link_kind, none_to_watch};
use crate::capture::busy::{Busy, Meter};
use crate::capture::{CaptureError, CapturePolicy, InterfaceStatistics, Read, Source, Statistics, filter, renamed};
use crate::config::model::Config;
use crate::sys::clock::Clock;
use crate::sys::packet::{self, Interface, Socket};
use crate::time::Timestamp;
use crate::wire::frame::{Direction, LinkKind, Meta};

/// Frames handed over before the caller may look at its clock again.
const BATCH: usize = 256;

/// How often the interfaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// One direction of one interface.
struct Ear {
    receiver: Box<dyn DataLinkReceiver>,
    /// The receiver's socket, for what pnet does not do with it.
    socket: Socket,
    direction: Direction,
}

struct Watched {
    statistics: InterfaceStatistics,
    link: LinkKind,
    /// Watched because it had a configured name once.
    former: bool,
    /// Empty while the interface is absent or down.
    ears: Vec<Ear>,
}

/// All protected interfaces through pnet.
pub struct Pnet {
    clock: Clock,
    policy: CapturePolicy,
    meter: Meter,
    watched: Vec<Watched>,
    /// For asking about interfaces; hears nothing itself.
    asker: Socket,
    buffer: usize,
    looked: Timestamp,
}

impl std::fmt::Debug for Pnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.watched.iter().map(|watched| &watched.statistics.name).collect();
        f.debug_struct("Pnet").field("interfaces", &names).finish_non_exhaustive()
    }
}

impl Pnet {
    /// Opens `config.gateway.interfaces`; each socket gets `config.capture.ring_bytes` of room.
    ///
    /// An interface that does not exist yet is taken up when it appears; one at least must be there.
    ///
    /// # Errors
    /// CAP_NET_RAW is missing, or no interface exists that can be decoded.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, CaptureError> {
        let mut source = Pnet {
            clock,
            policy: CapturePolicy::new(&config.detect.lateral, config.detect.inspect_smb),
            meter: Meter::default(),
            watched: config.gateway.interfaces.iter().map(|name| Watched::new(name)).collect(),
            asker: Socket::open().map_err(CaptureError::socket("open a packet socket"))?,
            buffer: config.capture.ring_bytes,
            looked: clock.now(),
        };
        source.look()?;
        if source.watched.iter().all(|watched| watched.statistics.index == 0) {
            return Err(none_to_watch(source.watched.iter().map(|watched| &watched.statistics)));
        }
        Ok(source)
    }

    /// Looks which interfaces are there, and listens to those that are.
    fn look(&mut self) -> Result<(), CaptureError> {
        let now = self.clock.now();
        let passed = now.since(std::mem::replace(&mut self.looked, now));
        let changed = self.meter.turn(u32::try_from(passed.as_secs()).unwrap_or(u32::MAX));
        let names: Vec<String> = self.watched.iter().map(|watched| watched.statistics.name.clone()).collect();
        let mut renamed = Vec::new();
        for watched in &mut self.watched {
            let InterfaceStatistics { name, index, .. } = &watched.statistics;
            let look = renamed::look(&self.asker, name, *index, &names);
            let look = look.map_err(|source| CaptureError::Interface { name: name.clone(), source })?;
            watched.found(look.now, &self.policy, self.meter.busy(), self.buffer)?;
            if let Some((name, found)) = look.former {
                let mut former = Watched { former: true, ..Watched::new(&name) };
                former.found(Some(found), &self.policy, self.meter.busy(), self.buffer)?;
                renamed.push(former);
            }
        }
        self.watched.retain(|watched| !watched.former || watched.statistics.index != 0);
        self.watched.extend(renamed);
        if changed { self.attach() } else { Ok(()) }
    }

    fn attach(&self) -> Result<(), CaptureError> {
        for watched in &self.watched {
            for ear in &watched.ears {
                let index = watched.statistics.index;
                let program = filter::program(&self.policy, &[index], Some(ear.direction), self.meter.busy());
                let attached = ear.socket.attach_filter(&program);
                attached.map_err(CaptureError::socket("attach the capture filter"))?;
            }
        }
        Ok(())
    }
}

impl Watched {
    fn new(name: &str) -> Self {
        let statistics = InterfaceStatistics { name: name.to_owned(), ..InterfaceStatistics::default() };
        Watched { statistics, link: LinkKind::Ethernet, former: false, ears: Vec::new() }
    }

    fn found(
        &mut self,
        found: Option<Interface>,
        policy: &CapturePolicy,
        busy: &Busy,
        buffer: usize,
    ) -> Result<(), CaptureError> {
        // Frames of a device that cannot be decoded are left in the kernel: the others are watched all the same.
        let found = found.filter(|found| {
            let link = link_kind(found.hardware);
            self.statistics.strange = link.is_none().then_some(found.hardware);
            self.link = link.unwrap_or(self.link);
            link.is_some()
        });
        let statistics = &mut self.statistics;
        let was = (statistics.index, statistics.up);
        statistics.index = found.map_or(0, |interface| interface.index);
        statistics.up = found.is_some_and(|interface| interface.up);
        statistics.outages += u64::from(was.1 && !statistics.up);
        if was != (statistics.index, statistics.up) {
            self.ears.clear();
        }
        let Some(Interface { index, up: true, .. }) = found else { return Ok(()) };
        if self.ears.is_empty() {
            let ears =
                [Direction::In, Direction::Out].map(|direction| Ear::open(index, direction, policy, busy, buffer));
            match ears.into_iter().collect() {
                Ok(ears) => self.ears = ears,
                Err(error) if gone(&error) => {}
                Err(source) => return Err(CaptureError::Interface { name: statistics.name.clone(), source }),
            }
        }
        Ok(())
    }
}

/// Gone or down again since it was looked at: the next look decides.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
}

impl Ear {
    fn open(index: u32, direction: Direction, policy: &CapturePolicy, busy: &Busy, buffer: usize) -> io::Result<Self> {
        let socket = Socket::open()?;
        socket.attach_filter(&filter::program(policy, &[index], Some(direction), busy))?;
        socket.set_receive_buffer(buffer)?;
        let interfaces = datalink::interfaces();
        let interface = interfaces.iter().find(|interface| interface.index == index).ok_or(io::ErrorKind::NotFound)?;
        let config = datalink::Config {
            read_buffer_size: filter::SNAP as usize,
            // Waiting is done for all sockets together.
            read_timeout: Some(Duration::ZERO),
            channel_type: ChannelType::Layer2,
            promiscuous: false,
            // The channel owns this handle, and closes it even where it cannot be made.
            socket_fd: Some(socket.try_clone()?.into_descriptor().into_raw_fd()),
            ..datalink::Config::default()
        };
        match datalink::channel(interface, config)? {
            Channel::Ethernet(_, receiver) => Ok(Ear { receiver, socket, direction }),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Source for Pnet {
    fn read(&mut self, wait: Duration, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Read, CaptureError> {
        if self.clock.now().since(self.looked) >= LOOK {
            self.look()?;
        }
        let sockets = self.watched.iter().flat_map(|watched| &watched.ears).map(|ear| &ear.socket);
        packet::wait_any(sockets, wait).map_err(CaptureError::socket("wait for frames"))?;
        let mut count = 0;
        let mut dry = false;
        while !dry && count < BATCH {
            dry = true;
            for Watched { statistics, link, ears, .. } in &mut self.watched {
                let mut lost = false;
                for ear in ears.iter_mut() {
                    match ear.receiver.next() {
                        Ok(bytes) => {
                            dry = false;
                            count += 1;
                            statistics.received += 1;
                            let meta = Meta {
                                at: self.clock.now(),
                                interface: statistics.index,
                                direction: ear.direction,
                                vlan: None,
                                inner_vlan: None,
                                original_length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                            };
                            self.meter.count(meta, *link, bytes);
                            each(meta, *link, bytes);
                        }
                        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {}
                        // The interface went down, which is all that can befall a bound socket.
                        Err(_) => lost = true,
                    }
                }
                if lost {
                    ears.clear();
                    statistics.outages += u64::from(statistics.up);
                    statistics.up = false;
                }
            }
        }
        Ok(if count == 0 { Read::Idle } else { Read::Frames(count) })
    }

    fn sampled(&self) -> u32 {
        self.meter.busy().count()
    }

    fn statistics(&mut self) -> Statistics {
        for watched in &mut self.watched {
            for ear in &watched.ears {
                // Nothing but a closed socket makes the kernel refuse, and ours is open.
                watched.statistics.dropped += u64::from(ear.socket.take_counts().unwrap_or_default().drops);
            }
        }
        Statistics { interfaces: self.watched.iter().map(|watched| watched.statistics.clone()).collect() }
    }

    fn set_policy(&mut self, policy: &CapturePolicy) -> Result<(), CaptureError> {
        self.policy = policy.clone();
        self.attach()
    }
}
