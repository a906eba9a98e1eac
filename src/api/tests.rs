//! Facts about the API, over connections in memory.

use super::*;
use crate::api::orders::{QUEUE, Refusal, Target, Which};
use crate::evidence::Score;
use crate::inspect::Condition;
use crate::published::host_report::HostReport;
use crate::respond::{Block, Refused, Responder, Verdict};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::wire::Link;
use crate::wire::smb::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn published() -> Arc<Published> {
    Arc::new(Published::new(Arc::default()))
}

fn member() -> Peer {
    Peer { name: "ana".to_owned(), may_act: true }
}

fn reader() -> Peer {
    Peer { name: "ben".to_owned(), may_act: false }
}

/// Sends raw bytes and reads the answer: status, body.
async fn raw(bytes: &[u8], published: &Arc<Published>, orders: &Orders, peer: Peer) -> (u16, String) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let serving = tokio::spawn(answer(server, Arc::clone(published), orders.clone(), peer));
    client.write_all(bytes).await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    serving.await.unwrap();
    let status = text.split(' ').nth(1).map_or(0, |code| code.parse().unwrap());
    (status, text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

async fn ask(
    method: &str,
    path: &str,
    body: &str,
    published: &Arc<Published>,
    orders: &Orders,
    peer: Peer,
) -> (u16, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: firedoor\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    raw(request.as_bytes(), published, orders, peer).await
}

fn error(body: &str) -> ErrorView {
    serde_json::from_str(body).unwrap_or_else(|_| panic!("not an error: {body}"))
}

/// A control task that answers every order with what was asked of it.
fn control() -> (Orders, JoinHandle<Vec<(Order, String)>>) {
    let (orders, mut inbox) = mpsc::channel::<Request>(QUEUE);
    let task = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(Request { order, by, reply }) = inbox.recv().await {
            let answer = match &order {
                Order::Confirm { which: Which::One(7) } => Err(Refusal::Refused(Refused::NotHeld(7))),
                order => Ok(Done { message: order.kind().label().to_owned(), decisions: Vec::new() }),
            };
            let _ = reply.send(answer);
            seen.push((order, by));
        }
        seen
    });
    (orders, task)
}

#[tokio::test]
async fn every_order_reaches_the_control_task_with_who_gave_it() {
    let (orders, task) = control();
    let published = published();
    for (path, body) in [
        ("/v1/contain", r#"{"target":"10.0.0.7","reason":"worm","seconds":3600}"#),
        ("/v1/isolate", r#"{"target":"10.0.0.8","reason":"exploit"}"#),
        ("/v1/release", r#"{"target":"all"}"#),
        ("/v1/held/confirm", r#"{"all":true}"#),
        ("/v1/held/drop", r#"{"id":3}"#),
        ("/v1/never-contain/add", r#"{"network":"10.0.9.0/24","reason":"theatre"}"#),
        ("/v1/never-contain/remove", r#"{"network":"10.0.9.1"}"#),
        ("/v1/reload", ""),
        ("/v1/breaker/rearm", ""),
    ] {
        let (status, answer) = ask("POST", path, body, &published, &orders, member()).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let (status, answer) = ask("POST", path, body, &published, &orders, reader()).await;
        assert_eq!(status, 403, "{path}");
        assert!(error(&answer).help.contains("usermod -aG firedoor"), "{answer}");
    }
    drop(orders);
    let seen = task.await.unwrap();
    assert!(seen.iter().all(|(_, by)| by == "ana"), "nothing of the reader's came through");
    let host = |text: &str| Target::Host(text.parse().unwrap());
    let orders: Vec<Order> = seen.into_iter().map(|(order, _)| order).collect();
    assert_eq!(
        orders,
        [
            Order::Act {
                target: host("10.0.0.7"),
                action: Action::Contain,
                duration: Some(Duration::from_hours(1)),
                reason: "worm".to_owned()
            },
            Order::Act {
                target: host("10.0.0.8"),
                action: Action::Isolate,
                duration: None,
                reason: "exploit".to_owned()
            },
            Order::Release { target: Target::All, reason: String::new() },
            Order::Confirm { which: Which::All },
            Order::Discard { which: Which::One(3) },
            Order::Exempt { network: "10.0.9.0/24".parse().unwrap(), reason: "theatre".to_owned() },
            Order::Unexempt { network: "10.0.9.1/32".parse().unwrap(), reason: String::new() },
            Order::Reload,
            Order::Rearm { zone: None },
        ]
    );
}

#[tokio::test]
async fn readers_may_read_everything() {
    let (orders, _task) = control();
    let published = published();
    let paths = ["status", "hosts", "why/10.0.0.7", "why/fd00::7", "decisions", "held", "never-contain", "ruleset"];
    for path in paths {
        let (status, body) = ask("GET", &format!("/v1/{path}"), "", &published, &orders, reader()).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{path}: {body}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let (orders, _task) = control();
    let published = published();
    let long = format!(r#"{{"target":"10.0.0.7","reason":"{}"}}"#, "x".repeat(BODY_BYTES));
    for (method, path, body, expected, words) in [
        ("GET", "/v1/nothing", "", 404, "/v1/nothing"),
        ("POST", "/v1/status", "", 405, "method"),
        ("GET", "/v1/contain", "", 405, "method"),
        ("GET", "/v1/why/ward-7", "", 400, "ward-7"),
        ("GET", "/v1/hosts?sort=beauty", "", 400, "beauty"),
        ("GET", "/v1/hosts?limt=3", "", 400, "limt"),
        ("GET", "/v1/hosts?limit=-3", "", 400, "digit"),
        ("POST", "/v1/contain", "", 400, "EOF"),
        ("POST", "/v1/contain", "{", 400, "EOF"),
        ("POST", "/v1/contain", r#"{"target":"10.0.0.7","reason":"x","forever":true}"#, 400, "forever"),
        ("POST", "/v1/contain", r#"{"target":"10.0.0.0/8","reason":"x"}"#, 400, "256"),
        ("POST", "/v1/contain", &long, 413, "bytes"),
        ("POST", "/v1/held/confirm", r#"{"id":7}"#, 404, "number 7"),
    ] {
        let (status, body) = ask(method, path, body, &published, &orders, member()).await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        let view = error(&body);
        assert!(view.error.contains(words), "{method} {path}: {body}");
        assert!(!view.help.is_empty());
    }
}

#[tokio::test]
async fn a_control_task_that_is_busy_or_gone_is_said() {
    let published = published();
    let (orders, mut inbox) = mpsc::channel::<Request>(1);
    let (reply, _answer) = oneshot::channel();
    orders.try_send(Request { order: Order::Reload, by: String::new(), reply }).unwrap();
    let (status, body) = ask("POST", "/v1/reload", "", &published, &orders, member()).await;
    assert_eq!(status, 503);
    assert!(error(&body).error.contains("too many orders"), "{body}");
    inbox.close();
    let (status, body) = ask("POST", "/v1/reload", "", &published, &orders, member()).await;
    assert_eq!(status, 503);
    assert!(error(&body).error.contains("stopping"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_control_task_that_does_not_answer_is_not_waited_for() {
    let published = published();
    let (orders, _inbox) = mpsc::channel::<Request>(1);
    let (status, body) = ask("POST", "/v1/reload", "", &published, &orders, member()).await;
    assert_eq!(status, 504);
    assert!(error(&body).help.contains("may still be carried out"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_cut_off() {
    let (orders, _task) = control();
    for start in ["", "GET /v1/sta", "GET /v1/status HTTP/1.1\r\nhost: "] {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let serving = tokio::spawn(answer(server, published(), orders.clone(), reader()));
        client.write_all(start.as_bytes()).await.unwrap();
        let began = tokio::time::Instant::now();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        serving.await.unwrap();
        assert!(began.elapsed() <= LIMITS.head + Duration::from_secs(1), "{start:?}: {:?}", began.elapsed());
    }
    // The head came, the body never does.
    let (mut client, server) = tokio::io::duplex(1 << 10);
    let serving = tokio::spawn(answer(server, published(), orders.clone(), member()));
    client.write_all(b"POST /v1/contain HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    serving.await.unwrap();
    assert!(began.elapsed() <= LIMITS.whole + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let (orders, _task) = control();
    let many = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let (status, _) = raw(many.as_bytes(), &published(), &orders, reader()).await;
    assert_eq!(status, 431);
    let long = format!("GET /v1/status HTTP/1.1\r\nlong: {}", "x".repeat(20_000));
    let (status, _) = raw(long.as_bytes(), &published(), &orders, reader()).await;
    assert_eq!(status, 431);
}

#[tokio::test]
async fn a_card_is_listed_once_by_the_address_that_it_is_acted_on_under() {
    let (orders, _task) = control();
    let published = published();
    let suspect = Suspect::card(Link::untagged(3), crate::wire::Mac([2, 0, 0, 0, 0, 9]));
    let address = |n: u8| Address::v4([10, 0, 0, n]);
    for (n, score) in [(1u8, 9900), (2, 9950)] {
        let at = Timestamp::from_secs(u64::from(n));
        let addresses = (1..=n).map(address).collect();
        let report = HostReport { at, seen: at, suspect, addresses, score: Score(score), ..HostReport::default() };
        published.host_table.try_publish(address(n), report);
        if n == 1 {
            let decision = Decision::without_alarm(at, suspect, address(1), Verdict::Contain, String::new());
            let mut responder = Responder::new(published.site().respond.clone());
            responder.restore(Block::new(Arc::new(decision)).unwrap(), &mut Vec::new());
            published.set_state(responder.state());
        }
    }
    for query in ["", "?acted=true", "?network=10.0.0.2/32"] {
        let (_, body) = ask("GET", &format!("/v1/hosts{query}"), "", &published, &orders, reader()).await;
        let view: HostsView = serde_json::from_str(&body).unwrap();
        let [host] = &view.hosts[..] else { panic!("{query}: {body}") };
        assert_eq!((view.total, host.address, host.verdict), (1, address(1), Some(Verdict::Contain)));
        assert_eq!((host.addresses.len(), host.is_card), (2, true), "the latest that is known of it");
    }
}

#[tokio::test]
async fn hosts_are_filtered_sorted_and_cut() {
    let (orders, _task) = control();
    let published = published();
    for (n, score, smb1) in [(1u8, 100, false), (2, 9000, true), (3, 5000, false), (4, 0, true)] {
        let report = HostReport {
            seen: Timestamp::from_secs(u64::from(n)),
            score: Score(score),
            threshold: Score(9900),
            destinations: u32::from(10 - n),
            ..HostReport::default()
        };
        published.host_table.try_publish(Address::v4([10, 0, 0, n]), report);
        if smb1 {
            published.host_table.speaks(Address::v4([10, 0, 0, n]), true, Dialect::NtLm012, false, false);
        }
    }
    let server = Address::v4([10, 0, 0, 3]);
    published.host_table.gave_away(server, Condition::Implanted, Timestamp::from_secs(9));
    for (query, expected, total) in [
        ("", &["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.4"][..], 4),
        ("?sort=address&limit=2", &["10.0.0.1", "10.0.0.2"], 4),
        ("?sort=destinations&limit=1", &["10.0.0.1"], 4),
        ("?sort=seen&limit=1", &["10.0.0.4"], 4),
        ("?smb1=true&sort=score", &["10.0.0.2", "10.0.0.4"], 2),
        ("?vulnerable=true", &["10.0.0.3"], 1),
        ("?suspicious=true", &["10.0.0.2", "10.0.0.3", "10.0.0.1"], 3),
        ("?acted=true", &[], 0),
        ("?network=10.0.0.2/31", &["10.0.0.2", "10.0.0.3"], 2),
        ("?limit=0", &[], 4),
    ] {
        let (status, body) = ask("GET", &format!("/v1/hosts{query}"), "", &published, &orders, reader()).await;
        assert_eq!(status, 200, "{query}: {body}");
        let view: HostsView = serde_json::from_str(&body).unwrap();
        let listed: Vec<String> = view.hosts.iter().map(|host| host.address.to_string()).collect();
        assert_eq!(listed, expected, "{query}");
        assert_eq!(view.total, total, "{query}");
    }
}
