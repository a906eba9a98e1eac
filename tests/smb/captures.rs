//! Real captures: who is found, when, and that nobody else is.

use std::collections::BTreeSet;

use firedoor::evidence::{Grade, Signal};
use firedoor::inspect::{Condition, Feature, Report};

use crate::reading::{captures, findings, inspect};

/// Signal and frame of the first exploit-grade finding of each host, by time.
fn first_exploits(file: &str) -> Vec<(String, Signal, u64)> {
    let Some(folder) = captures() else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let exploits = findings(&inspect(&folder.join(file)));
    let exploits = exploits.into_iter().filter(|(_, it)| it.signal.grade() == Grade::Exploit && it.verified);
    exploits.filter(|(_, it)| seen.insert(it.host)).map(|(at, it)| (it.host.to_string(), it.signal, at)).collect()
}

#[test]
fn wannacry_is_found_at_its_first_probe_and_nobody_else_is() {
    if captures().is_none() {
        return;
    }
    // Frame 206 is the first MS17-010 probe of 192.168.116.149, 256 its first NT Transact exploit; frame 2123 is the
    // first probe of its first victim turned attacker, 2228 that one's first exploit.
    assert_eq!(
        first_exploits("worm/wannacry.pcap"),
        [
            ("192.168.116.149".to_owned(), Signal::Ms17010Probe, 206),
            ("192.168.116.138".to_owned(), Signal::Ms17010Probe, 2123),
        ]
    );
}

#[test]
fn wannacry_shows_each_of_its_steps_on_every_host_it_exploits() {
    let Some(folder) = captures() else { return };
    let found = findings(&inspect(&folder.join("worm/wannacry.pcap")));
    for peer in ["192.168.116.138", "192.168.116.143", "192.168.116.172"] {
        let signals: Vec<Signal> = found
            .iter()
            .filter(|(_, it)| it.host.to_string() == "192.168.116.149" && it.peer.to_string() == peer)
            .map(|(_, it)| it.signal)
            .collect();
        let steps =
            [Signal::Smb1, Signal::Ms17010Probe, Signal::WannaCryTree, Signal::DoublePulsar, Signal::EternalBlue];
        assert_eq!(signals, steps, "{peer}");
    }
}

#[test]
fn wannacrys_victims_give_their_condition_away() {
    let Some(folder) = captures() else { return };
    let reported = |wanted| {
        let mut hosts = BTreeSet::new();
        for (_, report) in inspect(&folder.join("worm/wannacry.pcap")) {
            if let Report::Condition { server, condition } = report
                && condition == wanted
            {
                hosts.insert(server.to_string());
            }
        }
        hosts.into_iter().collect::<Vec<_>>()
    };
    assert!(reported(Condition::Unpatched).contains(&"192.168.116.138".to_owned()));
    assert!(reported(Condition::Implanted).contains(&"192.168.116.138".to_owned()));
    assert!(!reported(Condition::Implanted).contains(&"192.168.116.150".to_owned()));
}

#[test]
fn metasploits_eternalblue_is_found_at_its_first_confused_secondary() {
    if captures().is_none() {
        return;
    }
    let found = first_exploits("worm/metasploit-ms017-010-win7x64.pcap");
    assert_eq!(found, [("192.168.198.224".to_owned(), Signal::EternalBlue, 36)]);
}

#[test]
fn smbghost_is_found_at_its_one_message() {
    if captures().is_none() {
        return;
    }
    let found = first_exploits("worm/SMBGhost_cve_2020_0796_dos.pcapng");
    assert_eq!(found, [("192.168.56.1".to_owned(), Signal::SmbGhost, 10)]);
}

#[test]
fn compressed_traffic_is_only_counted() {
    let Some(folder) = captures() else { return };
    let reports = inspect(&folder.join("worm/smb311-lz77-lz77huff-lznt1_compressed_data.pcap"));
    assert_eq!(findings(&reports), []);
    assert!(reports.iter().all(|(_, it)| matches!(it, Report::Used { feature: Feature::Compression, .. })));
    assert_eq!(reports.len(), 3);
}

#[test]
fn no_benign_capture_shows_an_exploit() {
    let Some(folder) = captures() else { return };
    let mut files = 0;
    for sub in ["benign", "scan", "lateral"] {
        for entry in std::fs::read_dir(folder.join(sub)).unwrap() {
            let file = entry.unwrap().path();
            let found = findings(&inspect(&file));
            let exploits: Vec<_> = found.iter().filter(|(_, it)| it.signal.grade() == Grade::Exploit).collect();
            assert!(exploits.is_empty(), "{}: {exploits:?}", file.display());
            files += 1;
        }
    }
    assert_eq!(files, 20);
}

#[test]
fn each_remote_execution_is_named() {
    let Some(folder) = captures() else { return };
    for (file, frame, reported) in [
        (
            "covenant_sharpsc_create_dcerpc_smb_svcctl_2020-08-06022635",
            190,
            "svcctl CreateServiceA (opnum 0x18) over a named pipe",
        ),
        ("covenant_sharpwmi_create_dcerpc_wmi_2020-08-06035621", 118, "IWbemServices ExecMethod (opnum 0x18) over TCP"),
        (
            "empire_psexec_dcerpc_tcp_svcctl_WORKSTATION5_2020-09-20121608",
            190,
            "svcctl CreateServiceA (opnum 0x18) over TCP",
        ),
        (
            "empire_smbexec_dcerpc_smb_svcctl_WORKSTATION5_2020-09-20025716",
            353,
            "svcctl CreateServiceW (opnum 0xc) over a named pipe",
        ),
        (
            "empire_wmi_dcerpc_wmi_IWbemServices_ExecMethod_WORKSTATION5_2020-09-21001437",
            231,
            "IWbemServices ExecMethod (opnum 0x18) over TCP",
        ),
    ] {
        let found = findings(&inspect(&folder.join("lateral").join(file).with_extension("cap")));
        let [(at, finding)] = found[..] else { panic!("{file}: {found:?}") };
        assert_eq!(
            (at, finding.signal, finding.verified, finding.new_peer),
            (frame, Signal::RemoteExecution, true, true)
        );
        assert_eq!((finding.host.to_string(), finding.peer.to_string()), ("172.18.39.5".into(), "172.18.39.6".into()));
        assert!(finding.detail.to_string().starts_with(reported), "{file}: {}", finding.detail);
    }
}

#[test]
fn counting_shares_executes_nothing() {
    let Some(folder) = captures() else { return };
    let found = findings(&inspect(&folder.join("lateral/purplesharp_ad_playbook_I_2020-10-22042947.cap")));
    assert_eq!(found, []);
}
