//! HTTP/1.1 for API and metrics, with limits on everything a client could hold.
//!
//! One request a connection: a client that sends its head slowly, reads its answer slowly or sits idle holds one of a
//! fixed number of seats for a fixed time, and no memory beyond hyper's smallest buffer. Further clients wait in the
//! kernel's backlog.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What one server grants its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Time to send the request's head.
    pub head: Duration,
    /// Time for the whole of a connection.
    pub whole: Duration,
}

/// Largest request head, in bytes (hyper's smallest buffer).
const HEAD_BYTES: usize = 8192;
/// Most header lines.
const HEADERS: usize = 32;
/// How long requests in flight may take once the daemon stops.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until `stop` holds true, or its sender is gone; then lets requests in flight end for a short while.
pub(super) async fn serve<L, F>(mut listener: L, limits: Limits, mut stop: watch::Receiver<bool>, app: F)
where
    L: Listener,
    F: Fn(&L::Io) -> Router,
{
    let seats = Arc::new(Semaphore::new(limits.connections));
    let mut clients = JoinSet::new();
    loop {
        let seat = tokio::select! {
            seat = Arc::clone(&seats).acquire_owned() => seat,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let io = tokio::select! {
            (io, _) = listener.accept() => io,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while clients.try_join_next().is_some() {}
        let router = app(&io);
        clients.spawn(async move {
            let _seat = seat;
            // A client that breaks off, or is cut off, has had its answer or wants none.
            let _ = tokio::time::timeout(limits.whole, answer(io, limits, router)).await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, async { while clients.join_next().await.is_some() {} }).await;
}

/// Serves one connection.
pub(super) async fn answer<S>(io: S, limits: Limits, router: Router) -> hyper::Result<()>
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
