//! Tables that line up, and figures as people read them.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;

use super::Output;
use super::output::HEADING;
use crate::time::Timestamp;

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    text: String,
    style: Style,
}

impl Field {
    /// In a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Field { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Field { text: text.into(), style: Style::new() }
    }
}

/// Rows under headings. A heading that begins with `>` stands over figures, which line up on the right.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<(&'static str, bool)>,
    rows: Vec<Vec<Field>>,
    indent: usize,
}

impl Table {
    /// With these headings.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        let heading = |text: &&'static str| text.strip_prefix('>').map_or((*text, false), |text| (text, true));
        Table { headings: headings.iter().map(heading).collect(), rows: Vec::new(), indent: 0 }
    }

    /// Moves it to the right.
    #[must_use]
    pub fn indented(mut self, by: usize) -> Self {
        self.indent = by;
        self
    }

    /// Adds a row, one field a heading.
    pub fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        self.rows.push(fields.into_iter().collect());
    }

    /// Writes it; the last column is not padded.
    pub fn print(&self, out: &mut Output) -> io::Result<()> {
        let width = |column: usize, (heading, _): &(&str, bool)| {
            let fields = self.rows.iter().filter_map(|row| row.get(column));
            fields.map(|field| field.text.chars().count()).chain([heading.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.headings.iter().enumerate().map(|(at, heading)| width(at, heading)).collect();
        let headings: Vec<Field> = self.headings.iter().map(|(text, _)| Field::new(*text, HEADING)).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            write!(out, "{:1$}", "", self.indent)?;
            let last = row.len().saturating_sub(1);
            for (at, (field, (width, (_, right)))) in row.iter().zip(widths.iter().zip(&self.headings)).enumerate() {
                let Field { text, style } = field;
                let pad = width.saturating_sub(text.chars().count());
                let (before, after) = if *right { (pad, 0) } else { (0, if at == last { 0 } else { pad }) };
                let gap = if at == last { "" } else { "  " };
                write!(out, "{:before$}{style}{text}{style:#}{:after$}{gap}", "", "")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// A count with its thousands set apart: `13,402`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment in this machine's time zone: `2026-11-23 03:14:15`; `-` for never.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    if at == Timestamp::ZERO {
        return "-".to_owned();
    }
    let stamp = i64::try_from(at.secs()).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
    stamp.map_or_else(
        || at.to_string(),
        |stamp| stamp.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A text of the daemon's, its moments (in UTC, as it writes them) turned into this machine's time zone.
#[must_use]
pub fn local(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([':', ',', '.', ')', ';']);
        let at: Option<jiff::Timestamp> = bare.ends_with('Z').then(|| bare.parse().ok()).flatten();
        match at.and_then(|at| u64::try_from(at.as_second()).ok()) {
            Some(secs) => format!("{}{}", moment(Timestamp::from_secs(secs)), word.get(bare.len()..).unwrap_or("")),
            None => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A time span in its two largest units: `3d 4h`, `59s`.
#[must_use]
pub fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// How long ago, seen from `now`: `9s ago`; `-` for never.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at == Timestamp::ZERO { "-".to_owned() } else { format!("{} ago", span(now.since(at))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_set_apart_in_thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn moments_within_a_text_are_reported_in_local_time() {
        let at = Timestamp::from_secs(1_700_000_000);
        let text = format!("contained until {at}: it  stays (last {at}), XYZ. 2023 Z");
        let shown = format!("contained until {0}: it  stays (last {0}), XYZ. 2023 Z", moment(at));
        assert_eq!(local(&text), shown);
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (secs, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (86_400, "1d"), (90_061, "1d 1h")] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
        assert_eq!(ago(Timestamp::ZERO, Timestamp::from_secs(9)), "-");
        assert_eq!(ago(Timestamp::from_secs(1), Timestamp::from_secs(10)), "9s ago");
    }
}
