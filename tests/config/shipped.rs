//! Every configuration file that is shipped is read without an error, and the generated ones are up to date.

use std::path::{Path, PathBuf};

use firedoor::config::{self, Config, reference};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Vec<PathBuf> {
    let profiles = std::fs::read_dir(root().join("config/profiles")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = profiles.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.push(root().join("config/firedoor.toml"));
    files.sort();
    files
}

#[test]
fn every_shipped_file_is_read_without_an_error() {
    let files = shipped();
    assert!(files.len() >= 2, "the profiles are missing");
    for path in files {
        if let Err(errors) = config::load(&path) {
            panic!("{errors}");
        }
    }
}

#[test]
fn the_profiles_give_no_advice_against_themselves() {
    let now = serde_json::from_str("\"2026-12-01T00:00:00Z\"").unwrap();
    for path in shipped().iter().filter(|path| path.to_string_lossy().contains("profiles")) {
        let warnings = config::File::load(path).unwrap().warnings(Some(now), None);
        assert!(warnings.is_empty(), "{warnings}");
    }
}

#[test]
fn every_profile_gives_its_reasons() {
    for path in shipped() {
        let text = std::fs::read_to_string(&path).unwrap();
        let comments = text.lines().filter(|line| line.trim_start().starts_with('#')).count();
        assert!(comments >= 8 && text.starts_with('#'), "{}", path.display());
    }
}

#[test]
fn the_default_file_is_what_the_table_of_keys_says() {
    let file = std::fs::read_to_string(root().join("config/firedoor.toml")).unwrap();
    assert!(
        file == reference::default_file(),
        "config/firedoor.toml is out of date: firedoor reference --defaults > config/firedoor.toml"
    );
}

#[test]
fn the_reference_page_is_what_the_table_of_keys_says() {
    let page = std::fs::read_to_string(root().join("docs/reference.md")).unwrap();
    assert!(page == reference::page(), "docs/reference.md is out of date: firedoor reference > docs/reference.md");
}

#[test]
fn the_default_file_holds_the_defaults_and_so_does_an_empty_one() {
    let file = reference::default_file();
    let (read, _) = config::parse(&file, "firedoor.toml").unwrap();
    assert_eq!(read, Config::default());
    let (empty, _) = config::parse("", "firedoor.toml").unwrap();
    assert_eq!(empty, Config::default());
}

#[test]
fn the_example_role_is_a_role() {
    let file = reference::default_file();
    let lines: Vec<&str> = file.lines().skip_while(|line| *line != "#[[role]]").map(|line| &line[1..]).collect();
    let example = lines.join("\n");
    let (config, _) = config::parse(&example, "example").unwrap();
    assert_eq!(config.detect.roles.len(), 1);
    assert_eq!(config.detect.roles[0].name, "vulnerability-scanner");
    assert_eq!(config.detect.roles[0].until.unwrap().to_string(), "2027-07-01T00:00:00.000Z");
}
