//! The link that a frame came in on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A link: an interface plus its VLAN tags. The same address on two links is two hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// The interface's index in the kernel; in a capture file, the interface's number in it.
    pub interface: u32,
    /// The outermost VLAN id (IEEE 802.1Q §9.6); 0 is untagged.
    pub outer: u16,
    /// The second VLAN id; 0 is none.
    pub inner: u16,
}

impl Link {
    /// An interface without tags.
    #[must_use]
    pub const fn untagged(interface: u32) -> Self {
        Link { interface, outer: 0, inner: 0 }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "if {}", self.interface)?;
        for tag in [self.outer, self.inner] {
            if tag != 0 {
                write!(f, ".{tag}")?;
            }
        }
        Ok(())
    }
}
