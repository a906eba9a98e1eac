//! The history's disk is full, or its files are taken away: decisions go on.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::prober::{Bystanders, Probe};
use crate::site::{self, Site};

const VARIABLE: &str = "FIREDOOR_TEST_SMALL_DISK";

#[test]
fn inside_a_small_disk() {
    let Some(disk) = std::env::var_os(VARIABLE) else { return };
    let disk = Path::new(&disk);
    let site = Site::within(tempfile::tempdir_in(disk).unwrap(), 51, 1, |setup| setup);
    let forbidden = Probe::forbidden(&site, 0);
    let bystanders = Bystanders::start(&site);
    let ballast = disk.join("ballast");

    // No room at all: what is left after the blocks goes byte by byte.
    let mut filler = std::fs::File::create(&ballast).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        let block = vec![1; size];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {}
    }
    drop(filler);
    site.contain(site.infected(0));
    let contained = Instant::now();
    assert!(site.in_kernel().contains(&site.infected(0)), "the kernel acts, whatever the disk does");
    let orders = 60;
    for number in 0..orders {
        let begun = Instant::now();
        site.contain([10, 77, 0, number].into());
        assert!(begun.elapsed() < Duration::from_secs(5), "order {number} took {:?}", begun.elapsed());
    }
    site::until("the full disk is reported", || site.status().store.error.is_some());
    let view = site.status().store;
    assert!(view.error.as_deref().unwrap().contains("the disk is full"), "{view:?}");
    assert!(view.waiting + view.lost > 0, "{view:?}");
    assert!(
        site.metric("firedoor_store_waiting_records", "") + site.metric("firedoor_store_records_total", "lost") > 0
    );
    assert_eq!(site.in_kernel().len(), usize::from(orders) + 1);
    std::fs::remove_file(&ballast).unwrap();
    site::until("the history recovers", || {
        let store = site.status().store;
        store.error.is_none() && store.waiting == 0
    });

    // Somebody takes the files away under the running daemon.
    for file in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(site.directory.path().join(file));
    }
    site.contain([10, 77, 1, 1].into());
    assert!(site.in_kernel().contains(&[10, 77, 1, 1].into()));
    site::until("a new history is begun", || {
        let store = site.status().store;
        store.error.is_none() && store.waiting == 0 && site.directory.path().join("history.db").exists()
    });
    let lost = site.status().store.lost;
    let store = firedoor::store::Store::open_to_read(&site.directory.path().join("history.db")).unwrap();
    let kept = store.acted().unwrap().len();
    assert_eq!(kept + usize::try_from(lost).unwrap(), usize::from(orders) + 2, "what is missing was counted");
    let log = forbidden.end();
    assert_eq!(log.passed_since(contained), 0);
    bystanders.undisturbed();
    eprintln!("full, then gone: {kept} hosts in the new history, {lost} records lost");
}

#[test]
fn decisions_continue_without_a_disk_and_the_loss_is_reported() {
    if !site::able() {
        return;
    }
    let _turn = site::together();
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=3m tmpfs \"$0\" && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "disk::inside_a_small_disk"])
        .env(VARIABLE, disk.path())
        .output();
    match output {
        Ok(output) if output.status.success() => eprint!("{}", String::from_utf8_lossy(&output.stderr)),
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            eprintln!("SKIPPED: no mount namespaces here: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("SKIPPED: cannot run unshare: {error}"),
    }
}
