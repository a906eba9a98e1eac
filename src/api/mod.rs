//! The admin API: HTTP and JSON over a unix socket.
//!
//! Reading is answered from what is published in [`Published`]; whatever changes something becomes a
//! [`Request`] to the control task and waits a bounded time for its answer. Every answer is JSON: a view, a
//! [`Done`](crate::api::orders::Done), or `{"error": …, "help": …}`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`](crate::published::status::Status) |
//! | `GET /v1/hosts?sort=&limit=&acted=&suspicious=&smb1=&vulnerable=&network=` | [`HostsView`] |
//! | `GET /v1/why/{address}` | [`WhyView`](crate::api::host::WhyView) |
//! | `GET /v1/decisions?host=&limit=` | list of [`Decision`], latest first |
//! | `GET /v1/held` | list of [`Held`] |
//! | `GET /v1/never-contain` | [`NeverContainView`] |
//! | `GET /v1/servers` | [`ServersView`](crate::published::greylist::ServersView) |
//! | `GET /v1/greylist` | [`WaitsView`](crate::published::greylist::WaitsView) |
//! | `GET /v1/ruleset` | [`RulesetView`] |
//! | `POST /v1/contain`, `/v1/isolate` | body [`body::Act`] |
//! | `POST /v1/release` | body [`body::Release`] |
//! | `POST /v1/held/confirm`, `/v1/held/drop` | body [`body::Held`] |
//! | `POST /v1/never-contain/add`, `/v1/never-contain/remove` | body [`body::Exempt`] |
//! | `POST /v1/reload` | no body |
//! | `POST /v1/breaker/rearm` | no body, or [`body::Rearm`] for one zone |
//!
//! Limits: 16 connections a user at once, 32 of users who may only read, 32 of those who may act, one request each; a
//! head of 8 KiB within 2 s, a body of 16 KiB, 30 s for the whole. Beyond that a user's oldest idle connection closes.

pub mod body;
pub mod explain;
mod failure;
mod greylist;
pub mod host;
mod list;
pub mod orders;
pub mod peer;
pub(crate) mod serve;
pub mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::Uri;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::published::Published;
use crate::published::status::Status;
use crate::respond::{Action, Decision, Held};
use crate::wire::Address;
pub use failure::ErrorView;
use failure::Failure;
use host::{HostsView, NeverContainView, RulesetView, WhyView};
pub use list::{Filter, Sort};
use orders::{Done, Order, Orders, Request};
use peer::Peer;
use serve::Limits;

const LIMITS: Limits =
    Limits { readers: 32, members: 32, user: 16, head: Duration::from_secs(2), whole: Duration::from_secs(30) };
/// Largest body, in bytes.
const BODY_BYTES: usize = 16 << 10;
/// How long the control task may take over an order.
const PATIENCE: Duration = Duration::from_secs(20);
/// Decisions listed where the client names no limit.
const DECISIONS: usize = 100;

/// What every request needs.
#[derive(Clone, Debug)]
struct Api {
    published: Arc<Published>,
    orders: Orders,
}

/// Serves until `stop` holds true. `group` is the group whose members may act, besides root. Needs the runtime's I/O
/// and time.
///
/// # Errors
/// The listener cannot be handed to the runtime.
pub fn spawn(
    listener: std::os::unix::net::UnixListener,
    published: Arc<Published>,
    orders: Orders,
    group: Option<u32>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let listener = UnixListener::from_std(listener)?;
    let app = router(published, orders);
    let app = move |stream: &UnixStream| app.clone().layer(Extension(Peer::of(stream, group)));
    Ok(tokio::spawn(serve::serve(listener, LIMITS, stop, move |stream| peer::client(stream, group), app)))
}

/// Serves one connection that comes from anywhere, for tests and fuzzing: the peer is as given.
pub async fn answer<S>(io: S, published: Arc<Published>, orders: Orders, peer: Peer)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let app = router(published, orders).layer(Extension(peer));
    let _ = tokio::time::timeout(LIMITS.whole, serve::answer(io, LIMITS, app)).await;
}

fn router(published: Arc<Published>, orders: Orders) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/hosts", get(hosts))
        .route("/v1/why/{address}", get(why))
        .route("/v1/decisions", get(decisions))
        .route("/v1/held", get(held))
        .route("/v1/held/confirm", post(confirm))
        .route("/v1/held/drop", post(discard))
        .route("/v1/never-contain", get(never_contain))
        .route("/v1/never-contain/add", post(exempt))
        .route("/v1/never-contain/remove", post(unexempt))
        .route("/v1/servers", get(servers))
        .route("/v1/greylist", get(waits))
        .route("/v1/ruleset", get(ruleset))
        .route("/v1/contain", post(contain))
        .route("/v1/isolate", post(isolate))
        .route("/v1/release", post(release))
        .route("/v1/reload", post(reload))
        .route("/v1/breaker/rearm", post(rearm))
        .fallback(|uri: Uri| async move { Failure::no_such_path(uri.path()) })
        .method_not_allowed_fallback(|| async { Failure::Method })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Api { published, orders })
}

type Answer<T> = Result<Json<T>, Failure>;
type Body = Result<Bytes, BytesRejection>;

async fn status(State(api): State<Api>) -> Json<Status> {
    Json(api.published.status().as_ref().clone())
}

async fn hosts(State(api): State<Api>, uri: Uri) -> Answer<HostsView> {
    let Query(filter) = Query::<Filter>::try_from_uri(&uri).map_err(|error| Failure::Query(error.to_string()))?;
    // Sorting a large site takes milliseconds: not on the control task's thread.
    let listed = tokio::task::spawn_blocking(move || list::hosts(&filter, &api.published)).await;
    listed.map(Json).map_err(|_| Failure::Broken)
}

async fn why(State(api): State<Api>, Path(address): Path<String>) -> Answer<WhyView> {
    let address: Address = address.parse().map_err(|_| Failure::Address(address.chars().take(64).collect()))?;
    Ok(Json(explain::why(address, &api.published)))
}

async fn decisions(State(api): State<Api>, uri: Uri) -> Answer<Vec<Arc<Decision>>> {
    let Query(filter) =
        Query::<list::Decisions>::try_from_uri(&uri).map_err(|error| Failure::Query(error.to_string()))?;
    Ok(Json(api.published.recent(filter.host, filter.limit.unwrap_or(DECISIONS))))
}

async fn held(State(api): State<Api>) -> Json<Vec<Held>> {
    Json(api.published.state().held().into_iter().cloned().collect())
}

async fn never_contain(State(api): State<Api>) -> Json<NeverContainView> {
    let site = api.published.site();
    let written = |networks: &crate::wire::Networks| networks.written().to_vec();
    Json(NeverContainView {
        configured: written(&site.respond.never_contain),
        own_addresses: written(&site.respond.own_addresses),
        added: api.published.state().exempted().to_vec(),
    })
}

async fn servers(State(api): State<Api>) -> Json<crate::published::greylist::ServersView> {
    Json(api.published.servers().as_ref().clone())
}

async fn waits(State(api): State<Api>) -> Json<crate::published::greylist::WaitsView> {
    Json(api.published.waits().as_ref().clone())
}

async fn ruleset(State(api): State<Api>) -> Json<RulesetView> {
    Json(RulesetView { ruleset: api.published.ruleset().as_ref().clone() })
}

async fn contain(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let order = read::<body::Act>(&peer, body)?.order(Action::Contain)?;
    api.carry_out(order, peer).await
}

async fn isolate(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let order = read::<body::Act>(&peer, body)?.order(Action::Isolate)?;
    api.carry_out(order, peer).await
}

async fn release(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let order = read::<body::Release>(&peer, body)?.order()?;
    api.carry_out(order, peer).await
}

async fn confirm(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let which = read::<body::Held>(&peer, body)?.which()?;
    api.carry_out(Order::Confirm { which }, peer).await
}

async fn discard(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let which = read::<body::Held>(&peer, body)?.which()?;
    api.carry_out(Order::Discard { which }, peer).await
}

async fn exempt(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let (network, reason) = read::<body::Exempt>(&peer, body)?.parts()?;
    api.carry_out(Order::Exempt { network, reason }, peer).await
}

async fn unexempt(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let (network, reason) = read::<body::Exempt>(&peer, body)?.parts()?;
    api.carry_out(Order::Unexempt { network, reason }, peer).await
}

async fn reload(State(api): State<Api>, Extension(peer): Extension<Peer>) -> Answer<Done> {
    permit(&peer)?;
    api.carry_out(Order::Reload, peer).await
}

async fn rearm(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Answer<Done> {
    let zone = match &body {
        // As before zones tripped by themselves: no body is the whole.
        Ok(bytes) if bytes.is_empty() => {
            permit(&peer)?;
            None
        }
        _ => read::<Option<body::Rearm>>(&peer, body)?.unwrap_or_default().zone()?,
    };
    api.carry_out(Order::Rearm { zone }, peer).await
}

fn permit(peer: &Peer) -> Result<(), Failure> {
    if peer.may_act { Ok(()) } else { Err(Failure::NotPermitted(peer.name.clone())) }
}

/// Reads a body of somebody who may act.
fn read<T: DeserializeOwned>(peer: &Peer, body: Body) -> Result<T, Failure> {
    permit(peer)?;
    let body = body.map_err(|_| Failure::TooLong(BODY_BYTES))?;
    serde_json::from_slice(&body).map_err(|error| Failure::Body(error.to_string()))
}

impl Api {
    /// Hands an order to the control task and waits for its answer.
    async fn carry_out(&self, order: Order, peer: Peer) -> Answer<Done> {
        let kind = order.kind();
        tracing::info!(order = kind.label(), by = %peer.name, "an order came in over the admin socket");
        let (reply, answer) = oneshot::channel();
        let result = match self.orders.try_send(Request { order, by: peer.name, reply }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Failure::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Failure::Stopping),
            Ok(()) => match tokio::time::timeout(PATIENCE, answer).await {
                Err(_) => Err(Failure::NoAnswer),
                Ok(Err(_)) => Err(Failure::Stopping),
                Ok(Ok(Err(refusal))) => Err(Failure::Refused(refusal)),
                Ok(Ok(Ok(done))) => Ok(Json(done)),
            },
        };
        if matches!(result, Err(Failure::Busy | Failure::Stopping)) {
            // The control task counts each order that it takes; these it never saw.
            self.published.control_counters.ordered(kind, false);
        }
        result
    }
}

#[cfg(test)]
mod tests;
