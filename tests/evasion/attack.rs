//! A worm's round: whom it asks, from which of its names, how fast and how dressed; and the toll of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use firedoor::lab::plan::Family;

use crate::dress::Dress;
use crate::host::Host;
use crate::packet::Segment;
use crate::rows::Finding;
use crate::site::{ATTACKER, MOST, Site};

/// What one does.
#[derive(Clone)]
pub struct Attack {
    pub family: Family,
    pub port: u16,
    pub dress: Dress,
    /// Contacts a second.
    pub pace: f64,
    /// How many contacts.
    pub count: usize,
    /// Its names, one after the other for so many contacts each; none is the attacker's own address.
    pub names: Vec<IpAddr>,
    pub each: usize,
    /// Whether it knows no better than to ask where nobody lives.
    pub unlucky: bool,
}

impl Attack {
    /// A plain worm on port 445 at this pace, for some seconds.
    pub fn new(family: Family, pace: f64) -> Self {
        // Slow ones go on for as long as a test may take, fast ones until they would have everybody.
        let count = if pace < 10.0 {
            (pace * 6.0).ceil().max(30.0) as usize
        } else if pace < 500.0 {
            120
        } else {
            1_000
        };
        Attack { family, port: 445, dress: Dress::Plain, pace, count, names: Vec::new(), each: 1, unlucky: false }
    }

    /// The same dressed so.
    pub fn dressed(self, dress: Dress) -> Self {
        Attack { dress, ..self }
    }

    /// Calls `strike` at this pace for each contact with its source and destination.
    pub fn each(&self, site: &Site, mut strike: impl FnMut(usize, (IpAddr, IpAddr))) {
        let ground = &site.ground;
        let targets = if self.unlucky { ground.dark(self.family) } else { ground.everybody(self.family) };
        let begun = Instant::now();
        let own = [site.ground.office(self.family, ATTACKER)];
        let names = if self.names.is_empty() { &own[..] } else { &self.names };
        for number in 0..self.count {
            let due = Duration::from_secs_f64(number as f64 / self.pace);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            strike(number, (names[number / self.each % names.len()], targets[number % targets.len()]));
        }
        std::thread::sleep(Duration::from_millis(500));
    }

    /// Strikes by connections.
    pub fn run(&self, site: &Site, host: &Host) {
        self.each(site, |_, ends| host.knock(ends, self.port, self.dress));
    }

    /// Strikes by SYNs with something more to them.
    pub fn run_with(&self, site: &Site, host: &Host, more: &Segment<'_>) {
        self.each(site, |_, ends| {
            host.knock_with(host.card(), ends, self.port, self.dress, more);
        });
    }

    /// Runs it; at most [`MOST`] victims are reached, and afterwards its door is shut.
    pub fn is_contained(&self, site: &Site, host: &Host) -> Finding {
        self.run(site, host);
        self.was_contained(site, host)
    }

    /// What [`Attack::is_contained`] asks for, of an attack that was made by other means.
    pub fn was_contained(&self, site: &Site, host: &Host) -> Finding {
        let own = site.ground.office(self.family, ATTACKER);
        let last = self.names.get((self.count - 1) / self.each % self.names.len().max(1)).copied().unwrap_or(own);
        let mine = |source: IpAddr| source == own || self.names.contains(&source);
        let reached = site.reached(mine, self.port).len();
        let (connected, paid) = (host.connected().len(), site.visits.to(mine, self.port, 1).len());
        let open = site.open_to(host, last, self.port);
        let toll = format!(
            "{} contacts at {}/s: {reached} victims reached, {connected} handshakes, {paid} payloads, then {open} of 4 SYNs pass",
            self.count, self.pace
        );
        eprintln!("{toll}");
        if reached <= MOST && paid <= MOST && open == 0 { Ok(()) } else { Err(toll) }
    }
}
