//! `firedoor tune`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::{firedoor, run, text};

/// A capture of bare IPv4 packets (LINKTYPE_RAW) in the making.
struct Capture(Vec<u8>);

type Ip = [u8; 4];

impl Capture {
    fn new() -> Self {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        for half in [2_u16, 4] {
            bytes.extend(half.to_le_bytes());
        }
        for word in [0_u32, 0, 65_535, 101] {
            bytes.extend(word.to_le_bytes());
        }
        Capture(bytes)
    }

    /// A TCP segment at so many milliseconds.
    fn tcp(&mut self, at: u64, from: (Ip, u16), to: (Ip, u16), flags: u8) {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend(from.0);
        packet.extend(to.0);
        packet.extend(from.1.to_be_bytes());
        packet.extend(to.1.to_be_bytes());
        // An answer acknowledges the SYN.
        let acknowledged = if flags & 0x10 == 0 { 0 } else { 2 };
        packet.extend([0, 0, 0, 1, 0, 0, 0, acknowledged, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let seconds = u32::try_from(1_800_000_000 + at / 1000).unwrap();
        for word in [seconds, u32::try_from(at % 1000 * 1000).unwrap(), 40, 40] {
            self.0.extend(word.to_le_bytes());
        }
        self.0.extend(packet);
    }

    /// A connection that is answered.
    fn connect(&mut self, at: u64, from: Ip, to: Ip, port: u16) {
        self.tcp(at, (from, 40_000), (to, port), 0x02);
        self.tcp(at + 2, (to, port), (from, 40_000), 0x12);
    }

    fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.0).unwrap();
        path
    }
}

const POLLER: Ip = [10, 0, 9, 9];
const WORM: Ip = [10, 0, 1, 66];

/// Thirty workstations at their two servers for ten hours, and a poller that looks at nine machines at once.
fn day(worm: bool) -> Capture {
    let mut capture = Capture::new();
    for minute in (0..600).step_by(5) {
        let at = minute * 60_000;
        for number in 0..30_u8 {
            let server = [10, 0, 2, 10 + u8::try_from(minute / 5 % 2).unwrap()];
            capture.connect(at + u64::from(number) * 50, [10, 0, 1, 100 + number], server, 445);
        }
        if minute == 60 {
            for number in 0..9_u8 {
                capture.connect(at + 10_000 + u64::from(number) * 500, POLLER, [10, 0, 2, 50 + number], 22);
            }
        }
        if worm && minute == 300 {
            for number in 0..60_u8 {
                let at = at + 20_000 + u64::from(number) * 125;
                capture.tcp(at, (WORM, 40_000), ([10, 0, 3, number + 1], 445), 0x02);
            }
        }
    }
    capture
}

fn tuned(arguments: &[&str]) -> Value {
    let out = run(&[&["--json", "tune"], arguments].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn column(found: &Value, name: &str) -> Vec<u64> {
    found["windows"].as_array().unwrap().iter().map(|line| line[name].as_u64().unwrap()).collect()
}

#[test]
fn a_day_of_work_lowers_the_thresholds_and_a_poller_is_offered_a_role() {
    let folder = tempfile::tempdir().unwrap();
    let found = tuned(&[day(false).write(folder.path(), "day.pcap").to_str().unwrap()]);
    assert_eq!(found["measured"], 31);
    assert_eq!(found["ordinary"], 30);
    assert_eq!(found["covered"], 595 * 60 + 1, "the capture is as long as it says");
    assert_eq!(column(&found, "observed"), [1, 1, 2, 2, 2, 1, 1, 2]);
    assert_eq!(column(&found, "proposed"), [5, 8, 15, 30, 60, 60, 150, 500]);
    assert_eq!(found["stand_out"][0]["host"], "10.0.9.9");
    assert_eq!(found["stand_out"][0]["services"], serde_json::json!(["22/tcp"]));
    assert!(found["alarmed"].as_array().unwrap().is_empty());

    // What it proposes is a file that `check` takes, and it names what the engineer still has to fill in.
    let file = folder.path().join("proposed.toml");
    std::fs::write(&file, found["fragment"].as_str().unwrap()).unwrap();
    let out = run(&["--json", "check", "--file-only", file.to_str().unwrap()]);
    let checked: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(checked["ok"], true, "{checked}");
    let warnings = checked["warnings"].to_string();
    assert!(warnings.contains("role `role-10.0.9.9` has no owner") && warnings.contains("has no reason"), "{warnings}");
}

#[test]
fn a_capture_that_holds_a_worm_teaches_the_same_as_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let clean = tuned(&[day(false).write(folder.path(), "clean.pcap").to_str().unwrap()]);
    let path = day(true).write(folder.path(), "worm.pcap");
    let found = tuned(&[path.to_str().unwrap()]);
    assert_eq!(column(&found, "observed"), column(&clean, "observed"));
    assert_eq!(column(&found, "proposed"), column(&clean, "proposed"));
    assert_eq!(found["alarmed"][0]["host"], "10.0.1.66");
    assert_eq!(found["alarmed"][0]["alarmed"]["decision"], "contain");
    let shown = text(&run(&["tune", path.to_str().unwrap()]).stdout);
    for words in
        ["Left out, because Firedoor would have acted on them", "#[[role]]", "\n[[role]]\nname = \"role-10.0.9.9\""]
    {
        assert!(shown.contains(words), "{words:?}: {shown}");
    }
    let headings = shown.lines().find(|line| line.starts_with("WINDOW")).unwrap();
    let place = headings.find("PROPOSED").unwrap() + "PROPOSED".len();
    let rows = shown.lines().filter(|line| line.starts_with("lateral ") || line.starts_with("any port "));
    assert!(rows.clone().count() == 8 && rows.clone().all(|row| row.as_bytes()[place - 1].is_ascii_digit()), "{shown}");
}

#[test]
fn days_add_up_and_gaps_between_them_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut late = Capture::new();
    for second in 0..60 {
        late.connect(100 * 3_600_000 + second * 1000, [10, 0, 1, 200], [10, 0, 2, 10], 445);
    }
    let (one, two) = (day(false).write(folder.path(), "1.pcap"), late.write(folder.path(), "2.pcap"));
    let whole = tuned(&[one.to_str().unwrap(), two.to_str().unwrap()]);
    assert_eq!((&whole["covered"], &whole["measured"]), (&Value::from(595 * 60 + 1 + 59), &Value::from(32)));
    // The other way round the second begins before the first ends: another story, and nothing is lost.
    let turned = tuned(&[two.to_str().unwrap(), one.to_str().unwrap()]);
    assert_eq!((&turned["measured"], &turned["windows"]), (&whole["measured"], &whole["windows"]));
}

#[test]
fn standard_input_is_read_and_what_is_no_capture_is_refused() {
    let mut child = firedoor()
        .args(["--json", "tune", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&day(false).0).unwrap();
    let found: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(found["measured"], 31);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "these are no packets").unwrap();
    let out = run(&["tune", folder.path().join("notes.txt").to_str().unwrap()]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0));
    assert!(text(&out.stderr).starts_with("error: "));
}

#[test]
fn real_captures_are_measured_and_real_worms_named() {
    let Some(captures) = std::env::var_os("FIREDOOR_CAPTURES").map(PathBuf::from) else {
        eprintln!("SKIPPED: FIREDOOR_CAPTURES is not set: nothing was measured");
        return;
    };
    let captures = if captures.is_absolute() { captures } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(captures) };
    for entry in std::fs::read_dir(captures.join("benign")).unwrap() {
        let path = entry.unwrap().path();
        let found = tuned(&[path.to_str().unwrap()]);
        assert!(found["alarmed"].as_array().unwrap().is_empty(), "{}: {found}", path.display());
        // The longest of these spans less than a working day or holds few hosts: no threshold moves.
        assert_eq!(column(&found, "proposed"), column(&found, "current"), "{}", path.display());
        let benign = [2, 2, 2, 2, 2, 59, 70, 131];
        let within = column(&found, "observed").iter().zip(benign).all(|(seen, most)| *seen <= most);
        assert!(within, "{}: {found}", path.display());
    }
    let found = tuned(&[captures.join("worm/wannacry.pcap").to_str().unwrap()]);
    let named: Vec<_> = found["alarmed"].as_array().unwrap().iter().map(|one| one["host"].clone()).collect();
    assert_eq!(named, ["192.168.116.138", "192.168.116.149"]);
    assert_eq!(found["fragment"], "", "an attacker is offered no role");
}
