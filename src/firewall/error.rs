//! What can go wrong with the kernel's firewall, and what to do about it.

use std::path::PathBuf;

use ipnetwork::IpNetwork;
use thiserror::Error;

use crate::suspect::{Place, Suspect};
use crate::sys::netlink;
use crate::wire::Address;

/// What can go wrong with the kernel's firewall.
#[derive(Debug, Error)]
pub enum Error {
    /// The nft program is missing.
    #[error("nft was not found: install the nftables package")]
    NoNft,
    /// The nft program could not be run.
    #[error("{} could not be run: {source}", program.display())]
    Nft {
        /// Which.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// nft or the kernel refused the ruleset.
    #[error("nft refused the ruleset: {said}")]
    Rejected {
        /// nft's first complaint.
        said: String,
    },
    /// A name that cannot be written into a ruleset.
    #[error("interface {name:?} cannot be named in a ruleset: rename it to letters, digits, '.', '-' and '_'")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// A host on the never-contain list, or one of the gateway's own addresses.
    #[error("{host} is on the never-contain list ({entry}): take it off there first")]
    Exempt {
        /// The host.
        host: Address,
        /// The entry that holds it.
        entry: IpNetwork,
    },
    /// A place that no rule can match.
    #[error("{} cannot be matched by the kernel: an address behind two VLAN tags, or tags that do not pass there", Suspect { link: place.link, who: place.source })]
    Unreachable {
        /// The place.
        place: Place,
    },
    /// An element was asked for before a skeleton was loaded.
    #[error("the ruleset is not loaded: reconcile first")]
    NotLoaded,
    /// The kernel refused an element, or could not be asked.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
}
