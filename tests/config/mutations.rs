//! Files that are nearly right: whatever is cut, doubled or swapped, the answer is a configuration or errors with sound
//! places, and what was read is written back as the same configuration.

use std::path::Path;

use firedoor::config::{self, File, HostNetwork, reference};
use firedoor::time::Timestamp;
use proptest::prelude::*;

fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let profiles = std::fs::read_dir(root.join("profiles")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = profiles.chain([root.join("firedoor.toml")]).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// One change: at a place (in thousandths of the file), take so many characters away and put this there.
fn change() -> impl Strategy<Value = (usize, usize, String)> {
    let pieces = prop::sample::select(vec![
        "",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        "#",
        ".",
        ",",
        "-",
        "0",
        "9",
        "99999999999999999999",
        "0x7f",
        "1e400",
        "nan",
        "é",
        "\u{0}",
        "\u{202e}",
        "\r",
        "'''",
        "\"\"\"",
        "true",
        "\"off\"",
        "\"any\"",
        "\"until released\"",
        "1h",
        "\"1ms\"",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1/33",
        "[[role]]\n",
        "[fuse]\n",
        "1979-05-27T07:32:00Z",
        "2027-06-30",
        "inf",
        "-inf",
        "a.b.c = 1\n",
        "\"name\" = 1\n",
    ]);
    (0..=1000_usize, 0..12_usize, pieces.prop_map(str::to_owned))
}

fn changed(text: &str, changes: &[(usize, usize, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, take, put) in changes {
        let at = letters.len() * place / 1000;
        let end = (at + take).min(letters.len());
        letters.splice(at..end, put.chars());
    }
    letters.into_iter().collect()
}

fn judge(text: &str) {
    match File::parse(text, "site.toml") {
        Ok(file) => {
            let around = HostNetwork::default();
            let warnings = file.warnings(Some(Timestamp::from_secs(1_800_000_000)), Some(&around));
            let _ = (warnings.render(true), warnings.reports(), file.proposal(&around));
            let written = reference::written(&file.config);
            let (again, _) = config::parse(&written, "written").unwrap_or_else(|errors| panic!("{text}\n{errors}"));
            assert_eq!(again, file.config);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let _ = (errors.render(false), errors.render(true));
            let lines = text.matches('\n').count() + 1;
            assert!(errors.reports().iter().all(|report| report.line.is_none_or(|line| line <= lines)), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_damaged_file_is_answered_soundly(seed in 0..6_usize, changes in prop::collection::vec(change(), 1..6)) {
        let seeds = seeds();
        judge(&changed(&seeds[seed % seeds.len()], &changes));
    }

    #[test]
    fn any_text_is_answered_soundly(text in "\\PC{0,300}") {
        judge(&text);
    }

    #[test]
    fn lines_in_any_order_are_answered_soundly(seed in 0..6_usize, order in any::<u64>()) {
        let seeds = seeds();
        let mut lines: Vec<&str> = seeds[seed % seeds.len()].lines().collect();
        let mut state = order | 1;
        for at in (1..lines.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lines.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        judge(&lines.join("\n"));
    }
}
