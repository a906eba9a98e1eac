//! What reaches the victims, counted on their side by a process of its own that knows nothing of the daemon.
//!
//! [`count`] is that process: it reads its machine's wire through an AF_PACKET socket of its own and prints one JSON
//! line for each first contact. [`Counter`] starts it and collects its lines. A first contact is known by a bare SYN,
//! and, towards an address that nobody has, already by the question for it (ARP or neighbour solicitation): a router
//! has let the SYN pass and only cannot deliver it.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ipnetwork::IpNetwork;
use pnet::datalink::{self, Channel};
use serde::{Deserialize, Serialize};

use crate::lab::{Error, Result, counter_filter};
use crate::sys::namespace::Namespace;
use crate::sys::packet::Socket;
use crate::time::Timestamp;

/// How a first contact showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// A TCP SYN without ACK.
    Syn,
    /// An ARP request or a neighbour solicitation.
    Asked,
}

/// One first contact that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// How it showed.
    pub sign: Sign,
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it was for.
    pub destination: IpAddr,
    /// The SYN's port; 0 for a question.
    pub port: u16,
}

/// The wall clock as the lab stamps its events.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO + since
}

/// The counting process: prints a line `ready`, then an [`Arrival`] a line, until it is killed.
///
/// Only frames from outside `network` to an address in it count; `interface` is this machine's. With `sources`, the
/// kernel hands over what these send, and questions, and nothing else: what a flood sends beside them drowns nothing.
pub fn count(interface: &str, network: IpNetwork, sources: &[IpAddr], out: &mut impl Write) -> io::Result<()> {
    let missing = || io::Error::other(format!("there is no interface {interface} here"));
    let found = datalink::interfaces().into_iter().find(|each| each.name == interface).ok_or_else(missing)?;
    let mut config = datalink::Config::default();
    if !sources.is_empty() {
        let socket = Socket::open()?;
        socket.attach_filter(&counter_filter::from(sources))?;
        // The channel owns the descriptor, and closes it even where it cannot be made.
        config.socket_fd = Some(socket.into_descriptor().into_raw_fd());
    }
    let Channel::Ethernet(_, mut frames) = datalink::channel(&found, config)? else {
        return Err(io::Error::other(format!("{interface} is no Ethernet interface")));
    };
    writeln!(out, "ready")?;
    out.flush()?;
    let mut seen = HashSet::new();
    loop {
        let Some((sign, source, destination, port)) = classify(frames.next()?) else { continue };
        let from_outside = sign == Sign::Asked || !network.contains(source);
        if network.contains(destination) && from_outside && seen.insert((sign, source, destination, port)) {
            let arrival = Arrival { at: now(), sign, source, destination, port };
            writeln!(out, "{}", serde_json::to_string(&arrival)?)?;
            out.flush()?;
        }
    }
}

fn classify(frame: &[u8]) -> Option<(Sign, IpAddr, IpAddr, u16)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(arp) => {
            let sender = <[u8; 4]>::try_from(arp.sender_protocol_addr()).ok()?;
            let target = <[u8; 4]>::try_from(arp.target_protocol_addr()).ok()?;
            let request = arp.operation() == etherparse::ArpOperation::REQUEST && sender != target;
            return request.then(|| (Sign::Asked, sender.into(), target.into(), 0));
        }
    };
    match packet.transport? {
        TransportSlice::Tcp(tcp) if tcp.syn() && !tcp.ack() => {
            Some((Sign::Syn, source, destination, tcp.destination_port()))
        }
        TransportSlice::Icmpv6(icmp) if icmp.type_u8() == 135 && !source.is_unspecified() => {
            // RFC 4861 §4.3: the target stands behind type, code, checksum and four reserved bytes.
            let target = <[u8; 16]>::try_from(icmp.slice().get(8..24)?).ok()?;
            Some((Sign::Asked, source, target.into(), 0))
        }
        _ => None,
    }
}

/// The counting process, seen from the lab.
#[derive(Debug)]
pub struct Counter {
    process: Child,
    reader: Option<JoinHandle<()>>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Counter {
    /// Starts `program` (a `firedoor` executable) as counter on the `eth0` of a machine, and waits until it counts.
    pub fn start(program: &Path, machine: &Namespace, network: IpNetwork) -> Result<Self> {
        Self::start_for(program, machine, network, &[])
    }

    /// The same for what these sources send only; all, if none is named.
    pub fn start_for(program: &Path, machine: &Namespace, network: IpNetwork, sources: &[IpAddr]) -> Result<Self> {
        let failed = |source| Error::Io { what: "start the counter".to_owned(), source };
        let mut process = machine
            .command(program)
            .args(["lab-part", "counter", "--interface", "eth0", "--network", &network.to_string()])
            .args(sources.iter().flat_map(|source| ["--source".to_owned(), source.to_string()]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = process.stdout.take().ok_or_else(|| failed(io::Error::other("it has no output")))?;
        let mut lines = BufReader::new(output).lines();
        match lines.next() {
            Some(Ok(line)) if line == "ready" => {}
            _ => return Err(failed(io::Error::other("it ended at once"))),
        }
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&arrivals);
        let reader = std::thread::Builder::new()
            .name("counter".to_owned())
            .spawn(move || {
                for line in lines.map_while(io::Result::ok) {
                    if let Ok(arrival) = serde_json::from_str(&line) {
                        lock(&into).push(arrival);
                    }
                }
            })
            .map_err(failed)?;
        Ok(Counter { process, reader: Some(reader), arrivals })
    }

    /// What arrived so far, in order.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }

    /// Ends the process and gives everything that arrived.
    #[must_use]
    pub fn finish(mut self) -> Vec<Arrival> {
        // What is on the wire now shall still count.
        std::thread::sleep(Duration::from_millis(100));
        self.end();
        self.arrivals()
    }

    fn end(&mut self) {
        // It may have ended by itself; its output ends either way, and with it the reader.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(arrivals: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    // A list of plain values is whole whatever happened to whoever held it.
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Mac;
    use crate::wire::build::{self, End};

    fn end(ip: &str) -> End {
        End { mac: Mac([2, 0, 0, 0, 0, 9]), ip: ip.parse().unwrap() }
    }

    #[test]
    fn syns_and_questions_count_in_both_families() {
        for (from, to) in [("10.66.0.66", "10.66.1.9"), ("fd66::66", "fd66:0:0:1::9")] {
            let (from, to) = (end(from), end(to));
            let mut frame = [0; build::LONGEST];
            let length = build::syn(&mut frame, from, to, (50_000, 445), 7).unwrap();
            assert_eq!(classify(&frame[..length]), Some((Sign::Syn, from.ip, to.ip, 445)));
            let length = build::ask(&mut frame, from, to.ip).unwrap();
            assert_eq!(classify(&frame[..length]), Some((Sign::Asked, from.ip, to.ip, 0)));
        }
    }

    #[test]
    fn answers_do_not_count() {
        let (from, to) = (end("10.66.0.66"), end("10.66.1.9"));
        let mut frame = [0; build::LONGEST];
        let length = build::syn(&mut frame, from, to, (50_000, 445), 7).unwrap();
        frame[14 + 20 + 13] |= 0x10;
        assert_eq!(classify(&frame[..length]), None, "a SYN-ACK");
        assert_eq!(classify(&frame[..20]), None, "a cut frame");
    }
}
