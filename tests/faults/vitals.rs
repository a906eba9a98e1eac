//! What a long or heavy run is judged by, all of it seen from outside the daemon.

use std::collections::HashMap;
use std::path::Path;

use firedoor::lab::plan::{Segment, WARD};
use firedoor::sys::namespace::Namespace;

use crate::site::Site;

/// A figure from the environment.
pub fn figure(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")),
        Err(_) => otherwise,
    }
}

/// A process as /proc shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vitals {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// CPU time in user and system mode, in hundredths of a second.
    pub ticks: u64,
}

impl Vitals {
    /// A process now; all zero if it is gone.
    pub fn of(pid: u32) -> Self {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let status = read("status");
        let line = |key: &str| -> u64 {
            let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            value.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        let stat = read("stat");
        // Behind the name in parentheses; utime and stime are fields 14 and 15 (proc(5)).
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Vitals { resident: line("VmRSS:") << 10, descriptors: descriptors as u64, threads: line("Threads:"), ticks }
    }
}

/// Bytes of a file; 0 if there is none.
pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Packets that found a processor's queue full, all of the machine's interfaces together (/proc/net/softnet_stat).
pub fn backlog_drops() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    text.lines().filter_map(dropped).sum()
}

/// Packets received and sent by each interface of a machine, by the kernel's own count.
fn counted(machine: &Namespace) -> HashMap<String, (u64, u64)> {
    let text = machine.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    let each = |line: &str| -> Option<(String, (u64, u64))> {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> = figures.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Some((name.trim().to_owned(), (*figures.get(1)?, *figures.get(9)?)))
    };
    text.lines().filter_map(each).collect()
}

/// What the gateway's wires have carried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Packets that came in from the office.
    pub office_in: u64,
    /// Packets that went out to the ward.
    pub ward_out: u64,
    /// Packets that came in, all interfaces together.
    pub all_in: u64,
    /// Packets that went out, all interfaces together.
    pub all_out: u64,
}

impl Traffic {
    /// So far.
    pub fn through(site: &Site) -> Self {
        let network = &site.scene.network;
        let counted = counted(&network.gateway);
        let of = |segment: Segment| counted.get(&segment.interface()).copied().unwrap_or_default();
        let all = network.plan.segments().map(of).fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        Traffic { office_in: of(Segment::Office).0, ward_out: of(WARD).1, all_in: all.0, all_out: all.1 }
    }

    /// What was carried since an earlier look.
    pub fn since(self, earlier: &Self) -> Self {
        Traffic {
            office_in: self.office_in - earlier.office_in,
            ward_out: self.ward_out - earlier.ward_out,
            all_in: self.all_in - earlier.all_in,
            all_out: self.all_out - earlier.all_out,
        }
    }
}
