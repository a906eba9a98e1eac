//! What all commands share.

use std::process::Stdio;

use super::{firedoor, run, text};

#[test]
fn wrong_usage_has_status_2_and_says_so_on_standard_error() {
    for args in [&[] as &[&str], &["no-such-command"], &["check", "--no-such-option"], &["reference", "a", "b"]] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(out.stdout.is_empty(), "{args:?}");
        assert!(!out.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [["--help"], ["--version"], ["help"]] {
        let out = run(&args);
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert!(text(&out.stdout).to_lowercase().contains("firedoor"), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = firedoor().arg("reference").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!(text(&out.stderr), "");
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = firedoor().arg("reference").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).starts_with("error: No space left"), "{}", text(&out.stderr));
}

#[test]
fn nothing_is_coloured_off_a_terminal() {
    for args in [&["--help"] as &[&str], &["no-such-command"], &["check", "/dev/null"]] {
        let out = run(args);
        assert!(!out.stdout.contains(&0x1b) && !out.stderr.contains(&0x1b), "{args:?}");
    }
}

#[test]
fn every_command_has_a_manual_page_and_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let out = run(&["manual", "--out", directory.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let pages: Vec<String> =
        std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let completions = text(&run(&["completions", "bash"]).stdout);
    for command in ["check", "reference"] {
        assert!(pages.contains(&format!("firedoor-{command}.1")), "{command}: {pages:?}");
        assert!(completions.contains(command), "{command}");
    }
}

#[test]
fn the_reference_is_one_object_a_key_for_machines() {
    let out = text(&run(&["reference", "--json"]).stdout);
    let keys: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let burst = keys.iter().find(|key| key["key"] == "fuse.burst").unwrap();
    assert_eq!(burst["default"], "10");
    assert!(keys.len() > 60);
}
