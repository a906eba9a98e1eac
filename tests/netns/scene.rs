//! What every test here starts from.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use firedoor::lab::listener::WARD_PORTS;
use firedoor::lab::plan::{Family, Plan, Shape};
use firedoor::lab::scene::Scene;
use firedoor::lab::trial::{self, Outcome, Trial};
use firedoor::sys::namespace;

/// The executable under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firedoor"))
}

/// Whether namespaces can be made here; says so loudly if not.
pub fn able() -> bool {
    namespace::permitted().inspect_err(|error| eprintln!("SKIPPED: {error}")).is_ok()
}

/// A turn for whoever measures times or floods: one at a time, or they would measure each other.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed in its turn has left nothing behind that the next one could trip over.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A scene of 30 % live hosts without protection.
pub fn build(family: Family, shape: Shape, seed: u64, infected: u8) -> Scene {
    Scene::build(program(), Plan::new(family, shape, 30, seed), infected, &WARD_PORTS).unwrap()
}

/// Runs a trial with the daemon, in a directory of its own.
pub fn protected(trial: &Trial) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    trial::run(trial, program(), Some(directory.path()), &|_| {}).unwrap()
}
