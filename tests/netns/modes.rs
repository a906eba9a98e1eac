//! Monitor mode decides the same at the same moments, and drops nothing.

use firedoor::lab::report::Report;
use firedoor::lab::trial::{Outcome, Trial};
use firedoor::lab::worm::Kind;
use firedoor::respond::{Mode, Verdict};

use crate::scene;

/// The decisions up to the first containment: after it the two modes see different traffic.
fn decisions(outcome: &Outcome) -> Vec<(Verdict, String, u32, i32)> {
    let end = outcome.decisions.iter().position(|act| act.decision == Verdict::Contain).expect("a containment");
    outcome.decisions[..=end]
        .iter()
        .map(|act| (act.decision, act.host.to_string(), act.destinations, act.score.0))
        .collect()
}

#[test]
fn monitor_mode_decides_the_same_and_drops_nothing() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let enforcing = Trial::new(Kind::Wannacry, 11, 4.0);
    let monitoring = Trial { mode: Mode::Monitor, ..enforcing.clone() };
    let enforced = scene::protected(&enforcing);
    let monitored = scene::protected(&monitoring);
    // Scores decay with time, so they agree up to the jitter of two runs: 1 nat in 10 minutes.
    let (left, right) = (decisions(&enforced), decisions(&monitored));
    assert_eq!(left.len(), right.len(), "{left:?}\n{right:?}");
    for (one, other) in left.iter().zip(&right) {
        assert_eq!((one.0, &one.1, one.2), (other.0, &other.1, other.2));
        assert!((one.3 - other.3).abs() <= 2, "{one:?} {other:?}");
    }
    let report = Report::new(monitoring, monitored, None);
    assert!(report.kept, "{:#?}", report.promises);
    assert!(report.protected.decisions.iter().all(|act| !act.enforced), "monitor mode puts nothing into the kernel");
    assert!(enforced.decisions.iter().any(|act| act.enforced));
    let moment = |outcome: &Outcome| outcome.decided_after.unwrap();
    let apart = (moment(&enforced) - moment(&report.protected)).abs();
    assert!(apart < 0.3, "decided {apart:.3} s apart");
}
