//! The one table of every key: its notation, range, unit, field and reason.
//!
//! The reader, the commented default file and the reference page are all made from it. Defaults stand nowhere but in
//! the `Default` of the settings themselves; the table reaches them through its fields. A new setting needs its field,
//! a row here, its name in `complete`, which does not compile without, and the two generated files anew:
//! `firedoor reference`, and with `--defaults`.

mod complete;
mod detection;
mod key;
mod machine;

use super::value_kind::Kind::{Date, Name, Networks, ServicesOrAny, Switch, Text};
use crate::detect::settings::Role;
use detection::{BREAKER, DETECT, NETWORKS, RESPOND, SERVICES, WEIGHTS};
use key::key;
pub use key::{Key, Section};
use machine::{CAPTURE, FUSE, GATEWAY, GREYLIST, OBSERVE, PRIVILEGES, TABLES};

/// Every section but `[[role]]`, in the order shown.
pub static SECTIONS: &[Section] = &[
    GATEWAY, NETWORKS, SERVICES, DETECT, WEIGHTS, RESPOND, BREAKER, FUSE, GREYLIST, TABLES, CAPTURE, OBSERVE,
    PRIVILEGES,
];

/// What `[[role]]` is about.
pub const ROLE_WHY: &str = "A named exemption, one table each: hosts that by their work contact many others \
    (vulnerability scanner, software distribution, backup, print server, monitoring). Their fan-out and failures on \
    these ports are no evidence. Every role needs an owner, a reason and an end, so that it can be questioned.";

/// The keys of `[[role]]`; those in [`ROLE_REQUIRED`] must be there.
pub static ROLE: &[Key<Role>] = &[
    key("name", Name(|r| &mut r.name), "Its name, unique: shown by `firedoor why`."),
    key("hosts", Networks(|r| &mut r.hosts), "Who has it."),
    key(
        "ports",
        ServicesOrAny(|r| &mut r.services),
        "The services on which first contacts and their failures are no evidence. Name them: \"any\" is a blank cheque.",
    ),
    key("owner", Text(|r| &mut r.owner), "Who answers for it."),
    key("reason", Text(|r| &mut r.reason), "Why it is needed."),
    key("until", Date(|r| &mut r.until), "When it ends. Left out, it never does, and `check` warns."),
    key("smb1", Switch(|r| &mut r.smb1), "SMB1 with new peers is no evidence either: an old scanner or copier."),
    key(
        "remote_execution",
        Switch(|r| &mut r.remote_execution),
        "Remote execution on new peers is no evidence either: software distribution.",
    ),
];

/// The keys that every role must have.
pub const ROLE_REQUIRED: [&str; 3] = ["name", "hosts", "ports"];
