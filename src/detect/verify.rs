//! Is this frame from whom it says? What can be known of that without trusting the sender.
//!
//! A forged SYN must not get its victim contained. A bare SYN or an ARP request proves nothing about who sent it, so it
//! only weighs if it comes from where its source is known to be: interface, VLAN and hardware address as that host's own
//! frames showed them, the link layer's own word (ARP replies, the kernel's neighbour table), the networks attached to
//! each interface, and the routes beyond them. What passes here from behind a router cannot be told apart by its frames; THREAT_MODEL.md says so.

use std::time::Duration;

use crate::detect::counters::Unverified;
use crate::detect::settings::Settings;
use crate::evidence::Attachment;
use crate::time::Timestamp;
use crate::track::{Host, Shared};
use crate::wire::Frame;

/// A host that sent nothing for so long may turn up somewhere else.
const QUIET: Duration = Duration::from_secs(300);

/// Where a host is and whether it shares its card with many is looked at again after this.
const AGAIN: Duration = Duration::from_secs(30);

fn attachment(frame: &Frame<'_>) -> Attachment {
    Attachment {
        interface: frame.meta.interface,
        vlan: frame.meta.vlan.unwrap_or(0),
        mac: frame.mac_source.unwrap_or_default(),
    }
}

/// Checks `frame`, whose source is `host`, and keeps the host's attachment up to date.
///
/// # Errors
/// The first reason found not to trust it.
pub fn verify(
    settings: &Settings,
    shared: &Shared,
    host: &mut Host,
    frame: &Frame<'_>,
    now: Timestamp,
) -> Result<(), Unverified> {
    let here = attachment(frame);
    let source = host.address;
    let known = host.attached_at != Timestamp::ZERO;
    if known && here == host.attachment && now.since(host.verified_at) < AGAIN {
        host.attached_at = now;
        return Ok(());
    }
    let (addresses, v4, has_mac) = (&shared.addresses, source.is_v4(), frame.mac_source.is_some());
    if has_mac {
        addresses.sent_by(here.mac, source, now);
    }
    let many = has_mac && addresses.shows_many(here.mac, v4, now);
    for (interface, networks) in &settings.attached {
        if networks.contains(source) {
            if *interface != here.interface {
                return Err(Unverified::ReversePath);
            }
            // A card that forges many sources is still believed for the address that the link layer itself finds there:
            // or a worm could forge its way out of being judged.
            if many && addresses.resolution(source, now) != Some(here.mac) {
                return Err(Unverified::ManyAddresses);
            }
        }
    }
    // A tagged frame came in by the VLAN's interface, whose index the ring does not tell.
    if settings.reverse_path && here.vlan == 0 && settings.paths.lead(source, here.interface) == Some(false) {
        return Err(Unverified::ReversePath);
    }
    if !known || here != host.attachment {
        let routed = has_mac && addresses.is_router(here.mac, now);
        if has_mac
            && !routed
            && let Some(mac) = addresses.resolution(source, now)
            && mac != here.mac
            && !addresses.is_router(mac, now)
        {
            return Err(Unverified::Mac);
        }
        // A forger may have been there first: what the device itself answered is better than his word.
        let answers = || has_mac && addresses.answered_from(source, now) == Some(here.mac);
        if known && now.since(host.attached_at) < QUIET && !answers() {
            let old = host.attachment;
            if (old.interface, old.vlan) != (here.interface, here.vlan) {
                return Err(Unverified::Interface);
            }
            if !(routed && addresses.is_router(old.mac, now)) {
                return Err(Unverified::Mac);
            }
        }
        host.attachment = here;
    }
    host.attached_at = now;
    host.verified_at = now;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::paths::Paths;
    use crate::detect::settings::Networks;
    use crate::track::{Hosts, Keys};
    use crate::wire::frame::{Meta, Packet};
    use crate::wire::{Address, Mac};

    const HOST: Address = Address::v4([10, 0, 1, 5]);

    struct Scene {
        settings: Settings,
        shared: Shared,
        hosts: Hosts,
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
            let shared = Shared::new(1024, Duration::from_secs(86_400), Keys::new(1));
            Scene { settings, shared, hosts: Hosts::new(64, Keys::new(1)) }
        }

        fn from(&mut self, source: Address, interface: u32, mac: u8, secs: u64) -> Result<(), Unverified> {
            let now = Timestamp::from_secs(1_000_000 + secs);
            let frame = Frame {
                meta: Meta { at: now, interface, ..Meta::default() },
                mac_source: Some(Mac([2, 0, 0, 0, 0, mac])),
                mac_destination: None,
                encapsulation: crate::wire::frame::Encapsulation::None,
                tunnel: None,
                unread: None,
                packet: Packet::NonIp,
            };
            let host = self.hosts.get_or_insert(source, now).unwrap();
            verify(&self.settings, &self.shared, host, &frame, now)
        }
    }

    #[test]
    fn a_host_is_believed_where_it_lives() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(HOST, 1, 5, 10), Ok(()));
    }

    #[test]
    fn a_forger_elsewhere_is_not() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(HOST, 1, 66, 1), Err(Unverified::Mac));
        assert_eq!(scene.from(HOST, 2, 66, 1), Err(Unverified::ReversePath));
        assert_eq!(scene.from(HOST, 1, 5, 2), Ok(()), "the host itself is believed on");
    }

    #[test]
    fn a_source_that_lives_nowhere_behind_the_interface_is_not_believed() {
        let mut scene = Scene::new();
        let routes = [("10.0.1.0/24", 1), ("10.0.2.0/24", 2), ("10.9.0.0/16", 2)];
        let routes = routes.map(|(network, interface)| (254, network.parse().unwrap(), interface));
        scene.settings.paths = Paths::new(&routes);
        let (remote, nowhere) = (Address::v4([10, 9, 0, 1]), Address::v4([10, 77, 0, 1]));
        assert_eq!(scene.from(remote, 1, 66, 0), Err(Unverified::ReversePath));
        assert_eq!(scene.from(remote, 2, 5, 0), Ok(()));
        for interface in [1, 2] {
            assert_eq!(scene.from(nowhere, interface, 66, 0), Err(Unverified::ReversePath));
        }
        assert_eq!(scene.from(nowhere, 7, 66, 0), Ok(()), "a bridge's port: no route leads there");
        assert_eq!(scene.from(HOST, 1, 5, 0), Ok(()));
        scene.settings.reverse_path = false;
        let other = Address::v4([10, 9, 0, 2]);
        assert_eq!(scene.from(other, 1, 66, 0), Ok(()), "paths are asymmetric by intent");
    }

    #[test]
    fn a_device_that_was_quiet_may_move() {
        let mut scene = Scene::new();
        let remote = Address::v4([10, 9, 0, 1]);
        assert_eq!(scene.from(remote, 1, 5, 0), Ok(()));
        assert_eq!(scene.from(remote, 2, 6, 100), Err(Unverified::Interface));
        assert_eq!(scene.from(remote, 2, 6, 400), Ok(()));
    }

    #[test]
    fn many_addresses_of_one_segment_behind_one_card_are_forged_and_behind_a_router_are_not() {
        let mut scene = Scene::new();
        let results: Vec<_> = (10..40).map(|n| scene.from(Address::v4([10, 0, 1, n]), 1, 66, 0)).collect();
        assert!(results.iter().skip(10).all(|result| *result == Err(Unverified::ManyAddresses)), "{results:?}");
        assert_eq!(scene.from(Address::v4([10, 0, 1, 10]), 1, 66, 31), Err(Unverified::ManyAddresses));
        for n in 0..30 {
            assert_eq!(scene.from(Address::v4([10, 7, n, 1]), 2, 77, 0), Ok(()));
        }
    }

    #[test]
    fn a_forger_is_judged_for_its_own_address() {
        let mut scene = Scene::new();
        let at = Timestamp::from_secs(1_000_000);
        scene.shared.addresses.resolved(HOST, Mac([2, 0, 0, 0, 0, 66]), at);
        for n in 10..40 {
            let _ = scene.from(Address::v4([10, 0, 1, n]), 1, 66, 0);
        }
        assert_eq!(scene.from(Address::v4([10, 0, 1, 77]), 1, 66, 1), Err(Unverified::ManyAddresses));
        assert_eq!(scene.from(HOST, 1, 66, 1), Ok(()));
    }

    #[test]
    fn a_forger_who_was_there_first_does_not_keep_the_host_from_being_judged() {
        let mut scene = Scene::new();
        assert_eq!(scene.from(HOST, 1, 66, 0), Ok(()), "nobody contradicts him yet");
        assert_eq!(scene.from(HOST, 1, 5, 1), Err(Unverified::Mac));
        scene.shared.addresses.resolved(HOST, Mac([2, 0, 0, 0, 0, 5]), Timestamp::from_secs(1_000_001));
        assert_eq!(scene.from(HOST, 1, 5, 2), Ok(()));
        assert_eq!(scene.from(HOST, 1, 66, 3), Err(Unverified::Mac));
    }

    #[test]
    fn the_link_layers_word_is_heeded() {
        let mut scene = Scene::new();
        let at = Timestamp::from_secs(1_000_000);
        scene.shared.addresses.resolved(HOST, Mac([2, 0, 0, 0, 0, 5]), at);
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
