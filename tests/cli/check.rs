//! `firedoor check`.

use super::{run, shipped, text};

fn written(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn the_shipped_default_has_no_errors() {
    let out = run(&["check", "--file-only", &shipped("firedoor.toml")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    assert!(text(&out.stdout).contains("no errors"));
}

#[test]
fn the_configuration_named_globally_is_the_one_checked() {
    let out = run(&["--config", "/nonexistent/a.toml", "check"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stdout).contains("/nonexistent/a.toml"));
}

#[test]
fn an_error_fails_and_shows_its_line() {
    let file = written("[gateway]\nmod = \"enforce\"\n");
    let path = file.path().to_str().unwrap();
    let out = run(&["check", path]);
    assert_eq!(out.status.code(), Some(1));
    let shown = text(&out.stdout);
    assert!(shown.contains(&format!("{path}:2:1")) && shown.contains("did you mean `mode`?"), "{shown}");
}

#[test]
fn warnings_fail_only_when_strict() {
    let file = written("[gateway]\nmode = \"monitor\"\n");
    let path = file.path().to_str().unwrap();
    assert_eq!(run(&["check", "--file-only", path]).status.code(), Some(0));
    assert_eq!(run(&["check", "--file-only", "--strict", path]).status.code(), Some(1));
}

#[test]
fn machines_get_every_finding_with_line_and_column() {
    let file = written("[fuse]\nburst = 0\n[networks]\nprotected = [\"0.0.0.0/0\", \"x\"]\n");
    let out = run(&["--json", "check", file.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["ok"], false);
    assert_eq!(found["errors"].as_array().unwrap().len(), 2);
    assert_eq!((&found["errors"][0]["line"], &found["errors"][0]["column"]), (&2.into(), &9.into()));

    let file = written("");
    let out = run(&["--json", "check", "--file-only", file.path().to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["ok"], true);
    assert!(!found["warnings"].as_array().unwrap().is_empty());
}

#[test]
fn an_interface_that_does_not_exist_is_reported() {
    let file = written("[gateway]\ninterfaces = [\"fd-none0\"]\n");
    let out = run(&["check", file.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).contains("there is no interface fd-none0"), "{}", text(&out.stdout));
}

#[test]
fn the_configuration_in_force_can_be_shown_and_used() {
    let file = written("[fuse]\nburst = 7\n");
    let out = run(&["check", "--effective", file.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0));
    let shown = text(&out.stdout);
    assert!(shown.contains("\nburst = 7\n") && shown.contains("\nthreshold = 9.9\n"), "{shown}");
    let again = written(&shown);
    assert_eq!(run(&["check", "--file-only", again.path().to_str().unwrap()]).status.code(), Some(0));
}
