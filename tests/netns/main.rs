//! Firedoor in real networks: namespaces, veth pairs, the kernel's own firewall and TCP.
//!
//! Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN); where it cannot run it says so. Nothing outside the namespaces it
//! makes is touched, and they vanish with the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod command;
mod contacts;
mod killed;
mod live;
mod modes;
mod scene;
mod unprotected;
