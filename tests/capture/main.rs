//! Capture files as other programs wrote them, whole, odd and hostile; and live frames over veth pairs.
//!
//! The live part needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN); where it cannot run it says so. Nothing outside the
//! namespaces it makes is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod live;
mod robustness;
