//! A capture played over a cable into the running daemon gives the decisions that its replay gives.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use firedoor::capture::{FileSource, Read, Source};
use firedoor::lab::gateway::{Daemon, Setup};
use firedoor::lab::plan::{Family, Plan, Segment, Shape};
use firedoor::respond::Decision;
use firedoor::respond::{Mode, Verdict};
use firedoor::sys::namespace::Namespace;
use firedoor::wire::frame::LinkKind;
use pnet::datalink::{self, Channel};

use crate::scene;

/// A frame and when it is sent, counted from the first.
type Film = Vec<(Duration, Vec<u8>)>;

/// One connection attempt of `client` to host `server` of the ward on port 445, and its answer if there is one.
fn attempt(film: &mut Film, at: Duration, client: u8, server: u8, answered: bool) {
    let (here, there) = ([2, 0, 0, 0, 0, client], [2, 0, 0, 0, 1, server]);
    let (from, to) = ([10, 66, 0, client], [10, 66, 3, server]);
    let port = 40_000 + u16::from(server);
    let out = || PacketBuilder::ethernet2(here, there).ipv4(from, to, 64).tcp(port, 445, 1000, 64_240);
    let back = || PacketBuilder::ethernet2(there, here).ipv4(to, from, 64).tcp(445, port, 5000, 64_240);
    let mut push = |after: u64, builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>| {
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        film.push((at + Duration::from_millis(after), frame));
    };
    push(0, out().syn());
    if answered {
        push(2, back().syn().ack(1001));
        push(4, out().ack(5001));
    }
}

/// A worm at 20/s of which every third contact is answered, one whose every contact is answered, and a nurse's
/// workstation with two servers.
fn invented() -> Film {
    let mut film = Film::new();
    for number in 0..60_u8 {
        let at = Duration::from_millis(1_000 + 50 * u64::from(number));
        attempt(&mut film, at, 66, 10 + number, number % 3 == 0);
    }
    for number in 0..14_u8 {
        attempt(&mut film, Duration::from_millis(1_013 + 230 * u64::from(number)), 77, 100 + number, true);
    }
    for number in 0..2_u8 {
        attempt(&mut film, Duration::from_millis(20 + 400 * u64::from(number)), 88, 200 + number, true);
    }
    film.sort_by_key(|(at, _)| *at);
    film
}

/// A capture's Ethernet frames, with time running `faster`.
fn captured(path: &Path, faster: u32) -> Film {
    let mut source = FileSource::open(path).unwrap();
    let mut film = Film::new();
    let mut first = None;
    loop {
        let read = source.read(Duration::ZERO, &mut |meta, link, bytes| {
            assert_eq!(link, LinkKind::Ethernet);
            let began = *first.get_or_insert(meta.at);
            film.push((meta.at.since(began) / faster, bytes.to_vec()));
        });
        if matches!(read.unwrap(), Read::End) {
            return film;
        }
    }
}

/// Writes a film as a capture of nanoseconds (pcap, little-endian, Ethernet).
fn write(film: &Film, path: &Path) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (at, frame) in film {
        let length = u32::try_from(frame.len()).unwrap();
        // Any day will do; the core knows only differences.
        let second = 1_800_000_000 + u32::try_from(at.as_secs()).unwrap();
        for word in [second, at.subsec_nanos(), length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Sends the film at its own pace out of `eth0`.
fn play(film: &Film) {
    let interface = datalink::interfaces().into_iter().find(|each| each.name == "eth0").unwrap();
    let Channel::Ethernet(mut sender, _) = datalink::channel(&interface, datalink::Config::default()).unwrap() else {
        panic!("eth0 is no Ethernet interface");
    };
    let began = Instant::now();
    for (at, frame) in film {
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        sender.send_to(frame, None).unwrap().unwrap();
    }
}

fn replayed(config: &Path, file: &Path) -> Vec<Decision> {
    let output = Command::new(scene::program())
        .arg("--json")
        .arg("--config")
        .arg(config)
        .arg("replay")
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("{\"summary\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What must agree: all but the times, which differ by nature, and the score's last digits, which decay with them.
fn essence(act: &Decision) -> (String, Verdict, u32, Vec<String>) {
    let evidence = act.evidence.iter().map(|each| format!("{} {} {}", each.signal, each.peer, each.port)).collect();
    (act.host.to_string(), act.decision, act.destinations, evidence)
}

/// Plays a film live and replays it, and gives the decisions, which agree.
fn both(film: &Film) -> Vec<Decision> {
    let [player, gateway] = ["player", "gateway"].map(|name| Namespace::new(name).unwrap());
    let port = Segment::Office.interface();
    player.veth("eth0", &gateway, &port).unwrap();
    for (machine, name) in [(&player, "eth0"), (&gateway, port.as_str())] {
        // Nobody speaks here but the film.
        machine.set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        machine.link(|links| links.set_mtu(name, 65_535)).unwrap();
        machine.link(|links| links.up(name)).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(Mode::Monitor, &Plan::new(Family::Ipv4, Shape::Routed, 30, 1))
        .with("gateway", "interfaces", vec![port])
        // Else what is dark would hang on how long the daemon had been up when the film began.
        .with("detect", "dark_learning", "0s")
        .with("fuse", "enabled", false);
    let daemon = Daemon::start_on(&gateway, scene::program(), directory.path(), &setup).unwrap();
    player.run(|| play(film)).unwrap();
    // The last attempts' answers are waited for.
    std::thread::sleep(Duration::from_millis(1_500));
    let live = daemon.decisions().unwrap();
    let file = directory.path().join("film.pcap");
    write(film, &file);
    let replay = replayed(&daemon.config(), &file);
    daemon.stop().unwrap();

    let (left, right): (Vec<_>, Vec<_>) = (live.iter().map(essence).collect(), replay.iter().map(essence).collect());
    assert_eq!(left, right, "live on the left, replay on the right");
    for (one, other) in live.iter().zip(&replay) {
        assert!((one.score.0 - other.score.0).abs() <= 5, "{one:?}\n{other:?}");
    }
    live
}

#[test]
fn live_decisions_are_those_of_the_replay() {
    if !scene::able() {
        return;
    }
    let _turn = scene::turn();
    let decisions = both(&invented());
    for host in ["10.66.0.66", "10.66.0.77"] {
        assert!(
            decisions.iter().any(|act| act.host.to_string() == host && act.decision == Verdict::Contain),
            "{host}: {decisions:#?}"
        );
    }
    assert!(!decisions.iter().any(|act| act.host.to_string() == "10.66.0.88"), "{decisions:#?}");
}

#[test]
fn so_are_those_on_real_captures() {
    let Some(folder) = std::env::var_os("FIREDOOR_CAPTURES") else {
        eprintln!("SKIPPED: FIREDOOR_CAPTURES names no folder of captures");
        return;
    };
    if !scene::able() {
        return;
    }
    for (name, faster) in [("worm/wannacry.pcap", 20), ("lateral/purplesharp_ad_playbook_I_2020-10-22042947.cap", 1)] {
        let _turn = scene::turn();
        let decisions = both(&captured(&Path::new(&folder).join(name), faster));
        eprintln!("{name}: {} decisions, live as in replay", decisions.len());
    }
}
