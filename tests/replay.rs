//! `firedoor replay` over real captures: what it must find, what it must leave alone, what it must survive.
//!
//! The captures are reached through `FIREDOOR_CAPTURES`; without it these tests say so and check nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

fn captures() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FIREDOOR_CAPTURES") else {
        eprintln!("SKIPPED: FIREDOOR_CAPTURES is not set: nothing was replayed");
        return None;
    };
    let folder = PathBuf::from(folder);
    // The tests run in the package's folder; CI may name the captures relative to it.
    let folder = if folder.is_absolute() { folder } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(folder) };
    assert!(folder.is_dir(), "FIREDOOR_CAPTURES names no folder: {}", folder.display());
    Some(folder)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{} is empty", folder.display());
    found
}

fn replay(file: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firedoor"))
        .args(["replay", "--json"])
        .args(options)
        .arg(file)
        .output()
        .expect("firedoor runs")
}

/// The decisions and the summary of a replay that must succeed.
fn decisions(file: &Path, options: &[&str]) -> (Vec<Value>, Value) {
    let output = replay(file, options);
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<Value> = String::from_utf8(output.stdout)
        .expect("JSON is UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    let summary = lines.pop().expect("the summary comes last");
    assert!(summary["summary"]["packets"].is_u64(), "{summary}");
    (lines, summary["summary"].clone())
}

#[test]
fn nobody_is_contained_on_benign_captures_nor_on_backscatter() {
    let Some(captures) = captures() else { return };
    let mut list = files(&captures.join("benign"));
    list.push(captures.join("scan/backscatter.trace"));
    for file in list {
        let (decisions, summary) = decisions(&file, &[]);
        let acted: Vec<_> =
            decisions.iter().filter(|d| d["decision"] == "contain" || d["decision"] == "isolate").collect();
        assert!(acted.is_empty(), "{}: {acted:#?}", file.display());
        assert_eq!((&summary["contained"], &summary["isolated"]), (&Value::from(0), &Value::from(0)));
    }
}

#[test]
fn the_number_of_shards_changes_no_byte() {
    let Some(captures) = captures() else { return };
    let mut list = files(&captures.join("worm"));
    list.extend(files(&captures.join("scan")));
    list.extend(files(&captures.join("lateral")));
    list.extend(files(&captures.join("benign")));
    for file in list {
        let one = replay(&file, &["--shards", "1"]).stdout;
        for shards in ["2", "4"] {
            assert!(replay(&file, &["--shards", shards]).stdout == one, "{} at {shards} shards", file.display());
        }
    }
}

#[test]
fn every_odd_capture_is_read_to_its_end_or_refused_with_a_reason() {
    let Some(captures) = captures() else { return };
    for file in files(&captures.join("robustness")) {
        let begun = Instant::now();
        let output = replay(&file, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => assert!(
                String::from_utf8_lossy(&output.stdout).lines().last().is_some_and(|line| line.contains("\"summary\"")),
                "{}",
                file.display()
            ),
            Some(2) => assert!(stderr.starts_with("error: "), "{}: {stderr}", file.display()),
            other => panic!("{}: status {other:?}: {stderr}", file.display()),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{} took {:?}", file.display(), begun.elapsed());
    }
}

#[test]
fn a_file_that_is_no_capture_is_refused_with_status_2_and_a_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "these are no packets").expect("it can be written");
    let output = replay(&file, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither pcap nor pcapng"));
    let output = replay(&folder.path().join("absent.pcap"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}
