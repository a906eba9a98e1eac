//! The real daemon on the lab's gateway: `firedoor run` with a generated configuration, in a process of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use toml::{Table, Value};

use crate::lab::network::Network;
use crate::lab::plan::{Plan, Segment};
use crate::lab::{Error, Result};
use crate::respond::{Decision, Mode};
use crate::sys::namespace::{self, Namespace};

/// How long the daemon may take to start.
const START: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(5);

/// How the daemon is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    table: Table,
    environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// The lab's configuration: the defaults, but for places, for what a minute-old network cannot know yet, and for
    /// the breaker, which protects a hospital and would stop an experiment.
    #[must_use]
    pub fn new(mode: Mode, plan: &Plan) -> Self {
        let interfaces: Vec<String> = plan.segments().map(Segment::interface).collect();
        let setup = Setup { table: Table::new(), environment: Vec::new() };
        setup
            .with("gateway", "mode", mode.to_string())
            .with("gateway", "interfaces", interfaces)
            .with("detect", "dark_learning", "2s")
            .with("detect", "start_up_grace", "0s")
            .with("breaker", "most_at_once", 10_000)
            .with("breaker", "most_percent_of_zone", 100)
            .with("breaker", "most_a_minute", 10_000)
            .with("observe", "metrics", "127.0.0.1:9477")
            .with("privileges", "user", "root")
    }

    /// Sets one key of one section (`detect`, `detect.weights`, …).
    #[must_use]
    pub fn with(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        let mut table = &mut self.table;
        for part in section.split('.') {
            let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            let Value::Table(inner) = entry else { return self };
            table = inner;
        }
        table.insert(key.to_owned(), value.into());
        self
    }

    /// Gives the daemon's process a variable of the environment.
    #[must_use]
    pub fn in_environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        let places = self
            .clone()
            .with("observe", "socket", directory.join("firedoor.sock").display().to_string())
            .with("observe", "history", directory.join("history.db").display().to_string());
        let path = directory.join("firedoor.toml");
        std::fs::write(&path, toml::to_string(&places.table).map_err(io::Error::other)?)?;
        Ok(path)
    }
}

/// The running daemon; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Child,
    directory: PathBuf,
}

impl Daemon {
    /// Starts `program run` on the network's gateway: [`Daemon::start_on`].
    pub fn start(program: &Path, network: &Network, directory: &Path, setup: &Setup) -> Result<Self> {
        Self::start_on(&network.gateway, program, directory, setup)
    }

    /// Starts `program run` on this machine and waits until it says that it is ready.
    ///
    /// `directory` exists, and takes its configuration, socket, history and log. Start it from a thread that outlives
    /// it: see [`Namespace::command`].
    pub fn start_on(gateway: &Namespace, program: &Path, directory: &Path, setup: &Setup) -> Result<Self> {
        let failed = |source| Error::Io { what: "start the daemon on the lab's gateway".to_owned(), source };
        let config = setup.write(directory).map_err(failed)?;
        let ready_at = directory.join("notify.sock");
        // A daemon that was killed here before may have left its own.
        let _ = std::fs::remove_file(&ready_at);
        let ready = UnixDatagram::bind(&ready_at).map_err(failed)?;
        ready.set_read_timeout(Some(Duration::from_millis(50))).map_err(failed)?;
        let log = File::options().create(true).append(true).open(directory.join("log")).map_err(failed)?;
        let process = gateway
            .command(program)
            .arg("--config")
            .arg(&config)
            .arg("run")
            .envs(setup.environment.iter().cloned())
            .env("NOTIFY_SOCKET", &ready_at)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut daemon = Daemon { process, directory: directory.to_owned() };
        daemon.await_ready(&ready).map_err(|source| Error::Daemon { source, log: daemon.log_tail() })?;
        Ok(daemon)
    }

    fn await_ready(&mut self, ready: &UnixDatagram) -> io::Result<()> {
        let deadline = Instant::now() + START;
        let mut message = [0; 4096];
        loop {
            if let Ok(length) = ready.recv(&mut message) {
                let said = message.get(..length).unwrap_or_default();
                if said.split(|&byte| byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok(());
                }
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status} before it was ready")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("it was not ready within {} s", START.as_secs())));
            }
        }
    }

    /// Its decisions so far, oldest first.
    pub fn decisions(&self) -> Result<Vec<Decision>> {
        let mut decisions: Vec<Decision> = self.ask("/v1/decisions")?;
        decisions.sort_by_key(|decision| decision.at);
        Ok(decisions)
    }

    /// Gets what its admin API has at `path`.
    pub fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.get(path)
            .map_err(|source| Error::Io { what: format!("ask the daemon on the lab's gateway for {path}"), source })
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> io::Result<T> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(STOP))?;
        // HTTP/1.0, so that the answer ends where the connection does.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: firedoor\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            return Err(io::Error::other(format!("{status}: {body}")));
        }
        serde_json::from_str(body).map_err(io::Error::other)
    }

    /// The admin API's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("firedoor.sock")
    }

    /// The configuration file it runs with.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("firedoor.toml")
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Fails if it no longer runs.
    pub fn check_running(&mut self) -> Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let source = io::Error::other(format!("it ended by itself with {status}"));
                Err(Error::Daemon { source, log: self.log_tail() })
            }
            Err(source) => Err(Error::Daemon { source, log: self.log_tail() }),
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Ends it the polite way, and says whether it went within 5 s and well.
    pub fn stop(mut self) -> Result<()> {
        let failed = |source| Error::Io { what: "stop the daemon on the lab's gateway".to_owned(), source };
        namespace::terminate(&self.process).map_err(failed)?;
        let deadline = Instant::now() + STOP;
        loop {
            match self.process.try_wait().map_err(failed)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let source = io::Error::other(format!("it ended with {status}"));
                    return Err(Error::Daemon { source, log: self.log_tail() });
                }
                None if Instant::now() > deadline => {
                    let source = io::Error::other(format!("it still ran after {} s", STOP.as_secs()));
                    return Err(Error::Daemon { source, log: self.log_tail() });
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Family, Shape};

    #[test]
    fn a_setup_sets_keys_of_nested_sections() {
        let plan = Plan::new(Family::Ipv4, Shape::Routed, 30, 1);
        let setup =
            Setup::new(Mode::Enforce, &plan).with("detect.weights", "dark", 3.3).with("detect", "dark_learning", "1s");
        let detect = setup.table["detect"].as_table().unwrap();
        assert_eq!(detect["dark_learning"].as_str(), Some("1s"));
        assert_eq!(detect["weights"]["dark"].as_float(), Some(3.3));
        assert_eq!(setup.table["gateway"]["mode"].as_str(), Some("enforce"));
    }
}
