//! Reloads, good and bad, and an upgrade that changes the ruleset.

use std::time::{Duration, Instant};

use firedoor::respond::Verdict;
use toml::{Table, Value};

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

/// Changes the daemon's configuration file.
pub fn edit(site: &Site, section: &str, key: &str, value: impl Into<Value>) {
    let path = site.daemon().config();
    let mut table: Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().unwrap().insert(key.to_owned(), value.into());
    std::fs::write(&path, toml::to_string(&table).unwrap()).unwrap();
}

#[test]
fn monitor_mode_lets_pass_keeps_the_decisions_and_enforce_enforces_what_is_due() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(22, 3, |setup| setup);
    let contained = site.infected(0);
    let until = |site: &Site| site.why(contained).host.unwrap().until;
    site.contain_by_worm(0);
    let due = until(&site);
    assert!(due.is_some());
    let host = contained.to_string();
    let named = |text: &str| text.contains(&format!("1 host ({host})"));

    edit(&site, "gateway", "mode", "monitor");
    let said = site.command(&["reload"]);
    assert!(!said.contains("dropped"), "{said}");
    assert!(site.in_kernel().contains(&contained) && until(&site) == due);
    assert!(site.nft(&["list", "chain", "inet", "firedoor", "contain4"]).contains("would_drop"));
    assert!(site.nft(&["list", "chain", "inet", "firedoor", "contain4"]).lines().all(|line| !line.contains(" drop")));
    edit(&site, "gateway", "mode", "enforce");
    let said = site.command(&["check"]);
    assert!(said.contains("will begin to drop") && named(&said), "{said}");
    let said = site.command(&["reload"]);
    assert!(said.contains("dropped from now on") && named(&said), "{said}");
    assert!(site.in_kernel().contains(&contained) && until(&site) == due);
    assert!(!site.nft(&["list", "chain", "inet", "firedoor", "contain4"]).contains("would_drop"));
    let said = site.command(&["status"]);
    assert!(said.contains("monitor mode only counted") && named(&said), "{said}");
    assert!(site.command(&["check"]).lines().all(|line| !line.contains("will begin to drop")));
    assert!(site.decisions(contained, Verdict::Release).is_empty());
    assert!(site.decisions(contained, Verdict::Contain).last().unwrap().enforced, "the history has it as enforced");

    // An installation's first switch, by a restart: the block that was only counted becomes real, and is named.
    edit(&site, "gateway", "mode", "monitor");
    site.command(&["reload"]);
    let counted = site.infected(1);
    site.contain(counted);
    site::until("the decision is in the history", || site.status().store.waiting == 0);
    edit(&site, "gateway", "mode", "enforce");
    site.stop();
    let said = site.command(&["check"]);
    assert!(said.contains("will begin to drop") && said.contains(&format!("1 host ({counted})")), "{said}");
    site.start();
    assert!(site.in_kernel().contains(&counted) && site.in_kernel().contains(&contained));
    let said = site.command(&["status"]);
    assert!(said.contains(&format!("1 host ({counted})")), "{said}");
}

#[test]
fn twenty_reloads_leave_no_gap_and_a_broken_file_changes_nothing() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(21, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    site.contain(site.infected(0));
    let contained = Instant::now();
    for number in 1..=20_u64 {
        let lateral = if number % 2 == 0 { vec![22, 445, 1433, 3389] } else { vec![445, 3389, 8445] };
        let never = if number % 3 == 0 { vec!["10.66.0.200"] } else { vec!["10.66.0.201", "10.66.2.0/28"] };
        edit(&site, "services", "lateral", lateral);
        edit(&site, "networks", "never_contain", never);
        if number % 2 == 0 {
            site.command(&["reload"]);
        } else {
            site::signal(site.daemon().pid(), "HUP");
        }
        site::until("the reload is in force", || site.status().config.reloads == number);
    }
    assert!(site.nft(&["list", "set", "inet", "firedoor", "lateral_tcp"]).contains("1433"));

    let good = std::fs::read_to_string(site.daemon().config()).unwrap();
    std::fs::write(site.daemon().config(), format!("{good}\n[gateway]\nmode = \"sometimes\"\n")).unwrap();
    let output = site.firedoor(&["reload"]);
    assert!(!output.status.success(), "a refused file is no success");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the running one stays"), "{output:?}");
    assert_eq!(site.status().config.failed_reloads, 1);
    site::signal(site.daemon().pid(), "HUP");
    site::until("the second refusal is counted", || site.status().config.failed_reloads == 2);
    let view = site.status().config;
    assert_eq!(view.reloads, 20);
    assert!(view.last_error.is_some());
    assert!(site.daemon().log_tail().contains("the configuration was refused"), "{}", site.daemon().log_tail());
    assert_eq!(site.metric("firedoor_config_last_reload_successful", ""), 0);
    assert_eq!(site.metric("firedoor_config_reloads_total", "ok"), 20);

    std::fs::write(site.daemon().config(), good).unwrap();
    site.command(&["reload"]);
    assert_eq!(site.status().config.last_error, None);
    assert_eq!(site.metric("firedoor_config_last_reload_successful", ""), 1);
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0, "a contained host got through during a reload");
    let sent = bystanders.undisturbed();
    eprintln!("21 reloads, 2 refused: {} forbidden packets, none passed; {sent} others, none lost", log.sent());
}

#[test]
fn an_upgrade_that_changes_the_ruleset_leaves_no_gap() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let mut site = Site::new(22, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    site.contain(site.infected(0));
    let contained = Instant::now();
    let old = site.nft(&["list", "table", "inet", "firedoor"]);
    for burst in [7, 12] {
        site.stop();
        std::thread::sleep(Duration::from_millis(200));
        site.setup = site
            .setup
            .clone()
            .with("fuse", "burst", burst)
            .with("fuse", "contacts", 10_000 * burst)
            .with("fuse", "sources", 1000 * burst)
            .with("services", "lateral", vec![22, 445, 3389, 8000 + burst]);
        site.start();
        assert!(site.in_kernel().contains(&site.infected(0)));
    }
    let new = site.nft(&["list", "table", "inet", "firedoor"]);
    assert!(new.contains("burst 12") && new.contains("8012") && !old.contains("8012"));
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0, "a contained host got through during an upgrade");
    let sent = bystanders.undisturbed();
    eprintln!("2 upgrades: {} forbidden packets, none passed; {sent} others, none lost", log.sent());
}
