//! One TOML file: from the text as written, with its places, to checked, ready objects.
//!
//! [`load`] and [`parse`] give a [`Config`] or every error at once, each with its line. [`keys`] is the one table that
//! the reader, the commented default file and the reference page are made from. Nothing is ever half applied: a file
//! with one error gives no configuration.

pub mod diagnostic;
pub mod host_network;
pub mod keys;
mod lints;
pub mod model;
pub mod quantity;
mod reader;
pub mod reference;
mod value;
pub mod value_kind;

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

pub use diagnostic::{Errors, Warnings};
pub use host_network::HostNetwork;
pub use model::Config;

use crate::time::Timestamp;
use diagnostic::Source;
use value_kind::{quoted, show_network};

/// Larger files are refused: a list that long is a mistake, and reading it would hold up a reload.
pub const LARGEST: u64 = 1 << 20;

/// Reads, parses and checks a file, with the wall clock for roles that have ended.
pub fn load(path: &Path) -> Result<(Config, Warnings), Errors> {
    let file = File::load(path)?;
    let warnings = file.warnings(Some(wall_clock()), None);
    Ok((file.config, warnings))
}

/// Parses and checks a file's text; `name` is what its errors call it. Reads no clock: roles that have ended are not
/// reported.
pub fn parse(text: &str, name: &str) -> Result<(Config, Warnings), Errors> {
    let file = File::parse(text, name)?;
    let warnings = file.warnings(None, None);
    Ok((file.config, warnings))
}

/// The time of day.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::ZERO + since
}

/// A file without errors: its configuration, and its text for advice on it.
#[derive(Clone, Debug)]
pub struct File {
    /// The configuration.
    pub config: Config,
    source: Source,
    places: value::Places,
}

impl File {
    /// Reads and parses a file.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        let name = path.display().to_string();
        let text = read(path).map_err(|error| Errors::unreadable(&name, &error))?;
        File::parse(&text, &name)
    }

    /// Parses a file's text.
    pub fn parse(text: &str, name: &str) -> Result<Self, Errors> {
        let source = Source { name: name.into(), text: text.into() };
        let (config, reading) = reader::read(text);
        if reading.problems.is_empty() {
            Ok(File { config, source, places: reading.places })
        } else {
            Err(Errors::new(reading.problems, source))
        }
    }

    /// What is unwise: by itself, at the time `now`, and on the machine described.
    #[must_use]
    pub fn warnings(&self, now: Option<Timestamp>, around: Option<&HostNetwork>) -> Warnings {
        let mut problems = lints::of_the_file(&self.config, &self.places, now);
        if let Some(around) = around {
            problems.extend(lints::of_the_machine(&self.config, &self.places, around));
        }
        Warnings::new(problems, self.source.clone())
    }

    /// The `never_contain` list to paste: what it holds, and what the machine recognises as missing. `None` if nothing
    /// is.
    #[must_use]
    pub fn proposal(&self, around: &HostNetwork) -> Option<String> {
        let missing = lints::missing(&self.config, around);
        if missing.is_empty() {
            return None;
        }
        let mut text = String::from("[networks]\nnever_contain = [\n");
        for network in self.config.respond.never_contain.written() {
            let _ = writeln!(text, "    {},", quoted(&show_network(*network)));
        }
        for (network, what) in missing {
            let _ = writeln!(text, "    {}, # {what}", quoted(&show_network(network)));
        }
        text.push_str("]\n");
        Some(text)
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}
