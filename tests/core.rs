//! The core as a network sees it: frames in, decisions out, without threads, clocks or kernels.
//!
//! Every scenario drives the same [`Lockstep`](firedoor::replay::Lockstep) that replays captures, so what holds here
//! holds live and in replay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "core/scene.rs"]
mod scene;

#[path = "core/dark.rs"]
mod dark;
#[path = "core/datagrams.rs"]
mod datagrams;
#[path = "core/disorder.rs"]
mod disorder;
#[path = "core/evidence.rs"]
mod evidence;
#[path = "core/exemptions.rs"]
mod exemptions;
#[path = "core/forged.rs"]
mod forged;
#[path = "core/greylist.rs"]
mod greylist;
#[path = "core/ladder.rs"]
mod ladder;
#[path = "core/outcomes.rs"]
mod outcomes;
#[path = "core/probes.rs"]
mod probes;
#[path = "core/running.rs"]
mod running;
#[path = "core/spread.rs"]
mod spread;
#[path = "core/trust.rs"]
mod trust;
#[path = "core/windows.rs"]
mod windows;
