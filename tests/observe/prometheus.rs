//! A real Prometheus that scrapes real metrics: the dashboard has data, and the outbreak alert fires.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use firedoor::sys::namespace::Namespace;
use serde_json::Value;

use super::dashboard::expressions;
use super::rules::shipped;
use super::stand_in::StandIn;

/// A Prometheus of the test's own, on loopback of this namespace or another; ends with it.
pub struct Prometheus<'a> {
    child: Child,
    address: SocketAddr,
    inside: Option<&'a Namespace>,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Prometheus<'a> {
    /// Scrapes `target` each second and evaluates the shipped rules. `None` where Prometheus is not installed.
    pub fn start(target: SocketAddr, inside: Option<&'a Namespace>) -> Option<Prometheus<'a>> {
        let directory = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(shipped("scrape.yml")).unwrap();
        let config = config
            .replace("15s", "1s")
            .replace("127.0.0.1:9477", &target.to_string())
            .replace("firedoor.rules.yml", shipped("firedoor.rules.yml").to_str().unwrap());
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // A port that was free a moment ago; whoever takes it meanwhile makes the start fail, loudly.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = inside.map_or_else(free, |inside| inside.run(free).unwrap());
        let mut command = inside.map_or_else(|| Command::new("prometheus"), |inside| inside.command("prometheus"));
        let child = command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Prometheus { child, address, inside, _directory: directory }),
            Err(error) => {
                eprintln!("SKIPPED: prometheus cannot run ({error}): install Debian's prometheus package");
                None
            }
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let text = match self.inside {
            None => fetch(self.address, path),
            Some(inside) => inside.run(|| fetch(self.address, path)).unwrap(),
        }?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// The one figure an expression evaluates to.
    pub fn figure(&self, expr: &str) -> f64 {
        let found = self.query(expr);
        let [sample] = &found[..] else { panic!("{expr}: {found:?}") };
        sample["value"][1].as_str().unwrap().parse().unwrap()
    }

    /// What an expression evaluates to now.
    pub fn query(&self, expr: &str) -> Vec<Value> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in expr.bytes() {
            write!(path, "%{byte:02X}").unwrap();
        }
        let answer = self.get(&path).unwrap_or_default();
        assert_ne!(answer["status"], "error", "{expr}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until an expression has a result.
    pub fn wait_for(&self, expr: &str, patience: Duration) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let found = self.query(expr);
            if !found.is_empty() {
                return found;
            }
            assert!(start.elapsed() < patience, "no data for {expr} within {patience:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// One GET, as HTTP/1.0: head and body.
fn fetch(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn every_panel_has_data_and_the_outbreak_alert_fires() {
    let daemon = StandIn::start();
    let Some(prometheus) = Prometheus::start(daemon.metrics, None) else { return };
    let patience = Duration::from_secs(30);
    prometheus.wait_for("up{job=\"firedoor\"} == 1", patience);
    // Decisions after the first scrape, so that increase() has something to see.
    super::stand_in::outbreak(&daemon.published);
    prometheus.wait_for("ALERTS{alertname=\"FiredoorOutbreak\",alertstate=\"firing\"}", patience);
    prometheus.wait_for("ALERTS{alertname=\"FiredoorBreakerTripped\",alertstate=\"firing\"}", patience);
    for (title, expr) in expressions() {
        let found = prometheus.wait_for(&expr, patience);
        assert!(found.iter().all(|sample| sample["metric"].is_object()), "{title}");
    }
}

#[test]
fn only_metrics_and_health_are_served_and_only_to_readers() {
    let daemon = StandIn::start();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(daemon.metrics).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"));
    assert!(ask("GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
    let head = ask("HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.0 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(ask("GET /v1/status HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 404"));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = ask(&format!("{method} /metrics HTTP/1.0\r\ncontent-length: 0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.0 405"), "{method}: {answer}");
    }
}

#[test]
fn idle_clients_do_not_keep_prometheus_out_for_longer_than_their_time() {
    let daemon = StandIn::start();
    let idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(daemon.metrics).unwrap()).collect();
    let start = Instant::now();
    let answer = (0..4).find_map(|_| fetch(daemon.metrics, "/metrics"));
    assert!(answer.is_some_and(|text| text.starts_with("HTTP/1.0 200")));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(idle);
}
