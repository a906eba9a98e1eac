//! Engineers' orders, as they come from the admin API, put to the responder.

use ipnetwork::IpNetwork;

use crate::api::orders::{Done, Order, Refusal, Request, Target, Which};
use crate::daemon::control::Control;
use crate::published::host_report::HostReport;
use crate::respond::{Block, By, Effect, Exempted, Known, Ordered, breaker};
use crate::store::OrderRow;
use crate::suspect::{Suspect, Who};
use crate::wire::Address;

impl Control {
    /// Carries out one request and answers it.
    pub(super) fn request(&mut self, request: Request) {
        let kind = request.order.kind();
        let label = kind.label();
        let (target, reason) = named(&request.order);
        let outcome = self.order(request.order, &request.by);
        self.published.control_counters.ordered(kind, outcome.is_ok());
        match &outcome {
            Ok(done) => tracing::info!(order = label, by = request.by, "{}", done.message),
            Err(refusal) => tracing::warn!(order = label, by = request.by, "order refused: {refusal}"),
        }
        let answer = match &outcome {
            Ok(done) => done.message.clone(),
            Err(refusal) => refusal.to_string(),
        };
        let (at, operator, what) = (self.clock.now(), request.by.clone(), label.to_owned());
        self.recorder.record_order(OrderRow { at, operator, what, target, reason, done: outcome.is_ok(), answer });
        self.refresh();
        // Whoever asked may have gone away; what was ordered is done all the same.
        let _ = request.reply.send(outcome);
    }

    fn order(&mut self, order: Order, by: &str) -> Result<Done, Refusal> {
        let who = By::Operator(by.to_owned());
        let now = self.clock.now();
        let mut effects = Vec::new();
        let message = match order {
            Order::Act { target, action, duration, reason } => {
                let hosts = addresses(target);
                let mut refused = None;
                let (mut total, mut done) = (0, 0);
                for host in hosts {
                    let users = self.known(host);
                    let users: Vec<_> = if users.is_empty() { vec![None] } else { users.iter().map(Some).collect() };
                    for known in users {
                        total += 1;
                        let ordered = Ordered { host, known, action, duration, reason: &reason };
                        match self.responder.order_act(&ordered, who.clone(), now, &mut effects) {
                            Ok(()) => done += 1,
                            Err(refusal) => refused = Some(refusal),
                        }
                    }
                }
                match (done, refused) {
                    (0, Some(refusal)) => return Err(refusal.into()),
                    (1, None) => format!("{action}: 1 host"),
                    (_, None) => format!("{action}: {done} hosts"),
                    (_, Some(refusal)) => format!("{action}: {done} of {total} hosts; the last refusal: {refusal}"),
                }
            }
            Order::Release { target, reason } => {
                let reason = if reason.is_empty() { "released by command".to_owned() } else { reason };
                let hosts: Vec<Address> = match target {
                    Target::Host(host) => vec![host],
                    Target::Network(network) => {
                        self.responder.blocks().map(Block::host).filter(|host| network.contains(host.ip())).collect()
                    }
                    Target::All => self.responder.blocks().map(Block::host).collect(),
                };
                let mut done = 0;
                for host in &hosts {
                    match self.responder.order_release(*host, &reason, &who, now, &mut effects) {
                        Ok(()) => done += 1,
                        Err(refusal) if matches!(target, Target::Host(_)) => return Err(refusal.into()),
                        Err(_) => {}
                    }
                }
                if done == 0 {
                    let whom = match target {
                        Target::Network(network) => network.to_string(),
                        Target::Host(_) | Target::All => "any network".to_owned(),
                    };
                    return Err(Refusal::NobodyActedOn(whom));
                }
                let pardon = humantime::format_duration(self.responder.settings().pardon);
                format!("released {done} hosts; for {pardon} they are only watched")
            }
            Order::Confirm { which } => {
                let ids = self.held_ids(which)?;
                for id in &ids {
                    self.responder.order_confirm(*id, who.clone(), now, &mut effects)?;
                }
                format!("carried out {} held decisions", ids.len())
            }
            Order::Discard { which } => {
                let ids = self.held_ids(which)?;
                for id in &ids {
                    self.responder.order_discard(*id, who.clone(), now, &mut effects)?;
                }
                format!("discarded {} held decisions", ids.len())
            }
            Order::Reload => self.reload().map_err(Refusal::Reload)?,
            Order::Rearm { zone } => {
                let was_tripped = self.responder.order_rearm(zone);
                let what =
                    zone.map_or_else(|| "the breaker".to_owned(), |host| format!("the zone {}", breaker::zone(host)));
                format!("{what} {}", if was_tripped { "is armed again" } else { "was armed" })
            }
            Order::Exempt { network, reason } => {
                let entry = Exempted { network, by: by.to_owned(), at: now, reason };
                self.responder.order_exempt(entry, &who, now, &mut effects)?;
                self.recorder.keep_exempted(self.responder.exempted());
                self.carry_out(std::mem::take(&mut effects));
                self.reconcile();
                format!(
                    "{network} is on the never-contain list until it is removed by command; add it to the file to keep it there"
                )
            }
            Order::Unexempt { network, .. } => {
                if !self.responder.order_unexempt(network) {
                    return Err(Refusal::NotAdded(network));
                }
                self.recorder.keep_exempted(self.responder.exempted());
                self.publish();
                self.reconcile();
                format!("{network} is off the never-contain list")
            }
        };
        let decisions = effects
            .iter()
            .filter_map(|action| match action {
                Effect::Record(decision) => Some(decision.clone()),
                _ => None,
            })
            .collect();
        self.carry_out(effects);
        Ok(Done { message, decisions })
    }

    /// Who uses an address, as far as it was seen: several where several links have it. The host table may be a moment late: a
    /// host that is a card by now, for the link has answered, is ordered about as a card.
    fn known(&self, address: Address) -> Vec<Known> {
        let (owners, now) = (&self.shared.addresses, self.clock.now());
        let host_table = &self.published.host_table;
        let mut lines = host_table.lines_of(address);
        if lines.is_empty() {
            lines = host_table.users(address).into_iter().map(|(_, line)| line).collect();
        }
        let known = |report: HostReport| {
            let addresses = if report.addresses.is_empty() { vec![address] } else { report.addresses };
            let Suspect { link, who } = report.suspect;
            let card = report.attachment.mac;
            let suspect = match who {
                Who::Address(address)
                    if owners.answered_from(link, address, now) == Some(card) && !owners.is_router(link, card, now) =>
                {
                    Suspect::card(link, card)
                }
                _ => report.suspect,
            };
            Known { suspect, attachment: report.attachment, addresses }
        };
        lines.into_iter().filter_map(|line| line.report).map(known).collect()
    }

    fn held_ids(&self, which: Which) -> Result<Vec<u64>, Refusal> {
        match which {
            Which::One(id) => Ok(vec![id]),
            Which::All => {
                let ids: Vec<u64> = self.responder.held().map(|held| held.id).collect();
                if ids.is_empty() { Err(Refusal::NothingHeld) } else { Ok(ids) }
            }
        }
    }
}

/// Whom and why an order names, for the record.
fn named(order: &Order) -> (Option<String>, Option<String>) {
    let target = |target: &Target| match target {
        Target::Host(host) => host.to_string(),
        Target::Network(network) => network.to_string(),
        Target::All => "all".to_owned(),
    };
    let which = |which: &Which| match which {
        Which::One(id) => id.to_string(),
        Which::All => "all".to_owned(),
    };
    match order {
        Order::Act { target: whom, reason, .. } | Order::Release { target: whom, reason } => {
            (Some(target(whom)), Some(reason.clone()))
        }
        Order::Confirm { which: ids } | Order::Discard { which: ids } => (Some(which(ids)), None),
        Order::Exempt { network, reason } | Order::Unexempt { network, reason } => {
            (Some(network.to_string()), Some(reason.clone()))
        }
        Order::Rearm { zone } => (zone.map(|host| breaker::zone(host).to_string()), None),
        Order::Reload => (None, None),
    }
}

fn addresses(target: Target) -> Vec<Address> {
    match target {
        Target::Host(host) => vec![host],
        Target::Network(network) => hosts_of(network),
        Target::All => Vec::new(),
    }
}

/// The host addresses of a network: without its network and broadcast address where it has them.
fn hosts_of(network: IpNetwork) -> Vec<Address> {
    let all = network.iter().take(crate::api::orders::MOST_ADDRESSES);
    match network {
        IpNetwork::V4(four) if four.prefix() < 31 => {
            all.filter(|ip| *ip != four.network() && *ip != four.broadcast()).map(Address::from).collect()
        }
        _ => all.map(Address::from).collect(),
    }
}
