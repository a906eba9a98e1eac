//! Bad disks, bad files, bad luck: what they cost, and what they must not.

use super::*;

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let cases: [(&str, &[u8]); 3] = [
        ("text", b"this is no database, and long enough to be looked at as one. ".as_slice()),
        ("zeros", &[0; 8192]),
        ("short", b"SQL"),
    ];
    for (name, content) in cases {
        std::fs::write(&path, content).unwrap();
        let mut opened = Store::open(&path).unwrap();
        opened.store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
        if name == "text" {
            let moved = opened.moved.unwrap_or_else(|| panic!("{name} was not moved"));
            assert_eq!(std::fs::read(&moved).unwrap(), content);
            std::fs::remove_file(moved).unwrap();
        }
        drop(opened.store);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn a_file_torn_in_the_middle_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    for n in 0..200 {
        store.record(&decision(n, &format!("10.1.0.{n}"), Verdict::Contain)).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0x5a);
    }
    std::fs::write(&path, bytes).unwrap();
    let opened = Store::open(&path).unwrap();
    assert!(opened.moved.is_some());
    assert_eq!(opened.store.acted().unwrap(), []);
}

#[test]
fn a_row_that_was_edited_into_nonsense_costs_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let mut store = open(&path);
    store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
    store.record(&decision(0, "10.1.0.6", Verdict::Contain)).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE acted SET record = json_set(record, '$.at', 'yesterday') WHERE host = '10.1.0.5'", []).unwrap();
    db.execute("UPDATE records SET record = json_set(record, '$.step', 'x') WHERE host = '10.1.0.5'", []).unwrap();
    db.execute("UPDATE acted SET record = 'x'", []).unwrap_err();
    let acted = open(&path).acted().unwrap();
    assert_eq!(acted.iter().map(|known| known.host.to_string()).collect::<Vec<_>>(), ["10.1.0.6"]);
    assert_eq!(open(&path).recent(10).unwrap().len(), 1);
}

#[test]
fn a_newer_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    drop(open(&path));
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let before = std::fs::read(&path).unwrap();
    let fault = Store::open(&path).unwrap_err();
    assert!(matches!(fault, Fault::Newer { found: 999, .. }), "{fault}");
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
}

#[test]
fn a_full_disk_costs_history_and_nothing_else_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let store = open(&path);
    // The limit holds for this connection; the writer opens a new one after the first refusal, as on a disk with room.
    store.limit_pages(20);
    let handle = StoreHandle::start(&path, Some(store), LIMITS).unwrap();
    let mut refused = None;
    for n in 0..2_000 {
        let begun = Instant::now();
        let kept = handle.record(decision(n, &format!("10.1.{}.{}", n / 250, n % 250), Verdict::Contain)).wait();
        assert!(begun.elapsed() < Duration::from_secs(5));
        if kept == Kept::Refused {
            refused = Some(n);
            break;
        }
    }
    let refused = refused.expect("twenty pages are full at some time");
    assert!(handle.view().error.unwrap().contains("the disk is full"));
    wait_until("recovery", || handle.view().error.is_none() && handle.view().waiting == 0);
    assert_eq!(handle.view().lost, 0);
    drop(handle);
    let store = open(&path);
    assert_eq!(store.recent(5_000).unwrap().len() as u64, refused + 1);
    assert_eq!(store.acted().unwrap().len() as u64, refused + 1);
}

#[test]
fn a_store_that_cannot_be_opened_yet_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later/history.db");
    assert!(matches!(Store::open(&path), Err(Fault::Disk(_))));
    let handle = StoreHandle::start(&path, None, LIMITS).unwrap();
    assert_eq!(handle.record(decision(0, "10.1.0.5", Verdict::Contain)).wait(), Kept::Refused);
    assert!(handle.view().error.unwrap().contains("cannot be opened"));
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    wait_until("catching up", || handle.view().waiting == 0);
    drop(handle);
    assert_eq!(open(&path).acted().unwrap().len(), 1);
}

#[test]
fn a_file_that_came_back_keeps_what_it_knew_but_for_what_happened_since() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("history.db"), directory.path().join("away.db"));
    let mut store = open(&path);
    store.record(&decision(0, "10.1.0.5", Verdict::Contain)).unwrap();
    store.record(&decision(0, "10.1.0.6", Verdict::Contain)).unwrap();
    drop(store);
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    let handle = StoreHandle::start(&path, None, LIMITS).unwrap();
    assert_eq!(handle.record(decision(1, "10.1.0.6", Verdict::Release)).wait(), Kept::Refused);
    assert_eq!(handle.record(decision(1, "10.1.0.7", Verdict::Isolate)).wait(), Kept::Refused);
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    wait_until("catching up", || handle.view().waiting == 0);
    drop(handle);
    let acted = open(&path).acted().unwrap();
    let hosts: Vec<_> = acted.iter().map(|known| known.host.to_string()).collect();
    assert_eq!(hosts, ["10.1.0.5", "10.1.0.7"]);
}

#[test]
fn a_file_that_is_deleted_while_it_runs_is_begun_anew_with_who_is_acted_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let handle = start(&path);
    assert_eq!(handle.record(decision(0, "10.1.0.5", Verdict::Contain)).wait(), Kept::Durable);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("history.db{suffix}")));
    }
    assert_eq!(handle.record(decision(1, "10.1.0.6", Verdict::Contain)).wait(), Kept::Durable);
    drop(handle);
    let store = open(&path);
    assert_eq!(store.recent(10).unwrap().len(), 1);
    assert_eq!(store.acted().unwrap().len(), 2);
}

#[test]
fn somebody_elses_transaction_holds_up_the_disk_and_not_the_sender() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.db");
    let handle = start(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let receipt = handle.record(decision(0, "10.1.0.5", Verdict::Contain));
    assert!(begun.elapsed() < Duration::from_millis(100), "recording took {:?}", begun.elapsed());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(receipt.within(Duration::from_millis(50))), Kept::Waiting);
    other.execute_batch("COMMIT").unwrap();
    wait_until("the record", || handle.view().written == 1);
}

#[test]
fn a_queue_that_overflows_counts_what_is_lost_and_keeps_the_state_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later/history.db");
    let handle = StoreHandle::start(&path, None, LIMITS).unwrap();
    let decisions = 12_000;
    for n in 0..decisions {
        let verdict = if n % 2 == 0 { Verdict::Watch } else { Verdict::Contain };
        // Given to the thread at a pace that the queue before it can take: what overflows is what waits for the disk.
        while handle.view().waiting > 8_000 && n % 16 == 0 && handle.view().lost == 0 {
            std::thread::yield_now();
        }
        handle.record(decision(n, &format!("10.1.{}.{}", n / 250 % 4, n % 250), verdict));
    }
    wait_until("taking all in", || handle.view().waiting <= super::super::handle::QUEUE as u64);
    let lost = handle.view().lost;
    assert!(lost > 0);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    wait_until("catching up", || handle.view().waiting == 0);
    let view = handle.view();
    assert_eq!(view.written + view.lost, decisions, "{view:?}");
    drop(handle);
    let store = open(&path);
    assert_eq!(store.recent(20_000).unwrap().len() as u64, view.written);
}
