//! Reads a capture through the inspector alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use firedoor::capture::{FileSource, Read, Source};
use firedoor::inspect::{Finding, Inspector, Report};
use firedoor::track::HashKey;
use firedoor::wire::decode;
use firedoor::wire::frame::Packet;

/// A report and the number of the frame that brought it, from 1 as Wireshark counts.
pub type Numbered = (u64, Report);

/// The folder of real captures; `None`, said loudly, where the environment names none.
pub fn captures() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FIREDOOR_CAPTURES") else {
        eprintln!("SKIPPED: FIREDOOR_CAPTURES is not set, so no real capture was read");
        return None;
    };
    Some(PathBuf::from(folder))
}

/// Everything the inspector reports of a capture.
pub fn inspect(file: &Path) -> Vec<Numbered> {
    let mut source = FileSource::open(file).unwrap();
    let mut inspector = Inspector::new(4096, HashKey::new(1));
    let (mut reports, mut number) = (Vec::new(), 0);
    loop {
        let read = source.read(Duration::ZERO, &mut |meta, link, bytes| {
            number += 1;
            let Ok(frame) = decode(meta, link, bytes) else { return };
            if let Packet::Tcp(segment) = &frame.packet
                && inspector.wants(segment)
            {
                inspector.segment(segment, meta.at, &mut |report| reports.push((number, report)));
            }
        });
        if matches!(read.unwrap(), Read::End) {
            return reports;
        }
    }
}

/// The findings among reports.
pub fn findings(reports: &[Numbered]) -> Vec<(u64, Finding)> {
    let finding = |(number, report): &Numbered| match report {
        Report::Finding(finding) => Some((*number, *finding)),
        _ => None,
    };
    reports.iter().filter_map(finding).collect()
}
