//! Machines that answer: real TCP listeners, and the little that live hosts say of themselves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::lab::activity::Activity;
use crate::lab::network::Network;
use crate::lab::plan::{CLINICAL, Family, Segment};
use crate::lab::{Error, Result};
use crate::sys::namespace::Namespace;

/// The services every live host of the ward offers: SMB, its elders, remote desktop, SSH and a web page.
pub const WARD_PORTS: [u16; 6] = [445, 139, 135, 3389, 22, 80];

/// Where live hosts send their logs.
const SYSLOG: u16 = 514;

/// Listens on these ports at every address of `machine` and holds what connects until it hangs up.
pub fn listen(machine: &Namespace, family: Family, ports: &[u16]) -> Result<Activity> {
    let mut listeners = Vec::new();
    for &port in ports {
        listeners.push(bind(machine, family, port)?);
    }
    Activity::start(machine, move || async move {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners.into_iter().filter_map(|each| TcpListener::from_std(each).ok()) {
            accepting.spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut buffer = [0; 512];
                        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
                    });
                }
            });
        }
        while accepting.join_next().await.is_some() {}
    })
}

/// A listening socket inside `machine`, ready for the runtime.
pub(super) fn bind(machine: &Namespace, family: Family, port: u16) -> Result<std::net::TcpListener> {
    let address = SocketAddr::new(unspecified(family), port);
    let listener = machine.run(|| -> io::Result<_> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })?;
    listener.map_err(|source| Error::Io { what: format!("listen on {address} in {}", machine.name()), source })
}

/// Lets every live host of the wards send a log line to the server, `rounds` times, so that whoever watches the
/// gateway knows who is alive, and the gateway's neighbour table too.
pub fn speak(network: &Network, rounds: u32) -> Result<()> {
    let server = SocketAddr::new(network.plan.address(Segment::Server, CLINICAL), SYSLOG);
    let failed = |source| Error::Io { what: "let the wards' hosts speak".to_owned(), source };
    // Somebody listens, so that nothing comes back and nobody's log line looks like a probe.
    let _ear = network.server.run(|| UdpSocket::bind(SocketAddr::new(unspecified(network.plan.family()), SYSLOG)))?;
    for _ in 0..rounds {
        for (number, ward) in (0..).zip(&network.wards) {
            let spoken = ward.run(|| -> io::Result<()> {
                for &host in network.plan.live() {
                    let address = network.plan.address(Segment::Ward(number), host);
                    UdpSocket::bind((address, 0))?.send_to(b"<14>lab: alive", server)?;
                }
                Ok(())
            })?;
            spoken.map_err(failed)?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
