//! Firedoor shuts a gateway's firewall on a host that spreads like a worm.
//!
//! The way of a packet, and with it the map of this crate:
//!
//! ```text
//!  capture ──► wire ──► track ──► detect ──►│ alarm │──► respond ──► firewall
//!  (ring,     (Frame)  (hosts,   (evidence, │       │   (decision)  (nftables)
//!   pnet,               contacts) score)    │       │      │
//!   file)    one shard a thread, no locks ──┘       └─ one control task ─► store, published ──► api, metrics
//! ```
//!
//! `wire`, `track`, `detect` and `respond` do no I/O, read no clock, spawn nothing and know no runtime: time is an
//! argument. What the daemon shows it puts into `published`; `api` and `metrics` read it there. `cli` and `daemon` are
//! the only places that know everything.

pub mod api;
pub mod capture;
pub mod config;
pub mod detect;
pub mod evidence;
pub mod firewall;
pub mod inspect;
pub mod lab;
pub mod log;
pub mod metrics;
pub mod published;
pub mod replay;
pub mod respond;
pub mod site;
pub mod store;
pub mod suspect;
pub mod sys;
pub mod time;
pub mod track;
pub mod tune;
pub mod wire;

pub mod cli;
pub mod daemon;
