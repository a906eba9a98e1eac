//! Durations and sizes as engineers write them: `300ms`, `10m`, `1h 30m`, `7d`; `64KiB`, `8MiB`.
//!
//! A number without a unit is refused: nobody should have to guess whether 300 is seconds. Whatever is read can be
//! written back exactly.

use std::fmt;
use std::time::Duration;

const TIME_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Why a quantity could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No digits where a number should be.
    #[error("a number is missing")]
    Number,
    /// Digits without a unit.
    #[error("a unit is missing")]
    Unit,
    /// Letters that are no unit.
    #[error("the unit is not known")]
    UnknownUnit,
    /// More than 2^64.
    #[error("the number is too large")]
    TooLarge,
}

/// Reads a duration: whole numbers, each with one of ms, s, m, h, d, w; several are added up.
pub fn parse_duration(text: &str) -> Result<Duration, Malformed> {
    parse(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Reads a size in bytes: a whole number with B, KiB, MiB or GiB.
pub fn parse_size(text: &str) -> Result<u64, Malformed> {
    parse(text, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, Malformed> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(Malformed::Number);
        }
        let number: u64 = number.parse().map_err(|_| Malformed::TooLarge)?;
        let tail = tail.trim_start();
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(Malformed::Unit);
        }
        let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(Malformed::UnknownUnit)?;
        total = number.checked_mul(*factor).and_then(|n| total.checked_add(n)).ok_or(Malformed::TooLarge)?;
        rest = tail.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// A duration in the notation that [`parse_duration`] reads, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub struct ShowDuration(pub Duration);

impl fmt::Display for ShowDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One day reads better as 24h, and one minute as 60s; weeks are not used.
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let reads_well =
            |name, factor| millis.is_multiple_of(factor) && (millis / factor > 1 || matches!(name, "s" | "h"));
        let unit = TIME_UNITS.iter().rev().skip(1).find(|(name, factor)| millis > 0 && reads_well(*name, *factor));
        let (name, factor) = unit.copied().unwrap_or(if millis == 0 { ("s", 1) } else { ("ms", 1) });
        write!(f, "{}{name}", millis / factor)
    }
}

/// A size in the notation that [`parse_size`] reads.
#[derive(Clone, Copy, Debug)]
pub struct ShowSize(pub u64);

impl fmt::Display for ShowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS.iter().rev().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        let (name, factor) = unit.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in [
            ("300ms", 300),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            (" 7 d ", 604_800_000),
            ("1w", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", Malformed::Number),
            ("s", Malformed::Number),
            ("-1s", Malformed::Number),
            ("1.5h", Malformed::Unit),
            ("300", Malformed::Unit),
            ("1h 30", Malformed::Unit),
            ("10 min", Malformed::UnknownUnit),
            ("10M", Malformed::UnknownUnit),
            ("1µs", Malformed::UnknownUnit),
            ("99999999999999999999s", Malformed::TooLarge),
            ("18446744073709551615d", Malformed::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(reason), "{text}");
        }
        assert_eq!(parse_size("8MB"), Err(Malformed::UnknownUnit));
        assert_eq!(parse_size("8"), Err(Malformed::Unit));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (300, "300ms"),
            (1_000, "1s"),
            (1_500, "1500ms"),
            (10_000, "10s"),
            (60_000, "60s"),
            (600_000, "10m"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (604_800_000, "7d"),
        ] {
            assert_eq!(ShowDuration(Duration::from_millis(millis)).to_string(), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
        for (bytes, text) in [(0, "0B"), (1000, "1000B"), (65_536, "64KiB"), (8 << 20, "8MiB"), (3 << 30, "3GiB")] {
            assert_eq!(ShowSize(bytes).to_string(), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
    }
}
