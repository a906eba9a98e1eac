//! Facts about the history that need a process to kill or a disk to fill.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod store {
    mod disk;
    mod kill;

    use std::time::Duration;

    use firedoor::evidence::{Detail, Grade, Score, Signal};
    use firedoor::respond::{Decision, EvidenceRecord, Verdict};
    use firedoor::store::Limits;
    use firedoor::suspect::Suspect;
    use firedoor::time::Timestamp;
    use firedoor::wire::{Address, Link};

    const LIMITS: Limits = Limits { keep: Duration::from_hours(24 * 90), most: 1_000_000 };

    /// The n-th decision of a writer.
    fn decision(n: u32, verdict: Verdict) -> Decision {
        let at = Timestamp::from_secs(1_800_000_000 + u64::from(n));
        let [_, b, c, d] = n.to_be_bytes();
        let host = Address::v4([10, b, c, d]);
        let evidence = EvidenceRecord {
            signal: Signal::Dark,
            at,
            peer: Address::v4([10, 200, 0, 1]),
            port: 445,
            weight: Score(3300),
            detail: Detail::Refused.to_string(),
        };
        let suspect = Suspect::address(Link::default(), host);
        Decision {
            score: Score(9900),
            threshold: Score(9900),
            destinations: 3,
            grade: Some(Grade::Scan),
            until: Some(at + Duration::from_mins(10)),
            step: 1,
            enforced: true,
            evidence: vec![evidence; 3],
            ..Decision::without_alarm(at, suspect, host, verdict, "spreads like a worm: dark".into())
        }
    }

    /// This test program again, for one of its tests, with `variable` set to `value`: how a test gets a process to kill.
    fn again(test: &str, variable: &str, value: &std::path::Path) -> std::process::Command {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(variable, value);
        command
    }
}
