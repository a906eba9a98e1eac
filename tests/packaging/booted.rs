//! The shipped units under a real systemd: they start, give up what they should, reload, and come back from a kill and
//! from a hang, while a block stands in the kernel throughout.
//!
//! `booted/boot.sh` starts systemd as PID 1 of namespaces of its own; `booted/prove.sh` runs in there and prints facts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The machine is ended after so many seconds, whatever it does.
const LONGEST: &str = "120";

/// What boot.sh ends with where a machine cannot be made.
const CANNOT: i32 = 77;

const CONFIG: &str = "[gateway]\nmode = \"enforce\"\ninterfaces = [\"fd0\"]\n[detect]\nstart_up_grace = \"0s\"\n";

/// Programs and files without which it cannot be tried.
fn missing() -> Option<&'static str> {
    let tools = ["bash", "unshare", "setpriv", "ip", "nft", "systemctl", "systemd-sysusers", "systemd-tmpfiles"];
    let is_there = |tool: &&str| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(tool).exists());
    let program = "/usr/lib/systemd/systemd";
    tools.into_iter().find(|tool| !is_there(tool)).or_else(|| (!Path::new(program).exists()).then_some(program))
}

/// What the machine said.
struct Facts {
    text: String,
    all: String,
}

impl Facts {
    fn words(&self, name: &str) -> Vec<&str> {
        let mut lines = self.text.lines().map(str::split_whitespace);
        let found = lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.collect()));
        found.unwrap_or_else(|| panic!("no {name} among what the machine said:\n{}", self.all))
    }

    #[track_caller]
    fn are(&self, name: &str, expected: &[&str]) {
        assert_eq!(self.words(name), expected, "{name}\n{}", self.all);
    }

    fn number(&self, name: &str, place: usize) -> u64 {
        self.words(name)[place].parse().unwrap()
    }
}

#[test]
fn the_shipped_units_hold_under_a_real_systemd() {
    if let Some(missing) = missing() {
        eprintln!("SKIPPED: there is no {missing} here");
        return;
    }
    if !firedoor::sys::privileges::is_root() {
        eprintln!("SKIPPED: only root may start a systemd in namespaces");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["firedoor.service", "firedoor.socket", "firedoor.sysusers", "firedoor.tmpfiles"] {
        std::fs::copy(here.join("systemd").join(file), path.join(file)).unwrap();
    }
    for file in ["boot.sh", "prove.sh", "prove.service"] {
        std::fs::copy(here.join("tests/packaging/booted").join(file), path.join(file)).unwrap();
    }
    std::fs::copy(env!("CARGO_BIN_EXE_firedoor"), path.join("firedoor")).unwrap();
    std::fs::write(path.join("firedoor.toml"), CONFIG).unwrap();

    let output = Command::new("timeout")
        .args(["-k", "5", LONGEST, "unshare", "--mount", "bash"])
        .arg(path.join("boot.sh"))
        .env("DIR", path)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT) {
        eprintln!("SKIPPED: no systemd can be started in namespaces here: {said}");
        return;
    }
    let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
    let text = read("facts");
    let all = format!("{text}\n{said}\n{}\n{}", read("trace"), read("journal"));
    assert!(output.status.success(), "{}\n{all}", output.status);
    let facts = Facts { text, all };

    facts.are("TYPE", &["notify"]);
    facts.are("STARTED", &["active/running"]);
    facts.are("OWNER", &["firedoor:firedoor"]);
    // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        facts.are(set, &["0000000000003000"]);
    }
    facts.are("NoNewPrivs:", &["1"]);
    facts.are("Seccomp:", &["2"]);
    facts.are("SOCKET", &["firedoor:firedoor", "660"]);
    assert_eq!(facts.words("HISTORY")[0], "firedoor:firedoor");
    assert!(facts.number("METRICS", 0) > 50, "{}", facts.all);

    assert!(facts.number("WORM", 0) <= 13, "a worm's attempts until it was contained\n{}", facts.all);
    assert!(facts.number("WORM", 1) >= 1, "{}", facts.all);

    facts.are("RELOADED", &["active/running", "0"]);
    facts.are("REFUSED", &["1", "active/running", "0"]);
    for (fact, restarts) in [("RESTARTS_1", "1"), ("RESTARTS_2", "2")] {
        assert_eq!(facts.words(fact)[..2], [restarts, "active/running"], "{}", facts.all);
    }
    assert!(facts.all.contains("Watchdog timeout"), "{}", facts.all);
    for fact in ["AFTER_KILL", "AFTER_HANG"] {
        facts.are(fact, &["1"]);
    }
    facts.are("STOPPED", &["inactive/dead", "inactive"]);
    facts.are("LEFT", &["1", "1"]);
    facts.are("AGAIN", &["active/running", "1"]);
    assert!(facts.number("WATCHED", 0) > 100, "{}", facts.all);
    assert_eq!(facts.number("WATCHED", 1), 0, "{}", facts.all);
    eprintln!(
        "back {} ms after a kill, {} ms after a hang; the block stood at each of {} looks",
        facts.number("RESTARTS_1", 2),
        facts.number("RESTARTS_2", 2),
        facts.number("WATCHED", 0)
    );
}
