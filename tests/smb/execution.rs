//! Remote execution over pipes and over TCP.

use std::time::Duration;

use firedoor::evidence::Signal;
use firedoor::inspect::Report;
use firedoor::wire::frame::{Flags, Segment};

use crate::message::*;
use crate::talk::By::{Client, Server};
use crate::talk::*;

pub const CREATE: u16 = 12;
const START: u16 = 19;

/// A pipe opened over SMB2, with calls on svcctl.
pub fn calls(calls: &[u16]) -> Script {
    let mut script = vec![
        (Client, smb2(3, false, 1, 0, &smb2_tree_body(r"\\srv\IPC$"))),
        (Server, smb2_tree_answer(1, 1, 2)),
        (Client, smb2(9, false, 2, 1, &smb2_write_body(7, &bind(11, &[(0, SRVSVC), (1, SVCCTL)])))),
        (Server, smb2(9, true, 2, 1, &[0; 16])),
    ];
    for opnum in calls {
        script.push((Client, smb2(11, false, 3, 1, &smb2_transceive_body(7, &request(1, *opnum, 300)))));
        script.push((Server, smb2(11, true, 3, 1, &[0; 48])));
    }
    script
}

pub fn admin_share() -> Script {
    vec![(Client, smb2(3, false, 1, 0, &smb2_tree_body(r"\\srv.example\ADMIN$"))), (Server, smb2_tree_answer(1, 9, 1))]
}

/// The details of what a script shows.
fn reported(script: &Script) -> Vec<String> {
    details(Stage::new().play(ends(445), script))
}

fn details(stage: &Stage) -> Vec<String> {
    let remote = |finding: &firedoor::inspect::Finding| finding.signal == Signal::RemoteExecution;
    stage.findings().iter().filter(|finding| remote(finding)).map(|finding| finding.detail.to_string()).collect()
}

#[test]
fn a_service_created_over_a_pipe_is_named() {
    assert_eq!(
        reported(&calls(&[15, CREATE, START])),
        ["svcctl CreateServiceW (opnum 0xc) over a named pipe [MS-SCMR 3.1.4.12]"]
    );
}

#[test]
fn a_start_counts_only_after_an_administrative_share() {
    assert_eq!(reported(&calls(&[START])), Vec::<String>::new());
    let mut stage = Stage::new();
    stage.play(Ends { client_port: 49_999, ..ends(445) }, &admin_share());
    stage.wait(Duration::from_secs(590)).play(ends(445), &calls(&[START]));
    assert_eq!(
        details(&stage),
        [
            "svcctl StartServiceW (opnum 0x13) over a named pipe, with an administrative share connected [MS-SCMR 3.1.4.19]"
        ]
    );
    let mut late = Stage::new();
    late.play(Ends { client_port: 49_999, ..ends(445) }, &admin_share());
    late.wait(Duration::from_secs(610)).play(ends(445), &calls(&[START]));
    assert_eq!(details(&late), Vec::<String>::new());
}

#[test]
fn one_administrator_on_one_host_weighs_once() {
    let mut stage = Stage::new();
    for n in 0..5 {
        stage.play(Ends { client_port: 50_000 + n, ..ends(445) }, &calls(&[CREATE]));
    }
    let findings = stage.findings();
    assert_eq!(findings.iter().filter(|finding| finding.new_peer).count(), 1);
}

#[test]
fn contexts_follow_binds_and_alterations() {
    let pipe = |data: &[u8]| (Client, smb2(9, false, 2, 1, &smb2_write_body(7, data)));
    let other = |data: &[u8]| (Client, smb2(9, false, 2, 1, &smb2_write_body(8, data)));
    let none = Vec::<String>::new();
    assert_eq!(reported(&vec![pipe(&bind(11, &[(0, SRVSVC)])), pipe(&request(0, 12, 8))]), none);
    assert_eq!(reported(&vec![pipe(&bind(11, &[(0, SVCCTL)])), other(&request(0, 12, 8))]), none);
    assert_eq!(reported(&vec![pipe(&bind(11, &[(0, SVCCTL)])), pipe(&request(1, 12, 8))]), none);
    let rebound = vec![pipe(&bind(11, &[(0, SVCCTL)])), pipe(&bind(11, &[(0, SRVSVC)])), pipe(&request(0, 12, 8))];
    assert_eq!(reported(&rebound), none);
    let altered = vec![pipe(&bind(11, &[(0, SRVSVC)])), pipe(&bind(14, &[(3, TASKS)])), pipe(&request(3, 1, 8))];
    assert_eq!(reported(&altered).len(), 1);
    let many: Vec<(u16, [u8; 16])> = (0..30).map(|id| (id, if id == 29 { AT } else { SRVSVC })).collect();
    assert_eq!(reported(&vec![pipe(&bind(11, &many)), pipe(&request(29, 0, 8))]).len(), 1);
}

#[test]
fn a_chain_of_commands_hides_nothing() {
    let tree = smb2_part(3, false, 1, 0, &smb2_tree_body(r"\\srv\C$"), true);
    let create = smb2_part(5, false, 2, 1, &[0; 300], true);
    let write = smb2_part(9, false, 3, 1, &smb2_write_body(7, &bind(11, &[(0, SVCCTL)])), true);
    let call = smb2_part(9, false, 4, 1, &smb2_write_body(7, &request(0, START, 700)), false);
    let script = vec![(Client, framed(&[tree, create, write, call].concat()))];
    assert_eq!(reported(&script).len(), 1);
}

#[test]
fn several_calls_in_one_write_are_all_read() {
    let data = [bind(11, &[(0, SVCCTL)]), request(0, 15, 40), request(0, 24, 40)].concat();
    let script = vec![(Client, smb2(9, false, 2, 1, &smb2_write_body(7, &data)))];
    assert_eq!(reported(&script), ["svcctl CreateServiceA (opnum 0x18) over a named pipe [MS-SCMR 3.1.4]"]);
}

#[test]
fn smb1_pipes_carry_it_by_transaction_and_by_write() {
    let by_write = vec![
        (Client, write_andx(IDS, 0x4001, 0x0008, &bind(11, &[(0, SVCCTL)]))),
        (Client, transaction(0x25, IDS, &[0x26, 0x4001], 0, &request(0, CREATE, 50))),
    ];
    assert_eq!(reported(&by_write).len(), 1);
    let prefixed = [&[0, 1][..], &bind(11, &[(0, SVCCTL)])].concat();
    let raw = vec![
        (Client, write_andx(IDS, 0x4001, 0x000c, &prefixed)),
        (Client, write_andx(IDS, 0x4001, 0x0008, &request(0, CREATE, 50))),
    ];
    assert_eq!(reported(&raw).len(), 1);
}

#[test]
fn the_port_that_the_endpoint_mapper_names_is_followed() {
    for (answer, port) in [(mapped(49_726), 49_726), (activated(50_937), 50_937)] {
        let mut stage = Stage::new();
        let script = vec![(Client, bind(11, &[(0, SRVSVC)])), (Client, request(0, 3, 100)), (Server, answer)];
        stage.play(ends(135), &script);
        let server = ends(135).server;
        assert!(stage.reports.contains(&Report::Named { server, port }), "{:?}", stage.reports);
        let bare = Segment {
            source: ends(port).client,
            destination: server,
            source_port: 50_001,
            destination_port: port,
            flags: Flags(Flags::SYN),
            sequence: 1,
            acknowledgement: 0,
            payload_length: 0,
            payload: &[],
        };
        assert!(stage.inspector.wants(&bare), "not even a payload is needed");
        let script = vec![(Client, bind(11, &[(2, WMI)])), (Server, pdu(12, &[0; 40])), (Client, request(2, 24, 900))];
        stage.play(Ends { client_port: 50_001, ..ends(port) }, &script);
        assert_eq!(details(&stage), ["IWbemServices ExecMethod (opnum 0x18) over TCP [MS-WMI 3.1.4.3.22]"]);
        let finding = stage.findings()[0];
        assert_eq!((finding.host, finding.peer, finding.port), (ends(port).client, server, port));
    }
}

#[test]
fn a_port_that_nobody_named_shows_itself_by_its_first_call() {
    let mut stage = Stage::new();
    let script =
        vec![(Client, bind(11, &[(0, SVCCTL)])), (Server, pdu(12, &[0; 40])), (Client, request(0, CREATE, 90))];
    stage.play(ends(49_800), &script);
    assert_eq!(details(&stage), ["svcctl CreateServiceW (opnum 0xc) over TCP [MS-SCMR 3.1.4.12]"]);
}

#[test]
fn a_port_named_in_a_sealed_answer_is_verified_by_its_handshake_alone() {
    let mut stage = Stage::new();
    let sealed = pdu(2, &[0xa5; 700]);
    stage.play(ends(135), &vec![(Client, bind(11, &[(0, SRVSVC)])), (Client, request(0, 4, 900)), (Server, sealed)]);
    // Only the client's side of the connection reaches this shard.
    let port = Ends { client_port: 50_001, ..ends(50_937) };
    stage.give(port, &handshake());
    let calls = vec![(Client, bind(11, &[(2, WMI)])), (Client, request(2, 24, 900))];
    stage.give(port, &segments(&calls, || 1460));
    assert_eq!(details(&stage), ["IWbemServices ExecMethod (opnum 0x18) over TCP [MS-WMI 3.1.4.3.22]"]);
    assert!(stage.findings()[0].verified);
}

#[test]
fn what_is_no_dce_rpc_is_not_wanted() {
    let stage = Stage::new();
    let segment = |payload| Segment {
        source: ends(443).client,
        destination: ends(443).server,
        source_port: 50_001,
        destination_port: 443,
        flags: Flags(ACK),
        sequence: 1,
        acknowledgement: 1,
        payload_length: 9,
        payload,
    };
    assert!(!stage.inspector.wants(&segment(b"\x16\x03\x01\x02\0\x01\0\x01\xfc")));
    assert!(!stage.inspector.wants(&segment(b"GET / HTT")));
    assert!(stage.inspector.wants(&segment(b"\x05\0\x0b\x03\x10\0\0\0\x74")));
}
