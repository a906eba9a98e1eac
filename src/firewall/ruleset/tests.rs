use super::*;
use crate::config::model::GivenServer;
use crate::detect::settings::Role;
use crate::wire::Networks;

fn networks(list: &[&str]) -> Networks {
    Networks::new(list.iter().map(|text| text.parse().unwrap()).collect())
}

fn role(name: &str, hosts: &[&str], services: Option<&[(Transport, u16)]>, until: Option<Timestamp>) -> Role {
    Role {
        name: name.to_owned(),
        hosts: networks(hosts),
        services: services.map(Services::new),
        smb1: false,
        remote_execution: false,
        owner: "network team".to_owned(),
        reason: "test".to_owned(),
        until,
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn config(mode: Mode) -> Config {
    let mut config = Config::default();
    config.gateway.mode = mode;
    config.gateway.interfaces = vec!["lan1".to_owned(), "lan0".to_owned(), "gone0".to_owned()];
    config.gateway.care = networks(&["10.9.0.0/24", "2001:db8:9::/64"]);
    config.respond.never_contain = networks(&["10.0.0.10", "10.0.0.0/28", "2001:db8::10"]);
    config.detect.roles = vec![
        role("scanner", &["10.5.0.5"], None, None),
        role("backup", &["10.5.0.0/24", "2001:db8:5::5"], Some(&[(Transport::Tcp, 445), (Transport::Tcp, 80)]), None),
        role("print", &["10.6.0.6"], Some(&[(Transport::Tcp, 445)]), Some(Timestamp::from_secs(1_700_000_000))),
    ];
    config
}

fn plan(config: &Config) -> Plan {
    Plan::new(
        config,
        &networks(&["10.0.0.1", "fe80::1"]),
        &["lo".to_owned(), "lan0".to_owned(), "lan1".to_owned()],
        NOW,
    )
    .unwrap()
}

#[test]
fn enforce() {
    insta::assert_snapshot!(plan(&config(Mode::Enforce)).text(true));
}

#[test]
fn monitor() {
    insta::assert_snapshot!(plan(&config(Mode::Monitor)).text(true));
}

#[test]
fn no_rule_drops_in_monitor_mode() {
    for isolation in [false, true] {
        let text = plan(&config(Mode::Monitor)).text(isolation);
        assert!(!text.split_whitespace().any(|word| word == "drop" || word == "reject"), "{text}");
    }
}

#[test]
fn the_exemption_stands_first_in_every_chain_that_drops() {
    let text = plan(&config(Mode::Enforce)).text(true);
    let contain = ["contain4", "contain6", "contain_card", "contain_net6"].map(str::to_owned);
    let tagged = contain.clone().map(|chain| format!("tagged_{chain}"));
    let others = ["anywhere_contain4", "anywhere_contain6", "fragments4", "fragments6", "isolate_card"];
    let isolate = ["isolate4", "isolate6", "toward_isolated4", "toward_isolated6"];
    for chain in contain.into_iter().chain(tagged).chain(others.into_iter().chain(isolate).map(str::to_owned)) {
        let body = text.split(&format!("chain {chain} {{\n")).nth(1).unwrap();
        assert!(body.trim_start().contains("@exempt"), "{chain}");
        assert!(body.lines().next().unwrap().ends_with("exempt_passed return"), "{chain}: {body}");
    }
}

#[test]
fn rules_for_isolated_destinations_exist_only_when_asked_for() {
    let text = plan(&config(Mode::Enforce)).text(false);
    assert!(!text.contains("toward_isolated") && !text.contains("goto asked") && !text.contains("isolated_raw4 goto"));
}

#[test]
fn only_interfaces_that_exist_are_hooked() {
    let config = config(Mode::Enforce);
    assert_eq!(plan(&config).interfaces(), ["lan0", "lan1"]);
    let none = Plan::new(&config, &Networks::default(), &[], NOW).unwrap().text(true);
    assert!(!none.contains("hook"), "{none}");
}

#[test]
fn an_interface_name_cannot_smuggle_rules_in() {
    let name = "a\" } drop".to_owned();
    let mut config = config(Mode::Enforce);
    config.gateway.interfaces = vec![name.clone()];
    assert!(matches!(
        Plan::new(&config, &Networks::default(), std::slice::from_ref(&name), NOW),
        Err(Error::InterfaceName { .. })
    ));
}

#[test]
fn a_role_frees_its_hosts_for_its_lateral_services_while_it_lasts() {
    let text = plan(&config(Mode::Enforce)).text(false);
    let roles = text.split("set roles4 {").nth(1).unwrap().split('}').next().unwrap();
    assert!(roles.contains("10.5.0.0/24 . tcp . 445"), "{roles}");
    assert!(roles.contains("10.5.0.5 . tcp . 22"), "{roles}");
    assert!(!roles.contains("10.5.0.5 . tcp . 445"), "it lies inside the backup role's network: {roles}");
    assert!(!roles.contains(". 80") && !roles.contains("10.6.0.6"), "{roles}");
}

#[test]
fn without_a_fuse_nothing_is_asked_about_first_contacts() {
    let mut config = config(Mode::Enforce);
    config.fuse.enabled = false;
    let text = plan(&config).text(true);
    for word in ["first_contact", "@contacts", "@fuse", "roles4", "goto tunnelled", "goto in_"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn services_over_udp_have_rules_of_their_own() {
    let mut config = config(Mode::Enforce);
    config.detect.lateral = Services::new(&[(Transport::Udp, 1434)]);
    let text = plan(&config).text(false);
    assert!(text.contains("udp dport @lateral_udp counter name contain_dropped drop"), "{text}");
    assert!(text.contains("udp sport @lateral_udp counter name contain_dropped drop"), "{text}");
    assert!(!text.contains("lateral_tcp") && !text.contains("tcp flags"), "{text}");
    let watched = text.split("set to_ports {").nth(1).unwrap().split("\t}\n").next().unwrap();
    assert!(watched.contains("1434"), "{watched}");
}

#[test]
fn a_reload_names_what_is_no_longer_needed_and_keeps_the_rest() {
    let there = Existing {
        chains: ["contain4", "door", "old_chain"].map(str::to_owned).to_vec(),
        sets: ["contacts4", "exempt4", "old_set"].map(str::to_owned).to_vec(),
        maps: ["acted4", "old_map"].map(str::to_owned).to_vec(),
        counters: ["contain_dropped", "old_counter"].map(str::to_owned).to_vec(),
        resized: Vec::new(),
        frames: None,
    };
    let script = plan(&config(Mode::Enforce)).script(&there, &Variant::default());
    let before = script.split("table inet firedoor {").next().unwrap();
    let deleted: Vec<&str> = before.lines().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(
        deleted,
        [
            "delete set inet firedoor exempt4",
            "delete set inet firedoor old_set",
            "delete map inet firedoor old_map",
            "delete chain inet firedoor door",
            "delete chain inet firedoor old_chain",
            "delete counter inet firedoor old_counter",
        ]
    );
    for mode in [Mode::Enforce, Mode::Monitor] {
        let script = plan(&config(mode)).script(&there, &Variant::default());
        assert!(!script.contains("flush map") && !script.contains("flush set"), "hosts stay in either mode: {script}");
    }
}

fn greylisting(mode: Mode) -> Config {
    let mut config = config(mode);
    config.greylist.enabled = true;
    config.greylist.servers = ["10.7.0.7", "10.7.0.0/24", "2001:db8:7::7"]
        .map(|network| GivenServer { network: network.parse().unwrap(), transport: Transport::Tcp, port: 445 })
        .to_vec();
    config
}

/// The chains of a text, each with its rules.
fn chains(text: &str) -> Vec<(&str, &str)> {
    text.split("\tchain ").skip(1).filter_map(|chain| chain.split("\t}\n").next()?.split_once(" {\n")).collect()
}

#[test]
fn a_greylist_touches_only_what_first_contacts_meet() {
    let variant = Variant { frames: vec!["lan0".to_owned()], acted: true, ..Variant::default() };
    for mode in [Mode::Enforce, Mode::Monitor] {
        let (with, without) = (plan(&greylisting(mode)).variant(&variant), plan(&config(mode)).variant(&variant));
        let (with, without) = (chains(&with), chains(&without));
        for (name, rules) in &without {
            let mine = with.iter().find(|(chain, _)| chain == name).unwrap().1;
            let first = name.starts_with("first_contact") || ["opening4", "opening8", "opening12"].contains(name);
            assert!(mine == *rules || first, "{name}");
        }
        let added: Vec<&str> =
            with.iter().map(|(name, _)| *name).filter(|name| !without.iter().any(|(old, _)| old == name)).collect();
        assert!(added.iter().all(|name| name.starts_with("wait") || name.starts_with("asked_again")), "{added:?}");
    }
}

#[test]
fn the_greylist_asks_twice() {
    let text = plan(&greylisting(Mode::Enforce)).text(false);
    let sets = text.split("# Services whose").nth(1).unwrap().split("\tset exempt4").next().unwrap();
    let servers = text.split("# Servers, for").nth(1).unwrap().split("\tset exempt6").next().unwrap();
    let mut shown = String::new();
    for (name, rules) in chains(&text) {
        if name.ends_with('4') && ["first_contact", "wait", "asked"].iter().any(|start| name.starts_with(start)) {
            shown.push_str(&[name, "\n", rules].concat());
        }
    }
    insta::assert_snapshot!(format!("{sets}{servers}{shown}"));
}

#[test]
fn a_greylist_needs_the_fuse_and_says_nothing_where_it_is_off() {
    let mut config = greylisting(Mode::Enforce);
    config.fuse.enabled = false;
    for config in [config, self::config(Mode::Enforce)] {
        let text = plan(&config).text(true);
        for word in ["young", "knocked", "servers4", "greylisted", "wait4"] {
            assert!(!text.contains(word), "{word}");
        }
    }
}

#[test]
fn only_lateral_services_wait() {
    let mut config = greylisting(Mode::Enforce);
    config.greylist.ports = Some(Services::new(&[(Transport::Tcp, 445), (Transport::Tcp, 80), (Transport::Udp, 161)]));
    let text = plan(&config).text(false);
    let waiting = text.split("set greylisted {").nth(1).unwrap().split("\t}\n").next().unwrap();
    assert!(waiting.contains("{ tcp . 445, udp . 161 }"), "{waiting}");
}
