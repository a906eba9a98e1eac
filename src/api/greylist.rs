//! What the greylist has to do with an address, in sentences for `firedoor why`.

use crate::published::Published;
use crate::published::greylist::{ServerView, ServersView};
use crate::respond::servers::Standing;
use crate::site::Site;
use crate::wire::Address;

/// Services that are named of one address, each way.
const MOST: usize = 5;

/// For whom `address` waits, and who waits for it.
pub(super) fn sentences(address: Address, published: &Published) -> Vec<String> {
    let (site, servers, waits) = (published.site(), published.servers(), published.waits());
    let verb = if waits.drops { "waits" } else { "would wait" };
    let mut sentences = Vec::new();
    for waited in waits.waits.iter().filter(|waited| waited.sources.contains(&address)).take(MOST) {
        let of = servers.servers.iter().find(|view| view.server.service == waited.service);
        let because = because(of, &servers);
        sentences.push(format!(
            "a first contact of {address} with {} {verb} a second, because {because}; to exempt it: {}",
            waited.service, waited.exempt
        ));
    }
    for view in servers.servers.iter().filter(|view| view.server.service.address == address).take(MOST) {
        let service = view.server.service;
        let given = site
            .detect
            .greylist
            .as_ref()
            .is_some_and(|greylist| greylist.is_given((address, service.transport(), service.port)));
        sentences.push(if given {
            format!("nobody waits for {service}: the configuration names it")
        } else if view.standing == Standing::Known {
            let (clients, days) = (view.server.clients.len(), view.server.days);
            format!("nobody waits for {service}: it answered {clients} clients or more on {days} days")
        } else if covers(&site, view) {
            format!(
                "a first contact of anybody with {service} {verb} a second, because {}",
                because(Some(view), &servers)
            )
        } else {
            continue;
        });
    }
    sentences
}

fn covers(site: &Site, view: &ServerView) -> bool {
    let service = view.server.service;
    let asked = (service.address, service.transport(), service.port);
    site.detect.greylist.as_ref().is_some_and(|greylist| greylist.covers(Address::default(), asked))
}

fn because(view: Option<&ServerView>, servers: &ServersView) -> String {
    let ServersView { sources, days, .. } = servers;
    match view {
        None => "it has answered nobody yet".to_owned(),
        Some(view) if view.standing == Standing::Refusing => "it refuses its clients".to_owned(),
        Some(view) => format!(
            "it is no known server: it answered {} of {sources} clients, on {} of {days} days",
            view.server.clients.len(),
            view.server.days
        ),
    }
}
