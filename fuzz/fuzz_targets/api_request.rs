//! Any bytes over the admin socket: answered or cut off, never a panic. The first byte says who asks.
//!
//! What holds whatever is sent: a reader's order never reaches the control task, every order that does is sound, and
//! every answer that is no success says in JSON what is wrong and what to do.
#![no_main]

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use firedoor::api::{self, ErrorView, peer::Peer};
use firedoor::api::orders::{Done, MOST_ADDRESSES, Order, QUEUE, Request, Target};
use firedoor::published::Published;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

thread_local! {
    static STAGE: OnceCell<(Runtime, Arc<Published>)> = const { OnceCell::new() };
}

fn stage() -> (Runtime, Arc<Published>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime, Arc::new(Published::new(Arc::default())))
}

fn check(order: &Order) {
    if let Order::Act { target, duration, reason, .. } = order {
        assert!(!reason.trim().is_empty() && reason.len() <= 500 && !reason.chars().any(char::is_control));
        assert!(duration.is_none_or(|duration| duration > Duration::ZERO));
        match target {
            Target::Host(host) => assert!(host.is_unicast()),
            Target::Network(network) => assert!(network.iter().take(MOST_ADDRESSES + 1).count() <= MOST_ADDRESSES),
            Target::All => panic!("nobody may act on everybody at once"),
        }
    }
}

async fn ask(published: Arc<Published>, may_act: bool, bytes: &[u8]) -> Vec<u8> {
    let (orders, mut inbox) = mpsc::channel::<Request>(QUEUE);
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let peer = Peer { name: "fuzz".to_owned(), may_act };
    let serving = api::answer(server, published, orders, peer);
    let obeying = async {
        while let Some(Request { order, reply, .. }) = inbox.recv().await {
            assert!(may_act, "a reader's order came through: {order:?}");
            check(&order);
            let _ = reply.send(Ok(Done::default()));
        }
    };
    let asking = async {
        // A server that has answered reads no further.
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    tokio::join!(serving, obeying, asking).2
}

fuzz_target!(|bytes: &[u8]| {
    let Some((who, request)) = bytes.split_first() else { return };
    let answer = STAGE.with(|cell| {
        let (runtime, published) = cell.get_or_init(stage);
        runtime.block_on(ask(Arc::clone(published), who & 1 == 1, request))
    });
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        assert!(answer.is_empty(), "half an answer");
        return;
    };
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let json = head.lines().any(|line| line.eq_ignore_ascii_case("content-type: application/json"));
    // A head that is no HTTP is answered by hyper, without a body; HEAD has none either.
    if json && end + 4 < answer.len() && !head.contains(" 200 ") {
        let said: ErrorView = serde_json::from_slice(&answer[end + 4..]).unwrap();
        assert!(!said.error.is_empty() && !said.help.is_empty());
    }
});
