//! What the victims' sockets accepted: connections, and the bytes that came over them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firedoor::lab::activity::Activity;
use firedoor::sys::namespace::Namespace;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};

/// The TCP ports that victims serve.
pub const TCP: [u16; 11] = [445, 139, 135, 22, 3389, 80, 8080, 2375, 6379, 9100, 10_445];
/// The UDP ports.
pub const UDP: [u16; 5] = [1434, 161, 137, 6892, 4789];

/// A visit: who came to whom on which port.
pub type Visit = (IpAddr, IpAddr, u16);

/// Everybody who came, with the bytes that they brought.
pub struct Visits {
    book: Arc<Mutex<HashMap<Visit, usize>>>,
    _serving: Activity,
}

impl Visits {
    /// Serves every port at every address of this machine.
    pub fn start(machine: &Namespace) -> Self {
        let book = Arc::<Mutex<HashMap<Visit, usize>>>::default();
        let into = Arc::clone(&book);
        let (listeners, sockets) = machine
            .run(|| {
                let all = |port| SocketAddr::new("::".parse().unwrap(), port);
                let listeners = TCP.map(|port| {
                    let listener = std::net::TcpListener::bind(all(port)).unwrap();
                    listener.set_nonblocking(true).unwrap();
                    listener
                });
                let sockets = UDP.map(|port| {
                    let socket = std::net::UdpSocket::bind(all(port)).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    socket
                });
                (listeners, sockets)
            })
            .unwrap();
        let serving = Activity::start(machine, move || async move {
            let mut work = tokio::task::JoinSet::new();
            for listener in listeners {
                let (listener, into) = (TcpListener::from_std(listener).unwrap(), Arc::clone(&into));
                work.spawn(accept(listener, into));
            }
            for socket in sockets {
                let socket = UdpSocket::from_std(socket).unwrap();
                work.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while socket.recv_from(&mut buffer).await.is_ok() {}
                });
            }
            while work.join_next().await.is_some() {}
        });
        Visits { book, _serving: serving.unwrap() }
    }

    /// To whom these sources connected, and who got at least `bytes` of them.
    pub fn to(&self, from: impl Fn(IpAddr) -> bool, port: u16, bytes: usize) -> HashSet<IpAddr> {
        let book = lock(&self.book);
        let wanted = book.iter().filter(|((source, _, at), got)| from(*source) && *at == port && **got >= bytes);
        wanted.map(|((_, victim, _), _)| *victim).collect()
    }
}

async fn accept(listener: TcpListener, into: Arc<Mutex<HashMap<Visit, usize>>>) {
    while let Ok((mut stream, from)) = listener.accept().await {
        let Ok(to) = stream.local_addr() else { continue };
        let visit = (from.ip().to_canonical(), to.ip().to_canonical(), to.port());
        lock(&into).entry(visit).or_default();
        let into = Arc::clone(&into);
        tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                *lock(&into).entry(visit).or_default() += count;
            }
        });
    }
}

fn lock(book: &Mutex<HashMap<Visit, usize>>) -> MutexGuard<'_, HashMap<Visit, usize>> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
