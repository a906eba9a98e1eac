//! Facts about the history that need a process to kill or a disk to fill.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod store {
    mod disk;
    mod kill;

    use std::time::Duration;

    use firedoor::evidence::{Attachment, Detail, Evidence, Grade, Score, Signal};
    use firedoor::respond::{By, Decision, Verdict};
    use firedoor::store::Limits;
    use firedoor::time::Timestamp;
    use firedoor::wire::Address;

    const LIMITS: Limits = Limits { keep: Duration::from_hours(24 * 90), most: 1_000_000 };

    /// The n-th decision of a writer.
    fn decision(n: u32, verdict: Verdict) -> Decision {
        let at = Timestamp::from_secs(1_800_000_000 + u64::from(n));
        let [_, b, c, d] = n.to_be_bytes();
        let evidence = Evidence {
            signal: Signal::Dark,
            at,
            peer: Address::v4([10, 200, 0, 1]),
            port: 445,
            weight: Score(3300),
            detail: Detail::Refused,
        };
        Decision {
            at,
            host: Address::v4([10, b, c, d]),
            decision: verdict,
            score: Score(9900),
            threshold: Score(9900),
            destinations: 3,
            grade: Some(Grade::Scan),
            until: Some(at + Duration::from_mins(10)),
            step: 1,
            enforced: true,
            reason: "spreads like a worm: dark".into(),
            by: By::Firedoor,
            attachment: Attachment::default(),
            suspect: firedoor::suspect::Suspect::address(firedoor::wire::Link::default(), Address::v4([10, b, c, d])),
            link: String::new(),
            card: None,
            addresses: Vec::new(),
            ports: Vec::new(),
            unpardons: Vec::new(),
            evidence: vec![evidence; 3],
        }
    }

    /// This test program again, for one of its tests, with `variable` set to `value`: how a test gets a process to kill.
    fn again(test: &str, variable: &str, value: &std::path::Path) -> std::process::Command {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(variable, value);
        command
    }
}
