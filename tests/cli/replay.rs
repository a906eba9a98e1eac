//! `firedoor replay`: what it says of captures that it cannot read, or not judge well.

use std::path::Path;

use super::{run, text};

/// A capture of Ethernet frames (LINKTYPE_ETHERNET), one a second.
fn capture(directory: &Path, name: &str, from: u32, frames: &[Vec<u8>]) -> String {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (second, frame) in (from..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [second, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn of_type(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend([0; 46]);
    frame
}

fn attempt(source: [u8; 4], last: u8) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, [10, 0, 9, last], 64);
    let mut frame = Vec::new();
    builder.tcp(40_000, 445, 1, 1024).syn().write(&mut frame, &[]).unwrap();
    frame
}

fn summary(arguments: &[&str]) -> (serde_json::Value, String) {
    let out = run(&[&["--json", "replay"], arguments].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let last = text(&out.stdout).lines().last().unwrap().to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    (last["summary"].clone(), text(&out.stderr))
}

#[test]
fn frames_that_are_not_decoded_are_named_by_kind_with_their_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut frames = vec![of_type(0x9926); 40];
    let file = capture(directory.path(), "all.pcap", 1_700_000_000, &frames);
    let (found, notes) = summary(&[&file]);
    assert_eq!((&found["undecoded"], &found["unread"]["ethertype 0x9926"]), (&0.into(), &40.into()));
    assert!(notes.contains("40 of 40 frames are ethertype 0x9926, not decoded"), "{notes}");
    assert!(!notes.contains("--protect"), "that is not the cause: {notes}");
    frames.push(attempt([10, 0, 0, 7], 1)[..40].to_vec());
    let file = capture(directory.path(), "cut.pcap", 1_700_000_000, &frames);
    let (found, notes) = summary(&[&file]);
    assert_eq!(found["undecoded"], 1);
    assert!(notes.contains("1 of 41 frames are cut or malformed (tcp), not decoded"), "{notes}");
}

#[test]
fn networks_are_advised_only_where_others_are_in_the_capture() {
    let directory = tempfile::tempdir().unwrap();
    let strangers = capture(directory.path(), "strangers.pcap", 1_700_000_000, &[attempt([8, 8, 8, 8], 1)]);
    assert!(summary(&[&strangers]).1.contains("`--protect NETWORK` names others"));
    let own = capture(directory.path(), "own.pcap", 1_700_000_000, &[attempt([10, 0, 0, 7], 1)]);
    assert!(!summary(&[&own]).1.contains("--protect"));
}

#[test]
fn a_host_of_several_captures_counts_once_and_a_short_capture_says_that_dark_addresses_are_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let frames: Vec<Vec<u8>> = (1..=9).map(|last| attempt([10, 0, 0, 7], last)).collect();
    let later = capture(directory.path(), "later.pcap", 1_700_009_000, &frames);
    let earlier = capture(directory.path(), "earlier.pcap", 1_700_000_000, &frames);
    let (found, notes) = summary(&[&later, &earlier]);
    assert_eq!((&found["hosts"], &found["packets"]), (&1.into(), &18.into()), "{found}");
    assert!(notes.contains("less than detect.dark_learning (10m)"), "{notes}");
}
