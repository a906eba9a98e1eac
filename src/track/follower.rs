//! Following one direction of a TCP connection by message boundaries, without reassembling it.
//!
//! A [`Reader`] says which bytes it wants next: so many bytes, so far ahead, with so much of the message left. The
//! follower finds them by sequence number and passes over everything else, so a message's body costs nothing and need
//! not be captured at all. The reader gets exactly the bytes it asked for, however the stream was cut: what it
//! concludes cannot depend on the segmentation.
//!
//! Bounds: at most [`HEAD`] bytes are kept of a direction, for a want that spans segments. Lengths are the peer's word
//! and only ever move the place where the next wanted byte stands. Where wanted bytes are lost the follower continues at
//! the message's end, if that is known and still ahead, and otherwise goes blind until a segment starts with something
//! that the reader takes for a message. Nothing here panics or allocates.

/// The most bytes a reader may want at once, and so the most that are kept of a direction.
pub const HEAD: usize = 256;

/// One of a connection's two directions: who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The connection's opener.
    Client,
    /// Who was connected to.
    Server,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// 0 for the client, 1 for the server.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a reader wants after what it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next want.
    Want {
        /// From the start of the bytes just read to the wanted ones. With 0, `need` must have grown.
        skip: u32,
        /// How many bytes, 1 to [`HEAD`].
        need: u16,
        /// From the start of the wanted bytes to the message's end; 0 where a new message starts there.
        left: u32,
    },
    /// These bytes cannot be what they should be: the boundary is lost.
    Lost,
}

/// Who reads a connection's messages.
pub trait Reader {
    /// Reads the bytes asked for.
    fn read(&mut self, side: Side, bytes: &[u8]) -> Step;

    /// Stands before a message whose start is known; says how many bytes it wants of it.
    fn begin(&mut self, side: Side) -> u16;

    /// Whether a segment that starts so may be the start of a message. Must not depend on more than these bytes.
    fn resembles(&self, side: Side, start: &[u8]) -> bool;
}

/// One segment's place and what was captured of it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// Bytes on the wire.
    pub length: u32,
    /// Captured bytes, at most `length`.
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.length)
    }
}

/// How far `to` lies ahead of `from` in sequence space (RFC 9293 §3.4): negative where it lies behind.
#[must_use]
pub const fn ahead(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It was read as far as it was wanted, or holds nothing that is still wanted.
    Taken,
    /// It starts after wanted bytes that have not been seen.
    OutOfOrder,
}

/// The state of one direction, its kept bytes aside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follower {
    /// Sequence number of the first wanted byte.
    want: u32,
    /// From there to the message's end; 0 where a message starts there.
    left: u32,
    /// How many bytes are wanted; 0 while blind.
    need: u16,
    /// How many of them are kept in the head.
    have: u16,
}

impl Follower {
    /// Whether it does not know where the next message starts.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.need == 0
    }

    /// The stream starts at `sequence`: the handshake said so.
    pub fn start(&mut self, side: Side, sequence: u32, reader: &mut impl Reader) {
        *self = Follower { want: sequence, left: 0, need: reader.begin(side), have: 0 };
    }

    /// Forgets where messages start.
    pub fn blind(&mut self) {
        *self = Follower::default();
    }

    /// Reads what is wanted of a piece.
    pub fn feed(&mut self, side: Side, head: &mut [u8; HEAD], piece: Piece<'_>, reader: &mut impl Reader) -> Fed {
        if self.is_blind() {
            if piece.length == 0 || !reader.resembles(side, piece.bytes) {
                return Fed::Taken;
            }
            self.start(side, piece.sequence, reader);
        }
        // Each turn reads, which moves the want on or makes it grow, or leaves.
        loop {
            let need = usize::from(self.need);
            if let Some(whole) = head.get(..need).filter(|_| self.have >= self.need) {
                let step = reader.read(side, whole);
                if !self.take(step, head) {
                    break;
                }
                continue;
            }
            let next = self.want.wrapping_add(u32::from(self.have));
            let Ok(offset) = u32::try_from(ahead(piece.sequence, next)) else {
                return if piece.length == 0 { Fed::Taken } else { Fed::OutOfOrder };
            };
            if offset >= piece.length {
                break;
            }
            let fresh = piece.bytes.get(offset as usize..).unwrap_or_default();
            if fresh.is_empty() {
                // The wanted bytes lie in what the capture cut off.
                self.lose(side, piece.end(), reader);
                if self.is_blind() {
                    break;
                }
            } else if let Some(whole) = fresh.get(..need).filter(|_| self.have == 0) {
                let step = reader.read(side, whole);
                if !self.take(step, head) {
                    break;
                }
            } else {
                self.keep(head, fresh);
            }
        }
        Fed::Taken
    }

    /// The bytes before `present` will not come: continues at the message's end, or blind.
    pub fn lose(&mut self, side: Side, present: u32, reader: &mut impl Reader) {
        let end = self.want.wrapping_add(self.left);
        if self.left > 0 && ahead(present, end) >= 0 {
            self.start(side, end, reader);
        } else {
            self.blind();
        }
    }

    /// Keeps what is wanted of `fresh`.
    fn keep(&mut self, head: &mut [u8; HEAD], fresh: &[u8]) {
        let missing = usize::from(self.need.saturating_sub(self.have));
        let fresh = fresh.get(..missing).unwrap_or(fresh);
        let have = usize::from(self.have);
        if let Some(place) = head.get_mut(have..have + fresh.len()) {
            place.copy_from_slice(fresh);
            // At most HEAD, which fits.
            self.have += u16::try_from(fresh.len()).unwrap_or_default();
        }
    }

    /// Moves on by what the reader wants; goes blind and says false where it wants nothing possible.
    fn take(&mut self, step: Step, head: &mut [u8; HEAD]) -> bool {
        let possible = |skip: u32, need: u16| {
            (skip > 0 || need > self.need) && need > 0 && usize::from(need) <= HEAD && skip < 1 << 30
        };
        match step {
            Step::Want { skip, need, left } if possible(skip, need) => {
                let kept = u32::from(self.have);
                if skip < kept {
                    head.copy_within(skip as usize..kept as usize, 0);
                }
                self.have = u16::try_from(kept.saturating_sub(skip)).unwrap_or_default();
                self.want = self.want.wrapping_add(skip);
                self.need = need;
                self.left = left;
                true
            }
            Step::Want { .. } | Step::Lost => {
                self.blind();
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toy protocol: a length octet (0xff ends the sense), then as many bytes, of which the first two are read and
    /// the one in the middle, with a want that grows from one byte to two.
    #[derive(Default)]
    struct Toy {
        stage: u8,
        length: u8,
        log: Vec<Vec<u8>>,
    }

    impl Reader for Toy {
        fn read(&mut self, _: Side, bytes: &[u8]) -> Step {
            self.log.push(bytes.to_vec());
            let end = Step::Want { skip: u32::from(self.length), need: 1, left: 0 };
            let left = u32::from(self.length);
            match (self.stage, bytes[0]) {
                (0, 0xff) => Step::Lost,
                (0, 0) => Step::Want { skip: 1, need: 1, left: 0 },
                (0, length) => {
                    (self.stage, self.length) = (1, length);
                    Step::Want { skip: 1, need: 1, left: u32::from(length) }
                }
                (1, _) if left >= 6 => {
                    self.stage = 2;
                    Step::Want { skip: 0, need: 2, left }
                }
                (2, _) => {
                    self.stage = 3;
                    self.length -= self.length / 2;
                    Step::Want { skip: left / 2, need: 1, left: left - left / 2 }
                }
                _ => {
                    self.stage = 0;
                    end
                }
            }
        }

        fn begin(&mut self, _: Side) -> u16 {
            self.stage = 0;
            1
        }

        fn resembles(&self, _: Side, start: &[u8]) -> bool {
            start.first().is_some_and(|byte| *byte < 0x10)
        }
    }

    fn piece(sequence: u32, bytes: &[u8]) -> Piece<'_> {
        Piece { sequence, length: u32::try_from(bytes.len()).unwrap(), bytes }
    }

    const STREAM: &[u8] = &[8, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1, 20, 6, 30, 31, 32, 33, 34, 35, 2, 40, 41];
    const READ: &[&[u8]] =
        &[&[8], &[10], &[10, 11], &[14], &[0], &[1], &[20], &[6], &[30], &[30, 31], &[33], &[2], &[40]];

    #[test]
    fn any_cutting_reads_the_same() {
        for start in [0, u32::MAX - 5] {
            for size in 1..=STREAM.len() {
                let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
                follower.start(Side::Client, start, &mut toy);
                let mut at = start;
                for part in STREAM.chunks(size) {
                    assert_eq!(follower.feed(Side::Client, &mut head, piece(at, part), &mut toy), Fed::Taken);
                    at = at.wrapping_add(u32::try_from(part.len()).unwrap());
                }
                assert_eq!(toy.log, READ, "in parts of {size}");
            }
        }
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
        follower.start(Side::Client, 100, &mut toy);
        for (at, part) in [(100, &STREAM[..5]), (100, &STREAM[..5]), (102, &STREAM[2..13]), (100, STREAM)] {
            assert_eq!(follower.feed(Side::Client, &mut head, piece(at, part), &mut toy), Fed::Taken);
        }
        assert_eq!(toy.log, READ);
    }

    #[test]
    fn a_body_that_is_never_seen_costs_no_boundary() {
        let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
        follower.start(Side::Client, 0, &mut toy);
        follower.feed(Side::Client, &mut head, piece(0, &STREAM[..3]), &mut toy);
        follower.feed(Side::Client, &mut head, piece(5, &STREAM[5..6]), &mut toy);
        assert_eq!(follower.feed(Side::Client, &mut head, piece(9, &STREAM[9..]), &mut toy), Fed::Taken);
        assert_eq!(toy.log, READ);
    }

    #[test]
    fn a_hole_in_the_wanted_bytes_is_early_until_it_is_given_up() {
        let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
        follower.start(Side::Client, 0, &mut toy);
        follower.feed(Side::Client, &mut head, piece(0, &STREAM[..1]), &mut toy);
        assert_eq!(follower.feed(Side::Client, &mut head, piece(3, &STREAM[3..]), &mut toy), Fed::OutOfOrder);
        follower.lose(Side::Client, 3, &mut toy);
        assert_eq!(follower.feed(Side::Client, &mut head, piece(3, &STREAM[3..]), &mut toy), Fed::Taken);
        assert_eq!(toy.log[1..], READ[4..]);
    }

    #[test]
    fn a_lost_boundary_is_found_again_at_a_start_that_resembles_one() {
        let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
        follower.start(Side::Client, 0, &mut toy);
        follower.feed(Side::Client, &mut head, piece(0, &[0xff, 1]), &mut toy);
        assert!(follower.is_blind());
        follower.feed(Side::Client, &mut head, piece(2, &[0x77, 1]), &mut toy);
        assert!(follower.is_blind());
        follower.feed(Side::Client, &mut head, piece(900, &[1, 9]), &mut toy);
        assert_eq!(toy.log, [vec![0xff], vec![1], vec![9]]);
    }

    #[test]
    fn what_the_capture_cut_off_is_lost_at_once() {
        let (mut toy, mut follower, mut head) = (Toy::default(), Follower::default(), [0; HEAD]);
        follower.start(Side::Client, 0, &mut toy);
        let cut = Piece { sequence: 0, length: 9, bytes: &STREAM[..2] };
        assert_eq!(follower.feed(Side::Client, &mut head, cut, &mut toy), Fed::Taken);
        follower.feed(Side::Client, &mut head, piece(9, &STREAM[9..12]), &mut toy);
        assert_eq!(toy.log, [&[8][..], &[10], &[0], &[1], &[20]]);
        // A boundary inside what was cut off is not guessed at.
        let cut = Piece { sequence: 12, length: 10, bytes: &STREAM[12..13] };
        follower.feed(Side::Client, &mut head, cut, &mut toy);
        assert!(follower.is_blind());
    }
}
