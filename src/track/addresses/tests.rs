//! Facts about what is known of addresses, and for how long.

use super::*;

const A: Address = Address::v4([10, 0, 0, 1]);
const B: Address = Address::v4([10, 0, 0, 2]);

fn table(capacity: usize) -> Addresses {
    Addresses::new(capacity, Duration::from_secs(86_400), HashKey::new(3))
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

#[test]
fn an_address_is_alive_once_seen_and_for_the_memory() {
    let table = table(64);
    assert!(!table.is_alive(A, at(0)));
    table.saw(A, at(0));
    assert!(table.is_alive(A, at(86_400)));
    assert!(!table.is_alive(A, at(86_402)));
    assert!(!table.is_subnet_known(B, Duration::from_secs(600), at(599)));
    assert!(table.is_subnet_known(B, Duration::from_secs(600), at(600)));
    assert!(!table.is_subnet_known(Address::v4([10, 0, 1, 1]), Duration::from_secs(600), at(600)));
}

#[test]
fn an_unanswered_question_of_the_gateway_is_settled_by_any_word() {
    let table = table(64);
    let patience = Duration::from_millis(20);
    table.asked(B, at(0));
    table.asked(B, at(5));
    assert!(!table.unanswered(B, patience, at(0)));
    assert!(table.unanswered(B, patience, at(0) + patience));
    table.saw(B, at(6));
    assert!(!table.unanswered(B, patience, at(9)));
}

#[test]
fn a_server_is_known_when_two_others_use_it() {
    let table = table(64);
    let clients: Vec<_> = (1..40).map(|n| Address::v4([10, 0, 5, n])).collect();
    table.served(B, 445, clients[0], at(0));
    assert!(!table.is_known_server(B, 445, A, at(0)));
    for &client in &clients {
        table.served(B, 445, client, at(1));
    }
    assert!(table.is_known_server(B, 445, A, at(1)));
    assert!(!table.is_known_server(B, 22, A, at(1)), "on that port");
}

#[test]
fn several_failing_on_what_served_lately_is_seen() {
    let table = table(64);
    assert_eq!(table.failed(B, 445, A, at(0)), 0);
    table.served(B, 445, A, at(0));
    let mut most = 0;
    for n in 1..40 {
        most = table.failed(B, 445, Address::v4([10, 0, 5, n]), at(1));
    }
    assert!(most > 10);
    assert_eq!(table.failed(B, 445, A, at(700)), 1, "an old outage is over");
    assert_eq!(table.failed(B, 22, A, at(700)), 0, "it never served that");
}

#[test]
fn a_flood_of_new_addresses_spares_servers_and_admits_that_it_forgets() {
    let table = table(256);
    for n in 0..20 {
        table.served(Address::v4([10, 0, 9, n]), 445, A, at(0));
        table.served(Address::v4([10, 0, 9, n]), 445, B, at(0));
    }
    assert!(!table.under_pressure(at(1)));
    for n in 0..100_000u32 {
        table.saw(Address::v4((0x0a40_0000 + n).to_be_bytes()), at(1));
    }
    let client = Address::v4([10, 9, 9, 9]);
    assert!((0..20).all(|n| table.is_known_server(Address::v4([10, 0, 9, n]), 445, client, at(2))));
    assert!(table.under_pressure(at(2)));
    assert!(table.evicted() > 1000);
    assert_eq!(table.occupancy(), (256, 256));
}

#[test]
fn whatever_is_pushed_out_the_table_admits_that_it_forgets() {
    let evict: [fn(&Addresses, u32); 3] = [
        |table, n| table.served(Address::v4((0x0a40_0000 + n).to_be_bytes()), 445, A, at(0)),
        |table, n| table.carried(Link { outer: u16::try_from(n).unwrap(), ..LINK }, CARD, A, at(0)),
        |table, n| table.resolved(LINK, Address::v4((0x0a40_0000 + n).to_be_bytes()), CARD, at(0)),
    ];
    for push in evict {
        let table = table(64);
        assert_eq!(Addresses::bytes(64), 64 * 64, "a cache line each");
        (0..1000).for_each(|n| push(&table, n));
        assert!(table.evicted() > 0 && table.under_pressure(at(599)) && !table.under_pressure(at(600)));
    }
}

#[test]
fn a_zones_hosts_are_estimated() {
    let table = table(4096);
    assert_eq!(table.subnet_hosts(A), 0);
    for n in 1..=80 {
        table.saw(Address::v4([10, 0, 0, n]), at(0));
    }
    let estimate = table.subnet_hosts(A);
    assert!((60..=100).contains(&estimate), "{estimate}");
}

const LINK: Link = Link::untagged(2);
const CARD: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

#[test]
fn a_card_that_sends_from_many_addresses_that_it_does_not_own_looks_like_a_router() {
    let table = table(256);
    for n in 0..30u8 {
        table.carried(LINK, CARD, Address::v4([10, 3, n, 1]), at(0));
        table.carried(LINK, OTHER, A, at(0));
        table.carried(LINK, OTHER, Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n % 8]), at(0));
    }
    assert!(table.is_router(LINK, CARD, at(0)));
    assert!(!table.is_forwarder(LINK, CARD, at(0)), "that is no proof that it is one");
    assert!(!table.is_router(Link { outer: 7, ..LINK }, CARD, at(0)), "on that link");
    assert_eq!(table.carries(LINK, OTHER, true, at(0)), 1);
    assert!(!table.is_router(LINK, OTHER, at(0)), "several IPv6 addresses are nothing odd");
    // A lease a day, for a year.
    for day in 0..365u64 {
        table.carried(LINK, OTHER, Address::v4([10, 0, 7, u8::try_from(day % 250).unwrap()]), at(86_400 * day));
        assert!(!table.is_router(LINK, OTHER, at(86_400 * day)));
    }
    assert!(!table.is_router(LINK, CARD, at(7200)), "nor is a router what stopped to be one");
}

#[test]
fn a_forwarder_is_one_for_the_memory() {
    let table = table(256);
    table.forwards(LINK, CARD, at(0));
    assert!(table.is_forwarder(LINK, CARD, at(86_000)));
    assert!(!table.is_forwarder(LINK, CARD, at(90_000)));
    assert!(!table.is_forwarder(LINK, OTHER, at(0)));
}

#[test]
fn an_answer_is_better_than_a_claim_and_each_link_has_its_own() {
    let table = table(256);
    let other_link = Link { outer: 20, ..LINK };
    table.claimed(LINK, A, OTHER, at(0));
    assert_eq!((table.resolution(LINK, A, at(0)), table.answered_from(LINK, A, at(0))), (Some(OTHER), None));
    table.resolved(LINK, A, CARD, at(1));
    table.claimed(LINK, A, OTHER, at(2));
    assert_eq!(table.answered_from(LINK, A, at(2)), Some(CARD));
    assert_eq!(table.resolution(other_link, A, at(2)), None);
    assert_eq!(table.answered_from(LINK, A, at(302)), None, "an old answer");
}

#[test]
fn how_many_missed_an_address_is_remembered_for_the_memory() {
    let table = table(256);
    assert_eq!(table.missing(B, at(0)), 0);
    for n in 0..10 {
        table.missed(B, Address::v4([10, 0, 5, n]), at(u64::from(n) * 3600));
    }
    assert!(table.missing(B, at(36_000)) >= 5);
    assert!(!table.is_alive(B, at(36_000)), "that does not make it alive");
    assert_eq!(table.missing(B, at(36_000 + 86_401)), 0);
}
