//! Live frames through TPACKET_V3 rings: one a shard, for all protected interfaces together.
//!
//! A ring's socket hears every interface of the machine, and its filter lets through those that are protected. One
//! socket an interface would be a little cheaper on machines with many others, but it would lose the order: a request
//! that came in on one interface and its answer on another would lie in two rings, each handed over in blocks, and the
//! answer could be seen first. In one ring everything stands in the order in which the kernel saw it. It also makes
//! interfaces that go away and come back a matter of the filter alone.
//!
//! With several shards the sockets form a fan-out group, in which the kernel program [`fanout::program`] chooses the
//! ring.

use std::time::Duration;

use crate::capture::busy::Meter;
use crate::capture::{
    CaptureError, CapturePolicy, InterfaceStatistics, Read, Source, Statistics, fanout, filter, renamed,
};
use crate::config::model::Config;
use crate::sys::clock::{Clock, Stamper};
use crate::sys::packet::{self, Geometry, Instruction, Interface, Socket};
use crate::time::Timestamp;
use crate::wire::frame::{Direction, LinkKind, Meta};

/// A block: a few hundred frames, so that handing it over costs next to nothing per frame. Not larger, because a block
/// is used up by its timeout as well: of a ring of few large blocks a reader that is held up for long enough would lose
/// frames at any rate.
const BLOCK: usize = 32 << 10;

/// A ring of fewer blocks would have nothing to write into while one is read.
const FEWEST_BLOCKS: usize = 4;

/// How often the interfaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The filter of a socket that must not hear yet.
const DEAF: [Instruction; 1] = [Instruction { code: 0x06, jump_true: 0, jump_false: 0, k: 0 }];

/// ARPHRD_RAWIP, which libc does not name.
const RAW_IP: u16 = 519;

/// A protected interface, present or not.
#[derive(Debug)]
struct Watched {
    statistics: InterfaceStatistics,
    link: LinkKind,
    /// Watched because it had a configured name once.
    former: bool,
    /// What it had received when losses were last asked for.
    received_before: u64,
}

/// One shard's ring.
#[derive(Debug)]
pub struct Ring {
    blocks: packet::Ring,
    stamper: Stamper,
    clock: Clock,
    policy: CapturePolicy,
    meter: Meter,
    watched: Vec<Watched>,
    /// The indices that the filter lets through.
    open: Vec<u32>,
    looked: Timestamp,
    fanned_out: bool,
}

impl Ring {
    /// Opens the rings of all shards of `config.capture`, in shard order, on `config.gateway.interfaces`.
    ///
    /// An interface that does not exist yet is taken up when it appears; one at least must be there. Nothing is
    /// delivered to any ring before all of them can take their share.
    ///
    /// # Errors
    /// CAP_NET_RAW or memory is missing, or no interface exists that can be decoded.
    pub fn open_all(config: &Config, clock: Clock) -> Result<Vec<Self>, CaptureError> {
        let policy = CapturePolicy::new(&config.detect.lateral, config.detect.inspect_smb);
        let shards = config.capture.shards.max(1);
        let blocks = (config.capture.ring_bytes / BLOCK).max(FEWEST_BLOCKS);
        let geometry = Geometry { block_bytes: BLOCK, blocks, timeout: config.capture.block_timeout };
        let mut rings = Vec::with_capacity(shards);
        let mut group = None;
        for _ in 0..shards {
            let socket = Socket::open().map_err(CaptureError::socket("open a packet socket"))?;
            let ring = packet::Ring::new(socket, geometry).map_err(CaptureError::socket("set up a packet ring"))?;
            let socket = ring.socket();
            socket.attach_filter(&DEAF).map_err(CaptureError::socket("attach the capture filter"))?;
            socket.bind(0).map_err(CaptureError::socket("bind a packet socket"))?;
            if shards > 1 {
                let joined = socket.join_fanout(group).map_err(CaptureError::socket("join the fan-out group"))?;
                if group.is_none() {
                    let program = fanout::program(&policy);
                    let set = socket.set_fanout_program(&program);
                    set.map_err(CaptureError::socket("attach the fan-out program"))?;
                }
                group = Some(joined);
            }
            rings.push(Ring {
                blocks: ring,
                stamper: clock.stamper(),
                clock,
                policy: policy.clone(),
                meter: Meter::default(),
                watched: config.gateway.interfaces.iter().map(|name| Watched::new(name)).collect(),
                open: Vec::new(),
                looked: clock.now(),
                fanned_out: shards > 1,
            });
        }
        // Only now, with every member of the group in its place, may frames come.
        for ring in &mut rings {
            ring.look()?;
            if ring.open.is_empty() {
                return Err(none_to_watch(ring.watched.iter().map(|watched| &watched.statistics)));
            }
        }
        Ok(rings)
    }

    /// Looks which protected interfaces are there, and opens the filter to them.
    fn look(&mut self) -> Result<(), CaptureError> {
        let now = self.clock.now();
        let passed = now.since(std::mem::replace(&mut self.looked, now));
        let changed = self.meter.turn(u32::try_from(passed.as_secs()).unwrap_or(u32::MAX));
        let names: Vec<String> = self.watched.iter().map(|watched| watched.statistics.name.clone()).collect();
        let mut renamed = Vec::new();
        for watched in &mut self.watched {
            let InterfaceStatistics { name, index, .. } = &watched.statistics;
            let look = renamed::look(self.blocks.socket(), name, *index, &names);
            let look = look.map_err(|source| CaptureError::Interface { name: name.clone(), source })?;
            watched.found(look.now);
            renamed.extend(look.former.map(|(name, found)| {
                let mut former = Watched { former: true, ..Watched::new(&name) };
                former.found(Some(found));
                former
            }));
        }
        self.watched.retain(|watched| !watched.former || watched.statistics.index != 0);
        self.watched.extend(renamed);
        let present = self.watched.iter().map(|watched| watched.statistics.index).filter(|&index| index != 0);
        let present: Vec<u32> = present.collect();
        if changed || present != self.open {
            self.open = present;
            self.attach()?;
        }
        Ok(())
    }

    fn attach(&self) -> Result<(), CaptureError> {
        let program = filter::program(&self.policy, &self.open, None, self.meter.busy());
        self.blocks.socket().attach_filter(&program).map_err(CaptureError::socket("attach the capture filter"))
    }

    /// Hands over the frames of the blocks at hand, up to one block that holds any.
    fn take(&mut self, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> usize {
        let mut count = 0;
        while count == 0 {
            let Some(mut block) = self.blocks.block() else { break };
            self.stamper.begin();
            while let Some(frame) = block.next_frame() {
                let at = self.stamper.stamp(frame.realtime);
                let index = frame.interface;
                let Some(watched) = self.watched.iter_mut().find(|watched| watched.statistics.index == index) else {
                    // It went away between the frame and now.
                    continue;
                };
                watched.statistics.received += 1;
                let meta = Meta {
                    at,
                    interface: index,
                    direction: if frame.outgoing { Direction::Out } else { Direction::In },
                    vlan: frame.vlan.map(|tag| tag & 0x0fff),
                    inner_vlan: None,
                    original_length: frame.on_wire,
                };
                self.meter.count(meta, watched.link, frame.bytes);
                each(meta, watched.link, frame.bytes);
                count += 1;
            }
        }
        count
    }
}

impl Source for Ring {
    fn read(&mut self, wait: Duration, each: &mut dyn FnMut(Meta, LinkKind, &[u8])) -> Result<Read, CaptureError> {
        if self.clock.now().since(self.looked) >= LOOK {
            self.look()?;
        }
        let mut count = self.take(each);
        if count == 0 {
            self.blocks.wait(wait).map_err(CaptureError::socket("wait for frames"))?;
            count = self.take(each);
        }
        Ok(if count == 0 { Read::Idle } else { Read::Frames(count) })
    }

    fn sampled(&self) -> u32 {
        self.meter.busy().count()
    }

    fn statistics(&mut self) -> Statistics {
        // Nothing but a closed socket makes the kernel refuse, and ours is open.
        let counts = self.blocks.socket().take_counts().unwrap_or_default();
        let shares: Vec<u64> =
            self.watched.iter().map(|watched| watched.statistics.received - watched.received_before).collect();
        let lost = split(u64::from(counts.drops), &shares);
        for (watched, lost) in self.watched.iter_mut().zip(lost) {
            watched.statistics.dropped += lost;
            watched.statistics.freezes += u64::from(counts.freezes);
            watched.received_before = watched.statistics.received;
        }
        Statistics { interfaces: self.watched.iter().map(|watched| watched.statistics.clone()).collect() }
    }

    fn set_policy(&mut self, policy: &CapturePolicy) -> Result<(), CaptureError> {
        self.policy = policy.clone();
        self.attach()?;
        if self.fanned_out {
            // One program serves the group; that each member sets the same one does no harm.
            let program = fanout::program(policy);
            let set = self.blocks.socket().set_fanout_program(&program);
            set.map_err(CaptureError::socket("attach the fan-out program"))?;
        }
        Ok(())
    }
}

impl Watched {
    fn new(name: &str) -> Self {
        let statistics = InterfaceStatistics { name: name.to_owned(), ..InterfaceStatistics::default() };
        Watched { statistics, link: LinkKind::Ethernet, former: false, received_before: 0 }
    }

    /// Notes how the interface was found just now.
    fn found(&mut self, interface: Option<Interface>) {
        // Frames of a device that cannot be decoded are left in the kernel: the others are watched all the same.
        let interface = interface.filter(|interface| {
            let link = link_kind(interface.hardware);
            self.statistics.strange = link.is_none().then_some(interface.hardware);
            self.link = link.unwrap_or(self.link);
            link.is_some()
        });
        let statistics = &mut self.statistics;
        let up = interface.is_some_and(|interface| interface.up);
        statistics.outages += u64::from(statistics.up && !up);
        statistics.up = up;
        statistics.index = interface.map_or(0, |interface| interface.index);
    }
}

/// Why nothing can be watched: an interface of a kind that is not decoded, if there is one.
pub(super) fn none_to_watch<'a>(interfaces: impl Iterator<Item = &'a InterfaceStatistics> + Clone) -> CaptureError {
    if let Some((name, hardware)) = interfaces.clone().find_map(|of| Some((of.name.clone(), of.strange?))) {
        return CaptureError::Hardware { name, hardware };
    }
    let names: Vec<&str> = interfaces.map(|of| of.name.as_str()).collect();
    CaptureError::NoInterface { names: names.join(", ") }
}

/// How frames of this hardware type (ARPHRD_*) are laid out; `None` if they are not decoded.
pub(super) fn link_kind(hardware: u16) -> Option<LinkKind> {
    Some(match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => LinkKind::Ethernet,
        libc::ARPHRD_NONE
        | RAW_IP
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT => LinkKind::RawIp,
        _ => return None,
    })
}

/// Splits what a shared ring lost among its interfaces, by what each received meanwhile: the kernel does not say whose
/// the lost frames were. The parts add up to the whole.
fn split(lost: u64, shares: &[u64]) -> Vec<u64> {
    let whole: u64 = shares.iter().sum();
    let mut parts: Vec<u64> = shares
        .iter()
        .map(|&share| {
            if whole == 0 {
                0
            } else {
                u64::try_from(u128::from(lost) * u128::from(share) / u128::from(whole)).unwrap_or(0)
            }
        })
        .collect();
    let rest = lost - parts.iter().sum::<u64>();
    if let Some((largest, _)) = shares.iter().enumerate().max_by_key(|(_, share)| **share)
        && let Some(part) = parts.get_mut(largest)
    {
        *part += rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_decoded_is_noted_and_not_watched() {
        let mut watched = Watched::new("gre1");
        let gre = Interface { index: 7, up: true, hardware: 778 };
        let ethernet = Interface { index: 8, up: true, hardware: libc::ARPHRD_ETHER };
        watched.found(Some(Interface { hardware: 65_000, ..gre }));
        assert_eq!((watched.statistics.index, watched.statistics.strange), (0, Some(65_000)));
        let refused = none_to_watch([&watched.statistics].into_iter());
        assert!(matches!(refused, CaptureError::Hardware { hardware: 65_000, .. }), "{refused}");
        watched.found(Some(ethernet));
        assert_eq!((watched.statistics.index, watched.statistics.strange), (8, None));
    }

    #[test]
    fn losses_are_split_by_traffic_and_none_gets_lost() {
        for (lost, shares, parts) in [
            (0, &[5, 5][..], &[0, 0][..]),
            (10, &[1, 1], &[5, 5]),
            (10, &[2, 1], &[7, 3]),
            (7, &[0, 0, 0], &[0, 0, 7]),
            (u64::MAX, &[1, 0], &[u64::MAX, 0]),
            (3, &[], &[]),
        ] {
            assert_eq!(split(lost, shares), parts, "{lost} among {shares:?}");
        }
    }
}
