//! The commented default file and the reference page, made from the table of keys so that they cannot disagree with it.

use std::fmt::Write as _;

use serde::Serialize;

use super::keys::{ROLE, ROLE_REQUIRED, ROLE_WHY, SECTIONS};
use super::model::Config;
use crate::detect::settings::Role;

/// One key, for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its full name, such as `fuse.burst` or `role.hosts`.
    pub key: String,
    /// Its default as it would stand in the file; none where it must be given or may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its notation, range and unit.
    pub range: String,
    /// What it does and why its default is what it is.
    pub why: &'static str,
}

/// Every key, in the order of the table.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let mut config = Config::default();
    let mut entries = Vec::new();
    for section in SECTIONS {
        for key in section.keys {
            entries.push(Entry {
                key: format!("{}.{}", section.name, key.name),
                default: key.kind.write(&mut config),
                range: key.kind.range(),
                why: key.why,
            });
        }
    }
    for key in ROLE {
        let default = matches!(key.name, "smb1" | "remote_execution").then(|| "false".to_owned());
        entries.push(Entry { key: format!("role.{}", key.name), default, range: key.kind.range(), why: key.why });
    }
    entries
}

const FILE_HEAD: &str = "\
# Firedoor's configuration: every key with its default, range and reason.
# A key that is left out has its default, so your own file need hold no more than what differs.
# Check it with `firedoor check`, apply it with `systemctl reload firedoor`; a file with an error changes nothing.
# Durations carry a unit (ms, s, m, h, d, w), sizes too (B, KiB, MiB, GiB).
# This file is made by `firedoor reference --defaults`.
";

const ROLE_EXAMPLE: &str = "\
#[[role]]
#name = \"vulnerability-scanner\"
#hosts = [\"10.20.0.15\"]
#ports = [22, 135, 139, 445, 3389, 5985]
#owner = \"infosec@example.org\"
#reason = \"weekly authenticated scan, change 4711\"
#until = 2027-06-30
#smb1 = false
#remote_execution = false
";

/// The commented default file, `config/firedoor.toml`.
#[must_use]
pub fn default_file() -> String {
    let mut config = Config::default();
    let mut file = FILE_HEAD.to_owned();
    for section in SECTIONS {
        file.push('\n');
        comment(&mut file, section.why);
        let _ = writeln!(file, "[{}]", section.name);
        for key in section.keys {
            file.push('\n');
            comment(&mut file, key.why);
            comment(&mut file, &format!("Range: {}.", plain(&key.kind.range())));
            if let Some(value) = key.kind.write(&mut config) {
                let _ = writeln!(file, "{} = {value}", key.name);
            }
        }
    }
    file.push('\n');
    comment(&mut file, ROLE_WHY);
    file.push_str("#\n");
    for key in ROLE {
        comment(&mut file, &format!("{}: {} {}.", key.name, key.why, capital(&plain(&key.kind.range()))));
    }
    file.push_str("#\n");
    file.push_str(ROLE_EXAMPLE);
    file
}

/// A configuration as a file: every key with its value, no comment. Reading it gives the same configuration.
#[must_use]
pub fn written(config: &Config) -> String {
    let mut config = config.clone();
    let mut file = String::new();
    for section in SECTIONS {
        let _ = writeln!(file, "[{}]", section.name);
        for key in section.keys {
            if let Some(value) = key.kind.write(&mut config) {
                let _ = writeln!(file, "{} = {value}", key.name);
            }
        }
        file.push('\n');
    }
    for one in &mut config.detect.roles {
        file.push_str(&role(one));
        file.push('\n');
    }
    file.truncate(file.trim_end().len());
    file.push('\n');
    file
}

/// A role as the file has it, every key of it.
#[must_use]
pub fn role(role: &mut Role) -> String {
    let mut text = "[[role]]\n".to_owned();
    for key in ROLE {
        if let Some(value) = key.kind.write(role) {
            let _ = writeln!(text, "{} = {value}", key.name);
        }
    }
    text
}

/// These keys of one section, as the file has them.
#[must_use]
pub fn part(config: &Config, section: &str, keys: &[&str]) -> String {
    let mut config = config.clone();
    let mut text = format!("[{section}]\n");
    for key in SECTIONS.iter().filter(|known| known.name == section).flat_map(|section| section.keys) {
        if keys.contains(&key.name)
            && let Some(value) = key.kind.write(&mut config)
        {
            let _ = writeln!(text, "{} = {value}", key.name);
        }
    }
    text
}

/// The reference page, `docs/reference.md`.
#[must_use]
pub fn page() -> String {
    let mut config = Config::default();
    let mut page = String::from(
        "# Configuration reference\n\n\
         One TOML file, `/etc/firedoor/firedoor.toml`. A key that is left out has its default. Unknown keys are \
         errors. Durations carry a unit (`ms`, `s`, `m`, `h`, `d`, `w`; `\"1h 30m\"` is possible), sizes too (`B`, \
         `KiB`, `MiB`, `GiB`). `firedoor check` says what is wrong or unwise, with the line and the mend.\n\n\
         This page is made from the program's own table of keys by `firedoor reference`.\n",
    );
    for section in SECTIONS {
        let _ = write!(page, "\n## `[{}]`\n\n{}\n", section.name, section.why);
        for key in section.keys {
            let default = key.kind.write(&mut config).unwrap_or_default();
            entry(&mut page, &format!("{}.{}", section.name, key.name), key.why, &key.kind.range(), &default);
        }
    }
    let _ = write!(page, "\n## `[[role]]`\n\n{ROLE_WHY}\n\n```toml\n{}```\n", ROLE_EXAMPLE.replace('#', ""));
    for key in ROLE {
        let default = match key.name {
            "smb1" | "remote_execution" => "false",
            name if ROLE_REQUIRED.contains(&name) => "",
            _ => "left out",
        };
        entry(&mut page, &format!("role.{}", key.name), key.why, &key.kind.range(), default);
    }
    page
}

fn entry(page: &mut String, name: &str, why: &str, range: &str, default: &str) {
    let _ = write!(page, "\n### `{name}`\n\n{why}\n\n- Range: {range}\n");
    let _ = match default {
        "" => writeln!(page, "- Must be given"),
        "left out" => writeln!(page, "- Default: left out"),
        one if !one.contains('\n') => writeln!(page, "- Default: `{one}`"),
        many => {
            let items: Vec<&str> = many.lines().map(str::trim).collect();
            writeln!(page, "- Default: `{}`", items.join(" ").replace("[ ", "[").replace(", ]", "]"))
        }
    };
}

fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Writes `text` as comment lines of at most a hundred columns.
fn comment(file: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column == 0 || column + 1 + word.chars().count() > 100 {
            file.push_str(if column == 0 { "#" } else { "\n#" });
            column = 1;
        }
        file.push(' ');
        file.push_str(word);
        column += 1 + word.chars().count();
    }
    file.push('\n');
}
