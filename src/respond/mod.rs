//! Alarms to decisions: policy, ladder, breaker, exemptions.
//!
//! No I/O and no clock, like the rest of the core: a [`Responder`] takes alarms, orders and the time, and gives
//! [`Effect`]s for the daemon to carry out.

pub mod breaker;
pub mod cases;
pub mod decision;
pub mod exempt;
pub mod inquiry;
pub mod orders;
mod past;
pub mod responder;
pub mod settings;
pub mod switched;
pub mod waiting;

pub use crate::detect::Directive;
pub use cases::Case;
pub use decision::{Block, By, Decision, Effect, Mode, Verdict, service_name, service_of};
pub use exempt::Exemption;
pub use orders::{Known, Ordered, Refused};
pub use responder::Responder;
pub use settings::Settings;
pub use switched::Switched;
pub use waiting::Held;
