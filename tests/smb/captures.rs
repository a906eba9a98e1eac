use crate::reading::*;

#[test]
fn dump() {
    let Some(folder) = captures() else { return };
    for sub in ["worm", "lateral", "benign"] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join(sub)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            println!("== {}", file.display());
            let reports = inspect(&file);
            for (n, report) in &reports {
                match report {
                    Report::Finding(f) => println!(
                        "{n} {} -> {}:{} {} v={} new={} {}",
                        f.host, f.peer, f.port, f.signal, f.verified, f.new_peer, f.detail
                    ),
                    other => {
                        if reports.len() < 60 {
                            println!("{n} {other:?}")
                        }
                    }
                }
            }
        }
    }
}
use firedoor::detect::smb::Report;
