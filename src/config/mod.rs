//! One TOML file: from the text as written, with its places, to checked, ready objects.
//!
//! [`load`] and [`parse`] give a [`Config`] or every error at once, each with its line. [`keys`] is the one table that
//! the reader, the commented default file and the reference page are made from. Nothing is ever half applied: a file
//! with one error gives no configuration.

pub mod diagnostic;
pub mod keys;
pub mod model;
pub mod notation;
pub mod quantity;
mod raw;
pub mod reference;
mod value;

use std::io::Read;
use std::path::Path;

pub use diagnostic::{Errors, Warnings};
pub use model::Config;

use diagnostic::Source;

/// Larger files are refused: a list that long is a mistake, and reading it would hold up a reload.
pub const LARGEST: u64 = 1 << 20;

/// Reads, parses and checks a file.
pub fn load(path: &Path) -> Result<(Config, Warnings), Errors> {
    let name = path.display().to_string();
    let text = read(path).map_err(|error| Errors::unreadable(&name, &error))?;
    parse(&text, &name)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

/// Parses and checks a file's text; `name` is what its errors call it.
pub fn parse(text: &str, name: &str) -> Result<(Config, Warnings), Errors> {
    let source = Source { name: name.into(), text: text.into() };
    let (config, reading) = raw::read(text);
    if reading.problems.is_empty() {
        Ok((config, Warnings::new(Vec::new(), source)))
    } else {
        Err(Errors::new(reading.problems, source))
    }
}
