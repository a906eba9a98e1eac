//! Any text as a configuration file: every error has a sound place, advice can be shown, and what was read is written
//! back as the same configuration.
#![no_main]

use firedoor::config::{self, File, HostNetwork, reference};
use firedoor::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match File::parse(text, "fuzz.toml") {
        Ok(file) => {
            let around = HostNetwork::default();
            let warnings = file.warnings(Some(Timestamp::from_secs(1_800_000_000)), Some(&around));
            let _ = (warnings.render(true), warnings.reports(), file.proposal(&around));
            let (again, _) = config::parse(&reference::written(&file.config), "written.toml").expect("written");
            assert_eq!(again, file.config);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let _ = (errors.render(false), errors.render(true));
            let lines = text.lines().count() + 1;
            assert!(errors.reports().iter().all(|report| report.line.is_none_or(|line| line <= lines)));
        }
    }
});
