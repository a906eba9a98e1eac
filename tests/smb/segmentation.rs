//! However a stream is cut, reordered within a window and repeated, it shows the same.

use proptest::prelude::*;

use firedoor::inspect::Finding;

use crate::exploits::*;
use crate::message::*;
use crate::talk::By::{Client, Server};
use crate::talk::*;

/// Conversations with something to find in each, one after the other on one connection.
fn scripts() -> Vec<Script> {
    let pipes = vec![
        (Client, smb2(3, false, 1, 0, &smb2_tree_body(r"\\srv\IPC$"))),
        (Server, smb2_tree_answer(1, 1, 2)),
        (Client, smb2(9, false, 2, 1, &smb2_write_body(7, &bind(11, &[(0, SRVSVC), (1, SVCCTL), (2, TASKS)])))),
        (Server, smb2(9, true, 2, 1, &[0; 16])),
        (Client, smb2(11, false, 3, 1, &smb2_transceive_body(7, &request(1, 12, 600)))),
        (Server, smb2(11, true, 3, 1, &[0; 48])),
        (Client, smb2(11, false, 3, 1, &smb2_transceive_body(7, &request(2, 1, 60)))),
    ];
    vec![probe(), eternalblue(), champion(), romance(5, 0x4000), knock(), pipes]
}

/// Moves segments of one speaker's turn at most `window` places, and repeats some.
fn disturbed(sent: &[Sent], window: usize, choices: &[u8]) -> Vec<Sent> {
    let mut choice = choices.iter().cycle().copied();
    let mut next = || usize::from(choice.next().unwrap_or_default());
    let mut out: Vec<Sent> = Vec::new();
    for turn in sent.chunk_by(|one, other| one.by == other.by) {
        let mut places: Vec<(usize, &Sent)> =
            turn.iter().enumerate().map(|(place, sent)| (place + next() % (window + 1), sent)).collect();
        places.sort_by_key(|(place, _)| *place);
        for (_, one) in places {
            out.push(one.clone());
            if next() % 4 == 0 {
                out.push(one.clone());
            }
        }
    }
    out
}

fn found(sent: &[Sent]) -> Vec<Finding> {
    let mut stage = Stage::new();
    stage.give(ends(445), &handshake());
    stage.give(ends(445), sent);
    stage.findings()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_segmentation_shows_the_same(
        which in 0..6_usize,
        cuts in prop::collection::vec(1..1460_usize, 1..12),
        small in any::<bool>(),
        choices in prop::collection::vec(any::<u8>(), 1..64),
        window in 0..4_usize,
    ) {
        let script = &scripts()[which];
        let whole = found(&segments(script, || usize::MAX));
        prop_assert!(!whole.is_empty());
        let mut lengths = cuts.iter().cycle().map(|cut| if small { cut % 37 + 1 } else { *cut });
        let cut = segments(script, || lengths.next().unwrap_or(1));
        prop_assert_eq!(&found(&cut), &whole);
        prop_assert_eq!(&found(&disturbed(&cut, window, &choices)), &whole);
    }

    #[test]
    fn any_bytes_are_survived(
        pieces in prop::collection::vec((any::<bool>(), any::<u32>(), any::<u32>(), 0..3_u8, prop::collection::vec(any::<u8>(), 0..80)), 0..60),
        port in prop::sample::select(vec![135_u16, 139, 445, 49_700]),
    ) {
        let mut stage = Stage::new();
        stage.give(ends(port), &handshake());
        let starts: [&[u8]; 3] = [b"\0\0\0\x44\xffSMB", b"\0\0\x01\0\xfeSMB\x40\0", b"\x05\0\x0b\x03\x10\0\0\0\x80\0"];
        for (client, sequence, acknowledgement, start, bytes) in pieces {
            let payload = [starts[usize::from(start)], &bytes].concat();
            let length = u32::try_from(payload.len()).unwrap() + sequence % 3;
            let by = if client { Client } else { Server };
            let (sequence, acknowledgement) = (sequence % 5000, acknowledgement % 5000);
            stage.give(ends(port), &[Sent { by, flags: ACK, sequence, acknowledgement, length, payload }]);
        }
    }
}
