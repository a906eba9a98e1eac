//! A disk that is full or read-only, on a file system of the test's own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use firedoor::respond::Verdict;
use firedoor::store::{Kept, Store, StoreHandle};

use super::{LIMITS, again, decision};

const VARIABLE: &str = "FIREDOOR_TEST_SMALL_DISK";

/// Runs `test` of this program in namespaces of its own, with a tmpfs of 2 MiB at the path it finds in [`VARIABLE`].
fn on_a_small_disk(test: &str) {
    let directory = tempfile::tempdir().unwrap();
    let inner = again(test, VARIABLE, directory.path());
    let mut outer = Command::new("unshare");
    let script = "mount -t tmpfs -o size=2m tmpfs \"$0\" && exec \"$@\"";
    outer.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(directory.path());
    outer.arg(inner.get_program()).args(inner.get_args()).env(VARIABLE, directory.path());
    match outer.output() {
        Ok(out) if out.status.success() => {}
        Ok(out) if String::from_utf8_lossy(&out.stderr).contains("unshare") => {
            eprintln!("SKIPPED {test}: no user namespaces here: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(out) => panic!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
        Err(error) => eprintln!("SKIPPED {test}: cannot run unshare: {error}"),
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(path: &Path) -> StoreHandle {
    StoreHandle::start(path, Some(Store::open(path).unwrap().store), LIMITS).unwrap()
}

/// Records until the disk refuses; gives the number of the refused decision. No call takes long.
fn fill(handle: &StoreHandle) -> u32 {
    for n in 0..10_000 {
        let begun = Instant::now();
        let kept = handle.record(decision(n, Verdict::Contain)).wait();
        assert!(begun.elapsed() < Duration::from_secs(2), "decision {n} took {:?}", begun.elapsed());
        if kept == Kept::Refused {
            return n;
        }
    }
    panic!("2 MiB took ten thousand decisions");
}

#[test]
fn inside_a_full_disk() {
    let Some(directory) = std::env::var_os(VARIABLE) else { return };
    let directory = Path::new(&directory);
    let path = directory.join("history.db");
    std::fs::write(directory.join("ballast"), vec![1; 1 << 20]).unwrap();
    let handle = start(&path);
    let refused = fill(&handle);
    let error = handle.view().error.unwrap();
    assert!(error.contains("the disk is full"), "{error}");
    for n in 1..=500 {
        assert_eq!(handle.record(decision(refused + n, Verdict::Contain)).wait(), Kept::Refused);
    }
    assert_eq!(handle.view().lost, 0, "they wait for the disk");

    std::fs::remove_file(directory.join("ballast")).unwrap();
    wait_until("recovery", || handle.view().waiting == 0);
    let view = handle.view();
    assert_eq!((view.lost, view.error), (0, None));
    drop(handle);
    let store = Store::open(&path).unwrap().store;
    assert_eq!(store.acted().unwrap().len() as u64, u64::from(refused) + 501);
}

#[test]
fn inside_a_read_only_disk() {
    let Some(directory) = std::env::var_os(VARIABLE) else { return };
    let directory = Path::new(&directory);
    let path = directory.join("history.db");
    let handle = start(&path);
    assert_eq!(handle.record(decision(0, Verdict::Contain)).wait(), Kept::Durable);
    drop(handle);
    let remount = |how: &str| {
        assert!(Command::new("mount").args(["-o", how]).arg(directory).status().unwrap().success());
    };
    remount("remount,ro");
    let fault = Store::open(&path).unwrap_err().to_string();
    assert!(fault.contains("read-only") || fault.contains("cannot be opened"), "{fault}");
    let handle = StoreHandle::start(&path, None, LIMITS).unwrap();
    assert_eq!(handle.record(decision(1, Verdict::Contain)).wait(), Kept::Refused);
    assert!(handle.view().error.is_some());
    remount("remount,rw");
    wait_until("recovery", || handle.view().waiting == 0);
    drop(handle);
    assert_eq!(Store::open(&path).unwrap().store.acted().unwrap().len(), 2);
}

#[test]
fn a_full_disk_costs_history_only_until_there_is_room() {
    on_a_small_disk("store::disk::inside_a_full_disk");
}

#[test]
fn a_read_only_disk_costs_history_only_until_it_is_writable() {
    on_a_small_disk("store::disk::inside_a_read_only_disk");
}
