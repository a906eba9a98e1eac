//! Servers go silent and many clients retry: nobody spreads.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firedoor::lab::plan::INFECTED;
use firedoor::sys::namespace::Error;

use crate::site::{self, Site};

/// Clients in the office; the first half know the servers.
const CLIENTS: u8 = 8;
const SERVERS: usize = 6;

/// Lets a client try each server in turn, until `ends`, each attempt as long as a client waits.
fn client(site: &Site, number: u8, servers: Vec<IpAddr>, ends: Instant) -> JoinHandle<Result<usize, Error>> {
    let machine = &site.scene.network.infected[usize::from(number)];
    machine
        .spawn(move || {
            let mut answered = 0;
            while Instant::now() < ends {
                for server in &servers {
                    let to = SocketAddr::new(*server, 445);
                    answered += usize::from(TcpStream::connect_timeout(&to, Duration::from_millis(400)).is_ok());
                    std::thread::sleep(Duration::from_millis(150));
                }
            }
            answered
        })
        .unwrap()
}

#[test]
fn nobody_is_contained_for_servers_that_went_silent() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let site = Site::new(71, CLIENTS, |setup| setup);
    let servers: Vec<IpAddr> = (0..SERVERS).map(|number| site.victim(number)).collect();
    let spell = |clients: std::ops::Range<u8>, seconds| {
        let ends = Instant::now() + Duration::from_secs(seconds);
        clients.map(|number| client(&site, number, servers.clone(), ends)).collect::<Vec<_>>()
    };
    let answers = |clients: Vec<JoinHandle<Result<usize, Error>>>| -> Vec<usize> {
        clients.into_iter().map(|client| client.join().unwrap().unwrap()).collect()
    };
    let served = answers(spell(0..CLIENTS / 2, 2));
    assert!(served.iter().all(|&count| count >= SERVERS), "{served:?}");

    // The whole segment vanishes, as behind a dead switch.
    let ward = &site.scene.network.wards[0];
    ward.link(|links| links.down("eth0")).unwrap();
    let knowing = spell(0..CLIENTS / 2, 10);
    std::thread::sleep(Duration::from_secs(2));
    let new = spell(CLIENTS / 2..CLIENTS, 8);
    let (knowing, new) = (answers(knowing), answers(new));
    assert!(knowing.iter().chain(&new).all(|&count| count == 0), "the servers were silent");
    assert_eq!(site.acted_on(), []);
    let first = site.why(IpAddr::from([10, 66, 0, INFECTED + CLIENTS - 1]));
    let host = first.host.expect("it was seen");
    eprintln!(
        "an outage of {SERVERS} servers, {CLIENTS} clients: a new client's score is {} of {}",
        host.score, host.threshold
    );

    ward.link(|links| links.up("eth0")).unwrap();
}
