//! What is wrong in a file is reported with its line, what is wrong, and the mend; all of it at once.

use std::time::Duration;

use firedoor::config;
use firedoor::respond::Mode;

/// (what is written, what the message must hold, what the help must hold)
const MISTAKES: &[(&str, &str, &str)] = &[
    ("[gateway]\nmod = \"enforce\"", "`gateway.mod` is no key", "did you mean `mode`?"),
    ("[gatway]\nmode = \"enforce\"", "`gatway` is no section", "did you mean `gateway`?"),
    ("mode = \"enforce\"", "`mode` is no section", "belongs into [gateway]"),
    ("[detect]\nburst = 4", "`detect.burst` is no key", "belongs into [fuse]"),
    ("[gateway]\nmode = \"enforced\"", "`gateway.mode` has no such choice", "did you mean \"enforce\"?"),
    ("[gateway]\nmode = true", "wrong kind", "\"monitor\" or \"enforce\""),
    ("[gateway]\ninterfaces = [\"eth 0\"]", "`gateway.interfaces[0]` is no interface name", "ip -brief link"),
    ("[gateway]\ninterfaces = \"eth0\"", "`gateway.interfaces` is of the wrong kind", "a list in square brackets"),
    ("[networks]\nnever_contain = [\"10.0.0.0/33\"]", "no address or network", "10.1.0.0/16"),
    ("[networks]\nnever_contain = [\"10.0.0.5/24\"]", "both a host and a network", "\"10.0.0.0/24\" for the network"),
    ("[networks]\nnever_contain = [\"dc1.example.org\"]", "no address or network", "names are not looked up"),
    ("[networks]\nnever_contain = [\"::ffff:10.0.0.1\"]", "IPv4-mapped", "write it as IPv4"),
    ("[networks]\nprotected = []", "`networks.protected` is empty", "name your networks"),
    ("[services]\nlateral = [70000]", "no service", "from 1 to 65535"),
    ("[services]\nlateral = [0]", "no service", "from 1 to 65535"),
    ("[services]\nlateral = [\"445/sctp\"]", "no service", "\"1434/udp\" is UDP"),
    ("[detect]\nanswer_timeout = 300", "has no unit", "\"300s\" if seconds are meant"),
    ("[detect]\nanswer_timeout = \"300\"", "no duration", "ms, s, m, h, d and w"),
    ("[detect]\nanswer_timeout = \"2h\"", "out of range", "20ms to 30s"),
    ("[detect]\nthreshold = 0.5", "out of range", "1.0 to 100.0"),
    ("[detect]\nthreshold = nan", "no number", "nats"),
    ("[detect]\nthreshold = 4", "`detect.watch` is above `detect.threshold`", "never below"),
    ("[detect]\nlateral_windows = [{ within = \"10s\" }]", "incomplete", "contacts = 15"),
    ("[detect]\nlateral_windows = [{ within = \"10s\", contacts = 9, x = 1 }]", "is no key", "contacts = 15"),
    (
        "[detect]\nlateral_windows = [{ within = \"60s\", contacts = 9 }, { within = \"10s\", contacts = 5 }]",
        "does not rise",
        "shortest to the longest",
    ),
    ("[respond]\nladder = [\"1h\", \"10m\"]", "does not rise", "never let out sooner"),
    ("[respond]\nladder = [\"until released\", \"10m\"]", "does not rise", "never let out sooner"),
    ("[respond]\nladder = []", "too few", "1 to 16"),
    ("[breaker]\nmost_at_once = 0", "out of range", "from 1 to"),
    ("[fuse]\nburst = 99999999999999999999999999999999999999999999", "out of range", "from 1 to 10000"),
    ("[fuse]\nburst = -1", "out of range", "from 1 to 10000"),
    ("[greylist]\nwait = \"50ms\"", "out of range", "100ms to 5s"),
    ("[greylist]\nports = \"all\"", "wrong kind", "a list"),
    ("[greylist]\nservers = [\"10.1.2.3\"]", "`greylist.servers[0]` is no server with a port", "\"10.1.2.3:445\""),
    ("[greylist]\nservers = [\"fd00::1:445\"]", "no server with a port", "\"[fd00::1]:445\""),
    ("[greylist]\nservers = [\"10.1.2.3:0\"]", "no server with a port", "\"10.1.2.3:445\""),
    ("[greylist]\nservers = [\"10.1.2.3/24:445\"]", "both a host and a network", "\"10.1.2.0/24\" for the network"),
    ("[greylist]\nservers = [\"files.example.org:445\"]", "no address or network", "names are not looked up"),
    ("[capture]\nring_size = 8388608", "has no unit", "\"8MiB\""),
    ("[capture]\nring_size = \"8MB\"", "is no size", "B, KiB, MiB or GiB"),
    ("[capture]\nbackend = \"pnet\"\nshards = 2", "one shard", "shards = 1"),
    ("[observe]\nmetrics = \"9477\"", "no address with a port", "\"127.0.0.1:9477\""),
    ("[observe]\nhistory = \"history.db\"", "no absolute path", "from / on"),
    ("[role]\nname = \"x\"", "`role` is a list of tables", "two brackets"),
    ("[[role]]\nname = \"x\"\nhosts = [\"10.0.0.1\"]", "without `ports`", "blank cheque"),
    ("[[role]]\nname = \"a b\"\nhosts = []\nports = \"any\"", "no name", "letters"),
    ("[[role]]\nname = \"x\"\nhosts = []\nports = [445]\nuntil = \"2027-01-01\"", "wrong kind", "without quotes"),
    ("[[role]]\nname = \"x\"\nhosts = []\nports = [445]\nuntil = 2027-01-01T10:00:00", "not one moment", "2027-01-31"),
    ("[[role]]\nname = \"x\"\nhosts = []\nports = [445]\nport = 3", "`port` is no key of a role", "`ports`"),
    (
        "[[role]]\nname = \"x\"\nhosts = []\nports = []\n[[role]]\nname = \"x\"\nhosts = []\nports = []",
        "two roles are called `x`",
        "unique",
    ),
    ("[gateway", "this is not TOML", "toml.io"),
    ("[fuse]\nburst = 1\nburst = 2", "this is not TOML", "toml.io"),
];

#[test]
fn each_mistake_is_named_with_its_line_and_its_mend() {
    for (text, message, help) in MISTAKES {
        let errors = config::parse(text, "site.toml").expect_err(text);
        let shown = errors.to_string();
        assert!(shown.contains(message), "{text}\n---\n{shown}");
        assert!(shown.contains(help), "{text}\n---\n{shown}");
        assert!(shown.contains("site.toml:"), "no place: {text}\n---\n{shown}");
        assert!(errors.reports().iter().all(|report| report.line.is_some()), "{text}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "[gateway]\nmode = \"on\"\n[fuse]\nburst = 0\nper_secnd = 1\n[networks]\ndecoys = [\"a\", \"10.0.0.1\", \"b\"]\n";
    let errors = config::parse(text, "site.toml").unwrap_err();
    let lines: Vec<_> = errors.reports().iter().filter_map(|report| report.line).collect();
    assert_eq!(errors.len(), 5, "{errors}");
    assert_eq!(lines, [2, 4, 5, 7, 7]);
}

#[test]
fn an_error_is_shown_as_an_engineer_reads_it() {
    let errors = config::parse("[detect]\nanswer_timeout = \"2h\"\n", "site.toml").unwrap_err();
    insta::assert_snapshot!(errors.to_string());
}

#[test]
fn what_is_written_arrives_where_it_is_read() {
    let text = r#"
        [gateway]
        mode = "enforce"
        interfaces = ["eth0", "br0.12"]
        care = ["10.9.0.0/24"]
        [networks]
        protected = ["10.0.0.0/8"]
        never_contain = ["10.0.0.1", "fd00::/64"]
        [services]
        lateral = [445, "1434/udp"]
        [detect]
        threshold = 8
        decay = "5m"
        lateral_windows = [{ within = "1h 30m", contacts = 7 }]
        weights = { dark = 4.5 }
        [respond]
        ladder = ["1m", "until released"]
        [breaker]
        rearm_after = "15m"
        [capture]
        ring_size = "64MiB"
        [observe]
        metrics = "off"
        history = "off"
        [[role]]
        name = "scanner"
        hosts = ["10.1.1.1"]
        ports = "any"
        until = 2027-01-31T18:00:00+01:00
    "#;
    let (config, _) = config::parse(text, "site.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.gateway.mode, Mode::Enforce);
    assert_eq!(config.respond.mode, Mode::Enforce);
    assert_eq!(config.respond.protected, config.detect.protected);
    assert_eq!(config.gateway.interfaces, ["eth0", "br0.12"]);
    assert!(config.gateway.care.contains("10.9.0.77".parse().unwrap()));
    assert!(config.respond.never_contain.contains("fd00::5".parse().unwrap()));
    assert!(config.detect.lateral.has_udp(1434) && config.detect.lateral.has_tcp(445));
    assert!(!config.detect.lateral.has_tcp(3389));
    assert_eq!(config.detect.threshold.0, 8000);
    assert_eq!(config.detect.weights.dark.0, 4500);
    assert_eq!(config.detect.weights.failure.0, 1100);
    assert_eq!(config.detect.decay, Duration::from_mins(5));
    assert_eq!(config.detect.lateral_windows[0].length, Duration::from_mins(90));
    assert_eq!(config.respond.ladder, [Some(Duration::from_mins(1)), None]);
    assert_eq!(config.respond.breaker.rearm_after, Some(Duration::from_mins(15)));
    assert_eq!(config.capture.ring_bytes, 64 << 20);
    assert_eq!((config.observe.metrics, config.observe.history.clone()), (None, None));
    let (again, _) = config::parse(&config::reference::written(&config), "written").unwrap();
    assert_eq!(again, config, "what is written back reads the same");
    let role = &config.detect.roles[0];
    assert_eq!(role.services, None);
    assert_eq!(role.until.unwrap().to_string(), "2027-01-31T17:00:00.000Z");
}

#[test]
fn a_file_that_is_missing_too_large_or_no_text_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("firedoor.toml");
    assert!(config::load(&path).unwrap_err().to_string().contains("--config"));
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(config::load(&path).unwrap_err().to_string().contains("UTF-8"));
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(config::load(&path).unwrap_err().to_string().contains("larger than 1 MiB"));
}

#[test]
fn servers_are_read_with_their_ports_and_written_as_they_were() {
    let text = "[greylist]\nports = [445, \"161/udp\"]\nservers = [\"10.1.2.3:445\", \"10.1.0.0/24:22/tcp\", \"[fd00::1]:445\", \"[fd00::/64]:161/udp\"]\n";
    let (config, _) = config::parse(text, "site.toml").unwrap();
    let servers: Vec<_> =
        config.greylist.servers.iter().map(|server| (server.network.to_string(), server.port)).collect();
    assert_eq!(
        servers,
        [("10.1.2.3/32", 445), ("10.1.0.0/24", 22), ("fd00::1/128", 445), ("fd00::/64", 161)]
            .map(|(network, port)| (network.to_owned(), port))
    );
    let written = config::reference::written(&config);
    assert!(
        written
            .contains("servers = [\"10.1.2.3:445\", \"10.1.0.0/24:22\", \"[fd00::1]:445\", \"[fd00::/64]:161/udp\"]")
    );
    assert_eq!(config::parse(&written, "written").unwrap().0.greylist, config.greylist);
    let (config, _) = config::parse("[greylist]\nports = \"lateral\"\n", "site.toml").unwrap();
    assert_eq!(config.greylist.ports, None);
}
