//! The ruleset on a real kernel: namespaces, veth pairs, nft, and frames counted on the far side.
//!
//! Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and nft; where it cannot run it says so. Nothing outside the
//! namespaces it makes is touched, and they vanish with the process. Traffic is bounded in number and time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod act;
mod care;
mod drift;
mod fragments;
mod fuse;
mod greylist;
mod hidden;
mod packets;
mod places;
mod reload;
mod scale;
mod site;
