//! The daemon works with no more than the unit gives it: another user, two capabilities, a bare /proc, and a metrics
//! listener that somebody else opened.
//!
//! Runs in network, mount and PID namespaces of its own, which end with it, wherever there is no systemd to be started:
//! the unit's file system and system call rules are put to the test in [`booted`](super::booted).

use std::path::Path;
use std::process::Command;

/// Everything happens in here; what it prints last is what the test looks at.
const SCRIPT: &str = r#"
set -eu
mount -t proc -o subset=pid proc /proc
mount -t sysfs sysfs /sys
ip link set lo up
ip link add fd-conf0 type veth peer name fd-conf1
ip addr add 10.77.0.1/24 dev fd-conf0
ip link set fd-conf0 up
ip link set fd-conf1 up
chown nobody "$DIR/state"
systemd-socket-activate --listen=127.0.0.1:9477 --fdname=metrics \
    setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \
        --inh-caps=-all,+net_admin,+net_raw --ambient-caps=-all,+net_admin,+net_raw \
        --bounding-set=-all,+net_admin,+net_raw \
        "$FIREDOOR" --config "$DIR/firedoor.toml" run >"$DIR/log" 2>&1 &
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/9477) 2>/dev/null && break; sleep 0.1; done
for _ in $(seq 200); do [ -S "$DIR/state/socket" ] && break; sleep 0.1; done
"$FIREDOOR" --socket "$DIR/state/socket" contain 10.77.0.9 --reason "a test"
exec 3<>/dev/tcp/127.0.0.1/9477
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
echo "METRICS $(grep -c '^firedoor_' <&3)"
echo "ELEMENTS $(nft list map inet firedoor acted4 | grep -c '10.77.0.9')"
grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs):' /proc/$!/status
"#;

const CONFIG: &str = r#"
[gateway]
mode = "enforce"
interfaces = ["fd-conf0"]
[observe]
socket = "DIR/state/socket"
history = "DIR/state/history.db"
group = "nogroup"
[privileges]
user = "nobody"
"#;

fn is_there(tool: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(tool).exists())
}

#[test]
fn the_daemon_works_with_no_more_than_the_unit_gives() {
    for tool in ["unshare", "ip", "nft", "setpriv", "systemd-socket-activate", "bash"] {
        if !is_there(tool) {
            eprintln!("SKIPPED: there is no {tool} here");
            return;
        }
    }
    if !firedoor::sys::privileges::is_root() {
        eprintln!("SKIPPED: only root may make the namespaces and become another user");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(path.join("state")).unwrap();
    std::fs::write(path.join("firedoor.toml"), CONFIG.replace("DIR", path.to_str().unwrap())).unwrap();
    // A copy, for another user cannot reach into a build directory below root's home.
    let program = path.join("firedoor");
    std::fs::copy(env!("CARGO_BIN_EXE_firedoor"), &program).unwrap();
    let output = Command::new("timeout")
        .args(["60", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", SCRIPT])
        .env("DIR", path)
        .env("FIREDOOR", &program)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
    let all = format!("{said}\n{}\n{log}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{all}");
    let line = |start: &str| -> Vec<String> {
        let found = said.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {all}"));
        found.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert!(line("METRICS")[0].parse::<u32>().unwrap() > 50, "{all}");
    assert_eq!(line("ELEMENTS"), ["1"], "{all}");
    // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
    assert_eq!(line("CapPrm:"), ["0000000000003000"], "{all}");
    assert_eq!(line("CapBnd:"), ["0000000000003000"], "{all}");
    assert_eq!(line("NoNewPrivs:"), ["1"], "{all}");
    assert!(!line("Uid:").contains(&"0".to_owned()), "{all}");
    assert!(!log.contains("not given up") && !log.contains("where systemd listens"), "{log}");
    assert!(path.join("state/history.db").exists(), "{all}");
}
