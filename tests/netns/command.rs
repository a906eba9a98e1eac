//! `firedoor lab` as its user sees it: what it prints, and that it leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scene;

/// A copy of the executable where anybody may run it; its path distinguishes its processes from all others.
fn copy(directory: &Path) -> std::path::PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.join("firedoor");
    fs::copy(scene::program(), &path).unwrap();
    path
}

/// How many processes run this executable.
fn running(program: &Path) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program))
        .count()
}

fn gone(program: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while running(program) > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", running(program));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_default_run_ends_in_time_and_keeps_its_promises() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let directory = tempfile::tempdir().unwrap();
    let program = copy(directory.path());
    let began = Instant::now();
    let output = Command::new(&program).args(["--json", "lab"]).output().unwrap();
    let took = began.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["kept"], true);
    assert!(report["protected"]["reached"].as_u64().unwrap() <= 10);
    assert!(report["baseline"]["reached"].as_u64().unwrap() > 50, "{report:#}");
    gone(&program);
}

#[test]
fn it_works_without_privileges() {
    if !scene::able() {
        return;
    }
    let allowed = fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() != "0");
    if !allowed {
        eprintln!("SKIPPED: this kernel allows no user namespaces");
        return;
    }
    let _turn = scene::turn();
    let directory = tempfile::tempdir().unwrap();
    let program = copy(directory.path());
    let output = Command::new(&program)
        .args(["--json", "lab", "--no-baseline", "--worm", "fast", "--seconds", "3"])
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
    gone(&program);
}

fn start(program: &Path) -> Child {
    let child =
        Command::new(program).arg("lab").stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The command, the lab itself, two counters and the daemon.
    while running(program) < 5 {
        assert!(Instant::now() < deadline, "only {} processes", running(program));
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn an_interrupted_run_leaves_no_process_and_so_no_network() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let directory = tempfile::tempdir().unwrap();
    let program = copy(directory.path());
    // To the whole group, as Ctrl-C does; to the command alone, as a supervisor does.
    for (signal, whole_group) in [("INT", true), ("TERM", false), ("KILL", false)] {
        let mut child = start(&program);
        let target = if whole_group { format!("-{}", child.id()) } else { child.id().to_string() };
        assert!(Command::new("sh").args(["-c", &format!("kill -{signal} {target}")]).status().unwrap().success());
        assert!(!child.wait().unwrap().success(), "{signal}");
        gone(&program);
    }
}
