//! The commands that talk to the daemon, over the real socket.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use firedoor::api::host::{HostsView, NeverContainView, WhyView};
use firedoor::api::orders::Done;
use firedoor::published::status::Status;
use firedoor::respond::{Decision, Held};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stand_in::StandIn;

fn run(socket: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firedoor")).arg("--socket").arg(socket).args(args).output().unwrap()
}

fn shown(daemon: &StandIn, args: &[&str]) -> String {
    let out = run(&daemon.socket, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "no colour where nobody sees it");
    text
}

/// What a command says when it fails, with its exit status.
fn refused(socket: &Path, args: &[&str]) -> (Option<i32>, String) {
    let out = run(socket, args);
    assert!(out.stdout.is_empty(), "{args:?}");
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn json_is_the_same_struct_as_the_api_sends() {
    fn same<T: DeserializeOwned + Serialize>(daemon: &StandIn, args: &[&str]) {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = shown(daemon, &all);
        for line in text.lines() {
            let value: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{args:?}: {error}: {line}"));
            assert_eq!(serde_json::to_string(&value).unwrap(), line, "{args:?}");
        }
        assert!(!text.is_empty(), "{args:?}");
    }
    let daemon = StandIn::start();
    same::<Status>(&daemon, &["status"]);
    same::<HostsView>(&daemon, &["hosts"]);
    same::<WhyView>(&daemon, &["why", "10.0.0.7"]);
    same::<Decision>(&daemon, &["decisions"]);
    same::<Vec<Held>>(&daemon, &["held"]);
    same::<NeverContainView>(&daemon, &["never-contain"]);
    same::<Done>(&daemon, &["contain", "10.0.0.3", "--reason", "worm"]);
}

#[test]
fn status_says_what_is_wrong_and_what_to_do() {
    let text = shown(&StandIn::start(), &["status"]);
    for words in [
        "enforce mode, up 1d 1h",
        "1,204 tracked, 1 watched, 1 contained",
        "tripped",
        "`firedoor rearm`",
        "13,402 first contacts dropped",
        "61 packets of first contacts had to be sent again",
        "table changed by somebody else, put right 2 times",
        "blind: one way",
        "protect the interface they return on too",
        "86 %",
        "91 %",
        "3 captured that hide a transport header, 2 dropped in the kernel",
        "70 behind two VLAN tags, 4 in PPPoE",
        "on eth1 the kernel does not match them: nothing of them is shut",
        "sctp from 10.0.0.7 on eth0.12 to 10.0.0.40, began",
        "10.0.0.8 is in use on eth0.12 and eth1",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn status_is_silent_about_what_there_is_none_of() {
    let daemon = StandIn::start();
    let mut status = daemon.published.status().as_ref().clone();
    (status.hidden, status.overlaps) = Default::default();
    status.firewall.drops.clear();
    daemon.published.set_status(status);
    let text = shown(&daemon, &["status"]);
    for word in ["Fragments", "Frames", "Tunnels", "Overlaps"] {
        assert!(!text.contains(word), "{text}");
    }
}

#[test]
fn the_lines_of_a_table_line_up() {
    let daemon = StandIn::start();
    for args in [&["hosts"][..], &["decisions"], &["held"]] {
        let text = shown(&daemon, args);
        let mut lines = text.lines();
        let heading = lines.next().unwrap();
        // Every column of text begins where its heading does: the character before it is a space.
        for at in ["STATE", "WHERE", "HOST", "REASON"].iter().filter_map(|name| heading.find(name)) {
            for line in lines.clone().filter(|line| line.len() > at && !line.starts_with('`')) {
                assert_eq!(&line[at - 1..at], " ", "{line:?} at {at}\n{text}");
                assert_ne!(&line[at..=at], " ", "{line:?} at {at}\n{text}");
            }
        }
    }
}

#[test]
fn hosts_are_chosen_sorted_and_cut() {
    let daemon = StandIn::start();
    let listed = |args: &[&str]| -> Vec<String> {
        let text = shown(&daemon, args);
        text.lines()
            .filter(|line| line.starts_with("10."))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&["hosts"]), ["10.0.0.7", "10.0.0.9", "10.0.0.8", "10.0.0.201"]);
    assert_eq!(listed(&["hosts", "--smb1"]), ["10.0.0.8"]);
    assert_eq!(listed(&["hosts", "--vulnerable"]), ["10.0.0.8"]);
    assert_eq!(listed(&["hosts", "--acted"]), ["10.0.0.7", "10.0.0.9"]);
    assert_eq!(listed(&["hosts", "--sort", "address", "--limit", "2"]), ["10.0.0.7", "10.0.0.8"]);
    assert_eq!(listed(&["hosts", "--network", "10.0.0.128/25"]), ["10.0.0.201"]);
    assert!(shown(&daemon, &["hosts", "--limit", "2"]).contains("2 of 4 hosts"));
    assert!(shown(&daemon, &["hosts", "--network", "192.168.0.0/16"]).contains("No such host"));
}

#[test]
fn why_explains_both_ways() {
    let daemon = StandIn::start();
    for (address, words) in [
        (
            "10.0.0.7",
            &["is contained until", "no answer within 300 ms", "step 2 of the ladder", "firedoor release 10.0.0.7"][..],
        ),
        ("10.0.0.9", &["the breaker has tripped", "firedoor held confirm 3"]),
        ("10.0.0.201", &["entry 10.0.0.200/29 of the never-contain list", "reached by    10.0.0.7"]),
        ("10.0.0.250", &["ana put 10.0.0.250/32", "theatre 3"]),
        ("10.0.0.55", &["has not been seen", "step 1 of the ladder: contain for 10m"]),
        ("192.0.2.1", &["not in the protected networks"]),
        ("fd00::1", &["has not been seen"]),
    ] {
        let text = shown(&daemon, &["why", address]);
        for words in words {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }
}

#[test]
fn orders_say_what_was_done_or_why_not() {
    let daemon = StandIn::start();
    let user = if nix_is_root() { "root" } else { return eprintln!("SKIPPED: orders need root") };
    for (args, order) in [
        (&["contain", "10.0.0.3", "--reason", "worm", "--for", "1h"][..], "contain"),
        (&["isolate", "10.0.0.0/28", "--reason", "worm"], "isolate"),
        (&["held", "confirm", "3"], "confirm"),
        (&["held", "drop", "--all"], "discard"),
        (&["rearm"], "rearm"),
        (&["never-contain", "add", "10.0.0.3", "--reason", "theatre"], "exempt"),
        (&["never-contain", "remove", "10.0.0.3"], "unexempt"),
    ] {
        assert_eq!(shown(&daemon, args).trim_end(), format!("{user}: {order}"), "{args:?}");
    }
    let (status, said) = refused(&daemon.socket, &["release", "--all"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("neither contained nor isolated") && said.contains("help: `firedoor hosts --acted`"),
        "{said}"
    );
    let (status, said) = refused(&daemon.socket, &["reload"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("the running one stays: line 3") && said.contains("firedoor check"), "{said}");
    let (_, said) = refused(&daemon.socket, &["contain", "10.0.0.0/16", "--reason", "worm"]);
    assert!(said.contains("more than 256 addresses"), "{said}");
}

fn nix_is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

#[test]
fn wrong_usage_is_reported_before_anybody_is_asked() {
    let nowhere = Path::new("/nonexistent/socket");
    for args in [
        &["contain", "10.0.0.3"][..],
        &["release"],
        &["release", "10.0.0.3", "--all"],
        &["held", "confirm"],
        &["why", "ward-7"],
        &["hosts", "--sort", "beauty"],
        &["contain", "10.0.0.3", "--reason", "x", "--for", "soon"],
    ] {
        assert_eq!(refused(nowhere, args).0, Some(2), "{args:?}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_distinguished_from_one_that_may_not_be_asked() {
    let (status, said) = refused(Path::new("/nonexistent/socket"), &["status"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("is not running") && said.contains("systemctl start firedoor"), "{said}");

    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let (_, said) = refused(&stale, &["status"]);
    assert!(said.contains("nobody listens") && said.contains("stays in force"), "{said}");

    let strange = directory.path().join("strange");
    let listener = UnixListener::bind(&strange).unwrap();
    let thread = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"version\":7}").unwrap();
    });
    let (_, said) = refused(&strange, &["status"]);
    thread.join().unwrap();
    assert!(said.contains("does not answer as this firedoor does") && said.contains("restart"), "{said}");
}

#[test]
fn whoever_may_not_open_the_socket_learns_which_group_to_join() {
    use std::os::unix::process::CommandExt;
    if !nix_is_root() {
        return eprintln!("SKIPPED: needs root to become somebody else");
    }
    let daemon = StandIn::start();
    // Somebody who may walk to the socket, but not open it: its group is root's.
    let directory = daemon.socket.parent().unwrap();
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = directory.join("firedoor");
    std::fs::copy(env!("CARGO_BIN_EXE_firedoor"), &program).unwrap();
    let nobody_of = |group: u32, args: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--socket").arg(&daemon.socket).args(args).uid(65_534).gid(group);
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let nobody = |args: &[&str]| nobody_of(65_534, args);
    let (status, _, said) = nobody(&["status"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("may not open") && said.contains("usermod -aG root NAME"), "{said}");

    // A member of the group may act, and the record has the member's name.
    let (status, text, said) = nobody_of(0, &["contain", "10.0.0.3", "--reason", "worm"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(text.trim_end(), "nobody: contain");

    // With an opened socket, as an access-control entry would open it, nobody may read, and not act.
    std::fs::set_permissions(&daemon.socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let (status, text, said) = nobody(&["held"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(text.contains("would contain"), "{text}");
    let (status, _, said) = nobody(&["contain", "10.0.0.3", "--reason", "mischief"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("nobody may look, but not act"), "{said}");
}
