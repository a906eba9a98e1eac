//! The file as written, with its places, read into a [`Config`] by the table of keys.
//!
//! Nothing stops at the first mistake: every key is looked at, and every problem reported with its place. A file with
//! a problem gives no configuration at all.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Problem;
use super::keys::{Key, ROLE, ROLE_REQUIRED, SECTIONS, Section};
use super::model::Config;
use super::value::{Node, Reading, suggestion};
use crate::detect::settings::Role;
use crate::wire::{Networks, Services};

/// Most roles: each is matched against every new host.
const MOST_ROLES: usize = 256;

/// Reads a whole file. Always gives a configuration; it may be used only if there is no problem.
pub fn read(text: &str) -> (Config, Reading) {
    let mut config = Config::default();
    let mut reading = Reading::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What stands behind a slip of syntax cannot be trusted, and would only be reported as noise.
        for error in errors {
            let problem = Problem::new("this is not TOML").at(error.span());
            reading.problems.push(problem.label(error.message()).help("see https://toml.io for the notation"));
        }
        return (config, reading);
    }
    for (name, node) in document.get_ref() {
        reading.places.insert(name.get_ref().to_string(), name.span());
        match (name.get_ref().as_ref(), node.get_ref()) {
            ("role", DeValue::Array(roles)) => config.detect.roles = read_roles(roles, &mut reading),
            ("role", _) => {
                let problem = Problem::new("`role` is a list of tables").at(name.span()).label("not a list");
                reading.problems.push(problem.help("write [[role]], with two brackets"));
            }
            (section, DeValue::Table(table)) if is_section(section) => {
                read_section(section, table, &mut config, &mut reading);
            }
            _ => unknown(name, None, &mut reading),
        }
    }
    settle(&mut config, &mut reading);
    (config, reading)
}

fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.name.split('.').next() == Some(name))
}

fn read_section(path: &str, table: &DeTable<'_>, config: &mut Config, out: &mut Reading) {
    for (name, node) in table {
        let full = format!("{path}.{}", name.get_ref());
        if let Some(inner) = node.get_ref().as_table().filter(|_| SECTIONS.iter().any(|s| s.name == full)) {
            read_section(&full, inner, config, out);
            continue;
        }
        let keys = SECTIONS.iter().find(|s| s.name == path).map_or(&[] as &[Key<Config>], |s| s.keys);
        match keys.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => key.kind.read(config, node, &full, out),
            None => unknown(name, Some(path), out),
        }
    }
}

fn read_roles(nodes: &[Node<'_>], out: &mut Reading) -> Vec<Role> {
    if nodes.len() > MOST_ROLES {
        let problem = Problem::new("there are too many roles").at(nodes.last().map(Spanned::span));
        out.problems.push(problem.label(format!("role {}", nodes.len())).help(format!("write at most {MOST_ROLES}")));
        return Vec::new();
    }
    nodes.iter().enumerate().map(|(at, node)| read_role(at, node, out)).collect()
}

fn read_role(at: usize, node: &Node<'_>, out: &mut Reading) -> Role {
    let mut role = Role {
        name: String::new(),
        hosts: Networks::default(),
        services: Some(Services::default()),
        smb1: false,
        remote_execution: false,
        owner: String::new(),
        reason: String::new(),
        until: None,
    };
    out.places.insert(format!("role[{at}]"), node.span());
    let Some(table) = node.get_ref().as_table() else {
        let problem = Problem::new("`role` is a list of tables").at(node.span()).label("not a table");
        out.problems.push(problem.help("write [[role]], and its keys below"));
        return role;
    };
    for (name, node) in table {
        match ROLE.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => key.kind.read(&mut role, node, &format!("role[{at}].{}", key.name), out),
            None => unknown(name, Some("role"), out),
        }
    }
    for required in ROLE_REQUIRED {
        if table.get(required).is_none() {
            let problem = Problem::new(format!("a role without `{required}`")).at(node.span());
            let why = ROLE.iter().find(|key| key.name == required).map_or("", |key| key.why);
            out.problems.push(problem.label(format!("`{required}` is missing")).help(why));
        }
    }
    role
}

/// Reports a key that is none, with the nearest that is one.
fn unknown(name: &Spanned<std::borrow::Cow<'_, str>>, section: Option<&str>, out: &mut Reading) {
    let typed = name.get_ref().as_ref();
    let sections = || SECTIONS.iter().map(|s| s.name).chain(["role"]);
    let (message, siblings): (String, Vec<&str>) = match section {
        Some("role") => (format!("`{typed}` is no key of a role"), ROLE.iter().map(|key| key.name).collect()),
        Some(path) => {
            let here = SECTIONS.iter().filter(|s| s.name == path).flat_map(|s| s.keys).map(|key| key.name);
            (format!("`{path}.{typed}` is no key"), here.collect())
        }
        None => (format!("`{typed}` is no section"), sections().collect()),
    };
    let elsewhere = || SECTIONS.iter().find(|s| s.keys.iter().any(|key| key.name == typed)).map(|s: &Section| s.name);
    let help = if let Some(section) = elsewhere() {
        format!("`{typed}` belongs into [{section}]")
    } else if let Some(near) = suggestion(typed, siblings.iter().copied()) {
        format!("did you mean `{near}`?")
    } else {
        format!("known here: {}", siblings.join(", "))
    };
    out.problems.push(Problem::new(message).at(name.span()).label("not known").help(help));
}

/// What rests on several keys: copies for those who need them, and what must hold between them.
fn settle(config: &mut Config, out: &mut Reading) {
    config.respond.mode = config.gateway.mode;
    config.respond.protected = config.detect.protected.clone();

    let detect = &config.detect;
    for (key, value) in [("watch", detect.watch), ("threshold_floor", detect.threshold_floor)] {
        if value > detect.threshold {
            let place = ["detect.threshold".to_owned(), format!("detect.{key}")];
            let place = place.iter().rev().find_map(|path| out.places.get(path).cloned());
            let problem = Problem::new(format!("`detect.{key}` is above `detect.threshold`")).at(place);
            let label = format!("{} against a threshold of {}", value.nats(), detect.threshold.nats());
            out.problems.push(problem.label(label).help("a threshold is never below what leads up to it"));
        }
    }
    if detect.protected.is_empty() {
        let problem = Problem::new("`networks.protected` is empty").at(out.places.get("networks.protected").cloned());
        out.problems.push(problem.label("nothing to protect").help("name your networks, or leave the key out"));
    }
    if config.capture.backend == super::model::Backend::Pnet && config.capture.shards > 1 {
        let problem = Problem::new("the pnet backend has one shard").at(out.places.get("capture.shards").cloned());
        out.problems.push(problem.label("more than one").help("write shards = 1, or backend = \"ring\""));
    }
    let mut names = BTreeSet::new();
    for (at, role) in detect.roles.iter().enumerate() {
        if !role.name.is_empty() && !names.insert(role.name.as_str()) {
            let problem = Problem::new(format!("two roles are called `{}`", role.name));
            let place = out.places.get(&format!("role[{at}].name")).cloned();
            out.problems.push(problem.at(place).label("the second").help("names must be unique"));
        }
    }
}
