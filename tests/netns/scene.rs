//! What every test here starts from.

use std::path::Path;

use firedoor::lab::listener::WARD_PORTS;
use firedoor::lab::plan::{Family, Plan, Shape};
use firedoor::lab::scene::Scene;
use firedoor::sys::namespace;

/// The executable under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firedoor"))
}

/// A scene of 30 % live hosts, or `None`, said loudly, where namespaces cannot be made.
pub fn build(family: Family, shape: Shape, seed: u64, infected: u8) -> Option<Scene> {
    if let Err(error) = namespace::permitted() {
        eprintln!("SKIPPED: {error}");
        return None;
    }
    Some(Scene::build(program(), Plan::new(family, shape, 30, seed), infected, &WARD_PORTS).unwrap())
}
