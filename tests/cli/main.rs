//! Facts about the command line, observed from outside: what is printed where, and the exit status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod replay;
mod ruleset;
mod shell;
mod tune;

use std::path::Path;
use std::process::{Command, Output};

/// The program under test.
fn firedoor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_firedoor"))
}

/// Runs it with these arguments.
fn run(args: &[&str]) -> Output {
    firedoor().args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shipped(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file).to_str().unwrap().to_owned()
}
