//! Attempts that wait for an answer.
//!
//! Each host keeps its few pending attempts itself ([`Attempts`]); one queue a shard ([`Deadlines`]) knows whose answer
//! is overdue. The answer timeout is one figure, so deadlines come in order and a plain queue is a perfect timer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;
use crate::track::Class;
use crate::wire::Address;
use crate::wire::frame::Transport;

/// What opened an attempt, as its answer must acknowledge it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// From which port; 0 where there are none.
    pub port: u16,
    /// Its sequence number (TCP); an answer acknowledges one more, or what data came with it.
    pub sequence: u32,
}

/// By what an answer shows that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A TCP segment to this port that acknowledges this number (RFC 9293 §3.10.7.3).
    Acknowledges {
        /// Its destination port.
        port: u16,
        /// Its acknowledgement number.
        number: u32,
    },
    /// To this port, or about a packet from it; 0 is unknown.
    Port(u16),
}

impl Proof {
    /// The most bytes that come with a SYN (RFC 7413), and its own one.
    const MOST: u32 = 1461;

    pub(super) fn holds(self, opening: Opening) -> bool {
        match self {
            Proof::Acknowledges { port, number } => {
                port == opening.port && (1..=Self::MOST).contains(&number.wrapping_sub(opening.sequence))
            }
            Proof::Port(port) => port == 0 || opening.port == 0 || port == opening.port,
        }
    }
}

/// One pending first contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whom it tries.
    pub peer: Address,
    /// By which transport.
    pub transport: Transport,
    /// On which port; 0 for ARP and echo.
    pub port: u16,
    /// Which kind of contact.
    pub class: Class,
    /// Since when.
    pub at: Timestamp,
    /// What opened it: at first, and last. A client that opens several connections at once needs only one answered.
    pub openings: [Opening; 2],
}

/// The pending attempts of one host, oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    held: [Option<Attempt>; Attempts::MOST],
    count: u8,
}

impl Attempts {
    /// Most attempts a host can have pending; with more, the oldest has failed.
    pub const MOST: usize = 8;

    /// Adds one; gives back the oldest if there was no room.
    pub fn push(&mut self, attempt: Attempt) -> Option<Attempt> {
        let pushed_out = if usize::from(self.count) == Self::MOST { self.take_at(0) } else { None };
        if let Some(slot) = self.held.get_mut(usize::from(self.count)) {
            *slot = Some(attempt);
            self.count += 1;
        }
        pushed_out
    }

    fn take_at(&mut self, at: usize) -> Option<Attempt> {
        let taken = self.held.get_mut(at)?.take()?;
        self.held.get_mut(at..)?.rotate_left(1);
        self.count -= 1;
        Some(taken)
    }

    /// Takes the attempt that an answer from `peer` settles. Port 0 matches any port.
    pub fn settle(&mut self, peer: Address, port: u16, classes: &[Class], proof: Proof) -> Option<Attempt> {
        let at = self.held.iter().flatten().position(|attempt| {
            attempt.peer == peer
                && (port == 0 || attempt.port == port)
                && classes.contains(&attempt.class)
                && attempt.openings.iter().any(|opening| proof.holds(*opening))
        })?;
        self.take_at(at)
    }

    /// Whether an attempt on this service of `peer` is pending.
    #[must_use]
    pub fn awaits(&self, peer: Address, port: u16) -> bool {
        self.held.iter().flatten().any(|attempt| attempt.peer == peer && (port == 0 || attempt.port == port))
    }

    /// Whether an answer from `peer` would settle something.
    #[must_use]
    pub fn waits_for(&self, peer: Address, port: u16, proof: Proof) -> bool {
        self.held.iter().flatten().any(|attempt| {
            attempt.peer == peer
                && (port == 0 || attempt.port == port)
                && attempt.openings.iter().any(|opening| proof.holds(*opening))
        })
    }

    /// Notes that a pending attempt was opened once more.
    pub fn opened_again(&mut self, peer: Address, port: u16, class: Class, opening: Opening) {
        let held = self.held.iter_mut().flatten();
        for attempt in held.filter(|held| held.peer == peer && held.port == port && held.class == class) {
            let [first, last] = &mut attempt.openings;
            if opening != *first {
                *last = opening;
            }
        }
    }

    /// Takes the oldest attempt if it began at or before `then`.
    pub fn overdue(&mut self, then: Timestamp) -> Option<Attempt> {
        let oldest = self.held.first().copied().flatten()?;
        if oldest.at <= then { self.take_at(0) } else { None }
    }

    /// Takes the oldest attempt.
    pub fn pop(&mut self) -> Option<Attempt> {
        self.take_at(0)
    }

    /// How many are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Attempts::default();
    }
}

/// A host whose oldest attempt may be overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// When the attempt began.
    pub began: Timestamp,
    /// The packet that began the attempt, counted over all shards: the order among equal times.
    pub order: u64,
    /// The host.
    pub host: Address,
}

/// The queue of deadlines of one shard, of fixed capacity.
pub struct Deadlines {
    queue: VecDeque<Due>,
    capacity: usize,
    timeout: Duration,
    forced: u64,
}

impl Deadlines {
    /// For at most `capacity` attempts, each given `timeout`.
    #[must_use]
    pub fn new(capacity: usize, timeout: Duration) -> Self {
        let capacity = capacity.max(16);
        Deadlines { queue: VecDeque::with_capacity(capacity), capacity, timeout, forced: 0 }
    }

    /// The memory that a queue for `capacity` attempts takes.
    #[must_use]
    pub const fn bytes(capacity: usize) -> usize {
        capacity * size_of::<Due>()
    }

    /// Starts the clock for an attempt of `host`. At capacity the oldest deadline is given back, to be judged early.
    pub fn start(&mut self, host: Address, now: Timestamp, order: u64) -> Option<Due> {
        let forced = if self.queue.len() >= self.capacity { self.queue.pop_front() } else { None };
        self.forced += u64::from(forced.is_some());
        self.queue.push_back(Due { at: now + self.timeout, began: now, order, host });
        forced
    }

    /// The next deadline.
    #[must_use]
    #[inline]
    pub fn next(&self) -> Option<Due> {
        self.queue.front().copied()
    }

    /// Takes the next deadline if it is due.
    pub fn take(&mut self, now: Timestamp) -> Option<Due> {
        if self.queue.front()?.at <= now { self.queue.pop_front() } else { None }
    }

    /// Changes the answer timeout; deadlines already set keep theirs, and later ones wait for them.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Waiting, and room for.
    #[must_use]
    pub fn occupancy(&self) -> (usize, usize) {
        (self.queue.len(), self.capacity)
    }

    /// Attempts judged before their time for want of room.
    #[must_use]
    pub fn forced(&self) -> u64 {
        self.forced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(n: u8, at: u64) -> Attempt {
        Attempt {
            transport: Transport::Tcp,
            peer: Address::v4([10, 0, 0, n]),
            port: 445,
            class: Class::Lateral,
            at: Timestamp::from_secs(at),
            openings: [Opening { port: 40_000, sequence: u32::MAX }; 2],
        }
    }

    const PROOF: Proof = Proof::Acknowledges { port: 40_000, number: 0 };

    #[test]
    fn an_answer_settles_the_attempt_it_answers() {
        let mut attempts = Attempts::default();
        for n in 1..=3 {
            assert_eq!(attempts.push(attempt(n, u64::from(n))), None);
        }
        let lateral = [Class::Lateral, Class::Other];
        assert_eq!(attempts.settle(Address::v4([10, 0, 0, 2]), 139, &lateral, PROOF), None);
        for (port, number) in [(40_001, 0), (40_000, u32::MAX), (40_000, 1_000_000)] {
            let forged = Proof::Acknowledges { port, number };
            assert_eq!(attempts.settle(Address::v4([10, 0, 0, 2]), 445, &lateral, forged), None, "{port} {number}");
        }
        assert_eq!(attempts.settle(Address::v4([10, 0, 0, 2]), 445, &lateral, PROOF), Some(attempt(2, 2)));
        assert_eq!(attempts.settle(Address::v4([10, 0, 0, 2]), 445, &lateral, PROOF), None);
        assert_eq!(attempts.overdue(Timestamp::from_secs(2)), Some(attempt(1, 1)));
        assert_eq!(attempts.overdue(Timestamp::from_secs(2)), None);
        assert_eq!(attempts.len(), 1);
    }

    #[test]
    fn of_several_connections_the_first_and_the_last_may_be_answered() {
        let peer = Address::v4([10, 0, 0, 1]);
        for (port, settles) in [(40_000, true), (40_001, false), (40_002, true)] {
            let mut attempts = Attempts::default();
            attempts.push(attempt(1, 1));
            for port in [40_000, 40_001, 40_002] {
                attempts.opened_again(peer, 445, Class::Lateral, Opening { port, sequence: u32::MAX });
            }
            let proof = Proof::Acknowledges { port, number: 0 };
            assert_eq!(attempts.settle(peer, 445, &[Class::Lateral], proof).is_some(), settles, "{port}");
        }
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut attempts = Attempts::default();
        let most = u8::try_from(Attempts::MOST).unwrap();
        for n in 0..most {
            assert_eq!(attempts.push(attempt(n, u64::from(n))), None);
        }
        assert_eq!(attempts.push(attempt(99, 99)), Some(attempt(0, 0)));
        assert_eq!(attempts.len(), Attempts::MOST);
        assert_eq!(attempts.pop(), Some(attempt(1, 1)));
    }

    #[test]
    fn deadlines_come_in_order_and_are_bounded() {
        let mut deadlines = Deadlines::new(16, Duration::from_millis(300));
        let host = Address::v4([10, 0, 0, 1]);
        for n in 0..16u64 {
            assert_eq!(deadlines.start(host, Timestamp::from_secs(n), n), None);
        }
        assert_eq!(deadlines.take(Timestamp::from_nanos(299_999_999)), None);
        assert_eq!(deadlines.start(host, Timestamp::from_secs(16), 16).unwrap().order, 0);
        assert_eq!(deadlines.forced(), 1);
        assert_eq!(deadlines.take(Timestamp::from_nanos(1_300_000_000)).unwrap().order, 1);
    }
}
