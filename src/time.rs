//! Time as the core knows it: a number that is handed in and never read from a clock.
//!
//! A [`Timestamp`] counts nanoseconds since the Unix epoch on a clock that never jumps. In a replay it is the
//! capture's own time; live it is the wall clock at start plus the monotonic time since, so a stepped or slewed wall
//! clock cannot age a block or a window.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since the Unix epoch, on a clock that never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself; also "never" where a field means "last seen at".
    pub const ZERO: Timestamp = Timestamp(0);

    /// From nanoseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// From whole seconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    #[inline]
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    #[inline]
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2017-05-18T08:12:07.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; 24]))
    }
}

impl Timestamp {
    /// The text of [`Timestamp`]'s `Display`, in a buffer of the caller's: decisions carry many of them.
    fn text(self, buffer: &mut [u8; 24]) -> &str {
        // 64 bits of nanoseconds end in 2554: the year has four digits.
        let millis = self.millis();
        let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
        // Days to a civil date, after Hinnant's chrono-compatible algorithms: eras of 400 years that begin in March.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let pair = |number: u64| [number / 10, number % 10].map(|digit| b'0' + (digit % 10) as u8);
        let ([a, b], [c, d]) = (pair(year / 100), pair(year % 100));
        let ([e, f], [g, h]) = (pair(month), pair(day));
        let ([i, j], [k, l]) = (pair(of_day / 3_600_000), pair(of_day / 60_000 % 60));
        let ([m, n], [o, p]) = (pair(of_day / 1000 % 60), pair(of_day / 10 % 100));
        let [_, q] = pair(of_day % 10);
        *buffer = [a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p, q, b'Z'];
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

/// Why a text is no [`Timestamp`].
#[derive(Debug, thiserror::Error)]
pub enum NoTimestamp {
    /// Not RFC 3339.
    #[error(transparent)]
    Malformed(#[from] jiff::Error),
    /// The epoch is the beginning.
    #[error("a time before 1970")]
    TooEarly,
}

impl FromStr for Timestamp {
    type Err = NoTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stamp: jiff::Timestamp = text.parse()?;
        u64::try_from(stamp.as_nanosecond()).map(Timestamp).map_err(|_| NoTimestamp::TooEarly)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; 24]))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rfc3339_with_milliseconds() {
        let at = Timestamp::from_nanos(1_495_095_127_123_456_789);
        assert_eq!(at.to_string(), "2017-05-18T08:12:07.123Z");
    }

    #[test]
    fn agrees_with_the_calendar_of_a_library() {
        for step in 0..40_000u64 {
            let millis = step * 461_168_601 + step % 797;
            let theirs = jiff::Timestamp::from_millisecond(millis.cast_signed()).unwrap();
            assert_eq!(Timestamp::from_nanos(millis * 1_000_000).to_string(), format!("{theirs:.3}"));
        }
        assert_eq!(Timestamp::from_nanos(u64::MAX).to_string(), "2554-07-21T23:34:33.709Z");
    }

    #[test]
    fn survives_a_json_round_trip_to_the_millisecond() {
        let at = Timestamp::from_nanos(1_495_095_127_123_000_000);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::ZERO.since(Timestamp::from_secs(9)), Duration::ZERO);
        let last = Timestamp::from_nanos(u64::MAX);
        assert_eq!(last + Duration::from_secs(1), last);
        assert!(last.to_string().ends_with('Z'));
    }
}
