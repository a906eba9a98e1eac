//! Who may not be dropped, and by which entry.

use std::fmt;

use ipnetwork::IpNetwork;

use crate::respond::settings::Settings;
use crate::wire::Address;

/// Why no decision may drop a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// One of the gateway's own addresses.
    Own,
    /// On the never-contain list, by this entry.
    NeverContain(IpNetwork),
    /// Put on the never-contain list by command, by this entry.
    ByCommand(IpNetwork),
    /// Not in the protected networks.
    NotProtected,
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exemption::Own => f.write_str("one of the gateway's own addresses"),
            Exemption::NeverContain(entry) => write!(f, "on the never-contain list (entry {entry})"),
            Exemption::ByCommand(entry) => write!(f, "on the never-contain list by command (entry {entry})"),
            Exemption::NotProtected => f.write_str("not in the protected networks"),
        }
    }
}

/// The first reason why `host` may not be dropped.
#[must_use]
pub fn exemption(settings: &Settings, by_command: &[IpNetwork], host: Address) -> Option<Exemption> {
    if settings.own_addresses.contains(host) {
        return Some(Exemption::Own);
    }
    if let Some(entry) = settings.never_contain.entry(host) {
        return Some(Exemption::NeverContain(entry));
    }
    if let Some(entry) = by_command.iter().find(|entry| entry.contains(host.ip())) {
        return Some(Exemption::ByCommand(*entry));
    }
    if !settings.protected.contains(host) {
        return Some(Exemption::NotProtected);
    }
    None
}
