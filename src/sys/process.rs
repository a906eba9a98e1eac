//! What this process uses of the machine, as `/proc/self` has it.
//!
//! What cannot be read (a confined process may not see `/proc`) is left out.

use std::fs;

/// What `/proc/self` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time in user and system mode, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
}

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, 100 on every architecture Linux runs on that a gateway would have.
const TICKS: f64 = 100.0;

impl Usage {
    /// Reads it now.
    #[must_use]
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").ok().and_then(|files| u64::try_from(files.count()).ok());
        Usage { open_files, ..Usage::parse(&stat, &status) }
    }

    /// From the text of `stat` and `status` (proc(5)).
    fn parse(stat: &str, status: &str) -> Self {
        // The command's name, in parentheses, may hold anything; the numbers start behind the last parenthesis.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        let line = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key))?;
            value.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        Usage {
            cpu_seconds: ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: line("VmRSS:").map(|kilobytes| kilobytes.saturating_mul(1024)),
            threads: line("Threads:"),
            open_files: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_behind_a_name_with_parentheses() {
        let stat = "4711 (fire) door) S 1 4711 4711 0 -1 4194560 2053 0 0 0 250 50 0 0 20 0 4 0 1234 1 2 3";
        let usage = Usage::parse(stat, "Name:\tfiredoor\nVmRSS:\t    2048 kB\nThreads:\t4\n");
        assert_eq!(usage.cpu_seconds, Some(3.0));
        assert_eq!(usage.resident_bytes, Some(2 << 20));
        assert_eq!(usage.threads, Some(4));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(Usage::parse("", ""), Usage::default());
        assert_eq!(Usage::parse("1 (x) S", "VmRSS: many"), Usage::default());
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(usage.open_files.is_some_and(|files| files >= 3));
    }
}
