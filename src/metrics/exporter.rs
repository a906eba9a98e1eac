//! `/metrics` and `/healthz` over HTTP: read-only, GET and HEAD, whatever the rest of the request says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Metrics;
use crate::api::serve::{self, Client, Limits};
use crate::published::Published;
use crate::sys::activation;

/// Whoever reaches the port is anybody: they share the seats, and the oldest idle connection gives way to a new one.
const LIMITS: Limits =
    Limits { readers: 32, members: 0, user: 32, head: Duration::from_secs(2), whole: Duration::from_secs(10) };

/// The control task is taken for stuck when its picture of the daemon is older than this.
const STALE: Duration = Duration::from_secs(10);

/// The name under which systemd passes a listener, see systemd/firedoor.socket.
pub const PASSED: &str = "metrics";

/// Takes the address, or the listener that systemd passed; the error names the address and what to do.
///
/// A passed listener is taken wherever it listens: the unit's sandbox allows no other.
///
/// # Errors
/// The address is in use, or not this machine's.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let bind = || {
        let listener = match activation::listener(PASSED) {
            Some(passed) => {
                if let Some(at) = passed.local_addr().ok().filter(|at| *at != address) {
                    tracing::warn!(
                        "metrics are served on {at}, where systemd listens, and not on {address} as observe.metrics \
                         has it: systemctl edit firedoor.socket"
                    );
                }
                passed
            }
            None => std::net::TcpListener::bind(address)?,
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| BindError { address, source })
}

/// The metrics address could not be taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot serve metrics on {address}: {source}; set observe.metrics to a free address of this machine, or to \"off\"; \
     under systemd, the address stands in firedoor.socket"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves until `stop` holds true. Needs the runtime's I/O and time.
///
/// # Errors
/// The listener cannot be handed to the runtime.
pub fn spawn(
    listener: std::net::TcpListener,
    published: Arc<Published>,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(listener)?;
    let app = router(published, metrics);
    Ok(tokio::spawn(serve::serve(listener, LIMITS, stop, |_| Client::default(), move |_| app.clone())))
}

fn router(published: Arc<Published>, metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(move || scrape(metrics.clone())))
        .route("/healthz", get(move || async move { health(&published) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "only /metrics and /healthz are served here\n") })
}

async fn scrape(metrics: Metrics) -> Response {
    // Reading the whole host table takes milliseconds on a large site: not on the control task's thread.
    let text = tokio::task::spawn_blocking(move || metrics.text()).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the scrape was broken off\n").into_response(),
    }
}

fn health(published: &Published) -> Response {
    match published.age() {
        Some(age) if age <= STALE => (StatusCode::OK, "ok\n").into_response(),
        Some(age) => {
            let text = format!("the control task has not reported for {} s\n", age.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}
