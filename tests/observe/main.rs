//! Facts about what the daemon shows: commands over the admin socket, metrics in a real Prometheus, dashboard and rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod dashboard;
mod outbreak;
mod prometheus;
mod rules;
mod stand_in;
