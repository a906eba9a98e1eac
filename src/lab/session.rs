//! Clinical work that must continue: long-lived sessions of small requests and answers, and how long they stalled.
//!
//! The protocols are shapes only: an SSH banner and keystrokes, HTTP requests on one connection, SQL-like queries with
//! larger answers. What is measured is the time from a request to its whole answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::Result;
use crate::lab::activity::Activity;
use crate::lab::listener;
use crate::lab::plan::Family;
use crate::sys::namespace::Namespace;

/// A session that stalls for longer was disturbed: a lost packet costs at least TCP's smallest timeout of 200 ms, and
/// what remains is room for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A kind of session: its port and its rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// What it is like.
    pub name: &'static str,
    /// The server's port.
    pub port: u16,
    /// What each request looks like.
    #[serde(skip)]
    request: &'static [u8],
    /// How long each answer is, in bytes.
    #[serde(skip)]
    answer: usize,
    /// A request every so often.
    #[serde(skip)]
    every: Duration,
}

impl Service {
    /// A remote shell on the usual port, which is a lateral service.
    pub const SSH: Service = Service { name: "SSH", port: 22, ..Self::SHELL };
    /// A remote shell on a port that is no lateral service.
    pub const SHELL: Service = Service {
        name: "SSH on 2222",
        port: 2222,
        request: b"\x00\x00\x00\x1c one keystroke of a doctor",
        answer: 64,
        every: Duration::from_millis(50),
    };
    /// A web application on a connection kept alive.
    pub const HTTP: Service = Service {
        name: "HTTP",
        port: 80,
        request: b"GET /patients/next HTTP/1.1\r\nHost: server.lab\r\nConnection: keep-alive\r\n\r\n",
        answer: 2_048,
        every: Duration::from_millis(100),
    };
    /// A database, on SQL Server's port, which is a lateral service.
    pub const SQL: Service = Service {
        name: "SQL",
        port: 1433,
        request: b"\x01\x01\x00\x2e select * from results where patient = 4711",
        answer: 8_192,
        every: Duration::from_millis(100),
    };
    /// Every kind there is.
    pub const ALL: [Service; 4] = [Self::SSH, Self::SHELL, Self::HTTP, Self::SQL];
}

/// Serves every kind of session on `machine`.
pub fn serve(machine: &Namespace, family: Family) -> Result<Activity> {
    let mut listeners = Vec::new();
    for service in Service::ALL {
        listeners.push((service, listener::bind(machine, family, service.port)?));
    }
    Activity::start(machine, move || async move {
        let mut accepting = tokio::task::JoinSet::new();
        for (service, listener) in listeners {
            let Ok(listener) = TcpListener::from_std(listener) else { continue };
            accepting.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // A session that breaks is reported by its client.
                    tokio::spawn(async move { answer(service, stream).await.ok() });
                }
            });
        }
        while accepting.join_next().await.is_some() {}
    })
}

async fn answer(service: Service, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = vec![0; service.request.len()];
    let answer = vec![b'.'; service.answer];
    loop {
        stream.read_exact(&mut request).await?;
        stream.write_all(&answer).await?;
    }
}

/// How a session went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionStats {
    /// Whose it is.
    pub of: String,
    /// What it is like.
    pub service: Service,
    /// Requests answered in full.
    pub exchanges: u64,
    /// The longest time from a request to its answer, in milliseconds; one still unanswered counts up to now.
    pub longest_ms: f64,
    /// Why it broke, if it did.
    pub broken: Option<String>,
}

impl SessionStats {
    /// Whether it ran, did not break, and did not stall longer than [`PATIENCE`].
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        self.broken.is_none() && self.exchanges > 0 && self.longest_ms < PATIENCE.as_secs_f64() * 1000.0
    }
}

#[derive(Debug, Default)]
struct Notes {
    exchanges: u64,
    longest: Duration,
    waiting_since: Option<Instant>,
    broken: Option<String>,
}

/// A running session, seen from its client.
#[derive(Debug)]
pub struct Session {
    of: String,
    service: Service,
    notes: Arc<Mutex<Notes>>,
    _activity: Activity,
}

impl Session {
    /// Starts a session from `machine` to a server.
    pub fn start(machine: &Namespace, of: &str, server: std::net::IpAddr, service: Service) -> Result<Self> {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let of_client = Arc::clone(&notes);
        let server = SocketAddr::new(server, service.port);
        let activity = Activity::start(machine, move || async move {
            if let Err(error) = work(service, server, &of_client).await {
                lock(&of_client).broken = Some(error.to_string());
            }
        })?;
        Ok(Session { of: of.to_owned(), service, notes, _activity: activity })
    }

    /// How it went so far.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        let notes = lock(&self.notes);
        let waiting = notes.waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        SessionStats {
            of: self.of.clone(),
            service: self.service,
            exchanges: notes.exchanges,
            longest_ms: notes.longest.max(waiting).as_secs_f64() * 1000.0,
            broken: notes.broken.clone(),
        }
    }
}

async fn work(service: Service, server: SocketAddr, notes: &Mutex<Notes>) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; service.answer];
    let mut pace = tokio::time::interval(service.every);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let began = Instant::now();
        lock(notes).waiting_since = Some(began);
        stream.write_all(service.request).await?;
        stream.read_exact(&mut answer).await?;
        let mut notes = lock(notes);
        notes.waiting_since = None;
        notes.exchanges += 1;
        notes.longest = notes.longest.max(began.elapsed());
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    // Plain values: whole whatever happened to whoever held them.
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
