//! Alarms to decisions: policy, ladder, breaker, exemptions.
//!
//! No I/O and no clock, like the rest of the core: a [`Responder`] takes alarms, orders and the time, and gives
//! [`Effect`]s for the daemon to carry out.

pub mod address_probe;
pub mod blocks;
pub mod breaker;
pub mod decision;
pub mod exempt;
pub mod held;
mod ladder_history;
pub mod orders;
pub mod responder;
pub mod servers;
pub mod settings;
mod snapshot_map;
pub mod state;
pub mod switched;

pub use crate::detect::Directive;
pub use blocks::Block;
pub use decision::{Action, By, Decision, Effect, EvidenceRecord, Mode, Verdict, service_name, service_of};
pub use exempt::{Exempted, Exemption};
pub use held::Held;
pub use orders::{Known, Ordered, Refused};
pub use responder::Responder;
pub use settings::Settings;
pub use state::State;
pub use switched::Switched;
