//! What a row of the table of keys is.

use std::time::Duration;

use crate::config::model::Config;
use crate::config::value_kind::Kind;

/// One key.
pub struct Key<T: 'static> {
    /// Its name within the section.
    pub name: &'static str,
    /// Its notation, range and field.
    pub kind: Kind<T>,
    /// What it does and why its default is what it is, in whole sentences.
    pub why: &'static str,
}

/// One table of the file.
pub struct Section {
    /// Its name, as in `[name]`.
    pub name: &'static str,
    /// What it is about.
    pub why: &'static str,
    /// Its keys, in the order shown.
    pub keys: &'static [Key<Config>],
}

pub(super) const fn key<T>(name: &'static str, kind: Kind<T>, why: &'static str) -> Key<T> {
    Key { name, kind, why }
}

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

pub(super) const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of arrays within one host's state")]
pub(super) const fn fits(n: usize) -> u32 {
    n as u32
}
