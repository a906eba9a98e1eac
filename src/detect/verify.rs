//! Who sent this frame, and is it from whom it says? What can be known of that without trusting the sender.
//!
//! A forged SYN must not get its victim contained. A bare SYN or an ARP request proves nothing about who sent it, so it
//! only weighs if it comes from where its source is known to be: link and card as that host's own frames showed them, the
//! link's own word (ARP replies, the kernel's neighbour table), the networks attached to each interface, and the routes
//! beyond them. An address whose card is proved is that card's; until then, and behind a router, it is judged by itself.
//! What passes here from behind a router cannot be distinguished by its frames; THREAT_MODEL.md says so.

use std::time::Duration;

use crate::detect::counters::Unverified;
use crate::detect::settings::Settings;
use crate::evidence::Attachment;
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::{Host, Hosts, Shared};
use crate::wire::frame::Encapsulation;
use crate::wire::{Address, Frame, Mac};

/// A host that sent nothing for so long may turn up somewhere else.
const QUIET: Duration = Duration::from_secs(300);

/// Where a host is and whether it shares its card with many is looked at again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// Why a frame is not believed, and whether its link should be asked who has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The first reason found.
    pub reason: Unverified,
    /// The link's answer could change that.
    pub probe: bool,
}

impl From<Unverified> for Rejection {
    fn from(reason: Unverified) -> Self {
        Rejection { reason, probe: false }
    }
}

/// The host that `frame` is from, its source being `source`: found or made known, checked, and its attachment kept up to
/// date. With it, whether it was unknown and its card is not proved.
///
/// # Errors
/// The first reason found not to believe the frame; `None` where no room could be made.
pub fn identify<'h>(
    settings: &Settings,
    shared: &Shared,
    hosts: &'h mut Hosts,
    frame: &Frame<'_>,
    source: Address,
    now: Timestamp,
) -> Result<(&'h mut Host, bool), Option<Rejection>> {
    let (link, card) = (frame.link(), frame.mac_source.unwrap_or_default());
    let (host, new) = match hosts.sender(source, link, card) {
        Some(slot) => (hosts.sending(slot, source), false),
        None => match suspect_of(settings, shared, hosts, frame, source, now)? {
            // The name stays out of what the card is known by, and of its block, until the card answers for it: it may be
            // a neighbour's.
            (suspect, Proof::Acted) => (hosts.suspect_mut(suspect), frame.mac_source.is_some()),
            (suspect, proof) => {
                let unproved = proof == Proof::None && frame.mac_source.is_some();
                hosts.place(suspect, source, now, settings.decay);
                (hosts.get_or_insert(suspect, source, now), unproved)
            }
        },
    };
    let host = host.ok_or(None)?;
    host.seen = now;
    verify(settings, shared, host, frame, source, now)?;
    Ok((host, new))
}

/// Why an address is taken for a card's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// It is not: it is judged by itself.
    None,
    /// The card answered for it (in a replay: claims it).
    Answered,
    /// The card is acted on: whatever it sends is its own doing.
    Acted,
}

/// Whom a frame of an unknown sender is about.
fn suspect_of(
    settings: &Settings,
    shared: &Shared,
    hosts: &Hosts,
    frame: &Frame<'_>,
    source: Address,
    now: Timestamp,
) -> Result<(Suspect, Proof), Rejection> {
    let (link, addresses) = (frame.link(), &shared.addresses);
    let by_itself = (Suspect::address(link, source), Proof::None);
    let Some(card) = frame.mac_source else { return Ok(by_itself) };
    let of_card = Suspect::card(link, card);
    if frame.encapsulation != Encapsulation::None && !addresses.is_forwarder(link, card, now) {
        // Nobody can be asked through tags or PPPoE, and the door acts there by card alone.
        return Ok((of_card, Proof::Answered));
    }
    match addresses.answered_from(link, source, now) {
        Some(owner) if owner == card => return Ok((of_card, Proof::Answered)),
        Some(_) if addresses.is_router(link, card, now) => return Ok(by_itself),
        // A forger, or the address is another card's by now: that one answers.
        Some(_) => return Err(Rejection { reason: Unverified::Mac, probe: true }),
        None => {}
    }
    let claims = || settings.believe_claims && addresses.resolution(link, source, now) == Some(card);
    // A card that is acted on is known to be one host, whatever else it calls itself.
    let acted = || hosts.suspect(of_card).is_some_and(|host| host.acted) && !addresses.is_forwarder(link, card, now);
    if claims() {
        return Ok((of_card, Proof::Answered));
    }
    if acted() {
        return Ok((of_card, Proof::Acted));
    }
    // The same host seen once more on its way, or a forger elsewhere. If it answers here, it is another of that name.
    let elsewhere = hosts.get(source).filter(|host| host.suspect.link != link && host.attached_at != Timestamp::ZERO);
    if elsewhere.is_some_and(|host| now.since(host.attached_at) < QUIET) {
        return Err(Rejection { reason: Unverified::Interface, probe: true });
    }
    Ok(by_itself)
}

/// Where a frame comes from.
#[must_use]
pub fn attachment(frame: &Frame<'_>) -> Attachment {
    let link = frame.link();
    Attachment {
        interface: link.interface,
        vlan: link.outer,
        inner_vlan: link.inner,
        mac: frame.mac_source.unwrap_or_default(),
    }
}

/// Checks `frame`, which `host` is to have sent from `source`, and keeps the host's attachment up to date.
fn verify(
    settings: &Settings,
    shared: &Shared,
    host: &mut Host,
    frame: &Frame<'_>,
    source: Address,
    now: Timestamp,
) -> Result<(), Rejection> {
    let here = attachment(frame);
    let known = host.attached_at != Timestamp::ZERO;
    if known && here == host.attachment && now.since(host.verified_at) < AGAIN {
        host.attached_at = now;
        return Ok(());
    }
    let (addresses, link) = (&shared.addresses, frame.link());
    let attached = |interface: &u32| *interface == here.interface;
    let mut holding = settings.attached.iter().filter(|(_, networks)| networks.contains(source)).peekable();
    if holding.peek().is_some() && !holding.any(|(interface, _)| attached(interface)) {
        return Err(Unverified::ReversePath.into());
    }
    // A tagged frame came in by the VLAN's interface, whose index the ring does not show.
    if settings.check_reverse_path
        && here.vlan == 0
        && settings.reverse_paths.permits(source, here.interface) == Some(false)
    {
        return Err(Unverified::ReversePath.into());
    }
    if host.is_card()
        && let Some(owner) = addresses.answered_from(link, source, now)
        && owner != here.mac
        && !addresses.is_forwarder(link, here.mac, now)
    {
        // Another card took the address over. Whoever has it by right answers for it.
        return Err(Rejection { reason: Unverified::Mac, probe: true });
    }
    if let Some(card) = frame.mac_source.filter(|_| !host.is_card()) {
        addresses.carried(link, card, source, now);
    }
    if !host.is_card() && (!known || here != host.attachment) {
        let routed = frame.mac_source.is_some_and(|card| addresses.is_router(link, card, now));
        let owner = addresses.resolution(link, source, now);
        if frame.mac_source.is_some()
            && !routed
            && owner.is_some_and(|owner| owner != here.mac && !addresses.is_router(link, owner, now))
        {
            return Err(Unverified::Mac.into());
        }
        // A forger may have been there first: what the card itself answered is better than his word.
        let answers = || addresses.answered_from(link, source, now) == Some(here.mac);
        let other_card = known && host.attachment.mac != here.mac && now.since(host.attached_at) < QUIET;
        if other_card && !answers() && !(routed && addresses.is_router(link, host.attachment.mac, now)) {
            return Err(Rejection { reason: Unverified::Mac, probe: true });
        }
    }
    if known && here != host.attachment && host.unconfirmed.is_some() {
        // Whoever sent in its name was not there, and this is another.
        host.reset(now);
        host.destinations = 0;
    }
    host.attachment = here;
    host.attached_at = now;
    host.verified_at = now;
    Ok(())
}

/// Whether `host` is an address of an attached network, not proved to be its card's, whose card sends in many names: then
/// nothing is done about it before its card is proved.
pub fn is_one_of_many(settings: &Settings, shared: &Shared, host: &Host, now: Timestamp) -> bool {
    let (link, card) = (host.suspect.link, host.attachment.mac);
    !host.is_card()
        && card != Mac::default()
        && settings.is_attached(link.interface, host.address)
        && shared.addresses.carries_many(link, card, host.address.is_v4(), now)
        && !shared.addresses.is_forwarder(link, card, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::reverse_path::ReversePaths;
    use crate::suspect::Who;
    use crate::track::HashKey;
    use crate::wire::frame::{Meta, Packet};
    use crate::wire::{Link, Networks};

    const HOST: Address = Address::v4([10, 0, 1, 5]);
    const LINK: Link = Link::untagged(1);

    struct Scene {
        settings: Settings,
        shared: Shared,
        hosts: Hosts,
    }

    const fn card(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    impl Scene {
        fn new() -> Self {
            let settings = Settings {
                attached: vec![
                    (1, Networks::new(vec!["10.0.1.0/24".parse().unwrap()])),
                    (2, Networks::new(vec!["10.0.2.0/24".parse().unwrap()])),
                ],
                ..Settings::default()
            };
            let shared = Shared::new(1024, Duration::from_secs(86_400), HashKey::new(1));
            Scene { settings, shared, hosts: Hosts::new(64, HashKey::new(1)) }
        }

        /// The suspect, or why not.
        fn suspect(&mut self, source: Address, interface: u32, mac: u8, secs: u64) -> Result<Who, Unverified> {
            let now = Timestamp::from_secs(1_000_000 + secs);
            let frame = Frame {
                meta: Meta { at: now, interface, ..Meta::default() },
                mac_source: Some(card(mac)),
                mac_destination: None,
                encapsulation: Encapsulation::None,
                tunnel: None,
                unread: None,
                packet: Packet::NonIp,
            };
            identify(&self.settings, &self.shared, &mut self.hosts, &frame, source, now)
                .map(|(host, _)| host.suspect.who)
                .map_err(|rejection| rejection.unwrap().reason)
        }

        fn from(&mut self, source: Address, interface: u32, mac: u8, secs: u64) -> Result<(), Unverified> {
            self.suspect(source, interface, mac, secs).map(|_| ())
        }

        fn answers(&mut self, source: Address, mac: u8, secs: u64) {
            let now = Timestamp::from_secs(1_000_000 + secs);
            self.shared.addresses.resolved(LINK, source, card(mac), now);
            self.hosts.adopt(LINK, card(mac), source, now, Duration::from_secs(600));
        }
    }

    #[test]
    fn a_host_is_believed_where_it_lives() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(HOST, 1, 5, 10), Ok(()));
    }

    #[test]
    fn an_address_is_its_cards_once_the_card_has_answered_for_it() {
        let mut scene = Scene::new();
        let other = Address::v4([10, 0, 1, 6]);
        assert_eq!(scene.suspect(HOST, 1, 5, 0), Ok(Who::Address(HOST)));
        scene.answers(HOST, 5, 1);
        assert_eq!(scene.suspect(HOST, 1, 5, 2), Ok(Who::Card(card(5))));
        scene.answers(other, 5, 3);
        assert_eq!(scene.suspect(other, 1, 5, 4), Ok(Who::Card(card(5))), "another name of the same card");
        assert_eq!(scene.suspect(HOST, 1, 5, 5000), Ok(Who::Card(card(5))), "nothing contradicts it since");
    }

    #[test]
    fn a_forger_elsewhere_is_not() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(HOST, 1, 66, 1), Err(Unverified::Mac));
        assert_eq!(scene.from(HOST, 2, 66, 1), Err(Unverified::Interface));
        assert_eq!(scene.from(HOST, 2, 66, 400), Err(Unverified::ReversePath));
        assert_eq!(scene.from(HOST, 1, 5, 401), Ok(()), "the host itself is believed on");
    }

    #[test]
    fn a_source_that_lives_nowhere_behind_the_interface_is_not_believed() {
        let mut scene = Scene::new();
        let routes = [("10.0.1.0/24", 1), ("10.0.2.0/24", 2), ("10.9.0.0/16", 2)];
        let routes = routes.map(|(network, interface)| (254, network.parse().unwrap(), interface));
        scene.settings.reverse_paths = ReversePaths::new(&routes);
        let (remote, nowhere) = (Address::v4([10, 9, 0, 1]), Address::v4([10, 77, 0, 1]));
        assert_eq!(scene.from(remote, 1, 66, 0), Err(Unverified::ReversePath));
        assert_eq!(scene.from(remote, 2, 5, 0), Ok(()));
        for interface in [1, 2] {
            assert_eq!(scene.from(nowhere, interface, 66, 0), Err(Unverified::ReversePath));
        }
        assert_eq!(scene.from(nowhere, 7, 66, 0), Ok(()), "a bridge's port: no route leads there");
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        scene.settings.check_reverse_path = false;
        let other = Address::v4([10, 9, 0, 2]);
        assert_eq!(scene.from(other, 1, 66, 0), Ok(()), "paths are asymmetric by intent");
    }

    #[test]
    fn a_device_that_was_quiet_may_move_and_one_that_answers_here_is_another() {
        let mut scene = Scene::new();
        let remote = Address::v4([10, 9, 0, 1]);
        assert_eq!(scene.from(remote, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(remote, 2, 6, 100), Err(Unverified::Interface));
        assert_eq!(scene.from(remote, 2, 6, 400), Ok(()));
        let now = Timestamp::from_secs(1_000_500);
        scene.shared.addresses.resolved(Link::untagged(3), remote, card(7), now);
        assert_eq!(scene.suspect(remote, 3, 7, 500), Ok(Who::Card(card(7))), "the same name on another link");
    }

    #[test]
    fn many_addresses_of_one_segment_behind_one_card_wait_for_its_answer() {
        let mut scene = Scene::new();
        for n in 10..40 {
            assert_eq!(scene.from(Address::v4([10, 0, 1, n]), 1, 66, 0), Ok(()));
        }
        let now = Timestamp::from_secs(1_000_001);
        let forged = Address::v4([10, 0, 1, 39]);
        let host = scene.hosts.get(forged).unwrap();
        assert!(is_one_of_many(&scene.settings, &scene.shared, host, now));
        scene.answers(forged, 66, 1);
        let host = scene.hosts.get(forged).unwrap();
        assert!(!is_one_of_many(&scene.settings, &scene.shared, host, now), "it is the card's own");
        for n in 0..30 {
            assert_eq!(scene.from(Address::v4([10, 7, n, 1]), 2, 77, 0), Ok(()));
        }
        let behind = scene.hosts.get(Address::v4([10, 7, 3, 1])).unwrap();
        assert!(!is_one_of_many(&scene.settings, &scene.shared, behind, now), "behind a router");
    }

    #[test]
    fn a_card_that_is_acted_on_is_itself_whatever_it_calls_itself() {
        let mut scene = Scene::new();
        scene.answers(HOST, 66, 0);
        assert_eq!(scene.suspect(HOST, 1, 66, 0), Ok(Who::Card(card(66))));
        scene.hosts.get_mut(HOST).unwrap().acted = true;
        for n in 10..40 {
            assert_eq!(scene.suspect(Address::v4([10, 0, 1, n]), 1, 66, 1), Ok(Who::Card(card(66))));
        }
    }

    #[test]
    fn a_forger_who_was_there_first_does_not_keep_the_host_from_being_judged() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 66, 0), Ok(()), "nobody contradicts him yet");
        assert_eq!(scene.from(HOST, 1, 5, 1), Err(Unverified::Mac));
        scene.answers(HOST, 5, 1);
        assert_eq!(scene.from(HOST, 1, 5, 2), Ok(()));
        assert_eq!(scene.from(HOST, 1, 66, 3), Err(Unverified::Mac));
    }

    #[test]
    fn the_links_word_is_heeded() {
        let mut scene = Scene::new();
        scene.answers(HOST, 5, 0);
        assert_eq!(scene.from(HOST, 1, 66, 1), Err(Unverified::Mac));
        assert_eq!(scene.from(HOST, 1, 5, 1), Ok(()));
    }

    #[test]
    fn two_routers_may_share_a_host() {
        let mut scene = Scene::new();
        for n in 0..30 {
            scene.from(Address::v4([10, 7, n, 1]), 2, 77, 0).unwrap();
            scene.from(Address::v4([10, 8, n, 1]), 2, 78, 0).unwrap();
        }
        assert_eq!(scene.from(Address::v4([10, 7, 3, 1]), 2, 78, 1), Ok(()));
    }
}
