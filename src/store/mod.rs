//! What the daemon keeps: decisions with their evidence, what engineers ordered, who is acted on or
//! pardoned, in SQLite.
//!
//! [`Store`] is the database, and blocks. [`StoreHandle`] runs it on a thread of its own behind a bounded queue: the
//! control task never waits for a disk, and a disk that is full, read-only or gone costs history and never a decision.
//!
//! **Kill −9 at any moment loses no decision that was acted on**, by this order in the control task: hand the decision
//! to [`StoreHandle::record`], await its [`Receipt`] for a short time, and only then act in the kernel. A crash before
//! the receipt has acted on nobody; a crash after it finds the decision in [`Store::acted`] at start, and puts it into the
//! kernel again. The same order holds for a release and for the pardon that goes with it: once they are recorded, what
//! the kernel still holds is lifted at start, and the host stays pardoned. When no receipt comes in time the decision is carried out all the same: the kernel's own timeout then bounds
//! it, and [`StoreHandle::view`] says that history is behind.
//!
//! Engineers may read the file at any time with sqlite3; writing to it holds up the writer for at most five seconds at
//! a time, and nothing else.

mod clock;
mod database;
mod fault;
mod handle;
mod mirror;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use database::{Opened, Store};
pub use fault::Fault;
pub use handle::{Kept, Limits, Receipt, StoreHandle};
pub use rows::{OrderRow, Step};
