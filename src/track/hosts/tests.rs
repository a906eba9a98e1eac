//! Facts about whom the table finds by which name, and whom it gives up.

use super::*;
use crate::evidence::{Detail, Score, Signal};

fn address(n: u32) -> Address {
    Address::v4((0x0a00_0000 + n).to_be_bytes())
}

fn evidence(at: Timestamp, weight: i32) -> Evidence {
    Evidence {
        signal: Signal::FailureFirstContact,
        at,
        peer: address(9),
        port: 445,
        weight: Score(weight),
        detail: Detail::Refused,
    }
}

const LINK: Link = Link::untagged(3);

fn known(hosts: &mut Hosts, n: u32, now: Timestamp) -> &mut Host {
    let host = hosts.get_or_insert(Suspect::address(LINK, address(n)), address(n), now).unwrap();
    host.attachment.mac = CARD;
    host
}

const DECAY: Duration = Duration::from_secs(600);

#[test]
fn a_flood_evicts_no_suspect() {
    let mut hosts = Hosts::new(1024, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    for n in 0..20 {
        let host = known(&mut hosts, n, start);
        host.add(evidence(start, 2200), DECAY);
    }
    known(&mut hosts, 20, start).acted = true;
    for n in 1000..1_001_000u32 {
        known(&mut hosts, n, start + Duration::from_micros(u64::from(n)));
    }
    assert!((0..=20).all(|n| hosts.get(address(n)).is_some()));
    assert_eq!(hosts.occupancy(), (1024, 1024));
    assert_eq!(hosts.evicted(), 1_000_021 - 1024);
}

const CARD: Mac = Mac([2, 0, 0, 0, 0, 1]);

#[test]
fn what_an_address_gathered_moves_to_its_card() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    for n in 1..=3 {
        let host = known(&mut hosts, n, start);
        host.add(evidence(start, 1100), DECAY);
        host.lateral.push(start + Duration::from_millis(u64::from(n)));
        hosts.adopt(LINK, CARD, address(n), start, DECAY);
    }
    let card = hosts.suspect(Suspect::card(LINK, CARD)).unwrap();
    assert_eq!((card.score, card.evidence.len()), (Score(3300), 3));
    assert_eq!(card.lateral.within(Duration::from_secs(10), start + Duration::from_secs(1)), 3);
    let mut names: Vec<_> = card.addresses().collect();
    names.sort_unstable();
    assert_eq!(names, [1, 2, 3].map(address));
    assert!((1..=3).all(|n| hosts.suspect(Suspect::address(LINK, address(n))).is_none()));
    assert!((1..=3).all(|n| hosts.get(address(n)).is_some_and(Host::is_card)));
    assert_eq!(hosts.occupancy().0, 1);
}

#[test]
fn what_is_known_of_an_address_without_a_place_becomes_its_cards() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    let card = Suspect::card(LINK, CARD);
    hosts.get_or_insert(card, address(1), start).unwrap().add(evidence(start, 1100), DECAY);
    let nowhere = Suspect::address(Link::default(), address(2));
    hosts.get_or_insert(nowhere, address(2), start).unwrap().add(evidence(start, 2200), DECAY);
    hosts.place(card, address(2), start, DECAY);
    hosts.get_or_insert(card, address(2), start).unwrap();
    assert_eq!(hosts.suspect(card).unwrap().score, Score(3300));
    assert!(hosts.suspect(nowhere).is_none());
    assert_eq!(hosts.occupancy().0, 1);
}

#[test]
fn what_another_card_sent_in_its_name_does_not() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    let forged = known(&mut hosts, 1, start);
    forged.attachment.mac = Mac([2, 0, 0, 0, 0, 66]);
    forged.add(evidence(start, 9000), DECAY);
    assert_eq!(hosts.adopt(LINK, CARD, address(1), start, DECAY), Adopted::Nothing);
    assert!(hosts.get(address(1)).is_none());
    let host = hosts.get_or_insert(Suspect::card(LINK, CARD), address(1), start).unwrap();
    assert_eq!(host.score, Score(0));
}

#[test]
fn the_same_address_on_two_links_is_two_hosts() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    let links = [LINK, Link { outer: 20, ..LINK }];
    for link in links {
        let host = hosts.get_or_insert(Suspect::address(link, address(1)), address(1), start).unwrap();
        host.add(evidence(start, 1100), DECAY);
    }
    assert!(
        links
            .iter()
            .all(|link| hosts.slot(hosts.sender(address(1), *link, CARD).unwrap()).unwrap().score == Score(1100))
    );
    assert_eq!(hosts.occupancy().0, 2);
}

#[test]
fn an_address_that_another_card_proves_is_lost_and_a_card_keeps_its_last_name() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    for n in 1..=2 {
        known(&mut hosts, n, start);
        hosts.adopt(LINK, CARD, address(n), start, DECAY);
    }
    let other = Mac([2, 0, 0, 0, 0, 9]);
    let mut lost = |card, number| {
        let mut suspects = Vec::new();
        hosts.lose(LINK, card, address(number), Timestamp::from_secs(2_000), |host| suspects.push(host.suspect));
        suspects
    };
    assert_eq!(lost(CARD, 1), [], "its own");
    assert_eq!(lost(other, 1), [Suspect::card(LINK, CARD)]);
    assert_eq!(lost(other, 2), [Suspect::card(LINK, CARD)], "a block leaves the last one too");
    assert_eq!(lost(other, 2), [], "once");
    assert!(hosts.get(address(1)).is_none());
    assert_eq!(hosts.get(address(2)).unwrap().suspect, Suspect::card(LINK, CARD), "it is called by it on");
    hosts.adopt(LINK, CARD, address(3), Timestamp::from_secs(2_001), Duration::from_secs(600));
    assert!(hosts.get(address(2)).is_none(), "until it has another");
    assert_eq!(hosts.suspect(Suspect::card(LINK, CARD)).unwrap().addresses().collect::<Vec<_>>(), [address(3)]);
}

#[test]
fn a_card_with_more_names_than_are_kept_forgets_the_oldest() {
    let mut hosts = Hosts::new(64, HashKey::new(1));
    let start = Timestamp::from_secs(1_000);
    let card = Suspect::card(LINK, CARD);
    for n in 0..200 {
        hosts.get_or_insert(card, address(n), start).unwrap();
    }
    assert_eq!(hosts.suspect(card).unwrap().addresses().count(), Host::ADDRESSES);
    assert!(hosts.get(address(0)).is_none() && hosts.get(address(199)).is_some());
    assert_eq!(hosts.names.len(), Host::ADDRESSES);
}
