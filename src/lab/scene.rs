//! A lab network brought to life: its hosts answer, its server serves, and what arrives at the ward is counted.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::lab::activity::Activity;
use crate::lab::counter::{Arrival, Counter, Sign};
use crate::lab::listener;
use crate::lab::network::Network;
use crate::lab::plan::{CLINICAL, GATEWAY, Plan, Segment, Shape, WARD};
use crate::lab::session::{self, Service, Session};
use crate::lab::{Error, Result};

/// Everything of a lab network but its protection.
#[derive(Debug)]
pub struct Scene {
    /// What counts on the ward's side.
    pub counter: Counter,
    _wards: Vec<Activity>,
    _server: Activity,
    /// The machines.
    pub network: Network,
}

impl Scene {
    /// Builds the network and wakes its hosts; those of the wards listen on `ports`. `program` is a `firedoor`
    /// executable, for the counter.
    pub fn build(program: &Path, plan: Plan, infected: u8, ports: &[u16]) -> Result<Self> {
        let network = Network::build(plan, infected)?;
        let family = network.plan.family();
        let mut wards = Vec::new();
        for ward in &network.wards {
            wards.push(listener::listen(ward, family, ports)?);
        }
        let server = session::serve(&network.server, family)?;
        let victims = network.wards.first().ok_or_else(|| Error::Io {
            what: "count what reaches the victims".to_owned(),
            source: io::Error::other("the plan has no ward"),
        })?;
        let counter = Counter::start(program, victims, network.plan.network(WARD))?;
        Ok(Scene { counter, _wards: wards, _server: server, network })
    }

    /// Starts the clinical sessions: the uninvolved client's, and those an infected host also has.
    pub fn work(&self) -> Result<Vec<Session>> {
        let server = self.network.plan.address(Segment::Server, CLINICAL);
        let mut sessions = Vec::new();
        for service in [Service::SSH, Service::HTTP, Service::SQL] {
            sessions.push(Session::start(&self.network.clinic, "clinic", server, service)?);
        }
        for host in &self.network.infected {
            for service in [Service::SHELL, Service::HTTP] {
                sessions.push(Session::start(host, host.name(), server, service)?);
            }
        }
        Ok(sessions)
    }

    /// The first contacts among `arrivals` that came from `source`: see [`first_contacts`].
    #[must_use]
    pub fn first_contacts(&self, arrivals: &[Arrival], source: IpAddr) -> Vec<IpAddr> {
        first_contacts(&self.network.plan, arrivals, source)
    }
}

/// The distinct addresses of the ward that `source` reached: its SYNs arrived, or (towards a dark address, behind a
/// router) the gateway's question for it. With several sources at once, questions cannot be distinguished and count for
/// each. In the order of arrival.
#[must_use]
pub fn first_contacts(plan: &Plan, arrivals: &[Arrival], source: IpAddr) -> Vec<IpAddr> {
    let gateway = plan.address(WARD, GATEWAY);
    let mut seen = HashSet::new();
    arrivals
        .iter()
        .filter(|arrival| match arrival.sign {
            Sign::Syn => arrival.source == source,
            // Behind a router, only the router asks for strangers; behind a bridge, hosts ask for themselves.
            Sign::Asked => {
                plan.shape() == Shape::Routed && !plan.is_live(arrival.destination) && arrival.destination != gateway
            }
        })
        .map(|arrival| arrival.destination)
        .filter(|&destination| seen.insert(destination))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Family, INFECTED};
    use crate::time::Timestamp;

    #[test]
    fn a_dark_address_counts_by_the_gateways_question_and_a_live_one_by_the_syn() {
        let plan = Plan::new(Family::Ipv4, Shape::Routed, 30, 1);
        let dark = (2..=254).find(|host| !plan.live().contains(host)).unwrap();
        let (live, worm) = (plan.live()[0], plan.address(Segment::Office, INFECTED));
        let arrival = |sign, source, host| Arrival {
            at: Timestamp::ZERO,
            sign,
            source,
            destination: plan.address(WARD, host),
            port: 0,
        };
        let gateway = plan.address(WARD, GATEWAY);
        let client = plan.address(Segment::Clinic, CLINICAL);
        let arrivals = [
            arrival(Sign::Asked, gateway, live),
            arrival(Sign::Syn, worm, live),
            arrival(Sign::Asked, gateway, dark),
            arrival(Sign::Syn, worm, dark),
            arrival(Sign::Syn, client, plan.live()[1]),
            arrival(Sign::Asked, plan.address(WARD, live), GATEWAY),
        ];
        assert_eq!(first_contacts(&plan, &arrivals, worm), [live, dark].map(|host| plan.address(WARD, host)));
    }
}
