//! Prometheus' configuration, the alert rules and their unit tests, by promtool.

use std::path::{Path, PathBuf};
use std::process::Command;

use firedoor::{metrics::Metrics, published::Published};

use super::dashboard::{exported, metrics_in};
use super::stand_in;

pub fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus").join(file)
}

/// Runs promtool in the directory of the shipped files; `None` where it is not installed.
pub fn promtool(args: &[&str]) -> Option<String> {
    match Command::new("promtool").current_dir(shipped("")).args(args).output() {
        Ok(out) => {
            let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(out.status.success(), "promtool {args:?}:\n{said}");
            Some(said)
        }
        Err(error) => {
            eprintln!("SKIPPED: promtool cannot run ({error}): install Debian's prometheus package");
            None
        }
    }
}

#[test]
fn the_shipped_files_are_in_order() {
    promtool(&["check", "config", "--lint=all", "scrape.yml"]);
    promtool(&["check", "rules", "firedoor.rules.yml"]);
}

#[test]
fn each_alert_does_what_it_says() {
    promtool(&["test", "rules", "firedoor.test.yml"]);
    let rules = std::fs::read_to_string(shipped("firedoor.rules.yml")).unwrap();
    let tests = std::fs::read_to_string(shipped("firedoor.test.yml")).unwrap();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(alert), "{alert} has no unit test");
    }
}

#[test]
fn rules_name_only_metrics_that_are_exported() {
    let rules = std::fs::read_to_string(shipped("firedoor.rules.yml")).unwrap();
    let exported = exported();
    for name in metrics_in(&rules).iter().filter(|name| name.starts_with("firedoor_")) {
        assert!(exported.contains(name), "{name}");
    }
}

#[test]
fn the_mends_name_only_keys_that_exist() {
    let keys = std::fs::read_to_string(shipped("../firedoor.toml")).unwrap();
    let rules = std::fs::read_to_string(shipped("firedoor.rules.yml")).unwrap();
    let remedies = firedoor::published::status::Blindness::ALL.map(firedoor::published::status::Blindness::remedy);
    let sections: Vec<&str> =
        keys.lines().filter_map(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']'))).collect();
    let mut found = 0;
    for word in rules.split_whitespace().chain(remedies.iter().flat_map(|text| text.split_whitespace())) {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let Some((section, key)) = word.split_once('.') else { continue };
        if sections.contains(&section) {
            found += 1;
            assert!(keys.lines().any(|line| line.starts_with(&format!("{key} ="))), "{word} is no key");
        }
    }
    assert!(found >= 4, "the mends name keys");
}

#[test]
fn the_exposition_passes_promtools_lint() {
    let published = std::sync::Arc::new(Published::new(std::sync::Arc::default()));
    stand_in::outbreak(&published);
    let text = Metrics::new(&published).unwrap().text().unwrap();
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return eprintln!("SKIPPED: promtool cannot run") };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.trim().is_empty(), "{said}");
}
