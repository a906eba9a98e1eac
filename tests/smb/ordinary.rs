//! What looks a little like an exploit and is ordinary work.

use firedoor::evidence::Signal;
use firedoor::inspect::{Feature, Negotiated, Report};
use firedoor::wire::smb::Dialect;
use firedoor::wire::smb::dialect::Signing;

use crate::exploits::opened_then;
use crate::message::*;
use crate::talk::By::{Client, Server};
use crate::talk::*;

const OTHER: Ids = [8, 9, 10, 65];

#[test]
fn nothing_ordinary_is_an_exploit() {
    let done = |command| (Server, smb1(command, true, IDS, &[0; 20], &[]));
    for (name, script) in [
        (
            "a long security descriptor, by its own secondaries",
            vec![
                (Client, nt_transact(IDS, 3, 0x1_8000, &[0; 4000])),
                (Server, smb1(0xa0, true, IDS, &[], &[])),
                (Client, nt_secondary(IDS, 0x1_8000, &[0; 4000])),
            ],
        ),
        (
            "Trans2 with its own secondaries",
            vec![
                (Client, transaction(0x32, IDS, &[6], 8000, &[0; 4000])),
                (Client, secondary(0x33, IDS, 8000, &[0; 4000])),
            ],
        ),
        (
            "the same multiplex id, after the first was answered",
            vec![
                (Client, nt_transact(IDS, 3, 0x1_8000, &[0; 4000])),
                done(0xa0),
                (Client, secondary(0x33, IDS, 8000, &[0; 4000])),
            ],
        ),
        (
            "a small NT transaction continued wrongly",
            vec![(Client, nt_transact(IDS, 3, 0x2000, &[0; 4000])), (Client, secondary(0x33, IDS, 8000, &[0; 4000]))],
        ),
        ("a peek at an open pipe", vec![(Client, transaction(0x25, IDS, &[0x23, 0x4000], 0, &[]))]),
        (
            "a peek at handle 0 that the server gave out",
            vec![
                (Client, smb1(0xa2, false, IDS, &[0; 48], b"\\srvsvc\0")),
                (Server, nt_created(IDS, 0)),
                (Client, transaction(0x25, IDS, &[0x23, 0], 0, &[])),
            ],
        ),
        ("CIFS UNIX extensions set their capabilities", vec![(Client, transaction(0x32, IDS, &[4], 12, &[0; 12]))]),
        ("an OS/2 print client asks for its job's number", vec![(Client, transaction(0x32, IDS, &[0x0a], 0, &[]))]),
        ("a DFS referral", vec![(Client, transaction(0x32, OTHER, &[0x10], 0, &[]))]),
        (
            "a write while a transaction of another number is open",
            vec![
                (Client, transaction(0x25, OTHER, &[0x26, 0x4001], 0x2000, &[0; 16])),
                (Client, write_andx(IDS, 0x4000, 0x0008, &[0; 64])),
            ],
        ),
        (
            "a write with the number of a finished transaction, by a client with one number for all",
            vec![
                (Client, transaction(0x25, IDS, &[0x26, 0x4001], 0x2000, &[0; 16])),
                (
                    Client,
                    smb1(0x2e, false, IDS, &[0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]),
                ),
                (Client, write_andx(IDS, 0x4000, 0x0008, &[0; 64])),
            ],
        ),
        (
            "NT rename, answered before anything follows",
            vec![
                (Client, nt_transact(IDS, 5, 16, &[0; 16])),
                (Client, smb1(0x2b, false, OTHER, &[1, 0], &[0; 8])),
                (Client, nt_secondary(IDS, 16, &[0; 16])),
            ],
        ),
        ("a tree on a server of one's own", vec![(Client, smb1_tree(r"\\192.168.56.21\IPC$"))]),
    ] {
        assert_eq!(signals_of(&opened_then(script)), [], "{name}");
    }
}

#[test]
fn compression_is_no_exploit_and_is_reported_once() {
    let script = vec![
        (Server, smb311_negotiated(true)),
        (Client, compressed(4176, 0, 0)),
        (Client, compressed(0x80_0000, 0, 80)),
        (Client, compressed(4176, 1, 60)),
        (Server, compressed(u32::MAX, 0, u32::MAX)),
    ];
    let mut stage = Stage::new();
    assert_eq!(stage.play(ends(445), &script).signals(), []);
    let used = |report: &&Report| matches!(report, Report::Used { feature: Feature::Compression, .. });
    assert_eq!(stage.reports.iter().filter(used).count(), 1);
}

#[test]
fn a_multi_protocol_offer_answered_by_smb2_is_no_smb1() {
    let script =
        vec![(Client, smb1_negotiate(&["NT LM 0.12", "SMB 2.002", "SMB 2.???"])), (Server, smb311_negotiated(false))];
    let mut stage = Stage::new();
    stage.play(ends(445), &script);
    assert_eq!(stage.findings(), []);
    let Ends { client, server, .. } = ends(445);
    let negotiated = Negotiated {
        client,
        server,
        dialect: Dialect::Smb311,
        signing: Signing::Required,
        encryption: true,
        compression: false,
    };
    assert_eq!(stage.reports, [Report::Negotiated(negotiated)]);
}

#[test]
fn smb1_is_reported_once_for_a_pair_and_named_by_its_dialect() {
    let mut stage = Stage::new();
    for n in 0..3 {
        let one = Ends { client_port: 50_000 + n, ..ends(445) };
        stage.play(one, &vec![(Client, smb1_negotiate(&["NT LM 0.12", "SMB 2.002"])), (Server, smb1_negotiated(0))]);
    }
    let findings = stage.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].signal, Signal::Smb1);
    let negotiated = stage.reports.iter().filter(|report| {
        matches!(report, Report::Negotiated(Negotiated { dialect: Dialect::NtLm012, signing: Signing::Required, .. }))
    });
    assert_eq!(negotiated.count(), 3);
}

#[test]
fn a_file_that_contains_an_attack_is_a_file() {
    // Somebody copies a capture of WannaCry to a share: the bytes are there, but inside of writes.
    let mut inner = Vec::new();
    for (_, message) in crate::exploits::eternalblue().into_iter().chain(crate::exploits::probe()) {
        inner.extend(message);
    }
    inner.extend(bind(11, &[(0, SVCCTL)]));
    inner.extend(request(0, 12, 100));
    let disk = vec![
        (Client, smb2(3, false, 1, 0, &smb2_tree_body(r"\\srv\public"))),
        (Server, smb2_tree_answer(1, 5, 1)),
        (Client, smb2(9, false, 2, 5, &smb2_write_body(77, &inner))),
        (Client, smb2(9, false, 3, 5, &smb2_write_body(77, &bind(11, &[(0, SVCCTL)])))),
        (Client, smb2(9, false, 4, 5, &smb2_write_body(77, &request(0, 12, 100)))),
    ];
    assert_eq!(signals_of(&disk), []);
}
