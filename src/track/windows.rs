//! Sliding windows of first contacts.
//!
//! First contacts are distinct by definition (the contact memory sees to that), so counting distinct destinations in a
//! window is counting events in it. [`Recent`] answers that exactly for thresholds up to [`Recent::MOST`]: the n-th
//! latest event lies inside the window or it does not. [`Bins`] serves the high thresholds of the any-port class in a
//! few bytes, with windows up to a tenth longer than configured.

use std::time::Duration;

use crate::time::Timestamp;

/// Time in units of 2²⁰ ns (1.05 ms), wrapping after 52 days.
fn ticks(at: Timestamp) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "wraps by intent; differences are taken modulo 2^32")]
    let ticks = (at.nanos() >> 20) as u32;
    ticks
}

/// The times of the latest events.
#[derive(Clone)]
pub struct Recent {
    times: [u32; Recent::MOST],
    total: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { times: [0; Recent::MOST], total: 0 }
    }
}

impl Recent {
    /// The highest threshold it can answer for.
    pub const MOST: usize = 128;

    /// Notes an event.
    pub fn push(&mut self, now: Timestamp) {
        let at = self.total as usize % Self::MOST;
        if let Some(slot) = self.times.get_mut(at) {
            *slot = ticks(now);
        }
        self.total = self.total.wrapping_add(1);
        if self.total == 0 {
            // After 2^32 events "there are at least MOST" must stay true.
            self.total = 1 << 31;
        }
    }

    /// How many events lie within `length` before `now`, at most [`Recent::MOST`].
    #[must_use]
    pub fn within(&self, length: Duration, now: Timestamp) -> u32 {
        let span = ticks(Timestamp::ZERO + length);
        let now = ticks(now);
        let held = (self.total as usize).min(Self::MOST);
        let mut count = 0;
        for back in 1..=held {
            let at = (self.total as usize).wrapping_sub(back) % Self::MOST;
            match self.times.get(at) {
                Some(&time) if now.wrapping_sub(time) < span => count += 1,
                _ => break,
            }
        }
        count
    }

    /// Whether at least `limit` events lie within `length` before `now`; one look, whatever the limit.
    #[must_use]
    pub fn reached(&self, limit: u32, length: Duration, now: Timestamp) -> bool {
        if limit == 0 || limit > self.total || limit as usize > Self::MOST {
            return false;
        }
        let at = (self.total as usize).wrapping_sub(limit as usize) % Self::MOST;
        self.times.get(at).is_some_and(|&time| ticks(now).wrapping_sub(time) < ticks(Timestamp::ZERO + length))
    }

    /// Takes over another's events, in the order of their times.
    pub fn merge(&mut self, other: &Recent) {
        let before = self.clone();
        let (mut mine, mut theirs) = (before.latest().peekable(), other.latest().peekable());
        let mut merged = [0; Self::MOST];
        let mut count = 0usize;
        // From the latest back: of two times the later is the one that is less long before the other (modulo 2^32).
        for slot in merged.iter_mut().rev() {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(&a), Some(&b)) if a.wrapping_sub(b) < u32::MAX / 2 => mine.next(),
                (_, Some(_)) => theirs.next(),
                (_, None) => mine.next(),
            };
            let Some(time) = next else { break };
            *slot = time;
            count += 1;
        }
        merged.rotate_right(count);
        self.times = merged;
        // Times lie at their number modulo MOST, the oldest first.
        self.total = u32::try_from(count).unwrap_or(u32::MAX);
    }

    /// The times held, latest first.
    fn latest(&self) -> impl Iterator<Item = u32> {
        let (times, total) = (self.times, self.total as usize);
        (1..=total.min(Self::MOST)).filter_map(move |back| times.get(total.wrapping_sub(back) % Self::MOST).copied())
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.total = 0;
    }
}

const BINS: u64 = 10;
const SLOTS: usize = 11;

/// Event counts in bins of a tenth of a window.
#[derive(Clone, Copy, Default)]
pub struct Bins {
    counts: [u16; SLOTS],
    newest: u64,
}

impl Bins {
    fn turn(&mut self, length: Duration, now: Timestamp) {
        let width = (u64::try_from(length.as_nanos()).unwrap_or(u64::MAX) / BINS).max(1);
        let bin = now.nanos() / width;
        if bin <= self.newest {
            return;
        }
        let gone = bin - self.newest;
        if gone >= SLOTS as u64 {
            self.counts = [0; SLOTS];
        } else {
            for step in 1..=gone {
                #[expect(clippy::cast_possible_truncation, reason = "taken modulo 11")]
                let at = ((self.newest + step) % SLOTS as u64) as usize;
                if let Some(count) = self.counts.get_mut(at) {
                    *count = 0;
                }
            }
        }
        self.newest = bin;
    }

    /// Notes an event and gives the count within the window of `length`, that event included.
    pub fn push(&mut self, length: Duration, now: Timestamp) -> u32 {
        self.turn(length, now);
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo 11")]
        let at = (self.newest % SLOTS as u64) as usize;
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum()
    }

    /// The count within the window of `length`.
    #[must_use]
    pub fn within(&self, length: Duration, now: Timestamp) -> u32 {
        let mut turned = *self;
        turned.turn(length, now);
        turned.sum()
    }

    /// Takes over another's counts, of the same window.
    pub fn merge(&mut self, other: &Bins) {
        let newest = self.newest.max(other.newest);
        let mut merged = Bins { counts: [0; SLOTS], newest };
        for from in [&*self, other] {
            for back in 0..SLOTS as u64 {
                let Some(bin) = from.newest.checked_sub(back) else { break };
                if newest - bin >= SLOTS as u64 {
                    break;
                }
                #[expect(clippy::cast_possible_truncation, reason = "taken modulo 11")]
                let at = (bin % SLOTS as u64) as usize;
                if let (Some(to), Some(count)) = (merged.counts.get_mut(at), from.counts.get(at)) {
                    *to = to.saturating_add(*count);
                }
            }
        }
        *self = merged;
    }

    fn sum(&self) -> u32 {
        self.counts.iter().map(|&count| u32::from(count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_latest_decides_exactly() {
        let mut recent = Recent::default();
        let start = Timestamp::from_secs(1_700_000_000);
        for n in 0..9u64 {
            recent.push(start + Duration::from_secs(n));
        }
        let ten = Duration::from_secs(10);
        let at = start + Duration::from_secs(9);
        assert!(!recent.reached(10, ten, at));
        recent.push(at);
        assert!(recent.reached(10, ten, at));
        assert_eq!(recent.within(ten, at), 10);
        assert!(!recent.reached(10, ten, at + Duration::from_millis(1100)));
        assert_eq!(recent.within(ten, at + Duration::from_millis(1100)), 9);
    }

    #[test]
    fn the_ring_may_wrap() {
        let mut recent = Recent::default();
        for n in 0..1000u64 {
            recent.push(Timestamp::from_secs(n));
        }
        let now = Timestamp::from_secs(999);
        assert!(recent.reached(120, Duration::from_secs(121), now));
        assert!(!recent.reached(120, Duration::from_secs(119), now));
        assert_eq!(recent.within(Duration::from_secs(10_000), now), 128);
        assert!(!recent.reached(129, Duration::from_secs(10_000), now));
    }

    #[test]
    fn merged_windows_hold_the_latest_of_both_in_order() {
        let (mut odd, mut even) = (Recent::default(), Recent::default());
        for n in 0..100u64 {
            (if n % 2 == 0 { &mut even } else { &mut odd }).push(Timestamp::from_secs(n));
        }
        let at = Timestamp::from_secs(100);
        odd.merge(&even);
        for seconds in [1, 10, 60, 200] {
            let length = Duration::from_millis(seconds * 1000 + 500);
            assert_eq!(u64::from(odd.within(length, at)), seconds.min(100), "{seconds} s");
        }
        odd.push(at);
        assert_eq!(odd.within(Duration::from_millis(1500), at), 2);
        let mut full = Recent::default();
        (0..1000).for_each(|n| full.push(Timestamp::from_secs(n)));
        full.merge(&odd);
        assert_eq!(full.within(Duration::from_secs(10_000), Timestamp::from_secs(1000)), 128);
        assert!(full.reached(128, Duration::from_secs(130), Timestamp::from_secs(1000)));

        let length = Duration::from_secs(60);
        let (mut mine, mut theirs) = (Bins::default(), Bins::default());
        for n in 0..50 {
            (if n % 3 == 0 { &mut mine } else { &mut theirs }).push(length, Timestamp::from_secs(n));
        }
        mine.merge(&theirs);
        assert_eq!(mine.within(length, Timestamp::from_secs(50)), 50);
    }

    #[test]
    fn bins_count_at_least_the_window_and_at_most_a_tenth_more() {
        let length = Duration::from_secs(60);
        let mut bins = Bins::default();
        let mut last = 0;
        for n in 0..600u64 {
            last = bins.push(length, Timestamp::from_nanos(n * 1_000_000_000));
        }
        assert!((60..=66).contains(&last), "{last}");
        assert_eq!(bins.within(length, Timestamp::from_secs(10_000)), 0);
    }
}
