//! Moments in which a contained host's packets could pass: changes of mode, of an interface's name, of the firewall.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Family, Segment, Shape};

use crate::dress::Dress;
use crate::rows::{self, Finding, row, unless};
use crate::site::{self, ATTACKER, Site};

/// How soon the door is shut again.
const SOON: Duration = Duration::from_secs(1);

/// While a host that was contained by an order sends 200 SYNs a second to one victim, `disturb` does something, and says when
/// the door has to be shut again a second later. Nothing passes from then on.
fn shut_again(site: &Site, disturb: impl FnOnce(&Site) -> Instant) -> Finding {
    let (host, own) = (site.ground.worm(), site.ground.office(Family::Ipv4, ATTACKER));
    let victim = site.ground.live(Family::Ipv4)[0];
    site.command(&["contain", &own.to_string(), "--reason", "drill"]);
    let stop = AtomicBool::new(false);
    let (mut late, mut during) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                host.knock((own, victim), 445, Dress::Plain);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        let since = disturb(site);
        std::thread::sleep((since + SOON + Duration::from_secs(2)).saturating_duration_since(Instant::now()));
        stop.store(true, Ordering::Relaxed);
        let wanted = |packet: &crate::tally::Packet| packet.source == own && packet.opens(445);
        during = site.tally.since(begun, wanted);
        late = site.tally.since(since + SOON, wanted);
    });
    eprintln!("{during} packets passed, {late} of them too late");
    unless(late == 0, || format!("{late} packets passed later than {SOON:?} after ({during} in all)"))
}

fn reload(site: &Site, mode: (&str, &str)) {
    let path = site.directory.path().join("firedoor.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(mode.0), "{text}");
    std::fs::write(&path, text.replace(mode.0, mode.1)).unwrap();
    site.command(&["reload"]);
}

#[test]
fn a_block_outlives_a_moment_of_monitoring() {
    rows::hold_alone(vec![row("monitor for 1.5 s", || {
        let site = Site::new(Shape::Routed, 25);
        shut_again(&site, |site| {
            reload(site, ("\"enforce\"", "\"monitor\""));
            std::thread::sleep(Duration::from_millis(1_500));
            reload(site, ("\"monitor\"", "\"enforce\""));
            Instant::now()
        })
    })]);
}

/// An interface gets another name under load: the door hangs on the same interface within a second.
#[test]
fn a_renamed_interface_is_shut_again() {
    rows::hold_alone(vec![row("office0 becomes other0", || {
        let site = Site::new(Shape::Routed, 26);
        shut_again(&site, |site| {
            let (gateway, old) = (&site.ground.gateway, Segment::Office.interface());
            for arguments in
                [format!("link set {old} down"), format!("link set {old} name other0"), "link set other0 up".to_owned()]
            {
                site::must(gateway, "ip", &arguments);
            }
            Instant::now()
        })
    })]);
}

/// Somebody deletes the table again and again. That cannot be helped; it is said loudly, and who does it.
#[test]
fn who_deletes_the_table_again_and_again_is_named() {
    rows::hold_alone(vec![row("a loop of nft delete", || {
        let site = Site::new(Shape::Routed, 27);
        let script = "while :; do nft delete table inet firedoor 2>/dev/null; done";
        let mut vandal = site.ground.gateway.command("sh").args(["-c", script]).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(4));
        let status = site.command(&["status"]);
        vandal.kill().unwrap();
        vandal.wait().unwrap();
        let named = status.lines().any(|line| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "nft"));
        unless(named, || format!("the status does not name nft:\n{status}"))
    })]);
}
