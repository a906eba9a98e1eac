//! Every file of other projects' regression sets is read to its end or refused with a reason: no panic, no hang.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use firedoor::capture::{CaptureError, FileSource, Read, Source};
use firedoor::wire::decode;

/// The captures that no repository holds; without them these tests say so and pass.
fn captures(folder: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("FIREDOOR_CAPTURES") else {
        eprintln!("SKIPPED: FIREDOOR_CAPTURES is not set, {folder} was not read");
        return None;
    };
    Some(Path::new(&root).join(folder))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Reads and decodes everything; gives frames, decoded frames and how it ended.
fn drain(path: &Path) -> (u64, u64, Result<(), CaptureError>) {
    let (mut frames, mut decoded) = (0, 0);
    let mut source = match FileSource::open(path) {
        Ok(source) => source,
        Err(error) => return (0, 0, Err(error)),
    };
    loop {
        let batch = source.read(Duration::ZERO, &mut |meta, link, bytes| {
            frames += 1;
            decoded += u64::from(decode(meta, link, bytes).is_ok());
        });
        match batch {
            Ok(Read::End) => return (frames, decoded, Ok(())),
            Ok(_) => {}
            Err(error) => return (frames, decoded, Err(error)),
        }
    }
}

#[test]
fn odd_and_hostile_files_are_read_or_refused_in_time() {
    let Some(folder) = captures("robustness") else { return };
    let (mut read, mut refused, mut damaged) = (0, 0, 0);
    for path in files(&folder) {
        let start = Instant::now();
        let (frames, _, end) = drain(&path);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{} took {took:?}", path.display());
        match end {
            Ok(()) => read += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&path.display().to_string()), "no file named: {text}");
                match error {
                    CaptureError::LinkType { .. } | CaptureError::Format { .. } => {
                        assert_eq!(frames, 0, "{text}");
                        refused += 1;
                    }
                    _ => damaged += 1,
                }
                eprintln!("{text}");
            }
        }
    }
    eprintln!("{read} read, {refused} refused, {damaged} read up to their damage");
    assert!(read > 0);
}

#[test]
fn captures_of_ordinary_networks_are_read_whole_and_decoded() {
    for folder in ["benign", "worm", "lateral", "scan"] {
        let Some(folder) = captures(folder) else { return };
        for path in files(&folder) {
            let (frames, decoded, end) = drain(&path);
            end.unwrap();
            assert!(frames > 0 && decoded * 1000 >= frames * 999, "{}: {decoded} of {frames}", path.display());
        }
    }
}
