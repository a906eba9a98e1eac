//! HTTP/1.1 for API and metrics, with limits on everything a client could hold.
//!
//! One request a connection: a client that sends its head slowly, reads its answer slowly or sits idle holds one of a
//! fixed number of seats for a fixed time, and no memory beyond hyper's smallest buffer. Nobody waits for a seat: a
//! connection that finds its user's seats taken takes over the oldest one whose request is not being worked on, first
//! those that have not sent their request, then those that do not read their answer. Users who may act have seats
//! that nobody else gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What one server grants its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once of those who may only read.
    pub readers: usize,
    /// Connections at once of those who may act.
    pub members: usize,
    /// Connections at once of one user.
    pub user: usize,
    /// Time to send the request's head.
    pub head: Duration,
    /// Time for the whole of a connection.
    pub whole: Duration,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// The user's number, where the kernel vouches for it.
    pub user: Option<u32>,
    /// Whether it may act.
    pub member: bool,
}

/// Largest request head, in bytes (hyper's smallest buffer).
const HEAD_BYTES: usize = 8192;
/// Most header lines.
const HEADERS: usize = 32;
/// How long requests in flight may take once the daemon stops.
const GRACE: Duration = Duration::from_secs(2);
/// Crowding is reported at most this often.
const REPORT: Duration = Duration::from_secs(60);

/// The request has not arrived in full.
const READING: u8 = 0;
/// The answer is ready; the client has not read it.
const WRITING: u8 = 1;
/// The request is being worked on.
const WORKING: u8 = 2;

/// One connection.
#[derive(Debug)]
struct Seat {
    client: Client,
    stage: Arc<AtomicU8>,
    task: AbortHandle,
}

/// The connections there are, the oldest first.
#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Seat>,
    crowded: u64,
    reported: Option<Instant>,
}

impl Seats {
    /// Makes room for one more connection of `client`; false if there is none.
    fn room(&mut self, client: Client, limits: Limits) -> bool {
        self.taken.retain(|seat| !seat.task.is_finished());
        let of_user = self.count(client);
        let places = if client.member { limits.members } else { limits.readers };
        let of_kind = self.taken.iter().filter(|seat| seat.client.member == client.member).count();
        let from = if of_user >= limits.user {
            client
        } else if of_kind >= places {
            // Whoever holds most gives way.
            let most = self
                .taken
                .iter()
                .filter(|seat| seat.client.member == client.member)
                .max_by_key(|seat| self.count(seat.client));
            most.map_or(client, |seat| seat.client)
        } else {
            return true;
        };
        self.report(from);
        let idle = |wanted: u8| {
            self.taken.iter().position(|seat| seat.client == from && seat.stage.load(Ordering::Relaxed) == wanted)
        };
        let Some(gives_way) = idle(READING).or_else(|| idle(WRITING)) else { return false };
        self.taken.remove(gives_way).task.abort();
        true
    }

    fn count(&self, client: Client) -> usize {
        self.taken.iter().filter(|seat| seat.client == client).count()
    }

    fn report(&mut self, client: Client) {
        self.crowded += 1;
        if self.reported.is_none_or(|reported| reported.elapsed() >= REPORT) {
            let user = client.user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
            tracing::warn!(
                user,
                connections = self.crowded,
                "a client holds as many connections as it may: its oldest idle ones are closed"
            );
            (self.crowded, self.reported) = (0, Some(Instant::now()));
        }
    }
}

/// Serves until `stop` holds true, or its sender is gone; then lets requests in flight end for a short while. `who`
/// says whose a connection is, `app` what answers it.
pub(crate) async fn serve<L, W, F>(mut listener: L, limits: Limits, mut stop: watch::Receiver<bool>, who: W, app: F)
where
    L: Listener,
    W: Fn(&L::Io) -> Client,
    F: Fn(&L::Io) -> Router,
{
    let mut seats = Seats::default();
    let mut clients = JoinSet::new();
    loop {
        let io = tokio::select! {
            (io, _) = listener.accept() => io,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while clients.try_join_next().is_some() {}
        let client = who(&io);
        if !seats.room(client, limits) {
            continue;
        }
        let stage = Arc::new(AtomicU8::new(READING));
        let router = staged(app(&io), stage.clone());
        let task = clients.spawn(async move {
            // A client that breaks off, or is cut off, has had its answer or wants none.
            let _ = tokio::time::timeout(limits.whole, answer(io, limits, router)).await;
        });
        seats.taken.push(Seat { client, stage, task });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while clients.join_next().await.is_some() {} }).await;
}

/// Notes how far a connection's request is.
fn staged(router: Router, stage: Arc<AtomicU8>) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let stage = stage.clone();
        async move {
            stage.store(WORKING, Ordering::Relaxed);
            let response = next.run(request).await;
            stage.store(WRITING, Ordering::Relaxed);
            response
        }
    }))
}

/// Serves one connection.
pub(crate) async fn answer<S>(io: S, limits: Limits, router: Router) -> hyper::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { readers: 6, members: 4, user: 3, head: Duration::from_secs(1), whole: Duration::from_secs(1) };

    fn sit(seats: &mut Seats, clients: &mut JoinSet<()>, client: Client, stage: u8) -> bool {
        let room = seats.room(client, LIMITS);
        if room {
            let task = clients.spawn(std::future::pending());
            seats.taken.push(Seat { client, stage: Arc::new(AtomicU8::new(stage)), task });
        }
        room
    }

    fn reader(user: u32) -> Client {
        Client { user: Some(user), member: false }
    }

    #[tokio::test]
    async fn a_users_newest_connection_takes_the_place_of_its_oldest_idle_one() {
        let (mut seats, mut clients) = (Seats::default(), JoinSet::new());
        for stage in [WORKING, WRITING, READING] {
            assert!(sit(&mut seats, &mut clients, reader(1), stage));
        }
        let stages =
            |seats: &Seats| -> Vec<u8> { seats.taken.iter().map(|seat| seat.stage.load(Ordering::Relaxed)).collect() };
        assert!(sit(&mut seats, &mut clients, reader(1), WORKING));
        assert_eq!(stages(&seats), [WORKING, WRITING, WORKING], "the one that sent no request gave way");
        assert!(sit(&mut seats, &mut clients, reader(1), WORKING));
        assert_eq!(stages(&seats), [WORKING; 3], "then the one that did not read its answer");
        assert!(!sit(&mut seats, &mut clients, reader(1), READING), "what is worked on is not broken off");
    }

    #[tokio::test]
    async fn readers_take_nothing_from_members_and_the_greediest_gives_way() {
        let (mut seats, mut clients) = (Seats::default(), JoinSet::new());
        for user in [1, 1, 1, 2, 3, 3] {
            assert!(sit(&mut seats, &mut clients, reader(user), READING));
        }
        assert!(sit(&mut seats, &mut clients, reader(4), READING));
        assert_eq!([1, 2, 3, 4].map(|user| seats.count(reader(user))), [2, 1, 2, 1]);
        let root = Client { user: Some(0), member: true };
        for _ in 0..3 {
            assert!(sit(&mut seats, &mut clients, root, READING));
        }
        assert_eq!(seats.taken.len(), 9, "a member takes none of theirs");
    }
}
