//! Facts about what is proposed from what was measured.

use std::time::Duration;

use super::{Alarmed, Change, Measured, Peak, Proposal, Service};
use crate::config::{self, Config};
use crate::evidence::{Grade, Score};
use crate::published::host_report::Class;
use crate::respond::Verdict;
use crate::time::Timestamp;
use crate::wire::Address;
use crate::wire::frame::Transport;

const DAY: Duration = Duration::from_hours(24);
/// What each window holds of an ordinary host: 10 s, 60 s, 10 min, 1 h, 8 h; any port 10 s, 60 s, 10 min.
const USUAL: [u32; 8] = [2, 3, 4, 5, 6, 20, 40, 80];

fn host(n: u32) -> Address {
    Address::v4((0x0a00_0000 + n).to_be_bytes())
}

fn tcp(port: u16) -> Service {
    Service { transport: Transport::Tcp, port }
}

/// So many hosts that do the usual.
fn site(hosts: u32) -> Measured {
    let peak = Peak::of(&USUAL, Score(1100), &[(tcp(445), 3)]);
    Measured { hosts: (1..=hosts).map(|n| (host(n), peak.clone())).collect(), covered: DAY, ..Measured::default() }
}

fn proposed(proposal: &Proposal, class: Class) -> Vec<u32> {
    proposal.windows.iter().filter(|line| line.class == class).map(|line| line.proposed).collect()
}

/// What `check` says about the fragment as a file of its own: errors, warnings.
fn checked(fragment: &str) -> (String, String) {
    match config::File::parse(fragment, "fragment.toml") {
        Ok(file) => (String::new(), file.warnings(Some(Timestamp::from_secs(1_700_000_000)), None).render(false)),
        Err(errors) => (errors.render(false), String::new()),
    }
}

fn alarmed(n: u32, grade: Grade) -> Alarmed {
    Alarmed {
        host: host(n),
        decision: Verdict::Contain,
        at: Timestamp::from_secs(1_700_000_000),
        grade,
        signal: None,
        destinations: 10,
        reason: "spreads like a worm: fanout.lateral".to_owned(),
    }
}

#[test]
fn a_quiet_site_is_given_thresholds_nearer_to_what_it_does_and_never_below_half() {
    let proposal = Proposal::new(site(50), &Config::default());
    assert_eq!(proposed(&proposal, Class::Lateral), [5, 8, 15, 30, 60]);
    assert_eq!(proposed(&proposal, Class::Any), [60, 150, 500]);
    assert!(proposal.windows.iter().all(|line| line.change == Change::Lower));
    assert_eq!(proposal.windows[0].observed, 2);
    assert_eq!(proposal.windows[0].host, Some(host(1)), "the first of equals");
    assert!(proposal.stand_out.is_empty() && proposal.alarmed.is_empty());
    let (errors, warnings) = checked(&proposal.fragment);
    assert_eq!(errors, "");
    assert!(!warnings.contains("detect"), "{warnings}");
    let (config, _) = config::parse(&proposal.fragment, "fragment.toml").unwrap();
    let again: Vec<u32> = config.detect.lateral_windows.iter().map(|window| window.limit).collect();
    assert_eq!(again, [5, 8, 15, 30, 60], "the fragment says what the table says");
}

#[test]
fn too_little_traffic_lowers_nothing() {
    let shipped = [10, 15, 30, 60, 120];
    for (hosts, covered) in [(50, Duration::from_hours(7)), (19, DAY)] {
        let proposal = Proposal::new(Measured { covered, ..site(hosts) }, &Config::default());
        assert_eq!(proposed(&proposal, Class::Lateral), shipped, "{hosts} hosts, {covered:?}");
        assert_eq!(proposal.fragment, "");
    }
    let proposal = Proposal::new(Measured { covered: Duration::from_mins(5), ..site(50) }, &Config::default());
    let change: Vec<Change> = proposal.windows[..5].iter().map(|line| line.change).collect();
    assert_eq!(change[..2], [Change::TooLittle; 2]);
    assert_eq!(change[2..], [Change::TooShort; 3]);
}

#[test]
fn what_many_hosts_need_raises_a_threshold_up_to_its_ceiling() {
    let mut measured = site(60);
    for n in 1..=20 {
        let peak = Peak::of(&[9, 14, 29, 59, 119, 20, 40, 80], Score(0), &[]);
        measured.hosts.insert(host(n), peak);
    }
    let proposal = Proposal::new(measured, &Config::default());
    assert_eq!(proposed(&proposal, Class::Lateral), [14, 21, 44, 89, 128]);
    assert_eq!(proposal.windows[0].change, Change::Raise);
    assert_eq!(proposal.windows[4].change, Change::Ceiling, "119 would need 179, and no window counts so far");
    assert!(proposal.stand_out.is_empty());
    assert_eq!(checked(&proposal.fragment).0, "");
}

#[test]
fn a_few_that_stand_out_are_given_roles_instead() {
    let mut measured = site(500);
    let printing = [(tcp(9100), 40), (tcp(445), 8), (Service { transport: Transport::Udp, port: 161 }, 2)];
    measured.hosts.insert(host(9), Peak::of(&[8, 12, 20, 40, 100, 30, 50, 90], Score(3000), &printing));
    measured.hosts.insert(host(10), Peak::of(&USUAL, Score(8000), &[(tcp(22), 6)]));
    let proposal = Proposal::new(measured, &Config::default());
    assert_eq!(proposed(&proposal, Class::Lateral), [5, 8, 15, 30, 60], "nobody else pays for it");
    let who: Vec<_> = proposal.stand_out.iter().map(|one| (one.host, one.kind)).collect();
    assert_eq!(who, [(host(9), "printing"), (host(10), "role")]);
    assert!(proposal.stand_out[0].why.contains("8 first contacts on lateral services within 10 s, threshold 10"));
    assert!(proposal.stand_out[1].why.contains("a score of 8.00"));

    let (config, _) = config::parse(&proposal.fragment, "fragment.toml").unwrap();
    let role = &config.detect.roles[0];
    assert_eq!(role.name, "printing-10.0.0.9");
    assert!(role.hosts.contains(host(9)) && !role.hosts.contains(host(10)));
    let services = role.services.as_ref().unwrap();
    assert!(services.has_tcp(9100) && services.has_tcp(445) && services.has_udp(161) && !services.has_tcp(161));
    let (errors, warnings) = checked(&proposal.fragment);
    assert_eq!(errors, "");
    for missing in ["role `printing-10.0.0.9` has no owner", "has no reason", "never ends"] {
        assert!(warnings.contains(missing), "{missing}: {warnings}");
    }
}

#[test]
fn a_role_covers_what_a_score_rests_on_and_no_more() {
    let mut measured = site(500);
    let smb = [(tcp(445), 4)];
    for (n, counts, score, remote_execution) in [(9, USUAL, 8000, false), (10, [8; 8], 0, true)] {
        let mut peak = Peak::of(&counts, Score(score), &smb);
        (peak.smb1, peak.remote_execution) = (true, remote_execution);
        measured.hosts.insert(host(n), peak);
    }
    let proposal = Proposal::new(measured, &Config::default());
    let roles = config::parse(&proposal.fragment, "fragment.toml").unwrap().0.detect.roles;
    let covered =
        |n| roles.iter().find(|role| role.hosts.contains(host(n))).map(|role| (role.smb1, role.remote_execution));
    assert_eq!(covered(9), Some((true, false)));
    assert_eq!(covered(10), Some((false, false)), "fan-out is no reason to overlook remote execution");
}

#[test]
fn whom_firedoor_would_have_acted_on_teaches_nothing_and_is_named() {
    let mut measured = site(50);
    for (n, grade) in [(1, Grade::Scan), (2, Grade::Exploit)] {
        measured.hosts.insert(host(n), Peak::of(&[100; 8], Score(9900), &[(tcp(445), 100)]));
        measured.alarmed.insert(host(n), alarmed(n, grade));
    }
    let proposal = Proposal::new(measured, &Config::default());
    assert_eq!((proposal.measured, proposal.ordinary), (50, 48));
    assert_eq!(proposal.windows[0].observed, 2);
    let named: Vec<_> = proposal.alarmed.iter().map(|one| (one.host, one.is_attack())).collect();
    assert_eq!(named, [(host(1), false), (host(2), true)]);
    // Pasted as it is, the fragment gives nobody a role; the one that may be a scanner is there to be uncovered.
    let (config, _) = config::parse(&proposal.fragment, "fragment.toml").unwrap();
    assert_eq!(config.detect.roles, []);
    assert!(proposal.fragment.contains("#name = \"role-10.0.0.1\""), "{}", proposal.fragment);
    assert!(!proposal.fragment.contains("10.0.0.2"), "an attacker is offered no role");
    let uncovered: Vec<&str> = proposal.fragment.lines().map(uncover).collect();
    let (config, _) = config::parse(&uncovered.join("\n"), "fragment.toml").unwrap();
    assert!(config.detect.roles[0].hosts.contains(host(1)));
}

#[test]
fn a_whole_outbreak_is_said_to_be_one_and_does_not_fill_the_fragment() {
    let mut measured = site(500);
    for n in 1..=100 {
        measured.alarmed.insert(host(n), alarmed(n, Grade::Scan));
    }
    let proposal = Proposal::new(measured, &Config::default());
    assert!(proposal.is_suspicious());
    assert_eq!(proposal.fragment.matches("#[[role]]").count(), 20);
    assert!(proposal.fragment.contains("# And 80 more"));
    assert_eq!(checked(&proposal.fragment).0, "");
    assert!(!Proposal::new(site(500), &Config::default()).is_suspicious());
}

/// Takes a line of a block out of the comment.
fn uncover(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
}

#[test]
fn who_is_exempt_is_no_measure_for_others() {
    let mut measured = site(50);
    measured.hosts.insert(host(7), Peak::of(&[100; 8], Score(9000), &[]));
    measured.exempt.insert(host(7));
    let proposal = Proposal::new(measured, &Config::default());
    assert_eq!(proposal.windows[0].observed, 2);
    assert!(proposal.stand_out.is_empty());
}

#[test]
fn all_but_one_in_a_thousand_is_the_nearest_rank() {
    let mut measured = site(2000);
    for n in 1..=2 {
        measured.hosts.insert(host(n), Peak::of(&[3, 3, 4, 5, 6, 20, 40, 80], Score(0), &[]));
    }
    let proposal = Proposal::new(measured, &Config::default());
    assert_eq!((proposal.windows[0].observed, proposal.windows[0].most_hosts), (3, 2));
}

#[test]
fn nothing_measured_changes_nothing() {
    let proposal = Proposal::new(Measured::default(), &Config::default());
    assert_eq!(proposal.fragment, "");
    assert!(proposal.windows.iter().all(|line| line.proposed == line.current && line.host.is_none()));
}
