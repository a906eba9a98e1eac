//! Facts about what is installed beside the program: units, users and directories, as systemd's own tools judge them.
//!
//! Where a tool is missing the test says so on standard error and proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod booted;
mod confined;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file)
}

/// Runs a tool; `None`, and a word on standard error, where there is none.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {} cannot be run: {error}", command.get_program().display());
            None
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A root directory that holds the units, and programs at the paths they name.
fn installed() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    std::fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    for unit in ["firedoor.service", "firedoor.socket"] {
        std::fs::copy(shipped(unit), units.join(unit)).unwrap();
    }
    // What is ordered after or pulled in, as empty units; and a program that is there.
    for target in ["sysinit", "basic", "shutdown", "network-pre", "network", "multi-user", "umount", "sockets"] {
        std::fs::write(units.join(format!("{target}.target")), "[Unit]\n").unwrap();
    }
    for slice in ["system.slice", "-.slice"] {
        std::fs::write(units.join(slice), "[Slice]\n").unwrap();
    }
    let program = root.path().join("usr/bin/firedoor");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    symlink("usr/bin", root.path().join("bin")).unwrap();
    root
}

#[test]
fn the_units_are_understood_by_systemd() {
    let root = installed();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no", "--root"]).arg(root.path());
    let Some(output) = run(verify.args(["firedoor.service", "firedoor.socket"])) else { return };
    assert!(output.status.success(), "{}", said(&output));
    // A key that systemd does not know is only a line of output to it.
    let complaints: Vec<String> =
        said(&output).lines().filter(|l| l.contains("firedoor.")).map(str::to_owned).collect();
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn the_service_is_exposed_by_no_more_than_one_and_a_half_of_ten() {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold=15"]).arg(shipped("firedoor.service"));
    let Some(output) = run(&mut security) else { return };
    if said(&output).contains("unrecognized option") {
        eprintln!("SKIPPED: this systemd-analyze cannot judge a unit offline (it can from 250 on)");
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn stopping_the_service_runs_nothing_that_could_take_the_table_away() {
    let unit = std::fs::read_to_string(shipped("firedoor.service")).unwrap();
    let settings = unit.lines().filter(|line| !line.starts_with('#'));
    assert!(settings.clone().all(|line| !line.starts_with("ExecStop")));
    assert!(settings.clone().any(|line| line == "Restart=always"));
    assert!(settings.clone().any(|line| line == "Type=notify") && unit.contains("\nWatchdogSec="));
}

#[test]
fn the_user_and_the_directories_come_about_with_the_right_owners() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    std::fs::create_dir_all(etc.join("firedoor")).unwrap();
    std::fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(etc.join("group"), "root:x:0:\n").unwrap();
    std::fs::write(etc.join("firedoor/firedoor.toml"), "").unwrap();

    let mut users = Command::new("systemd-sysusers");
    let Some(output) = run(users.arg("--root").arg(root.path()).arg(shipped("firedoor.sysusers"))) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let passwd = std::fs::read_to_string(etc.join("passwd")).unwrap();
    let user = passwd.lines().find(|line| line.starts_with("firedoor:")).expect("the user is made");
    assert!(user.ends_with("/var/lib/firedoor:/usr/sbin/nologin"), "{user}");
    assert!(std::fs::read_to_string(etc.join("group")).unwrap().contains("\nfiredoor:"));

    let mut directories = Command::new("systemd-tmpfiles");
    directories.arg("--create").arg("--root").arg(root.path()).arg(shipped("firedoor.tmpfiles"));
    let Some(output) = run(&mut directories) else { return };
    if said(&output).contains("ermission denied") || said(&output).contains("not permitted") {
        eprintln!("SKIPPED: only root may give directories away");
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
    for (path, mode) in [
        ("etc/firedoor", 0o750),
        ("etc/firedoor/firedoor.toml", 0o640),
        ("var/lib/firedoor", 0o750),
        ("run/firedoor", 0o755),
    ] {
        let found = std::fs::metadata(root.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{path}");
    }
}

#[test]
fn the_unit_and_the_defaults_name_the_same_places() {
    let unit = std::fs::read_to_string(shipped("firedoor.service")).unwrap();
    let socket = std::fs::read_to_string(shipped("firedoor.socket")).unwrap();
    let config = firedoor::config::Config::default();
    assert!(unit.contains("\nStateDirectory=firedoor\n"));
    assert_eq!(config.observe.history.unwrap(), Path::new("/var/lib/firedoor/history.db"));
    assert!(unit.contains("\nRuntimeDirectory=firedoor\n"));
    assert_eq!(config.observe.socket, Path::new("/run/firedoor/firedoor.sock"));
    assert!(unit.contains(&format!("\nUser={}\n", config.privileges.user)));
    assert!(unit.contains(&format!("\nGroup={}\n", config.observe.group)));
    assert!(socket.contains(&format!("\nListenStream={}\n", config.observe.metrics.unwrap())));
    assert!(socket.contains(&format!("\nFileDescriptorName={}\n", firedoor::metrics::exporter::PASSED)));
}
