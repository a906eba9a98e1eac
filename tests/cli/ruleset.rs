use super::{run, shipped, text};

#[test]
fn the_ruleset_of_the_shipped_default_is_printed_and_drops_nothing() {
    let output = run(&["ruleset", "--config", &shipped("firedoor.toml")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let ruleset = text(&output.stdout);
    assert!(ruleset.contains("table inet firedoor {\n"), "{ruleset}");
    assert!(!ruleset.split_whitespace().any(|word| word == "drop"), "the default is monitor mode: {ruleset}");
    let output = run(&["ruleset", "--json", "--config", &shipped("firedoor.toml")]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["ruleset"].as_str().unwrap().starts_with("table inet firedoor {\n"));
}

#[test]
fn a_configuration_with_an_error_prints_none() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[gateway]\nmode = \"brave\"\n").unwrap();
    let output = run(&["ruleset", "--config", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("help:"), "{}", text(&output.stderr));
}

#[test]
fn the_greylist_is_shown_where_it_is_on_and_nowhere_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[gateway]\nmode = \"enforce\"\n[greylist]\nenabled = true\nservers = [\"10.1.2.3:445\"]\n",
    )
    .unwrap();
    let ruleset = text(&run(&["ruleset", "--config", file.path().to_str().unwrap()]).stdout);
    for part in ["set greylisted {", "10.1.2.3 . tcp . 445", "set young6 {", "@knocked4 goto asked_again4"] {
        assert!(ruleset.contains(part), "{part} is not in\n{ruleset}");
    }
    let without = run(&["ruleset", "--config", &shipped("firedoor.toml")]);
    assert!(!text(&without.stdout).contains("knocked"));
}
