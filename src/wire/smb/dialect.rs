//! Dialects by name: a closed set, so that metrics by dialect have bounded cardinality.
//!
//! Contract: never panics; an unknown SMB1 dialect string is [`Dialect::OtherSmb1`], an unknown revision `None`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What two hosts agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// `PC NETWORK PROGRAM 1.0` and its equals: the core protocol.
    #[serde(rename = "smb1_core")]
    Core,
    /// `LANMAN1.0` and its equals (`MICROSOFT NETWORKS 3.0`, `Windows for Workgroups 3.1a`).
    #[serde(rename = "smb1_lanman1.0")]
    LanMan10,
    /// `LM1.2X002` and its equals.
    #[serde(rename = "smb1_lm1.2x002")]
    LanMan12,
    /// `LANMAN2.1` and its equals.
    #[serde(rename = "smb1_lanman2.1")]
    LanMan21,
    /// `NT LM 0.12`, what Windows NT to XP and every later SMB1 speaks.
    #[serde(rename = "smb1_ntlm0.12")]
    NtLm012,
    /// Any other SMB1 dialect, or SMB1 whose negotiation was not seen.
    #[serde(rename = "smb1_other")]
    OtherSmb1,
    /// 2.0.2 (Windows Vista SP1).
    #[serde(rename = "smb2.0.2")]
    Smb202,
    /// 2.1 (Windows 7).
    #[serde(rename = "smb2.1")]
    Smb210,
    /// 3.0 (Windows 8).
    #[serde(rename = "smb3.0")]
    Smb300,
    /// 3.0.2 (Windows 8.1).
    #[serde(rename = "smb3.0.2")]
    Smb302,
    /// 3.1.1 (Windows 10).
    #[serde(rename = "smb3.1.1")]
    Smb311,
}

impl Dialect {
    /// Every dialect, oldest first.
    pub const ALL: [Dialect; 11] = [
        Dialect::Core,
        Dialect::LanMan10,
        Dialect::LanMan12,
        Dialect::LanMan21,
        Dialect::NtLm012,
        Dialect::OtherSmb1,
        Dialect::Smb202,
        Dialect::Smb210,
        Dialect::Smb300,
        Dialect::Smb302,
        Dialect::Smb311,
    ];

    /// Its name in JSON and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Dialect::Core => "smb1_core",
            Dialect::LanMan10 => "smb1_lanman1.0",
            Dialect::LanMan12 => "smb1_lm1.2x002",
            Dialect::LanMan21 => "smb1_lanman2.1",
            Dialect::NtLm012 => "smb1_ntlm0.12",
            Dialect::OtherSmb1 => "smb1_other",
            Dialect::Smb202 => "smb2.0.2",
            Dialect::Smb210 => "smb2.1",
            Dialect::Smb300 => "smb3.0",
            Dialect::Smb302 => "smb3.0.2",
            Dialect::Smb311 => "smb3.1.1",
        }
    }

    /// Whether it is SMB1.
    #[must_use]
    pub const fn is_smb1(self) -> bool {
        (self as u8) <= Dialect::OtherSmb1 as u8
    }

    /// By a revision number of SMB 2 or 3 (MS-SMB2 2.2.4); `None` for others, the wildcard 0x02ff among them.
    #[must_use]
    pub const fn of_revision(revision: u16) -> Option<Dialect> {
        Some(match revision {
            0x0202 => Dialect::Smb202,
            0x0210 => Dialect::Smb210,
            0x0300 => Dialect::Smb300,
            0x0302 => Dialect::Smb302,
            0x0311 => Dialect::Smb311,
            _ => return None,
        })
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Whether messages are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// Not offered by the server.
    #[default]
    Off,
    /// Offered.
    Enabled,
    /// Demanded.
    Required,
}

impl Signing {
    /// Every state, weakest first.
    pub const ALL: [Signing; 3] = [Signing::Off, Signing::Enabled, Signing::Required];

    /// Its name in JSON and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Signing::Off => "off",
            Signing::Enabled => "enabled",
            Signing::Required => "required",
        }
    }
}

/// One dialect of a negotiate request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// An SMB1 dialect, or none.
    #[default]
    Unknown,
    /// A known SMB1 dialect.
    Smb1(Dialect),
    /// `SMB 2.002` or `SMB 2.???`: the client would rather speak SMB2 (MS-SMB2 3.2.4.2.2.1).
    Smb2,
}

/// The dialects of an SMB1 negotiate request, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    list: [Offer; Offers::MOST],
    length: u8,
}

impl Offers {
    /// More dialects than any client offers; further ones are not kept.
    pub const MOST: usize = 16;

    /// Reads the byte block of a negotiate request: buffer format 2, a string, a zero, again and again
    /// (MS-CIFS 2.2.4.52.1). Stops at the first byte that fits neither.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Offers {
        let mut offers = Offers::default();
        let mut rest = bytes;
        while let [0x02, tail @ ..] = rest {
            let Some(end) = tail.iter().position(|byte| *byte == 0) else { break };
            let name = tail.get(..end).unwrap_or_default();
            rest = tail.get(end + 1..).unwrap_or_default();
            let Some(place) = offers.list.get_mut(usize::from(offers.length)) else { break };
            *place = Offers::named(name);
            offers.length += 1;
        }
        offers
    }

    fn named(name: &[u8]) -> Offer {
        // MS-CIFS 2.2.4.52.1 and MS-SMB <appendix A> list the names and which mean the same.
        Offer::Smb1(match name {
            b"PC NETWORK PROGRAM 1.0" | b"PCLAN1.0" | b"MICROSOFT NETWORKS 1.03" | b"XENIX CORE" => Dialect::Core,
            b"MICROSOFT NETWORKS 3.0" | b"LANMAN1.0" | b"Windows for Workgroups 3.1a" => Dialect::LanMan10,
            b"DOS LM1.2X002" | b"LM1.2X002" => Dialect::LanMan12,
            b"DOS LANMAN2.1" | b"LANMAN2.1" => Dialect::LanMan21,
            b"NT LANMAN 1.0" | b"NT LM 0.12" => Dialect::NtLm012,
            b"SMB 2.002" | b"SMB 2.???" => return Offer::Smb2,
            _ => Dialect::OtherSmb1,
        })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.length
    }

    /// Whether there are some and none of them is SMB2.
    #[must_use]
    pub fn only_smb1(&self) -> bool {
        self.length > 0 && !self.list.contains(&Offer::Smb2)
    }

    /// The SMB1 dialect that an answer's index picks; `None` where it picks none or SMB2.
    #[must_use]
    pub fn picked(&self, index: u16) -> Option<Dialect> {
        match (index < u16::from(self.length)).then(|| self.list.get(usize::from(index))).flatten() {
            Some(Offer::Smb1(dialect)) => Some(*dialect),
            Some(Offer::Smb2) => None,
            // The request was not seen whole.
            Some(Offer::Unknown) | None => (index != 0xffff).then_some(Dialect::OtherSmb1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_serialized_names() {
        for dialect in Dialect::ALL {
            assert_eq!(serde_json::to_string(&dialect).unwrap(), format!("\"{}\"", dialect.label()));
            assert_eq!(dialect.is_smb1(), dialect.label().starts_with("smb1"));
        }
    }

    #[test]
    fn windows_multi_protocol_negotiation_is_no_smb1_only_offer() {
        let modern = Offers::new(b"\x02NT LM 0.12\0\x02SMB 2.002\0\x02SMB 2.???\0");
        assert_eq!(modern.count(), 3);
        assert!(!modern.only_smb1());
        assert_eq!((modern.picked(0), modern.picked(1), modern.picked(0xffff)), (Some(Dialect::NtLm012), None, None));
        let old = Offers::new(b"\x02PC NETWORK PROGRAM 1.0\0\x02LANMAN2.1\0\x02NT LM 0.12\0");
        assert!(old.only_smb1());
        assert_eq!(old.picked(2), Some(Dialect::NtLm012));
        assert_eq!(old.picked(9), Some(Dialect::OtherSmb1));
    }

    #[test]
    fn hostile_lists_end_without_harm() {
        assert_eq!(Offers::new(&[2; 300]).count(), 0);
        assert_eq!(Offers::new(&[2, 0].repeat(99)).count(), 16);
        assert_eq!(Offers::new(b"").count(), 0);
        assert!(!Offers::new(b"").only_smb1());
    }
}
