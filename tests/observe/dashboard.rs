//! The Grafana dashboard: well formed, every expression parses, and names only what is exported.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use firedoor::metrics::{FAMILIES, Metrics};
use firedoor::published::Published;
use serde_json::Value;

use super::rules::promtool;
use super::stand_in;

pub fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grafana/firedoor.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every expression, with the panel it is on; Grafana's variables filled in as it would for short ranges.
pub fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut found = Vec::new();
    let mut take = |title: &Value, expr: &Value| {
        let text = expr
            .as_str()
            .unwrap()
            .replace("$__rate_interval", "10s")
            .replace("$__interval", "10s")
            .replace("$instance", ".*");
        assert!(!text.contains('$'), "a variable nobody fills in: {text}");
        found.push((title.as_str().unwrap().to_owned(), text));
    };
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            take(&panel["title"], &target["expr"]);
        }
    }
    for note in dashboard["annotations"]["list"].as_array().unwrap().iter().filter(|note| note["expr"].is_string()) {
        take(&note["name"], &note["expr"]);
    }
    found
}

/// The metrics an expression names: words outside quotes that begin as ours or the process' do.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    let unquoted: String = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = unquoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("firedoor_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Every series name a scrape gives.
pub fn exported() -> BTreeSet<String> {
    let published = Arc::new(Published::new(Arc::default()));
    stand_in::outbreak(&published);
    let text = Metrics::new(&published).unwrap().text().unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_expression_parses() {
    let mut rules = String::new();
    for (n, (_, expr)) in expressions().iter().enumerate() {
        let quoted = serde_json::to_string(expr).unwrap();
        writeln!(rules, "      - record: test:{n}\n        expr: {quoted}").unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("groups:\n  - name: dashboard\n    rules:\n{rules}")).unwrap();
    promtool(&["check", "rules", "--lint=none", file.path().to_str().unwrap()]);
}

#[test]
fn every_expression_names_metrics_that_are_exported() {
    let exported = exported();
    for (title, expr) in expressions() {
        let named = metrics_in(&expr);
        assert!(!named.is_empty() || expr.starts_with("ALERTS"), "{title}: {expr}");
        for name in named {
            assert!(exported.contains(&name), "{title} names {name}");
        }
    }
}

#[test]
fn every_exported_metric_is_shown_or_alerted_on() {
    let rules = std::fs::read_to_string(super::rules::shipped("firedoor.rules.yml")).unwrap();
    let mut named = metrics_in(&rules);
    for (_, expr) in expressions() {
        named.extend(metrics_in(&expr));
    }
    // For whoever looks closer than the dashboard does.
    let spare = ["firedoor_config_loaded_timestamp_seconds"];
    for name in exported().iter().filter(|name| !spare.contains(&name.as_str())) {
        assert!(named.contains(name), "nobody looks at {name}");
    }
}

/// What a panel shows of its intervals adds up to what happened: 256 decisions are shown as 256, not as 287.
#[test]
fn counts_of_intervals_add_up_to_what_happened() {
    let totals = [0, 0, 3, 3, 10, 256, 256, 256];
    let values = totals.map(|total| total.to_string()).join(" ");
    let mut tests = String::new();
    let mut shown = 0;
    let dashboard = dashboard();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            assert!(!expr.contains("increase("), "{}: it extrapolates, and its ranges overlap", panel["title"]);
            let counters: Vec<String> = metrics_in(expr)
                .into_iter()
                .filter(|name| expr.contains(&format!("{name}{{")) && !expr.contains("rate("))
                .filter(|name| name.ends_with("_total"))
                .collect();
            let [counter] = &counters[..] else { continue };
            assert_eq!(panel["interval"], "15s", "{}: no interval is shorter than a scrape's", panel["title"]);
            let family = FAMILIES.iter().find(|family| family.name == counter).unwrap();
            let value = |label: &str| if label == "decision" { "contain" } else { "x" };
            let mut series = vec!["instance=\"gw1\"".to_owned()];
            series.extend(family.labels.iter().map(|label| format!("{label}=\"{}\"", value(label))));
            let by = expr.strip_prefix("sum by (").and_then(|rest| rest.split(')').next()).unwrap_or_default();
            let kept: Vec<&String> = series
                .iter()
                .filter(|pair| by.split(", ").any(|label| pair.starts_with(&format!("{label}="))))
                .collect();
            let labels = kept.iter().map(|pair| pair.as_str()).collect::<Vec<_>>().join(", ");
            let expr = expr.replace("$__interval", "15s").replace("$instance", ".*");
            write!(tests, "  - interval: 15s\n    input_series:\n").unwrap();
            write!(tests, "      - series: '{counter}{{{}}}'\n        values: '{values}'\n", series.join(", "))
                .unwrap();
            writeln!(tests, "    promql_expr_test:").unwrap();
            for (at, pair) in totals.windows(2).enumerate() {
                let quoted = serde_json::to_string(&expr).unwrap();
                write!(tests, "      - expr: {quoted}\n        eval_time: {}s\n", (at + 1) * 15).unwrap();
                write!(tests, "        exp_samples:\n          - labels: '{{{labels}}}'\n").unwrap();
                writeln!(tests, "            value: {}", pair[1] - pair[0]).unwrap();
            }
            shown += 1;
        }
    }
    assert!(shown >= 8, "{shown} panels count");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("evaluation_interval: 15s\ntests:\n{tests}")).unwrap();
    promtool(&["test", "rules", file.path().to_str().unwrap()]);
}

/// A host that monitor mode only counts is not shown as one that is shut off.
#[test]
fn hosts_that_are_only_counted_are_shown_apart() {
    let acted = ["firedoor_contained_hosts", "firedoor_isolated_hosts"];
    let mut shown = 0;
    for (title, expr) in expressions() {
        if metrics_in(&expr).iter().any(|name| acted.contains(&name.as_str())) {
            assert!(expr.contains("enforced"), "{title}: {expr}");
            shown += 1;
        }
    }
    assert!(shown >= 6, "{shown}");
}

#[test]
fn panels_have_a_place_of_their_own_and_say_what_they_show() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is wider than the page");
        for row in side("y")..side("y") + side("h") {
            for column in side("x")..side("x") + side("w") {
                assert!(taken.insert((row, column)), "{title} lies over another panel");
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    for row in
        ["Outbreak", "Decisions", "Headroom and near misses", "Fuse", "Sensor", "Tables and upkeep", "Latency and cost"]
    {
        assert!(panels.iter().any(|panel| panel["type"] == "row" && panel["title"] == row), "{row}");
    }
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "Grafana 10");
}
