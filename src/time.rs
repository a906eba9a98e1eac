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
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// From whole seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2017-05-18T08:12:07.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Past year 9999 there is no RFC 3339 date; such a timestamp can only come from a hostile capture.
        let millis = i64::try_from(self.millis()).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(stamp) => write!(f, "{stamp:.3}"),
            Err(_) => write!(f, "9999-12-31T23:59:59.999Z"),
        }
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
        serializer.collect_str(self)
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
