//! Firedoor under faults: kills, hangs, flushed tables, lost interfaces, reloads, full disks, forgers, outages.
//!
//! Each scenario runs the real daemon on the gateway of a network of namespaces, while a [`prober`] sends throughout
//! and records every packet that should have passed and did not, and the reverse. Needs root (or CAP_SYS_ADMIN and
//! CAP_NET_ADMIN); where a scenario cannot run it says so. Nothing outside the namespaces is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::cast_precision_loss, reason = "rates and sizes to be shown")]

mod access;
mod blind;
mod breaker;
mod clock;
mod crash;
mod disk;
mod drift;
mod exempt;
mod flood;
mod forged;
mod frames;
mod greylist;
mod identity;
mod load;
mod outage;
mod prober;
mod record;
mod reload;
mod site;
mod soak;
mod storm;
mod talk;
mod vitals;
