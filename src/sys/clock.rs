//! The clock of the live daemon: the wall clock's reading at start, carried on by the monotonic clock.
//!
//! [`Timestamp`]s from here never jump, whatever is done to the wall clock. The kernel stamps frames by the wall clock
//! of the moment; a [`Stamper`] moves those stamps over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// The variable in which a service manager passes which boot this is, where /proc does not show it.
const BOOT: &str = "FIREDOOR_BOOT_ID";

/// Names the machine's present boot: what the monotonic clock says can be compared within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot(pub String);

impl Boot {
    /// The present one; `None` where nothing says.
    #[must_use]
    pub fn present() -> Option<Self> {
        let passed = std::env::var(BOOT).ok();
        let passed = passed.or_else(|| std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok())?;
        // systemd writes it without the dashes.
        let id: String = passed.chars().filter(char::is_ascii_hexdigit).collect();
        (!id.is_empty()).then_some(Boot(id))
    }
}

/// Wall clock at start plus monotonic time since. Copies give the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    since: Instant,
}

impl Clock {
    /// Starts at the wall clock's present reading. One clock serves the whole process.
    #[must_use]
    pub fn start() -> Self {
        Clock { wall: Timestamp::from_nanos(realtime()), since: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.wall + self.since.elapsed()
    }

    /// By how many milliseconds the machine's wall clock is ahead of this one: it was set since the start.
    #[must_use]
    pub fn wall_ahead_ms(&self) -> i64 {
        realtime().wrapping_sub(self.now().nanos()).cast_signed() / 1_000_000
    }

    /// What this clock showed when the machine's monotonic clock was at zero, however long ago that was.
    #[must_use]
    pub fn zero(&self) -> Timestamp {
        self.now() - monotonic()
    }

    /// Something to move the kernel's stamps onto this clock.
    #[must_use]
    pub fn stamper(self) -> Stamper {
        let now = self.now();
        Stamper { clock: self, behind: 0, floor: now, ceiling: now }
    }
}

/// Moves wall-clock stamps onto a [`Clock`], in order.
#[derive(Clone, Debug)]
pub struct Stamper {
    clock: Clock,
    /// By how many nanoseconds the wall clock is behind ours, now.
    behind: i64,
    floor: Timestamp,
    ceiling: Timestamp,
}

impl Stamper {
    /// Begins a batch: compares the clocks, so that a step of the wall clock is followed from here on.
    pub fn begin(&mut self) {
        self.compare(self.clock.now(), realtime());
    }

    fn compare(&mut self, now: Timestamp, wall: u64) {
        self.behind = now.nanos().wrapping_sub(wall).cast_signed();
        self.ceiling = now.max(self.floor);
    }

    /// The time of a frame that the kernel stamped `realtime`, in nanoseconds since the epoch.
    ///
    /// Never earlier than the stamp before it, and never ahead of the moment the batch began: where a step of the wall
    /// clock falls between the kernel's stamp and the batch, the result is one of the two.
    pub fn stamp(&mut self, realtime: u64) -> Timestamp {
        let at = Timestamp::from_nanos(realtime.saturating_add_signed(self.behind));
        self.floor = at.clamp(self.floor, self.ceiling);
        self.floor
    }
}

fn realtime() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The machine's monotonic clock (clock_gettime(2)), which [`Instant`] reads too and does not show.
fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into a struct of the right type that lives here. It never refuses this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn stamps_follow_our_clock_whatever_the_wall_clock_does() {
        let mut stamper = Clock::start().stamper();
        let start = stamper.floor.nanos();
        let at = |nanos| Timestamp::from_nanos(start + nanos);
        // (now, wall clock then, the kernel's stamp, what it means)
        for (now, wall, stamp, meant) in [
            (10, start + 10, start + 5, 5),
            // The wall clock was set back by an hour.
            (20 * SECOND, start + 20 * SECOND - 3600 * SECOND, start + 19 * SECOND - 3600 * SECOND, 19 * SECOND),
            // A frame stamped before the step, read after it, would lie an hour ahead.
            (21 * SECOND, start + 21 * SECOND - 3600 * SECOND, start + 20 * SECOND, 21 * SECOND),
            // The wall clock was set ahead by a day: a frame from before it would lie a day back.
            (30 * SECOND, start + 86_400 * SECOND, start + 29 * SECOND, 21 * SECOND),
            (31 * SECOND, start + 86_401 * SECOND, start + 86_401 * SECOND - 1, 31 * SECOND - 1),
        ] {
            stamper.compare(at(now), wall);
            assert_eq!(stamper.stamp(stamp), at(meant), "at {now}");
        }
    }

    #[test]
    fn clocks_of_one_boot_differ_by_what_the_wall_clock_was_moved_by() {
        let clock = Clock::start();
        let moved = Clock { wall: clock.wall + Duration::from_hours(1), ..clock };
        std::thread::sleep(Duration::from_millis(20));
        let apart = moved.zero().since(clock.zero());
        assert!(apart.abs_diff(Duration::from_hours(1)) < Duration::from_millis(10), "{apart:?}");
    }

    #[test]
    fn the_clock_keeps_to_the_wall_clock_it_started_from() {
        let clock = Clock::start();
        let (ours, wall) = (clock.now().nanos(), realtime());
        assert!(ours.abs_diff(wall) < SECOND, "{ours} {wall}");
        let copy = clock;
        assert!(copy.now() >= Timestamp::from_nanos(ours));
    }
}
