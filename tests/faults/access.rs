//! The admin socket: who may read, who may act, and what a bad client can do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use firedoor::respond::By;
use firedoor::respond::Verdict;

use crate::prober::Bystanders;
use crate::site::{self, Site};

/// Root's group has a name on every system; its members stand for the group `firedoor`.
const GROUP: &str = "daemon";
const GROUP_ID: &str = "1";
const NOBODY: &str = "65534";

/// A program run as a user of this primary group.
fn nobodys(site: &Site, group: &str, program: &Path) -> Command {
    let mut command = site.scene.network.gateway.command("setpriv");
    command.args(["--reuid", NOBODY, "--regid", group, "--clear-groups"]).arg(program);
    command
}

/// Runs `firedoor` as a user of this primary group.
fn as_nobody(site: &Site, group: &str, arguments: &[&str]) -> Output {
    nobodys(site, group, &site.directory.path().join("firedoor"))
        .arg("--socket")
        .arg(site.directory.path().join("firedoor.sock"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn readers_read_members_act_and_every_act_is_recorded_with_who() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(91, 1, |setup| setup.with("observe", "group", GROUP));
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // The program too, since its own path may be closed to others.
    std::fs::copy(site::program(), site.directory.path().join("firedoor")).unwrap();
    open(site.directory.path(), 0o755);
    let host = site.infected(0).to_string();
    let contain = ["contain", &host, "--reason", "drill"];

    let mode = std::fs::metadata(site.daemon().socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let refused = as_nobody(&site, NOBODY, &["status"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("may not open"), "{said}");

    // As an access-control entry for a reader would have it.
    open(&site.daemon().socket(), 0o666);
    assert!(as_nobody(&site, NOBODY, &["status"]).status.success(), "whoever can open the socket may read");
    for act in [&contain[..], &["reload"], &["rearm"], &["never-contain", "add", "10.0.0.0/8", "--reason", "mine"]] {
        let refused = as_nobody(&site, NOBODY, act);
        assert!(!refused.status.success(), "{act:?}");
    }
    assert!(site.in_kernel().is_empty());

    let done = as_nobody(&site, GROUP_ID, &contain);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(site.in_kernel().contains(&site.infected(0)));
    assert_eq!(site.metric("firedoor_orders_total", "order=\"contain\",result=\"done\""), 1, "one order counts once");
    // What an engineer orders is no outbreak: the alert asks for the other cause.
    for (name, labels, wanted) in [
        ("firedoor_contained_hosts", "cause=\"order\",enforced=\"true\"", 1),
        ("firedoor_contained_hosts", "cause=\"alarm\"", 0),
        ("firedoor_contained_hosts", "enforced=\"false\"", 0),
        ("firedoor_decisions_total", "cause=\"order\",decision=\"contain\"", 1),
        ("firedoor_decisions_total", "cause=\"alarm\",decision=\"contain\"", 0),
    ] {
        assert_eq!(site.metric(name, labels), wanted, "{name} {labels}");
    }
    let act = site.decisions(site.infected(0), Verdict::Contain).remove(0);
    assert!(matches!(&act.by, By::Operator(name) if name == "nobody" || name.contains(NOBODY)), "{:?}", act.by);
    site::until("the order is in the history", || site.status().store.waiting == 0);
    let store = firedoor::store::Store::open_to_read(&site.directory.path().join("history.db")).unwrap();
    let orders = store.orders(10).unwrap();
    let order = orders.iter().find(|order| order.what == "contain" && order.done).expect("it is recorded");
    assert_eq!(order.target.as_deref(), Some(host.as_str()));
    assert!(order.operator == "nobody" || order.operator.contains(NOBODY), "{order:?}");
}

#[test]
fn a_slow_or_oversized_client_holds_up_nobody() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(92, 1, |setup| setup);
    let bystanders = Bystanders::start(&site);
    let socket = site.daemon().socket();

    let huge = format!("{{\"target\":\"10.0.0.1\",\"reason\":\"{}\"}}", "x".repeat(1 << 20));
    if let Some((status, _)) = site::post(&socket, "/v1/contain", &huge) {
        assert_eq!(status, 413);
    }
    let mut endless = UnixStream::connect(&socket).unwrap();
    endless.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let filler = vec![b'a'; 1 << 16];
    let mut written = 0;
    let _ = endless.write_all(b"GET /v1/status HTTP/1.1\r\nX: ");
    while written < 64 << 20 {
        match endless.write(&filler) {
            Ok(count) if count > 0 => written += count,
            _ => break,
        }
    }
    assert!(written < 4 << 20, "a head of {written} bytes was read");

    // Heads that never end, on fewer connections than there may be: others are served meanwhile.
    let begun = Instant::now();
    let mut slow: Vec<UnixStream> = (0..30).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /v1/status HTTP/1.1\r\n").unwrap();
    }
    let asked = Instant::now();
    site.status();
    site.contain(site.infected(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "an order took {:?} beside slow clients", asked.elapsed());
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let held = begun.elapsed();
    assert!(held < Duration::from_secs(15), "slow clients were kept for {held:?}");
    assert!(site.in_kernel().contains(&site.infected(0)));
    bystanders.undisturbed();
    eprintln!("slow clients were cut off after {held:?}; an endless head after {written} bytes");
}

const HELD: usize = 300;
/// Where [`holding`] finds the socket.
const SOCKET: &str = "FIREDOOR_TEST_SOCKET";

/// Not a test by itself: the process of another user, which holds connections that never end their request, and opens
/// new ones for those that are closed, until it is ended.
#[test]
#[ignore = "run by the test below as another user"]
fn holding() {
    let Ok(socket) = std::env::var(SOCKET) else { return };
    let mut held = std::collections::VecDeque::new();
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket) {
            let _ = stream.write_all(b"GET /v1/st");
            held.push_back(stream);
        }
        if held.len() == HELD {
            println!("held");
        }
        if held.len() > HELD {
            held.pop_front();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn three_hundred_half_open_requests_of_a_reader_delay_no_order() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(93, 4, |setup| setup.with("observe", "group", GROUP));
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(site.directory.path(), 0o755);
    open(&site.daemon().socket(), 0o666);
    let program = site.directory.path().join("holder");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::copy(site::program(), site.directory.path().join("firedoor")).unwrap();
    let mut holder = nobodys(&site, NOBODY, &program)
        .args(["--ignored", "--exact", "--nocapture", "access::holding"])
        .env(SOCKET, site.daemon().socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("held") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0, "the holder has ended");
    }
    let mut slowest = Duration::ZERO;
    for number in 0..4 {
        let host = site.infected(number).to_string();
        let asked = Instant::now();
        let done = if number % 2 == 0 {
            site.firedoor(&["contain", &host, "--reason", "drill"])
        } else {
            as_nobody(&site, GROUP_ID, &["contain", &host, "--reason", "drill"])
        };
        slowest = slowest.max(asked.elapsed());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(site.in_kernel().contains(&site.infected(number)));
    }
    let asked = Instant::now();
    site.status();
    slowest = slowest.max(asked.elapsed());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(slowest < Duration::from_secs(1), "an order took {slowest:?}");
    eprintln!("the slowest of four orders and a look took {slowest:?} beside {HELD} half-open requests");
}

#[test]
fn half_open_requests_never_keep_prometheus_out() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(94, 1, |setup| setup);
    let held: Vec<TcpStream> = site
        .scene
        .network
        .gateway
        .run(|| {
            let connect = |_| {
                let mut stream = TcpStream::connect("127.0.0.1:9477").unwrap();
                let _ = stream.write_all(b"GET /metr");
                stream
            };
            (0..HELD).map(connect).collect()
        })
        .unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(site.metric("firedoor_build_info", ""), 1);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a scrape took {slowest:?}");
    assert_eq!(held.len(), HELD);
    eprintln!("the slowest of five scrapes took {slowest:?} beside {HELD} half-open requests");
}
