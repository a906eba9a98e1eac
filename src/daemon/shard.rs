//! One capture thread: frames from its source through its detector, alarms to the control task.
//!
//! The loop allocates nothing per packet, takes no lock and waits for nobody: the queue to the control task is bounded,
//! and what finds no room there waits here, in order, up to [`BACKLOG`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::capture::{CapturePolicy, Read, Source, Statistics, fanout};
use crate::detect::{self, Detector, Directive, Event};
use crate::published::Published;
use crate::published::counters::{Cell, Counters, InterfaceCounters, ShardCounters, Table};
use crate::published::host_report::HostReport;
use crate::published::host_table::Publication;
use crate::sys::clock::Clock;
use crate::time::Timestamp;
use crate::track::Shared;
use crate::wire::FrameCounts;
use crate::wire::decode::decode;
use crate::wire::frame::Direction;

/// Events that wait here while the control queue is full.
const BACKLOG: usize = 4096;

/// The longest it waits for frames: directives and the stop are noticed within this.
const WAIT: Duration = Duration::from_millis(50);

/// How often counters are put up.
const PUBLISH: Duration = Duration::from_millis(200);

/// Hosts looked at for news on each round of publishing.
const SWEEP: usize = 4096;

/// How long silence proves nothing after packets were lost.
const LOSS_PAUSE: Duration = Duration::from_secs(2);

/// What the control task sends a capture thread.
pub enum Command {
    /// What was decided.
    Direct(Directive),
    /// New settings.
    Reconfigure(Arc<detect::Settings>),
}

/// What a capture thread sends the control task.
pub enum Message {
    /// What the detector says.
    Event(Event),
    /// What the source says about itself, about once a second.
    Statistics {
        /// Which shard.
        shard: usize,
        /// The source's counters.
        statistics: Statistics,
    },
    /// The source can no longer be read; the thread has ended.
    Failed {
        /// Which shard.
        shard: usize,
        /// Why.
        error: String,
    },
}

/// Everything a capture thread owns.
pub struct Shard {
    /// Its number.
    pub number: usize,
    /// How many there are.
    pub shards: usize,
    /// Where its frames come from.
    pub source: Box<dyn Source>,
    /// What of the frames the core wants to see.
    pub policy: CapturePolicy,
    /// Its core.
    pub detector: Detector,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// What the daemon shows.
    pub published: Arc<Published>,
    /// Its counters.
    pub counters: Arc<ShardCounters>,
    /// The daemon's clock.
    pub clock: Clock,
    /// From the control task.
    pub commands: Receiver<Command>,
    /// To the control task.
    pub messages: Sender<Message>,
    /// Set when the daemon stops.
    pub stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    interfaces: Vec<(u32, Arc<InterfaceCounters>, [u64; 2], Timestamp)>,
    frames: FrameCounts,
    /// Ethertypes that were not read: how many frames of each are put up already, and where.
    unread: Vec<(u16, u64, Arc<Cell>)>,
    other_unread: u64,
    packets: u64,
}

impl Seen {
    fn frame(&mut self, interface: u32, direction: Direction, at: Timestamp) {
        self.packets += 1;
        if let Some((_, _, counts, last)) = self.interfaces.iter_mut().find(|(index, ..)| *index == interface) {
            let [inward, outward] = counts;
            *(if direction == Direction::In { inward } else { outward }) += 1;
            *last = at;
        }
    }

    /// Puts up what frames were, by kind.
    fn put_kinds(&mut self, counters: &ShardCounters, all: &Counters) {
        let Seen { frames, unread, other_unread, .. } = self;
        frames.undecoded().enumerate().for_each(|(at, (_, count))| counters.undecoded.set(at, count));
        frames.fragments().enumerate().for_each(|(at, (_, count))| counters.fragments.set(at, count));
        frames.encapsulations().enumerate().for_each(|(at, (_, count))| counters.encapsulated.set(at, count));
        for (at, (_, opened, closed)) in frames.tunnels().enumerate() {
            counters.tunnels_opened.set(at, opened);
            counters.tunnels_closed.set(at, closed);
        }
        let (apart, others) = frames.unread();
        for (ethertype, count) in apart {
            if !unread.iter().any(|(known, ..)| *known == ethertype) {
                unread.push((ethertype, 0, all.ethertype(ethertype)));
            }
            if let Some((_, put, cell)) = unread.iter_mut().find(|(known, ..)| *known == ethertype) {
                cell.add(count.saturating_sub(*put));
                *put = count;
            }
        }
        all.other_ethertypes().add(others.saturating_sub(*other_unread));
        *other_unread = others;
    }
}

impl Shard {
    /// Runs until it is to stop, or until the source fails.
    pub fn run(mut self) {
        let mut backlog: VecDeque<Message> = VecDeque::new();
        let mut seen = Seen::default();
        let mut published = Timestamp::ZERO;
        let mut reported = Timestamp::ZERO;
        let mut cursor = 0;
        let mut lost = 0;
        let mut order = 0;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            let now = self.clock.now();
            let wait = self.detector.next_deadline().map_or(WAIT, |due| due.at.since(now).min(WAIT));
            let (detector, policy) = (&mut self.detector, &self.policy);
            let outcome = self.source.read(wait, &mut |meta, link, bytes| {
                order += 1;
                seen.frame(meta.interface, meta.direction, meta.at);
                let decoded = decode(meta, link, bytes);
                seen.frames.count(decoded.as_ref().map_err(|reason| *reason));
                match decoded {
                    // The filter in the kernel passes a little more than this; a replay asks the same.
                    Ok(frame) if policy.takes(&frame) => detector.frame(&frame, order),
                    Ok(_) | Err(_) => {}
                }
            });
            if let Err(error) = outcome {
                let _ = self.messages.blocking_send(Message::Failed { shard: self.number, error: error.to_string() });
                return;
            }
            let now = self.clock.now();
            self.detector.advance(now);
            for event in self.detector.events() {
                if backlog.len() < BACKLOG {
                    backlog.push_back(Message::Event(event));
                } else {
                    self.counters.queue_drops.add(1);
                }
            }
            self.hand_over(&mut backlog);
            if now.since(published) >= PUBLISH || matches!(outcome, Ok(Read::End)) {
                published = now;
                self.publish(&mut seen, &mut cursor, now);
                if now.since(reported) >= Duration::from_secs(1) {
                    reported = now;
                    self.report_statistics(&mut seen, &mut lost, now);
                }
            }
        }
        let now = self.clock.now();
        self.publish(&mut seen, &mut cursor, now);
        self.hand_over(&mut backlog);
    }

    fn obey(&mut self, command: Command) {
        let (shards, number) = (self.shards, self.number);
        match command {
            Command::Direct(directive) => {
                self.detector.direct(&directive, |host| fanout::shard_of_address(host, shards) == number);
            }
            Command::Reconfigure(settings) => {
                self.policy = CapturePolicy::new(&settings.lateral, settings.inspect_smb);
                if let Err(error) = self.source.set_policy(&self.policy) {
                    tracing::error!("the capture filter still lets through what the old settings asked for: {error}");
                }
                self.detector.reconfigure(settings);
            }
        }
    }

    fn hand_over(&mut self, backlog: &mut VecDeque<Message>) {
        while let Some(message) = backlog.pop_front() {
            match self.messages.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    backlog.push_front(message);
                    break;
                }
                Err(TrySendError::Closed(_)) => break,
            }
        }
    }

    fn report_statistics(&mut self, seen: &mut Seen, lost: &mut u64, now: Timestamp) {
        let statistics = self.source.statistics();
        let dropped = statistics.dropped();
        if dropped > *lost {
            self.shared.lost_packets(now, LOSS_PAUSE);
            *lost = dropped;
        }
        for interface in &statistics.interfaces {
            if interface.index != 0 && !seen.interfaces.iter().any(|(index, ..)| *index == interface.index) {
                let counters = self.published.counters.interface(&interface.name);
                seen.interfaces.retain(|(_, known, ..)| known.name != interface.name);
                seen.interfaces.push((interface.index, counters, [0, 0], Timestamp::ZERO));
            }
        }
        let _ = self.messages.try_send(Message::Statistics { shard: self.number, statistics });
    }

    fn publish(&mut self, seen: &mut Seen, cursor: &mut usize, now: Timestamp) {
        let counters = &self.counters;
        counters.alive.set(now.nanos());
        counters.packets.set(seen.packets);
        seen.put_kinds(counters, &self.published.counters);
        counters.sampled.set(self.source.sampled().into());
        for (_, interface, [inward, outward], last) in &mut seen.interfaces {
            interface.packets_in.add(std::mem::take(inward));
            interface.packets_out.add(std::mem::take(outward));
            if *last > Timestamp::from_nanos(interface.last_packet.get()) {
                interface.last_packet.set(last.nanos());
            }
        }
        counters.detected.store(Arc::new(self.detector.counters().clone()));
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let put = |table: Table, (used, capacity): (usize, usize), evicted: u64| {
            counters.used.set(table as usize, number(used));
            counters.capacity.set(table as usize, number(capacity));
            counters.evicted.set(table as usize, evicted);
        };
        put(Table::Hosts, self.detector.hosts().occupancy(), self.detector.hosts().evicted());
        put(Table::Contacts, self.detector.contacts().occupancy(), self.detector.contacts().evicted());
        put(Table::Attempts, self.detector.deadlines().occupancy(), self.detector.deadlines().forced());
        let inspector = self.detector.inspector();
        put(Table::Streams, (inspector.connections(), inspector.capacity()), inspector.counts().evicted);
        if self.number == 0 {
            // One table for all shards: only one of them counts it.
            let addresses = &self.shared.addresses;
            put(Table::Addresses, addresses.occupancy(), addresses.evicted());
        }
        let held = self.detector.hosts().slots();
        for _ in 0..SWEEP.min(held) {
            *cursor = if *cursor + 1 >= held { 0 } else { *cursor + 1 };
            let Some(host) = self.detector.hosts().slot(*cursor) else { continue };
            if !host.dirty {
                continue;
            }
            let threshold = self.detector.threshold_of(host);
            let report = HostReport::of(host, threshold, self.detector.settings(), now);
            let published = self.published.host_table.try_publish(host.address, report);
            if published != Publication::Busy {
                self.detector.hosts_mut().clean(*cursor);
            }
        }
    }
}
