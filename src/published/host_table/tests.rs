use super::*;
use crate::evidence::Score;
use crate::respond::{Block, Decision, Responder, Settings, Verdict};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(70);
const DECAY: Duration = Duration::from_secs(600);

fn host(n: u32) -> Address {
    Address::v4((0x0a00_0000 | n).to_be_bytes())
}

fn report(seen: u64, score: i32) -> HostReport {
    let at = Timestamp::from_secs(seen);
    HostReport { at, seen: at, score: Score(score), threshold: Score(9900), ..HostReport::default() }
}

const WATCHED: Watch = Watch { throttled: false, since: Timestamp::ZERO, enforced: false };

/// With this suspect contained.
fn contained(suspect: Suspect, host: Address) -> State {
    let mut responder = Responder::new(Settings::default());
    let decision = Decision::without_alarm(NOW, suspect, host, Verdict::Contain, String::new());
    responder.restore(Block::new(Arc::new(decision)).unwrap(), &mut Vec::new());
    responder.state()
}

#[test]
fn quiet_hosts_leave_the_last_eighth_to_suspects() {
    let host_table = HostTable::new(80);
    for n in 0..100 {
        host_table.try_publish(host(n), report(1, 0));
    }
    assert_eq!(host_table.len(), 70);
    assert_eq!(host_table.evicted(), (0, 30));
    assert_eq!(host_table.try_publish(host(200), report(1, 1)), Publication::Yes);
    for n in 300..400 {
        host_table.try_publish(host(n), report(1, 1));
    }
    assert_eq!(host_table.len(), 80);
    assert_eq!(
        host_table.try_publish(host(0), report(2, 0)),
        Publication::Yes,
        "who is in the host table stays up to date"
    );
}

#[test]
fn trimming_drops_the_least_suspicious_and_longest_idle_first() {
    let host_table = HostTable::new(80);
    for n in 0..60 {
        host_table.try_publish(host(n), report(u64::from(n), 0));
    }
    let state = contained(Suspect::address(Link::default(), host(0)), host(0));
    for n in 60..70 {
        host_table.try_publish(host(n), report(0, 5000));
    }
    assert_eq!(host_table.trim(NOW, DECAY, &state), 20);
    assert_eq!(host_table.len(), 50);
    assert!(host_table.get(host(0)).is_some(), "a host with a decision in force stays");
    for n in 1..=20 {
        assert!(host_table.get(host(n)).is_none(), "{n}");
    }
    for n in 21..70 {
        assert!(host_table.get(host(n)).is_some(), "{n}");
    }
    assert_eq!(host_table.trim(NOW, DECAY, &state), 0, "there is room now");
}

#[test]
fn an_address_takes_the_room_of_one_line_whoever_entered_it_first() {
    let host_table = HostTable::new(80);
    host_table.watch(host(1), Link::default(), Some(WATCHED));
    host_table.try_publish(host(2), report(1, 1));
    for n in [1, 2] {
        assert_eq!(host_table.lines.get(&host(n)).unwrap().capacity(), 1);
    }
}

#[test]
fn a_watch_is_entered_even_when_the_host_table_is_full() {
    let host_table = HostTable::new(8);
    for n in 0..8 {
        host_table.try_publish(host(n), report(1, 1));
    }
    host_table.watch(host(99), Link::default(), Some(WATCHED));
    assert_eq!(host_table.get(host(99)).unwrap().watch, Some(WATCHED));
    host_table.watch(host(99), Link::default(), None);
    assert_eq!(host_table.get(host(99)), None);
    assert_eq!(host_table.len(), 8);
}

#[test]
fn what_a_host_speaks_stays_when_its_facts_change() {
    let host_table = HostTable::new(8);
    host_table.speaks(host(1), true, Dialect::NtLm012, false, false);
    host_table.try_publish(host(1), report(1, 0));
    host_table.speaks(host(1), false, Dialect::Smb311, true, false);
    let smb = host_table.get(host(1)).unwrap().smb;
    assert!(smb.smb1() && smb.signing && smb.client != 0 && smb.server != 0);
    for n in 2..100 {
        host_table.speaks(host(n), true, Dialect::Smb311, false, false);
    }
    assert_eq!(host_table.len(), 7, "servers that were only seen answering leave room for suspects");
    assert!(host_table.trim(NOW, DECAY, &State::default()) > 0);
}

#[test]
fn the_same_address_on_two_links_is_two_hosts() {
    let host_table = HostTable::new(80);
    let on = |interface, seen, score| {
        let suspect = Suspect::address(Link::untagged(interface), host(1));
        HostReport { suspect, ..report(seen, score) }
    };
    host_table.speaks(host(1), true, Dialect::Smb311, false, false);
    host_table.try_publish(host(1), on(3, 5, 4000));
    host_table.try_publish(host(1), on(4, 6, 0));
    assert_eq!(host_table.len(), 2, "what was known of it without a link is the first one's");
    let state = contained(Suspect::address(Link::untagged(3), host(1)), host(1));
    let users = host_table.users(host(1));
    let acted = |line: &HostEntry| state.is_acted_on(host(1), line.link, line.suspect());
    let links: Vec<(u32, bool)> = users.iter().map(|(_, line)| (line.link.interface, acted(line))).collect();
    assert_eq!(links, [(4, false), (3, true)]);
    let links = vec![Link::untagged(3), Link::untagged(4)];
    assert_eq!(host_table.overlaps(NOW, 16), (vec![(host(1), links)], 1));
    assert_eq!(host_table.overlaps(Timestamp::from_secs(7000), 16).1, 0, "one of them moved, or left");
    host_table.watch(host(1), Link::untagged(4), Some(WATCHED));
    assert_eq!(host_table.on(host(1), Link::untagged(3)).unwrap().watch, None);
}

#[test]
fn a_card_is_found_by_each_of_its_addresses() {
    let host_table = HostTable::new(80);
    let suspect = Suspect::card(Link::untagged(3), crate::wire::Mac([2, 0, 0, 0, 0, 9]));
    host_table.try_publish(host(1), HostReport { suspect, ..report(1, 9900) });
    host_table.try_publish(host(2), HostReport { suspect, addresses: vec![host(1), host(2)], ..report(2, 9950) });
    for asked in [host(1), host(2)] {
        let users = host_table.users(asked);
        let [(called, line)] = &users[..] else { panic!("{users:?}") };
        assert_eq!(*called, host(2), "the address that it last used");
        assert_eq!(line.report.as_ref().map(|report| report.score), Some(Score(9950)), "the latest report");
    }
    assert_eq!(host_table.users(host(3)), []);
}

#[test]
fn one_address_on_ever_more_links_is_bounded() {
    let host_table = HostTable::new(1000);
    for tag in 1..=900 {
        let suspect = Suspect::address(Link { interface: 3, outer: tag, inner: 0 }, host(1));
        host_table.try_publish(host(1), HostReport { suspect, ..report(1, 0) });
    }
    assert_eq!(host_table.len(), MOST_LINKS);
}

#[test]
fn a_writer_never_waits_for_a_reader() {
    let host_table = HostTable::new(8);
    host_table.try_publish(host(1), report(1, 0));
    let reading = host_table.lines.get(&host(1));
    assert_eq!(host_table.try_publish(host(1), report(2, 0)), Publication::Busy);
    drop(reading);
    assert_eq!(host_table.try_publish(host(1), report(2, 0)), Publication::Yes);
}

#[test]
fn the_nearest_miss_is_kept_until_the_host_is_acted_on() {
    let host_table = HostTable::new(8);
    let miss =
        |host_table: &HostTable| host_table.get(host(1)).unwrap().report.unwrap().near_miss.map(|near| near.score);
    host_table.try_publish(host(1), report(1, 4000));
    assert_eq!(miss(&host_table), None);
    host_table.try_publish(host(1), report(2, 8000));
    host_table.try_publish(host(1), report(3, 100));
    assert_eq!(miss(&host_table), Some(Score(8000)));
    host_table.acted_on(host(1), Link::default());
    assert_eq!(miss(&host_table), None);
    host_table.try_publish(host(1), HostReport { acted: true, ..report(4, 9000) });
    assert_eq!(miss(&host_table), None);
}

#[test]
fn a_watch_ends_as_a_near_miss_once_the_host_has_fallen_back() {
    let host_table = HostTable::new(8);
    host_table.try_publish(host(1), report(0, 5000));
    host_table.watch(host(1), Link::default(), Some(WATCHED));
    assert_eq!(host_table.survey(Timestamp::from_secs(600), DECAY), 1, "four nats are left");
    assert_eq!(host_table.survey(Timestamp::from_secs(1800), DECAY), 0, "two nats are left of nearly ten");
    assert_eq!(host_table.near_misses(), 1);
    assert_eq!(host_table.get(host(1)).unwrap().watch, None);
}
