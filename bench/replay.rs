//! What reading a capture through the whole core costs, against `tcpdump -r FILE -w /dev/null` on the same file.
//!
//! The capture is made here: SYNs to port 445 from 10,000 sources to random destinations, microseconds apart, the worst
//! there is for tables and decisions alike. `cargo bench --bench replay` runs the two programs by turns and prints, for
//! each pair, the CPU time a packet of both and the difference, then the median, and the most memory `firedoor` held.
//! Only differences and ratios of one run mean anything. `-- --test` is one pair over a small capture; `-- --pairs N`
//! and `-- --packets N` change the rest; `-- --write FILE` only writes the capture.
//!
//! CPU time and memory are the kernel's own counts (`/proc/PID/stat`, in ticks of 10 ms; `VmHWM` of `/proc/PID/status`,
//! looked at every few milliseconds).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use etherparse::PacketBuilder;
use firedoor::lab::random::Random;

/// What the issue of cost is measured on.
const PACKETS: u32 = 2_000_000;
const PAIRS: u32 = 12;
const SOURCES: u64 = 10_000;
/// Clock ticks a second, as `/proc` counts them on every Linux (`USER_HZ`).
const TICKS: u32 = 100;

/// A classic pcap file of Ethernet frames, times in microseconds.
fn write(path: &Path, packets: u32) -> std::io::Result<()> {
    let mut random = Random::new(1);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    // Magic, version 2.4, zone, accuracy, snap length, Ethernet.
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
    for word in header {
        file.write_all(&word.to_le_bytes())?;
    }
    let mut micros = 1_700_000_000_000_000_u64;
    let mut frame = Vec::with_capacity(60);
    for number in 0..packets {
        micros += 1 + random.below(59);
        let source = 0x0a00_0100 + u32::try_from(random.below(SOURCES)).unwrap();
        let destination = 0x0a80_0000 + u32::try_from(random.below(1 << 23)).unwrap();
        frame.clear();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(source.to_be_bytes(), destination.to_be_bytes(), 64)
            .tcp(40_000 + (number % 20_000) as u16, 445, number, 65_535)
            .syn()
            .write(&mut frame, &[])
            .expect("a frame into a vector");
        frame.resize(60, 0);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let record = [u32::try_from(seconds).unwrap(), u32::try_from(fraction).unwrap(), 60, 60];
        for word in record {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    file.flush()
}

/// What a program used: CPU time, and the most memory at once in KiB.
struct Used {
    cpu: Duration,
    memory: u64,
}

/// Runs a program to its end, its output thrown away.
fn run(mut command: Command) -> Used {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    let mut memory = 0;
    let cpu = loop {
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        memory = memory.max(most.map_or(0, |text| text.trim().trim_end_matches(" kB").parse().unwrap()));
        // Behind the name in parentheses: the state, and as the 12th and 13th field the ticks in user and in kernel mode.
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        if fields[0] == "Z" {
            let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
            break Duration::from_secs(1) * ticks / TICKS;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(child.wait().unwrap().success(), "{command:?} failed");
    Used { cpu, memory }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        Some(words.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone())
    };
    let test = words.iter().any(|word| word == "--test");
    let number = |name, usual| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let packets: u32 = number("--packets", if test { 20_000 } else { PACKETS });
    let pairs: u32 = number("--pairs", if test { 1 } else { PAIRS }).max(1);
    if let Some(path) = value("--write") {
        write(Path::new(&path), packets).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("syn.pcap");
    write(&capture, packets).unwrap();
    let per_packet = |used: &Used| used.cpu.as_secs_f64() * 1e9 / f64::from(packets);
    let (mut differences, mut memory) = (Vec::new(), 0);
    println!("{packets} SYNs from {SOURCES} sources, CPU time in ns a packet");
    println!("{:>8} {:>9} {:>10}", "tcpdump", "firedoor", "difference");
    for _ in 0..pairs {
        let mut tcpdump = Command::new("tcpdump");
        tcpdump.arg("-r").arg(&capture).args(["-w", "/dev/null"]);
        let rival = run(tcpdump);
        let mut firedoor = Command::new(env!("CARGO_BIN_EXE_firedoor"));
        firedoor.args(["replay", "--json"]).arg(&capture);
        let ours = run(firedoor);
        let difference = per_packet(&ours) - per_packet(&rival);
        println!("{:>8.0} {:>9.0} {difference:>10.0}", per_packet(&rival), per_packet(&ours));
        differences.push(difference);
        memory = memory.max(ours.memory);
    }
    differences.sort_by(f64::total_cmp);
    println!(
        "median difference {:.0} ns a packet (least {:.0}, most {:.0}); firedoor held {} MB at most",
        differences[differences.len() / 2],
        differences[0],
        differences[differences.len() - 1],
        memory * 1024 / 1_000_000
    );
}
