//! Who may not be dropped, and by which entry.

use std::fmt;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::respond::settings::Settings;
use crate::time::Timestamp;
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

/// An entry that a command put on the never-contain list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exempted {
    /// The network.
    pub network: IpNetwork,
    /// Who added it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The first reason why `host` may not be dropped.
#[must_use]
pub fn exemption(settings: &Settings, by_command: &[Exempted], host: Address) -> Option<Exemption> {
    exemptions(settings, by_command, host).next()
}

/// Every reason why `host` may not be dropped.
pub fn exemptions<'a>(
    settings: &'a Settings,
    by_command: &'a [Exempted],
    host: Address,
) -> impl Iterator<Item = Exemption> + 'a {
    let own = settings.own_addresses.contains(host).then_some(Exemption::Own);
    let listed = settings.never_contain.entry(host).map(Exemption::NeverContain);
    let networks = by_command.iter().map(|entry| entry.network);
    let added = networks.filter(move |network| network.contains(host.ip())).map(Exemption::ByCommand);
    let outside = (!settings.protected.contains(host)).then_some(Exemption::NotProtected);
    own.into_iter().chain(listed).chain(added).chain(outside)
}
