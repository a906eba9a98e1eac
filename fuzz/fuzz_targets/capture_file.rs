//! Any bytes as a capture file: read to the end or refused, never a panic, and no batch without progress.
#![no_main]

use std::io::Cursor;
use std::time::Duration;

use firedoor::capture::{FileSource, Read, Source};
use firedoor::wire::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut source) = FileSource::from_reader("fuzz".to_owned(), Cursor::new(bytes.to_vec())) else { return };
    let mut frames = 0;
    loop {
        let batch = source.read(Duration::ZERO, &mut |meta, link, frame| {
            assert!(frame.len() <= meta.original_length as usize);
            frames += 1;
            let _ = decode(meta, link, frame);
        });
        match batch {
            Ok(Read::Frames(count)) => assert!(count > 0),
            Ok(Read::Idle) => panic!("a file never idles"),
            Ok(Read::End) | Err(_) => break,
        }
    }
    assert_eq!(source.statistics().received(), frames);
    for notice in source.notices() {
        let _ = notice.to_string();
    }
});
