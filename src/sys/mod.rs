//! The operating system: one family of system calls a file. The only `unsafe` code of the crate lives here.
#![allow(unsafe_code)]

pub mod activation;
pub mod clock;
pub mod inject;
pub mod limits;
pub mod links;
pub mod memory;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod packet;
pub mod peer;
pub mod privileges;
pub mod process;
pub mod readiness;
pub mod route;
