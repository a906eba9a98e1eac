//! What is unwise is reported, with its line; what is wise is not nagged about.

use std::net::IpAddr;

use firedoor::config::host_network::{HostNetwork, Interface};
use firedoor::config::{self, File};
use firedoor::time::Timestamp;

/// A file that gives no advice at all.
const WISE: &str = r#"
[gateway]
mode = "enforce"
interfaces = ["eth0"]
care = ["10.1.0.10"]
[networks]
protected = ["10.1.0.0/16"]
never_contain = ["10.1.0.1", "10.1.0.2"]
decoys = ["10.1.200.200"]
[[role]]
name = "scanner"
hosts = ["10.1.0.15"]
ports = [445]
owner = "infosec"
reason = "weekly scan"
until = 2027-06-30
"#;

fn now() -> Timestamp {
    serde_json::from_str("\"2027-01-01T00:00:00Z\"").unwrap()
}

fn around() -> HostNetwork {
    let interface = |name: &str, up, network: &str| Interface {
        name: name.into(),
        up,
        loopback: name == "lo",
        addresses: vec![network.parse().unwrap()],
    };
    let set = |text: &str| [text.parse::<IpAddr>().unwrap()].into();
    HostNetwork {
        interfaces: vec![
            interface("lo", true, "127.0.0.1/8"),
            interface("eth0", true, "10.1.0.1/16"),
            interface("eth1", false, "192.0.2.1/24"),
        ],
        next_hops: set("10.1.0.2"),
        dns: set("9.9.9.9"),
        dhcp: set("10.1.0.2"),
    }
}

fn advice(text: &str) -> String {
    let file = File::parse(text, "site.toml").unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    file.warnings(Some(now()), Some(&around())).to_string()
}

#[test]
fn a_wise_file_is_left_alone() {
    assert_eq!(advice(WISE), "");
    assert_eq!(File::parse(WISE, "site.toml").unwrap().proposal(&around()), None);
}

#[test]
fn each_unwise_setting_is_reported() {
    // (what is replaced in the wise file, by what, what the advice must hold)
    for (from, to, expected) in [
        ("interfaces = [\"eth0\"]", "interfaces = []", "`firedoor run` will not start"),
        ("interfaces = [\"eth0\"]", "interfaces = [\"eth9\"]", "there is no interface eth9"),
        ("interfaces = [\"eth0\"]", "interfaces = [\"eht0\"]", "did you mean eth0?"),
        ("interfaces = [\"eth0\"]", "interfaces = [\"eth1\"]", "interface eth1 is down"),
        ("interfaces = [\"eth0\"]", "interfaces = [\"lo\"]", "lo is the loopback"),
        ("care = [\"10.1.0.10\"]", "", "isolation will cut a host off from everything"),
        ("care = [\"10.1.0.10\"]", "care = [\"10.0.0.0/8\"]", "isolation isolates from nothing in 10.1.0.0/16"),
        ("protected = [\"10.1.0.0/16\"]", "protected = [\"0.0.0.0/0\"]", "the whole Internet is protected"),
        ("protected = [\"10.1.0.0/16\"]", "protected = [\"10.1.0.0/16\", \"::/0\"]", "the whole Internet is protected"),
        ("never_contain = [\"10.1.0.1\", \"10.1.0.2\"]", "", "nothing is safe from a false alarm"),
        ("\"10.1.0.1\", \"10.1.0.2\"", "\"10.1.0.0/16\"", "no host in 10.1.0.0/16 can ever be contained"),
        ("\"10.1.0.1\", \"10.1.0.2\"", "\"10.1.0.2\"", "enforcing without this gateway on the list"),
        ("\"10.1.0.1\", \"10.1.0.2\"", "\"10.1.0.1\"", "10.1.0.2 (next hop)"),
        ("decoys = [\"10.1.200.200\"]", "decoys = [\"10.1.0.2\"]", "the decoy 10.1.0.2 is on the never-contain list"),
        ("decoys = [\"10.1.200.200\"]", "decoys = [\"10.1.0.0/30\"]", "is this gateway itself"),
        ("until = 2027-06-30", "", "role `scanner` never ends"),
        ("until = 2027-06-30", "until = 2026-12-30", "role `scanner` has ended"),
        ("until = 2027-06-30", "until = 2027-01-09", "role `scanner` ends soon"),
        ("owner = \"infosec\"", "", "role `scanner` has no owner"),
        ("reason = \"weekly scan\"", "", "role `scanner` has no reason"),
        ("ports = [445]", "ports = \"any\"", "role `scanner` exempts every port"),
        ("ports = [445]", "ports = []", "role `scanner` exempts nothing"),
        ("hosts = [\"10.1.0.15\"]", "hosts = []", "nobody has the role `scanner`"),
        ("hosts = [\"10.1.0.15\"]", "hosts = [\"10.0.0.0/8\"]", "role `scanner` exempts all of 10.1.0.0/16"),
        ("[[role]]", "[services]\nlateral = [22]\n[[role]]", "SMB is not watched"),
        ("[[role]]", "[observe]\nmetrics = \"0.0.0.0:9477\"\n[[role]]", "can be read by anyone"),
        ("[[role]]", "[observe]\nhistory = \"off\"\n[[role]]", "a restart forgets"),
        ("[[role]]", "[observe]\nhistory_keep = \"3d\"\n[[role]]", "write history_keep = \"7d\" or more"),
        ("[[role]]", "[fuse]\nenabled = false\n[[role]]", "while the daemon is down"),
        ("[[role]]", "[fuse]\nenabled = false\n[greylist]\nenabled = true\n[[role]]", "there is no greylist"),
        ("[[role]]", "[greylist]\nenabled = true\n[[role]]", "one that nobody answers"),
        ("[[role]]", "[greylist]\nenabled = true\nwait = \"2s\"\n[[role]]", "people wait three seconds"),
        ("[[role]]", "[greylist]\nenabled = true\nports = [445, 80]\n[[role]]", "port 80 is not lateral"),
        ("[[role]]", "[greylist]\nenabled = true\nservers = [\"10.1.0.3:80\"]\n[[role]]", "nobody waits for it anyway"),
        (
            "[[role]]",
            "[greylist]\nenabled = true\nservers = [\"10.0.0.0/8:445\"]\n[[role]]",
            "nobody waits for any host in 10.1.0.0/16",
        ),
        ("[[role]]", "[privileges]\nseccomp = false\n[[role]]", "not confined by seccomp"),
        ("[[role]]", "[detect]\nlateral_windows = []\n[[role]]", "is not watched"),
        (
            "[[role]]",
            "[detect]\nlateral_windows = [{ within = \"10m\", contacts = 2 }]\n[[role]]",
            "benign hosts reach this: 2 within 10m",
        ),
        (
            "[[role]]",
            "[detect]\nany_windows = [{ within = \"60s\", contacts = 70 }]\n[[role]]",
            "benign hosts reach this: 70 within 60s",
        ),
        (
            "[[role]]",
            "[detect]\nlateral_windows = [{ within = \"10s\", contacts = 9 }, { within = \"60s\", contacts = 9 }]\n[[role]]",
            "the window of 10s can never be the first",
        ),
        ("[[role]]", "[detect]\ncontact_memory = \"1h\"\n[[role]]", "write contact_memory = \"8h\" or more"),
        ("[[role]]", "[detect.weights]\nfailure = 5\n[[role]]", "reached after 2 failed first contacts"),
    ] {
        let text = WISE.replacen(from, to, 1);
        assert_ne!(text, WISE, "{from} is not in the file");
        let given = advice(&text);
        assert!(given.contains(expected), "{to}: expected {expected:?} in\n{given}");
    }
}

#[test]
fn what_the_machine_recognises_is_proposed_as_lines_that_can_be_pasted() {
    let text = "[networks]\nnever_contain = [\"10.1.0.99\"]\n";
    let proposal = File::parse(text, "site.toml").unwrap().proposal(&around()).unwrap();
    insta::assert_snapshot!(proposal);
    let (pasted, _) = config::parse(&proposal, "pasted").unwrap();
    for address in ["10.1.0.1", "10.1.0.2", "10.1.0.99"] {
        assert!(pasted.respond.never_contain.contains(address.parse().unwrap()), "{address}");
    }
    assert!(!proposal.contains("9.9.9.9"), "no decision is made against hosts outside the protected networks");
    assert_eq!(File::parse(&proposal, "pasted").unwrap().proposal(&around()), None);
}
