//! Many connections that ask nothing, and an engineer who wants something done.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use firedoor::lab::plan::{Family, Shape};

use crate::rows::{self, Finding, row, unless};
use crate::site::{ATTACKER, Site};

/// Names the socket for [`holder`].
const SOCKET: &str = "FIREDOOR_EVASION_SOCKET";

/// How many connections are held.
const ADMIN: usize = 300;
const METRICS: usize = 200;

/// Opens connections to the admin socket that send half a request.
fn hold_admin(socket: &std::path::Path) -> Vec<UnixStream> {
    let half = |_| {
        let mut stream = UnixStream::connect(socket).ok()?;
        // It may be refused, which is an answer.
        let _ = stream.write_all(b"GET /v1/st");
        Some(stream)
    };
    // A full queue would block a connection for good: each has a thread's worth of patience only.
    (0..ADMIN).map_while(half).collect()
}

/// The process in which another user holds connections; started by the test below only.
#[test]
#[ignore = "a helper process of another test"]
fn holder() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let held = hold_admin(&PathBuf::from(socket));
    println!("held {}", held.len());
    std::thread::sleep(Duration::from_secs(60));
}

/// An order is carried out within a second.
fn answered(site: &Site, what: &str) -> Finding {
    let own = site.ground.office(Family::Ipv4, ATTACKER).to_string();
    let begun = Instant::now();
    let output = site.firedoor(&["contain", &own, "--reason", "drill"]);
    let took = begun.elapsed();
    eprintln!("{what}: an order took {took:?}");
    // Half a second is the start of a debug executable on a busy machine.
    unless(output.status.success() && took < Duration::from_millis(1_500), || {
        format!("{what}: the order took {took:?}, {}", String::from_utf8_lossy(&output.stderr))
    })
}

#[test]
fn an_order_is_answered_whatever_others_hold_open() {
    rows::hold_alone(vec![
        row("300 of the engineer's own user", || {
            let site = Site::new(Shape::Routed, 28);
            let socket = site.daemon().socket();
            let holding = std::thread::spawn(move || hold_admin(&socket));
            std::thread::sleep(Duration::from_millis(1_500));
            let finding = answered(&site, "admin socket, the same user");
            drop(site);
            drop(holding.join());
            finding
        }),
        row("300 of a reader", || {
            let site = Site::new(Shape::Routed, 29);
            let open = |path: &std::path::Path, mode| {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            };
            let copy = site.directory.path().join("holder");
            std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
            open(&copy, 0o755);
            open(site.directory.path(), 0o755);
            // As an access-control entry for a reader would have it.
            open(&site.daemon().socket(), 0o666);
            let mut holding = site
                .ground
                .gateway
                .command("setpriv")
                .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                .arg(&copy)
                .args(["--exact", "sockets::holder", "--ignored", "--nocapture"])
                .env(SOCKET, site.daemon().socket())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(1_500));
            let finding = answered(&site, "admin socket, another user");
            holding.kill().unwrap();
            holding.wait().unwrap();
            finding
        }),
        row("200 to the metrics", || {
            let site = Site::new(Shape::Routed, 30);
            let connect = || {
                let half = |_| {
                    let address = "127.0.0.1:9477".parse().unwrap();
                    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
                    let _ = stream.write_all(b"GET /met");
                    Some(stream)
                };
                (0..METRICS).filter_map(half).collect::<Vec<_>>()
            };
            let _held = site.ground.gateway.run(connect).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            answered(&site, "metrics")
        }),
    ]);
}
